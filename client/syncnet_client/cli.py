"""Command line: ``syncnet-client``.

Results go to standard output, everything else to standard error.
"""

from __future__ import annotations

import contextlib
import ctypes
import os

from syncnet_client.commands.align import align
from syncnet_client.commands.calibrate import calibrate
from syncnet_client.commands.fetch import fetch
from syncnet_client.commands.filter import filter  # noqa: A004
from syncnet_client.commands.report import report
from syncnet_client.commands.score import score
from syncnet_client.commands.summarize import summarize
from syncnet_client.commands.watch import watch
from syncnet_client.errors import SyncNetError, UsageError
from syncnet_programs.program import Program

__all__ = ["PROGRAM", "main"]

_M_MMAP_THRESHOLD = -3  # of mallopt(3)
_LARGE_BYTES = 4 << 20  # less than the frames of a chunk, more than what comes by the thousand

PROGRAM = Program(
    "syncnet-client",
    "Audio-visual sync of talking-head clips, measured with SyncNet on a Triton server.",
    failures=(SyncNetError,),
    usage=(UsageError,),
)
PROGRAM.command(
    score,
    examples=[
        "syncnet-client score interview.mp4 --local",
        "syncnet-client score interview.mp4 --json --url gpu.example:8001",
        "syncnet-client score clips/ --output results.jsonl --jobs 4",
        "syncnet-client score interview.mp4 --plot sync.png --overlay checked.mp4",
    ],
)
PROGRAM.command(align, examples=["syncnet-client align late.mp4 in-sync.mp4 --local"])
PROGRAM.command(
    watch,
    examples=[
        "syncnet-client watch rtsp://camera.example/stream",
        "syncnet-client watch recording.ts --follow --json",
    ],
)
PROGRAM.command(
    calibrate, examples=["syncnet-client calibrate clips/ --local --plot thresholds.png"]
)
PROGRAM.command(report, examples=["syncnet-client report results.jsonl --output report.html"])
PROGRAM.command(
    summarize,
    examples=[
        "syncnet-client summarize ours.jsonl theirs.jsonl",
        "syncnet-client summarize results.csv --by detector --format latex",
    ],
)
PROGRAM.command(
    filter,
    examples=[
        "syncnet-client filter results.jsonl --output kept.csv "
        "--where 'abs(offset_frames) <= 3 and confidence >= 3 and trusted'"
    ],
)
PROGRAM.command(fetch, examples=["syncnet-client fetch yunet"])


def _return_large_memory_at_once() -> None:
    """Let the C library give memory as large as a chunk's back to the kernel when it is freed.

    glibc's default is to keep what is of such a size in its heaps once it has seen a few. There
    the requests of a clip scatter, and the process grows to a third more.
    """
    with contextlib.suppress(AttributeError):  # a C library without this setting
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, _LARGE_BYTES)


def main() -> int:
    """Run the command line; return its exit status."""
    # gRPC would write its own lines about a failed connection; the error says it once.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    _return_large_memory_at_once()
    return PROGRAM.run()
