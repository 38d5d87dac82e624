"""``syncnet-client score``: measure the offset of clips."""

from __future__ import annotations

import json
import sys
from typing import Annotated

import typer

from syncnet_client.commands.connection import (
    CaOption,
    CertOption,
    HeaderOption,
    InFlightOption,
    KeyOption,
    LocalOption,
    StreamsOption,
    TimeoutOption,
    TlsOption,
    UrlOption,
    connect,
)
from syncnet_client.commands.crop import CropOption, YunetOption, parse_crop
from syncnet_client.commands.failures import one_line
from syncnet_client.contract import DEFAULT_CHUNK, DEFAULT_VSHIFT, MAX_VSHIFT
from syncnet_client.defaults import (
    DEFAULT_IN_FLIGHT,
    DEFAULT_MIN_CONFIDENCE,
    DEFAULT_TIMEOUT_S,
    DEFAULT_WINDOW_S,
)
from syncnet_client.errors import ServerError, SyncNetError, UsageError

__all__ = ["score"]


def score(
    clips: Annotated[
        list[str], typer.Argument(metavar="CLIP", help="Video files or URLs with sound.")
    ],
    vshift: Annotated[
        int,
        typer.Option(
            min=0, max=MAX_VSHIFT, metavar="N", help="Frames (40 ms) searched to each side."
        ),
    ] = DEFAULT_VSHIFT,
    chunk: Annotated[
        int, typer.Option(min=1, metavar="N", help="Windows in one request; only affects speed.")
    ] = DEFAULT_CHUNK,
    crop: CropOption = "auto",
    yunet: YunetOption = None,
    window: Annotated[
        float, typer.Option(metavar="SECONDS", help="Look for drift over windows of this length.")
    ] = DEFAULT_WINDOW_S,
    min_confidence: Annotated[
        float, typer.Option(metavar="C", help="Do not trust results below this confidence.")
    ] = DEFAULT_MIN_CONFIDENCE,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object per clip, each on one line.")
    ] = False,
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
) -> None:
    """Measure how far the audio of each clip is ahead of its video, and how sure that is.

    The exit status is 0 if all clips could be scored, 1 if not, and 2 if the options are wrong.
    Whether a result can be trusted is in the result.
    """
    from syncnet_client.commands.meter import ClipMeter
    from syncnet_client.report import print_result

    crop_mode = parse_crop(crop)
    failed = False
    with connect(
        url,
        local=local,
        in_flight=in_flight,
        streams=streams,
        timeout_s=timeout,
        tls=tls,
        ca=ca,
        cert=cert,
        key=key,
        headers=header,
    ) as client:
        for clip in clips:
            try:
                with ClipMeter(clip) as meter:
                    result = client.score(
                        clip,
                        vshift=vshift,
                        chunk=chunk,
                        crop=crop_mode,
                        yunet=yunet,
                        window_s=window,
                        min_confidence=min_confidence,
                        progress=meter.update,
                    )
            except (UsageError, ServerError):
                raise  # the other clips would fail in the same way
            except SyncNetError as error:
                failed = True
                print(one_line(error), file=sys.stderr)
                continue
            if as_json:
                print(json.dumps(result.to_dict(), allow_nan=False), flush=True)
            else:
                print_result(result)
    if failed:
        raise typer.Exit(1)
