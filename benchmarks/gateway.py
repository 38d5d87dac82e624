"""`python -m benchmarks.gateway`: eight uploads at once, undisturbed and while something dies.

Four scenes, each with a gateway of its own and the towers that ship:

    quiet           all are answered
    gateway_killed  SIGKILL for the gateway in the middle
    triton_killed   SIGKILL for the Triton that the gateway started, which restarts it
    triton_gone     SIGKILL for a Triton that is not started again

Every upload must end in the same result as an undisturbed one, or in an error that says what
happened, and nothing may be left: no file, no process. Before them, undisturbed rounds are timed
beside `syncnet-client score` on the same files.
"""

from __future__ import annotations

import argparse
import contextlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil

from benchmarks.processes import BenchmarkError, measure, timed
from benchmarks.record import RESULTS, ratios, summary, write
from benchmarks.setup import SAMPLE
from syncnet_server import Server

UPLOADS, JOBS = 8, 2
_START_S = 120.0
_ANSWER_S = 600.0
_LEFT_S = 30.0  # in which what was killed must have vanished
_POLL_S = 0.05
_RESULT = "result"
_CUT_OFF = "connection ended"  # what a caller sees of a gateway that is killed


@dataclass(frozen=True)
class Answer:
    """What became of an upload.

    Attributes:
        outcome: `result`, the name of a problem, or that the connection ended.
        detail: the result's offset and distance, or the sentence of the problem.
        seconds: from sending it.
    """

    outcome: str
    detail: Any
    seconds: float


@dataclass(frozen=True)
class Scene:
    """What is done to whom, and which outcomes are right then."""

    local: bool
    victim: Callable[[Gateway], psutil.Process] | None
    allowed: frozenset[str]


class Gateway:
    """A `syncnet-gateway` in a process of its own."""

    def __init__(self, work: Path, *options: str) -> None:
        self.work = work
        work.mkdir()
        command = [sys.executable, "-m", "syncnet_gateway", "--port", "0"]
        self.process = subprocess.Popen(
            [*command, "--jobs", str(JOBS), "--work-folder", str(work), *options],
            stderr=subprocess.PIPE,
            text=True,
        )
        self._lines: list[str] = []
        self._reader = threading.Thread(
            target=lambda: self._lines.extend(self.process.stderr or ()), daemon=True
        )
        self._reader.start()
        until(lambda: bool(self._address()) or self.process.poll() is not None, _START_S)
        if self.process.poll() is not None:
            raise BenchmarkError(f"the gateway ended: {''.join(self._lines[-1:]).strip()}")
        self.url = self._address()[0]
        until(self._ready, _START_S)

    def _address(self) -> list[str]:
        text = "".join(self._lines)
        found: list[str] = re.findall(r"serving on (http://\S+),", text)
        return found

    def _ready(self) -> bool:
        with contextlib.suppress(httpx.TransportError):
            return httpx.get(f"{self.url}/readyz").status_code == 200
        return False

    def send(self, clip: Path) -> Answer:
        began = time.monotonic()
        try:
            answer = httpx.post(
                f"{self.url}/v1/score",
                files={"clip": (clip.name, clip.read_bytes())},
                timeout=_ANSWER_S,
            )
        except httpx.TransportError as error:
            return Answer(_CUT_OFF, str(error), time.monotonic() - began)
        content = answer.json()
        seconds = time.monotonic() - began
        if answer.status_code == 200:
            return Answer(_RESULT, [content["offset_frames"], content["min_distance"]], seconds)
        return Answer(content["type"].rpartition("/")[2], content["detail"], seconds)

    def in_work(self) -> bool:
        """Whether all places are taken by clips in work."""
        workers = [each for each in self.children() if "syncnet_gateway.worker" in _words(each)]
        return len(workers) == JOBS

    def children(self) -> list[psutil.Process]:
        found: list[psutil.Process] = []
        with contextlib.suppress(psutil.NoSuchProcess):
            found += psutil.Process(self.process.pid).children(recursive=True)
        return found

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        self.process.wait(_START_S)
        self._reader.join()
        if self.process.stderr is not None:
            self.process.stderr.close()


def triton_of(pid: int) -> psutil.Process:
    for child in psutil.Process(pid).children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            if child.name() == "tritonserver":
                return child
    raise BenchmarkError("no tritonserver runs")


SCENES: dict[str, Scene] = {
    "quiet": Scene(False, None, frozenset({_RESULT})),
    "gateway_killed": Scene(
        False, lambda gateway: psutil.Process(gateway.process.pid), frozenset({_CUT_OFF, _RESULT})
    ),
    "triton_killed": Scene(
        True, lambda gateway: triton_of(gateway.process.pid), frozenset({_RESULT})
    ),
    "triton_gone": Scene(
        False,
        lambda _gateway: triton_of(psutil.Process().pid),
        frozenset({_RESULT, "server-unavailable"}),
    ),
}


