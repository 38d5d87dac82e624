"""``syncnet-client align``: put a clip in sync without touching its packets."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from syncnet_client.commands.connection import (
    CaOption,
    CertOption,
    HeaderOption,
    InFlightOption,
    KeyOption,
    LocalOption,
    SharedMemoryOption,
    StreamsOption,
    TimeoutOption,
    TlsOption,
    UrlOption,
    connect,
    grpc_options,
)
from syncnet_client.commands.crop import CropOption, YunetOption, parse_crop
from syncnet_client.commands.scoring import (
    ChunkOption,
    MinConfidenceOption,
    VshiftOption,
    WindowOption,
)
from syncnet_client.contract import DEFAULT_CHUNK, DEFAULT_VSHIFT
from syncnet_client.defaults import (
    DEFAULT_IN_FLIGHT,
    DEFAULT_MIN_CONFIDENCE,
    DEFAULT_TIMEOUT_S,
    DEFAULT_WINDOW_S,
)

if TYPE_CHECKING:
    from syncnet_client.align import Alignment
    from syncnet_client.result import SyncResult

__all__ = ["align"]


def align(
    clip: Annotated[
        Path, typer.Argument(metavar="CLIP", exists=True, dir_okay=False, help="The clip.")
    ],
    out: Annotated[
        Path, typer.Argument(metavar="OUT", help="File to write: .mp4, .m4v, .mov, .mkv, .webm.")
    ],
    force: Annotated[
        bool, typer.Option("--force", help="Write although a measurement speaks against it.")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace OUT.")] = False,
    vshift: VshiftOption = DEFAULT_VSHIFT,
    chunk: ChunkOption = DEFAULT_CHUNK,
    crop: CropOption = "auto",
    yunet: YunetOption = None,
    window: WindowOption = DEFAULT_WINDOW_S,
    min_confidence: MinConfidenceOption = DEFAULT_MIN_CONFIDENCE,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    url: UrlOption = None,
    local: LocalOption = False,
    in_flight: InFlightOption = DEFAULT_IN_FLIGHT,
    streams: StreamsOption = 1,
    timeout: TimeoutOption = DEFAULT_TIMEOUT_S,
    tls: TlsOption = False,
    ca: CaOption = None,
    cert: CertOption = None,
    key: KeyOption = None,
    header: HeaderOption = None,
    shared_memory: SharedMemoryOption = True,
) -> None:
    """Write a copy of CLIP whose audio is in sync.

    The clip is measured, its audio is moved by time stamps alone (no packet is decoded or changed),
    and the copy is measured too. Nothing is written if the first offset is not trusted, or if
    the copy is not in sync.
    """
    from syncnet_client.align import align as align_clip
    from syncnet_client.commands.meter import ClipMeter

    crop_mode = parse_crop(crop)
    options = grpc_options(
        in_flight=in_flight,
        streams=streams,
        timeout_s=timeout,
        tls=tls,
        ca=ca,
        cert=cert,
        key=key,
        headers=header,
        shared_memory=shared_memory,
    )
    with connect(url, options, local=local) as client:

        def score(path: Path, name: str) -> SyncResult:
            with ClipMeter(name) as meter:
                return client.score(
                    path,
                    vshift=vshift,
                    chunk=chunk,
                    crop=crop_mode,
                    yunet=yunet,
                    window_s=window,
                    min_confidence=min_confidence,
                    name=name,
                    progress=meter.update,
                )

        alignment = align_clip(clip, out, score, force=force, overwrite=overwrite)
    if as_json:
        print(json.dumps(alignment.to_dict(), allow_nan=False))
    else:
        _print(alignment)


def _print(alignment: Alignment) -> None:
    for label, result in (("before", alignment.before), ("after", alignment.after)):
        print(f"{label + ':':<8} {result.clip}: {_words(result)}")
    moves = {"audio": alignment.moves.audio, "video": alignment.moves.others}
    moved = [f"{name} {float(by * 1000):+g} ms" for name, by in moves.items() if by]
    print(f"{'moved:':<8} {', '.join(moved) or 'nothing'}")


def _words(result: SyncResult) -> str:
    trust = "trusted" if result.verdict.trusted else "not to be trusted"
    return f"{result.speaker.meaning}, confidence {result.confidence:.2f}, {trust}"
