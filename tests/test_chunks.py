"""Chunking leaves no trace: whatever the cuts, the distances are those of the clip in one piece."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pytest
from fakes import distances_of, embed_audio, embed_video, shift_distances
from hypothesis import given, settings
from hypothesis import strategies as st

from syncnet_client.chunks import LATE_TRACK_FRAMES, Chunk, Chunker, clip_windows
from syncnet_client.contract import SAMPLES_PER_FRAME, WINDOW_FRAMES
from syncnet_client.defaults import MAX_VSHIFT
from syncnet_client.errors import UsageError

LONGEST_CLIP = 150  # frames
_random = np.random.default_rng(7)
_PIXELS = _random.integers(0, 256, (LONGEST_CLIP, 3), np.uint8)
FRAMES = [np.broadcast_to(pixel, (224, 224, 3)) for pixel in _PIXELS]  # no memory for pixels
SAMPLES = _random.integers(-8000, 8000, (LONGEST_CLIP + 10) * SAMPLES_PER_FRAME, np.int16)


def in_one_piece(frames: int, samples: int, vshift: int) -> np.ndarray:
    windows = min(frames, samples // 640) - 5
    audio = np.concatenate([np.zeros(1, np.int16), SAMPLES[: 640 * (windows - 1) + 3440]])
    return shift_distances(embed_video(_PIXELS[: windows + 4]), embed_audio(audio), vshift, vshift)


def answer(chunk: Chunk) -> np.ndarray:
    return distances_of(chunk.frames, chunk.audio, chunk.padding)


def cut(
    frames: int,
    samples: int,
    *,
    vshift: int,
    chunk: int,
    block: int,
    tracks: Iterable[tuple[int, int, int]] | None = None,
) -> list[Chunk]:
    """Push a clip in blocks of frames; tracks are (number, first frame, frame after the last)."""
    tracks = [(0, 0, frames)] if tracks is None else list(tracks)
    chunker = Chunker(vshift=vshift, chunk=chunk)
    chunks: list[Chunk] = []
    for start in range(0, frames, block):
        stop = min(frames, start + block)
        last_sample = samples if stop == frames else min(samples, stop * SAMPLES_PER_FRAME)
        first_sample = min(start * SAMPLES_PER_FRAME, last_sample)
        chunker.push_clip(stop - start, SAMPLES[first_sample:last_sample])
        for number, first, end in tracks:
            if first < stop and end > start:
                here = range(max(first, start), min(end, stop))
                chunker.push_frames(number, here[0], [FRAMES[i] for i in here])
                if end <= stop:
                    chunker.end_track(number)
        chunks += chunker.ready()
    return chunks + list(chunker.finish())


@settings(max_examples=60, deadline=None)
@given(
    frames=st.integers(6, LONGEST_CLIP),
    surplus=st.integers(-3 * 640, 8 * 640),
    vshift=st.integers(0, 15),
    chunk=st.integers(1, 160),
    block=st.integers(1, 40),
)
def test_any_chunk_size_gives_the_distances_of_one_piece(frames, surplus, vshift, chunk, block):
    samples = max(6 * SAMPLES_PER_FRAME, frames * SAMPLES_PER_FRAME + surplus)
    expected = in_one_piece(frames, samples, vshift)
    chunks = cut(frames, samples, vshift=vshift, chunk=chunk, block=block)

    assert all(piece.windows <= chunk for piece in chunks)
    starts = np.cumsum([0] + [piece.windows for piece in chunks])
    assert [piece.first_window for piece in chunks] == list(starts[:-1])
    np.testing.assert_allclose(
        np.concatenate([answer(piece) for piece in chunks]), expected, rtol=1e-5, atol=1e-3
    )


@settings(max_examples=25, deadline=None)
@given(data=st.data(), vshift=st.integers(0, 15), chunk=st.integers(1, 70))
def test_a_track_is_scored_with_the_sound_around_it(data, vshift, chunk):
    """The rows of a track are those of the clip: its audio halo does not stop at its ends."""
    frames, samples = 120, 120 * SAMPLES_PER_FRAME
    bounds = [
        sorted(data.draw(st.lists(st.integers(0, 120), min_size=2, max_size=2, unique=True)))
        for _ in range(3)
    ]
    tracks = [(number, first, end) for number, (first, end) in enumerate(bounds)]
    chunks = cut(frames, samples, vshift=vshift, chunk=chunk, block=9, tracks=tracks)

    whole = in_one_piece(frames, samples, vshift)
    for number, first, end in tracks:
        mine = [piece for piece in chunks if piece.track == number]
        assert sum(piece.windows for piece in mine) == max(0, end - first - WINDOW_FRAMES)
        for piece in mine:
            rows = slice(piece.first_window, piece.first_window + piece.windows)
            np.testing.assert_allclose(answer(piece), whole[rows], rtol=1e-5, atol=1e-3)


def test_chunks_come_as_soon_as_their_halo_is_decoded():
    chunker = Chunker(vshift=10, chunk=20)
    chunker.push_frames(0, 0, FRAMES[:34])
    chunker.push_clip(34, SAMPLES[: 34 * 640])
    assert list(chunker.ready()) == []  # windows 0..19 with their halo reach to window 29
    chunker.push_clip(1, SAMPLES[34 * 640 : 35 * 640])
    (first,) = chunker.ready()
    assert (first.first_window, first.windows, first.padding) == (0, 20, (10, 0))
    assert first.frames.shape == (24, 224, 224, 3)
    assert first.audio.shape == (1 + 640 * 29 + 3440,)
    assert first.audio[0] == 0


def test_context_sample_is_the_one_before_the_first_window():
    second = cut(100, 64_000, vshift=3, chunk=10, block=7)[1]
    assert second.padding == (0, 0)
    assert second.audio[0] == SAMPLES[7 * 640 - 1]
    np.testing.assert_array_equal(second.audio[1:641], SAMPLES[7 * 640 : 8 * 640])


@pytest.mark.parametrize(
    ("frames", "samples"), [(10, 6400), (10, 0), (0, 6400)], ids=["both", "video", "audio"]
)
def test_memory_does_not_grow_with_the_clip(frames, samples):
    """Neither while both streams last, nor when one goes on alone."""
    chunker = Chunker(vshift=10, chunk=20)
    chunker.push_clip(20, SAMPLES[: 20 * 640])
    chunker.push_frames(0, 0, FRAMES[:20])
    kept_frames, kept_samples = [], []
    for block in range(400):  # 160 s
        chunker.push_clip(frames, SAMPLES[:samples])
        chunker.push_frames(0, 20 + block * frames, FRAMES[:frames])
        for _ in chunker.ready():
            pass
        kept_frames.append(sum(len(track.frames) for track in chunker._tracks.values()))
        kept_samples.append(sum(len(piece) for piece in chunker._audio._pieces))
    assert chunker.frames == 20 + 400 * frames
    assert chunker.samples == 20 * 640 + 400 * samples
    assert max(kept_frames) <= 20 + 10 + 2 * 10 + WINDOW_FRAMES
    assert max(kept_samples) <= (LATE_TRACK_FRAMES // 25 + 2) * 16_000


def test_nothing_to_score_gives_no_chunk():
    assert cut(5, 5 * 640, vshift=10, chunk=60, block=5) == []
    assert cut(30, 5 * 640, vshift=10, chunk=60, block=5) == []


@pytest.mark.parametrize(
    ("frames", "samples", "windows"),
    [(900, 575_616, 894), (6, 6 * 640, 1), (5, 9_999_999, 0), (900, 0, 0), (100, 64_639, 95)],
)
def test_number_of_windows_follows_the_shorter_stream(frames, samples, windows):
    assert clip_windows(frames, samples) == windows


def test_frames_of_a_track_must_follow_each_other():
    chunker = Chunker()
    chunker.push_frames(0, 0, FRAMES[:3])
    with pytest.raises(ValueError, match="goes on with frame 3, not 5"):
        chunker.push_frames(0, 5, FRAMES[:1])
    with pytest.raises(ValueError, match=r"not uint8 \(100, 100, 3\)"):
        chunker.push_frames(0, 3, [np.zeros((100, 100, 3), np.uint8)])


@pytest.mark.parametrize(
    "options", [{"vshift": -1}, {"vshift": MAX_VSHIFT + 1}, {"chunk": 0}, {"chunk": 601}]
)
def test_impossible_sizes_are_refused(options):
    with pytest.raises(UsageError, match=next(iter(options))):
        Chunker(**options)
