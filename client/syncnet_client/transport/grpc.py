"""The way to a Triton server: gRPC through tritonclient's stubs."""

from __future__ import annotations

import contextlib
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from weakref import WeakSet

import grpc
import numpy as np
import numpy.typing as npt
from tritonclient.grpc import MAX_GRPC_MESSAGE_SIZE, service_pb2, service_pb2_grpc

from syncnet_client.contract import SYNCNET
from syncnet_client.defaults import (
    DEFAULT_IN_FLIGHT,
    DEFAULT_RETRY_TIMEOUT_S,
    DEFAULT_TIMEOUT_S,
)
from syncnet_client.errors import ModelNotReadyError, ServerUnavailableError, UsageError
from syncnet_client.transport.base import ChunkStream, Metrics, Scope, Weights
from syncnet_client.transport.messages import (
    metrics_request,
    metrics_response,
    model_request,
    model_response,
    weights_response,
)
from syncnet_client.transport.retry import Backoff, Doubt, Failure
from syncnet_client.transport.shared_memory import SharedMemory
from syncnet_client.transport.spread import SpreadStream
from syncnet_client.transport.stream import ORDERLY_CLOSE_S, GrpcChunkStream
from syncnet_client.transport.tls import explain
from syncnet_client.waiting import POLL_S, check_interrupt, pause

__all__ = ["GrpcOptions", "GrpcTransport"]

CHECK_TIMEOUT_S = 10.0  # for questions that a living server answers at once
SHARING_TIMEOUT_S = 2.0  # for the same about shared memory, which only saves time
_STREAM_INFER = "/inference.GRPCInferenceService/ModelStreamInfer"
_LOOPBACK = re.compile(r"^(localhost|127\.[\d.]+|\[::1\]):\d+$")


@dataclass(frozen=True)
class GrpcOptions:
    """How to connect and how long to wait.

    Attributes:
        in_flight: chunks of one clip that may be unanswered at a time.
        streams: spread a clip's chunks over so many streams. Behind a balancer each may end at
            another server; a stream has its share of `in_flight`, one chunk at least.
        timeout_s: how long a chunk in flight may take; under load it waits for others.
        retry_timeout_s: how long requests that failed are sent again, if the failure may pass,
            counted from the last answer. The default leaves a server the time to restart.
        tls: encrypt the connection; implied by the three files.
        ca: PEM file with the certificates to trust; the system's when not given.
        cert: PEM file with the client's certificate chain.
        key: PEM file with the key of that certificate.
        headers: sent with every request, for example an authorization token.
        shared_memory: give a server on this machine the frames in shared memory, if it can.
    """

    in_flight: int = DEFAULT_IN_FLIGHT
    streams: int = 1
    timeout_s: float = DEFAULT_TIMEOUT_S
    retry_timeout_s: float = DEFAULT_RETRY_TIMEOUT_S
    tls: bool = False
    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    shared_memory: bool = True

    def __post_init__(self) -> None:
        if self.in_flight < 1:
            raise UsageError(f"in_flight must be at least 1, not {self.in_flight}")
        if self.streams < 1:
            raise UsageError(f"streams must be at least 1, not {self.streams}")
        if self.timeout_s <= 0 or self.retry_timeout_s < 0:
            raise UsageError("timeout_s must be positive and retry_timeout_s must not be negative")
        if (self.cert is None) != (self.key is None):
            raise UsageError("a client certificate needs its key, and a key its certificate")

    @property
    def encrypted(self) -> bool:
        """Whether the connection speaks TLS."""
        return bool(self.tls or self.ca or self.cert)


