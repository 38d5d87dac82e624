"""Find a tritonserver: the one on PATH (NVIDIA's container), else the one of the pip package.

The pip package `nvidia-pytriton` holds a complete tritonserver with the Python backend alone, and
one stub process per version of Python. To start it, a work folder is needed that holds

    backends/python/       the backend, its utilities and the stub of the running Python
    backends/onnxruntime/  our Python-based stand-in for the native ONNX Runtime backend
    python/                a virtual environment that shows the stub the packages of this one
    lib/                   the shared library of Python, which the stub links to
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import site
import subprocess
import sys
import sysconfig
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from syncnet_server import guardian
from syncnet_server.errors import ServingError
from syncnet_server.requirements import INSTALL, obstacle

_PACKAGE = Path(__file__).resolve().parent
# The Python backend makes a folder /tmp/python_env_XXXXXX and removes it in an orderly end alone.
# Its copy makes it in the work folder, which goes with the server however that ends.
_TEMPORARY_FOLDER = ("/tmp/python_env_", f"/dev/fd/{guardian.WORK_FD}/python")
# It makes its shared memory, which holds frames and embeddings, readable for every user of the
# machine, whatever the umask: fchmod(file, 0644), the only place where it loads that number into
# the register of a second argument. Its copy makes that 0600.
_SHARED_MEMORY_MODE = ("\xbe\xa4\x01\0\0", "\xbe\x80\x01\0\0")
_VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"


@dataclass(frozen=True)
class Installation:
    """How to run one tritonserver.

    The keys of `copies`, `links`, `texts` and `edits` are paths in its work folder; the values
    are the files to copy, the files to link to, contents, and bytes to replace in a copy (a
    character each) by as many others.
    """

    executable: Path
    from_pip: bool
    copies: Mapping[str, Path] = field(default_factory=dict)
    links: Mapping[str, Path] = field(default_factory=dict)
    texts: Mapping[str, str] = field(default_factory=dict)
    edits: Mapping[str, Sequence[tuple[str, str]]] = field(default_factory=dict)
    library_path: tuple[Path, ...] = ()

    def arguments(self, work: Path) -> list[str]:
        """Return the options that this installation needs."""
        if not self.from_pip:
            return []
        # Completing configurations costs another start of each model's stub process, which
        # doubles the time to readiness, and finished ones have nothing to complete.
        return [f"--backend-directory={work / 'backends'}", "--disable-auto-complete-config"]

    def environment(self, work: Path) -> dict[str, str]:
        """Return the environment to start tritonserver in."""
        environment = dict(os.environ)
        if self.from_pip:
            # The interpreter in the stub ignores PYTHONPATH and PYTHONHOME: it takes its packages
            # from the environment of the first `python3` on PATH.
            environment["PATH"] = f"{work / 'python/bin'}:{environment.get('PATH', os.defpath)}"
            libraries = [str(path) for path in (*self.library_path, work / "lib")]
            inherited = environment.get("LD_LIBRARY_PATH")
            environment["LD_LIBRARY_PATH"] = ":".join(
                libraries + ([inherited] if inherited else [])
            )
        return environment


def locate() -> Installation:
    """Find tritonserver on PATH, else in the pip package.

    Raises:
        ServingError: there is none, or it cannot run with this machine or this Python.
    """
    on_path = shutil.which("tritonserver")
    if on_path:
        return Installation(executable=Path(on_path), from_pip=False)
    spec = importlib.util.find_spec("pytriton")
    if spec is None or spec.origin is None:
        found = obstacle()
        raise ServingError(
            f"no tritonserver on PATH, and {found}; or name a server elsewhere with --url"
            if found
            else f"no tritonserver on PATH and none from pip: {INSTALL}"
        )
    return _from_pip(Path(spec.origin).parent / "tritonserver")


def _from_pip(root: Path) -> Installation:
    stub = root / "python_backend_stubs" / _VERSION / "triton_python_backend_stub"
    if not stub.is_file():
        known = sorted((p.name for p in stub.parents[1].iterdir()), key=lambda v: int(v[2:]))
        raise ServingError(
            f"tritonserver from pip has no backend for Python {_VERSION}, only for "
            f"{', '.join(known)}: use a virtual environment of one of these"
        )
    backend = root / "backends" / "python"
    # Copies: Triton refuses a library that a link leads to outside of its backend's folder.
    copies = {
        f"backends/python/{name}": backend / name
        for name in ("libtriton_python.so", "triton_python_backend_utils.py")
    }
    copies["backends/python/triton_python_backend_stub"] = stub
    copies["backends/onnxruntime/model.py"] = _backends_folder() / "onnxruntime" / "model.py"
    base = Path(getattr(sys, "_base_executable", sys.executable)).resolve()
    links = {"python/bin/python3": base}
    libpython = _libpython()
    if libpython is not None:
        links[f"lib/{libpython.name}"] = libpython
    library_path = (root.parents[1] / "nvidia_pytriton.libs",)
    _check_stub(stub, library_path, libpython)
    return Installation(
        executable=root / "bin" / "tritonserver",
        from_pip=True,
        copies=copies,
        links=links,
        texts={
            "python/pyvenv.cfg": f"home = {base.parent}\ninclude-system-site-packages = false\n",
            f"python/lib/python{_VERSION}/site-packages/syncnet_server.pth": _pth(),
        },
        edits={"backends/python/libtriton_python.so": [_TEMPORARY_FOLDER, _SHARED_MEMORY_MODE]},
        library_path=library_path,
    )


def _backends_folder() -> Path:
    installed = _PACKAGE / "backends"
    return installed if installed.is_dir() else _PACKAGE.parent / "backends"


def _pth() -> str:
    """One line for `site`: show the packages of this environment, write no byte code beside them.

    Without the latter, `__pycache__` folders would appear in the model repository. A stub also lets
    go of what must close when tritonserver dies.
    """
    folders = [*os.environ.get("PYTHONPATH", "").split(os.pathsep), *site.getsitepackages()]
    if site.ENABLE_USER_SITE:
        folders.append(site.getusersitepackages())
    alive = guardian.ALIVE_FD
    statements = ["import os, sys, site", f"os.closerange({alive}, {alive + 1})"]
    statements.append("sys.dont_write_bytecode = True")
    statements += [f"site.addsitedir({str(Path(f).resolve())!r})" for f in folders if f]
    return "; ".join(statements) + "\n"


def _libpython() -> Path | None:
    """Return the shared library of the running Python where its own build keeps one."""
    name: str | None = sysconfig.get_config_var("INSTSONAME")
    for folder in (sysconfig.get_config_var("LIBDIR"), f"{sys.base_prefix}/lib"):
        if name and folder and ".so" in name:
            library = Path(str(folder), name)
            if library.is_file():
                return library
    return None


def _check_stub(stub: Path, library_path: tuple[Path, ...], libpython: Path | None) -> None:
    """Start the stub without arguments: the loader complains if libpython is missing."""
    folders = [*library_path, *([libpython.parent] if libpython else [])]
    environment = {"LD_LIBRARY_PATH": ":".join(str(folder) for folder in folders)}
    outcome = subprocess.run([stub], env=environment, capture_output=True, text=True, check=False)
    if "error while loading shared libraries" in outcome.stderr:
        library = outcome.stderr.split("error while loading shared libraries: ")[1].split(":")[0]
        if not library.startswith("libpython"):
            raise ServingError(f"tritonserver cannot load {library}: reinstall nvidia-pytriton")
        raise ServingError(
            f"the Python backend of tritonserver needs {library}, which this Python lacks: "
            f"on Debian or Ubuntu `apt-get install libpython{_VERSION}`, with pyenv reinstall "
            "Python with PYTHON_CONFIGURE_OPTS=--enable-shared"
        )
