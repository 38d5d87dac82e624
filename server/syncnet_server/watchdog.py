"""Notice a tritonserver that lives and does nothing, for ever.

Two parts: `Observer` looks at one that runs, `Watchdog` decides from what was seen. Somebody who is
slow is never taken for somebody who stands still: whatever the sign, it counts only for as long as
no process of the server works.
"""

from __future__ import annotations

import http.client
import os
import re
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["IDLE_SHARE", "Look", "Model", "Observer", "Watchdog", "activity", "parse_models"]

_LONGEST_PAUSE_S = 2.0  # between two looks
_LOOKS = 4  # at least, before it is said that something stands still
_ANSWER_S = 2.0
_SLACK_S = 3.0  # for a look on a busy machine
_MOMENT_S = 0.1
IDLE_SHARE = 0.05  # of a processor; what waiting threads and questions about metrics take
_AT_WORK = frozenset("RDt")  # runs or could run, waits for a disk, is held by a debugger
_TICKS = os.sysconf("SC_CLK_TCK")
_COUNTED = re.compile(
    r'^nv_inference_(pending_request_count|request_success|request_failure)\{model="([^"]*)"(.*)\} '
    r"(\S+)$",
    re.MULTILINE,
)


@dataclass(frozen=True)
class Model:
    """What a tritonserver tells of a model.

    Attributes:
        waiting: requests that wait to be worked on, now.
        done: requests that a backend has answered since the start, if with an error.
    """

    waiting: float
    done: float


@dataclass(frozen=True)
class Look:
    """What was seen of a tritonserver at one moment.

    Attributes:
        at_s: when, on a clock that only goes forward.
        answers: whether it said anything at all.
        models: by name; none where it does not tell.
        busy_s: processor time that its processes have used so far.
        works: whether one of their threads has something to do at this moment.
    """

    at_s: float
    answers: bool
    models: Mapping[str, Model] = field(default_factory=dict)
    busy_s: float = 0.0
    works: bool = False


class Watchdog:
    """Decides from one look after the other whether a tritonserver is stuck.

    Args:
        stuck_after_s: so long must a sign last while nobody works; 0: nothing is ever stuck.
    """

    def __init__(self, stuck_after_s: float) -> None:
        self.pause_s = min(_LONGEST_PAUSE_S, stuck_after_s / _LOOKS)
        self._stuck_after_s = stuck_after_s
        self._last: Look | None = None
        self._since: dict[str, Look] = {}

    def stuck(self, look: Look) -> str | None:
        """Return the sign that has lasted too long, in words; None if there is none."""
        last, self._last = self._last, look
        if last is None or look.at_s - last.at_s > self._late_s:
            # Who has not looked for so long, as on a machine that slept, knows nothing.
            self._since = {}
            return None
        signs = dict.fromkeys(_signs(last, look), last)
        self._since = {sign: self._since.get(sign, first) for sign, first in signs.items()}
        for sign, first in self._since.items():
            elapsed_s = look.at_s - first.at_s
            if look.works or look.busy_s - first.busy_s > IDLE_SHARE * elapsed_s:
                self._since[sign] = look
            elif 0 < self._stuck_after_s <= elapsed_s:
                return f"{sign} for {elapsed_s:.0f} s"
        return None

    @property
    def _late_s(self) -> float:
        return self.pause_s + 2 * _ANSWER_S + _SLACK_S


def _signs(last: Look, look: Look) -> Iterator[str]:
    if not look.answers:
        yield "tritonserver has not answered"
    for name, model in look.models.items():
        before = last.models.get(name)
        if model.waiting and before is not None and model.done == before.done:
            yield f"the model {name} has let requests wait and done nothing"


class Observer:
    """Looks at a tritonserver that runs.

    Args:
        metrics_url, http_url: HOST:PORT of each.
        group: number of the process group of tritonserver and its stubs.
    """

    def __init__(self, metrics_url: str, http_url: str, group: int) -> None:
        self._metrics_url = metrics_url
        self._http_url = http_url
        self._group = group

    def look(self) -> Look:
        """Return what is seen; takes up to 4 s where nobody answers."""
        metrics = _answer(self._metrics_url, "/metrics")
        # Metrics may be off, or the part of tritonserver that gathers them is busy.
        answers = metrics is not None or _answer(self._http_url, "/v2/health/live") is not None
        busy_s, at_work = activity(self._group)
        if at_work:
            # One that only woke up for a moment, as to answer here, is asleep again by then.
            time.sleep(_MOMENT_S)
            at_work &= activity(self._group)[1]
        return Look(time.monotonic(), answers, parse_models(metrics or ""), busy_s, bool(at_work))


def parse_models(metrics: str) -> dict[str, Model]:
    """Return what the text of Triton's metrics tells of each model; versions count together."""
    waiting: defaultdict[str, float] = defaultdict(float)
    done: defaultdict[str, float] = defaultdict(float)
    for name, model, rest, value in _COUNTED.findall(metrics):
        # Who gives up waiting, or is sent away, was not worked on.
        if 'reason="CANCELED"' not in rest and 'reason="REJECTED"' not in rest:
            (waiting if name == "pending_request_count" else done)[model] += float(value)
    return {model: Model(waiting[model], done[model]) for model in waiting.keys() | done.keys()}


def _answer(url: str, path: str) -> str | None:
    """Return what is said at a path, with whatever status; None if nothing is."""
    connection = http.client.HTTPConnection(url, timeout=_ANSWER_S)
    try:
        connection.request("GET", path)
        return connection.getresponse().read().decode(errors="replace")
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


def activity(group: int) -> tuple[float, set[str]]:
    """Return the processor time of the processes of a group, and their threads that have work."""
    ticks = 0
    at_work = set()
    for process in Path("/proc").glob("[0-9]*"):
        fields = _stat(process)
        if fields is None or int(fields[2]) != group:
            continue
        ticks += int(fields[11]) + int(fields[12])
        for thread in process.glob("task/[0-9]*"):
            state = _stat(thread)
            if state is not None and state[0] in _AT_WORK:
                at_work.add(thread.name)
    return ticks / _TICKS, at_work


def _stat(folder: Path) -> list[str] | None:
    """Return the fields of /proc/.../stat from the state on; None if it has just ended."""
    try:
        # "PID (NAME) STATE ...", and a name may hold spaces and brackets
        return (folder / "stat").read_text().rpartition(") ")[2].split()
    except OSError:
        return None
