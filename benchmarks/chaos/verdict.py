"""What a chaos run says: counts from the records, the quiet results, and the outages."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

__all__ = ["Outcome", "judge", "longest_outage_s", "longest_outages_s"]


@dataclass(frozen=True)
class Outcome:
    """Of the clips of one site; all but `clips` should be 0.

    Attributes:
        clips: that were to be scored.
        lost: without a record.
        doubled: with more than one result.
        different: whose result is not, bit for bit, that of a quiet run.
        false_failures: records that say a clip could not be scored; every clip can.
    """

    clips: int
    lost: int
    doubled: int
    different: int
    false_failures: int


def judge(records: Iterable[Mapping[str, Any]], quiet: Mapping[str, Mapping[str, Any]]) -> Outcome:
    """Compare the records of a run with those of a quiet one.

    Args:
        records: what the client wrote, in any order; `clip` is a key of `quiet`, `error` is in
            those of failures.
        quiet: the record of each clip.
    """
    scored: Counter[str] = Counter()
    different = failures = 0
    for record in records:
        if "error" in record:
            failures += 1
        else:
            scored[record["clip"]] += 1
            different += record != quiet.get(record["clip"])
    return Outcome(
        clips=len(quiet),
        lost=sum(clip not in scored for clip in quiet),
        doubled=sum(count > 1 for count in scored.values()),
        different=different,
        false_failures=failures,
    )


def longest_outage_s(
    answered: Sequence[float], paused: Sequence[tuple[float, float]] = ()
) -> float:
    """Return the longest time between two answers, less what a fault itself held the site still.

    Args:
        answered: times of answers to a probe, rising, in seconds.
        paused: (start, end) of the times in which a disk was full.
    """
    return max((length for _, length in _outages(answered, paused)), default=0.0)


def longest_outages_s(
    answered: Sequence[float],
    paused: Sequence[tuple[float, float]],
    faults: Sequence[tuple[float, str]],
) -> dict[str, float]:
    """Return the longest time between two answers, by the kind of the last fault before its end.

    Args:
        answered, paused: as for `longest_outage_s`.
        faults: when each began, rising, and its kind.
    """
    longest: defaultdict[str, float] = defaultdict(float)
    begins = [began for began, _ in faults]
    for end, length in _outages(answered, paused):
        number = bisect_left(begins, end)
        if number:
            kind = faults[number - 1][1]
            longest[kind] = max(longest[kind], length)
    return dict(longest)


def _outages(
    answered: Sequence[float], paused: Sequence[tuple[float, float]]
) -> Iterator[tuple[float, float]]:
    """Yield the end of each time between two answers, and its length without pauses."""
    for before, after in pairwise(answered):
        held = sum(max(0.0, min(after, end) - max(before, start)) for start, end in paused)
        yield after, after - before - held
