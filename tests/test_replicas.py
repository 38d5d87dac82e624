"""Several servers behind the project's own balancer: a clip shared by two, one killed at work."""

from __future__ import annotations

import json
import re
import shutil
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import certificates
import grpc
import numpy as np
import pytest
from conftest import unexpected_errors
from test_batch import arrays, kill_tritonserver, run
from tritonclient.grpc import service_pb2, service_pb2_grpc

from benchmarks.balancer import running_balancer
from syncnet_client.batch.threads import ScoreClip, score_clips
from syncnet_client.client import SyncNetClient
from syncnet_client.errors import ServerUnavailableError
from syncnet_client.records.open import open_output
from syncnet_client.records.record import Record
from syncnet_client.scoring.clip import Progress
from syncnet_client.scoring.result import SyncResult
from syncnet_client.transport.grpc import GrpcOptions
from syncnet_server import Server

pytestmark = [
    pytest.mark.slow,
    pytest.mark.server,
    pytest.mark.skipif(
        shutil.which("nginx") is None, reason="needs nginx (Debian package nginx-light)"
    ),
]

CLIPS = [f"clip {number:02}" for number in range(50)]
FRAMES = 26
WINDOWS = FRAMES - 5
CHUNK = 7  # windows, so that a clip has 3 chunks


@pytest.fixture(scope="module")
def other(narrow_repository: Path) -> Iterator[Server]:
    """A second server that may be killed and comes back on the same ports."""
    with Server(narrow_repository) as first:
        grpc_port, http_port = (int(u.split(":")[1]) for u in (first.grpc_url, first.http_url))
    with Server(narrow_repository, grpc_port=grpc_port, http_port=http_port) as running:
        yield running
        assert unexpected_errors(running.log) == []


def scored_by(client: SyncNetClient) -> ScoreClip:
    def score(clip: str, progress: Callable[[Progress], None]) -> SyncResult:
        source = arrays(clip, frames=FRAMES)
        return client.score(source, chunk=CHUNK, name=clip, progress=progress)

    return score


def chunks_scored(server: Server) -> float:
    with urllib.request.urlopen(f"http://{server.metrics_url}/metrics", timeout=10) as answer:
        (chunks,) = re.findall(r"^syncnet_chunks_total (\S+)$", answer.read().decode(), re.M)
    return float(chunks)


def test_one_clip_on_two_servers_equals_one_server(
    server: Server, other: Server, tmp_path: Path
) -> None:
    with SyncNetClient(server.grpc_url) as client:
        alone = client.score(arrays("a clip", frames=FRAMES), chunk=CHUNK)
    before = [chunks_scored(each) for each in (server, other)]
    with (
        running_balancer(tmp_path, [server.grpc_url, other.grpc_url]) as balancer,
        SyncNetClient(balancer.url, options=GrpcOptions(streams=2)) as client,
    ):
        shared = client.score(arrays("a clip", frames=FRAMES), chunk=CHUNK)
    after = [chunks_scored(each) for each in (server, other)]

    work = [now - then for now, then in zip(after, before, strict=True)]
    assert sum(work) == WINDOWS // CHUNK
    assert min(work) >= 1
    assert sorted(set(balancer.servers_of("ModelStreamInfer"))) == sorted(
        [server.grpc_url, other.grpc_url]
    )
    np.testing.assert_array_equal(shared.tracks[0].distances, alone.tracks[0].distances)
    assert shared.to_dict() == alone.to_dict()


def test_many_clips_are_spread_over_the_servers(
    server: Server, other: Server, tmp_path: Path
) -> None:
    with (
        running_balancer(tmp_path, [server.grpc_url, other.grpc_url]) as balancer,
        SyncNetClient(balancer.url) as client,
    ):
        run(CLIPS[:12], scored_by(client), jobs=4)
    streams = Counter(balancer.servers_of("ModelStreamInfer"))
    assert sum(streams.values()) == 12
    assert min(streams[server.grpc_url], streams[other.grpc_url]) >= 2


