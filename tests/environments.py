"""Virtual environments made for a test. pip needs a package index."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

RUNNING = f"{sys.version_info.major}.{sys.version_info.minor}"


class Environment:
    """A virtual environment of its own in ``folder``, which is also where its commands run."""

    def __init__(self, folder: Path, version: str) -> None:
        self.folder = folder
        self._bin = folder / "env/bin"
        run(interpreter(version), "-m", "venv", folder / "env")

    def install(self, requirement: object) -> None:
        self.pip("install", requirement)

    def pip(self, *arguments: object) -> None:
        run(self._bin / "python", "-m", "pip", "--quiet", *arguments, cwd=self.folder)

    def run(
        self, program: str, *arguments: object, status: int = 0
    ) -> subprocess.CompletedProcess[str]:
        return run(self._bin / program, *arguments, cwd=self.folder, status=status)

    def lacks(self, *modules: str) -> bool:
        code = f"import importlib.util as u; print([m for m in {modules} if u.find_spec(m)])"
        return self.run("python", "-c", code).stdout.strip() == "[]"


def run(
    *command: object, cwd: Path | None = None, status: int = 0
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, without what the tests' own environment would add to it."""
    hidden = ("PYTHONPATH", "VIRTUAL_ENV", "SYNCNET_URL")
    done = subprocess.run(
        [str(part) for part in command],
        capture_output=True,
        text=True,
        cwd=cwd,
        env={name: value for name, value in os.environ.items() if name not in hidden},
        check=False,
    )
    assert done.returncode == status, f"{command}: {done.stdout}{done.stderr}"
    return done


def interpreter(version: str) -> Path:
    """A Python of this version; the test is skipped where there is none."""
    if version == RUNNING:
        return Path(sys._base_executable)
    versions = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    on_path = shutil.which(f"python{version}")
    candidates = [*sorted(versions.glob(f"{version}.*/bin/python")), *filter(None, [on_path])]
    for candidate in candidates:
        answer = subprocess.run([candidate, "--version"], capture_output=True, text=True)
        if answer.stdout.startswith(f"Python {version}."):
            return Path(candidate)
    pytest.skip(f"needs Python {version}")
