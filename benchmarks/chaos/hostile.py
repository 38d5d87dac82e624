"""Requests that a server must survive, and streams that their clients give up. Loopback alone."""

from __future__ import annotations

import contextlib
import gzip
import http.client
import random
import socket
import threading
from collections.abc import Iterator
from typing import Any

import grpc
import numpy as np
from tritonclient.grpc import service_pb2, service_pb2_grpc

__all__ = ["cancel_streams", "chunk_request", "hostile_grpc", "hostile_http"]

_TIMEOUT_S = 5.0
_DEEP = b"[" * 150_000
_PATHS = (
    "/v2/models/syncnet/infer",
    "/v2/models/syncnet/generate",
    "/v2/repository/index",
    "/v2/trace/setting",
    "/v2/logging",
    "/v2/systemsharedmemory/region/x/register",
)
_STREAMS = 24
_CHANNEL = [("grpc.max_send_message_length", -1), ("grpc.use_local_subchannel_pool", 1)]


def _require_loopback(url: str) -> tuple[str, int]:
    host, _, port = url.partition(":")
    if host != "127.0.0.1":
        raise ValueError(f"hostile requests go to 127.0.0.1 alone, not to {host}")
    return host, int(port)


def hostile_http(url: str, seed: int) -> None:
    """Send deeply nested JSON, plain and compressed, and a body in half a million pieces."""
    host, port = _require_loopback(url)
    for path in random.Random(seed).sample(_PATHS, 3):
        for body, headers in ((_DEEP, {}), (gzip.compress(_DEEP), {"Content-Encoding": "gzip"})):
            with contextlib.suppress(OSError, http.client.HTTPException):
                connection = http.client.HTTPConnection(host, port, timeout=_TIMEOUT_S)
                try:
                    connection.request("POST", path, body, headers)
                    connection.getresponse().read()
                finally:
                    connection.close()
    with (
        contextlib.suppress(OSError),
        socket.create_connection((host, port), timeout=_TIMEOUT_S) as pieces,
    ):
        head = f"POST {_PATHS[0]} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        pieces.sendall(head.encode())
        for _ in range(20):
            pieces.sendall(b"1\r\nA\r\n" * 25_000)


def hostile_grpc(url: str, seed: int) -> None:
    """Send shapes, paddings and bytes that no client of ours sends."""
    host, port = _require_loopback(url)
    source = random.Random(seed)
    with grpc.insecure_channel(url, options=_CHANNEL) as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        for request in (_padded(2_500_000), _padded(2**30), _padded(-1), _ragged(), _unfinished()):
            with contextlib.suppress(grpc.RpcError):
                stub.ModelInfer(request, timeout=_TIMEOUT_S)
    for _ in range(20):
        with (
            contextlib.suppress(OSError),
            socket.create_connection((host, port), timeout=_TIMEOUT_S) as connection,
        ):
            connection.sendall(source.randbytes(source.randrange(1, 4096)))


def cancel_streams(url: str, seed: int) -> None:
    """Open streams of chunks at once and give each up after a moment, in one of two ways.

    The chunks are small: Triton works on all of them, and what is tried here is whether that does
    harm, not how long others wait behind work that nobody wants.
    """
    _require_loopback(url)
    source = random.Random(seed)
    streams = [
        threading.Thread(target=_give_up, args=(url, source.random() * 0.6, source.random() < 0.5))
        for _ in range(_STREAMS)
    ]
    for stream in streams:
        stream.start()
    for stream in streams:
        stream.join()


def _give_up(url: str, after_s: float, cancel: bool) -> None:
    ended = threading.Event()
    request = chunk_request(windows=5, vshift=5)

    def requests() -> Iterator[Any]:
        for _ in range(3):
            yield request
        ended.wait(_TIMEOUT_S)

    with grpc.insecure_channel(url, options=_CHANNEL) as channel:
        call = service_pb2_grpc.GRPCInferenceServiceStub(channel).ModelStreamInfer(requests())
        ended.wait(after_s)
        if cancel:
            call.cancel()
    ended.set()


def chunk_request(windows: int, vshift: int) -> Any:
    """A chunk of black frames in the middle of silence, as the ensemble takes it."""
    return _request(
        "syncnet",
        FRAMES=np.zeros((1, windows + 4, 224, 224, 3), np.uint8),
        AUDIO=np.zeros((1, 1 + 640 * (windows - 1) + 3440), np.int16),
        AUDIO_PADDING=np.array([[vshift, vshift]], np.int32),
    )


def _padded(padding: int) -> Any:
    return _request(
        "shift_distance",
        VIDEO_EMBEDDINGS=np.zeros((1, 1, 1024), np.float32),
        AUDIO_EMBEDDINGS=np.zeros((1, 1, 1024), np.float32),
        AUDIO_PADDING=np.array([[padding, padding]], np.int32),
    )


def _ragged() -> Any:
    return _request("sync_metrics", DISTANCES=np.full((1, 3, 4), np.nan, np.float32))


def _unfinished() -> Any:
    request = _request("mfcc", AUDIO=np.zeros((1, 5000), np.int16))
    request.raw_input_contents[0] = request.raw_input_contents[0][:-7]
    return request


_DATATYPES: dict[str, str] = {
    "uint8": "UINT8",
    "int16": "INT16",
    "int32": "INT32",
    "float32": "FP32",
}


def _request(model: str, **tensors: np.ndarray[Any, Any]) -> Any:
    request = service_pb2.ModelInferRequest(model_name=model)
    for name, array in tensors.items():
        request.inputs.add(name=name, datatype=_DATATYPES[array.dtype.name], shape=array.shape)
        request.raw_input_contents.append(array.tobytes())
    return request
