"""From videos of talking heads to clips that `fit` reads.

A source is scored by the client, so ingest, faces, offset and verdict are the client's own. What is
kept is read a second time and cut into pieces along the boxes that were scored. Every source leaves
a line in `report.jsonl` when it is finished; a later run goes on after it.
"""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from syncnet_client.batch.threads import Tally, score_clips
from syncnet_client.contract import FRAMES_PER_SECOND, SAMPLE_RATE, SAMPLES_PER_FRAME
from syncnet_client.errors import (
    ClipTooShortError,
    NoAudioError,
    NoFaceError,
    NoVideoError,
)
from syncnet_client.faces import Box
from syncnet_client.faces.crops import cut_out
from syncnet_client.media import open_media
from syncnet_client.records.record import Record
from syncnet_client.scoring.clip import Progress
from syncnet_client.scoring.result import SyncResult, TrackResult
from syncnet_training.errors import DatasetError
from syncnet_training.storage import write_clip

__all__ = ["SETS", "Outcome", "PrepareConfig", "count_left_out", "prepare", "sources_left"]

SETS = ("train", "test")
REPORT = "report.jsonl"
SETTINGS = "settings.json"
MANIFEST = "test.jsonl"

_LEAST_SECONDS = 1.2  # of a piece: a step of `fit` takes a little less of a clip

# What is true of a source and stays true: such a source is left out, not tried again.
_UNSUITABLE = frozenset(
    kind.__name__ for kind in (ClipTooShortError, NoAudioError, NoFaceError, NoVideoError)
)

ScoreSource = Callable[[str, Callable[[Progress], None]], SyncResult]


@dataclass(frozen=True)
class PrepareConfig:
    """What is kept, and how it is cut.

    Attributes:
        seconds: length of the clips; tracks are divided into equal pieces of about that.
        keep_all: keep tracks that the verdict does not trust as well.
        align: move the audio of each track by its measured offset.
        max_offset: frames that a track may be out of sync and is still taken as it is.
        test_share: share of the groups of sources that go to the test set.
        by_folder: sources in one folder show the same speakers and go to the same set.
    """

    seconds: float = 4.0
    keep_all: bool = False
    align: bool = False
    max_offset: int = 3
    test_share: float = 0.1
    by_folder: bool = False


@dataclass(frozen=True)
class Outcome:
    """What became of a source: a line of the report.

    Attributes:
        source: as it was named.
        set: "train" or "test".
        group: what is kept together in one set.
        clips: names of the clips that were written.
        left_out: what was not kept, a track or the source, and why: "track 0: reason".
        error: why the source could not be read or scored; the next run tries it again.
    """

    source: str
    set: str
    group: str
    clips: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    error: str | None = None


def sources_left(
    out: Path, sources: Sequence[str], config: PrepareConfig, settings: dict[str, Any]
) -> list[str]:
    """The sources that a run would work on, for the arguments see ``prepare``.

    Raises:
        DatasetError: `out` is something else, or was made with other settings.
    """
    _open_folder(out, {**asdict(config), **settings})
    before = _finished(out, sources)
    return [source for source in sources if source not in before]


def prepare(
    out: Path,
    sources: Sequence[str],
    score: ScoreSource,
    config: PrepareConfig,
    *,
    settings: dict[str, Any] | None = None,
    jobs: int = 1,
    on_start: Callable[[Tally], None] | None = None,
    on_source: Callable[[Outcome], None] = lambda _: None,
    abandon: Callable[[], None] | None = None,
) -> list[Outcome]:
    """Cut sources into clips, `out/train` and `out/test`.

    Args:
        out: folder of the data set; created, or one of an earlier run with the same settings.
        sources: files or URLs.
        score: scores one of them; called from several threads.
        config: what is kept.
        settings: what else must be the same in every run on this folder, such as how it is scored.
        jobs: sources worked on at once.
        on_start: gets the tally, which is kept up to date from then on.
        on_source: gets each outcome of this run.
        abandon: called if the run ends early; makes sources that wait for the server fail.

    Returns:
        The outcome of every source, those of earlier runs first.

    Raises:
        DatasetError: `out` is something else, or was made with other settings.
        ServerUnavailableError, ModelNotReadyError: the server is gone; the run can be resumed.
    """
    _open_folder(out, {**asdict(config), **(settings or {})})
    before = _finished(out, sources)
    places = _divide(sources, list(before.values()), config)
    outcomes: dict[str, Outcome] = {}

    def cut(source: str, progress: Callable[[Progress], None]) -> SyncResult:
        result = score(source, progress)
        outcomes[source] = _cut(out, source, places[source], result, config)
        return result

    finished = list(before.values())

    def finish(record: Record) -> None:
        outcome = outcomes.pop(record.clip, None)
        if record.error is not None or outcome is None:
            outcome = _failed(record, places[record.clip])
        with (out / REPORT).open("a", encoding="utf-8") as report:
            report.write(json.dumps(asdict(outcome), ensure_ascii=False) + "\n")
        finished.append(outcome)
        on_source(outcome)

    score_clips(
        sources, cut, finish, jobs=jobs, done=set(before), on_start=on_start, abandon=abandon
    )
    _write_manifest(out / MANIFEST, finished)
    return finished


