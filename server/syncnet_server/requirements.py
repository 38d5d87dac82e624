"""What the server from pip needs of a machine; also run by `make setup`, before anything is there.

pip itself would look for wheels for minutes before it says that there are none.
"""

from __future__ import annotations

import platform
import sys

__all__ = ["INSTALL", "obstacle"]

# What the extra `server` installs; the package itself is on no index.
INSTALL = "pip install 'nvidia-pytriton==0.7.0' 'onnxruntime>=1.19' 'opencv-python-headless<4.12'"

# numpy 1, which nvidia-pytriton wants, has wheels for these.
_FIRST, _LAST = (3, 10), (3, 12)


def obstacle() -> str | None:
    """Return why the server from pip cannot be installed here, or None."""
    if (sys.platform, platform.machine()) != ("linux", "x86_64"):
        return (
            f"tritonserver from pip runs on Linux x86-64 only, this is {platform.system()} "
            f"{platform.machine()}: use NVIDIA's container"
        )
    if not _FIRST <= sys.version_info[:2] <= _LAST:
        return (
            f"tritonserver from pip runs on Python 3.{_FIRST[1]} to 3.{_LAST[1]}, this is "
            f"{platform.python_version()}"
        )
    return None


def main() -> int | str:
    """Return the exit status, or what to print with status 1."""
    found = obstacle()
    if found is None:
        return 0
    return (
        f"{found}; another Python is named as in `make setup PYTHON=python3.{_LAST[1]}`, and "
        "`pip install -c constraints.txt .` installs the client alone"
    )


if __name__ == "__main__":
    sys.exit(main())
