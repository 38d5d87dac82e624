"""Command line: ``syncnet-client``.

Exit status: 0 if everything was done, 1 with one line on standard error if something failed, 2 if
the command line itself is wrong. Results go to standard output, everything else to standard error.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys

import typer

from syncnet_client.commands.align import align
from syncnet_client.commands.failures import PROGRAM, one_line
from syncnet_client.commands.score import score
from syncnet_client.commands.watch import watch
from syncnet_client.errors import SyncNetError, UsageError

__all__ = ["app", "main"]

_M_MMAP_THRESHOLD = -3  # of mallopt(3)
_LARGE_BYTES = 4 << 20  # less than the frames of a chunk, more than what comes by the thousand

# Without Rich's markup typer answers a usage error in plain lines and starts faster.
app = typer.Typer(
    name=PROGRAM,
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command()(score)
app.command()(align)
app.command()(watch)


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        print(f"{PROGRAM} {version('syncnet-triton')}")
        raise typer.Exit


@app.callback()
def common(
    _version: bool = typer.Option(
        False, "--version", callback=_print_version, is_eager=True, help="Print the version."
    ),
) -> None:
    """Audio-visual sync of talking-head clips, measured with SyncNet on a Triton server."""


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
    try:
        app(prog_name=PROGRAM)
    except SystemExit as done:
        return done.code if isinstance(done.code, int) else 0
    except SyncNetError as error:
        print(one_line(error), file=sys.stderr)
        return 2 if isinstance(error, UsageError) else 1
    return 0
