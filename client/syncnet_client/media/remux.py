"""Move a clip's audio against its video by time stamps alone: no packet is decoded or changed.

Audio that is to be heard later simply gets later time stamps. Audio that is to be heard earlier
cannot begin before the beginning of the file: whatever lies before zero would be cut off by the
edit list of an MP4 file, and Matroska cannot hold it at all. So the two streams share the move:
after it, the earlier one of them begins where the earlier one began before. A clip whose streams
began together gets a later picture; a clip whose audio began late gets its audio moved forward.

AVI keeps no time stamps, only a count of frames and of bytes, so it can be read but not written.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import av
from av.container import InputContainer, OutputContainer
from av.stream import Stream

from syncnet_client.errors import MediaError, UsageError
from syncnet_client.files import check_target, located
from syncnet_client.media.limits import ANY_METADATA

if TYPE_CHECKING:
    from av.container.core import Chapter
    from av.packet import Packet

__all__ = ["Moves", "check_output", "plan_moves", "shift_audio"]

MP4_FAMILY = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov"}
MATROSKA_FAMILY = {".mkv": "matroska", ".webm": "webm"}
FORMATS = MP4_FAMILY | MATROSKA_FAMILY

_Packet: TypeAlias = "Packet[Any]"

COPIED_TYPES = ("video", "audio", "subtitle")


@dataclass(frozen=True)
class Moves:
    """By how many seconds the time stamps of a clip are raised; ``audio - others`` is the shift."""

    audio: Fraction
    others: Fraction


def plan_moves(shift: Fraction, *, audio_start: Fraction, video_start: Fraction) -> Moves:
    """Divide a shift of the audio between the streams, so that nothing moves before the beginning.

    Args:
        shift: seconds by which the audio is to come later; negative: earlier.
        audio_start: time stamp in seconds at which the audio begins.
        video_start: the same of the video.
    """
    others = min(audio_start, video_start) - min(audio_start + shift, video_start)
    return Moves(audio=shift + others, others=others)


def check_output(source: Path, target: Path, *, overwrite: bool) -> None:
    """Find out before any work whether ``target`` can be written.

    Raises:
        UsageError: its suffix names no container that can hold the shift, it is the clip itself or
            exists and ``overwrite`` is not set, or its folder does not exist.
    """
    if target.suffix.lower() not in FORMATS:
        reason = "AVI keeps no time stamps" if target.suffix.lower() == ".avi" else "unknown suffix"
        raise UsageError(f"cannot write {target}: {reason}; choose {', '.join(FORMATS)}")
    check_target(target, [source], overwrite=overwrite)


def shift_audio(source: Path, target: Path, shift: Fraction) -> Moves:
    """Copy ``source`` to ``target``, every packet as it is, with the audio ``shift`` s later.

    All audio streams move together; subtitles stay with the picture. Streams of other kinds, such
    as timecode tracks, are left out. Metadata, chapters and rotation are kept.

    Args:
        source: a clip with video and audio.
        target: file to write; its suffix chooses the container. It is overwritten.
        shift: seconds; negative: the audio comes earlier.

    Raises:
        MediaError: the source cannot be read, or its codecs do not fit the container.
    """
    form = FORMATS[target.suffix.lower()]
    # faststart: the index comes first, so that the file can be played while it is loaded.
    options = {"movflags": "+faststart"} if target.suffix.lower() in MP4_FAMILY else {}
    try:
        # genpts: AVI has no presentation times, and FFmpeg can tell them from the decoding order.
        with av.open(located(source), options={"fflags": "+genpts"}, **ANY_METADATA) as reader:
            if not (reader.streams.video and reader.streams.audio):
                raise MediaError(f"{source} does not have both video and audio")
            moves = plan_moves(
                shift,
                audio_start=_start(reader.streams.audio[0]),
                video_start=_start(reader.streams.video[0]),
            )
            with av.open(located(target), "w", format=form, options=options) as writer:
                _copy(reader, writer, moves)
    except (av.FFmpegError, ValueError, OSError) as error:
        raise MediaError(f"cannot copy {source} to {target.suffix[1:]}: {error}") from error
    return moves


def _start(stream: Stream) -> Fraction:
    """Time in seconds at which the stream is first seen or heard."""
    if stream.start_time is None or stream.time_base is None:
        return Fraction(0)
    return max(Fraction(0), stream.start_time * stream.time_base)


def _copy(reader: InputContainer, writer: OutputContainer, moves: Moves) -> None:
    streams = [stream for stream in reader.streams if stream.type in COPIED_TYPES]
    # opaque: the parameters are copied as they are; no encoder for the codec has to exist.
    copies = {
        stream.index: writer.add_stream_from_template(stream, opaque=True) for stream in streams
    }
    for stream in streams:
        copies[stream.index].metadata.update(stream.metadata)
        copies[stream.index].disposition = stream.disposition
    writer.metadata.update(reader.metadata)
    writer.set_chapters(_moved_chapters(reader, moves.others))

    packets = (packet for packet in reader.demux(streams) if packet.size)
    for packet in _with_decoding_times(packets):
        move = moves.audio if packet.stream.type == "audio" else moves.others
        _raise_times(packet, move)
        packet.stream = copies[packet.stream_index]
        writer.mux_one(packet)


def _raise_times(packet: _Packet, seconds: Fraction) -> None:
    # AVI counts in packets: a time base that divides the move too keeps the sum exact.
    ticks = seconds / packet.time_base
    finer = ticks.denominator
    if packet.pts is not None:
        packet.pts = packet.pts * finer + ticks.numerator
    if packet.dts is not None:
        packet.dts = packet.dts * finer + ticks.numerator
    if packet.duration is not None:
        packet.duration *= finer
    packet.time_base /= finer


def _moved_chapters(reader: InputContainer, move: Fraction) -> list[Chapter]:
    chapters = reader.chapters()
    for chapter in chapters:
        if time_base := chapter["time_base"]:
            chapter["start"] += round(move / time_base)
            chapter["end"] += round(move / time_base)
    return chapters


def _with_decoding_times(packets: Iterable[_Packet]) -> Iterator[_Packet]:
    """Give the first packets of each stream the decoding times that Matroska leaves out.

    A stream with B-frames starts with as many packets without one as frames are reordered. They
    are held back until the first that has one and count back from it, a packet's length each.
    """
    waiting: dict[int, list[_Packet]] = {}
    started: set[int] = set()
    for packet in packets:
        index = packet.stream_index
        if index in started:
            yield packet
        elif packet.dts is None and packet.pts is not None:
            waiting.setdefault(index, []).append(packet)
        else:
            started.add(index)
            yield from _dated_back(waiting.pop(index, []), packet.dts)
            yield packet
    for held in waiting.values():
        # No packet of this short stream has one: the earliest that they can have.
        yield from _dated_back(held, min(packet.pts or 0 for packet in held))


def _dated_back(packets: list[_Packet], following: int | None) -> list[_Packet]:
    if following is not None:
        for packet in reversed(packets):
            following -= packet.duration or 1
            packet.dts = following
    return packets
