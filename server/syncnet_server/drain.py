"""Let a tritonserver take nothing more and finish what it has, before it is told to stop.

Triton 24.10 takes requests until its end, refuses them in the middle of the ensemble, and dies of
that. It cannot be told to close its door, but the kernel can: the sockets of gRPC are borrowed from
tritonserver (`pidfd_getfd`, for which a parent of the same user needs no rights where
`kernel.yama.ptrace_scope` is 0 or 1). Those that listen are shut. On those that are connected a
filter drops every segment that has data; acknowledgements pass, so answers get out.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import socket
import struct
import time
from collections.abc import Iterator
from pathlib import Path

from syncnet_server.watchdog import IDLE_SHARE, activity

__all__ = ["drain", "take_no_more"]

_LOOK_S = 0.25
_STILL_LOOKS = 2

_PIDFD_GETFD = 438  # on every architecture
_LISTENS, _CONNECTED = "0A", "01"  # states in /proc/net/tcp
_SO_ATTACH_FILTER = 26

# Classic BPF on a TCP segment: keep it if it ends with its header, whose length in words of 32 bits
# is the upper half of byte 12.
_DROP_DATA = b"".join(
    struct.pack("HBBI", *instruction)
    for instruction in (
        (0x30, 0, 0, 12),  # A = byte 12
        (0x54, 0, 0, 0xF0),  # A &= 0xf0
        (0x74, 0, 0, 2),  # A >>= 2: length of the header in bytes
        (0x07, 0, 0, 0),  # X = A
        (0x80, 0, 0, 0),  # A = length of the segment
        (0x1D, 0, 1, 0),  # A == X? else skip one
        (0x06, 0, 0, 0xFFFFFFFF),  # keep all of it
        (0x06, 0, 0, 0),  # drop it
    )
)


def drain(pid: int, port: int, timeout_s: float) -> bool:
    """Let a tritonserver take nothing more, and wait until nobody works in it any more.

    Where the system does not allow it, or nobody is connected, nothing is waited for.

    Args:
        pid: tritonserver, and its process group.
        port: of gRPC.
        timeout_s: longest time for that.

    Returns:
        whether that time was enough.
    """
    deadline = time.monotonic() + timeout_s
    still, before_s = 0, activity(pid)[0]
    # Again and again: it may accept another connection that was made before.
    while still < _STILL_LOOKS and take_no_more(pid, port):
        if time.monotonic() > deadline:
            return False
        time.sleep(_LOOK_S)
        busy_s, at_work = activity(pid)
        idle = not at_work and busy_s - before_s <= IDLE_SHARE * _LOOK_S
        still, before_s = still + 1 if idle else 0, busy_s
    return True


def take_no_more(pid: int, port: int) -> int:
    """Close a TCP port of a process for new connections, and let nothing in on those it has.

    Returns:
        how many connections it has; 0 if this could not be done, too.
    """
    try:
        process = os.pidfd_open(pid)
    except OSError:
        return 0
    connected = 0
    try:
        states = dict(_sockets_of_port(pid, port))
        for number, inode in _descriptors(pid):
            state = states.get(inode)
            if state in (_LISTENS, _CONNECTED):
                with _borrowed(process, number) as borrowed:
                    if state == _LISTENS:
                        borrowed.shutdown(socket.SHUT_RD)
                    else:
                        _attach_filter(borrowed)
                        connected += 1
    except OSError:
        return 0
    finally:
        os.close(process)
    return connected


@contextlib.contextmanager
def _borrowed(process: int, number: int) -> Iterator[socket.socket]:
    """Give a socket of another process, here for a moment, too."""
    libc = ctypes.CDLL(None, use_errno=True)
    descriptor = libc.syscall(_PIDFD_GETFD, process, number, 0)
    if descriptor < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    with socket.socket(fileno=descriptor) as borrowed:
        yield borrowed


def _attach_filter(connected: socket.socket) -> None:
    code = ctypes.create_string_buffer(_DROP_DATA, len(_DROP_DATA))
    program = struct.pack("HP", len(_DROP_DATA) // 8, ctypes.addressof(code))
    connected.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, program)


def _sockets_of_port(pid: int, port: int) -> Iterator[tuple[str, str]]:
    """Yield inode and state of the sockets whose own port it is, in the network of a process."""
    for table in ("tcp", "tcp6"):
        with contextlib.suppress(FileNotFoundError):
            for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
                fields = line.split()
                if int(fields[1].rpartition(":")[2], 16) == port:
                    yield fields[9], fields[3]


def _descriptors(pid: int) -> Iterator[tuple[int, str]]:
    """Yield number and inode of the sockets that a process has open."""
    for path in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            target = str(path.readlink())
            if target.startswith("socket:["):
                yield int(path.name), target[len("socket:[") : -1]
