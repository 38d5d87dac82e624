"""Stand-ins for the server: towers of a few lines between the real mathematics around them.

``distances_of`` answers a chunk as the ensemble would, ``FakeTriton`` does so over real gRPC and
can be told to fail in all the ways in which a server fails. ``WrittenTransport`` needs neither: the
distances it answers are written on the frames.
"""

# ruff: noqa: N802, ARG002 - names and parameters of the RPC methods are gRPC's

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import numpy as np
from tritonclient.grpc import service_pb2, service_pb2_grpc
from tritonclient.utils import np_to_triton_dtype, triton_to_np_dtype

from syncnet_client.chunks import Chunk
from syncnet_client.transport.base import ChunkAnswer, Metrics, SegmentMetrics, Weights
from syncnet_server import default_model_repository, load_model_module

mfcc_windows = load_model_module(default_model_repository(), "mfcc").mfcc_windows
shift_distances = load_model_module(default_model_repository(), "shift_distance").shift_distances
_metrics_module = load_model_module(default_model_repository(), "sync_metrics")
sync_metrics, segment_metrics = _metrics_module.sync_metrics, _metrics_module.segment_metrics

_random = np.random.default_rng(11)
VIDEO_PROJECTION = _random.normal(size=(15, 16)).astype(np.float32)
AUDIO_PROJECTION = _random.normal(size=(260, 16)).astype(np.float32)


def embed_video(pixels: np.ndarray) -> np.ndarray:
    """A stand-in for the video tower: one pixel of each of T frames, [T, 3], to [T-4, 16]."""
    windows = [pixels[k : k + 5].reshape(15) for k in range(len(pixels) - 4)]
    return np.stack(windows).astype(np.float32) @ VIDEO_PROJECTION


def embed_audio(audio: np.ndarray) -> np.ndarray:
    """A stand-in for the audio tower behind the real MFCC: AUDIO to [A, 16]."""
    return mfcc_windows(audio[None])[0].reshape(-1, 260) @ AUDIO_PROJECTION


def distances_of(frames: np.ndarray, audio: np.ndarray, padding: Iterable[int]) -> np.ndarray:
    """DISTANCES of one chunk, [K, 2V+1]."""
    left, right = (int(value) for value in padding)
    return shift_distances(embed_video(frames[:, 0, 0]), embed_audio(audio), left, right)


def make_chunks(*sizes: int, vshift: int = 10) -> list[Chunk]:
    """Chunks of so many windows each, one after the other, with pictures of one colour each."""
    random = np.random.default_rng(5)
    chunks: list[Chunk] = []
    for size in sizes:
        colours = random.integers(0, 256, (size + 4, 1, 1, 3), np.uint8)
        samples = 1 + 640 * (size + 2 * vshift - 1) + 3440
        chunk = Chunk(
            track=0,
            first_window=sum(each.windows for each in chunks),
            frames=np.broadcast_to(colours, (size + 4, 224, 224, 3)).copy(),
            audio=random.integers(-5000, 5000, samples, np.int16),
            padding=(0, 0),
        )
        chunks.append(chunk)
    return chunks


def assert_answered_once(answers: Sequence[ChunkAnswer], chunks: Sequence[Chunk]) -> None:
    """Each chunk has one answer, which is the right one."""
    by_window = {answer.first_window: answer.distances for answer in answers}
    assert len(answers) == len(by_window) == len(chunks)
    for chunk in chunks:
        expected = distances_of(chunk.frames, chunk.audio, chunk.padding)
        np.testing.assert_array_equal(by_window[chunk.first_window], expected)


@dataclass(eq=False)
class Fault:
    """Something that happens instead of an answer to the next request for a chunk."""


@dataclass
class Fail(Fault):
    """The request fails: with a status in a call of its own, with a mere sentence in a stream."""

    code: grpc.StatusCode
    sentence: str
    named: bool = True  # whether the stream tells which request it was


@dataclass
class Break(Fault):
    """The whole stream ends with a status."""

    code: grpc.StatusCode
    sentence: str


class EndStream(Fault):
    """The server ends the stream politely without answering."""


