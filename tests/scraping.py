"""A real Prometheus that scrapes servers of a test, with the project's rules."""

from __future__ import annotations

import json
import socket
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

CONFIGURATION = Path(__file__).resolve().parents[1] / "server" / "prometheus" / "prometheus.yml"


class Prometheus:
    """Asks a running Prometheus through its HTTP API."""

    def __init__(self, url: str) -> None:
        self._url = url

    def get(self, path: str, **parameters: str) -> Any:
        """The `data` of an answer of the API."""
        address = f"{self._url}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        with urllib.request.urlopen(address, timeout=10) as answer:
            return json.load(answer)["data"]

    def query(self, expression: str) -> list[tuple[dict[str, str], float]]:
        """Labels and value of every series the expression gives now."""
        result = self.get("query", query=expression)["result"]
        return [(series["metric"], float(series["value"][1])) for series in result]

    def wait_for(self, condition: Callable[[], object], timeout_s: float = 60) -> None:
        """Wait until the condition is true; Prometheus gets to know things when it scrapes."""
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                if condition():
                    return
            except urllib.error.URLError:
                pass  # Prometheus itself is starting
            assert time.monotonic() < deadline, "Prometheus has not seen it in time"
            time.sleep(0.2)


@contextmanager
def running_prometheus(folder: Path, targets: Sequence[str]) -> Iterator[Prometheus]:
    """Run Prometheus on the project's configuration, with these targets instead of compose's.

    It scrapes every second; `folder` holds its configuration, data and log.
    """
    configuration = yaml.safe_load(CONFIGURATION.read_text())
    configuration["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    configuration["rule_files"] = [
        str(CONFIGURATION.parent / name) for name in configuration["rule_files"]
    ]
    (job,) = configuration["scrape_configs"]
    del job["dns_sd_configs"]
    job["static_configs"] = [{"targets": list(targets)}]
    (folder / "prometheus.yml").write_text(yaml.safe_dump(configuration))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"127.0.0.1:{listener.getsockname()[1]}"
    with (folder / "prometheus.log").open("wb") as log:
        process = subprocess.Popen(
            [
                "prometheus",
                f"--config.file={folder / 'prometheus.yml'}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address={address}",
            ],
            stdout=log,
            stderr=log,
        )
        try:
            yield Prometheus(f"http://{address}")
        finally:
            process.terminate()
            process.wait()
