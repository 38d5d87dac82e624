"""Put both towers into a model repository, or neither."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from syncnet_export.errors import ExportError
from syncnet_export.tower_specs import TOWERS
from syncnet_server import ServingError, default_model_repository, model_versions

__all__ = [
    "install",
    "installed_versions",
    "newest_version",
    "next_version",
    "repository_or_default",
    "require_free",
    "staged",
    "version_folders",
]


def repository_or_default(path: str | Path | None) -> Path:
    """The model repository at `path`, or the one that `syncnet-server` serves.

    Raises:
        ExportError: there is none.
    """
    if path is not None:
        return Path(path)
    try:
        return default_model_repository()
    except ServingError as error:
        raise ExportError(str(error)) from error


def version_folders(model_repository: Path, version: int) -> dict[str, Path]:
    """The folder of a version, by the name of the tower; it may not exist."""
    return {spec.name: model_repository / spec.name / str(version) for spec in TOWERS}


def installed_versions(model_repository: Path) -> list[int]:
    """The versions of which any tower has a file, oldest first."""
    models = [model_repository / spec.name for spec in TOWERS]
    versions = {
        version
        for model in models
        for version in model_versions(model)
        if any((model / str(version)).iterdir())
    }
    return sorted(versions)


def next_version(model_repository: Path) -> int:
    """The version after the newest one; at least 2, since 1 ships with the project."""
    return max([1, *installed_versions(model_repository)]) + 1


def require_free(model_repository: Path, version: int) -> None:
    """Check that neither tower has this version.

    Raises:
        ExportError: one has.
    """
    if version in installed_versions(model_repository):
        raise ExportError(
            f"version {version} exists in {model_repository}; name another one with --version, "
            "or pass --overwrite to replace it"
        )


def newest_version(model_repository: Path) -> int:
    """The version that Triton serves.

    Raises:
        ExportError: there is none.
    """
    versions = installed_versions(model_repository)
    if not versions:
        raise ExportError(f"{model_repository} has no towers; build them with syncnet-export build")
    return versions[-1]


@contextlib.contextmanager
def staged(model_repository: Path) -> Iterator[dict[str, Path]]:
    """Empty folders for the files of each tower, by its name, removed in the end.

    They lie in the repository, so that moving them into place is a rename; their names begin with
    a dot, so that Triton does not take them for versions.

    Raises:
        ExportError: the repository has no folder for a tower.
    """
    with contextlib.ExitStack() as stack:
        folders = {}
        for spec in TOWERS:
            model = model_repository / spec.name
            if not (model / "config.pbtxt").is_file():
                raise ExportError(
                    f"{model_repository} is not a SyncNet model repository: it has no "
                    f"{spec.name}/config.pbtxt"
                )
            private = tempfile.TemporaryDirectory(dir=model, prefix=".export-")
            # The folder inside has ordinary permissions, so that a server of another user reads it.
            folders[spec.name] = Path(stack.enter_context(private), "files")
            folders[spec.name].mkdir()
        yield folders


def install(
    folders: Mapping[str, Path], model_repository: Path, version: int, *, replace: bool = False
) -> None:
    """Move staged files into the version folders of their towers: all of them, or none.

    Args:
        folders: the files' folder by the name of the tower, from `staged`.
        model_repository: where to.
        version: which.
        replace: whether a version that exists is replaced; it is restored if anything fails.

    Raises:
        ExportError: the version exists, or a folder cannot be moved.
    """
    targets = version_folders(model_repository, version)
    if not replace:
        require_free(model_repository, version)
    with contextlib.ExitStack() as discarded, contextlib.ExitStack() as undo:
        try:
            for name, target in targets.items():
                if target.exists():
                    trash = tempfile.TemporaryDirectory(dir=target.parent, prefix=".replaced-")
                    old = Path(discarded.enter_context(trash), "files")
                    target.rename(old)
                    undo.callback(old.rename, target)
                folders[name].rename(target)
                undo.callback(target.rename, folders[name])
        except OSError as error:
            raise ExportError(f"cannot install version {version}: {error}") from error
        undo.pop_all()
