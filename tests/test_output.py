"""Files of records: nothing is lost or doubled, whatever happens to the process that writes."""

from __future__ import annotations

import csv
import json
import multiprocessing
import sys
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from results import result_of

from syncnet_client.errors import NoFaceError, SyncNetError, UsageError
from syncnet_client.records.open import open_output
from syncnet_client.records.parquet import ParquetOutput
from syncnet_client.records.record import Record

SUFFIXES = [".jsonl", ".csv", ".parquet"]


def scored(clip: str) -> Record:
    return Record.scored(clip, result_of(clip))


def failed(clip: str) -> Record:
    return Record.failed(clip, NoFaceError(f"{clip}: no face\nanywhere"))


def rows(path: Path) -> list[dict[str, Any]]:
    """Everything in an output that has been closed, read with other people's code."""
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in path.read_text().splitlines()]
    if path.suffix == ".csv":
        with path.open(newline="") as file:
            return list(csv.DictReader(file))
    return pyarrow.parquet.read_table(path).to_pylist()


def clips(path: Path) -> list[tuple[str, str]]:
    return [(row["clip"], row["status"]) for row in rows(path)]


@pytest.fixture(params=SUFFIXES)
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return tmp_path / f"results{request.param}"


def write(path: Path, *records: Record) -> set[str]:
    """Append records in a run of its own; the clips that were done before."""
    with open_output(path) as output:
        done = set(output.done)
        for record in records:
            output.append(record)
    return done


def test_a_later_run_adds_to_what_is_there(path: Path) -> None:
    assert write(path, scored("a"), failed("b")) == set()
    assert write(path) == {"a"}
    assert write(path, scored("b")) == {"a"}
    assert write(path) == {"a", "b"}
    assert clips(path) == [("a", "ok"), ("b", "failed"), ("b", "ok")]


def test_columns(tmp_path: Path) -> None:
    for suffix in (".csv", ".parquet"):
        write(tmp_path / f"results{suffix}", scored("a"), failed("b"))
    text, text_failed = rows(tmp_path / "results.csv")
    row, row_failed = rows(tmp_path / "results.parquet")

    assert (row["offset_frames"], row["offset_ms"], row["confidence"]) == (3, 120, 4.25)
    assert (text["offset_frames"], text["offset_ms"], text["confidence"]) == ("3", "120", "4.25")
    assert row["trusted"] is False
    assert row["reasons"] == "only 0.2 s can be compared; at least 1 s is needed"
    assert row["warnings"] == text["warnings"] == "late"
    assert json.loads(row["model_versions"]) == {"audio_tower": "2", "video_tower": "2"}
    assert len(row["mean_distances"]) == 21
    assert len(row["frame_confidence"]) == len(row["times"]) == 4
    assert set(row) - set(text) == {"box", "mean_distances", "frame_confidence", "times"}

    assert (row_failed["error_type"], row_failed["error"]) == ("NoFaceError", "b: no face anywhere")
    assert row_failed["offset_frames"] is None
    assert text_failed["offset_frames"] == ""


def test_json_lines_hold_the_whole_result(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    write(path, scored("a"))
    (line,) = rows(path)
    assert line == {**result_of("a").to_dict(), "status": "ok"}


@settings(max_examples=40)
@given(
    names=st.lists(st.text(st.characters(codec="utf-8"), min_size=1), min_size=1, max_size=5),
    cut=st.integers(min_value=1, max_value=400),
)
@pytest.mark.parametrize("suffix", [".jsonl", ".csv"])
def test_half_a_record_at_the_end_is_cut_off(
    tmp_path_factory: pytest.TempPathFactory, suffix: str, names: list[str], cut: int
) -> None:
    """Any names, line breaks and quotes included; any number of bytes missing."""
    names = list(dict.fromkeys(names))
    path = tmp_path_factory.mktemp("cut") / f"results{suffix}"
    write(path, *map(scored, names))
    complete = path.read_bytes()
    path.write_bytes(complete[:-cut])

    with open_output(path) as output:
        missing = [name for name in names if name not in output.done]
        assert names[-1] in missing
        for name in missing:
            output.append(scored(name))
    assert path.read_bytes() == complete


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_killed_run_loses_nothing(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"results{suffix}"
    context = multiprocessing.get_context("spawn")
    process = context.Process(target=_write_and_die, args=(path, sys.path))
    process.start()
    process.join()
    assert process.exitcode == 9
    assert write(path, scored("c")) == {"a", "b"}
    assert clips(path) == [("a", "ok"), ("b", "ok"), ("c", "ok")]
    if path.is_dir():
        assert [part.name for part in path.iterdir()] == ["part-000001.parquet"]


def _write_and_die(path: Path, search_path: list[str]) -> None:
    import os

    sys.path[:] = search_path
    output = open_output(path)
    output.append(scored("a"))
    output.append(scored("b"))
    os._exit(9)  # no cleaning up, as when the process is killed


def test_parquet_parts(tmp_path: Path) -> None:
    folder = tmp_path / "results.parquet"
    with ParquetOutput(folder, part_records=2) as output:
        for name in "abc":
            output.append(scored(name))
        assert sorted(p.name for p in folder.iterdir()) == [
            "_journal-000002.jsonl",
            "part-000001.parquet",
        ]
        # What is there can be read while the run goes on.
        assert clips(folder) == [("a", "ok"), ("b", "ok")]
    assert clips(folder) == [("a", "ok"), ("b", "ok"), ("c", "ok")]


def test_a_kill_between_a_part_and_the_end_of_its_journal_doubles_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "results.parquet"
    write(folder, scored("a"))
    (folder / "_journal-000001.jsonl").write_text(scored("a").to_json() + "\n")
    (folder / "_part-000002.tmp").write_bytes(b"half a part")
    assert write(folder, scored("b")) == {"a"}
    assert clips(folder) == [("a", "ok"), ("b", "ok")]
    assert len(list(folder.iterdir())) == 2


def test_two_runs_do_not_write_to_one_output(path: Path) -> None:
    with open_output(path), pytest.raises(SyncNetError, match="is being written by another run"):
        open_output(path)
    open_output(path).close()


@pytest.mark.parametrize("suffix", [".jsonl", ".csv"])
@pytest.mark.parametrize("content", ["dear diary\nno line break", '{"clip": 1}\n', "clip,status\n"])
def test_a_file_of_something_else_is_left_alone(tmp_path: Path, suffix: str, content: str) -> None:
    path = tmp_path / f"results{suffix}"
    path.write_text(content)
    with pytest.raises(UsageError, match="holds something that is not a record"):
        open_output(path)
    assert path.read_text() == content


def test_places_that_cannot_be_written_to(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"suffixes \.jsonl, \.csv, \.parquet"):
        open_output(tmp_path / "results.txt")
    with pytest.raises(UsageError, match="No such file or directory"):
        open_output(tmp_path / "nowhere" / "results.jsonl")
    (tmp_path / "file.parquet").touch()
    with pytest.raises(UsageError, match="is a file; records are written to a folder"):
        open_output(tmp_path / "file.parquet")
    folder = tmp_path / "other.parquet"
    folder.mkdir()
    (folder / "part-000001.parquet").write_text("something else")
    with pytest.raises(UsageError, match="is not a part of records"):
        open_output(folder)


def test_a_missing_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(SyncNetError, match=r"pip install 'pyarrow<26,>=15'"):
        open_output(tmp_path / "results.parquet")