class Silence(Fault):
    """No answer ever comes."""


class AnswerTwice(Fault):
    """The answer comes two times."""


class AnswerLate(Fault):
    """The answer comes after that to the next request."""


class FakeTriton(service_pb2_grpc.GRPCInferenceServiceServicer):
    """A gRPC server on a free port that scores with the fake towers.

    Args:
        faults: what happens to the requests for chunks, in order; None is a good answer, and
            so is everything after the last.
        models: names of the models that are ready; others are not there.
        before_answer: called with each request of a stream.
        tls: encrypts the connection.
        shared_memory: whether clients may share memory with it.
    """

    def __init__(
        self,
        faults: Iterable[Fault | None] = (),
        *,
        models: Iterable[str] = ("syncnet", "sync_metrics", "video_tower", "audio_tower"),
        before_answer: Callable[[Any], None] | None = None,
        tls: grpc.ServerCredentials | None = None,
        shared_memory: bool = True,
    ) -> None:
        self.faults = deque(faults)
        self.models = set(models)
        self.version = "3"
        self.triton_version = "2.51.0"
        self.index: dict[str, list[str]] | None = {}  # ready versions; None: closed to clients
        self.questions: list[str] = []  # about versions
        self.regions: dict[str, np.memmap] = {}
        self.registered: list[str] = []  # names of all regions that there ever were
        self.streamed: list[str] = []  # ids of all chunks that arrived in streams
        self.calls: list[str] = []  # and in calls of their own
        self.streams = 0
        self.scopes: list[str] = []
        self.metadata: dict[str, str] = {}
        self._before_answer = before_answer
        self._tls = tls
        self._may_share = shared_memory
        self._stopping = threading.Event()
        self._grpc: grpc.Server | None = None
        self.url = ""

    def __enter__(self) -> FakeTriton:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self, port: int = 0) -> None:
        self._stopping.clear()
        options = [("grpc.max_receive_message_length", -1), ("grpc.so_reuseport", 0)]
        self._grpc = grpc.server(ThreadPoolExecutor(8), options=options)
        service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(self, self._grpc)
        address = f"127.0.0.1:{port}"
        if self._tls is None:
            bound = self._grpc.add_insecure_port(address)
        else:
            bound = self._grpc.add_secure_port(address, self._tls)
        self.url = f"127.0.0.1:{bound}"
        self._grpc.start()

    def stop(self) -> None:
        self._stopping.set()
        if self._grpc is not None:
            self._grpc.stop(grace=None).wait()
            self._grpc = None

    def ModelReady(self, request: Any, context: Any) -> Any:
        return service_pb2.ModelReadyResponse(ready=request.name in self.models)

    def ModelMetadata(self, request: Any, context: Any) -> Any:
        self.questions.append("ModelMetadata")
        return service_pb2.ModelMetadataResponse(name=request.name, versions=["1", self.version])

    def RepositoryIndex(self, request: Any, context: Any) -> Any:
        self.questions.append("RepositoryIndex")
        if self.index is None:
            context.abort(grpc.StatusCode.UNAVAILABLE, "This protocol is restricted")
        response = service_pb2.RepositoryIndexResponse()
        for name, versions in self.index.items():
            for version in versions:
                response.models.add(name=name, version=version, state="READY")
        response.models.add(name="syncnet", version="1", state="UNAVAILABLE", reason="out of luck")
        return response

    def ServerMetadata(self, request: Any, context: Any) -> Any:
        return service_pb2.ServerMetadataResponse(name="fake", version=self.triton_version)

    def SystemSharedMemoryStatus(self, request: Any, context: Any) -> Any:
        response = service_pb2.SystemSharedMemoryStatusResponse()
        for name in self.regions:
            response.regions[name].name = name
        return response

    def SystemSharedMemoryRegister(self, request: Any, context: Any) -> Any:
        if not self._may_share:
            context.abort(grpc.StatusCode.UNAVAILABLE, "This protocol is restricted")
        path = Path("/dev/shm") / request.key.lstrip("/")
        self.regions[request.name] = np.memmap(path, mode="r", shape=request.byte_size)
        self.registered.append(request.name)
        return service_pb2.SystemSharedMemoryRegisterResponse()

    def SystemSharedMemoryUnregister(self, request: Any, context: Any) -> Any:
        self.regions.pop(request.name, None)
        return service_pb2.SystemSharedMemoryUnregisterResponse()

    def ModelInfer(self, request: Any, context: Any) -> Any:
        if request.model_name == "syncnet":
            self.calls.append(request.id)
            fault = self.faults.popleft() if self.faults else None
            if isinstance(fault, Fail):
                context.abort(fault.code, fault.sentence)
            return self._chunk_answer(request)
        self.scopes.append(request.parameters["scope"].string_param)
        inputs = self._inputs(request)
        distances = inputs["DISTANCES"][0]
        tracks = inputs["TRACKS"][0] if "TRACKS" in inputs else None
        metrics = sync_metrics(distances, tracks)
        segments = {}
        if size := request.parameters["segment_windows"].int64_param:
            starts, offsets, confidences, agreements = zip(
                *segment_metrics(distances, size), strict=True
            )
            segments = {
                "SEGMENT_START": np.array([starts], np.int32),
                "SEGMENT_OFFSET": np.array([offsets], np.int32),
                "SEGMENT_CONFIDENCE": np.array([confidences], np.float32),
                "SEGMENT_AGREEMENT": np.array([agreements], np.float32),
            }
        return _response(
            request,
            **segments,
            OFFSET=np.array([[metrics.offset]], np.int32),
            CONFIDENCE=np.array([[metrics.confidence]], np.float32),
            MIN_DISTANCE=np.array([[metrics.min_distance]], np.float32),
            FRAME_CONFIDENCE=metrics.frame_confidence[None],
            AGREEMENT=np.array([[metrics.agreement]], np.float32),
            OFFSET_INTERVAL=np.array([metrics.offset_interval], np.float32),
            MEAN_DISTANCES=metrics.mean_distances[None].astype(np.float32),
            TRACK_WEIGHTS=metrics.track_weights[None].astype(np.float32),
        )

    def ModelStreamInfer(self, requests: Iterator[Any], context: Any) -> Iterator[Any]:
        self.streams += 1
        self.metadata = dict(context.invocation_metadata())
        held: list[Any] = []
        for request in requests:
            self.streamed.append(request.id)
            if self._before_answer is not None:
                self._before_answer(request)
            fault = self.faults.popleft() if self.faults else None
            if isinstance(fault, Break):
                context.abort(fault.code, fault.sentence)
            if isinstance(fault, EndStream):
                return
            if isinstance(fault, Silence):
                while context.is_active() and not self._stopping.wait(0.02):
                    pass
                return
            if isinstance(fault, Fail):
                yield _stream_error(fault.sentence, request.id if fault.named else "")
                continue
            if forgotten := self._forgotten(request):
                yield _stream_error(
                    f"Unable to find shared memory region: '{forgotten}'", request.id
                )
                continue
            response = self._chunk_answer(request)
            answer = service_pb2.ModelStreamInferResponse(infer_response=response)
            if isinstance(fault, AnswerLate):
                held.append(answer)
                continue
            yield answer
            if isinstance(fault, AnswerTwice):
                yield answer
            yield from held
            held.clear()

    def _forgotten(self, request: Any) -> str:
        """Name of a region that the request speaks of and this server does not know, or ""."""
        named = [t.parameters["shared_memory_region"].string_param for t in request.inputs]
        return next((name for name in named if name and name not in self.regions), "")

    def _chunk_answer(self, request: Any) -> Any:
        inputs = self._inputs(request)
        frames, audio = inputs["FRAMES"][0], inputs["AUDIO"][0]
        distances = distances_of(frames, audio, inputs["AUDIO_PADDING"][0])
        return _response(request, DISTANCES=distances[None])

    def _inputs(self, request: Any) -> dict[str, np.ndarray]:
        inputs = {}
        contents = iter(request.raw_input_contents)
        for tensor in request.inputs:
            datatype = triton_to_np_dtype(tensor.datatype)
            if name := tensor.parameters["shared_memory_region"].string_param:
                size = tensor.parameters["shared_memory_byte_size"].int64_param
                array = self.regions[name][:size].view(datatype)
            else:
                array = np.frombuffer(next(contents), datatype)
            inputs[tensor.name] = array.reshape(tensor.shape)
        return inputs


