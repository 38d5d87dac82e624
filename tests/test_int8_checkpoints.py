"""int8 of full-size checkpoints that nobody tuned anything for."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import copy_model_repository
from safetensors.torch import save_file

from syncnet_export import build, load_checkpoint
from syncnet_export.description import UNKNOWN
from syncnet_export.exporter import Exporter
from syncnet_export.network import random_checkpoint
from syncnet_export.onnx_files import embed, open_session
from syncnet_export.precisions import FP32, INT8
from syncnet_export.reference import published_embeddings, relative_error, seeded_inputs
from syncnet_export.tower_files import TowerFile
from syncnet_export.tower_specs import AUDIO


def checkpoint(folder: Path, seed: int) -> Path:
    path = folder / f"seed-{seed}.safetensors"
    save_file(random_checkpoint(seed=seed), path)
    return path


@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.parametrize("seed", [1, 2])
def test_the_audio_tower_of_any_seed_is_within_the_tolerance(tmp_path: Path, seed: int) -> None:
    weights = load_checkpoint(checkpoint(tmp_path, seed))
    exporter = Exporter(weights, [], copy_model_repository(tmp_path), UNKNOWN)
    file = TowerFile(AUDIO, INT8, tmp_path / INT8.file_name)
    exporter.write(file)
    others = seeded_inputs(77, windows=6)
    expected = published_embeddings(exporter.network, others).audio
    actual = embed(open_session(file.path), AUDIO, others.mfcc[None])[0]
    assert relative_error(actual, expected) <= INT8.embedding_tolerance


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("seed", range(10))
def test_int8_of_any_seed_is_installed(tmp_path: Path, seed: int) -> None:
    repository = copy_model_repository(tmp_path)
    built = build(
        checkpoint(tmp_path, seed),
        model_repository=repository,
        version=2,
        precisions=[FP32.name, INT8.name],
    )
    assert built.refused == {}
    assert {file.precision for file in built.files} == {FP32, INT8}
    assert built.report.failures == []
