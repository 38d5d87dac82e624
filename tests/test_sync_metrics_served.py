"""The model `sync_metrics` on the real server: what it answers in each scope."""

from __future__ import annotations

import numpy as np
import pytest
from test_sync_metrics import face, segment_metrics, sync_metrics
from tritonclient.grpc import InferenceServerClient, InferInput
from tritonclient.utils import InferenceServerException, np_to_triton_dtype

from syncnet_server import Server

pytestmark = pytest.mark.server

DRAWN = {"AGREEMENT", "OFFSET_INTERVAL", "MEAN_DISTANCES", "TRACK_WEIGHTS"}
SEGMENTS = {"SEGMENT_START", "SEGMENT_OFFSET", "SEGMENT_CONFIDENCE", "SEGMENT_AGREEMENT"}


def ask(
    server: Server, parameters: dict[str, str | int], **inputs: np.ndarray
) -> dict[str, np.ndarray]:
    """All outputs of the model for one item, without the batch dimension."""
    tensors = [
        InferInput(name, [1, *array.shape], np_to_triton_dtype(array.dtype)).set_data_from_numpy(
            array[None]
        )
        for name, array in inputs.items()
    ]
    with InferenceServerClient(server.grpc_url) as client:
        result = client.infer("sync_metrics", tensors, parameters=parameters)
    return {
        output.name: result.as_numpy(output.name)[0] for output in result.get_response().outputs
    }


def test_chunks_are_answered_without_what_is_drawn(server: Server) -> None:
    answer = ask(server, {}, DISTANCES=face(20, 1, depth=2))
    assert set(answer) == {"OFFSET", "CONFIDENCE", "MIN_DISTANCE", "FRAME_CONFIDENCE"}


@pytest.mark.parametrize("scope", ["clip", "track"])
def test_rows_of_a_face_are_answered_with_how_sure_it_is(server: Server, scope: str) -> None:
    rows = face(100, -3, depth=0.4)
    answer = ask(server, {"scope": scope}, DISTANCES=rows)
    expected = sync_metrics(rows)
    assert 0 < expected.agreement < 1
    assert set(answer) >= DRAWN
    assert not set(answer) & SEGMENTS
    np.testing.assert_array_equal(answer["OFFSET"], [expected.offset])
    np.testing.assert_allclose(answer["AGREEMENT"], [expected.agreement])
    np.testing.assert_allclose(answer["OFFSET_INTERVAL"], expected.offset_interval, rtol=1e-6)
    np.testing.assert_allclose(answer["MEAN_DISTANCES"], expected.mean_distances, rtol=1e-6)
    np.testing.assert_array_equal(answer["TRACK_WEIGHTS"], [1])


def test_segments_are_answered_with_how_sure_they_are(server: Server) -> None:
    rows = face(130, 2, depth=0.4)
    answer = ask(server, {"scope": "track", "segment_windows": 50}, DISTANCES=rows)
    starts, offsets, _, agreements = zip(*segment_metrics(rows, 50), strict=True)
    np.testing.assert_array_equal(answer["SEGMENT_START"], starts)
    np.testing.assert_array_equal(answer["SEGMENT_OFFSET"], offsets)
    np.testing.assert_allclose(answer["SEGMENT_AGREEMENT"], agreements)


def test_a_clip_of_several_tracks_has_one_answer(server: Server) -> None:
    faces = [face(100, 0, depth=0, seed=3), face(50, 4, depth=2)]
    rows, tracks = np.concatenate(faces), np.repeat(np.int32([2, 7]), [100, 50])
    answer = ask(server, {"scope": "clip"}, DISTANCES=rows, TRACKS=tracks)
    expected = sync_metrics(rows, tracks)
    assert answer["OFFSET"] == [4]
    np.testing.assert_allclose(answer["AGREEMENT"], [expected.agreement])
    np.testing.assert_allclose(answer["TRACK_WEIGHTS"], expected.track_weights, rtol=1e-6)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({}, "TRACKS needs the request parameter scope to be clip or track"),
        ({"scope": "film"}, r"scope must be one of \('chunk', 'track', 'clip'\), got 'film'"),
        (
            {"scope": "clip", "segment_windows": 10},
            "segment_windows goes with the rows of one track, not with TRACKS",
        ),
    ],
)
def test_what_does_not_go_together_is_refused(
    server: Server, parameters: dict[str, str | int], message: str
) -> None:
    rows, tracks = face(30, 0, depth=1), np.zeros(30, np.int32)
    with pytest.raises(InferenceServerException, match=message):
        ask(server, parameters, DISTANCES=rows, TRACKS=tracks)