def _stream_error(sentence: str, request_id: str) -> Any:
    return service_pb2.ModelStreamInferResponse(
        error_message=sentence, infer_response=service_pb2.ModelInferResponse(id=request_id)
    )


def _response(request: Any, **outputs: np.ndarray) -> Any:
    response = service_pb2.ModelInferResponse(model_name=request.model_name, id=request.id)
    for name, array in outputs.items():
        datatype = np_to_triton_dtype(array.dtype)
        response.outputs.add(name=name, datatype=datatype, shape=array.shape)
        response.raw_output_contents.append(array.tobytes())
    return response


class WrittenTransport:
    """A transport without a server: the distances are written on the frames.

    The first pixel of a window's first frame holds (shift column, depth, _): the distance is
    10 everywhere but in that column, where it is 10 - depth / 10.
    """

    def __init__(self, vshift: int = 10) -> None:
        self.vshift = vshift
        self.versions = {"video_tower": "1", "audio_tower": "1"}
        self.described: dict[str, Weights] = {}  # by version
        self.readiness: list[Exception] = []  # raised by check_ready, one after the other
        self.checks = 0
        self.open_streams = 0
        self.requests = 0  # for metrics
        self.closed = False
        self.before_chunk: Callable[[Chunk], None] | None = None

    def check_ready(self) -> None:
        self.checks += 1
        if self.readiness:
            raise self.readiness.pop(0)

    def model_versions(self, *, max_age_s: float = 0) -> dict[str, str]:
        return dict(self.versions)

    def open_stream(self) -> WrittenStream:
        self.open_streams += 1
        return WrittenStream(self)

    def weights(self, version: str) -> Weights:
        return self.described.get(version, Weights())

    def measure(
        self,
        distances: np.ndarray,
        scope: str,
        *,
        tracks: np.ndarray | None = None,
        segment_windows: int = 0,
    ) -> Metrics:
        assert scope in ("clip", "track")
        self.requests += 1
        segments = segment_metrics(distances, segment_windows) if segment_windows else []
        return Metrics(
            *sync_metrics(distances, tracks),
            segments=tuple(SegmentMetrics(*each) for each in segments),
        )

    def close(self) -> None:
        self.closed = True


