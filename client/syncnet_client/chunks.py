"""Cut a clip into chunks that a server can score one by one, with no trace of the cuts.

A chunk holds the frames of its windows and the audio that those windows are compared with: its
own and ``vshift`` audio windows more on each side, its halo. Where the halo reaches over the
edge of the clip, the chunk says how many audio windows are missing, and the server takes zeros
for them, as the published pipeline does. So every row of distances depends on the clip alone,
never on where the chunks begin; any replica can answer any chunk, and a lost one is sent again.

What the clip has is measured as in the published pipeline::

    min_length = min(frames, samples // 640)
    windows    = min_length - 5

Where every track is scored by itself, as scripts do that cut each face out into a file of its own,
its first and last frame are the edges instead of the clip's.

Everything here is arithmetic on arrays that are already in memory. A ``Chunker`` keeps only what
chunks still to come can need, so its memory does not depend on the length of the clip.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from syncnet_client.contract import (
    FRAME_SIZE,
    FRAMES_PER_SECOND,
    SAMPLES_PER_FRAME,
    WINDOW_FRAMES,
    WINDOW_SAMPLES,
)
from syncnet_client.defaults import DEFAULT_CHUNK, DEFAULT_VSHIFT, MAX_CHUNK, MAX_VSHIFT
from syncnet_client.errors import UsageError

__all__ = ["Chunk", "Chunker", "clip_windows"]

# Audio older than this is dropped once no open track needs it. A face may be noticed late: this is
# how long before the newest frame a track may begin. A minute of audio is 2 MB. The latest are
# those of the published tracker: 101 detections, 25 frames from one to the next.
LATE_TRACK_FRAMES = 120 * FRAMES_PER_SECOND


def clip_windows(frames: int, samples: int) -> int:
    """Number of windows that the published pipeline scores; never negative.

    Args:
        frames: video frames at 25 a second.
        samples: audio samples at 16 kHz.
    """
    return max(0, min(frames, samples // SAMPLES_PER_FRAME) - WINDOW_FRAMES)


@dataclass(frozen=True, eq=False)
class Chunk:
    """One request: K windows of one face track and their audio.

    Attributes:
        track: the face track it belongs to.
        first_window: index of its first window; window k shows the clip's frames k..k+4.
        frames: uint8 [K+4, 224, 224, 3], RGB.
        audio: int16 [1 + 640*(A-1) + 3440], A audio windows after one sample of context.
        padding: audio windows missing before and after; A + sum(padding) = K + 2*vshift.
    """

    track: int
    first_window: int
    frames: npt.NDArray[np.uint8]
    audio: npt.NDArray[np.int16]
    padding: tuple[int, int]

    @property
    def windows(self) -> int:
        """K, the number of windows in this chunk."""
        return len(self.frames) - (WINDOW_FRAMES - 1)


class _Audio:
    """A sliding piece of the clip's samples, addressed by their position in the clip."""

    def __init__(self) -> None:
        self._pieces: deque[npt.NDArray[np.int16]] = deque()
        self._start = 0  # position of the first sample kept
        self.end = 0  # position after the last sample seen

    def append(self, samples: npt.NDArray[np.int16]) -> None:
        self._pieces.append(samples)
        self.end += len(samples)

    def drop_before(self, position: int) -> None:
        while self._pieces and self._start + len(self._pieces[0]) <= position:
            self._start += len(self._pieces.popleft())

    def read(self, start: int, stop: int) -> npt.NDArray[np.int16]:
        """Samples start..stop-1; one before the clip's first is 0."""
        result = np.zeros(stop - start, np.int16)
        position = self._start
        if max(start, 0) < position or stop > self.end:
            raise ValueError(f"samples {start}..{stop} are not within {position}..{self.end}")
        for piece in self._pieces:
            if position >= stop:
                break
            first, last = max(start, position), min(stop, position + len(piece))
            if first < last:
                result[first - start : last - start] = piece[first - position : last - position]
            position += len(piece)
        return result


class _Frames:
    """Consecutive frames in one array, where a chunk takes them from without a copy."""

    def __init__(self, room: int) -> None:
        self._array = np.empty((room, FRAME_SIZE, FRAME_SIZE, 3), np.uint8)
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def append(self, image: npt.NDArray[np.uint8]) -> None:
        if self._count == len(self._array):
            self._move(0, 2 * self._count)
        self._array[self._count] = image
        self._count += 1

    def take(self, count: int, shared: int) -> npt.NDArray[np.uint8]:
        """Remove the first ``count`` frames; return them and ``shared`` more, which stay."""
        taken = self._array[: count + shared]
        self._move(count, len(self._array))
        return taken

    def _move(self, first: int, room: int) -> None:
        kept = self._array[first : self._count]
        self._array = np.empty((room, *self._array.shape[1:]), np.uint8)
        self._array[: len(kept)] = kept
        self._count = len(kept)


@dataclass
class _Track:
    """Frames of one face that are still to be sent."""

    start: int  # index of its first frame
    first_window: int  # of the next chunk; its first frame has the same index
    end: int  # index after the last frame seen
    frames: _Frames
    ended: bool = False


