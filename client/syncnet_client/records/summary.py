"""What a batch says in a few numbers, with intervals: what goes into a table of a paper.

Intervals are percentiles of a bootstrap over clips: 2,000 times as many clips as there are drawn
with replacement. The faces of a clip are no samples of their own, so they are drawn with it. The
draws are seeded from the numbers themselves: the same clips give the same interval in any order.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import PurePath
from typing import Any

import numpy as np
import numpy.typing as npt

from syncnet_client.errors import UsageError
from syncnet_client.scoring.protocols import PROTOCOLS

__all__ = ["Difference", "Estimate", "SetSummary", "Summary", "summarize"]

Row = Mapping[str, Any]
Floats = npt.NDArray[np.float64]
# Of one clip: a value for each line that counts.
Lines = Sequence[float]

DRAWS = 2000
PERCENTILES = (2.5, 97.5)
CLOSE_FRAMES = 1

# What numbers must have in common before they are averaged, and the columns that tell.
_COMMON: dict[str, Callable[[Row], object]] = {
    "protocol": lambda row: _protocol(row),
    "weights": lambda row: row.get("weights") or row.get("model_versions") or "unnamed",
    "detector": lambda row: row.get("detector") or "none",
}


@dataclass(frozen=True)
class Estimate:
    """A number and its interval.

    Attributes:
        value: of all clips.
        low, high: 95 % of the draws lie between them.
    """

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class SetSummary:
    """One set of clips.

    Attributes:
        name: of the file, and of the group in it.
        clips: in the set.
        scored: of those.
        failed: those that could not be scored, by the type of the error.
        means, medians: by column: ``lse_d`` and ``lse_c`` under a protocol, else ``min_distance``
            and ``confidence``.
        within_one: share of the scored clips whose offset is at most one frame.
        offsets: how many scored clips have each offset, in frames.
        common: protocol, weights and detector; several where averaging them was allowed.
    """

    name: str
    clips: int
    scored: int
    failed: Mapping[str, int]
    means: Mapping[str, Estimate]
    medians: Mapping[str, Estimate]
    within_one: Estimate | None
    offsets: Mapping[int, int]
    common: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True)
class Difference:
    """What one set has more than another, over the clips of the same file name.

    Attributes:
        first, second: names of the sets; the difference is the first minus the second.
        pairs: clips that are scored in both; a file name that a set has twice is in none.
        means: mean difference by column; and of the share within a frame, as ``within_one``.
    """

    first: str
    second: str
    pairs: int
    means: Mapping[str, Estimate]


@dataclass(frozen=True)
class Summary:
    """One or more sets.

    Attributes:
        sets: in the order given.
        differences: of every two sets.
    """

    sets: tuple[SetSummary, ...]
    differences: tuple[Difference, ...]

    @property
    def notes(self) -> tuple[str, ...]:
        """A sentence for each thing that the sets do not have in common."""
        return tuple(
            f"the sets differ in {name}: {'; '.join(sorted(map(', '.join, values)))}"
            for name in _COMMON
            if len(values := {each.common[name] for each in self.sets if each.scored}) > 1
        )


def summarize(
    results: Mapping[str, Sequence[Row]], *, by: str | None = None, mixed: bool = False
) -> Summary:
    """Summarize sets of clips, and compare them where there are several.

    Args:
        results: rows of ``records.record.COLUMNS`` for each file, by its name.
        by: column whose values split each file into sets.
        mixed: average results of different protocols, weights and detectors.

    Raises:
        UsageError: there is no such column, or a set mixes what is not to be averaged.
    """
    sets = dict(_split(results, by))
    summaries = tuple(_summarize(name, rows, mixed=mixed) for name, rows in sets.items())
    differences = tuple(
        _compare(first, second, sets[first], sets[second])
        for first, second in combinations(sets, 2)
    )
    return Summary(summaries, tuple(each for each in differences if each.pairs))


def _split(
    results: Mapping[str, Sequence[Row]], by: str | None
) -> Sequence[tuple[str, Sequence[Row]]]:
    if by is None:
        return list(results.items())
    sets: dict[str, list[Row]] = {}
    for name, rows in results.items():
        for row in rows:
            if by not in row:
                raise UsageError(f"--by {by}: there is no such column; there are {', '.join(row)}")
            label = f"{by}={_text(row[by])}"
            sets.setdefault(label if len(results) == 1 else f"{name}, {label}", []).append(row)
    return sorted(sets.items())


def _summarize(name: str, rows: Sequence[Row], *, mixed: bool) -> SetSummary:
    scored = [row for row in rows if row["status"] == "ok"]
    failed = Counter(str(row["error_type"]) for row in rows if row["status"] != "ok")
    common = {
        what: tuple(sorted({str(value(row)) for row in scored})) for what, value in _COMMON.items()
    }
    for what, values in common.items():
        if len(values) > 1 and not mixed:
            raise UsageError(
                f"{name} mixes results that differ in {what} ({', '.join(values)}), so a mean "
                "says nothing: split them with --by, or pass --mixed"
            )
    spread = {
        column: _spread([_lines(row, column) for row in scored]) for column in _columns(scored)
    }
    close = [[float(_close(row))] for row in scored]
    return SetSummary(
        name=name,
        clips=len(rows),
        scored=len(scored),
        failed=dict(failed.most_common()),
        means={column: mean for column, (mean, _) in spread.items()},
        medians={column: median for column, (_, median) in spread.items()},
        within_one=_spread(close)[0] if close else None,
        offsets=dict(sorted(Counter(map(_offset, scored)).items())),
        common=common,
    )


def _compare(first: str, second: str, left: Sequence[Row], right: Sequence[Row]) -> Difference:
    by_name, others = _by_file_name(left), _by_file_name(right)
    pairs = [(by_name[name], others[name]) for name in by_name if name in others]
    both = [row for pair in pairs for row in pair]
    means = {}
    if pairs:
        for column in _columns(both):
            means[column] = _spread(
                [[float(np.mean(_lines(a, column)) - np.mean(_lines(b, column)))] for a, b in pairs]
            )[0]
        means["within_one"] = _spread([[float(_close(a)) - float(_close(b))] for a, b in pairs])[0]
    return Difference(first, second, len(pairs), means)


def _by_file_name(rows: Sequence[Row]) -> dict[str, Row]:
    names = Counter(PurePath(row["clip"]).name for row in rows)
    return {
        name: row
        for row in rows
        if row["status"] == "ok" and names[name := PurePath(row["clip"]).name] == 1
    }


def _columns(scored: Sequence[Row]) -> Sequence[str]:
    """What to average: names that papers use only where every clip has them."""
    if not scored:
        return ()
    under_protocol = all(row.get("lse_d") is not None for row in scored)
    return ("lse_d", "lse_c") if under_protocol else ("min_distance", "confidence")


def _lines(row: Row, column: str) -> Lines:
    """The clip's value; of each of its faces where the protocol gives each a line of its own."""
    protocol = PROTOCOLS.get(row.get("protocol") or "")
    if protocol is not None and protocol.of_tracks == "each" and row.get("track_lse"):
        faces = json.loads(row["track_lse"])
        if column in faces[0]:
            return [float(face[column]) for face in faces]
    return [float(row[column])]


