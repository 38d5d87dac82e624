"""The private folder of a gateway, which goes when the gateway goes, however it ends.

Run as a program, this is the janitor: a process of its own that waits for the end of its standard
input, which comes when the gateway has ended for any reason, and then removes the folder.
"""

from __future__ import annotations

import contextlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

__all__ = ["PREFIX", "private_folder"]

PREFIX = "syncnet-gateway-"
_REMOVE_FOR_S = 10.0  # a worker that is being killed may still write


@contextlib.contextmanager
def private_folder(parent: Path | None = None) -> Iterator[Path]:
    """Make a folder that only this user can look into, and remove it at the end.

    Args:
        parent: where to make it; None for the system's temporary folder.
    """
    folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))  # mode 0700
    janitor = subprocess.Popen(
        [sys.executable, "-m", __name__, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        start_new_session=True,  # Ctrl-C is for the gateway
    )
    try:
        yield folder
    finally:
        assert janitor.stdin is not None
        janitor.stdin.close()
        janitor.wait()


def _remove(folder: Path) -> None:
    deadline = time.monotonic() + _REMOVE_FOR_S
    while folder.exists() and time.monotonic() < deadline:
        shutil.rmtree(folder, ignore_errors=True)
        time.sleep(0.05)


def _main() -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    sys.stdin.buffer.read()
    _remove(Path(sys.argv[1]))


if __name__ == "__main__":
    _main()
