"""The client from a clip to its result, against transports that stand in for the server."""

from __future__ import annotations

import asyncio
import threading
import tracemalloc
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction

import cv2
import numpy as np
import pytest
from fakes import FakeTriton, WrittenTransport, distances_of, written_frames

from syncnet_client import (
    AsyncSyncNetClient,
    ClipTooShortError,
    MediaError,
    NoFaceError,
    OutOfMemoryError,
    Progress,
    ServerUnavailableError,
    SyncNetClient,
    UsageError,
)
from syncnet_client.faces import (
    Box,
    CropEvent,
    CroppedFrame,
    CropSummary,
    TrackEnd,
    TrackFrames,
)
from syncnet_client.media import ArrayMedia, ArrayPicture, Frame
from syncnet_client.scoring.clip import score_media
from syncnet_client.scoring.options import ScoreOptions


def noise(frames: int, extra_samples: int = 0) -> np.ndarray:
    random = np.random.default_rng(frames)
    return random.integers(-6000, 6000, frames * 640 + extra_samples, np.int16)


@pytest.fixture
def transport() -> WrittenTransport:
    return WrittenTransport()


@pytest.fixture
def client(transport: WrittenTransport) -> Iterator[SyncNetClient]:
    with SyncNetClient(transport=transport) as connected:
        yield connected
    assert transport.closed
    assert transport.open_streams == 0


def test_a_clip_in_numbers(client: SyncNetClient):
    result = client.score((written_frames(100, column=7, depth=6), noise(100)), chunk=30)
    assert (result.offset_frames, result.offset_ms) == (3, 120)
    assert result.confidence == pytest.approx(6)
    assert result.min_distance == pytest.approx(4)
    assert (result.frames, result.audio_samples, result.vshift) == (100, 64_000, 10)
    assert result.speaker.windows == 95
    np.testing.assert_allclose(result.speaker.frame_confidence, 6, atol=1e-5)
    np.testing.assert_allclose(result.speaker.times, np.arange(95) / 25 + 0.1)
    assert result.speaker.estimate_ms == pytest.approx(120)
    assert result.speaker.boxes.tolist() == [[0, 0, 224, 224]] * 100
    assert result.model_versions == {"video_tower": "1", "audio_tower": "1"}
    assert result.warnings == ()
    assert result.verdict.trusted
    assert result.speaker.drift is None
    assert result.clip == "arrays"


def test_frames_of_any_size_are_resized_when_the_crop_is_none(client: SyncNetClient):
    frames = np.broadcast_to(np.array([4, 50, 0], np.uint8), (30, 120, 160, 3))
    result = client.score((frames, noise(30)), crop="none", name="small")
    assert result.offset_frames == 6
    assert result.clip == "small"
    assert result.speaker.boxes.tolist() == [[0, 0, 160, 120]] * 30


def test_the_arrays_of_the_real_protocol_give_the_distances_of_one_piece():
    random = np.random.default_rng(3)
    frames = np.broadcast_to(random.integers(0, 256, (80, 1, 1, 3), np.uint8), (80, 224, 224, 3))
    samples = noise(80)
    with FakeTriton() as server, SyncNetClient(server.url) as client:
        result = client.score((frames, samples), chunk=9)
        assert server.scopes == ["clip"]
    audio = np.concatenate([np.zeros(1, np.int16), samples[: 640 * 74 + 3440]])
    expected = distances_of(frames[:79], audio, (10, 10))
    np.testing.assert_allclose(result.speaker.distances, expected, rtol=1e-5)


def test_a_difference_in_length_is_a_warning_that_names_both(client: SyncNetClient):
    result = client.score((written_frames(100, 7, 6), noise(90)))
    assert result.speaker.windows == 85
    assert result.warnings == (
        "video (100 frames, 4.000 s) and audio (57600 samples, 3.600 s) differ in length: "
        "the first 90 frames are scored",
    )


def test_a_difference_of_less_than_a_window_is_none(client: SyncNetClient):
    samples = noise(96)[:-64]  # 4 ms less than 96 frames
    assert client.score((written_frames(96, 7, 6), samples)).warnings == ()
    assert client.score((written_frames(100, 7, 6), samples)).warnings != ()