def _finished(out: Path, sources: Sequence[str]) -> dict[str, Outcome]:
    """What earlier runs have finished of these sources, by name."""
    wanted = set(sources)
    return {
        outcome.source: outcome
        for outcome in _read_report(out / REPORT)
        if outcome.error is None and outcome.source in wanted
    }


def _failed(record: Record, place: tuple[str, str]) -> Outcome:
    group, name = place
    error = record.error or "no further details"
    if record.error_type in _UNSUITABLE:
        reason = error.removeprefix(record.clip).removeprefix(":").strip()
        return Outcome(record.clip, name, group, left_out=[f"source: {reason}"])
    return Outcome(record.clip, name, group, error=error)


def _open_folder(out: Path, settings: dict[str, Any]) -> None:
    path = out / SETTINGS
    settings = json.loads(json.dumps(settings, default=str))
    if path.is_file():
        made = json.loads(path.read_text(encoding="utf-8"))
        others = sorted(key for key in settings if made.get(key) != settings[key])
        if others:
            raise DatasetError(
                f"{out} was made with another {', '.join(others)}; choose another folder"
            )
        return
    if out.exists() and any(out.iterdir()):
        raise DatasetError(f"{out} holds something else; choose another folder")
    out.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(settings, indent=1) + "\n", encoding="utf-8")


def _read_report(path: Path) -> list[Outcome]:
    """The lines of the report; one that a crash cut off is taken away."""
    if not path.is_file():
        return []
    text = path.read_text(encoding="utf-8")
    whole = text[: text.rfind("\n") + 1]
    if whole != text:
        path.write_text(whole, encoding="utf-8")
    try:
        return [Outcome(**json.loads(line)) for line in whole.splitlines()]
    except (ValueError, TypeError) as error:
        raise DatasetError(f"{path} is not the report of an earlier run") from error


def _divide(
    sources: Sequence[str], before: Sequence[Outcome], config: PrepareConfig
) -> dict[str, tuple[str, str]]:
    """The group and the set of each source.

    Groups keep the set of an earlier run. New ones come in the order of a hash of their names, so
    that the division is random but does not depend on their order.
    """
    groups = {
        source: str(Path(source).parent) if config.by_folder else source for source in sources
    }
    known = {outcome.group: outcome.set for outcome in before}
    every = sorted(set(groups.values()), key=_digest)
    wanted = round(config.test_share * len(every))
    if config.test_share and len(every) > 1:
        wanted = max(1, wanted)
    missing = wanted - sum(name == "test" for name in known.values())
    fresh = [group for group in every if group not in known]
    known |= {group: "test" if index < missing else "train" for index, group in enumerate(fresh)}
    return {source: (group, known[group]) for source, group in groups.items()}


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


@dataclass(frozen=True)
class _Piece:
    """Consecutive frames of a track, and where its audio begins."""

    name: str
    track: TrackResult
    first_frame: int  # of the source
    count: int
    first_sample: int

    @property
    def last_sample(self) -> int:
        return self.first_sample + self.count * SAMPLES_PER_FRAME


def _cut(
    out: Path, source: str, place: tuple[str, str], result: SyncResult, config: PrepareConfig
) -> Outcome:
    group, name = place
    outcome = Outcome(source, name, group)
    pieces: list[_Piece] = []
    for track in result.tracks:
        reason = _reason_against(track, config)
        found = [] if reason else _pieces(source, track, result.audio_samples, config)
        if not found:
            reason = reason or f"shorter than {_LEAST_SECONDS:g} s"
            outcome.left_out.append(f"track {track.track}: {reason}")
        pieces += found
    if pieces:
        _write(out / name, source, pieces)
    outcome.clips.extend(piece.name for piece in pieces)
    return outcome


