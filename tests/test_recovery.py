"""A real server that goes away in the middle of a clip and comes back: nothing lost or doubled."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil
import pytest

from syncnet_client import Progress, ServerUnavailableError, SyncNetClient
from syncnet_client.transport.grpc import GrpcOptions
from syncnet_server import Server

pytestmark = [pytest.mark.server, pytest.mark.slow]

FRAMES = 300
BREAK_AT = 150


@pytest.fixture(scope="module")
def clip() -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(9)
    pictures = random.integers(0, 256, (FRAMES, 1, 1, 3), np.uint8)
    frames = np.broadcast_to(pictures, (FRAMES, 224, 224, 3))
    return frames, random.integers(-6000, 6000, FRAMES * 640, np.int16)


@pytest.fixture(scope="module")
def undisturbed(server: Server, clip: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    with SyncNetClient(server.grpc_url) as client:
        return client.score(clip, chunk=10).speaker.distances


def kill(server: Server) -> None:
    """End tritonserver as a crash would, with requests in flight."""
    port = f"--grpc-port={server.grpc_url.rpartition(':')[2]}"
    (victim,) = [
        process
        for process in psutil.Process().children(recursive=True)
        if process.name() == "tritonserver" and port in process.cmdline()
    ]
    os.kill(victim.pid, signal.SIGKILL)
    victim.wait()
    server.stop()


@pytest.mark.parametrize("end", [Server.stop, kill], ids=["stopped", "killed"])
def test_a_restart_in_the_middle_of_a_clip_leaves_no_trace(
    narrow_repository: Path,
    clip: tuple[np.ndarray, np.ndarray],
    undisturbed: np.ndarray,
    end: Callable[[Server], None],
):
    first = Server(narrow_repository, exit_timeout_s=1)
    first.start()
    port = int(first.grpc_url.rpartition(":")[2])
    second = Server(narrow_repository, grpc_port=port)
    restarting = threading.Thread(target=lambda: (end(first), second.start()))

    def break_off(progress: Progress) -> None:
        if progress.frames >= BREAK_AT and restarting.ident is None:
            restarting.start()

    try:
        with SyncNetClient(first.grpc_url) as client:
            result = client.score(clip, chunk=10, progress=break_off)
    finally:
        restarting.join()
        first.stop()
        second.stop()
    assert result.speaker.distances.shape == undisturbed.shape
    np.testing.assert_allclose(result.speaker.distances, undisturbed, rtol=1e-5)


def test_a_server_that_does_not_come_back_is_an_error_after_a_while(
    narrow_repository: Path, clip: tuple[np.ndarray, np.ndarray]
):
    only = Server(narrow_repository, exit_timeout_s=1)
    only.start()

    def break_off(progress: Progress) -> None:
        if progress.frames == BREAK_AT:
            kill(only)

    with (
        SyncNetClient(only.grpc_url, options=GrpcOptions(retry_timeout_s=2)) as client,
        pytest.raises(ServerUnavailableError, match="has not answered for"),
    ):
        client.score(clip, chunk=10, progress=break_off)
