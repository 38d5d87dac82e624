"""Measure a clip, move its audio by what was measured, measure again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from syncnet_client.contract import FRAMES_PER_SECOND
from syncnet_client.errors import UntrustedError
from syncnet_client.files import replacing
from syncnet_client.media.remux import Moves, check_output, shift_audio
from syncnet_client.scoring.result import SyncResult

__all__ = ["Alignment", "align"]

# The measurement has whole frames: an offset of half a frame may be read as either neighbour.
CLOSE_FRAMES = 1


@dataclass(frozen=True, eq=False)
class Alignment:
    """A clip that was put in sync.

    Attributes:
        output: the file that was written.
        moves: what was added to the time stamps of its streams.
        before, after: measured on the clip and on the file written.
    """

    output: Path
    moves: Moves
    before: SyncResult
    after: SyncResult

    def to_dict(self) -> dict[str, Any]:
        """All in types that JSON knows."""
        return {
            "clip": self.before.clip,
            "output": str(self.output),
            "audio_moved_ms": round(float(self.moves.audio * 1000), 3),
            "video_moved_ms": round(float(self.moves.others * 1000), 3),
            "before": self.before.to_dict(),
            "after": self.after.to_dict(),
        }


def align(
    clip: Path,
    output: Path,
    score: Callable[[Path, str], SyncResult],
    *,
    force: bool = False,
    overwrite: bool = False,
) -> Alignment:
    """Write a copy of ``clip`` whose audio is in sync, without decoding or changing a packet.

    The copy is measured under a temporary name beside ``output`` and takes its place only if it
    is in sync, so ``output`` is never half written.

    Args:
        clip: the file to put in sync.
        output: the file to write, MP4, MOV, MKV or WebM by its suffix.
        score: measures a file and gives the result the name that is its second argument.
        force: write although the measurement before cannot be trusted or lies within the error of
            the weights, or the one after differs.
        overwrite: replace ``output`` if it exists.

    Raises:
        UsageError: ``output`` cannot be written.
        UntrustedError: the clip's offset is not trusted, or within the known error of the weights,
            or the copy is not in sync.
        MediaError: the clip cannot be read or does not fit the container.
    """
    check_output(clip, output, overwrite=overwrite)
    before = score(clip, str(clip))
    error_ms = before.weights.offset_error_ms
    if before.verdict.trusted and abs(before.offset_ms) <= error_ms and not force:
        raise UntrustedError(
            f"{clip}: the offset of {before.offset_ms} ms is within the error of the weights "
            f"({before.weights.error_in_words}); pass --force to move the audio anyway"
        )
    if not (before.verdict.trusted or force):
        reasons = "; ".join(reason.text for reason in before.verdict.reasons)
        raise UntrustedError(
            f"{clip}: the offset of {before.offset_ms} ms cannot be trusted ({reasons}); "
            "pass --force to move the audio anyway"
        )
    # A positive offset is audio ahead of the video: it has to wait.
    shift = Fraction(before.offset_frames, FRAMES_PER_SECOND)
    with replacing(output) as temporary:
        moves = shift_audio(clip, temporary, shift)
        after = score(temporary, str(output))
        if abs(after.offset_frames) > CLOSE_FRAMES and not force:
            raise UntrustedError(
                f"{clip}: moved by {before.offset_ms} ms, the audio is measured "
                f"{after.offset_ms} ms off, so {output} was not written; pass --force to write it"
            )
    return Alignment(output, moves, before, after)
