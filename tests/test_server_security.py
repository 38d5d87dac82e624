"""Who may talk to the server, and about what; docs/security.md promises what is tested here."""

from __future__ import annotations

import gzip
import http.client
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import certificates
import numpy as np
import pytest
import tiny
from tritonclient.grpc import InferenceServerClient, InferInput
from tritonclient.utils import InferenceServerException

from benchmarks.chaos.hostile import hostile_http
from syncnet_server import Server, ServingError, Tls
from syncnet_server.security import ADMIN_HEADER_GRPC, ADMIN_HEADER_HTTP, restrictions

KEY = "a-key-for-tests-0123456789"


@dataclass(frozen=True)
class Certificates:
    authority: certificates.Pair
    server: certificates.Pair
    client: certificates.Pair
    stranger: certificates.Pair  # signed by another authority


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    folder = tmp_path_factory.mktemp("certificates")
    ours = certificates.authority(folder, "ours")
    others = certificates.authority(folder, "others")
    return Certificates(
        authority=ours,
        server=certificates.signed(folder, "server", ours),
        client=certificates.signed(folder, "client", ours),
        stranger=certificates.signed(folder, "stranger", others),
    )


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.write_tiny(tmp_path_factory.mktemp("security") / "repository")


@pytest.fixture(scope="module")
def tls_server(repository: Path, made: Certificates) -> Iterator[Server]:
    with Server(repository, tls=Tls(made.server.certificate, made.server.key)) as server:
        yield server


@pytest.fixture(scope="module")
def mutual_server(repository: Path, made: Certificates) -> Iterator[Server]:
    tls = Tls(made.server.certificate, made.server.key, made.authority.certificate)
    with Server(repository, tls=tls, admin_key=KEY) as server:
        yield server


@pytest.fixture(scope="module")
def keyed_server(repository: Path) -> Iterator[Server]:
    with Server(repository, admin_key=KEY) as server:
        yield server


def ask(url: str, **how: object) -> list[float]:
    with InferenceServerClient(url, **how) as client:
        answer = client.infer("tiny", [tiny.tensor([0.0])], client_timeout=20)
        return list(answer.as_numpy("Y")[0])


def get(url: str, path: str, method: str = "GET", **headers: str) -> int:
    """Return the HTTP status."""
    connection = http.client.HTTPConnection(url)
    try:
        connection.request(method, path, headers=headers)
        return connection.getresponse().status
    finally:
        connection.close()


# --- TLS -----------------------------------------------------------------------------------------


@pytest.mark.server
def test_tls_client_is_served(tls_server: Server, made: Certificates) -> None:
    root = str(made.authority.certificate)
    assert ask(tls_server.grpc_url, ssl=True, root_certificates=root) == [0.0]


@pytest.mark.server
def test_tls_server_refuses_a_plain_client(tls_server: Server) -> None:
    with pytest.raises(InferenceServerException, match="UNAVAILABLE"):
        ask(tls_server.grpc_url)


@pytest.mark.server
def test_client_refuses_a_server_it_does_not_trust(tls_server: Server, made: Certificates) -> None:
    root = str(made.stranger.certificate)
    with pytest.raises(InferenceServerException, match="UNAVAILABLE"):
        ask(tls_server.grpc_url, ssl=True, root_certificates=root)


@pytest.mark.server
def test_mutual_tls_serves_clients_with_our_certificate(
    mutual_server: Server, made: Certificates
) -> None:
    assert ask(
        mutual_server.grpc_url,
        ssl=True,
        root_certificates=str(made.authority.certificate),
        certificate_chain=str(made.client.certificate),
        private_key=str(made.client.key),
    ) == [0.0]


@pytest.mark.server
@pytest.mark.parametrize("shown", ["none", "stranger"])
def test_mutual_tls_refuses_others(mutual_server: Server, made: Certificates, shown: str) -> None:
    how = {"ssl": True, "root_certificates": str(made.authority.certificate)}
    if shown == "stranger":
        how["certificate_chain"] = str(made.stranger.certificate)
        how["private_key"] = str(made.stranger.key)
    with pytest.raises(InferenceServerException, match="UNAVAILABLE"):
        ask(mutual_server.grpc_url, **how)


