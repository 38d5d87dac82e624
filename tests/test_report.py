"""The report of a batch: from records in every format to a page that works from disk."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any

import pytest
from browsers import WAIT_MS, chromium, needs_chromium, until
from commandline import run, write_clip
from fakes import FakeTriton
from results import result_of

from syncnet_client.batch.threads import Tally
from syncnet_client.commands.gate import Gate
from syncnet_client.commands.many import score_many
from syncnet_client.errors import ServerUnavailableError, UsageError
from syncnet_client.records.open import open_output
from syncnet_client.records.read import read_rows
from syncnet_client.records.record import Record
from syncnet_client.render.report import LiveReport, write_report

HOSTILE = "</script><b>bold</b>.mp4"


def records(folder: Path) -> list[Record]:
    """Twelve scored clips, three of them doubtful, and two that failed."""
    real = write_clip(folder / "real.mkv", size=128)
    made = []
    for number in range(12):
        name = [str(real), HOSTILE][number] if number < 2 else f"clips/{number:02}.mp4"
        result = result_of(name, offset=number - 5, windows=100, trusted=number % 4 != 3)
        values = result.to_dict() | {"agreement": 1 - number / 20, "confidence": 1.0 + number}
        made.append(Record(name, result=values))
    made += [
        Record(f"bad-{kind}.mp4", error=f"bad-{kind}.mp4: {kind}", error_type="NoFaceError")
        for kind in ("one", "two")
    ]
    return made


@pytest.mark.parametrize("suffix", [".jsonl", ".csv", ".parquet"])
def test_the_newest_record_of_each_clip_is_read(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"results{suffix}"
    written = records(tmp_path)
    with open_output(path) as output:
        output.append(Record("clips/02.mp4", error="gone", error_type="MediaError"))
        for record in written:
            output.append(record)
    rows = {row["clip"]: row for row in read_rows(path)}
    assert len(rows) == 14
    assert rows["clips/02.mp4"]["status"] == "ok"
    for record in written:
        expected = record.to_row()
        for name in ("offset_frames", "confidence", "trusted", "error_type", "windows"):
            assert (rows[record.clip][name] or None) == (expected[name] or None), name
    if suffix != ".csv":
        assert rows["clips/02.mp4"]["mean_distances"] is not None


def test_records_are_read_while_they_are_written(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    with open_output(path) as output:
        output.append(records(tmp_path)[2])
        with path.open("ab") as file:
            file.write(b'{"clip": "half')
        assert [row["clip"] for row in read_rows(path)] == ["clips/02.mp4"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("none.jsonl", None, "no such file"),
        ("clip.mp4", "x", "is not a file of records"),
        ("other.jsonl", '{"a": 1}\n', "holds something that is not a record"),
        ("empty.jsonl", "", "holds no records"),
    ],
)
def test_what_holds_no_records_is_one_line(
    tmp_path: Path, name: str, content: str | None, message: str
) -> None:
    if content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises(UsageError, match=message):
        read_rows(tmp_path / name)


def test_the_command_writes_one_small_page_and_replaces_none(tmp_path: Path) -> None:
    path, page = tmp_path / "results.jsonl", tmp_path / "report.html"
    with path.open("w") as file:
        for number in range(1000):
            result = result_of(f"clips/{number:04}.mp4", windows=250).to_dict()
            file.write(Record(f"clips/{number:04}.mp4", result=result).to_json() + "\n")
    done = run("report", path, "--output", page)
    assert (done.returncode, done.stdout) == (0, f"{page}: 1000 clips\n"), done.stderr
    assert page.stat().st_size < 5_000_000
    before = page.read_bytes()
    again = run("report", path, "--output", page)
    assert again.returncode == 2
    assert "exists already; pass --overwrite" in again.stderr
    assert page.read_bytes() == before
    assert run("report", path, "--output", page, "--overwrite").returncode == 0
    assert not list(tmp_path.glob(".*"))


def test_a_batch_ends_with_its_report(tmp_path: Path) -> None:
    write_clip(tmp_path / "a.mkv")
    output, page = tmp_path / "results.jsonl", tmp_path / "report.html"
    with FakeTriton() as fake:
        batch = ("score", tmp_path / "a.mkv", "--url", fake.url, "--report", page)
        assert "--report shows the records of --output" in run(*batch).stderr
        done = run(*batch, "--output", output)
        assert done.returncode == 0, done.stderr
        assert "a.mkv" in page.read_text()
        # The same command goes on with a batch, and its page.
        assert run(*batch, "--output", output).returncode == 0
        page.write_text("a page of somebody else")
        refused = run(*batch, "--output", output)
    assert refused.returncode == 2
    assert f"{page} exists already; pass --overwrite to replace it" in refused.stderr
    assert page.read_text() == "a page of somebody else"


def test_the_page_grows_with_the_batch(tmp_path: Path) -> None:
    path, page = tmp_path / "results.jsonl", tmp_path / "report.html"
    patient, eager = LiveReport(path, page), LiveReport(path, page, every_s=0)
    unfinished = "2 of 14 clips: the batch had not ended when this was written."
    with open_output(path) as output:
        for record in records(tmp_path)[:2]:
            output.append(record)
        patient.refresh(2, 14)
        assert not page.exists()
        eager.refresh(2, 14)
        assert unfinished in page.read_text()
        for record in records(tmp_path)[2:]:
            output.append(record)
    patient.write(14, 14)
    assert "bad-two.mp4" in page.read_text()
    assert unfinished not in page.read_text()


def test_a_batch_that_stops_leaves_its_page(tmp_path: Path) -> None:
    path, page = tmp_path / "results.jsonl", tmp_path / "report.html"

    def engine(
        emit: Callable[[Record], None],
        *,
        done: Collection[str],
        on_start: Callable[[Tally], None],
    ) -> Tally:
        tally = Tally(3, skipped=len(done))
        on_start(tally)
        for record in records(tmp_path)[2:4]:
            emit(record)
            tally.add_record(record)
        raise ServerUnavailableError("the server is gone")

    with pytest.raises(ServerUnavailableError):
        score_many(
            engine,
            output=path,
            as_json=True,
            gate=Gate(require_trusted=False, max_offset_ms=None),
            report=LiveReport(path, page),
        )
    assert "2 of 3 clips: the batch had not ended" in page.read_text()


def test_the_size_leaves_room_for_a_thousand_faces(tmp_path: Path) -> None:
    """What a face adds, a thousand times, still fits."""
    row = records(tmp_path)[0].to_row()
    with_face, without = tmp_path / "with.html", tmp_path / "without.html"
    write_report([row], with_face, title="faces")
    write_report([row], without, title="faces", thumbnails=False)
    face = with_face.stat().st_size - without.stat().st_size
    assert 500 < face < 4000


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as started:
        yield started


@pytest.fixture
def page(browser: Any, tmp_path: Path) -> Iterator[Any]:
    path = tmp_path / "report.html"
    write_report([record.to_row() for record in records(tmp_path)], path, title="A batch")
    look = {"viewport": {"width": 1100, "height": 900}, "color_scheme": "light"}
    with browser.new_context(**look, reduced_motion="reduce") as context:
        opened = context.new_page()
        opened.set_default_timeout(WAIT_MS)
        complaints: list[str] = []
        opened.on("pageerror", lambda error: complaints.append(str(error)))
        opened.on("console", lambda message: complaints.append(message.text))
        opened.on("request", lambda request: complaints.append(request.url)
                  if not request.url.startswith(("file:", "data:", "blob:")) else None)  # fmt: skip
        opened.goto(path.as_uri())
        yield opened
        assert complaints == []


def names(page: Any) -> list[str]:
    texts: list[str] = page.locator("#rows td.name").all_text_contents()
    return texts


@needs_chromium
@pytest.mark.long
def test_the_page_counts_and_lists_the_worst_first(page: Any) -> None:
    tiles = dict(
        zip(
            page.locator("#summary dt").all_text_contents(),
            page.locator("#summary dd").all_text_contents(),
            strict=True,
        )
    )
    assert (tiles["clips"], tiles["scored"], tiles["failed"], tiles["trusted"]) == (
        ("14", "12", "2", "9")
    )
    assert page.locator("#failures").text_content() == "Failed: NoFaceError 2"
    assert names(page)[:2] == ["bad-one.mp4", "bad-two.mp4"]
    assert HOSTILE in names(page)
    assert page.locator("td.name b").count() == 0
    assert page.locator("td img").count() == 1


@needs_chromium
@pytest.mark.long
def test_columns_sort_and_names_are_searched(page: Any) -> None:
    heading = page.locator("[data-key=offset_frames]")
    heading.focus()
    page.keyboard.press("Enter")
    offsets = [
        text.strip("()") for text in page.locator("#rows tr td:nth-child(4)").all_inner_texts()
    ]
    assert [int(text) for text in offsets if text] == sorted(range(-5, 7))
    heading.click()
    assert page.locator("th[aria-sort=descending]").count() == 1
    page.get_by_label("Search").fill("bold")
    assert names(page) == [HOSTILE]


@needs_chromium
@pytest.mark.long
def test_a_threshold_moves_the_counts_and_the_selection(page: Any, tmp_path: Path) -> None:
    page.get_by_label("Agreement at least").fill("0.8")
    assert page.locator("#count").text_content() == "5 of 14 clips selected."
    page.get_by_label("Offset at most").fill("3")
    assert page.locator("#count").text_content() == "3 of 14 clips selected."
    page.get_by_label("show only these").check()
    assert len(names(page)) == 3
    with page.expect_download() as download:
        page.get_by_role("button", name="Save as CSV").click()
    saved = tmp_path / "selected.csv"
    download.value.save_as(saved)
    lines = saved.read_text().splitlines()
    assert lines[0].startswith("clip,offset_frames,")
    assert len(lines) == 4


@needs_chromium
@pytest.mark.long
def test_details_show_the_curves_and_the_repair(page: Any) -> None:
    page.get_by_role("button", name="Details of clips/02.mp4").click()
    detail = page.locator("td.detail")
    assert "Offset -120 ms" in detail.text_content()
    assert detail.locator("canvas").count() == 2
    assert detail.locator("code").text_content() == (
        "syncnet-client align clips/02.mp4 clips/02-in-sync.mp4"
    )
    page.emulate_media(color_scheme="dark")
    until(page, "getComputedStyle(document.body).backgroundColor === 'rgb(20, 24, 29)'")
    page.set_viewport_size({"width": 380, "height": 800})
    until(page, "document.documentElement.scrollWidth <= 380")  # charts follow after a moment


@needs_chromium
@pytest.mark.long
def test_the_page_is_accessible(page: Any) -> None:
    from axe_playwright_python.sync_playwright import Axe

    page.get_by_role("button", name="Details of clips/02.mp4").click()
    until(page, "document.getAnimations().length === 0")
    violations = json.loads(json.dumps(Axe().run(page).response["violations"]))
    assert [(each["id"], each["nodes"][0]["html"]) for each in violations] == []
