"""TensorRT engines of a model repository: do they fit this machine?

An engine runs only with the TensorRT version and on the kind of GPU that it was built with.
`syncnet-export tensorrt` writes down both beside it, with the ONNX file it came from, so that a
misfit is one readable line before the server starts.
"""

from __future__ import annotations

import ctypes
import hashlib
import json
import re
import subprocess
from dataclasses import asdict, dataclass
from pathlib import Path

from syncnet_server.errors import ServingError
from syncnet_server.repository import model_versions

__all__ = [
    "Machine",
    "PlanRecord",
    "check_plans",
    "compute_capability",
    "misfit",
    "record_path",
    "version_number",
]

_PLAN_CONFIG = re.compile(r'^\s*backend:\s*"tensorrt"', re.MULTILINE)
_PLAN_NAME = re.compile(r'^\s*default_model_filename:\s*"([^"]+)"', re.MULTILINE)


@dataclass(frozen=True)
class PlanRecord:
    """What is known of an engine.

    Attributes:
        tensorrt: version it was built with, like "10.5.0".
        compute_capability: of the GPU it was built on, like "9.0".
        source: name of the ONNX file it was built from, in the same folder.
        source_sha256: of that file.
        checkpoint_sha256: of the weights in it.
    """

    tensorrt: str
    compute_capability: str
    source: str
    source_sha256: str
    checkpoint_sha256: str

    def write(self, path: Path) -> None:
        """Write this as JSON."""
        path.write_text(json.dumps(asdict(self), indent=2) + "\n")

    @classmethod
    def read(cls, path: Path) -> PlanRecord:
        """Read what `write` wrote.

        Raises:
            ServingError: the file is missing, or is not such a record.
        """
        try:
            record = cls(**json.loads(path.read_text()))
        except (OSError, ValueError, TypeError) as error:
            raise ServingError(
                f"{path} is missing or unreadable; build the engines with `syncnet-export tensorrt`"
            ) from error
        return record


@dataclass(frozen=True)
class Machine:
    """Where an engine is to run.

    Attributes:
        tensorrt: version of the TensorRT library, like "10.5.0"; None if it cannot be loaded.
        compute_capability: of the first GPU, like "9.0"; None without a GPU.
    """

    tensorrt: str | None
    compute_capability: str | None


def record_path(plan: Path) -> Path:
    """Where the record of an engine lies."""
    return plan.with_name(f"{plan.name}.json")


def misfit(record: PlanRecord, source_sha256: str | None, machine: Machine) -> str | None:
    """Say why an engine cannot be served here; None if it can.

    Args:
        record: of the engine.
        source_sha256: of the ONNX file beside it; None if there is none.
        machine: where it is to run.
    """
    if machine.compute_capability is None:
        return "there is no NVIDIA GPU here"
    if machine.compute_capability != record.compute_capability:
        return (
            f"it was built for compute capability {record.compute_capability}, and this GPU has "
            f"{machine.compute_capability}"
        )
    if machine.tensorrt is None:
        return f"TensorRT {record.tensorrt}, which it was built with, is not installed here"
    if version_number(machine.tensorrt) != version_number(record.tensorrt):
        return f"it was built with TensorRT {record.tensorrt}, and here is {machine.tensorrt}"
    if source_sha256 != record.source_sha256:
        return f"{record.source} is not the file it was built from"
    return None


def check_plans(repository: Path, profile: str) -> None:
    """Check the engines of the newest version of every model that a profile serves with TensorRT.

    Raises:
        ServingError: one is missing, or cannot run here; the message says why and what to do.
    """
    checkpoints = set()
    for config in sorted(repository.glob(f"*/configs/{profile}.pbtxt")):
        text = config.read_text()
        named = _PLAN_NAME.search(text)
        if not _PLAN_CONFIG.search(text) or named is None:
            continue
        model = config.parents[1]
        folder = model / str(max(model_versions(model), default=1))
        plan = folder / named[1]
        if not plan.is_file():
            raise ServingError(f"no engine {plan}; build it with `syncnet-export tensorrt`")
        record = PlanRecord.read(record_path(plan))
        checkpoints.add(record.checkpoint_sha256)
        source = folder / record.source
        sha256 = hashlib.sha256(source.read_bytes()).hexdigest() if source.is_file() else None
        machine = Machine(tensorrt_version(record.tensorrt), compute_capability())
        if reason := misfit(record, sha256, machine):
            raise ServingError(
                f"{plan} cannot be served: {reason}; build it again with `syncnet-export tensorrt`"
            )
    if len(checkpoints) > 1:
        raise ServingError("the engines of the two towers come from different checkpoints")


def compute_capability() -> str | None:
    """The compute capability of the first GPU, like "9.0"; None if there is no GPU."""
    command = ["nvidia-smi", "--query-gpu=compute_cap", "--format=csv,noheader", "--id=0"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip() or None


def tensorrt_version(wanted: str) -> str | None:
    """The version of the TensorRT library of this major version; None if it is not installed."""
    major = version_number(wanted)[0]
    try:
        library = ctypes.CDLL(f"libnvinfer.so.{major}")
    except OSError:
        return None
    number = library.getInferLibVersion()  # 10.5.0 is 100500
    return f"{number // 10_000}.{number // 100 % 100}.{number % 100}"


def version_number(version: str) -> tuple[int, ...]:
    """The first three numbers of a version: "10.5.0.18" and "10.5.0.post1" are (10, 5, 0)."""
    return tuple(int(number) for number in re.findall(r"\d+", version)[:3])
