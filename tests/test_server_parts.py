"""Parts of the server package that need no running server."""

from __future__ import annotations

import importlib.util
import platform
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from conftest import MODEL_REPOSITORY

from syncnet_server import ServingError, cli, default_model_repository, load_model_module, locate
from syncnet_server.log import LogFollower, is_problem, startup_failure
from syncnet_server.processor import has_amx, has_vnni
from syncnet_server.repository import check_profile

# --- Where tritonserver comes from -------------------------------------------------------------


@pytest.fixture
def no_tritonserver_on_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _name: None)


def test_tritonserver_on_path_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    executable = tmp_path / "tritonserver"
    executable.write_text("#!/bin/sh\n")
    executable.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("LD_LIBRARY_PATH", "/somewhere")
    found = locate.locate()
    assert found.executable == executable
    assert found.arguments(tmp_path) == []
    assert found.environment(tmp_path)["PATH"] == str(tmp_path)
    assert found.environment(tmp_path)["LD_LIBRARY_PATH"] == "/somewhere"


@pytest.mark.usefixtures("no_tritonserver_on_path")
class TestFromPip:
    def test_files_exist(self, tmp_path: Path) -> None:
        found = locate.locate()
        assert found.executable.is_file()
        for source in (*found.copies.values(), *found.links.values()):
            assert source.is_file()
        assert f"--backend-directory={tmp_path}/backends" in found.arguments(tmp_path)

    def test_other_machines(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
        monkeypatch.setattr(platform, "machine", lambda: "aarch64")
        with pytest.raises(ServingError, match=r"runs on Linux x86-64 only, this is Linux aarch64"):
            locate.locate()

    def test_not_installed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
        with pytest.raises(ServingError, match=r"none from pip: pip install 'nvidia-pytriton==0"):
            locate.locate()

    def test_a_python_too_new(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
        monkeypatch.setattr(sys, "version_info", (3, 13, 0, "final", 0))
        with pytest.raises(ServingError, match=r"runs on Python 3\.10 to 3\.12, this is"):
            locate.locate()

    def test_python_without_a_stub(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(locate, "_VERSION", "3.99")
        with pytest.raises(ServingError, match=r"no backend for Python 3.99, only for .*3.9, 3.10"):
            locate.locate()

    def test_python_without_its_library(self, tmp_path: Path) -> None:
        found = locate.locate()
        stub = found.copies["backends/python/triton_python_backend_stub"]
        changed = tmp_path / stub.name
        # The same program, wanting the library of a Python that no machine has.
        name = f"libpython{locate._VERSION}".encode()
        changed.write_bytes(stub.read_bytes().replace(name, name.replace(b"3.", b"9.")))
        changed.chmod(0o755)
        with pytest.raises(ServingError, match=r"needs libpython9.*, which this Python lacks: .*"):
            locate._check_stub(changed, found.library_path, None)

    def test_wheel_without_its_libraries(self, tmp_path: Path) -> None:
        stub = locate.locate().copies["backends/python/triton_python_backend_stub"]
        changed = tmp_path / stub.name
        shutil.copy2(stub, changed)
        with pytest.raises(ServingError, match=r"cannot load libcudart.*: reinstall"):
            locate._check_stub(changed, (), None)


# --- What the log says ---------------------------------------------------------------------------

PREFIX = "E1122 07:45:00.104370 9312"


@pytest.mark.parametrize(
    ("log", "reason"),
    [
        (
            f'{PREFIX} main.cc:257] "failed to start HTTP service: Unavailable - Socket '
            "'127.0.0.1:8000' already in use \"",
            "127.0.0.1:8000 is already in use; choose another port",
        ),
        (
            f"{PREFIX} model_lifecycle.cc:642] \"failed to load 'a' version 2: Internal: "
            'ValueError: bad\\n\\nAt:\\n  model.py(1): <module>\\n"\n'
            f"{PREFIX} model_lifecycle.cc:642] \"failed to load 'b' version 1: Internal: other\"\n"
            f'{PREFIX} main.cc:300] "failed to load all models"',
            "model a version 2: Internal: ValueError: bad (and 1 more failed)",
        ),
        (
            f"{PREFIX} model_repository_manager.cc:724] \"failed to load model 'a': no version\"",
            "model a: no version",
        ),
        (
            f"{PREFIX} model_lifecycle.cc:642] \"failed to load 'a' version 1: Internal: "
            'TritonModelException: no such file: x.onnx"',
            "model a version 1: no such file: x.onnx",
        ),
        (
            f'{PREFIX} server.cc:241] "CudaDriverHelper has not been initialized."\n'
            f'{PREFIX} main.cc:300] "failed to do something"',
            "failed to do something",
        ),
        ("tritonserver: error while loading shared libraries: x", "tritonserver: error while"),
    ],
)
def test_startup_failure(log: str, reason: str) -> None:
    found = startup_failure(log)
    assert found is not None
    assert found.startswith(reason)


def test_no_reason_in_an_empty_log() -> None:
    assert startup_failure("\n") is None


def test_problems_are_warnings_and_errors_but_not_the_lack_of_a_gpu() -> None:
    assert is_problem(f'{PREFIX} a.cc:1] "bad"')
    assert is_problem(f'{PREFIX.replace("E", "W", 1)} a.cc:1] "bad"')
    assert not is_problem(f'{PREFIX.replace("E", "W", 1)} a.cc:1] "bad"', "E")
    assert not is_problem(f'{PREFIX.replace("E", "I", 1)} a.cc:1] "good"')
    assert not is_problem(f'{PREFIX} server.cc:241] "CudaDriverHelper has not been initialized."')
    assert not is_problem("Every other line")


def test_log_is_followed_through_rotation(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text("one\ntwo\nthr")
    log = LogFollower(path, position=4)
    assert list(log.new_lines()) == ["two"]
    with path.open("a") as file:
        file.write("ee\n")
    assert list(log.new_lines()) == ["three"]
    assert list(log.new_lines()) == []
    path.write_text("anew\n")
    assert list(log.new_lines()) == ["anew"]


# --- The model repository ------------------------------------------------------------------------


def test_repository_in_the_current_directory_comes_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert default_model_repository() == MODEL_REPOSITORY
    (tmp_path / "model_repository").mkdir()
    assert default_model_repository() == tmp_path / "model_repository"


def test_profiles_and_models_are_looked_for(tmp_path: Path) -> None:
    with pytest.raises(ServingError, match=f"no model in {tmp_path}"):
        check_profile(tmp_path, None)
    (tmp_path / "tower").mkdir()
    (tmp_path / "tower" / "config.pbtxt").touch()
    check_profile(tmp_path, None)
    with pytest.raises(ServingError, match=r"there are: default$"):
        check_profile(tmp_path, "int8")


def test_model_modules_are_loaded_by_path(tmp_path: Path) -> None:
    for repository in ("one", "two"):
        folder = tmp_path / repository / "mean" / "1"
        folder.mkdir(parents=True)
        (folder / "mean.py").write_text(
            "from dataclasses import dataclass\n@dataclass\nclass Mean:\n"
            f"    name: str = '{repository}'\n"
        )
    one, two = (load_model_module(tmp_path / name, "mean") for name in ("one", "two"))
    assert (one.Mean().name, two.Mean().name) == ("one", "two")
    assert load_model_module(tmp_path / "one", "mean") is one
    assert "mean" not in sys.modules


def test_model_module_that_does_not_exist(tmp_path: Path) -> None:
    with pytest.raises(ServingError, match=r"no such model module: .*/mean/1/mean.py"):
        load_model_module(tmp_path, "mean")


def test_model_module_that_cannot_be_imported_is_not_kept(tmp_path: Path) -> None:
    folder = tmp_path / "mean" / "1"
    folder.mkdir(parents=True)
    (folder / "mean.py").write_text("raise RuntimeError('bad')")
    before = set(sys.modules)
    with pytest.raises(RuntimeError, match="bad"):
        load_model_module(tmp_path, "mean")
    assert set(sys.modules) == before


# --- the processor -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("flags", "amx", "vnni"),
    [
        ("fpu avx512_vnni amx_tile amx_int8", True, True),
        ("fpu avx2 avx_vnni", False, True),
        ("fpu avx2", False, False),
    ],
)
def test_what_a_processor_can_do_are_its_flags(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flags: str, amx: bool, vnni: bool
) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text(f"processor : 0\nflags : {flags}\nbugs :\n")
    monkeypatch.setattr("syncnet_server.processor._CPUINFO", cpuinfo)
    assert (has_amx(), has_vnni()) == (amx, vnni)


def test_a_processor_can_do_nothing_where_nobody_tells(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("syncnet_server.processor._CPUINFO", tmp_path / "missing")
    assert (has_amx(), has_vnni()) == (False, False)


@pytest.mark.parametrize(
    ("profile", "amx", "better"),
    [
        ("int8", True, "int8-amx"),
        ("int8", False, None),
        ("int8-amx", False, "int8"),
        ("int8-amx", True, None),
        ("default", True, None),
    ],
)
def test_the_command_names_a_profile_that_is_faster(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    profile: str,
    amx: bool,
    better: str | None,
) -> None:
    monkeypatch.setattr("syncnet_server.cli.has_amx", lambda: amx)
    monkeypatch.setattr("syncnet_server.cli.has_vnni", lambda: True)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1 << 40))
    cli._say_notes(profile)
    expected = f"note: the profile {better} is faster on this machine's processor\n"
    assert capsys.readouterr().err == (expected if better else "")


@pytest.mark.parametrize(
    ("profile", "vnni", "warned"),
    [("int8", False, True), ("int8", True, False), ("default", False, False)],
)
def test_the_command_warns_of_int8_where_it_may_overflow(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    profile: str,
    vnni: bool,
    warned: bool,
) -> None:
    monkeypatch.setattr("syncnet_server.cli.has_amx", lambda: False)
    monkeypatch.setattr("syncnet_server.cli.has_vnni", lambda: vnni)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1 << 40))
    cli._say_notes(profile)
    expected = (
        "warning: without VNNI, sums of products may overflow in int8: run 'syncnet-export verify' "
        "on this machine, and serve fp32 if it fails\n"
    )
    assert capsys.readouterr().err == (expected if warned else "")