def problems(
    answers: Sequence[Answer], allowed: frozenset[str], expected: Any, left: Sequence[str]
) -> list[str]:
    """What must not be, in words.

    Args:
        answers: of all uploads.
        allowed: outcomes that are right.
        expected: detail of a right result.
        left: files and processes that are still there.
    """
    found = [f"left over: {each}" for each in left]
    for number, answer in enumerate(answers):
        if answer.outcome not in allowed:
            found.append(f"upload {number}: {answer.outcome}: {answer.detail}")
        elif answer.outcome == _RESULT and answer.detail != expected:
            found.append(f"upload {number}: {answer.detail} in place of {expected}")
        elif not answer.detail:
            found.append(f"upload {number}: {answer.outcome} without a sentence")
    return found


def run_scene(
    scene: Scene, gateway: Gateway, clips: Sequence[Path], expected: Any
) -> dict[str, Any]:
    """Send all clips at once, kill the victim in the middle, and look at what is left."""
    family: list[psutil.Process] = []
    began = time.monotonic()
    with ThreadPoolExecutor(len(clips)) as pool:
        sent = [pool.submit(gateway.send, clip) for clip in clips]
        if scene.victim is not None:
            until(gateway.in_work, _START_S)
            family = gateway.children()
            scene.victim(gateway).kill()
        answers = [each.result() for each in sent]
    seconds = time.monotonic() - began
    gateway.stop()

    def left() -> list[str]:
        files = [f"file {path}" for path in gateway.work.rglob("*")]
        return files + [f"process {_words(each)}" for each in family if _runs(each)]

    with contextlib.suppress(BenchmarkError):
        until(lambda: not left(), _LEFT_S)
    return {
        "outcomes": dict(Counter(answer.outcome for answer in answers)),
        "sentences": sorted({answer.detail for answer in answers if answer.outcome != _RESULT}),
        "all_ended_s": round(seconds, 2),
        "answer_s": summary([round(answer.seconds, 2) for answer in answers]),
        "problems": problems(answers, scene.allowed, expected, left()),
    }


def run(folder: Path, *, rounds: int) -> dict[str, Any]:
    """The quiet rounds, each beside the client on the same files, and then all scenes."""
    clips = [folder / f"clip-{number}.mp4" for number in range(UPLOADS)]
    for clip in clips:
        shutil.copy(SAMPLE, clip)
    figures: dict[str, Any] = {"uploads": UPLOADS, "jobs": JOBS}
    through_gateway, through_client = [], []
    with serving(folder / "rounds", local=False) as (gateway, options):
        expected = gateway.send(clips[0]).detail
        program = Path(sys.executable).with_name("syncnet-client")
        command: list[str | Path] = [program, "score", *clips, "--jobs", str(JOBS), *options]

        def send_all() -> list[Answer]:
            with ThreadPoolExecutor(UPLOADS) as pool:
                return list(pool.map(gateway.send, clips))

        for _ in range(rounds):
            through_gateway.append(timed(send_all))
            through_client.append(measure(command).wall_s)
        figures["rounds"] = {
            "gateway_s": summary(through_gateway),
            "client_s": summary(through_client),
            "gateway_over_client": ratios(through_gateway, through_client),
            "gateway_mb": round(psutil.Process(gateway.process.pid).memory_info().rss / 1e6),
        }
    for name, scene in SCENES.items():
        print(f"gateway: {name}", file=sys.stderr)
        with serving(folder / name, local=scene.local) as (gateway, _):
            gateway.send(clips[0])  # nothing is loaded any more while it is measured
            figures[name] = run_scene(scene, gateway, clips, expected)
    return figures


@contextlib.contextmanager
def serving(work: Path, *, local: bool) -> Iterator[tuple[Gateway, list[str]]]:
    """A gateway, and the options that it got: `--local`, or the address of a Triton of ours."""
    with ExitStack() as stack:
        options = ["--local"] if local else ["--url", stack.enter_context(Server()).grpc_url]
        gateway = Gateway(work, *options)
        stack.callback(gateway.stop)
        yield gateway, options


def until(condition: Callable[[], bool], limit_s: float) -> None:
    """Wait until a condition holds.

    Raises:
        BenchmarkError: it does not within the limit.
    """
    deadline = time.monotonic() + limit_s
    while not condition():
        if time.monotonic() > deadline:
            raise BenchmarkError(f"waited {limit_s:g} s in vain")
        time.sleep(_POLL_S)


def main() -> int:
    """Run what the command line asks for; return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.gateway",
        description="Eight uploads at once, undisturbed and while gateway or Triton die.",
    )
    parser.add_argument("--rounds", type=int, default=3, help="undisturbed ones (%(default)s)")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder (%(default)s)")
    options = parser.parse_args()
    command = " ".join(["python -m benchmarks.gateway", *sys.argv[1:]])
    with tempfile.TemporaryDirectory(prefix="syncnet-benchmarks-") as folder:
        try:
            figures = run(Path(folder), rounds=options.rounds)
        except BenchmarkError as error:
            print(f"benchmarks: {error}", file=sys.stderr)
            return 1
    print(write("gateway", command, figures, options.results))
    wrong = [f"{name}: {each}" for name in SCENES for each in figures[name]["problems"]]
    for each in wrong:
        print(f"gateway: {each}", file=sys.stderr)
    return 1 if wrong else 0


def _words(process: psutil.Process) -> str:
    with contextlib.suppress(psutil.NoSuchProcess):
        return " ".join(process.cmdline())
    return ""


def _runs(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    return False


if __name__ == "__main__":
    sys.exit(main())
