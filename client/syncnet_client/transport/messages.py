"""The requests and responses of the project's models as messages of Triton's gRPC protocol."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from tritonclient.grpc import InferResult, service_pb2
from tritonclient.utils import np_to_triton_dtype

from syncnet_client.chunks import Chunk
from syncnet_client.errors import InferenceError
from syncnet_client.transport.base import Metrics, Scope
from syncnet_client.transport.shared_memory import SharedRegion

__all__ = [
    "ENSEMBLE",
    "METRICS_MODEL",
    "REQUIRED_MODELS",
    "WEIGHTED_MODELS",
    "chunk_distances",
    "chunk_request",
    "metrics_request",
    "metrics_response",
    "with_frames_inside",
]

ENSEMBLE = "syncnet"
METRICS_MODEL = "sync_metrics"
REQUIRED_MODELS = (ENSEMBLE, METRICS_MODEL)
WEIGHTED_MODELS = ("video_tower", "audio_tower")  # a version of these is a version of the weights


def chunk_request(request_id: str, chunk: Chunk, region: SharedRegion | None = None) -> Any:
    """The ensemble's ``ModelInferRequest`` for one chunk.

    It names no outputs and so asks for all of them, which the ensemble needs: Triton 2.51 answers
    "unexpected deadlock" when some are left out.

    Args:
        request_id: comes back with the answer.
        chunk: what to ask about.
        region: its frames are written there and not sent.
    """
    request = service_pb2.ModelInferRequest(model_name=ENSEMBLE, id=request_id)
    _add_input(request, "AUDIO", chunk.audio[None])
    _add_input(request, "AUDIO_PADDING", np.array([chunk.padding], np.int32))
    frames = chunk.frames[None]
    if region is None:
        _add_input(request, "FRAMES", frames)
        return request
    region.write(frames)
    tensor = _add_tensor(request, "FRAMES", frames)
    tensor.parameters["shared_memory_region"].string_param = region.name
    tensor.parameters["shared_memory_byte_size"].int64_param = frames.nbytes
    return request


def with_frames_inside(request: Any, region: SharedRegion) -> Any:
    """The same request with the frames that ``chunk_request`` wrote to the region."""
    copy = service_pb2.ModelInferRequest()
    copy.CopyFrom(request)
    tensor = copy.inputs[-1]
    size = tensor.parameters["shared_memory_byte_size"].int64_param
    tensor.ClearField("parameters")
    copy.raw_input_contents.append(region.read(size))
    return copy


def chunk_distances(response: Any, windows: int) -> npt.NDArray[np.float32]:
    """The ensemble's DISTANCES for a chunk of K windows, float32 [K, 2*vshift+1].

    Raises:
        InferenceError: the tensor is missing or has rows for another number of windows.
    """
    distances = _output(response, "DISTANCES")
    if distances.ndim != 3 or distances.shape[:2] != (1, windows):
        raise InferenceError(
            f"model {ENSEMBLE} answered {windows} windows with DISTANCES of shape "
            f"{list(distances.shape)}; is it the SyncNet ensemble?"
        )
    rows: npt.NDArray[np.float32] = distances[0]
    return rows


def metrics_request(distances: npt.NDArray[np.float32], scope: Scope) -> Any:
    """The ``ModelInferRequest`` of ``sync_metrics`` for float32 [K, 2*vshift+1]."""
    request = service_pb2.ModelInferRequest(model_name=METRICS_MODEL)
    request.parameters["scope"].string_param = scope
    _add_input(request, "DISTANCES", distances[None])
    return request


def metrics_response(response: Any) -> Metrics:
    """What ``sync_metrics`` said about the rows.

    Raises:
        InferenceError: an output is missing.
    """
    return Metrics(
        offset=int(_output(response, "OFFSET").item()),
        confidence=float(_output(response, "CONFIDENCE").item()),
        min_distance=float(_output(response, "MIN_DISTANCE").item()),
        frame_confidence=_output(response, "FRAME_CONFIDENCE")[0],
    )


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
