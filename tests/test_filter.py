"""Keep clips by an expression: which, why not the others, and nothing but the expression."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path

import pytest
from commandline import run
from results import result_of

from syncnet_client.errors import SyncNetError, UsageError
from syncnet_client.records.filter import select
from syncnet_client.records.open import open_output
from syncnet_client.records.read import read_rows
from syncnet_client.records.record import Record

CURATION = "abs(offset_frames) <= 3 and confidence >= 4 and trusted"


def records() -> list[Record]:
    """Offsets from -5 to 6; every fourth is doubtful, every fifth not confident; two failed."""
    made = []
    for number in range(12):
        result = result_of(f"{number:02}.mp4", offset=number - 5, trusted=number % 4 != 3)
        values = result.to_dict() | {"confidence": 3.0 if number % 5 == 0 else 5.0}
        made.append(Record(f"{number:02}.mp4", result=values))
    made.append(Record("dark.mp4", error="no face", error_type="NoFaceError"))
    made.append(Record("cut.mp4", error="broken", error_type="MediaError"))
    return made


def write(path: Path) -> Path:
    with open_output(path) as output:
        output.append(Record("04.mp4", error="gone", error_type="MediaError"))
        for record in records():
            output.append(record)
    return path


EXPECTED = ["04.mp4", "02.mp4", "06.mp4", "08.mp4"]  # 04 was tried first


@pytest.mark.parametrize("suffix", [".jsonl", ".csv", ".parquet"])
def test_clips_are_kept_and_the_reasons_of_the_others_counted(tmp_path: Path, suffix: str) -> None:
    results = write(tmp_path / f"results{suffix}")
    done = run("filter", results, "--where", CURATION, "--output", tmp_path / "kept.csv")
    assert done.returncode == 0, done.stderr
    with (tmp_path / "kept.csv").open(newline="") as file:
        assert [row["clip"] for row in csv.DictReader(file)] == EXPECTED
    assert done.stdout.splitlines() == [
        f"14 clips: {len(EXPECTED)} kept, {14 - len(EXPECTED)} not",
        "      1 not scored: NoFaceError",
        "      1 not scored: MediaError",
        "      5 not (abs(offset_frames) <= 3)",
        "      3 not (confidence >= 4)",
        "      3 not trusted",
    ]
    # What was kept is a file of records.
    assert [row["clip"] for row in read_rows(tmp_path / "kept.csv")] == EXPECTED
    assert select(read_rows(tmp_path / "kept.csv"), CURATION).kept != ()


def test_whole_records_are_kept_out_of_json_lines(tmp_path: Path) -> None:
    results, kept = write(tmp_path / "results.jsonl"), tmp_path / "kept.jsonl"
    assert run("filter", results, "--where", CURATION, "--output", kept).returncode == 0
    lines = results.read_text().splitlines()
    newest = {json.loads(line)["clip"]: line for line in lines}
    assert kept.read_text().splitlines() == [newest[clip] for clip in EXPECTED]


def test_only_what_is_met_is_kept() -> None:
    rows = [record.to_row() for record in records()]
    assert select(rows, "drift = 'jump'").kept == ()  # where there is none, nothing is met
    assert len(select(rows, "drift is null and status = 'ok'").kept) == 12
    assert [row["clip"] for row in select(rows, "error_type = 'NoFaceError'").kept] == ["dark.mp4"]
    either = select(rows, "offset_frames = 0 or (offset_frames = 1 and trusted) -- the middle\n")
    assert [row["clip"] for row in either.kept] == ["05.mp4", "06.mp4"]


def test_names_that_are_no_text_are_kept() -> None:
    row = records()[5].to_row() | {"clip": "caf\udce9.mp4"}
    assert [kept["clip"] for kept in select([row], "trusted").kept] == ["caf\udce9.mp4"]


@pytest.mark.parametrize(
    ("where", "sentence"),
    [
        ("confidenc > 3", 'Referenced column "confidenc" not found'),
        ("confidence >", "syntax error"),
        ("confidence", "confidence is not a condition, but a DOUBLE"),
        ("true), (true", "is more than one expression"),
        ("true) from clips; drop table clips; select (true", "--where "),
        ("exists(select * from read_csv('/etc/passwd'))", "disabled by configuration"),
    ],
)
def test_what_is_no_condition_is_one_line(where: str, sentence: str) -> None:
    with pytest.raises(UsageError) as caught:
        select([record.to_row() for record in records()], where)
    assert sentence in str(caught.value)
    assert str(caught.value).startswith(f"--where {where!r}")
    assert "\n" not in str(caught.value)


def test_nothing_is_written_over(tmp_path: Path) -> None:
    results, kept = write(tmp_path / "results.jsonl"), tmp_path / "kept.csv"
    kept.write_text("mine")
    command = ["filter", results, "--where", "trusted", "--output"]
    assert "exists already; pass --overwrite" in run(*command, kept).stderr
    assert kept.read_text() == "mine"
    assert "is what is read" in run(*command, results, "--overwrite").stderr
    assert ".csv, or as .jsonl out of a .jsonl" in run(*command, tmp_path / "kept.txt").stderr
    assert run(*command, kept, "--overwrite").returncode == 0
    assert kept.read_text().startswith("clip,status")


def test_without_duckdb_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "duckdb", None)
    with pytest.raises(SyncNetError, match=r"this needs duckdb: pip install 'duckdb>=1\.1'"):
        select([record.to_row() for record in records()], "trusted")
