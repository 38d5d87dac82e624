"""What servers of this machine have left in the temporary folder, and whether they still run.

The work folder of a server is named after the process that asked for it, and locked by each
process of the server (`guardian`).
"""

from __future__ import annotations

import os
from pathlib import Path

from syncnet_server import guardian

__all__ = ["WORK_FOLDERS", "ending_servers", "remove_abandoned"]

WORK_FOLDERS = "syncnet-server-"  # then the process number and a random part


def remove_abandoned(temporary: Path) -> None:
    """Remove the traces of servers of which every process was killed, so that none could do it."""
    for work in temporary.glob(f"{WORK_FOLDERS}*"):
        descriptor = guardian.try_lock(work)
        if descriptor is not None:
            guardian.remove_traces(work)
            os.close(descriptor)


def ending_servers(temporary: Path) -> list[Path]:
    """Return the work folders of servers that still run though their parent is gone."""
    return [
        work
        for work in temporary.glob(f"{WORK_FOLDERS}*")
        if not _runs(work.name.removeprefix(WORK_FOLDERS).partition("-")[0])
        and guardian.is_used(work)
    ]


def _runs(pid: str) -> bool:
    return Path(f"/proc/{pid}").exists()
