"""Standard output and standard error, whatever they are: a terminal, a pipe, a locale of 1987."""

from __future__ import annotations

import codecs
import contextlib
import enum
import locale
import os
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from rich.console import Console

__all__ = [
    "PIPE_COLUMNS",
    "Verbosity",
    "note",
    "prepare_streams",
    "progress_console",
    "set_verbosity",
    "show",
    "verbosity",
    "working",
]

# What is said in other words where the locale has no such characters. Bars keep their order.
_PLAIN = {
    **dict(zip("▁▂▃▄▅▆▇█", "_.:-=+*#", strict=True)),
    **dict.fromkeys("─━═╌", "-"),
    **dict.fromkeys("│┃║", "|"),
    **dict.fromkeys("┌┐└┘├┤┬┴┼┏┓┗┛┡┩╇╭╮╰╯", "+"),
    **dict(zip("⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏", r"-\|/-\|/-\|", strict=False)),  # of what turns while one waits
    "…": "...",
}
_HANDLER = "syncnet-plain"
PIPE_COLUMNS = 120  # where there is no terminal to say how wide it is


class Verbosity(enum.Enum):
    """How much is said on standard error."""

    QUIET = "quiet"  # errors alone
    NORMAL = "normal"  # and progress, and what happens
    VERBOSE = "verbose"  # and how, with the stack of an error


_verbosity = Verbosity.NORMAL


def verbosity() -> Verbosity:
    """How much the user wants to be told."""
    return _verbosity


def set_verbosity(value: Verbosity) -> None:
    """Say how much to tell from now on; details are what the packages log."""
    global _verbosity
    _verbosity = value
    if value is Verbosity.VERBOSE:
        import logging

        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("%(asctime)s %(name)s: %(message)s", "%H:%M:%S"))
        logging.basicConfig(handlers=[handler])
        for package in ("syncnet_client", "syncnet_export", "syncnet_server", "syncnet_training"):
            logging.getLogger(package).setLevel(logging.DEBUG)


def note(sentence: str) -> None:
    """Tell what happens on standard error, unless the user wants quiet."""
    if _verbosity is not Verbosity.QUIET:
        print(sentence, file=sys.stderr, flush=True)


def show(*parts: Any) -> None:
    """Print tables and texts of Rich to standard output; in a pipe, without trailing blanks."""
    from rich.console import Console

    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=PIPE_COLUMNS)
    with console.capture() as capture:
        for part in parts:
            console.print(part)
    lines = capture.get().splitlines()
    print("\n".join(lines if console.is_terminal else map(str.rstrip, lines)), flush=True)


@contextlib.contextmanager
def working(what: str) -> Iterator[Callable[[str], None]]:
    """Show on a terminal what takes its time, gone when it is done; nothing in a pipe.

    Args:
        what: it is doing, for a start.

    Yields:
        What takes the next thing to show.
    """
    console = progress_console()
    if not console.is_terminal:
        yield lambda _: None
        return
    from rich.status import Status

    with Status(what, console=console) as status:
        yield status.update


def progress_console() -> Console:
    """Where progress is drawn: standard error, of which nothing shows in a pipe or when quiet."""
    from rich.console import Console

    console = Console(stderr=True)
    if _verbosity is Verbosity.QUIET or not console.is_terminal or console.is_dumb_terminal:
        return Console(stderr=True, quiet=True, force_terminal=False)
    return console


def prepare_streams() -> None:
    """Let nothing that is printed fail for want of characters.

    What the locale cannot say is written in ASCII, and names of files that are no text as the bytes
    that they are.
    """
    codecs.register_error(_HANDLER, _write_plainly)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # not so for what tests and notebooks put there
            stream.reconfigure(encoding=_encoding(stream), errors=_HANDLER)


def _encoding(stream: TextIO) -> str:
    # In the C locale Python writes UTF-8 all the same, unless it was told what to write.
    told = os.environ.get("PYTHONIOENCODING") or os.environ.get("PYTHONUTF8") == "1"
    if not told and locale.nl_langinfo(locale.CODESET) == "ANSI_X3.4-1968":
        return "ascii"
    return stream.encoding


def _write_plainly(error: UnicodeError) -> tuple[str | bytes, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    written = b""
    for character in error.object[error.start : error.end]:
        if "\udc80" <= character <= "\udcff":  # a byte of a file's name
            written += character.encode("utf-8", "surrogateescape")
        else:
            plain = _PLAIN.get(character, character)
            written += plain.encode("ascii", "backslashreplace")
    return written, error.end