class GrpcTransport:
    """A ``Transport`` to the server at ``url``, which is ``HOST:PORT``.

    All its streams and calls share one connection. Closing it ends at once what other threads are
    doing with it: they get a ``ServerUnavailableError``.

    Raises:
        UsageError: the address or a certificate file cannot be used.
    """

    def __init__(self, url: str, options: GrpcOptions | None = None) -> None:
        if not re.fullmatch(r"(dns:///)?[^/\s]+:\d+", url):
            raise UsageError(
                f"the server's address is HOST:PORT of its gRPC endpoint, as in localhost:8001, "
                f"not {url!r}"
            )
        self._url = url
        self._options = options or GrpcOptions()
        self._metadata = [(k.lower(), v) for k, v in self._options.headers.items()]
        self._closed = threading.Event()
        self._streams: WeakSet[GrpcChunkStream] = WeakSet()
        self._asking_versions = threading.Lock()
        self._versions: dict[str, str] | None = None
        self._weights: dict[str, Weights] = {}
        self._versions_at = 0.0  # time.monotonic() of the answer
        self._channel = _open_channel(url, self._options)
        self._stub = service_pb2_grpc.GRPCInferenceServiceStub(self._channel)
        # Chunks go in as bytes: of a message gRPC would hold 19 MB more until the next one comes.
        self._stream_infer = self._channel.stream_stream(
            _STREAM_INFER, response_deserializer=service_pb2.ModelStreamInferResponse.FromString
        )
        is_local = _LOOPBACK.match(url) is not None
        self._shared_memory = SharedMemory(
            partial(self._ask, timeout_s=SHARING_TIMEOUT_S),
            enabled=self._options.shared_memory and is_local,
        )

    def check_ready(self) -> None:
        """Make sure that the server can score; see ``Transport``."""
        try:
            for model in SYNCNET.required_models:
                request = service_pb2.ModelReadyRequest(name=model)
                if not self._ask("ModelReady", request).ready:
                    raise ModelNotReadyError(self._why_not_ready(model))
        except grpc.RpcError as error:
            options = self._options
            how = {"ca": options.ca, "cert": options.cert, "key": options.key}
            if why := explain(self._url, tls=options.encrypted, **how):
                raise ServerUnavailableError(f"server {self._url}: {why}") from error
            raise ServerUnavailableError(
                f"no Triton server answers at {self._url}; syncnet-server starts one "
                f"({Failure.of_rpc(error).sentence})"
            ) from error

    def model_versions(self, *, max_age_s: float = 0) -> dict[str, str]:
        """The versions of the weights that answer; see ``Transport``."""
        with self._asking_versions:
            if self._versions is None or time.monotonic() - self._versions_at > max_age_s:
                self._versions = self._ask_versions()
                self._versions_at = time.monotonic()
            return dict(self._versions)

    def weights(self, version: str) -> Weights:
        """What the server says about a version of the weights; see ``Transport``."""
        with self._asking_versions:
            if version not in self._weights:
                request = service_pb2.ModelConfigRequest(name=SYNCNET.video_tower)
                try:
                    said = self._ask("ModelConfig", request)
                except grpc.RpcError:  # some servers and balancers keep configs to themselves
                    return Weights()
                self._weights[version] = weights_response(said, version)
            return self._weights[version]

    def open_stream(self) -> ChunkStream:
        """Start a conversation about one clip, over as many streams as the options say."""
        streams = [self._open_stream() for _ in range(self._options.streams)]
        return streams[0] if len(streams) == 1 else SpreadStream(streams)

    def measure(
        self,
        distances: npt.NDArray[np.float32],
        scope: Scope,
        *,
        tracks: npt.NDArray[np.int32] | None = None,
        segment_windows: int = 0,
    ) -> Metrics:
        """Ask ``sync_metrics`` about rows of distances; see ``Transport``."""
        response = self._infer(metrics_request(distances, scope, tracks, segment_windows))
        return metrics_response(response, segments=segment_windows > 0)

    def infer(
        self, model: str, inputs: Mapping[str, npt.NDArray[Any]]
    ) -> dict[str, npt.NDArray[Any]]:
        """Ask any of the server's models.

        Args:
            model: its name.
            inputs: its tensors by name, with the batch dimension.

        Returns:
            Its outputs by name.
        """
        return model_response(self._infer(model_request(model, inputs)))

    def close(self) -> None:
        """Close the connection and end what other threads are doing with it.

        Their streams end in order if the server answers in time what it owes them.
        """
        self._closed.set()
        streams = list(self._streams)
        for stream in streams:
            stream.end()
        deadline = time.monotonic() + ORDERLY_CLOSE_S
        for stream in streams:
            stream.wait_for_end(max(0.0, deadline - time.monotonic()))
        self._shared_memory.close()
        self._channel.close()

    def _ask_versions(self) -> dict[str, str]:
        """The newest version of each tower: the one that the ensemble takes.

        One call if the server tells what its repository holds; many keep that to themselves.
        """
        try:
            index = self._ask("RepositoryIndex", service_pb2.RepositoryIndexRequest(ready=True))
        except grpc.RpcError:
            index = service_pb2.RepositoryIndexResponse()
        ready: dict[str, list[str]] = {tower: [] for tower in SYNCNET.towers}
        for entry in index.models:
            if entry.name in ready and entry.version:
                ready[entry.name].append(entry.version)
        for tower, versions in ready.items():
            if not versions:
                request = service_pb2.ModelMetadataRequest(name=tower)
                metadata = self._retried(self._stub.ModelMetadata, request, CHECK_TIMEOUT_S)
                versions += metadata.versions
        return {tower: max(versions, key=int) for tower, versions in ready.items()}

    def _backoff(self) -> Backoff:
        return Backoff(self._options.retry_timeout_s, self._url, sleep=self._sleep)

    def _sleep(self, seconds: float) -> None:
        pause(seconds, until=self._closed)
        self._require_open()

    def _require_open(self) -> None:
        if self._closed.is_set():
            raise ServerUnavailableError(f"the connection to {self._url} was closed")

    def _open_stream(self) -> GrpcChunkStream:
        def start(requests: Iterator[bytes]) -> Any:
            self._require_open()
            return self._begin(self._stream_infer, requests, None)

        def infer(request: bytes) -> Any:
            return self._infer(service_pb2.ModelInferRequest.FromString(request))

        stream = GrpcChunkStream(
            start,
            infer,
            self._backoff(),
            self._shared_memory,
            in_flight=max(1, self._options.in_flight // self._options.streams),
            timeout_s=self._options.timeout_s,
        )
        self._streams.add(stream)
        return stream

    def _infer(self, request: Any) -> Any:
        return self._retried(self._stub.ModelInfer, request, self._options.timeout_s)

    def _ask(self, method: str, request: Any, timeout_s: float = CHECK_TIMEOUT_S) -> Any:
        return self._invoke(getattr(self._stub, method), request, timeout_s)

    def _invoke(self, call: Any, request: Any, timeout_s: float) -> Any:
        """The answer to one request, waited for so that Ctrl-C ends it."""
        answer = self._begin(call.future, request, timeout_s)
        try:
            while True:
                check_interrupt()
                with contextlib.suppress(grpc.FutureTimeoutError):
                    return answer.result(timeout=POLL_S)
        except grpc.FutureCancelledError:
            self._require_open()
            raise answer from None  # it is an RpcError, too, and has the server's sentence
        finally:
            answer.cancel()

    def _begin(self, call: Callable[..., Any], request: Any, timeout_s: float | None) -> Any:
        try:
            return call(request, metadata=self._metadata, timeout=timeout_s)
        except ValueError:  # what gRPC raises if another thread closes the channel meanwhile
            self._require_open()
            raise

    def _retried(self, call: Callable[..., Any], request: Any, timeout_s: float) -> Any:
        backoff = self._backoff()
        doubt = Doubt()
        while isinstance(answer := self._attempt(call, request, timeout_s), Failure):
            doubt.note(answer)
            backoff.wait(answer, doubt.count)
        return answer

    def _attempt(self, call: Callable[..., Any], request: Any, timeout_s: float) -> Any:
        self._require_open()
        try:
            return self._invoke(call, request, timeout_s)
        except grpc.RpcError as error:
            return Failure.of_rpc(error)

    def _why_not_ready(self, model: str) -> str:
        try:
            index = self._ask("RepositoryIndex", service_pb2.RepositoryIndexRequest())
        except grpc.RpcError:  # many servers and balancers keep the list to themselves
            return f"server {self._url} has not loaded model {model}"
        states = [entry for entry in index.models if entry.name == model]
        if not states:
            return f"server {self._url} has no model {model}; is it serving SyncNet's repository?"
        entry = states[-1]
        reason = f": {entry.reason}" if entry.reason else ""
        return f"server {self._url} has not loaded model {model} ({entry.state or 'idle'}{reason})"


def _open_channel(url: str, options: GrpcOptions) -> grpc.Channel:
    arguments = [
        ("grpc.max_send_message_length", MAX_GRPC_MESSAGE_SIZE),
        ("grpc.max_receive_message_length", MAX_GRPC_MESSAGE_SIZE),
        # The defaults wait up to two minutes before they look for a server that was gone.
        ("grpc.initial_reconnect_backoff_ms", 250),
        ("grpc.min_reconnect_backoff_ms", 250),
        ("grpc.max_reconnect_backoff_ms", 2000),
        # Where the name stands for several replicas, streams are spread over all of them.
        ("grpc.lb_policy_name", "round_robin"),
    ]
    if _LOOPBACK.match(url):
        arguments.append(("grpc.enable_http_proxy", 0))  # no proxy knows this machine's own ports
    if not options.encrypted:
        return grpc.insecure_channel(url, options=arguments)
    credentials = grpc.ssl_channel_credentials(
        root_certificates=_read(options.ca),
        private_key=_read(options.key),
        certificate_chain=_read(options.cert),
    )
    return grpc.secure_channel(url, credentials, options=arguments)


def _read(path: Path | None) -> bytes | None:
    if path is None:
        return None
    try:
        return path.read_bytes()
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from error
