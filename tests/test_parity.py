"""The numbers of the served pipeline are those of the published one, on a real tritonserver."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import reference
import torch
from conftest import copy_model_repository
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from tritonclient.grpc import InferenceServerClient, InferInput
from tritonclient.utils import np_to_triton_dtype

from syncnet_client.client import SyncNetClient
from syncnet_client.contract import SAMPLES_PER_FRAME
from syncnet_client.media import open_media
from syncnet_export import load_checkpoint
from syncnet_server import Server

pytestmark = pytest.mark.server

CHECKOUT = Path(__file__).parents[1]
SAMPLE = CHECKOUT / "samples" / "talking-head.mp4"
WEIGHTS = CHECKOUT / "training" / "weights" / "syncnet_v1.safetensors"

# Distances of the random network are near 370, of a trained one near 10: what is 1e-4 there is
# 1e-5 of the number itself here.
RELATIVE = 1e-5


@pytest.fixture(scope="module")
def client(server: Server) -> Iterator[SyncNetClient]:
    with SyncNetClient(server.grpc_url) as connected:
        yield connected


@pytest.fixture(scope="module")
def triton(server: Server) -> Iterator[InferenceServerClient]:
    with InferenceServerClient(server.grpc_url) as connected:
        yield connected


def infer(triton: InferenceServerClient, model: str, output: str, **inputs: np.ndarray):
    tensors = []
    for name, array in inputs.items():
        tensor = InferInput(name, list(array.shape), np_to_triton_dtype(array.dtype))
        tensors.append(tensor.set_data_from_numpy(array))
    return triton.infer(model, tensors).as_numpy(output)


def speech(samples: int, seed: int = 0) -> np.ndarray:
    """A buzzing voice with syllables and pauses, int16."""
    random = np.random.default_rng(seed)
    time = np.arange(samples) / 16_000
    pitch = 110 + 15 * np.sin(2 * np.pi * 0.7 * time)
    voice = sum(np.sin(2 * np.pi * k * np.cumsum(pitch) / 16_000) / k for k in range(1, 25))
    syllables = np.clip(np.sin(2 * np.pi * 4 * time) + 0.3 * random.normal(), 0, 1)
    return (4000 * voice * syllables + random.normal(0, 30, samples)).astype(np.int16)


def pictures(count: int, seed: int = 0) -> np.ndarray:
    """A noisy picture whose colours change from frame to frame: uint8 [count, 224, 224, 3]."""
    random = np.random.default_rng(seed)
    picture = random.integers(0, 90, (224, 224, 3), np.uint8)
    picture += np.linspace(20, 160, 224).astype(np.uint8)[:, None, None]
    colours = random.integers(0, 256, (count, 1, 1, 3), np.uint8)
    return picture + colours  # wraps around at 256


@pytest.mark.parametrize(
    "samples",
    [
        speech(40 * 640 + 3440),
        np.zeros(20 * 640 + 3440, np.int16),
        (speech(20 * 640 + 3440).astype(np.int32) * 50).clip(-32768, 32767).astype(np.int16),
    ],
    ids=["speech", "silence", "clipping"],
)
def test_mfcc(triton: InferenceServerClient, samples: np.ndarray):
    audio = np.concatenate([np.zeros(1, np.int16), samples])
    windows = infer(triton, "mfcc", "MFCC", AUDIO=audio[None])[0]
    expected = reference.mfcc(samples)
    for k, window in enumerate(windows):
        np.testing.assert_allclose(window, expected[:, 4 * k : 4 * k + 20], rtol=0, atol=1e-4)


def test_embeddings(triton: InferenceServerClient, narrow_weights: dict[str, Tensor]):
    frames, samples = pictures(34), speech(30 * 640 + 3440)
    expected = reference.evaluate(narrow_weights, frames, samples, vshift=0)
    windows = len(expected.video)
    assert windows == 29

    video = infer(triton, "video_tower", "VIDEO_EMBEDDINGS", FRAMES=frames[None, : windows + 4])[0]
    audio = np.concatenate([np.zeros(1, np.int16), samples[: 640 * (windows - 1) + 3440]])
    mfcc = infer(triton, "mfcc", "MFCC", AUDIO=audio[None])
    audio = infer(triton, "audio_tower", "AUDIO_EMBEDDINGS", MFCC=mfcc)[0]
    for actual, wanted in [(video, expected.video), (audio, expected.audio)]:
        assert np.abs(actual - wanted).max() <= 1e-5 * np.abs(wanted).max()


def assert_parity(result, expected: reference.Evaluation, tolerance: float | None = None) -> None:
    speaker = result.speaker
    assert speaker.distances.shape == expected.distances.shape
    assert speaker.windows == len(expected.distances)
    if tolerance is None:
        tolerance = RELATIVE * expected.distances.max()
    np.testing.assert_allclose(speaker.distances, expected.distances, rtol=0, atol=tolerance)
    assert result.offset_frames == expected.offset
    assert result.confidence == pytest.approx(expected.confidence, abs=tolerance)
    assert result.min_distance == pytest.approx(expected.min_distance, abs=tolerance)
    for actual, wanted in [
        (speaker.frame_confidence, expected.frame_confidence),
        (speaker.frame_confidence_median, expected.frame_confidence_filtered),
    ]:
        np.testing.assert_allclose(actual, wanted, rtol=0, atol=tolerance)


@pytest.mark.filterwarnings("ignore:kernel_size exceeds volume extent")
@pytest.mark.parametrize(
    ("frames", "samples", "vshift"),
    [(60, 60 * 640 + 300, 10), (60, 41 * 640, 15), (25, 90 * 640, 3), (6, 6 * 640, 10)],
    ids=["same length", "audio shorter", "video shorter", "shortest"],
)
def test_whole_clip(
    client: SyncNetClient, narrow_weights: dict[str, Tensor], frames, samples, vshift
):
    clip = pictures(frames, seed=frames), speech(samples, seed=frames)
    result = client.score(clip, vshift=vshift, chunk=17)
    assert_parity(result, reference.evaluate(narrow_weights, *clip, vshift))
    assert (result.frames, result.audio_samples) == (frames, samples)
    assert bool(result.warnings) == (frames != samples // 640)


def test_sample_clip_with_the_shipped_weights(tmp_path: Path):
    """What trained towers say of a real file, to 1e-4 as it stands."""
    weights = {name: tensor.float() for name, tensor in load_checkpoint(WEIGHTS).state_dict.items()}
    with open_media(SAMPLE) as media:
        blocks = list(media)
    frames = np.stack([frame.image for block in blocks for frame in block.frames])
    samples = np.concatenate([block.samples for block in blocks])
    with (
        Server(copy_model_repository(tmp_path)) as server,
        SyncNetClient(server.grpc_url) as client,
    ):
        result = client.score(SAMPLE)
    assert_parity(result, reference.evaluate(weights, frames, samples, 10), tolerance=1e-4)


def test_walkthrough(client: SyncNetClient, narrow_weights: dict[str, Tensor]):
    """36 s of video with slightly less audio, in the numbers of the published walkthrough."""
    clip = pictures(900, seed=36), speech(575_616, seed=36)
    assert reference.mfcc(clip[1]).shape == (13, 3597)

    result = client.score(clip)
    assert (result.frames, result.audio_samples) == (900, 575_616)
    assert result.speaker.windows == 894
    assert result.speaker.distances.shape == (894, 21)
    assert result.warnings == ()  # less than a window is missing

    # The last 100 frames, where the clip ends, against the plain network; all of it takes long.
    # Their first audio window lacks the sample before it, and the windows before that are zeros.
    tail = reference.evaluate(narrow_weights, clip[0][-101:], clip[1][(900 - 101) * 640 :], 10)
    assert tail.min_length == 100
    assert len(tail.distances) == 95
    tolerance = RELATIVE * tail.distances.max()
    np.testing.assert_allclose(
        result.speaker.distances[-84:], tail.distances[-84:], rtol=0, atol=tolerance
    )


@settings(max_examples=12, deadline=None)
@given(frames=st.integers(6, 70), vshift=st.integers(0, 15), chunk=st.integers(1, 70))
def test_chunking_is_invisible(client: SyncNetClient, frames: int, vshift: int, chunk: int):
    clip = pictures(frames, seed=1), speech(frames * SAMPLES_PER_FRAME, seed=1)
    cut = client.score(clip, vshift=vshift, chunk=chunk).speaker.distances
    whole = client.score(clip, vshift=vshift, chunk=600).speaker.distances
    assert cut.shape == whole.shape == (frames - 5, 2 * vshift + 1)
    np.testing.assert_allclose(cut, whole, rtol=RELATIVE, atol=0)


def test_the_reference_is_the_published_distance():
    """calc_pdist of the reference: zeros around the audio, 1e-6 on every difference."""
    video, audio = torch.ones(3, 4), torch.zeros(3, 4)
    distances = reference.calc_pdist(video, audio, 2)
    assert distances.shape == (3, 5)
    torch.testing.assert_close(distances, torch.full((3, 5), 2.0 + 2e-6), rtol=0, atol=1e-6)