@pytest.mark.server
def test_http_beside_tls_answers_health_alone(mutual_server: Server) -> None:
    url = mutual_server.http_url
    assert get(url, "/v2/health/ready") == 200
    assert get(url, "/v2/models/tiny") == 403
    assert get(url, "/v2/models/tiny/infer", "POST") == 403
    assert get(url, "/v2/models/tiny/stats") == 403
    assert get(url, "/v2/models/tiny", **{ADMIN_HEADER_HTTP: KEY}) == 200


def test_key_of_another_certificate(made: Certificates) -> None:
    with pytest.raises(ServingError, match="KEY_VALUES_MISMATCH"):
        Tls(made.server.certificate, made.client.key).arguments()


def test_missing_client_authority(made: Certificates) -> None:
    tls = Tls(made.server.certificate, made.server.key, Path("/nowhere/ca.pem"))
    with pytest.raises(ServingError, match=r"TLS client CA /nowhere/ca.pem: .*No such file"):
        tls.arguments()


# --- Hostile requests ----------------------------------------------------------------------------

# Every call that reads JSON.
READS_JSON = [
    "/v2/models/tiny/infer",
    "/v2/models/tiny/generate",
    "/v2/models/tiny/generate_stream",
    "/v2/repository/index",
    "/v2/repository/models/tiny/load",
    "/v2/repository/models/tiny/unload",
    "/v2/trace/setting",
    "/v2/models/tiny/trace/setting",
    "/v2/logging",
    "/v2/systemsharedmemory/region/x/register",
    "/v2/cudasharedmemory/region/x/register",
]
DEEP = b"[" * 150_000


@pytest.fixture(scope="module")
def plain_server(repository: Path) -> Iterator[Server]:
    """A server as it is without options."""
    with Server(repository) as server:
        yield server


def post(url: str, path: str, body: bytes, **headers: str) -> int:
    connection = http.client.HTTPConnection(url, timeout=20)
    try:
        connection.request("POST", path, body, headers)
        return connection.getresponse().status
    finally:
        connection.close()


@pytest.mark.server
@pytest.mark.parametrize("path", READS_JSON)
def test_deeply_nested_json_is_not_read(plain_server: Server, path: str) -> None:
    assert post(plain_server.http_url, path, DEEP) == 403
    compressed = gzip.compress(DEEP)
    assert post(plain_server.http_url, path, compressed, **{"Content-Encoding": "gzip"}) == 403
    assert tiny.double(plain_server.grpc_url, [0.0]) == [0.0]


@pytest.mark.server
def test_a_body_in_many_pieces_is_not_read(plain_server: Server) -> None:
    hostile_http(plain_server.http_url, seed=0)
    assert tiny.double(plain_server.grpc_url, [0.0]) == [0.0]


@pytest.mark.server
def test_http_is_health_and_metadata(plain_server: Server) -> None:
    url = plain_server.http_url
    for path in ("/v2/health/ready", "/v2/health/live", "/v2", "/v2/models/tiny"):
        assert get(url, path) == 200
    for path in ("/v2/models/tiny/config", "/v2/models/tiny/stats", "/v2/trace/setting"):
        assert get(url, path) == 403


@pytest.mark.server
def test_inference_over_http_is_for_those_who_ask_for_it(repository: Path) -> None:
    tensor = {"name": "X", "datatype": "FP32", "shape": [1, 1], "data": [0.0]}
    request = json.dumps({"inputs": [tensor]}).encode()
    with Server(repository, http_inference=True) as server:
        assert post(server.http_url, "/v2/models/tiny/infer", request) == 200
        assert post(server.http_url, "/v2/repository/index", b"{}") == 403


