"""Settings of a gateway: which server to ask, and what callers may use up."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from syncnet_client import GrpcOptions
from syncnet_client.defaults import DEFAULT_URL

__all__ = ["Limits", "Settings"]


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What one caller may use up, and all of them together.

    Attributes:
        max_bytes: of one upload, all its parts together.
        max_duration_s: length of a clip.
        max_pixels: width times height of a clip's picture.
        jobs: clips in work at once, each in a process of its own.
        waiting: clips that may wait for one of these places.
        upload_timeout_s: how long an upload may take.
        job_timeout_s: how long a clip may be in work.
        memory_bytes: memory of the process that works on a clip.
        keep_s: how long the outcome of a job can be asked for.
        keep_jobs: of how many jobs, the newest ones.
    """

    max_bytes: int = 500_000_000
    max_duration_s: float = 600.0
    max_pixels: int = 4096 * 2304
    jobs: int = min(4, os.cpu_count() or 1)
    waiting: int = 16
    upload_timeout_s: float = 600.0
    job_timeout_s: float = 900.0
    memory_bytes: int = 2 << 30
    keep_s: float = 600.0
    keep_jobs: int = 100


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How a gateway works.

    Attributes:
        url: HOST:PORT of Triton's gRPC endpoint.
        grpc: how to connect to it.
        limits: what callers may use up.
        token: what callers must show; None lets everybody in.
        cors_origins: origins of other pages that may call the gateway from a browser.
        work_folder: where the private folder for uploads is made; None for the system's own.
    """

    url: str = DEFAULT_URL
    grpc: GrpcOptions = field(default_factory=GrpcOptions)
    limits: Limits = field(default_factory=Limits)
    token: str | None = field(default=None, repr=False)
    cors_origins: tuple[str, ...] = ()
    work_folder: Path | None = None
