"""A real ``syncnet-gateway`` for the tests, in a process of its own."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil
from tiny import wait_for

START_S = 60.0


@dataclass
class RunningGateway:
    """A gateway that serves.

    Attributes:
        url: of its page.
        work: where its private folder is.
        process: its process.
        lines: what it has written to standard error.
    """

    url: str
    work: Path
    process: subprocess.Popen[str]
    lines: list[str] = field(default_factory=list)

    def post(self, path: str, clip: Path | None = None, **options: Any) -> httpx.Response:
        """Send a clip, or other ``files``, and wait for the answer."""
        if clip is not None:
            options["files"] = {"clip": (clip.name, clip.read_bytes())}
        return httpx.post(f"{self.url}{path}", timeout=120, **options)

    def get(self, path: str, **options: Any) -> httpx.Response:
        return httpx.get(f"{self.url}{path}", timeout=30, **options)

    def jobs(self, state: str) -> int:
        """How many jobs are in a state, as the metrics say."""
        (value,) = re.findall(rf'gateway_jobs{{state="{state}"}} (\S+)', self.get("/metrics").text)
        return int(float(value))

    def uploads(self) -> list[Path]:
        """The files that lie in its private folder."""
        walk = os.walk(self.work)  # takes no offence at folders that go away meanwhile
        return [Path(folder, name) for folder, _, names in walk for name in names]

    def workers(self) -> list[psutil.Process]:
        """The processes that work on clips."""
        found = []
        for child in psutil.Process(self.process.pid).children():
            with contextlib.suppress(psutil.NoSuchProcess):
                if "syncnet_gateway.worker" in child.cmdline():
                    found.append(child)
        return found


@contextlib.contextmanager
def running(work: Path, *options: str, **environment: str) -> Iterator[RunningGateway]:
    """Start a gateway on a free port; in the end, it must stop in order and leave nothing."""
    work.mkdir(exist_ok=True)
    command = [sys.executable, "-m", "syncnet_gateway", "--port", "0", "--work-folder", str(work)]
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("SYNCNET_")}
    process = subprocess.Popen(
        [*command, *options],
        stderr=subprocess.PIPE,
        text=True,
        env=inherited | environment,
    )
    lines: list[str] = []
    assert process.stderr is not None
    reader = threading.Thread(target=lambda: lines.extend(process.stderr or ()))
    reader.start()
    try:
        urls: list[str] = []

        def serving() -> bool:
            urls[:] = re.findall(r"serving on (http://\S+),", "".join(lines))
            return bool(urls) or process.poll() is not None

        assert wait_for(serving, START_S), "".join(lines)
        assert urls, "".join(lines)
        gateway = RunningGateway(urls[0], work, process, lines)
        # It listens before the application has started.
        assert wait_for(lambda: gateway.get("/healthz").status_code == 200)
        yield gateway
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == 0, "".join(lines)
        assert wait_for(lambda: list(work.iterdir()) == [])
    finally:
        process.kill()
        process.wait()
        reader.join()
        process.stderr.close()
    assert not any("Traceback" in line for line in lines), "".join(lines)


def events(text: str) -> list[tuple[str, Any]]:
    """The server-sent events in a text."""
    found = []
    for block in text.split("\n\n"):
        fields = dict(
            line.split(": ", 1) for line in block.splitlines() if not line.startswith(":")
        )
        if fields:
            found.append((fields["event"], json.loads(fields["data"])))
    return found