@pytest.mark.server
def test_a_request_past_the_limits_harms_nobody(server: Server) -> None:
    """On the real models: refused before any work, while others are served."""
    video = np.zeros((1, 1, 1024), np.float32)

    def ask_distances(left: int, right: int) -> str | tuple[int, ...]:
        inputs = []
        for name, array, kind in (
            ("VIDEO_EMBEDDINGS", video, "FP32"),
            ("AUDIO_EMBEDDINGS", video, "FP32"),
            ("AUDIO_PADDING", np.array([[left, right]], np.int32), "INT32"),
        ):
            inputs.append(InferInput(name, array.shape, kind))
            inputs[-1].set_data_from_numpy(array)
        with InferenceServerClient(server.grpc_url) as client:
            try:
                answer = client.infer("shift_distance", inputs, client_timeout=30)
            except InferenceServerException as error:
                return f"{error.status()} {error.message()}"
            return tuple(answer.as_numpy("DISTANCES").shape)

    paddings = [(2_500_000, 2_500_000), (2, 2), (2**30, 2**30), (-1, 1), (250, 250)] * 4
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda padding: ask_distances(*padding), paddings))
    for (left, _), answer in zip(paddings, answers, strict=True):
        if 0 <= left <= 250:
            assert answer == (1, 1, 2 * left + 1)
        else:
            assert isinstance(answer, str)
            assert answer.startswith("StatusCode.INVALID_ARGUMENT")
            assert "/" not in answer.partition(" ")[2]  # no path of the server


# --- Administration ------------------------------------------------------------------------------

# (HTTP method, path) of a call of each group that is restricted
ADMINISTRATION = [
    ("POST", "/v2/repository/index"),
    ("GET", "/v2/models/tiny/config"),
    ("GET", "/v2/systemsharedmemory/status"),
    ("GET", "/v2/trace/setting"),
    ("GET", "/v2/logging"),
]


@pytest.mark.server
@pytest.mark.parametrize(("method", "path"), ADMINISTRATION)
def test_administration_over_http_needs_the_key(
    keyed_server: Server, method: str, path: str
) -> None:
    url = keyed_server.http_url
    assert get(url, path, method) == 403
    assert get(url, path, method, **{ADMIN_HEADER_HTTP: KEY[:-1]}) == 403
    assert get(url, path, method, **{ADMIN_HEADER_HTTP: KEY}) == 200


@pytest.mark.server
def test_administration_over_grpc_needs_the_key(keyed_server: Server) -> None:
    with InferenceServerClient(keyed_server.grpc_url) as client:
        calls = (
            lambda headers: client.get_model_repository_index(headers=headers),
            lambda headers: client.get_system_shared_memory_status(headers=headers),
            lambda headers: client.get_trace_settings(headers=headers),
            lambda headers: client.get_log_settings(headers=headers),
        )
        for call in calls:
            for headers in ({}, {ADMIN_HEADER_GRPC: KEY[:-1]}, {ADMIN_HEADER_HTTP: KEY}):
                with pytest.raises(InferenceServerException, match="protocol is restricted"):
                    call(headers)
            assert call({ADMIN_HEADER_GRPC: KEY}) is not None


@pytest.mark.server
def test_scoring_needs_no_key(keyed_server: Server) -> None:
    assert tiny.double(keyed_server.grpc_url, [0.0]) == [0.0]
    with InferenceServerClient(keyed_server.grpc_url) as client:
        # What the weights are stands there, and results say it.
        assert client.get_model_config("tiny").config.name == "tiny"


@pytest.mark.server
def test_models_are_not_loaded_from_the_network(keyed_server: Server) -> None:
    with (
        InferenceServerClient(keyed_server.grpc_url) as client,
        pytest.raises(InferenceServerException, match="model load / unload is not allowed"),
    ):
        client.load_model("tiny", headers={ADMIN_HEADER_GRPC: KEY})


def test_without_a_key_loopback_is_open_and_other_addresses_are_closed() -> None:
    (closed,) = restrictions("127.0.0.1", tls=False, admin_key=None)
    assert closed.startswith("--http-restricted-api=")
    first = restrictions("0.0.0.0", tls=False, admin_key=None)
    second = restrictions("0.0.0.0", tls=False, admin_key=None)
    secrets = {option.rpartition("=")[2] for option in (*first, *second)}
    assert len(first) == 2
    assert len(secrets) == 2  # one for each server, and nobody is told
    assert min(map(len, secrets)) >= 32


@pytest.mark.parametrize("key", ["", "short", "sixteen chars and", "comma,comma,comma,", "a=" * 9])
def test_keys_that_triton_cannot_hold_are_refused(key: str) -> None:
    with pytest.raises(ServingError, match="at least 16 characters"):
        restrictions("127.0.0.1", tls=False, admin_key=key)
