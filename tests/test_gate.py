"""Exit status 3: clips that were scored but do not pass."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from commandline import run, write_clip
from fakes import FakeTriton
from results import DOUBT, result_of

from syncnet_client.commands.gate import Gate


@pytest.mark.parametrize(
    ("gate", "offset", "trusted", "why"),
    [
        (Gate(), 9, False, None),
        (Gate(require_trusted=True), 9, True, None),
        (
            Gate(require_trusted=True),
            0,
            False,
            DOUBT.text,
        ),
        (Gate(max_offset_ms=120), -3, True, None),
        (Gate(max_offset_ms=100), -3, True, "the offset is -120 ms, and 100 ms are allowed"),
        (Gate(max_offset_ms=0), 0, True, None),
        (Gate(max_offset_ms=100), 9, False, None),  # an unknown offset is none that is too large
    ],
)
def test_what_passes(gate: Gate, offset: int, trusted: bool, why: str | None) -> None:
    assert gate.failure(result_of("a.mp4", offset=offset, trusted=trusted).to_dict()) == why


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two clips whose sound is noise: no offset of theirs is trusted."""
    folder = tmp_path_factory.mktemp("clips")
    return [write_clip(folder / f"{name}.mkv", frames=40) for name in "ab"]


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with FakeTriton() as server:
        yield server.url


def test_a_clip_that_does_not_pass_is_scored_and_named(url: str, clips: list[Path]) -> None:
    done = run("score", clips[0], "--require-trusted", "--url", url)
    assert done.returncode == 3
    assert "not to be trusted" in done.stdout
    assert done.stderr.startswith(f"syncnet-client: {clips[0]} does not pass: ")
    assert run("score", clips[0], "--max-offset-ms", 0, "--url", url).returncode == 0


def test_a_batch_counts_and_lists_what_does_not_pass(url: str, clips: list[Path]) -> None:
    done = run("score", *clips, "--require-trusted", "--url", url)
    assert done.returncode == 3
    assert len(done.stdout.splitlines()) == 2
    for clip in clips:
        assert f"{clip} does not pass: " in done.stderr
    assert "2 of 2 clips do not pass" in done.stderr
    broken = run("score", *clips, clips[0].parent / "c.mkv", "--require-trusted", "--url", url)
    assert broken.returncode == 1