def test_a_server_killed_in_the_middle_changes_no_result(
    server: Server, other: Server, tmp_path: Path
) -> None:
    path = tmp_path / "results.jsonl"
    restart = threading.Thread(target=other.start)
    with (
        running_balancer(tmp_path, [server.grpc_url, other.grpc_url]) as balancer,
        SyncNetClient(balancer.url, options=GrpcOptions(retry_timeout_s=60)) as client,
        open_output(path) as output,
    ):
        quiet, _ = run(CLIPS, scored_by(client), jobs=4)

        def emit(record: Record) -> None:
            output.append(record)
            if len(output.done) == 10:
                kill_tritonserver(other)
            if len(output.done) == 20:  # ten more clips without it
                restart.start()

        tally = score_clips(CLIPS, scored_by(client), emit, jobs=4, done=output.done)
        restart.join()

        # The balancer finds the server again.
        deadline = time.monotonic() + 60
        while chunks_scored(other) == 0:
            assert time.monotonic() < deadline, "the restarted server gets no work"
            client.score(arrays("another clip", frames=FRAMES), chunk=CHUNK)

    assert (tally.scored, tally.failed) == (50, 0)
    records = [json.loads(line) for line in path.read_text().splitlines()]
    assert [record["clip"] for record in sorted(records, key=lambda r: r["clip"])] == CLIPS
    expected = {record.clip: record.to_dict() for record in quiet}
    for record in records:
        assert record == expected[record["clip"]]


def test_the_balancer_passes_on_what_scoring_needs_and_nothing_else(
    server: Server, tmp_path: Path
) -> None:
    with (
        running_balancer(tmp_path, [server.grpc_url]) as balancer,
        grpc.insecure_channel(
            balancer.url, options=[("grpc.max_send_message_length", -1)]
        ) as channel,
    ):
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        assert stub.ServerReady(service_pb2.ServerReadyRequest()).ready
        assert stub.ModelStatistics(service_pb2.ModelStatisticsRequest(name="syncnet")).model_stats
        refused = {
            "RepositoryIndex": service_pb2.RepositoryIndexRequest(),
            "RepositoryModelUnload": service_pb2.RepositoryModelUnloadRequest(model_name="syncnet"),
            "ModelConfig": service_pb2.ModelConfigRequest(name="syncnet"),
            "SystemSharedMemoryStatus": service_pb2.SystemSharedMemoryStatusRequest(),
            "TraceSetting": service_pb2.TraceSettingRequest(),
            "LogSettings": service_pb2.LogSettingsRequest(),
        }
        for method, request in refused.items():
            with pytest.raises(grpc.RpcError) as refusal:
                getattr(stub, method)(request)
            assert refusal.value.code() is grpc.StatusCode.PERMISSION_DENIED, method

        large = service_pb2.ModelInferRequest(model_name="syncnet")
        large.raw_input_contents.append(bytes(65 << 20))
        with pytest.raises(grpc.RpcError) as refusal:
            stub.ModelInfer(large)
        assert refusal.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl")
def test_the_balancer_turns_away_who_has_no_certificate(server: Server, tmp_path: Path) -> None:
    authority = certificates.authority(tmp_path, "authority")
    stranger = certificates.authority(tmp_path, "stranger")
    shutil.copy(authority.certificate, tmp_path / "ca.crt")
    pair = certificates.signed(tmp_path, "balancer", authority)
    shutil.copy(pair.certificate, tmp_path / "tls.crt")
    shutil.copy(pair.key, tmp_path / "tls.key")
    ours, theirs = (
        certificates.signed(tmp_path, f"of-{by.key.stem}", by) for by in (authority, stranger)
    )

    def score(balancer_url: str, options: GrpcOptions) -> int:
        with SyncNetClient(balancer_url, options=options) as client:
            return client.score(arrays("a clip", frames=FRAMES), chunk=CHUNK).frames

    trust = authority.certificate
    with running_balancer(tmp_path, [server.grpc_url], certificates=tmp_path) as balancer:
        ours_options = GrpcOptions(ca=trust, cert=ours.certificate, key=ours.key)
        assert score(balancer.url, ours_options) == FRAMES
        for options in (
            GrpcOptions(),
            GrpcOptions(ca=trust),
            GrpcOptions(ca=trust, cert=theirs.certificate, key=theirs.key),
            GrpcOptions(ca=stranger.certificate, cert=ours.certificate, key=ours.key),
        ):
            with pytest.raises(ServerUnavailableError):
                score(balancer.url, options)
