"""What the processors of this machine can do."""

from __future__ import annotations

from pathlib import Path

__all__ = ["has_amx", "has_vnni"]

_CPUINFO = Path("/proc/cpuinfo")


def has_amx() -> bool:
    """Whether the processors have matrix instructions for int8 (Intel AMX)."""
    return _has("amx_int8")


def has_vnni() -> bool:
    """Whether the processors have dot products of int8 that do not overflow (VNNI)."""
    return _has("avx512_vnni") or _has("avx_vnni")


def _has(flag: str) -> bool:
    try:
        return f" {flag}" in _CPUINFO.read_text()
    except OSError:
        return False