class Chunker:
    """Gathers frames and samples of one clip and gives out chunks as soon as they are complete.

    Push what was decoded, then iterate over ``ready()``; at the end of the clip ``finish()`` gives
    the rest. Frames are counted on the clip's own time line at 25 a second, which starts with the
    first sample of audio; several tracks share the audio.

    Args:
        vshift: audio shifts compared to each side, in frames.
        chunk: windows in one chunk; the last one of a track may have fewer.
        cut_sound: score each track by itself: its sound begins and ends with its frames.

    Raises:
        UsageError: a value is out of range.
    """

    def __init__(
        self,
        *,
        vshift: int = DEFAULT_VSHIFT,
        chunk: int = DEFAULT_CHUNK,
        cut_sound: bool = False,
    ) -> None:
        if not 0 <= vshift <= MAX_VSHIFT:
            raise UsageError(f"vshift must be 0 to {MAX_VSHIFT} frames, not {vshift}")
        if not 1 <= chunk <= MAX_CHUNK:
            raise UsageError(f"chunk must be 1 to {MAX_CHUNK} windows, not {chunk}")
        self._vshift = vshift
        self._chunk = chunk
        self._cut_sound = cut_sound
        self._audio = _Audio()
        self._clip_frames = 0
        self._samples = 0
        self._audio_ended = False
        self._tracks: dict[int, _Track] = {}
        self._finished = False

    @property
    def samples(self) -> int:
        """Audio samples that the clip has so far."""
        return self._samples

    @property
    def frames(self) -> int:
        """Video frames that the clip has so far."""
        return self._clip_frames

    def push_clip(self, frames: int, samples: npt.NDArray[np.int16]) -> None:
        """Tell what the clip has next, on whichever tracks its frames will turn up, if on any.

        Fewer than 640 samples for a frame mean that the audio has ended, no frames at all that
        the video has. What the other stream goes on with is counted, but not kept.

        Args:
            frames: number of frames.
            samples: int16 [n], 16 kHz.
        """
        if len(samples) < frames * SAMPLES_PER_FRAME:
            self._audio_ended = True
        self._clip_frames += frames
        self._samples += len(samples)
        if frames > 0:
            self._audio.append(samples)

    def push_frames(
        self, track: int, first_frame: int, images: Iterable[npt.NDArray[np.uint8]]
    ) -> None:
        """Append the next frames of a track, each uint8 [224, 224, 3].

        Raises:
            ValueError: the frames do not follow the track's last one, or have another shape.
        """
        if track not in self._tracks:
            frames = _Frames(self._chunk + self._vshift + 2 * WINDOW_FRAMES)
            self._tracks[track] = _Track(first_frame, first_frame, first_frame, frames)
        state = self._tracks[track]
        if first_frame != state.end:
            raise ValueError(f"track {track} goes on with frame {state.end}, not {first_frame}")
        scorable = self._samples // SAMPLES_PER_FRAME if self._audio_ended else None
        for image in images:
            if image.shape != (FRAME_SIZE, FRAME_SIZE, 3) or image.dtype != np.uint8:
                raise ValueError(f"a frame is uint8 [224, 224, 3], not {image.dtype} {image.shape}")
            if scorable is None or state.end < scorable:
                state.frames.append(image)
            state.end += 1

    def end_track(self, track: int) -> None:
        """Tell that no more frames of this track will come."""
        self._tracks[track].ended = True

    def ready(self) -> Iterator[Chunk]:
        """Yield the chunks that what was pushed so far completes."""
        for number, track in list(self._tracks.items()):
            while (windows := self._complete_windows(track)) > 0:
                yield self._cut(number, track, windows)
            if self._exhausted(track):
                del self._tracks[number]
        self._drop_old_audio()

    def finish(self) -> Iterator[Chunk]:
        """Yield the rest: there is no more audio and no more video."""
        self._finished = True
        for track in self._tracks.values():
            track.ended = True
        yield from self.ready()

    @property
    def _audio_windows(self) -> int:
        """Audio windows that the clip is known to have so far."""
        return clip_windows(self._clip_frames, self._samples)

    def _complete_windows(self, track: _Track) -> int:
        """Size of the chunk that can be cut now; 0 if it is not complete yet or there is none."""
        windows = min(self._chunk, self._track_windows(track) - track.first_window)
        if windows < 1 or self._finished:
            return max(0, windows)
        # Near the front of what is decoded nobody knows yet whether the halo is clip or padding.
        sound_ended = self._cut_sound and track.ended
        if not sound_ended and track.first_window + windows + self._vshift > self._sound(track)[1]:
            return 0
        return windows if track.ended or windows == self._chunk else 0

    def _track_windows(self, track: _Track) -> int:
        """Index after the last window that a track has so far."""
        return min(track.end - WINDOW_FRAMES, self._audio_windows)

    def _sound(self, track: _Track) -> tuple[int, int]:
        """First audio window that a track is compared with, and the one after the last so far."""
        if self._cut_sound:
            return track.start, self._track_windows(track)
        return 0, self._audio_windows

    def _exhausted(self, track: _Track) -> bool:
        return track.ended and (self._finished or track.first_window + WINDOW_FRAMES >= track.end)

    def _cut(self, number: int, track: _Track, windows: int) -> Chunk:
        first = track.first_window
        sound_start, sound_end = self._sound(track)
        first_audio = max(sound_start, first - self._vshift)
        last_audio = min(sound_end, first + windows + self._vshift) - 1
        audio = self._audio.read(
            first_audio * SAMPLES_PER_FRAME - 1,
            last_audio * SAMPLES_PER_FRAME + WINDOW_SAMPLES,
        )
        if first_audio == sound_start:
            audio[0] = 0  # nothing is heard before it
        chunk = Chunk(
            track=number,
            first_window=first,
            frames=track.frames.take(windows, WINDOW_FRAMES - 1),
            audio=audio,
            padding=(
                first_audio - (first - self._vshift),
                first + windows + self._vshift - 1 - last_audio,
            ),
        )
        track.first_window += windows
        return chunk

    def _drop_old_audio(self) -> None:
        earliest = min(
            [self._clip_frames - LATE_TRACK_FRAMES]
            + [track.first_window for track in self._tracks.values()]
        )
        self._audio.drop_before((earliest - self._vshift) * SAMPLES_PER_FRAME - 1)
