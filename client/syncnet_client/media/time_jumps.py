"""Refuse jumps in the time stamps of a stream, and write times for messages."""

from __future__ import annotations

from fractions import Fraction

__all__ = ["LONGEST_GAP_SECONDS", "TimeJumpError", "clock_text", "refuse_jump"]

# A longer hole in a stream is a broken time stamp, or a stream that has ended for good.
LONGEST_GAP_SECONDS = 600


class TimeJumpError(Exception):
    """A stream's time stamps jump; the message is a warning that says where."""


def refuse_jump(stream: str, end: Fraction, following: Fraction) -> None:
    """Raise unless a stream can go on at a time stamp.

    Args:
        stream: "video" or "audio", for the message.
        end: where the stream ends so far, in seconds.
        following: time stamp of what comes next, in seconds.

    Raises:
        TimeJumpError: there are more than ten minutes between them.
    """
    if following > end and following - end > LONGEST_GAP_SECONDS:
        raise TimeJumpError(
            f"the {stream} stream has nothing for {clock_text(following - end)} after "
            f"{clock_text(end)}: what follows is not read"
        )


def clock_text(seconds: Fraction) -> str:
    """Write a time in seconds as h:mm:ss.mmm, without hours where there are none."""
    milliseconds = round(1000 * abs(seconds))
    minutes, rest = divmod(milliseconds, 60_000)
    hours, minutes = divmod(minutes, 60)
    text = f"{minutes}:{rest / 1000:06.3f}" if not hours else ""
    text = text or f"{hours}:{minutes:02d}:{rest / 1000:06.3f}"
    return f"-{text}" if seconds < 0 else text
