"""The mathematics of the Python models, against independent sources, with no Triton."""

import tracemalloc

import numpy as np
import pytest
import torch
from python_speech_features import mfcc as reference_mfcc

from syncnet_server import default_model_repository, load_model_module

REPOSITORY = default_model_repository()
mfcc = load_model_module(REPOSITORY, "mfcc")
shift_distance = load_model_module(REPOSITORY, "shift_distance")
sync_metrics = load_model_module(REPOSITORY, "sync_metrics")


def speech_like(samples: int, seed: int = 0) -> np.ndarray:
    """Noise through a slowly beating amplitude, with pauses: int16 [samples]."""
    rng = np.random.default_rng(seed)
    time_s = np.arange(samples) / 16_000
    envelope = np.clip(np.sin(2 * np.pi * 3 * time_s), 0, None)
    voice = np.sign(np.sin(2 * np.pi * 120 * time_s)) * 0.5 + rng.normal(0, 0.3, samples)
    return (voice * envelope * 9000).astype(np.int16)


SIGNALS = {
    "speech-like": speech_like(40_000),
    "silence": np.zeros(16_000, np.int16),
    "clipping": (speech_like(16_000).astype(np.int32) * 100).clip(-32768, 32767).astype(np.int16),
    "square wave at full scale": np.tile(np.repeat(np.int16([32767, -32768]), 50), 160),
    "shorter than a frame": speech_like(300, seed=1),
    "a partial last frame": speech_like(561, seed=2),
}


def after_context(samples: np.ndarray) -> np.ndarray:
    return np.concatenate([np.zeros(1, np.int16), samples])


@pytest.mark.parametrize("name", SIGNALS)
def test_mfcc_equals_python_speech_features(name: str) -> None:
    expected = reference_mfcc(SIGNALS[name], 16_000)
    actual = mfcc.mfcc(after_context(SIGNALS[name]))
    assert actual.shape == expected.shape
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-4)


def test_mfcc_windows_are_those_of_the_whole_clip() -> None:
    samples = speech_like(640 * 30)
    whole = mfcc.mfcc(after_context(samples))
    first, windows = 7, 9
    start = 640 * first
    piece = samples[start - 1 : start + 640 * (windows - 1) + 3440]
    actual = mfcc.mfcc_windows(piece)
    assert actual.shape == (windows, 13, 20)
    for index in range(windows):
        frame = 4 * (first + index)
        np.testing.assert_array_equal(actual[index], whole[frame : frame + 20].T)


def test_mfcc_windows_of_a_batch_are_those_of_its_parts() -> None:
    parts = np.stack([speech_like(1 + 3440 + 640, seed) for seed in range(3)])
    together = mfcc.mfcc_windows(parts)
    assert together.shape == (3, 2, 13, 20)
    for part, windows in zip(parts, together, strict=True):
        np.testing.assert_array_equal(mfcc.mfcc_windows(part), windows)


@pytest.mark.parametrize("samples", [0, 1, 3440, 3442, 4080])
def test_mfcc_windows_refuse_a_broken_window(samples: int) -> None:
    with pytest.raises(ValueError, match=f"got {samples}$"):
        mfcc.mfcc_windows(np.zeros(samples, np.int16))


def embeddings(windows: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(windows, 1024)).astype(np.float32)


@pytest.mark.parametrize(("windows", "vshift"), [(1, 0), (1, 3), (12, 0), (12, 10), (5, 15)])
def test_shift_distances_are_pairwise_distances_to_zero_padded_audio(
    windows: int, vshift: int
) -> None:
    video, audio = embeddings(windows, 0), embeddings(windows, 1)
    padded = torch.nn.functional.pad(torch.from_numpy(audio), (0, 0, vshift, vshift))
    expected = [
        torch.nn.functional.pairwise_distance(
            torch.from_numpy(video[[row]]).repeat(2 * vshift + 1, 1),
            padded[row : row + 2 * vshift + 1],
        ).numpy()
        for row in range(windows)
    ]
    actual = shift_distance.shift_distances(video, audio, vshift, vshift)
    assert actual.dtype == np.float32
    np.testing.assert_allclose(actual, expected, rtol=1e-6)


