"""Find the Triton model repository, and import the pure modules of its Python models."""

from __future__ import annotations

import functools
import importlib.util
import os
import sys
from pathlib import Path
from types import ModuleType

from syncnet_server.errors import ServingError

_PACKAGE = Path(__file__).resolve().parent


def default_model_repository() -> Path:
    """Return the model repository to serve when none is named.

    In this order: `model_repository` in the current directory, the one of the checkout this
    package was installed from, the one that came with the installed package.

    Raises:
        ServingError: there is none of the three.
    """
    candidates = (
        Path.cwd() / "model_repository",
        _PACKAGE.parents[1] / "model_repository",
        _PACKAGE / "model_repository",
    )
    for candidate in candidates:
        if candidate.is_dir():
            return candidate
    raise ServingError(
        f"no model repository: {candidates[0]} does not exist; name one with --model-repository"
    )


def load_model_module(repository: str | os.PathLike[str], name: str) -> ModuleType:
    """Import the mathematics of a Python model, `<repository>/<name>/1/<name>.py`.

    The module is loaded by its path, so nothing is put on `sys.path` and two repositories can be
    used side by side. Asking again for the same file returns the same module.

    Raises:
        ServingError: the file does not exist.
    """
    return _load(Path(repository).resolve() / name / "1" / f"{name}.py")


@functools.cache
def _load(path: Path) -> ModuleType:
    # The path makes the name unique, and keeps it readable in tracebacks.
    module_name = "syncnet_server.models." + "_".join(path.with_suffix("").parts[1:])
    spec = importlib.util.spec_from_file_location(module_name, path)
    if not path.is_file() or spec is None or spec.loader is None:
        raise ServingError(f"no such model module: {path}")
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module  # dataclasses look their own module up here
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[module_name]
        raise
    return module


def model_versions(model: Path) -> list[int]:
    """Return the versions of a model, oldest first: its folders whose names are numbers.

    Triton serves the last one. It counts empty folders, too, and none with leading zeros.
    """
    folders = (path for path in model.glob("[1-9]*") if path.name.isdecimal() and path.is_dir())
    return sorted(int(folder.name) for folder in folders)


def profiles(repository: Path) -> list[str]:
    """Return the names of the profiles of a repository: its `configs/<name>.pbtxt` files."""
    return sorted({path.stem for path in repository.glob("*/configs/*.pbtxt")})


def check_profile(repository: Path, profile: str | None) -> None:
    """Raise `ServingError` unless the repository holds models, and the profile if one is named."""
    if not any(repository.glob("*/config.pbtxt")):
        raise ServingError(f"no model repository: no model in {repository}")
    if profile is not None and profile not in profiles(repository):
        known = ", ".join(["default", *profiles(repository)])
        raise ServingError(f"no profile {profile!r} in {repository}; there are: {known}")
