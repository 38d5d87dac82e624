"""The profiles that need no GPU, served and scored on the real server."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from conftest import unexpected_errors
from tritonclient.grpc import InferenceServerClient, InferInput

from syncnet_client import SyncNetClient
from syncnet_export import load_checkpoint
from syncnet_export.building import Build
from syncnet_export.precisions import FP16, FP32, INT8, INT8_AMX, Precision
from syncnet_export.reference import published_embeddings, seeded_inputs
from syncnet_export.tower_specs import TOWERS, VIDEO, TowerSpec
from syncnet_server import Server, ServingError

PROFILES = {"default": FP32, "int8": INT8, "int8-amx": INT8_AMX, "fp16": FP16}

pytestmark = pytest.mark.server


@pytest.fixture(scope="module", params=PROFILES)
def served(
    request: pytest.FixtureRequest, all_precisions: tuple[Path, Build]
) -> Iterator[tuple[Precision, Server]]:
    with Server(all_precisions[0], request.param) as server:
        yield PROFILES[request.param], server
        log = server.log
    assert unexpected_errors(log) == []


def test_a_clip_scores_as_verified(
    served: tuple[Precision, Server], all_precisions: tuple[Path, Build], talking_clip: Path
) -> None:
    precision, server = served
    with SyncNetClient(server.grpc_url) as client:
        result = client.score(talking_clip)
    scores = all_precisions[1].report.scores
    (expected,) = (check for check in scores if check.precision == precision.name)
    assert result.offset_frames == expected.exported.offset
    assert result.confidence == pytest.approx(expected.exported.confidence, rel=1e-3)
    assert result.min_distance == pytest.approx(expected.exported.min_distance, rel=1e-3)


@pytest.mark.parametrize("spec", TOWERS, ids=lambda spec: spec.name)
def test_towers_embed_as_the_published_network(
    served: tuple[Precision, Server], narrow_checkpoint: Path, spec: TowerSpec
) -> None:
    precision, server = served
    inputs = seeded_inputs(7, windows=3)
    reference = published_embeddings(load_checkpoint(narrow_checkpoint).network(), inputs)
    expected = reference.video if spec is VIDEO else reference.audio
    data = inputs.of(spec)[None]
    tensor = InferInput(
        spec.input_name, list(data.shape), "UINT8" if spec is VIDEO else "FP32"
    ).set_data_from_numpy(data)
    with InferenceServerClient(server.grpc_url) as client:
        answer = client.infer(spec.name, [tensor]).as_numpy(spec.output_name)
    assert answer is not None
    error = np.linalg.norm(answer[0] - expected, axis=1) / np.linalg.norm(expected, axis=1)
    assert error.max() <= precision.embedding_tolerance


def test_other_models_are_served_as_ever_under_a_profile(
    served: tuple[Precision, Server],
) -> None:
    _, server = served
    with InferenceServerClient(server.grpc_url) as client:
        for model in ("syncnet", "mfcc", "shift_distance", "sync_metrics"):
            assert client.is_model_ready(model)


@pytest.mark.parametrize(
    ("profile", "message"),
    [
        ("tensorrt", r"no engine .*model\.plan; build it with `syncnet-export tensorrt`"),
        ("int3", "no profile 'int3' .*: default, fp16, int8, int8-amx, tensorrt, tensorrt-ep"),
    ],
)
def test_profiles_that_cannot_be_served_say_why(
    all_precisions: tuple[Path, Build], profile: str, message: str
) -> None:
    with pytest.raises(ServingError, match=message):
        Server(all_precisions[0], profile).start()


def test_a_profile_whose_files_were_not_exported_says_so(
    all_precisions: tuple[Path, Build], tmp_path: Path
) -> None:
    repository = tmp_path / "model_repository"
    shutil.copytree(all_precisions[0], repository)
    for spec in TOWERS:
        (repository / spec.name / "1" / INT8.file_name).unlink()
    with pytest.raises(ServingError, match=r"no such file: .*model\.int8\.onnx"):
        Server(repository, "int8").start()
