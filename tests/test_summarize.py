"""Tables for papers: means and medians with intervals, sets side by side, and what is refused."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commandline import run
from results import result_of
from scipy.stats import bootstrap

from syncnet_client.errors import UsageError
from syncnet_client.records.open import open_output
from syncnet_client.records.record import Record
from syncnet_client.records.summary import summarize
from syncnet_client.scoring.protocols import PROTOCOLS

Row = dict[str, Any]


def row(clip: str, *, offset: int = 0, protocol: str | None = "latentsync", **values: Any) -> Row:
    result = replace(result_of(clip, offset=offset), protocol=PROTOCOLS.get(protocol or ""))
    return Record.scored(clip, result).to_row() | values


def rows(count: int, seed: int = 0, folder: str = "a", **values: Any) -> list[Row]:
    random = np.random.default_rng(seed)
    return [
        row(
            f"{folder}/{number:03}.mp4", offset=number % 4, lse_d=float(d), lse_c=float(c), **values
        )
        for number, (d, c) in enumerate(random.normal([8, 6], [1, 2], (count, 2)))
    ]


def failed(clip: str, kind: str = "NoFaceError") -> Row:
    return Record(clip, error=f"{clip}: bad", error_type=kind).to_row()


def test_numbers_of_a_set() -> None:
    made = rows(40)
    done = summarize({"ours": [*made, failed("x.mp4"), failed("y.mp4"), failed("z", "MediaError")]})
    (ours,) = done.sets
    assert (ours.clips, ours.scored) == (43, 40)
    assert dict(ours.failed) == {"NoFaceError": 2, "MediaError": 1}
    for column in ("lse_d", "lse_c"):
        values = np.array([each[column] for each in made])
        assert ours.means[column].value == pytest.approx(values.mean())
        assert ours.medians[column].value == pytest.approx(np.median(values))
        for estimate, statistic in ((ours.means, np.mean), (ours.medians, np.median)):
            other = bootstrap((values,), statistic, method="percentile", rng=1).confidence_interval
            width = other.high - other.low
            assert estimate[column].low == pytest.approx(other.low, abs=0.2 * width)
            assert estimate[column].high == pytest.approx(other.high, abs=0.2 * width)
    assert ours.within_one is not None
    assert ours.within_one.value == 0.5
    assert dict(ours.offsets) == {0: 10, 1: 10, 2: 10, 3: 10}
    assert done.differences == ()


def test_the_order_of_the_records_changes_nothing() -> None:
    made = rows(20)
    assert summarize({"a": made}) == summarize({"a": made[::-1]})


def test_users_of_wav2lip_real_average_lines_and_draws_are_over_clips() -> None:
    """One clip of four faces counts four times, and is drawn as one."""
    faces = [{"offset_frames": 0, "lse_d": d, "lse_c": 1.0} for d in (10.0, 10.0, 10.0, 10.0)]
    many = row("many.mp4", protocol="wav2lip-real", track_lse=json.dumps(faces), lse_d=10.0)
    one = row("one.mp4", protocol="wav2lip-real", track_lse=json.dumps(faces[:1]), lse_d=10.0)
    one["track_lse"] = json.dumps([faces[0] | {"lse_d": 5.0}])
    (done,) = summarize({"a": [many, one]}).sets
    assert done.means["lse_d"].value == 9.0
    # Draws of two clips: both the one, both the other, one of each.
    assert (done.means["lse_d"].low, done.means["lse_d"].high) == (5.0, 10.0)
    assert done.medians["lse_d"].value == 10.0
    (plain,) = summarize(
        {"a": [each | {"protocol": "latentsync"} for each in (many, one | {"lse_d": 5.0})]}
    ).sets
    assert plain.means["lse_d"].value == 7.5


def test_sets_are_compared_by_file_name() -> None:
    ours = rows(30, folder="ours")
    theirs = [
        each | {"clip": each["clip"].replace("ours", "theirs"), "lse_d": each["lse_d"] + 0.5}
        for each in ours[10:]
    ]
    done = summarize({"ours": ours, "theirs": [*theirs, failed("theirs/000.mp4")]})
    (difference,) = done.differences
    assert (difference.first, difference.second, difference.pairs) == ("ours", "theirs", 20)
    gain = difference.means["lse_d"]
    assert (gain.value, gain.low, gain.high) == pytest.approx((-0.5, -0.5, -0.5))
    assert difference.means["lse_c"].value == pytest.approx(0)
    # A name that stands for two clips stands for neither.
    twice = [*theirs, row("elsewhere/010.mp4")]
    assert summarize({"ours": ours, "theirs": twice}).differences[0].pairs == 19


@pytest.mark.parametrize(
    ("column", "values", "word"),
    [
        ("protocol", ["syncnet", "latentsync"], "protocol"),
        ("weights", ["official", "mine"], "weights"),
        ("detector", ["haar", "yunet"], "detector"),
    ],
)
def test_what_does_not_compare_is_not_averaged(
    column: str, values: Sequence[str], word: str
) -> None:
    both = [*rows(3, **{column: values[0]}), *rows(3, folder="b", **{column: values[1]})]
    sentence = (
        rf"a mixes results that differ in {word} \({', '.join(sorted(values))}\), so a mean says "
        "nothing: split them with --by, or pass --mixed"
    )
    with pytest.raises(UsageError, match=sentence):
        summarize({"a": both})
    assert summarize({"a": both}, mixed=True).sets[0].clips == 6
    split = summarize({"a": both}, by=column)
    assert [each.name for each in split.sets] == [f"{column}={value}" for value in sorted(values)]
    assert split.differences[0].pairs == 3
    assert split.notes == (f"the sets differ in {word}: {'; '.join(sorted(values))}",)


def test_outside_of_a_protocol_the_numbers_have_other_names() -> None:
    (done,) = summarize({"a": [row("a.mp4", protocol=None, confidence=5.0)]}).sets
    assert {name: each.value for name, each in done.means.items()} == {
        "min_distance": 6.5,
        "confidence": 5.0,
    }
    with pytest.raises(UsageError, match="--by colour: there is no such column; there are clip,"):
        summarize({"a": rows(2)}, by="colour")


def write(path: Path, made: Sequence[tuple[str, int]]) -> Path:
    with open_output(path) as output:
        for clip, offset in made:
            result = replace(result_of(clip, offset=offset), protocol=PROTOCOLS["latentsync"])
            output.append(Record.scored(clip, result))
        output.append(Record("dark_1.mp4", error="dark", error_type="NoFaceError"))
    return path


def test_formats(tmp_path: Path) -> None:
    first = write(tmp_path / "our_s.jsonl", [("a.mp4", 0), ("b.mp4", 3)])
    second = write(tmp_path / "theirs.csv", [("a.mp4", 1), ("b.mp4", 0)])

    def printed(kind: str) -> str:
        done = run("summarize", first, second, "--format", kind)
        assert done.returncode == 0, done.stderr
        return done.stdout

    markdown = printed("markdown")
    assert "| our_s | 3 | 1 | 6.50 [6.50, 6.50] |" in markdown
    assert "| our_s - theirs | 2 | +0.00 [+0.00, +0.00] |" in markdown
    assert "| +3 | 1 | 0 |" in markdown
    latex = printed("latex")
    assert r"our\_s & 3 & 1 & 6.50 [6.50, 6.50] &" in latex
    assert latex.count(r"\begin{tabular}") == latex.count(r"\bottomrule") == 4
    found = list(csv.DictReader(io.StringIO(printed("csv"))))
    assert {"set": "our_s", "minus": "", "statistic": "failed", "of": "NoFaceError", "value": "1",
            "low": "", "high": ""} in found  # fmt: skip
    assert [each["value"] for each in found if each["of"] == "pairs"] == ["2"]
    whole = json.loads(printed("json"))
    assert whole["sets"][1]["means"]["lse_c"]["value"] == 4.25
    assert whole["sets"][0]["within_one"]["value"] == 0.5
    table = printed("table")
    assert "LSE-D, mean" in table
    assert "NoFaceError" in table
    assert all(line == line.rstrip() for line in table.splitlines())


def test_errors_are_one_line(tmp_path: Path) -> None:
    results = write(tmp_path / "a.jsonl", [("a.mp4", 0)])
    done = run("summarize", results, results)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "a set is named twice" in done.stderr
    assert "no such file" in run("summarize", tmp_path / "none.jsonl").stderr
