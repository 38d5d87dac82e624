"""Read tritonserver's log: why it did not start, in one line."""

from __future__ import annotations

import re

_LINE = re.compile(r'^(?P<level>[EWI])\d{4} \S+ \d+ (?P<source>\S+)\] +"?(?P<text>.*?)"?\s*$')
_FAILED_MODEL = re.compile(
    r"failed to load '(?P<model>[^']+)' version (?P<version>\d+): (?P<why>.*)"
)
_TAKEN = re.compile(r"Socket '(?P<address>[^']+)' already in use")


def startup_failure(log: str) -> str:
    """Return the reason in the log of a tritonserver that ended before it was ready."""
    if taken := _TAKEN.search(log):
        return f"{taken['address']} is already in use; choose another port"
    errors = [m["text"] for m in map(_LINE.match, log.splitlines()) if m and m["level"] == "E"]
    for text in errors:
        if failed := _FAILED_MODEL.search(text):
            return f"model {failed['model']} version {failed['version']}: {failed['why']}"
    if errors:
        return errors[-1]
    lines = log.strip().splitlines()
    return lines[-1] if lines else "it ended without a word"
