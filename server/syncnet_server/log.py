"""Read tritonserver's log: its problems, and why it did not start, in one line."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

__all__ = ["LogFollower", "is_problem", "port_taken", "say", "some_failed", "startup_failure"]

# "E1122 07:45:07.123456 4711 main.cc:257] "failed to start HTTP service: ..."
_LINE = re.compile(r'^(?P<level>[EWI])\d{4} \S+ +\d+ \S+\] +"?(?P<text>.*?)"?\s*$')
# What tritonserver complains about on every machine that has no GPU.
_NO_GPU = re.compile(
    r"CudaDriverHelper has not been initialized|unable to create stream for"
    r"|CUDA driver version is insufficient|DCGM unable to start|no pinned memory pool"
)
_FAILED_MODEL = re.compile(
    r"failed to load (?:model )?'(?P<model>[^']+)'(?: version (?P<version>\d+))?: (?P<why>.*)"
)
_BAD_OPTION = re.compile(r"tritonserver: ((?:unrecognized|ambiguous|option) .*)")
# tritonserver's summary; the lines before it say which model and why.
_SOME_FAILED = "failed to load all models"
_TAKEN = re.compile(r"Socket '(?P<address>[^']+)' already in use")


def is_problem(line: str, levels: str = "EW") -> bool:
    """Return whether a line of the log reports an error or a warning, lack of a GPU aside."""
    match = _LINE.match(line)
    return match is not None and match["level"] in levels and not _NO_GPU.search(line)


def port_taken(log: str) -> str | None:
    """Return the address that tritonserver could not listen on, if that is why it ended."""
    taken = _TAKEN.search(log)
    return taken["address"] if taken else None


def some_failed(log: str) -> bool:
    """Return whether tritonserver could not load a model, also one whose config it cannot read.

    It has no such model in its index, and answers that all others are ready.
    """
    return _SOME_FAILED in log


def startup_failure(log: str) -> str | None:
    """Return the reason in the log of a tritonserver that ended before it was ready."""
    if taken := port_taken(log):
        return f"{taken} is already in use; choose another port"
    if bad_option := _BAD_OPTION.search(log):
        return bad_option[1]
    errors = [
        _text(line)
        for line in log.splitlines()
        if is_problem(line, "E") and _SOME_FAILED not in line
    ]
    failed = [m for text in errors if (m := _FAILED_MODEL.search(text))]
    if failed:
        version = f" version {failed[0]['version']}" if failed[0]["version"] else ""
        others = len({m["model"] for m in failed} - {failed[0]["model"]})
        more = f" (and {others} more failed)" if others else ""
        return f"model {failed[0]['model']}{version}: {failed[0]['why']}{more}"
    if errors:
        return errors[-1]
    lines = log.strip().splitlines()
    return lines[-1] if lines else None


def _text(line: str) -> str:
    """Return the message of a line without the traceback that Triton writes into it."""
    match = _LINE.match(line)
    text = match["text"] if match else line
    text = text.split("\\n\\nAt:\\n")[0].replace("\\n", " ")
    return text.replace("Internal: TritonModelException: ", "").strip()


class LogFollower:
    """Gives the lines that were added to a log file since the last time; copes with rotation."""

    def __init__(self, path: Path, position: int = 0) -> None:
        self._path = path
        self._position = position

    def new_lines(self) -> Iterator[str]:
        """Yield each complete line that is new; none if there is no file."""
        if not self._path.exists():
            return
        with self._path.open("rb") as log:
            if self._path.stat().st_size < self._position:
                self._position = 0
            log.seek(self._position)
            for line in log:
                if line.endswith(b"\n"):
                    self._position += len(line)
                    yield line.decode("utf-8", errors="replace").rstrip("\n")


def say(message: str) -> None:
    """Write a line for whoever started the server."""
    print(message, file=sys.stderr, flush=True)
