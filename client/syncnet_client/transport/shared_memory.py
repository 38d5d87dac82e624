"""Frames for a server on this machine through Triton's system shared memory.

A chunk's frames are 18.7 MB. Over gRPC they are copied some five times on their way into the
server; in shared memory the server reads them where the client wrote them. Nothing depends on it:
whatever goes wrong here, the frames go with the request.

The server only ever reads, and nobody waits for the answer to a request that failed. So a region
may be written to again as soon as its request is answered or given up.
"""

from __future__ import annotations

import mmap
import os
import re
import secrets
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import numpy.typing as npt
from tritonclient.grpc import service_pb2

from syncnet_client.errors import ServerUnavailableError

__all__ = ["SharedMemory", "SharedRegion"]

_FOLDER = Path("/dev/shm")

# What the server and others are left of the folder's space: Triton hands tensors to its Python
# models there, and a container has 64 MB by default.
_LEAVE_FREE = 256 << 20

# Before this version a region could be taken from under a request that was being computed, which
# ended the server (https://github.com/triton-inference-server/server/pull/7567).
_SAFE_VERSION = (2, 50)

# A server that restarts has forgotten its regions, so they are made again. But one that refuses
# them is not asked for ever, and of several behind one address only one knows a region.
_MOST_FAILURES = 8

_AWAY = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)

_RELEASE_S = 1.0  # for the server to finish with regions of chunks that were given up

Ask = Callable[[str, Any], Any]


class SharedRegion:
    """A piece of memory that the server has mapped under ``name``."""

    def __init__(self, name: str, memory: mmap.mmap, generation: int) -> None:
        self.name = name
        self.generation = generation
        self._memory = memory

    @property
    def capacity(self) -> int:
        """Size in bytes."""
        return len(self._memory)

    def write(self, array: npt.NDArray[Any]) -> None:
        """Put an array at the region's start."""
        np.frombuffer(self._memory, array.dtype, array.size)[:] = array.reshape(-1)

    def read(self, size: int) -> bytes:
        """The first bytes."""
        return self._memory[:size]


class SharedMemory:
    """Regions shared with one server, made when needed and used again; for several threads.

    The file of a region is deleted as soon as the server has mapped it. A client that is killed
    leaves no file behind, only a mapping in the server, which the next client ends.

    Args:
        ask: asks the server's method of that name.
        enabled: whether to use any.
    """

    def __init__(self, ask: Ask, *, enabled: bool = True) -> None:
        self._ask = ask
        self._enabled = enabled and _FOLDER.is_dir()
        self._lock = threading.Lock()
        self._prepared = False
        self._failures = 0
        self._generation = 0  # of regions; those of an older one are not used again
        self._free: list[SharedRegion] = []
        self._names: set[str] = set()  # of everything that the server may have mapped

    def acquire(self, size: int) -> SharedRegion | None:
        """A region of at least ``size`` bytes, or None: then the frames go with the request."""
        with self._lock:
            if not self._enabled or self._failures > _MOST_FAILURES:
                return None
            fitting = [region for region in self._free if region.capacity >= size]
            if fitting:
                region = min(fitting, key=lambda region: region.capacity)
                self._free.remove(region)
                return region
            try:
                return self._make(size)
            except (OSError, grpc.RpcError):
                self._failures += 1
                return None

    def release(self, region: SharedRegion) -> None:
        """Give a region back; its content is no longer needed."""
        with self._lock:
            if region.generation == self._generation:
                self._free.append(region)
            else:
                self._unregister([region.name])

    def invalidate(self, region: SharedRegion) -> None:
        """Take note that a request has failed: the server may not know this region, nor others."""
        with self._lock:
            if region.generation != self._generation:
                return  # noted already
            self._generation += 1
            self._failures += 1
            self._unregister([free.name for free in self._free])
            self._free.clear()

    def close(self) -> None:
        """End the mappings in the server; wait a moment for those that it still reads from."""
        deadline = time.monotonic() + _RELEASE_S
        with self._lock:
            self._enabled = False
            self._free.clear()
            self._unregister(list(self._names))
            while self._names and time.monotonic() < deadline:
                time.sleep(_RELEASE_S / 20)
                self._unregister(list(self._names))

    def _make(self, size: int) -> SharedRegion:
        """Make a region and let the server map it.

        Raises:
            OSError: no shared memory, or not enough of it.
            grpc.RpcError: the server cannot see it, or does not let this client.
        """
        if not self._prepared:
            self._require_safe_version()
            self._unregister(self._abandoned())
            self._prepared = True
        if shutil.disk_usage(_FOLDER).free < size + _LEAVE_FREE:
            raise OSError(f"{_FOLDER} has too little space")
        name = f"{_own_prefix()}{os.getpid()}.{secrets.token_hex(8)}"
        path = _FOLDER / name
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            os.posix_fallocate(descriptor, 0, size)
            memory = mmap.mmap(descriptor, size)
            request = service_pb2.SystemSharedMemoryRegisterRequest(
                name=name, key=f"/{name}", byte_size=size
            )
            self._names.add(name)  # first: an answer may be lost
            self._ask("SystemSharedMemoryRegister", request)
        finally:
            os.close(descriptor)
            path.unlink()
        return SharedRegion(name, memory, self._generation)

    def _require_safe_version(self) -> None:
        version = self._ask("ServerMetadata", service_pb2.ServerMetadataRequest()).version
        if tuple(int(part) for part in re.findall(r"\d+", version)[:2]) < _SAFE_VERSION:
            raise OSError(f"Triton {version} does not protect regions in use")

    def _abandoned(self) -> list[str]:
        """Names of regions in the server whose clients, processes of this machine, are gone."""
        request = service_pb2.SystemSharedMemoryStatusRequest()
        prefix = _own_prefix()
        names = list(self._ask("SystemSharedMemoryStatus", request).regions)
        return [n for n in names if n.startswith(prefix) and not _runs(n.removeprefix(prefix))]

    def _unregister(self, names: list[str]) -> None:
        """End mappings in the server, except those that it still reads from."""
        for name in names:
            request = service_pb2.SystemSharedMemoryUnregisterRequest(name=name)
            try:
                self._ask("SystemSharedMemoryUnregister", request)
            except ServerUnavailableError:
                return  # another thread has closed the connection meanwhile
            except grpc.RpcError as error:
                if "in use" in (error.details() or ""):
                    continue
                if error.code() in _AWAY:
                    self._names.clear()  # a server that comes back has forgotten them
                    return
            self._names.discard(name)


def _own_prefix() -> str:
    """Start of the names of this machine's clients: process numbers mean something only here."""
    namespace = Path("/proc/self/ns/pid").stat().st_ino
    return f"syncnet-client.{namespace}."


def _runs(name: str) -> bool:
    """Whether the process of a name's rest, PID.RANDOM, is there."""
    return Path(f"/proc/{name.partition('.')[0]}").exists()
