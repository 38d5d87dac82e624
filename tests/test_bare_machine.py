"""The commands for a GPU machine on which only some packages are installed, and this one is not.

A Python without its own site-packages sees what is listed here, what that requires, and the source.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest

from syncnet_training.storage import write_clip

CHECKOUT = Path(__file__).resolve().parents[1]
PACKAGES = (
    "torch",
    "onnx",
    "onnxruntime",
    "typer",
    "rich",
    "psutil",
    "opencv-python-headless",
    "numba",
    "safetensors",
)
SOURCES = ("client", "export", "server", "training", ".")


def required(names: tuple[str, ...]) -> dict[str, metadata.Distribution]:
    """These distributions and what they require, extras aside."""
    found: dict[str, metadata.Distribution] = {}
    left = list(names)
    while left:
        name = re.sub(r"[-_.]+", "-", left.pop()).lower()
        if name in found:
            continue
        try:
            found[name] = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            assert name not in PACKAGES  # a requirement of other systems
            continue
        stated = (each for each in found[name].requires or () if "extra ==" not in each)
        left += [re.split(r"[^\w.\-]", each, maxsplit=1)[0] for each in stated]
    return found


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with links to the packages of such a machine."""
    folder = tmp_path_factory.mktemp("bare")
    for distribution in required(PACKAGES).values():
        for name in {file.parts[0] for file in distribution.files or ()} - {"..", "__pycache__"}:
            if not (folder / name).exists():
                (folder / name).symlink_to(Path(str(distribution.locate_file(name))))
    return folder


def python(packages: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([*SOURCES, str(packages)])
    # Compiling takes long, and is PyTorch's own matter.
    environment = {**os.environ, "PYTHONPATH": path, "TORCHDYNAMO_DISABLE": "1"}
    return subprocess.run(
        [sys.executable, "-S", *map(str, arguments)],
        cwd=CHECKOUT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


def test_the_machine_is_bare(packages: Path) -> None:
    program = (
        "import importlib.metadata, importlib.util as util\n"
        "names = 'av', 'tritonclient', 'onnxscript', 'tensorrt', 'scipy', 'platformdirs'\n"
        "assert not [name for name in names if util.find_spec(name)]\n"
        "assert util.find_spec('torch')\n"
        "importlib.metadata.version('torch')\n"
        "try: importlib.metadata.version('syncnet-triton')\n"
        "except importlib.metadata.PackageNotFoundError: print('bare')\n"
    )
    assert python(packages, "-c", program).stdout == "bare\n"


def test_the_gpu_benchmark_comes_as_far_as_the_gpu(packages: Path, tmp_path: Path) -> None:
    done = python(packages, "-m", "benchmarks", "--gpu", "--results", tmp_path)
    assert done.stderr == "benchmarks: --gpu needs torch with CUDA and a GPU; there is none here\n"
    assert done.returncode == 1


@pytest.mark.slow
def test_the_gpu_benchmark_measures_what_is_there(packages: Path, tmp_path: Path) -> None:
    program = (
        "import sys\n"
        "import torch\n"
        "from pathlib import Path\n"
        "from benchmarks import gpu, record\n"
        "def write(figures): record.write('gpu', 'python -m benchmarks --gpu', figures, folder)\n"
        "folder = Path(sys.argv[1])\n"
        "gpu.run(device=torch.device('cpu'), width=1 / 16, windows=(2,), calls=1, repeats=1,\n"
        "        record=write)\n"
    )
    done = python(packages, "-c", program, tmp_path)
    assert done.returncode == 0, done.stderr
    written = json.loads((tmp_path / "gpu.json").read_text())
    assert "syncnet-triton" not in written["machine"]["versions"]
    measured = [row for row in written["rows"] if "windows_per_s" in row]
    assert len(measured) == 4
    assert all(row["way"].startswith("PyTorch") and row["passed"] for row in measured)
    missing = [row for row in written["rows"] if row not in measured]
    assert [row["missing"] for row in missing] == [
        "onnxscript, which PyTorch exports with, is not installed"
    ] * 2


@pytest.mark.slow
def test_training_is_profiled_on_clips_made_elsewhere(packages: Path, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    for index in range(2):
        frames = random.integers(0, 256, (24, 224, 224, 3), np.uint8)
        samples = random.integers(-9999, 9999, 24 * 640, np.int16)
        write_clip(tmp_path / f"clip_{index}", frames, samples, {})
    command = ("-m", "syncnet_training.cli", "profile", "--data", tmp_path, "--json")
    small = ("--batch", "4", "--steps", "1", "--width", "0.01", "--workers", "1")
    done = python(packages, *command, *small, "--device", "cpu")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["samples_per_second"] > 0


def test_source_alone_has_no_version(packages: Path) -> None:
    done = python(packages, "-m", "syncnet_training.cli", "--version")
    assert (done.returncode, done.stdout) == (0, "syncnet-train not-installed\n")


def test_a_missing_package_is_named_all_the_same(packages: Path, tmp_path: Path) -> None:
    done = python(packages, "-m", "syncnet_training.cli", "synthesize", tmp_path, "--clips", "1")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        "syncnet-train: this needs av: pip install -c constraints.txt '.[training]' in the checkout"
    )