def _reason_against(track: TrackResult, config: PrepareConfig) -> str | None:
    if not (track.verdict.trusted or config.keep_all):
        return "; ".join(reason.text for reason in track.verdict.reasons)
    if not config.align and abs(track.offset_frames) > config.max_offset:
        return f"out of sync by {track.offset_frames:+d} frames, which --align would put right"
    return None


def _shift_samples(track: TrackResult, config: PrepareConfig) -> int:
    """How far the audio is ahead of the video, as far as that is to be put right."""
    if not config.align:
        return 0
    estimate = track.estimate_ms
    return round((track.offset_ms if estimate is None else estimate) * SAMPLE_RATE / 1000)


def _pieces(source: str, track: TrackResult, samples: int, config: PrepareConfig) -> list[_Piece]:
    """Equal pieces of those frames of a track that have sound."""
    shift = _shift_samples(track, config)
    # The audio of frame t is samples 640 t - shift and on; both ends must exist.
    first = max(track.first_frame, -(-shift // SAMPLES_PER_FRAME))
    last = min(track.first_frame + len(track.frame_times), (samples + shift) // SAMPLES_PER_FRAME)
    length = last - first
    if length < _LEAST_SECONDS * FRAMES_PER_SECOND:
        return []
    count = max(1, round(length / (config.seconds * FRAMES_PER_SECOND)))
    size = length // count
    stem = re.sub(r"[^A-Za-z0-9._-]+", "-", Path(source).stem)[:40]
    return [
        _Piece(
            f"{stem}-{_digest(source)[:10]}-{track.track:02d}-{index:03d}",
            track,
            first + index * size,
            size,
            (first + index * size) * SAMPLES_PER_FRAME - shift,
        )
        for index in range(count)
    ]


def _write(folder: Path, source: str, pieces: Sequence[_Piece]) -> None:
    """Read the source again and write its pieces; memory holds no more than those under way."""
    waiting = sorted(pieces, key=lambda piece: piece.first_frame)
    under_way: list[tuple[_Piece, list[NDArray[np.uint8]]]] = []
    earlier, audio = 0, np.zeros(0, np.int16)  # samples that were let go, those that are kept
    with open_media(source) as media:
        for block in media:
            audio = np.concatenate([audio, block.samples])
            for frame in block.frames:
                while waiting and waiting[0].first_frame == frame.index:
                    under_way.append((waiting.pop(0), []))
                for piece, images in under_way:
                    if len(images) < piece.count:
                        box = piece.track.boxes[frame.index - piece.track.first_frame]
                        images.append(cut_out(frame.picture, Box(*map(float, box))))
            heard = earlier + len(audio)
            for piece, images in list(under_way):
                if len(images) == piece.count and piece.last_sample <= heard:
                    start = piece.first_sample - earlier
                    samples = audio[start : start + piece.count * SAMPLES_PER_FRAME]
                    write_clip(
                        folder / piece.name, np.stack(images), samples, _about(source, piece)
                    )
                    under_way.remove((piece, images))
            needed = [piece.first_sample for piece in waiting]
            needed += [piece.first_sample for piece, _ in under_way]
            letting_go = max(0, min(needed, default=heard) - earlier)
            earlier, audio = earlier + letting_go, audio[letting_go:]
    if waiting or under_way:
        raise DatasetError(f"{source} has changed while it was read")


def _about(source: str, piece: _Piece) -> dict[str, Any]:
    track = piece.track
    moved = piece.first_frame * SAMPLES_PER_FRAME - piece.first_sample
    return {
        "source": source,
        "track": track.track,
        "first_frame": piece.first_frame,
        "offset_frames": track.offset_frames,
        "estimate_ms": track.estimate_ms,
        "confidence": track.confidence,
        "trusted": track.verdict.trusted,
        "moved_ms": 1000 * moved / SAMPLE_RATE,
    }


def _write_manifest(path: Path, outcomes: Sequence[Outcome]) -> None:
    """List the sources of the test set, for `evaluate --clips`."""
    lines = [
        json.dumps({"clip": str(Path(outcome.source).absolute())}, ensure_ascii=False)
        for outcome in outcomes
        if outcome.set == "test" and outcome.clips
    ]
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def count_left_out(outcomes: Sequence[Outcome]) -> list[tuple[str, int]]:
    """Reasons, and how often each holds, the most frequent first; figures in them do not count."""
    reasons = Counter[str]()
    for outcome in outcomes:
        for reason in outcome.left_out:
            reasons[re.sub(r"[-+]?\d+(\.\d+)?", "N", reason.partition(": ")[2])] += 1
        if outcome.error:
            reasons["could not be read or scored; the next run tries again"] += 1
    return reasons.most_common()
