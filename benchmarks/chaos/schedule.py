"""Which fault comes when: a list that depends on its seed alone."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["SITES", "WEIGHTS", "Planned", "plan"]

SITES = ("alone", "replicas")

# How often each kind comes, relative to the others.
WEIGHTS: Mapping[str, int] = {
    "kill tritonserver": 5,
    "kill stub": 5,
    "kill guardian": 4,
    "kill server": 4,
    "stop server in order": 3,
    "kill client": 4,
    "interrupt client": 3,
    "pause tritonserver": 1,
    "pause stub": 1,
    "cancel streams": 4,
    "hostile HTTP": 3,
    "hostile gRPC": 3,
    "full shared memory": 1,
    "full disk": 1,
}


@dataclass(frozen=True)
class Planned:
    """One fault: its kind, the site that it hits, and a number that settles what is left open."""

    kind: str
    site: str
    seed: int


def plan(count: int, seed: int, kinds: Mapping[str, int] = WEIGHTS) -> list[Planned]:
    """Return `count` faults; each kind comes before any comes twice as far as `count` allows."""
    source = random.Random(seed)
    first = source.sample(sorted(kinds), len(kinds))[:count]
    more = source.choices(list(kinds), list(kinds.values()), k=count - len(first))
    order = first + more
    source.shuffle(order)
    return [
        Planned(kind, SITES[index % len(SITES)], source.randrange(2**32))
        for index, kind in enumerate(order)
    ]