def test_shift_distances_of_a_chunk_are_rows_of_the_whole() -> None:
    video, audio, vshift = embeddings(20, 0), embeddings(20, 1), 4
    whole = shift_distance.shift_distances(video, audio, vshift, vshift)
    inner = shift_distance.shift_distances(video[2:9], audio[: 9 + vshift], vshift - 2, 0)
    np.testing.assert_array_equal(inner, whole[2:9])


@pytest.mark.parametrize(
    ("windows", "audio", "left", "right"),
    [(0, 4, 0, 0), (4, 5, 0, 0), (4, 3, 0, 0), (4, 7, -1, 0), (4, 7, 0, -1)],
)
def test_shift_distances_refuse_windows_that_do_not_fit(
    windows: int, audio: int, left: int, right: int
) -> None:
    with pytest.raises(ValueError, match=rf"got K = {windows}, A = {audio}, left = {left}"):
        shift_distance.shift_distances(embeddings(windows, 0), embeddings(audio, 1), left, right)


@pytest.mark.parametrize(
    ("windows", "audio", "left", "right"),
    [(2, 2, 2_500_000, 2_500_000), (1, 1, 2**30, 2**30), (1, 1, 251, 251), (3001, 3001, 0, 0)],
)
def test_shift_distances_refuse_what_is_past_the_limits_before_any_work(
    windows: int, audio: int, left: int, right: int
) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=r"K must be at most 3000 and V at most 250"):
            shift_distance.shift_distances(
                np.broadcast_to(np.float32(0), (windows, 1024)),
                np.broadcast_to(np.float32(0), (audio, 1024)),
                left,
                right,
            )
        assert tracemalloc.get_traced_memory()[1] < 100_000
    finally:
        tracemalloc.stop()


def test_the_largest_shift_is_within_the_limits() -> None:
    distances = shift_distance.shift_distances(embeddings(1, 0), embeddings(1, 1), 250, 250)
    assert distances.shape == (1, 501)


def test_mfcc_windows_refuse_more_than_their_limit() -> None:
    assert mfcc.mfcc_windows(np.zeros(1 + 640 * 3499 + 3440, np.int16)).shape == (3500, 13, 20)
    with pytest.raises(ValueError, match="at most 3500 audio windows, got 3501"):
        mfcc.mfcc_windows(np.zeros(1 + 640 * 3500 + 3440, np.int16))


@pytest.mark.parametrize("shape", [(2_160_001, 1), (1, 503)])
def test_sync_metrics_refuse_more_than_their_limits(shape: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="at most 2160000 windows and 501 shifts"):
        sync_metrics.sync_metrics(np.broadcast_to(np.float32(0), shape))


@pytest.mark.parametrize("offset", [-3, 0, 2])
def test_sync_metrics_follow_their_definition(offset: int) -> None:
    distances = np.full((6, 7), 10, np.float32) + np.arange(7, dtype=np.float32)
    distances[:, 3 - offset] = [2, 3, 4, 2, 3, 4]
    metrics = sync_metrics.sync_metrics(distances)
    median = np.median(distances.mean(axis=0))
    assert metrics.offset == offset
    assert metrics.min_distance == 3
    assert metrics.confidence == pytest.approx(median - 3)
    np.testing.assert_allclose(metrics.frame_confidence, median - distances[:, 3 - offset])


@pytest.mark.parametrize("shape", [(0, 21), (4, 20)])
def test_sync_metrics_refuse_what_are_no_distances(shape: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match=r"must be \[K, 2 V \+ 1\]"):
        sync_metrics.sync_metrics(np.zeros(shape, np.float32))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_sync_metrics_refuse_distances_that_are_not_finite(value: float) -> None:
    distances = np.ones((3, 5), np.float32)
    distances[1, 2] = value
    with pytest.raises(ValueError, match="must be finite"):
        sync_metrics.sync_metrics(distances)
