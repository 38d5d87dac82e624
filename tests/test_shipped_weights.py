"""Version 1 of the towers, as it ships: the committed export is that of the committed weights."""

import shutil
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from conftest import MODEL_REPOSITORY, copy_model_repository

from syncnet_client import SyncNetClient
from syncnet_export import build, load_checkpoint
from syncnet_export.clips import sample_clip
from syncnet_export.metadata import read_metadata
from syncnet_export.precisions import FP32, INT8
from syncnet_export.tower_files import find_files
from syncnet_export.verify import verify
from syncnet_server import Server
from syncnet_training.evaluate import EvaluationClip, evaluate_in_sync
from syncnet_training.synthesis import synthesize_clip

WEIGHTS = Path(__file__).parents[1] / "training" / "weights" / "syncnet_v1.safetensors"
TOWERS = {"video_tower": "VIDEO_EMBEDDINGS", "audio_tower": "AUDIO_EMBEDDINGS"}
MAX_BYTES = 8_000_000  # of both towers: they are tracked in git


def shipped(tower: str) -> Path:
    return MODEL_REPOSITORY / tower / "1" / "model.onnx"


def embeddings(path: Path, tower: str) -> np.ndarray:
    """What a tower makes of seeded input."""
    rng = np.random.default_rng(11)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    if tower == "video_tower":
        feed = {"FRAMES": rng.integers(0, 256, (1, 8, 224, 224, 3), dtype=np.uint8)}
    else:
        feed = {"MFCC": rng.normal(0, 10, (1, 6, 13, 20)).astype(np.float32)}
    (output,) = session.run([TOWERS[tower]], feed)
    return np.asarray(output)


def test_exporting_the_committed_weights_gives_the_shipped_towers(tmp_path: Path) -> None:
    repository = tmp_path / "model_repository"
    shutil.copytree(MODEL_REPOSITORY, repository, ignore=shutil.ignore_patterns("*.onnx"))
    built = build(WEIGHTS, model_repository=repository, version=1, replace=True)
    assert len(built.files) == len(TOWERS)
    for file in built.files:
        tower = file.spec.name
        np.testing.assert_allclose(
            embeddings(file.path, tower), embeddings(shipped(tower), tower), rtol=1e-4, atol=1e-4
        )
        assert read_metadata(shipped(tower)).checkpoint_sha256 == built.checkpoint_sha256


def test_the_shipped_towers_are_small() -> None:
    """In all precisions that ship."""
    files = [path for tower in TOWERS for path in shipped(tower).parent.glob("*.onnx")]
    assert {path.name for path in files} == {FP32.file_name, INT8.file_name}
    assert sum(path.stat().st_size for path in files) <= MAX_BYTES


def test_the_shipped_int8_towers_are_the_shipped_network(talking_clip: Path) -> None:
    report = verify(
        find_files(MODEL_REPOSITORY, 1),
        load_checkpoint(WEIGHTS).network(),
        clips=[talking_clip],
        model_repository=MODEL_REPOSITORY,
    )
    assert {check.precision for check in report.embeddings} == {"fp32", "int8"}
    assert [check for check in report.failures if check in report.embeddings] == []


@pytest.mark.server
def test_int8_is_served_out_of_the_box(tmp_path: Path) -> None:
    with (
        Server(copy_model_repository(tmp_path), "int8") as server,
        SyncNetClient(server.grpc_url) as client,
    ):
        result = client.score(sample_clip())
    assert abs(result.offset_frames) <= 1


@pytest.mark.slow
def test_the_shipped_weights_find_offsets_they_have_never_seen_and_trust_no_other_sound() -> None:
    """A small part of `syncnet-train evaluate`, with the voice that is the same everywhere."""
    frames = 3 * 25 + 20  # shifts of up to 10 frames are cut off at both ends
    clips = [synthesize_clip(777_000 + i, frames, text_to_speech=False) for i in range(3)]
    report = evaluate_in_sync(
        load_checkpoint(WEIGHTS).network(),
        [
            EvaluationClip(f"clip {index}", clip.frames, clip.samples)
            for index, clip in enumerate(clips)
        ],
        seed=1,
    )
    assert report.within_one == len(clips)
    assert report.separation.area >= 0.9
    assert report.agreeing == 1
    assert report.wrong_audio_agreeing == 0