@pytest.mark.parametrize(("frames", "sound"), [(5, 40), (40, 5), (5, 5)])
def test_too_short_a_clip_is_an_error_that_says_how_short(client, frames, sound):
    message = f"it has {frames} frames of video and {sound} of audio .* at least 6"
    with pytest.raises(ClipTooShortError, match=message):
        client.score((written_frames(frames, 7, 6), noise(sound)), name="stub.mp4")


def test_six_frames_are_enough(client: SyncNetClient):
    result = client.score((written_frames(6, 7, 6), noise(6)))
    assert result.speaker.windows == 1
    assert result.offset_frames == 3
    assert [reason.code for reason in result.verdict.reasons] == ["too_short"]


def test_silence_is_a_reason_for_distrust(client: SyncNetClient):
    result = client.score((written_frames(50, 7, 6), np.zeros(32_000, np.int16)))
    assert [reason.code for reason in result.verdict.reasons] == ["silence"]


def test_all_segments_of_a_track_are_scored_in_one_request(
    client: SyncNetClient, transport: WrittenTransport
):
    result = client.score((written_frames(700, 7, 6), noise(700)), segment_s=1)
    assert result.speaker.drift is not None
    assert len(result.speaker.drift.segments) == 28
    assert transport.requests == 1


def test_a_jump_of_the_offset_is_found(client: SyncNetClient):
    frames = np.concatenate([written_frames(400, 10, 6), written_frames(300, 5, 6)])
    result = client.score((frames, noise(700)), segment_s=4)
    drift = result.speaker.drift
    assert drift is not None
    assert drift.kind == "jump"
    assert drift.jump_s == pytest.approx(16, abs=2)
    assert [segment.offset_frames for segment in drift.segments] == [0, 0, 0, 0, 5, 5, 5]
    assert [reason.code for reason in result.verdict.reasons] == ["offset_changes"]


def test_changed_weights_are_a_warning(client: SyncNetClient, transport: WrittenTransport):
    def change(_: object) -> None:
        transport.versions["video_tower"] = "2"

    transport.before_chunk = change
    result = client.score((written_frames(30, 7, 6), noise(30)))
    assert result.model_versions["video_tower"] == "2"
    assert "changed its weights" in result.warnings[0]


def test_progress_goes_up_to_the_whole_clip(client: SyncNetClient):
    seen: list[Progress] = []
    client.score((written_frames(110, 7, 6), noise(110)), progress=seen.append)
    assert [state.frames for state in seen] == [25, 50, 75, 100, 110]
    assert {state.total_frames for state in seen} == {110}


def test_what_progress_raises_ends_the_clip(client: SyncNetClient, transport: WrittenTransport):
    def stop(_: Progress) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        client.score((written_frames(60, 7, 6), noise(60)), progress=stop)
    assert transport.open_streams == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"vshift": -1}, "vshift must be 0 to 250"),
        ({"chunk": 0}, "chunk must be 1 to 600"),
        ({"segment_s": 0.5}, "segment_s must be at least 1 second"),
        ({"crop": (0, 0, 300, 300)}, "not inside the picture"),
    ],
)
def test_impossible_options_are_refused(client: SyncNetClient, options, message):
    with pytest.raises(UsageError, match=message):
        client.score((written_frames(30, 7, 6), noise(30)), **options)


def test_the_server_is_looked_for_until_it_was_found_once(client, transport):
    clip = written_frames(30, 7, 6), noise(30)
    transport.readiness = [ServerUnavailableError("not there")]
    with pytest.raises(ServerUnavailableError):
        client.score(clip)
    for _ in range(3):
        client.score(clip)
    assert transport.checks == 2


