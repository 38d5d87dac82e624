"""What users are told to install: commands in messages and documents, and `make setup`."""

from __future__ import annotations

import ast
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from syncnet_programs.installs import install_command
from syncnet_server.requirements import INSTALL

ROOT = Path(__file__).parents[1]


def extra(name: str) -> list[str]:
    """The requirements of an extra in pyproject.toml, without what they say about platforms."""
    project = (ROOT / "pyproject.toml").read_text()
    found = re.search(rf"^{name} = (\[.*?\]$)", project, re.M | re.S)
    assert found
    return [requirement.partition(";")[0] for requirement in ast.literal_eval(found[1])]


def parts(requirement: str) -> list[str]:
    """The name and the bounds, whose order the metadata may change."""
    name = re.match(r"[\w\-]+(\[[\w,]+\])?", requirement)
    assert name
    return [name[0], *sorted(requirement[name.end() :].split(","))]


def texts() -> dict[str, str]:
    """Everything tracked that may tell users what to install; this file tests it."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    suffixes = {".md", ".py", ".sh", ".toml", ".yaml", ".Dockerfile", ""}
    paths = [name for name in listed.stdout.splitlines() if Path(name).suffix in suffixes]
    return {name: (ROOT / name).read_text() for name in paths if not name.startswith("tests/")}


def test_the_server_names_what_its_extra_installs() -> None:
    assert shlex.split(INSTALL) == ["pip", "install", *extra("server")]


def test_the_stand_in_names_what_the_extra_for_gpus_installs() -> None:
    backend = (ROOT / "server/backends/onnxruntime/model.py").read_text()
    (command,) = re.findall(r"pip install '\S+'", backend)
    assert shlex.split(command) == ["pip", "install", *extra("gpu")]


@pytest.mark.parametrize("name", ["plot", "parquet", "export"])
def test_a_missing_extra_is_named_by_its_packages(name: str) -> None:
    command = shlex.split(install_command(name))
    assert command[:2] == ["pip", "install"]
    assert [parts(each) for each in command[2:]] == [parts(each) for each in extra(name)]


def test_no_command_looks_for_the_package_on_an_index() -> None:
    found = {name for name, text in texts().items() if re.search(r"pip install '?syncnet", text)}
    assert not found


def test_every_install_from_the_checkout_has_the_constraints() -> None:
    commands = {
        (name, command)
        for name, text in texts().items()
        for command in re.findall(r"pip[\w\" ,]* install [^\n`#]*", text)
        if re.search(r" '?\.(\[|'|$| )", command.rstrip(" \"'"))
    }
    assert {name for name, _ in commands} >= {"README.md", "server/client.Dockerfile"}
    for name, command in commands:
        assert re.search(r" (-c|--constraint) constraints\.txt ", command), (name, command)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """As much of a checkout as `make setup` reads before it installs."""
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path)
    package = tmp_path / "server/syncnet_server"
    package.mkdir(parents=True)
    shutil.copy(ROOT / "server/syncnet_server/requirements.py", package)
    return tmp_path


def make_setup(checkout: Path, python: str) -> subprocess.CompletedProcess[str]:
    """`make setup` with a Python that is a shell script."""
    program = checkout / "python"
    program.write_text(f"#!/bin/sh\n{python}\n")
    program.chmod(0o755)
    command = ["make", "setup", f"PYTHON={program}"]
    return subprocess.run(
        command, cwd=checkout, capture_output=True, text=True, timeout=60, check=False
    )


def test_make_setup_names_the_versions_at_once(checkout: Path) -> None:
    code = (
        "import runpy, sys; sys.version_info = (3, 13, 0); "
        "runpy.run_path(sys.argv[1], run_name='__main__')"
    )
    done = make_setup(checkout, f'exec {sys.executable} -c "{code}" "$1"')
    assert done.returncode == 2
    assert done.stderr.startswith("tritonserver from pip runs on Python 3.10 to 3.12, this is ")
    assert "make setup PYTHON=python3.12" in done.stderr
    assert not (checkout / ".venv").exists()


def test_make_setup_leaves_no_half_made_environment(checkout: Path) -> None:
    done = make_setup(
        checkout,
        'if [ "$1" = -m ]; then mkdir -p .venv/bin && touch .venv/bin/python; exit 1; fi',
    )
    assert done.returncode == 2
    assert not (checkout / ".venv").exists()
