"""What a clip of several faces says: together, and each for itself."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from fakes import WrittenTransport, written_frames
from test_client import Faces, noise, score_faces

from syncnet_client import SyncNetClient
from syncnet_client.faces import CropEvent, TrackFrames
from syncnet_client.media import Frame
from syncnet_client.transport.base import Weights

FRAMES = 200
Face = tuple[int, int, np.ndarray]


def speaker(start: int, end: int, offset: int) -> Face:
    return start, end, written_frames(end - start, 10 - offset, 6)


class Seen(Faces):
    """Faces that the detector sees on every frame."""

    def _events(self, frames: list[Frame]) -> list[CropEvent]:
        events = super()._events(frames)
        for event in events:
            if isinstance(event, TrackFrames):
                event.frames[:] = [replace(frame, detected=True) for frame in event.frames]
        return events


def listener(start: int, end: int) -> Face:
    """The lowest distance of each window lies anywhere."""
    pixels = np.zeros((end - start, 1, 1, 3), np.uint8)
    pixels[:, 0, 0, 0] = np.random.default_rng(start).integers(0, 21, end - start)
    pixels[:, 0, 0, 1] = 20
    return start, end, np.broadcast_to(pixels, (end - start, 224, 224, 3))


@pytest.fixture
def transport() -> WrittenTransport:
    return WrittenTransport()


@pytest.mark.parametrize("cut", [60, 100])
def test_faces_that_agree_speak_for_the_clip_together(
    transport: WrittenTransport, cut: int
) -> None:
    faces = Seen(speaker(0, cut, 2), speaker(cut, FRAMES, 2))
    result = score_faces(transport, faces, FRAMES)
    assert (result.offset_frames, result.agreement) == (2, 1)
    assert result.verdict.trusted
    # Neither is in view for half of the clip, or one is; for itself each says so.
    alone = [track.verdict.trusted for track in result.tracks]
    assert sum(alone) == (cut == 60)


def test_a_listener_does_not_drown_the_speaker(transport: WrittenTransport) -> None:
    faces = Seen(listener(0, FRAMES), speaker(20, 140, -3))
    result = score_faces(transport, faces, FRAMES)
    assert result.offset_frames == -3
    assert result.verdict.trusted
    assert result.speaker.track == 1
    weights = result.answer.track_weights
    assert weights[1] > 0.9
    assert sum(weights.values()) == pytest.approx(1)


def test_scenes_whose_offsets_differ_are_not_trusted(transport: WrittenTransport) -> None:
    faces = Seen(speaker(0, 90, 0), speaker(90, FRAMES, 5))
    result = score_faces(transport, faces, FRAMES)
    assert not result.verdict.trusted
    texts = {reason.code: reason.text for reason in result.verdict.reasons}
    assert texts["offset_changes"] == (
        "no single offset fits: the faces differ: "
        "+0 ms from 0.0 to 3.6 s, +200 ms from 3.6 to 8.0 s"
    )
    assert "low_agreement" in texts


def test_one_face_needs_one_request(transport: WrittenTransport) -> None:
    result = score_faces(transport, Seen(speaker(0, FRAMES, 1)), FRAMES)
    assert transport.requests == 1
    assert result.several is None
    assert result.answer.agreement == result.speaker.agreement == 1
    assert result.verdict == result.speaker.verdict


def test_the_result_says_what_the_server_says_of_its_weights(transport: WrittenTransport) -> None:
    transport.described["1"] = Weights("v1", "synthetic faces", 120)
    result = score_faces(transport, Seen(speaker(0, FRAMES, 2)), FRAMES)
    assert result.weights.name == "v1"
    assert "(+-120 ms: weights trained on synthetic faces)" in result.headline


def follow_the_search(transport: WrittenTransport) -> list[int]:
    """Let the transport answer in the range that each chunk asks for; the ranges, in order."""
    searched = []

    def set_range(chunk) -> None:
        windows = (len(chunk.audio) - 1 - 3440) // 640 + 1 + sum(chunk.padding)
        transport.vshift = (windows - chunk.windows) // 2
        searched.append(transport.vshift)

    transport.before_chunk = set_range
    return searched


@pytest.mark.parametrize(
    ("column", "ranges", "offset"),
    [
        (7, [10], 3),  # clear at first
        (20, [10, 50], 30),  # at the edge of the first search
    ],
)
def test_a_search_widens_where_the_first_one_finds_nothing(
    transport: WrittenTransport, column: int, ranges: list[int], offset: int
) -> None:
    searched = follow_the_search(transport)
    with SyncNetClient(transport=transport) as client:
        arrays = (written_frames(80, column, 6), noise(80))
        result = client.score(arrays, search="auto")
    assert searched == ranges
    assert (result.vshift, result.offset_frames) == (ranges[-1], offset)
