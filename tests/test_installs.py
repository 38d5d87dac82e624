"""Fresh installs from the built wheel, with the newest of everything that its metadata allows.

Each environment is empty but for the wheel, and is used from a folder that is no checkout. The clip
is a head in a larger scene, so a face must be found. pip needs a package index.
"""

from __future__ import annotations

import json
import shlex
import shutil
import sys
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from environments import RUNNING, Environment, interpreter, run

from syncnet_client.media import open_media
from syncnet_server import Server

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]

ROOT = Path(__file__).parents[1]
SAMPLE = ROOT / "samples/talking-head.mp4"
SCENE_WIDTH, SCENE_HEIGHT = 640, 360
HEAD_LEFT, HEAD_TOP, HEAD_SIDE = 180, 90, 224


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", folder, ROOT)
    (path,) = folder.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The head of the sample clip, in sync, somewhere in a wide picture."""
    rough = np.random.default_rng(0).integers(60, 200, (5, 8, 3), np.uint8)
    size = (SCENE_WIDTH, SCENE_HEIGHT)
    backdrop = cv2.resize(rough, size, interpolation=cv2.INTER_CUBIC)
    path = tmp_path_factory.mktemp("scene") / "interview.mp4"
    with av.open(str(path), "w") as container, open_media(SAMPLE) as media:
        video = container.add_stream("libx264", rate=25)
        video.width, video.height, video.pix_fmt = SCENE_WIDTH, SCENE_HEIGHT, "yuv420p"
        audio = container.add_stream("aac", rate=16_000, layout="mono")
        heard = 0
        for block in media:
            for frame in block.frames:
                image = backdrop.copy()
                rows = slice(HEAD_TOP, HEAD_TOP + HEAD_SIDE)
                image[rows, HEAD_LEFT : HEAD_LEFT + HEAD_SIDE] = frame.image
                picture = av.VideoFrame.from_ndarray(image, format="rgb24")
                picture.pts, picture.time_base = frame.index, Fraction(1, 25)
                container.mux(video.encode(picture))
            if len(block.samples):
                sound = av.AudioFrame.from_ndarray(block.samples[None], "s16", "mono")
                sound.sample_rate, sound.pts, sound.time_base = 16_000, heard, Fraction(1, 16_000)
                container.mux(audio.encode(sound))
                heard += len(block.samples)
        for stream in (video, audio):
            container.mux(stream.encode(None))
    return path


@pytest.fixture(scope="module")
def shipped_server() -> Iterator[Server]:
    with Server(ROOT / "model_repository") as server:
        yield server


@pytest.mark.parametrize("version", ["3.10", "3.11", "3.12", "3.13"])
def test_the_thin_client_scores_a_real_clip(
    version: str, wheel: Path, scene: Path, shipped_server: Server, tmp_path: Path
) -> None:
    environment = Environment(tmp_path, version)
    environment.install(wheel)
    assert environment.lacks("pytriton", "onnxruntime", "torch", "matplotlib")
    server = ("--url", shipped_server.grpc_url)

    done = environment.run("syncnet-client", "score", scene, "--json", *server)
    assert done.stderr == ""
    result = json.loads(done.stdout)
    assert_in_sync(result)

    environment.run("syncnet-client", "score", scene.parent, "--output", "all.jsonl", *server)
    assert_in_sync(json.loads((environment.folder / "all.jsonl").read_text()))
    watched = environment.run("syncnet-client", "watch", scene, "--json", *server)
    assert watched.stdout.count("\n") >= 1
    environment.run("syncnet-client", "align", scene, "aligned.mp4", "--force", *server)
    assert (environment.folder / "aligned.mp4").stat().st_size > 0


def test_a_missing_package_is_named_with_a_command_that_works(
    wheel: Path, scene: Path, shipped_server: Server, tmp_path: Path
) -> None:
    environment = Environment(tmp_path, RUNNING)
    environment.install(wheel)
    score = ("syncnet-client", "score", scene, "--url", shipped_server.grpc_url)
    for command in (
        (*score, "--plot", "sync.png"),
        (*score, "--output", "all.parquet"),
        ("syncnet-export", "build", "--weights", "gone.model"),
        ("syncnet-export", "verify", "--weights", "gone.model"),
        ("syncnet-export", "inspect"),
        ("syncnet-export", "tensorrt"),
        ("syncnet-train", "synthesize", "clips"),
        ("syncnet-train", "evaluate", "gone.model"),
        ("syncnet-server",),
    ):
        done = environment.run(*command, status=1)
        (line,) = done.stderr.splitlines()
        assert line.startswith(f"{command[0]}: ")
        assert ": pip install '" in line
        assert not {path.name for path in environment.folder.iterdir()} - {"env"}

    done = environment.run(*score, "--plot", "sync.png", status=1)
    advice = done.stderr.partition(": pip ")[2]
    environment.pip(*shlex.split(advice))
    environment.run(*score, "--plot", "sync.png")
    assert (environment.folder / "sync.png").stat().st_size > 0


@pytest.mark.parametrize("version", ["3.10", RUNNING, "3.12"])
def test_the_server_runs_from_the_wheel_with_no_checkout(
    version: str, wheel: Path, scene: Path, tmp_path: Path
) -> None:
    environment = Environment(tmp_path, version)
    environment.install(f"{wheel}[server]")
    done = environment.run("syncnet-client", "score", scene, "--json", "--local")
    assert_in_sync(json.loads(done.stdout))


def test_make_setup_is_enough_for_the_first_page(scene: Path, tmp_path: Path) -> None:
    checkout = tmp_path / "checkout"
    listed = run("git", "ls-files", "-z", cwd=ROOT).stdout
    for name in listed.split("\0"):
        if (ROOT / name).is_file():
            (checkout / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, checkout / name)
    run("make", "setup", f"PYTHON={interpreter(RUNNING)}", cwd=checkout)
    client = checkout / ".venv/bin/syncnet-client"
    run(client, "score", scene, "--local", "--plot", "sync.png", cwd=checkout)
    assert (checkout / "sync.png").stat().st_size > 0


def assert_in_sync(result: dict[str, object]) -> None:
    """The face is the one in the scene, and its audio is where it belongs."""
    left, top, width, height = result["box"]
    assert HEAD_LEFT - 40 < left < left + width < HEAD_LEFT + HEAD_SIDE + 40
    assert HEAD_TOP - 60 < top < top + height < SCENE_HEIGHT + 40
    assert abs(result["offset_frames"]) <= 1
