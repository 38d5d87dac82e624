"""Start a server, score the sample clip as it is and with its audio moved, stop the server.

The sample was generated in sync, so the right answers are known. Exit status 1 if one is wrong.
"""

from __future__ import annotations

import sys
import tempfile
from fractions import Fraction
from pathlib import Path

from rich.console import Console
from rich.table import Table

from syncnet_client import SyncNetClient
from syncnet_client.contract import FRAMES_PER_SECOND
from syncnet_client.media.remux import shift_audio
from syncnet_server import Server

SAMPLE = Path(__file__).with_name("talking-head.mp4")
SHIFTS = (0, +5, -3)  # frames by which the audio comes too early


def main() -> int:
    """Print a row for every shift; return the exit status."""
    table = Table(SAMPLE.name, "true offset", "measured offset", "confidence", "")
    right = True
    print("starting a Triton server", file=sys.stderr)
    with (
        tempfile.TemporaryDirectory() as folder,
        Server() as server,
        SyncNetClient(server.grpc_url) as client,
    ):
        for shift in SHIFTS:
            clip, what = SAMPLE, "as generated"
            if shift:
                clip = Path(folder) / f"{shift}.mp4"
                what = f"audio {abs(shift)} frames {'ahead' if shift > 0 else 'back'}"
                shift_audio(SAMPLE, clip, Fraction(-shift, FRAMES_PER_SECOND))
            result = client.score(clip)
            hit = result.offset_frames == shift
            right &= hit
            table.add_row(
                what,
                f"{shift:+d} frames",
                f"{result.offset_frames:+d} frames, {result.offset_ms:+d} ms",
                f"{result.confidence:.2f}",
                "right" if hit else "wrong",
            )
    Console().print(table)
    return 0 if right else 1


if __name__ == "__main__":
    sys.exit(main())