class Faces:
    """A cropper that has been told where the faces are: (first frame, end, frames of it) each."""

    def __init__(self, *tracks: tuple[int, int, np.ndarray], delay: int = 12) -> None:
        self._tracks = tracks
        self._delay = delay
        self._waiting: list[Frame] = []
        self.summary = CropSummary(0, len(tracks), warnings=("a face was ignored",))

    def push(self, frames: list[Frame]) -> list[CropEvent]:
        self._waiting += frames
        settled = max(0, len(self._waiting) - self._delay)
        events = self._events(self._waiting[:settled])
        self._waiting = self._waiting[settled:]
        return events

    def flush(self) -> list[CropEvent]:
        return self._events(self._waiting)

    def _events(self, frames: list[Frame]) -> list[CropEvent]:
        events: list[CropEvent] = []
        for number, (first, end, images) in enumerate(self._tracks):
            mine = [
                CroppedFrame(
                    frame.index,
                    frame.time,
                    images[frame.index - first],
                    Box(number, 0, 9, 9),
                    frame.index % 2 == 0,
                )
                for frame in frames
                if first <= frame.index < end
            ]
            if mine:
                events.append(TrackFrames(number, mine))
                if mine[-1].index == end - 1:
                    events.append(TrackEnd(number, "lost"))
        return events


def score_faces(transport: WrittenTransport, faces: Faces, frames: int, **options):
    media = ArrayMedia(np.zeros((frames, 8, 8, 3), np.uint8), noise(frames))
    with media:
        return score_media(media, faces, transport, ScoreOptions(**options), name="two.mp4")


def test_several_faces_share_a_stream_and_the_speaker_comes_first(transport: WrittenTransport):
    order: list[int] = []
    transport.before_chunk = lambda chunk: order.append(chunk.track)
    faces = Faces(
        (0, 200, written_frames(200, 12, 1)),
        (40, 170, written_frames(130, 8, 7)),
        (180, 186, written_frames(6, 3, 20)),
    )
    result = score_faces(transport, faces, 200, chunk=20)
    assert order != sorted(order)  # neither track waits for the other's end
    # One window of track 2 is more confident than both, by chance as it were.
    assert [(t.track, t.offset_frames, t.windows) for t in result.tracks] == [
        (1, 2, 125),
        (0, -2, 195),
        (2, 7, 1),
    ]
    speaker = result.speaker
    assert speaker.first_frame == 40
    assert speaker.times[0] == pytest.approx(40 / 25 + 0.1)
    assert len(speaker.frame_times) == len(speaker.boxes) == 130
    assert speaker.boxes[0].tolist() == [1, 0, 9, 9]
    assert speaker.detected.mean() == 0.5
    assert [reason.code for reason in speaker.verdict.reasons] == ["face_lost"]
    assert result.warnings == ("a face was ignored",)
    assert transport.open_streams == 0


def test_a_face_in_view_for_a_part_does_not_speak_for_the_clip(transport: WrittenTransport):
    result = score_faces(transport, Faces((0, 60, written_frames(60, 8, 7))), 200)
    texts = [reason.text for reason in result.verdict.reasons]
    assert "the face is in view for only 28% of the clip" in texts


def test_faces_that_are_gone_at_once_are_no_faces(transport: WrittenTransport):
    faces = Faces((10, 15, written_frames(5, 8, 7)))
    with pytest.raises(NoFaceError, match=r"two\.mp4: no face stays in view for 6 frames"):
        score_faces(transport, faces, 60)


def test_a_clip_without_a_face_is_named(client: SyncNetClient):
    grey = np.full((30, 120, 160, 3), 128, np.uint8)
    with pytest.raises(NoFaceError, match=r"^wall\.mp4: no face was found"):
        client.score((grey, noise(30)), name="wall.mp4")


def opencv_error(code: int) -> cv2.error:
    error = cv2.error("OpenCV(4.11.0) alloc.cpp:73: error: (-4:Insufficient memory)")
    error.code = code
    return error


def decoding_error() -> MediaError:
    error = MediaError("clip.mp4 cannot be decoded: MemoryError")
    error.__cause__ = MemoryError()
    return error


