"""The requests and responses of the project's models as messages of Triton's gRPC protocol."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from tritonclient.grpc import InferResult, service_pb2
from tritonclient.utils import np_to_triton_dtype

from syncnet_client.chunks import Chunk
from syncnet_client.contract import SYNCNET
from syncnet_client.errors import InferenceError
from syncnet_client.transport.base import Metrics, Scope, SegmentMetrics, Weights
from syncnet_client.transport.shared_memory import SharedRegion

__all__ = [
    "chunk_distances",
    "chunk_request",
    "metrics_request",
    "metrics_response",
    "model_request",
    "model_response",
    "weights_response",
    "with_frames_inside",
]


def chunk_request(request_id: str, chunk: Chunk, region: SharedRegion | None = None) -> bytes:
    """The ensemble's ``ModelInferRequest`` for one chunk, serialised.

    It names no outputs and so asks for all of them, which the ensemble needs: Triton 2.51 answers
    "unexpected deadlock" when some are left out.

    Args:
        request_id: comes back with the answer.
        chunk: what to ask about.
        region: its frames are written there and not sent.
    """
    request = service_pb2.ModelInferRequest(model_name=SYNCNET.ensemble, id=request_id)
    _add_input(request, SYNCNET.audio, chunk.audio[None])
    _add_input(request, SYNCNET.audio_padding, np.array([chunk.padding], np.int32))
    frames = chunk.frames[None]
    tensor = _add_tensor(request, SYNCNET.frames, frames)
    if region is None:
        return _with_content(request, frames.data.cast("B"))
    region.write(frames)
    tensor.parameters["shared_memory_region"].string_param = region.name
    tensor.parameters["shared_memory_byte_size"].int64_param = frames.nbytes
    return bytes(request.SerializeToString())


def with_frames_inside(request: bytes, region: SharedRegion) -> bytes:
    """The same request with the frames that ``chunk_request`` wrote to the region."""
    whole = service_pb2.ModelInferRequest.FromString(request)
    tensor = whole.inputs[-1]
    size = tensor.parameters["shared_memory_byte_size"].int64_param
    tensor.ClearField("parameters")
    return _with_content(whole, region.read(size))


def _with_content(request: Any, content: bytes | memoryview) -> bytes:
    """A request serialised, with the content of one more tensor.

    The field goes behind the others byte by byte. In a message, 19 MB would be in memory four
    times over until it is serialised.
    """
    number = service_pb2.ModelInferRequest.RAW_INPUT_CONTENTS_FIELD_NUMBER
    length = len(content)
    head = bytearray([number << 3 | 2])  # wire type 2: a length, as a varint, and so many bytes
    while length > 0x7F:
        head.append(length & 0x7F | 0x80)
        length >>= 7
    head.append(length)
    return b"".join((request.SerializeToString(), head, content))


def chunk_distances(response: Any, windows: int) -> npt.NDArray[np.float32]:
    """The ensemble's DISTANCES for a chunk of K windows, float32 [K, 2*vshift+1].

    Raises:
        InferenceError: the tensor is missing or has rows for another number of windows.
    """
    distances = _output(response, SYNCNET.distances)
    if distances.ndim != 3 or distances.shape[:2] != (1, windows):
        raise InferenceError(
            f"model {SYNCNET.ensemble} answered {windows} windows with {SYNCNET.distances} of "
            f"shape {list(distances.shape)}; is it the ensemble of {SYNCNET.title}?"
        )
    rows: npt.NDArray[np.float32] = distances[0]
    return rows


def metrics_request(
    distances: npt.NDArray[np.float32],
    scope: Scope,
    tracks: npt.NDArray[np.int32] | None,
    segment_windows: int,
) -> Any:
    """The ``ModelInferRequest`` of ``sync_metrics`` for float32 [K, 2*vshift+1]."""
    request = service_pb2.ModelInferRequest(model_name=SYNCNET.metrics)
    request.parameters["scope"].string_param = scope
    if segment_windows:
        request.parameters["segment_windows"].int64_param = segment_windows
    _add_input(request, SYNCNET.distances, distances[None])
    if tracks is not None:
        _add_input(request, SYNCNET.tracks, tracks[None])
    return request


def metrics_response(response: Any, *, segments: bool) -> Metrics:
    """What ``sync_metrics`` said about the rows, and about their segments if it was asked.

    Raises:
        InferenceError: an output is missing.
    """
    low, high = _output(response, SYNCNET.offset_interval)[0]
    return Metrics(
        offset=int(_output(response, SYNCNET.offset).item()),
        confidence=float(_output(response, SYNCNET.confidence).item()),
        min_distance=float(_output(response, SYNCNET.min_distance).item()),
        frame_confidence=_output(response, SYNCNET.frame_confidence)[0],
        agreement=_share(_output(response, SYNCNET.agreement).item()),
        offset_interval=(float(low), float(high)),
        mean_distances=_output(response, SYNCNET.mean_distances)[0],
        track_weights=tuple(map(float, _output(response, SYNCNET.track_weights)[0])),
        segments=_segments(response) if segments else (),
    )


def _segments(response: Any) -> tuple[SegmentMetrics, ...]:
    names = (
        SYNCNET.segment_start,
        SYNCNET.segment_offset,
        SYNCNET.segment_confidence,
        SYNCNET.segment_agreement,
    )
    columns = (_output(response, name)[0] for name in names)
    return tuple(
        SegmentMetrics(int(start), int(offset), float(confidence), _share(agreement))
        for start, offset, confidence, agreement in zip(*columns, strict=True)
    )


def _share(value: float) -> float:
    """A share as a decimal number: 9 draws of 10 are 0.9, which FP32 holds as a little less."""
    return round(float(value), 6)


def model_request(model: str, inputs: Mapping[str, npt.NDArray[Any]]) -> Any:
    """The ``ModelInferRequest`` of any model for tensors with their batch dimension."""
    request = service_pb2.ModelInferRequest(model_name=model)
    for name, array in inputs.items():
        _add_input(request, name, array)
    return request


def model_response(response: Any) -> dict[str, npt.NDArray[Any]]:
    """All outputs that a model answered with, by name."""
    return {output.name: _output(response, output.name) for output in response.outputs}


def weights_response(response: Any, version: str) -> Weights:
    """What a tower's config says about a version of its weights; nothing if it does not say."""
    text = response.config.parameters[f"weights.{version}"].string_value
    try:
        said = json.loads(text)
        return Weights(
            str(said["name"]), str(said["trained_on"]), max(0, int(said["offset_error_ms"]))
        )
    except (ValueError, TypeError, KeyError):
        return Weights()


def _add_input(request: Any, name: str, array: npt.NDArray[Any]) -> None:
    _add_tensor(request, name, array)
    request.raw_input_contents.append(array.tobytes())


def _add_tensor(request: Any, name: str, array: npt.NDArray[Any]) -> Any:
    datatype = np_to_triton_dtype(array.dtype)
    return request.inputs.add(name=name, datatype=datatype, shape=array.shape)


def _output(response: Any, name: str) -> npt.NDArray[Any]:
    array: npt.NDArray[Any] | None = InferResult(response).as_numpy(name)
    if array is None:
        raise InferenceError(f"model {response.model_name} answered without the output {name}")
    return array
