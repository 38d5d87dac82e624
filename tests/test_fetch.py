"""Downloading weights from a server that is slow, broken, absent or wrong."""

from __future__ import annotations

import hashlib
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from syncnet_client.download import RemoteFile
from syncnet_export.errors import DownloadError
from syncnet_export.fetch import fetch

CONTENTS = bytes(range(256)) * 4096  # 1 MiB


class Site(ThreadingHTTPServer):
    """Serves CONTENTS under every path.

    Attributes:
        ranges: the Range header of every request.
        resumable: whether the server knows ranges.
        most: bytes after which it hangs up.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.ranges: list[str | None] = []
        self.resumable = True
        self.most = len(CONTENTS)

    def file(self, contents: bytes = CONTENTS, path: str = "weights.model") -> RemoteFile:
        url = f"http://127.0.0.1:{self.server_port}/{path}"
        return RemoteFile(url, len(contents), hashlib.sha256(contents).hexdigest(), "--weights")


class Handler(BaseHTTPRequestHandler):
    server: Site

    def do_GET(self) -> None:
        wanted = self.headers.get("Range")
        self.server.ranges.append(wanted)
        if self.path == "/gone":
            self.send_error(404)
            return
        start = 0
        if wanted and self.server.resumable:
            start = int(wanted.removeprefix("bytes=").removesuffix("-"))
            self.send_response(206)
        else:
            self.send_response(200)
        self.send_header("Content-Length", str(len(CONTENTS) - start))
        self.end_headers()
        self.wfile.write(CONTENTS[start : start + self.server.most])

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


@pytest.fixture
def site() -> Iterator[Site]:
    with Site() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_a_file_is_downloaded_once(site: Site, tmp_path: Path) -> None:
    target = tmp_path / "new folder" / "weights.model"
    received: list[int] = []
    for _ in range(2):
        fetch(target, site.file(), progress=received.append)
    assert target.read_bytes() == CONTENTS
    assert received == sorted(received)
    assert received[-1] == len(CONTENTS)
    assert site.ranges == [None]
    assert [path.name for path in target.parent.iterdir()] == ["weights.model"]


@pytest.mark.parametrize("resumable", [True, False])
def test_a_broken_download_goes_on(site: Site, tmp_path: Path, resumable: bool) -> None:
    target = tmp_path / "weights.model"
    site.most, site.resumable = 300_000, resumable
    with pytest.raises(DownloadError, match="run this again"):
        fetch(target, site.file())
    assert not target.exists()
    site.most = len(CONTENTS)
    fetch(target, site.file())
    assert target.read_bytes() == CONTENTS
    assert site.ranges == [None, "bytes=300000-"]
    assert [path.name for path in tmp_path.iterdir()] == ["weights.model"]


def test_wrong_contents_are_thrown_away(site: Site, tmp_path: Path) -> None:
    other = site.file(CONTENTS[::-1])
    with pytest.raises(DownloadError, match="is not the expected file"):
        fetch(tmp_path / "weights.model", other)
    assert list(tmp_path.iterdir()) == []


def test_a_stale_part_does_not_spoil_the_next_try(site: Site, tmp_path: Path) -> None:
    target = tmp_path / "weights.model"
    (tmp_path / "weights.model.part").write_bytes(b"x" * 1000)
    with pytest.raises(DownloadError, match="is not the expected file"):
        fetch(target, site.file())
    fetch(target, site.file())
    assert target.read_bytes() == CONTENTS


def test_another_file_is_never_overwritten(site: Site, tmp_path: Path) -> None:
    target = tmp_path / "weights.model"
    target.write_text("something dear")
    with pytest.raises(DownloadError, match="exists and is another file"):
        fetch(target, site.file())
    assert target.read_text() == "something dear"
    assert site.ranges == []


def test_refusals_of_the_server_are_passed_on(site: Site, tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match="the server answers 404 Not Found"):
        fetch(tmp_path / "weights.model", site.file(path="gone"))


def test_being_offline_is_said_clearly(tmp_path: Path) -> None:
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))  # nobody listens here
        url = f"http://127.0.0.1:{reserved.getsockname()[1]}/weights.model"
        with pytest.raises(DownloadError, match=r"cannot download .*: .*refused.*--weights"):
            fetch(tmp_path / "weights.model", RemoteFile(url, 1, "", "--weights"))
    assert list(tmp_path.iterdir()) == []