class WrittenStream:
    """Answers in the reverse order, at the end: what comes first must not matter."""

    def __init__(self, transport: WrittenTransport) -> None:
        self._transport = transport
        self._answers: list[ChunkAnswer] = []

    def __enter__(self) -> WrittenStream:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def send(self, chunk: Chunk) -> None:
        if self._transport.before_chunk is not None:
            self._transport.before_chunk(chunk)
        vshift = self._transport.vshift
        assert (
            len(chunk.audio)
            == 1 + 640 * (chunk.windows + 2 * vshift - sum(chunk.padding) - 1) + 3440
        )
        pixels = chunk.frames[: chunk.windows, 0, 0].astype(int)
        distances = np.full((chunk.windows, 2 * vshift + 1), 10, np.float32)
        distances[np.arange(chunk.windows), pixels[:, 0]] -= pixels[:, 1] / 10
        self._answers.append(ChunkAnswer(chunk.track, chunk.first_window, distances))

    def received(self) -> list[ChunkAnswer]:
        return []

    def finish(self) -> list[ChunkAnswer]:
        return self._answers[::-1]

    def close(self) -> None:
        self._transport.open_streams -= 1


def written_frames(count: int, column: int, depth: float) -> np.ndarray:
    """Frames for ``WrittenTransport``, uint8 [count, 224, 224, 3], read-only."""
    pixel = np.array([column, round(depth * 10), 0], np.uint8)
    return np.broadcast_to(pixel, (count, 224, 224, 3))
