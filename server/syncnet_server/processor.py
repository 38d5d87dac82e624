"""What the processors of this machine can do."""

from __future__ import annotations

from pathlib import Path

_CPUINFO = Path("/proc/cpuinfo")


def has_amx() -> bool:
    """Whether the processors have matrix instructions for int8 (Intel AMX)."""
    try:
        return " amx_int8" in _CPUINFO.read_text()
    except OSError:
        return False