def _offset(row: Row) -> int:
    """As the protocol has it, where there is one."""
    offset = row.get("protocol_offset_frames")
    return int(row["offset_frames"] if offset is None else offset)


def _close(row: Row) -> bool:
    return abs(_offset(row)) <= CLOSE_FRAMES


def _protocol(row: Row) -> str:
    name = row.get("protocol") or "none"
    return f"{name} with --lossy" if row.get("lossy") else str(name)


def _text(value: object) -> str:
    return "none" if value in (None, "") else str(value)


def _spread(clips: Sequence[Lines]) -> tuple[Estimate, Estimate]:
    """Mean and median over all lines; at least one clip."""
    clips = sorted(map(sorted, clips))  # so that the order of the records does not matter
    values = np.array([value for lines in clips for value in lines])
    clip_of_line = np.repeat(np.arange(len(clips)), [len(lines) for lines in clips])
    order = np.argsort(values, kind="stable")
    values, clip_of_line = values[order], clip_of_line[order]
    seed = hashlib.sha256(values.tobytes()).digest()[:8]
    random = np.random.default_rng(int.from_bytes(seed, "little"))
    draws = np.empty((DRAWS, 2))
    for draw in draws:
        drawn = random.integers(len(clips), size=len(clips))
        draw[:] = _mean_and_median(values, np.bincount(drawn, minlength=len(clips))[clip_of_line])
    low, high = np.percentile(draws, PERCENTILES, axis=0)
    mean, median = _mean_and_median(values, np.ones(len(values), np.intp))
    return (
        Estimate(mean, float(low[0]), float(high[0])),
        Estimate(median, float(low[1]), float(high[1])),
    )


def _mean_and_median(values: Floats, times: npt.NDArray[np.intp]) -> tuple[float, float]:
    """Of rising values that are there so many times each."""
    ends = np.cumsum(times)
    middle = ends[-1] / 2
    below = values[np.searchsorted(ends, middle, "left")]
    above = values[np.searchsorted(ends, middle, "right")]
    return float(values @ times / ends[-1]), float((below + above) / 2)
