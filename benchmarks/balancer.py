"""A real nginx in front of several servers, with the project's own configuration."""

from __future__ import annotations

import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

CONFIGURATION = Path(__file__).resolve().parents[1] / "server" / "nginx" / "nginx.conf"


class Balancer:
    """A running nginx.

    Attributes:
        url: HOST:PORT of its gRPC endpoint.
    """

    def __init__(self, url: str, log: Path) -> None:
        self.url = url
        self._log = log

    def servers_of(self, method: str) -> list[str]:
        """The server that each finished call of a method went to; after several, the last."""
        calls = re.findall(rf"/{method} \d+ upstream=(.*?) grpc_status", self._log.read_text())
        return [call.rpartition(" ")[2] for call in calls]


@contextmanager
def running_balancer(
    folder: Path, servers: Sequence[str], certificates: Path | None = None
) -> Iterator[Balancer]:
    """Run nginx on the project's configuration in front of these servers.

    Args:
        folder: for its configuration, log and temporary files.
        servers: HOST:PORT of their gRPC endpoints.
        certificates: folder with tls.crt, tls.key and ca.crt for mutual TLS, as in Kubernetes;
            without it gRPC is plain, as in compose.
    """
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    shutil.copy(CONFIGURATION, folder)
    variant = "kubernetes" if certificates else "compose"
    listen = (CONFIGURATION.parent / f"listen.{variant}.conf").read_text()
    # Debian's nginx is older than 1.25.1 and knows `http2` as a word after the port alone.
    listen = re.sub(r"listen \d+(.*);\nhttp2 on;", rf"listen 127.0.0.1:{port}\1 http2;", listen)
    (folder / "listen.conf").write_text(listen.replace("/etc/syncnet/tls", str(certificates)))
    (folder / "upstream.conf").write_text(
        "".join(f"server {server} max_fails=1 fail_timeout=5s;\n" for server in servers)
    )
    log = folder / "access.log"
    with log.open("wb") as output, (folder / "error.log").open("wb") as errors:
        process = subprocess.Popen(
            ["nginx", "-p", folder, "-c", "nginx.conf", "-g", "daemon off;"],
            stdout=output,
            stderr=errors,
        )
        try:
            _wait_until_listening(process, port)
            yield Balancer(f"127.0.0.1:{port}", log)
        finally:
            process.send_signal(signal.SIGQUIT)
            process.wait()


def _wait_until_listening(process: subprocess.Popen[bytes], port: int) -> None:
    for _ in range(100):
        assert process.poll() is None, "nginx did not start"
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except ConnectionRefusedError:
            time.sleep(0.1)
        else:
            return
    raise AssertionError("nginx does not listen")
