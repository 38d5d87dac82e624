"""The command line, run as users run it: exit status, standard output, one line of error."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import grpc
import psutil
import pytest
import tiny
import tritonclient.grpc
import trustme
from commandline import CLIENT, assert_fails, run, write_clip
from fakes import FakeTriton, Silence
from tiny import wait_for
from tritonclient.utils import InferenceServerException

from benchmarks.processes import measure
from syncnet_client import ServerUnavailableError
from syncnet_client.commands.connection import Connection
from syncnet_client.transport.grpc import GrpcOptions
from syncnet_client.waiting import interrupts_between_waits, pause
from syncnet_server import Server
from syncnet_server.restarts import RestartPolicy, kept_running


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_clip(tmp_path_factory.mktemp("clip") / "talk.mkv")


@pytest.fixture
def fake() -> Iterator[FakeTriton]:
    with FakeTriton() as server:
        yield server


def test_json_is_one_object_on_one_line(fake: FakeTriton, clip: Path):
    done = run("score", clip, "--json", "--url", fake.url, "--vshift", 4, "--chunk", 11)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    (line,) = done.stdout.splitlines()
    result = json.loads(line)
    promised = {"clip", "offset_frames", "offset_ms", "confidence", "min_distance", "warnings"}
    promised |= {"mean_distances", "frame_confidence", "frames", "audio_samples", "windows"}
    assert promised | {"vshift", "model_versions", "verdict"} <= result.keys()
    assert result["clip"] == str(clip)
    assert (result["frames"], result["audio_samples"], result["windows"]) == (40, 25_600, 35)
    assert len(result["mean_distances"]) == 9
    assert result["vshift"] == 4
    assert result["model_versions"] == {"audio_tower": "3", "video_tower": "3"}


@pytest.mark.server
@pytest.mark.parametrize("options", [[], ["--no-shared-memory"]], ids=["shared", "sent"])
def test_memory_is_that_of_some_chunks(server: Server, tmp_path: Path, options: list[str]):
    long = write_clip(tmp_path / "long.mkv", frames=500)
    usage = measure([*CLIENT, "score", long, "--url", server.grpc_url, *options])
    assert "(20.0 s)" in usage.stdout
    assert usage.peak_mb < 300


def test_the_table_says_it_in_words(fake: FakeTriton, clip: Path):
    done = run("score", clip, SYNCNET_URL=fake.url)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    lines = done.stdout.splitlines()
    assert lines[0] == f"{clip} (1.6 s)"
    rows = {line.split()[0]: line for line in lines[1:]}
    result = json.loads(run("score", clip, "--json", "--url", fake.url).stdout)
    assert result["meaning"] in rows["offset"]
    assert f"{result['offset_frames']:+d} frames" in rows["offset"]
    assert f"{result['confidence']:.2f}" in rows["confidence"]
    assert f"minimum distance {result['min_distance']:.2f}" in rows["confidence"]
    assert "video_tower version 3" in rows["weights"]
    assert "trusted" in rows["verdict"]


def test_crop_modes_reach_the_cropper(fake: FakeTriton, tmp_path: Path):
    wide = write_clip(tmp_path / "wide.mkv", size=256)
    for crop, box in [("none", [0, 0, 256, 256]), ("16,8,200,200", [16, 8, 200, 200])]:
        done = run("score", wide, "--json", "--crop", crop, "--url", fake.url)
        assert json.loads(done.stdout)["box"] == box
    assert_fails(run("score", wide, "--url", fake.url), "wide.mkv", "no face was found")


def test_missing_file(fake: FakeTriton, tmp_path: Path):
    assert_fails(run("score", tmp_path / "a.mp4", "--url", fake.url), "a.mp4", "no such file")


def test_no_media(fake: FakeTriton, tmp_path: Path):
    text = tmp_path / "notes.mp4"
    text.write_text("nothing to see here\n" * 100)
    assert_fails(run("score", text, "--url", fake.url), "notes.mp4")


def test_no_video_stream(fake: FakeTriton, tmp_path: Path):
    sound = write_clip(tmp_path / "sound.mkv", video=False)
    assert_fails(run("score", sound, "--url", fake.url), "sound.mkv has no video stream")


def test_no_audio_stream(fake: FakeTriton, tmp_path: Path):
    silent = write_clip(tmp_path / "silent.mkv", audio=False)
    assert_fails(run("score", silent, "--url", fake.url), "silent.mkv has no audio stream")


def test_fewer_than_six_frames(fake: FakeTriton, tmp_path: Path):
    short = write_clip(tmp_path / "short.mkv", frames=5)
    done = run("score", short, "--url", fake.url)
    assert_fails(done, "short.mkv is too short", "5 frames of video", "at least 6")


def test_no_server(clip: Path):
    with FakeTriton() as server:
        url = server.url
    assert_fails(run("score", clip, "--url", url), f"no Triton server answers at {url}")


def test_model_not_loaded(clip: Path):
    with FakeTriton(models=()) as server:
        done = run("score", clip, "--url", server.url)
    assert_fails(done, "has not loaded model syncnet", "out of luck")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "Missing argument 'CLIP"),
        (("a.mp4", "--vshift", "251"), "--vshift"),
        (("a.mp4", "--bogus"), "No such option: --bogus"),
        (("a.mp4", "--crop", "middle"), "--crop is auto, none or X,Y,W,H"),
        (("a.mp4", "--local", "--url", "b:1"), "leave out --url"),
        (("a.mp4", "--url", "http://b:1"), "HOST:PORT"),
        (("a.mp4", "--header", "token"), "NAME:VALUE"),
        (("a.mp4", "--key", "key.pem"), "needs its key"),
        (("a.mp4", "--ca", "gone.pem"), "cannot read gone.pem"),
    ],
)
def test_usage_errors_have_status_2(arguments: tuple[str, ...], words: str):
    done = run("score", *arguments)
    assert done.returncode == 2
    assert words in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_encrypted_with_certificates_on_both_sides(clip: Path, tmp_path: Path):
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    mine = authority.issue_cert("client.example")
    mine.private_key_pem.write_to_path(tmp_path / "key.pem")
    mine.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    theirs = authority.issue_cert("127.0.0.1")
    credentials = grpc.ssl_server_credentials(
        [(theirs.private_key_pem.bytes(), theirs.cert_chain_pems[0].bytes())],
        root_certificates=authority.cert_pem.bytes(),
        require_client_auth=True,
    )
    trusting = ("--ca", tmp_path / "ca.pem")
    known = ("--cert", tmp_path / "cert.pem", "--key", tmp_path / "key.pem")
    with FakeTriton(tls=credentials) as server:
        command = ("score", clip, "--json", "--url", server.url)
        done = run(*command, *trusting, *known, "--header", "Authorization: Bearer x")
        assert done.returncode == 0, done.stderr
        assert server.metadata["authorization"] == "Bearer x"
        for options, words in [
            (trusting, "the server asks for a client certificate: pass --cert and --key"),
            (("--tls", *known), "the server's certificate is not trusted"),
            ((), "the server speaks TLS: pass --tls, or --ca"),
            (("--ca", tmp_path / "key.pem"), "key.pem holds no certificates"),
        ]:
            assert_fails(run(*command, *options), f"server {server.url}: ", words)
    with FakeTriton() as plain:
        done = run("score", clip, "--url", plain.url, *trusting)
    assert_fails(done, "the server does not speak TLS: leave out --tls, --ca, --cert and --key")


def test_ctrl_c_ends_it_at_once(clip: Path):
    with FakeTriton([Silence()]) as server:
        process = subprocess.Popen(
            [*CLIENT, "score", str(clip), "--url", server.url],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert wait_for(lambda: bool(server.streamed) or process.poll() is not None, 120)
        process.send_signal(signal.SIGINT)
        stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 130
    assert stdout == ""
    assert "Traceback" not in stderr


def test_version_and_help():
    assert run("--version").stdout.startswith("syncnet-client 0.")
    for option in ("--vshift", "--crop", "--local", "--tls", "--header", "--json"):
        assert option in run("score", "--help").stdout


@pytest.mark.server
def test_local_starts_a_server_for_the_call(narrow_repository: Path, clip: Path):
    done = run("score", clip, "--local", "--json", cwd=narrow_repository.parent)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["model_versions"] == {"audio_tower": "1", "video_tower": "1"}
    assert done.stderr == "starting a local server ...\n"


@pytest.fixture
def local(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Connection:
    """What --local means, in a folder whose repository is one tiny model."""
    tiny.write_tiny(tmp_path / "model_repository")
    monkeypatch.chdir(tmp_path)
    return Connection(None, GrpcOptions())


def tritonservers() -> set[psutil.Process]:
    return {process for process in tiny.tree(os.getpid()) if process.name() == "tritonserver"}


def kill_tritonserver(of_others: set[psutil.Process]) -> None:
    (triton,) = tritonservers() - of_others
    triton.kill()
    triton.wait()


@pytest.mark.server
def test_local_server_that_dies_comes_back(local: Connection) -> None:
    of_others = tritonservers()
    with local.reach() as url:
        kill_tritonserver(of_others)
        with tritonclient.grpc.InferenceServerClient(url) as client:

            def is_back() -> bool:
                with contextlib.suppress(InferenceServerException):
                    return bool(client.is_model_ready("tiny", client_timeout=5))
                return False

            assert wait_for(is_back, 60)


@pytest.mark.server
def test_local_server_that_dies_too_often_ends_the_call(
    local: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    never = functools.partial(kept_running, policy=RestartPolicy(most=0))
    monkeypatch.setattr("syncnet_server.restarts.kept_running", never)

    of_others = tritonservers()

    def call() -> None:
        with local.reach(), interrupts_between_waits():
            kill_tritonserver(of_others)
            pause(60, threading.Event())

    killed = r"^the local server: tritonserver was killed by SIGKILL$"
    with pytest.raises(ServerUnavailableError, match=killed):
        call()


@pytest.mark.server
def test_local_server_that_cannot_start_is_one_line(tmp_path: Path, clip: Path):
    broken = tmp_path / "model_repository" / "syncnet"
    broken.mkdir(parents=True)
    (broken / "config.pbtxt").write_text("nonsense")
    done = run("score", clip, "--local", cwd=tmp_path)
    assert done.returncode == 1
    first, second = done.stderr.splitlines()
    assert first == "starting a local server ..."
    assert second.startswith("syncnet-client: the local server cannot start: ")
    assert done.stdout == ""
