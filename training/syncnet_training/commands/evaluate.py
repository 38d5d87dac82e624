"""`syncnet-train evaluate`: how well weights find the offset, and how surely."""

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from syncnet_programs.terminal import working
from syncnet_training.commands.options import (
    DeviceOption,
    JsonOption,
    Precision,
    choose_device,
    output,
)

if TYPE_CHECKING:
    from syncnet_training.evaluate import (
        EvaluationClip,
        InSyncReport,
        RealReport,
        Separation,
    )

__all__ = ["evaluate"]

_SECONDS = 8
_MARGIN = 10  # frames at each end that shifts are cut from

_clips = partial(typer.Option, rich_help_panel="Clips of yours")
_synthetic = partial(typer.Option, rich_help_panel="Synthetic clips")
_measure = partial(typer.Option, rich_help_panel="Measurement")


def evaluate(
    weights: Annotated[Path, typer.Argument(help="Checkpoint: safetensors or published .model.")],
    clips: Annotated[
        list[str] | None,
        _clips(help="Real clips: a file, folder, pattern or manifest; may be given several times."),
    ] = None,
    data: Annotated[
        list[Path] | None,
        _clips(help="Folder of clips, as `prepare` writes it; may be given several times."),
    ] = None,
    in_sync: Annotated[
        bool,
        _clips(
            "--in-sync",
            help="The clips are in sync: shift each at random and count the offsets found.",
        ),
    ] = False,
    count: Annotated[int, _synthetic(min=2, help="Synthetic clips.")] = 50,
    seed: Annotated[
        int, _synthetic(min=0, help="Of the synthetic clips; choose one not trained on.")
    ] = 777_000,
    hard: Annotated[
        bool, _synthetic("--hard", help="Small faces, low bit rates, noise, telephones.")
    ] = False,
    recordings: Annotated[
        Path | None,
        _synthetic(help="Folder of recorded voices for synthetic clips, usually /usr/share."),
    ] = None,
    vshift: Annotated[int, _measure(min=1, help="Frames searched to each side.")] = 15,
    others: Annotated[
        int | None,
        _measure(
            min=1, help="Other clips whose audio each clip in sync is tried with. [default: all]"
        ),
    ] = None,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Measure how well weights find the offset, and how well confidence tells right from wrong.

    Without --clips and --data: synthetic clips of 8 s with a random shift of up to 10 frames. With
    them: does the answer follow shifts of -5 to 5 frames? In both cases every video is also tried
    with the audio of every other.
    """
    from syncnet_export.checkpoint import load_checkpoint
    from syncnet_training.evaluate import evaluate_in_sync, evaluate_real

    if (clips or data) and (hard or recordings):
        raise typer.BadParameter("--hard and --recordings make synthetic clips: leave them out")
    where, _ = choose_device(device, Precision.auto)
    network = load_checkpoint(weights).network().to(where)
    given = _given_clips(clips or [], data or []) if clips or data else None
    if given and not in_sync:
        with working("reading clips") as tell:
            real = evaluate_real(network, _told(given, tell), vshift=vshift)
        output(real.to_dict(), _real_table(real), as_json)
    else:
        with working("making clips") as tell:
            report = evaluate_in_sync(
                network,
                _told(given or _synthetic_clips(seed, count, hard, recordings), tell),
                seed=seed,
                max_shift=_MARGIN,
                vshift=vshift,
                others=others,
            )
        output(report.to_dict(), _in_sync_table(report), as_json)


def _told(
    clips: "Iterable[EvaluationClip]", tell: "Callable[[str], None]"
) -> "Iterator[EvaluationClip]":
    for number, clip in enumerate(clips, 1):
        tell(f"clip {number}: {clip.name}")
        yield clip
    tell("every video with the audio of every other")


def _given_clips(clips: list[str], data: list[Path]) -> "Iterator[EvaluationClip]":
    from syncnet_client.batch.inputs import expand
    from syncnet_training.evaluate import EvaluationClip
    from syncnet_training.real import read_talking_head
    from syncnet_training.storage import open_clips

    for name in expand(clips):
        yield read_talking_head(name)
    for folder in data:
        for clip in open_clips(folder):
            frames = clip.read_frames(0, clip.frames)[..., ::-1]
            yield EvaluationClip(clip.path.name, frames, clip.read_samples())


def _synthetic_clips(
    seed: int, count: int, hard: bool, recordings: Path | None
) -> "Iterator[EvaluationClip]":
    from syncnet_client.contract import FRAMES_PER_SECOND
    from syncnet_training.evaluate import EvaluationClip
    from syncnet_training.synthesis import Recordings, synthesize_clip

    frames = _SECONDS * FRAMES_PER_SECOND + 2 * _MARGIN
    voices = Recordings(recordings) if recordings else None
    for index in range(count):
        clip = synthesize_clip(seed + index, frames, recordings=voices, hard=hard)
        yield EvaluationClip(f"seed {seed + index}", clip.frames, clip.samples)


def _in_words(separation: "Separation") -> str:
    accepted = ", ".join(
        f"{share:.0%} at {percent.replace('%', ' %')}"
        for percent, share in separation.accepted.items()
    )
    return (
        f"Against {separation.pairs} videos with the wrong audio: area under the curve "
        f"{separation.area:.3f}; accepted in sync where so many wrong ones are: {accepted}"
    )


def _in_sync_table(report: "InSyncReport") -> Table:
    from syncnet_training.evaluate import AGREEING

    table = Table(
        title=f"{report.exact} of {len(report.clips)} exact, {report.within_one} within 1 frame",
        caption=f"{_in_words(report.separation)}. Agreement of at least {AGREEING:.0%}: "
        f"{report.agreeing:.1%} in sync, {report.wrong_audio_agreeing:.1%} of the wrong ones; area "
        f"under the curve {report.agreement_separation.area:.3f}. Read between frames, sync is "
        f"{report.estimate_bias:+.2f} frames off in the median, {report.estimate_spread:.2f} "
        "around that.",
    )
    for name in (
        "clip",
        "shift",
        "found",
        "between",
        "confidence",
        "agreement",
        "min distance",
        "wrong audio, highest confidence",
        "and agreement",
    ):
        table.add_column(name, justify="left" if name == "clip" else "right")
    for clip in report.clips:
        table.add_row(
            clip.name,
            str(clip.shift),
            str(clip.offset),
            "" if clip.estimate is None else f"{clip.estimate:.2f}",
            f"{clip.confidence:.2f}",
            f"{clip.agreement:.0%}",
            f"{clip.min_distance:.2f}",
            f"{clip.wrong_audio_confidence:.2f}",
            f"{clip.wrong_audio_agreement:.0%}",
        )
    return table


def _real_table(report: "RealReport") -> Table:
    reports = report.clips
    following = sum(clip.follows for clip in reports)
    table = Table(
        title=f"{following} of {len(reports)} clips follow imposed shifts",
        caption=_in_words(report.separation) if report.separation else None,
    )
    for name in ("clip", "frames", "offset", "confidence", "min distance", "follows"):
        table.add_column(name, justify="left" if name == "clip" else "right")
    table.add_column(f"offset at shifts {reports[0].shifts[0]} to {reports[0].shifts[-1]}")
    for clip in reports:
        table.add_row(
            clip.name,
            str(clip.frames),
            str(clip.offset),
            f"{clip.confidence:.2f}",
            f"{clip.min_distance:.2f}",
            "yes" if clip.follows else "no",
            " ".join(map(str, clip.offsets)),
        )
    return table