@pytest.mark.parametrize(
    "reason", [MemoryError(), opencv_error(cv2.Error.StsNoMem), decoding_error()], ids=repr
)
def test_memory_that_runs_out_is_one_error(client: SyncNetClient, reason: Exception):
    class Full(ArrayMedia):
        def __next__(self):
            raise reason

    message = r"^clip\.mp4 needs more memory than there is$"
    with pytest.raises(OutOfMemoryError, match=message) as raised:
        client.score(Full(written_frames(30, 7, 6), noise(30)), name="clip.mp4")
    assert raised.value.__cause__ is reason


def test_other_errors_of_opencv_are_its_own(client: SyncNetClient):
    class Odd(ArrayMedia):
        def __next__(self):
            raise opencv_error(cv2.Error.StsAssert)

    with pytest.raises(cv2.error, match="alloc"):
        client.score(Odd(written_frames(30, 7, 6), noise(30)))


def test_time_stamps_are_those_of_the_source(transport: WrittenTransport):
    class Late(ArrayMedia):
        def __next__(self):
            block = super().__next__()
            shifted = [Frame(f.index, f.time + Fraction(7, 2), f.picture) for f in block.frames]
            return type(block)(shifted, block.samples)

    with SyncNetClient(transport=transport) as client:
        result = client.score(Late(written_frames(30, 7, 6), noise(30)))
    assert result.speaker.times[0] == pytest.approx(3.6)
    assert result.to_dict()["start_s"] == 3.5
    assert result.to_dict()["end_s"] == 4.7


def test_several_threads_may_score_at_once():
    clips = [(written_frames(40 + i, i, i), noise(40 + i)) for i in range(1, 9)]
    with FakeTriton() as server, SyncNetClient(server.url) as client:
        alone = [client.score(clip) for clip in clips]
        with ThreadPoolExecutor(4) as pool:
            together = list(pool.map(lambda clip: client.score(clip, chunk=7), clips))
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_allclose(one.speaker.distances, other.speaker.distances, rtol=1e-5)


def test_async_clips_run_at_the_same_time(transport: WrittenTransport):
    both_running = threading.Barrier(2, timeout=20)
    loop_threads: list[int] = []

    def meet(_: object) -> None:
        both_running.wait()

    transport.before_chunk = meet

    async def score_two():
        async with AsyncSyncNetClient(transport=transport, jobs=2) as client:
            return await asyncio.gather(
                *(
                    client.score(
                        (written_frames(30, column, 6), noise(30)),
                        progress=lambda _: loop_threads.append(threading.get_ident()),
                    )
                    for column in (7, 12)
                )
            )

    results = asyncio.run(score_two())
    assert [result.offset_frames for result in results] == [3, -2]
    assert set(loop_threads) == {threading.get_ident()}
    assert transport.closed


def test_a_cancelled_async_clip_ends(transport: WrittenTransport):
    started = threading.Event()
    go_on = threading.Event()

    def pause(_: object) -> None:
        started.set()
        go_on.wait(20)

    transport.before_chunk = pause

    async def cancel_one():
        async with AsyncSyncNetClient(transport=transport) as client:
            task = asyncio.create_task(
                client.score((written_frames(600, 7, 6), noise(600)), chunk=10)
            )
            await asyncio.to_thread(started.wait, 20)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            go_on.set()

    asyncio.run(cancel_one())
    assert transport.open_streams == 0


class Fresh(ArrayMedia):
    """Every frame is memory of its own, as from a decoder, and only while it is held."""

    def __next__(self):
        block = super().__next__()
        copies = [
            Frame(frame.index, frame.time, ArrayPicture(frame.image.copy()))
            for frame in block.frames
        ]
        return type(block)(copies, block.samples)


def peak_bytes(client: SyncNetClient, frames: int) -> int:
    clip = Fresh(written_frames(frames, 7, 6), noise(frames))
    tracemalloc.start()
    try:
        client.score(clip, chunk=20)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_memory_does_not_grow_with_the_clip(client: SyncNetClient):
    """A frame is 150 kB: keeping even a tenth of the additional ones would take 27 MB."""
    client.score((written_frames(30, 7, 6), noise(30)))  # imports and caches
    short, long = peak_bytes(client, 200), peak_bytes(client, 2000)
    assert long - short < 5_000_000
