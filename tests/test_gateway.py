"""The gateway's HTTP interface, with a real Triton behind it."""

from __future__ import annotations

import json
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path

import httpx
import psutil
import pytest
from commandline import CLIENT, write_clip
from gateways import RunningGateway, events, running
from media_recipes import Recipe, encode
from tiny import gone, wait_for

from syncnet_client import SyncNetClient
from syncnet_client.media.remux import FORMATS
from syncnet_gateway.api import REPAIRABLE
from syncnet_gateway.problems import KINDS, MEDIA_TYPE
from syncnet_server import Server

pytestmark = pytest.mark.server

TOKEN = "a-token-for-tests"


@pytest.fixture(scope="module")
def gateway(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    work = tmp_path_factory.mktemp("work")
    with running(work, "--url", server.grpc_url, "--max-duration", "20") as started:
        yield started


@pytest.fixture(scope="module")
def tight(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    """A gateway with one place, small limits, and a token."""
    work = tmp_path_factory.mktemp("tight")
    limits = ["--jobs", "1", "--waiting", "1", "--max-size", "0.5", "--max-duration", "2"]
    limits += ["--max-pixels", "60000", "--upload-timeout", "2"]
    with running(work, "--url", server.grpc_url, *limits, SYNCNET_GATEWAY_TOKEN=TOKEN) as started:
        yield started


@pytest.fixture(scope="module")
def long_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Enough to be in work for some seconds, and too long for ``tight``."""
    return write_clip(tmp_path_factory.mktemp("long") / "long.mp4", frames=400)


def assert_problem(answer: httpx.Response, name: str, *words: str) -> None:
    assert answer.headers["content-type"] == MEDIA_TYPE, answer.text
    problem = answer.json()
    kind = KINDS[name]
    assert problem["type"] == f"/problems/{name}"
    assert (answer.status_code, problem["status"]) == (kind.status, kind.status)
    assert problem["title"] == kind.title
    for word in words:
        assert word in problem["detail"]


def tokened(**headers: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {TOKEN}", **headers}


# Answers


def test_the_answer_is_that_of_the_command_line(
    gateway: RunningGateway, server: Server, talking_clip: Path
) -> None:

    done = subprocess.run(
        [*CLIENT, "score", talking_clip.name, "--json", "--url", server.grpc_url, "--vshift", "12"],
        capture_output=True,
        cwd=talking_clip.parent,
        check=True,
    )
    answer = gateway.post("/v1/score?vshift=12", talking_clip)
    assert answer.status_code == 200
    assert answer.json() == json.loads(done.stdout)


def test_a_clip_is_scored_against_another_sound(
    gateway: RunningGateway, server: Server, talking_clip: Path, tmp_path: Path
) -> None:
    other = write_clip(tmp_path / talking_clip.name, frames=40)  # of the same name
    silent = write_clip(tmp_path / "silent.mp4", audio=False)
    for_silent = {"clip": ("silent.mp4", silent.read_bytes()), "audio": ("a", other.read_bytes())}
    assert gateway.post("/v1/score", files=for_silent).status_code == 200
    files = {part: (path.name, path.read_bytes())
             for part, path in (("clip", talking_clip), ("audio", other))}  # fmt: skip
    answer = gateway.post("/v1/score", files=files)
    assert answer.status_code == 200, answer.text
    with SyncNetClient(server.grpc_url) as client:
        expected = client.score(talking_clip, audio=str(other))
    assert answer.json()["mean_distances"] == expected.to_dict()["mean_distances"]
    refused = gateway.post("/v1/align", files=files)
    assert_problem(refused, "bad-upload", "'audio'")


def test_a_search_widens_as_on_the_command_line(
    gateway: RunningGateway, talking_clip: Path
) -> None:
    """No offset of random towers is trusted, so the clip is scored twice."""
    answer = gateway.post("/v1/score?vshift=2&search=auto&min_agreement=1", talking_clip)
    assert answer.status_code == 200, answer.text
    assert answer.json()["vshift"] > 2


def test_curl_as_the_documentation_shows_it(gateway: RunningGateway, talking_clip: Path) -> None:

    if shutil.which("curl") is None:
        pytest.skip("needs curl")
    done = subprocess.run(
        ["curl", "-s", "-F", f"clip=@{talking_clip}", f"{gateway.url}/v1/score"],
        capture_output=True,
        check=True,
    )
    assert json.loads(done.stdout)["clip"] == talking_clip.name


@pytest.mark.parametrize(
    ("query", "headers"), [("?stream=true", {}), ("", {"Accept": "text/event-stream"})]
)
def test_events_tell_how_the_job_goes(
    gateway: RunningGateway, long_clip: Path, query: str, headers: dict[str, str]
) -> None:
    answer = gateway.post(f"/v1/score{query}", long_clip, headers=headers)
    assert answer.headers["content-type"].startswith("text/event-stream")
    told = events(answer.text)
    assert [name for name, _ in told[-2:]] == ["job", "result"]
    jobs = [content for name, content in told if name == "job"]
    assert jobs[-1]["state"] == "done"
    frames = [job["progress"]["frames"] for job in jobs if job["progress"]]
    assert frames == sorted(frames)
    assert frames[-1] > 0
    assert told[-1][1]["frames"] == 400
    assert answer.headers["location"] == f"/v1/jobs/{jobs[0]['id']}"


def test_events_end_with_the_problem(gateway: RunningGateway, tmp_path: Path) -> None:
    text = tmp_path / "notes.txt"
    text.write_text("no media\n" * 100)
    told = events(gateway.post("/v1/score?stream=true", text).text)
    name, problem = told[-1]
    assert (name, problem["status"]) == ("problem", 422)
    assert problem["detail"].startswith("notes.txt is not a media file")


def test_a_job_can_be_left_and_its_outcome_fetched(
    gateway: RunningGateway, talking_clip: Path
) -> None:
    answer = gateway.post("/v1/score", talking_clip, headers={"Prefer": "respond-async"})
    assert answer.status_code == 202
    place = answer.headers["location"]
    assert wait_for(lambda: gateway.get(place).json()["state"] == "done")
    job = gateway.get(place).json()
    assert job["result"]["clip"] == talking_clip.name
    (face,) = gateway.get(f"{place}/faces").json()
    assert face["boxes"] == [[0, 0, 224, 224]] * 30
    assert len(face["frame_times"]) == len(face["detected"]) == 30
    told = events(gateway.get(place, headers={"Accept": "text/event-stream"}).text)
    assert told[-1] == ("result", job["result"])
    assert httpx.delete(f"{gateway.url}{place}").status_code == 204
    assert_problem(gateway.get(place), "not-found", "10 minutes")


def test_faces_are_there_once_the_job_is_done(gateway: RunningGateway, long_clip: Path) -> None:
    place = gateway.post("/v1/score", long_clip, headers={"Prefer": "respond-async"}).headers[
        "location"
    ]
    assert_problem(gateway.get(f"{place}/faces"), "not-finished", "the job is ")
    assert httpx.delete(f"{gateway.url}{place}").status_code == 204


def test_a_repaired_clip_comes_back(gateway: RunningGateway, talking_clip: Path) -> None:
    refused = gateway.post("/v1/align", talking_clip)
    # The towers of this server are random, so they cannot be trusted.
    assert_problem(refused, "untrusted", "cannot be trusted", "force=true")
    answer = gateway.post("/v1/align?force=true", talking_clip)
    assert answer.status_code == 200
    assert 'filename="clip.in-sync.mp4"' in answer.headers["content-disposition"]
    job = gateway.get(answer.headers["location"]).json()
    moved = job["result"]["audio_moved_ms"] - job["result"]["video_moved_ms"]
    assert moved == job["result"]["before"]["offset_ms"] != 0
    assert answer.content[4:8] == b"ftyp"
    assert answer.content != talking_clip.read_bytes()
    assert wait_for(lambda: gateway.uploads() == [])


def test_a_repair_is_followed_and_its_file_fetched_once(
    gateway: RunningGateway, long_clip: Path
) -> None:
    told = events(gateway.post("/v1/align?force=true&stream=true", long_clip).text)
    assert [name for name, _ in told[-2:]] == ["job", "result"]
    jobs = [content for name, content in told if name == "job"]
    steps = [job["progress"]["step"] for job in jobs if job["progress"]]
    assert steps == sorted(steps)
    assert set(steps) == {1, 2}  # the clip, then its copy
    assert jobs[-1]["progress"]["steps"] == 2
    place = f"/v1/jobs/{jobs[0]['id']}"
    file = gateway.get(f"{place}/file")
    assert 'filename="long.in-sync.mp4"' in file.headers["content-disposition"]
    assert file.content[4:8] == b"ftyp"
    assert_problem(gateway.get(f"{place}/file"), "not-found", "the file was sent before")
    assert wait_for(lambda: gateway.uploads() == [])


def test_a_score_has_no_file(gateway: RunningGateway, talking_clip: Path) -> None:
    place = gateway.post("/v1/score", talking_clip).headers["location"]
    assert_problem(gateway.get(f"{place}/file"), "not-found", "the job has no file")


def test_a_file_that_is_not_fetched_takes_a_place(
    server: Server, talking_clip: Path, tmp_path: Path
) -> None:
    options = ["--url", server.grpc_url, "--jobs", "1", "--waiting", "0"]
    with running(tmp_path / "work", *options) as gateway:
        answer = gateway.post(
            "/v1/align?force=true", talking_clip, headers={"Prefer": "respond-async"}
        )
        assert answer.status_code == 202
        place = answer.headers["location"]
        assert wait_for(lambda: gateway.get(place).json()["state"] == "done")
        assert_problem(gateway.post("/v1/score", talking_clip), "busy", "try again later")
        assert gateway.get(f"{place}/file").status_code == 200
        assert gateway.post("/v1/score", talking_clip).status_code == 200


def test_clips_that_cannot_be_copied_into_their_container_become_matroska(
    gateway: RunningGateway, tmp_path: Path
) -> None:
    clip = write_clip(tmp_path / "old.avi", frames=60)
    answer = gateway.post("/v1/align?force=true", clip)
    assert 'filename="old.in-sync.mkv"' in answer.headers["content-disposition"]
    assert answer.content[:4] == b"\x1a\x45\xdf\xa3"


def test_containers_that_can_be_repaired_are_those_of_the_client() -> None:
    assert set(REPAIRABLE) == set(FORMATS)


# Errors


def test_every_error_is_a_problem(gateway: RunningGateway, tmp_path: Path) -> None:
    silent = write_clip(tmp_path / "silent.mp4", audio=False)
    short = write_clip(tmp_path / "short.mp4", frames=4)
    wide = encode(tmp_path / "wall.mp4", Recipe())
    assert_problem(gateway.post("/v1/score", silent), "no-audio", "silent.mp4 has no audio stream")
    assert_problem(gateway.post("/v1/score", short), "too-short", "short.mp4 is too short")
    assert_problem(gateway.post("/v1/score", wide), "no-face", "wall.mp4")
    empty = {"clip": ("empty.mp4", b"")}
    assert_problem(gateway.post("/v1/score", files=empty), "unreadable-clip", "empty.mp4 is empty")
    assert wait_for(lambda: gateway.uploads() == [])


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("vshift=9999", "vshift"),
        ("vshift=two", "vshift"),
        ("crop=1,2", "crop is auto, none or X,Y,W,H"),
        ("colour=red", "colour"),
        ("yunet=/etc/passwd", "yunet"),
    ],
)
def test_impossible_options(
    gateway: RunningGateway, talking_clip: Path, query: str, words: str
) -> None:
    answer = gateway.post(f"/v1/score?{query}", talking_clip)
    assert_problem(answer, "bad-option", words)
    assert "--" not in answer.json()["detail"]


def test_odd_bodies(gateway: RunningGateway) -> None:
    assert_problem(gateway.post("/v1/score", data={"x": "1"}), "not-multipart", "curl -F clip=@")
    wrong = {"vshift": (None, "3")}
    assert_problem(gateway.post("/v1/score", files=wrong), "bad-upload", "'vshift'", "query")
    form = {"Content-Type": "multipart/form-data; boundary=x"}
    cut = b'--x\r\nContent-Disposition: form-data; name="clip"; filename="a"\r\n\r\nabc'
    assert_problem(
        gateway.post("/v1/score", content=cut, headers=form), "bad-upload", "is not whole"
    )
    none = b"--x--\r\n"
    assert_problem(gateway.post("/v1/score", content=none, headers=form), "bad-upload", "no part")
    twice = [("clip", ("a", b"1")), ("clip", ("b", b"2"))]
    assert_problem(gateway.post("/v1/score", files=twice), "bad-upload")
    assert gateway.uploads() == []


def test_unknown_addresses(gateway: RunningGateway) -> None:
    assert_problem(gateway.get("/v2/score"), "not-found", "GET /v2/score")
    assert_problem(gateway.get("/v1/jobs/none"), "not-found")
    assert_problem(httpx.put(f"{gateway.url}/v1/score"), "wrong-method")
    for name in KINDS:
        assert KINDS[name].title in gateway.get(f"/problems/{name}").text
    assert_problem(gateway.get("/problems/none"), "not-found")


@pytest.mark.parametrize(
    "name", ["../../evil.mp4", "/etc/evil.mp4", "..\\evil.mp4", "\x00evil.mp4", "-i", "e%03d.mp4"]
)
def test_names_lead_nowhere(gateway: RunningGateway, talking_clip: Path, name: str) -> None:
    answer = gateway.post("/v1/score", files={"clip": (name, talking_clip.read_bytes())})
    assert answer.status_code == 200, answer.text
    clip = answer.json()["clip"]
    assert not set("/\\%\x00") & set(clip)
    assert clip[0] not in ".-"


# Access


def test_a_token_is_needed_where_there_is_one(tight: RunningGateway, talking_clip: Path) -> None:
    for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": TOKEN}):
        answer = tight.post("/v1/score", talking_clip, headers=headers)
        assert_problem(answer, "no-token", "Bearer")
        assert answer.headers["www-authenticate"] == "Bearer"
    assert tight.post("/v1/score", talking_clip, headers=tokened()).status_code == 200
    assert tight.get("/v1/about").json()["token_needed"]
    assert tight.get("/healthz").status_code == 200


def test_the_worker_does_not_see_the_token(tight: RunningGateway, tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "clip.mp4", frames=49)
    with ThreadPoolExecutor() as pool:
        sent = pool.submit(tight.post, "/v1/score", clip, headers=tokened())
        assert wait_for(lambda: bool(tight.workers()) or sent.done())
        (worker,) = tight.workers()
        assert TOKEN not in worker.environ().values()
        assert sent.result().status_code == 200


def test_pages_of_other_origins_are_refused(gateway: RunningGateway, talking_clip: Path) -> None:
    headers = {"Origin": "https://elsewhere.example", "Sec-Fetch-Site": "cross-site"}
    assert_problem(gateway.post("/v1/score", talking_clip, headers=headers), "cross-site")
    preflight = headers | {"Access-Control-Request-Method": "POST"}
    answer = httpx.options(f"{gateway.url}/v1/score", headers=preflight)
    assert "access-control-allow-origin" not in answer.headers


def test_origins_can_be_allowed(server: Server, talking_clip: Path, tmp_path: Path) -> None:
    origin = "https://studio.example"
    with running(tmp_path / "work", "--url", server.grpc_url, "--cors-origin", origin) as gateway:
        headers = {"Origin": origin, "Sec-Fetch-Site": "cross-site"}
        answer = gateway.post("/v1/score", talking_clip, headers=headers)
        assert answer.headers["access-control-allow-origin"] == origin
        headers["Origin"] = "https://elsewhere.example"
        assert_problem(gateway.post("/v1/score", talking_clip, headers=headers), "cross-site")


# Limits


def test_large_uploads_are_refused(tight: RunningGateway) -> None:
    large = {"clip": ("large.mp4", b"x" * 700_000)}
    assert_problem(tight.post("/v1/score", files=large, headers=tokened()), "too-large", "0.5 MB")

    def body() -> Iterator[bytes]:  # no Content-Length
        yield b'--x\r\nContent-Disposition: form-data; name="clip"; filename="a"\r\n\r\n'
        for _ in range(70):
            yield b"x" * 10_000

    headers = tokened(**{"Content-Type": "multipart/form-data; boundary=x"})
    answer = tight.post("/v1/score", content=body(), headers=headers)
    assert_problem(answer, "too-large", "0.5 MB")
    assert tight.uploads() == []


def test_slow_uploads_are_ended(tight: RunningGateway) -> None:
    def body() -> Iterator[bytes]:
        yield b'--x\r\nContent-Disposition: form-data; name="clip"; filename="a"\r\n\r\n'
        assert wait_for(lambda: tight.jobs("uploading") == 1)
        assert wait_for(lambda: tight.jobs("uploading") == 0)

    headers = tokened(**{"Content-Type": "multipart/form-data; boundary=x"})
    answer = tight.post("/v1/score", content=body(), headers=headers)
    assert_problem(answer, "upload-too-slow", "2 seconds")
    assert tight.uploads() == []


def test_long_clips_and_large_pictures_are_refused(tight: RunningGateway, tmp_path: Path) -> None:
    long = write_clip(tmp_path / "long.mp4", frames=60)
    answer = tight.post("/v1/score", long, headers=tokened())
    assert_problem(answer, "clip-too-large", "long.mp4 lasts more than the 2 seconds")
    wide = write_clip(tmp_path / "wide.mp4", frames=30, size=256)
    answer = tight.post("/v1/score", wide, headers=tokened())
    assert_problem(answer, "clip-too-large", "wide.mp4 has a picture of 256x256")


def test_a_clip_that_hides_its_length_is_ended(tight: RunningGateway, tmp_path: Path) -> None:
    """A live Matroska file names no duration."""
    recipe = Recipe(seconds=Fraction(6), width=224, height=224, container_options=(("live", "1"),))
    clip = encode(tmp_path / "live.mkv", recipe)
    answer = tight.post("/v1/score", clip, headers=tokened())
    assert_problem(answer, "clip-too-large", "live.mkv lasts more than the 2 seconds")


def test_places_are_limited(server: Server, long_clip: Path, tmp_path: Path) -> None:
    with (
        running(
            tmp_path / "work", "--url", server.grpc_url, "--jobs", "1", "--waiting", "1"
        ) as gateway,
        ThreadPoolExecutor() as pool,
    ):
        first = pool.submit(gateway.post, "/v1/score", long_clip)
        assert wait_for(lambda: gateway.jobs("running") == 1)
        second = gateway.post("/v1/score", long_clip, headers={"Prefer": "respond-async"})
        assert gateway.get(second.headers["location"]).json()["state"] == "waiting"
        refused = gateway.post("/v1/score", long_clip)
        assert_problem(refused, "busy", "1 clips are in work and 1 are waiting")
        assert int(refused.headers["retry-after"]) > 0
        httpx.delete(gateway.url + second.headers["location"])
        assert gateway.post("/v1/score", long_clip).status_code == 200
        assert first.result().status_code == 200


def test_a_job_that_takes_too_long_is_ended(
    server: Server, long_clip: Path, tmp_path: Path
) -> None:
    options = ["--url", server.grpc_url, "--job-timeout", "0.2"]
    with running(tmp_path / "work", *options) as gateway:
        answer = gateway.post("/v1/score", long_clip)
        assert_problem(answer, "job-too-slow", "long.mp4 was not done after 0.2 seconds")
        assert gateway.uploads() == []
        assert gateway.workers() == []


def test_memory_is_limited(server: Server, tmp_path: Path) -> None:
    """The picture of this clip alone takes more than a worker may have."""
    clip = tmp_path / "huge.mp4"
    options = ["--url", server.grpc_url, "--memory", "0.4", "--max-pixels", "1000000000"]
    encode(clip, Recipe(seconds=Fraction(2), width=4096, height=4096, video_codec="mpeg4"))
    with running(tmp_path / "work", *options) as gateway:
        answer = gateway.post("/v1/score", clip)
        assert answer.status_code == 422, answer.text
        assert gateway.get("/healthz").status_code == 200
        assert gateway.workers() == []


# What goes wrong


def test_a_crash_costs_one_job(
    gateway: RunningGateway, long_clip: Path, talking_clip: Path
) -> None:
    with ThreadPoolExecutor() as pool:
        sent = pool.submit(gateway.post, "/v1/score", long_clip)
        assert wait_for(lambda: bool(gateway.workers()))
        gateway.workers()[0].send_signal(signal.SIGSEGV)
        assert_problem(sent.result(), "crashed", "long.mp4: its process was killed by SIGSEGV")
    assert gateway.post("/v1/score", talking_clip).status_code == 200
    assert gateway.uploads() == []


def test_a_caller_that_goes_away_ends_its_job(gateway: RunningGateway, long_clip: Path) -> None:
    for query in ("", "?stream=true"):
        body = httpx.Request(
            "POST", gateway.url, files={"clip": ("long.mp4", long_clip.read_bytes())}
        )
        content = body.read()
        host, port = gateway.url.removeprefix("http://").split(":")
        head = f"POST /v1/score{query} HTTP/1.1\r\nHost: {host}\r\n"
        head += f"Content-Type: {body.headers['content-type']}\r\n"
        head += f"Content-Length: {len(content)}\r\n\r\n"
        with socket.create_connection((host, int(port))) as connection:
            connection.sendall(head.encode() + content)
            assert wait_for(lambda: bool(gateway.workers()))
        assert wait_for(lambda: gateway.workers() == [])
        assert wait_for(lambda: gateway.uploads() == [])


def test_cancelling_ends_the_job(gateway: RunningGateway, long_clip: Path) -> None:
    with (
        ThreadPoolExecutor() as pool,
        httpx.stream(
            "POST",
            f"{gateway.url}/v1/score?stream=true",
            files={"clip": ("long.mp4", long_clip.read_bytes())},
            timeout=60,
        ) as answer,
    ):
        pool.submit(httpx.delete, gateway.url + answer.headers["location"])
        told = events("".join(answer.iter_text()))
    assert told[-1][0] == "problem"
    assert told[-1][1]["type"] == "/problems/cancelled"
    assert gateway.workers() == []
    assert gateway.uploads() == []


def test_without_triton(tmp_path: Path, talking_clip: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        address = f"127.0.0.1:{closed.getsockname()[1]}"
    with running(tmp_path / "work", "--url", address) as gateway:
        assert_problem(gateway.get("/readyz"), "server-unavailable", address)
        answer = gateway.post("/v1/score", talking_clip)
        assert_problem(answer, "server-unavailable", address)
        assert int(answer.headers["retry-after"]) > 0


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_gateway_that_ends_leaves_nothing(
    server: Server, long_clip: Path, tmp_path: Path, number: signal.Signals
) -> None:
    options = ["--url", server.grpc_url, "--jobs", "2", "--exit-timeout", "0"]
    with (
        running(tmp_path / "work", *options) as gateway,
        ThreadPoolExecutor() as pool,
    ):
        sent = [pool.submit(gateway.post, "/v1/score", long_clip) for _ in range(4)]
        assert wait_for(lambda: len(gateway.workers()) == 2 and gateway.jobs("waiting") == 2)
        workers = gateway.workers()
        gateway.process.send_signal(number)
        assert wait_for(lambda: gone(workers))
        assert wait_for(lambda: list(gateway.work.iterdir()) == [])
        for each in sent:
            if number == signal.SIGTERM:
                assert_problem(each.result(), "stopping")
            else:
                assert isinstance(each.exception(), httpx.TransportError)


def test_jobs_in_work_are_finished_when_it_is_told_to_stop(
    server: Server, long_clip: Path, tmp_path: Path
) -> None:
    with (
        running(tmp_path / "work", "--url", server.grpc_url) as gateway,
        ThreadPoolExecutor() as pool,
    ):
        sent = pool.submit(gateway.post, "/v1/score", long_clip)
        assert wait_for(lambda: bool(gateway.workers()))
        gateway.process.terminate()
        assert sent.result().status_code == 200
        assert gateway.process.wait(30) == 0


def test_no_other_file_or_address_is_opened(gateway: RunningGateway, tmp_path: Path) -> None:
    """Playlists, whatever they are called, lead nowhere."""
    other = encode(tmp_path / "other.ts", Recipe(video_codec="mpeg2video", audio_codec="mp2"))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.1)
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/clip.ts"
        for target in (str(other), f"file:{other}", url):
            hls = f"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{target}\n#EXT-X-ENDLIST\n"
            concat = f"ffconcat version 1.0\nfile '{target}'\n"
            sdp = f"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\n{target}\n"
            for name, content in (("a.m3u8", hls), ("a.mp4", hls), ("b.txt", concat), ("c", sdp)):
                answer = gateway.post("/v1/score", files={"clip": (name, content.encode())})
                assert answer.status_code == 422, (name, target, answer.text)
                with pytest.raises(TimeoutError):
                    listener.accept()


# Operation


def test_operation(gateway: RunningGateway) -> None:
    assert gateway.get("/readyz").json() == {"status": "ready"}
    metrics = gateway.get("/metrics").text
    assert 'syncnet_gateway_jobs_finished_total{kind="score",outcome="done"}' in metrics
    about = gateway.get("/v1/about").json()
    assert about["limits"]["max_duration_s"] == 20
    assert {"vshift", "crop"} <= {option["name"] for option in about["options"]}


def test_the_description_names_what_there_is(gateway: RunningGateway) -> None:
    described = gateway.get("/openapi.json").json()
    score = described["paths"]["/v1/score"]["post"]
    assert "multipart/form-data" in score["requestBody"]["content"]
    offered = {option["name"] for option in gateway.get("/v1/about").json()["options"]}
    assert {parameter["name"] for parameter in score["parameters"]} == offered | {"stream"}
    assert score["responses"]["200"]["content"]["application/json"]["example"]["offset_frames"]
    assert MEDIA_TYPE in score["responses"]["422"]["content"]


def test_the_page_may_load_from_nowhere_else(gateway: RunningGateway) -> None:
    page = gateway.get("/")
    assert page.headers["content-security-policy"].startswith("default-src 'none'")
    static = Path(__file__).parents[1] / "gateway/syncnet_gateway/static"
    for path in [static / "index.html", static / "style.css", *static.glob("js/*.js")]:
        assert "://" not in path.read_text(), path
        assert gateway.get(f"/{path.relative_to(static)}").status_code == 200


@pytest.mark.slow
def test_no_upload_is_lost_when_triton_dies(tmp_path: Path) -> None:
    """Eight uploads, and the Triton that the gateway started is killed in the middle."""
    clip = write_clip(tmp_path / "clip.mp4", frames=100)
    options = ["--local", "--jobs", "2"]
    with running(tmp_path / "work", *options) as gateway, ThreadPoolExecutor(8) as pool:
        expected = gateway.post("/v1/score", clip).json()
        sent = [pool.submit(gateway.post, "/v1/score", clip) for _ in range(8)]
        assert wait_for(lambda: len(gateway.workers()) == 2)
        family = psutil.Process(gateway.process.pid).children(recursive=True)
        (triton,) = (process for process in family if process.name() == "tritonserver")
        triton.kill()
        answers = [each.result() for each in sent]
        assert [answer.status_code for answer in answers] == [200] * 8
        assert all(answer.json() == expected for answer in answers)
        assert gateway.uploads() == []
        assert any("starting it again" in line for line in gateway.lines)
