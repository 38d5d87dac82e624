"""The gateway's page in a real browser, with a real Triton and the towers that ship."""

from __future__ import annotations

import json
import re
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from browsers import WAIT_MS, chromium, needs_chromium, until
from commandline import write_clip
from conftest import copy_model_repository
from gateways import RunningGateway, running
from tiny import wait_for

from syncnet_client import SyncNetClient
from syncnet_client.media.remux import shift_audio
from syncnet_server import Server

pytestmark = [pytest.mark.long, pytest.mark.server, needs_chromium, pytest.mark.timeout(600)]

SAMPLE = Path(__file__).parents[1] / "samples" / "talking-head.mp4"


@pytest.fixture(scope="module")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(copy_model_repository(tmp_path_factory.mktemp("shipped"))) as started:
        yield started


@pytest.fixture(scope="module")
def gateway(shipped: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    options = ["--url", shipped.grpc_url, "--jobs", "1", "--max-size", "5"]
    with running(tmp_path_factory.mktemp("work"), *options) as started:
        assert wait_for(lambda: started.get("/readyz").status_code == 200, WAIT_MS / 1000)
        yield started


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """The sample clip with its audio ahead by so many frames."""
    folder = tmp_path_factory.mktemp("clips")
    made = {}
    for ahead in (5, -5):
        made[ahead] = folder / f"interview {ahead:+d}'s.mp4"
        shift_audio(SAMPLE, made[ahead], Fraction(-ahead, 25))
    return made


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as started:
        yield started


@pytest.fixture
def look(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Options of the browser's context; a test that wants another look gives them."""
    given: dict[str, Any] = getattr(request, "param", {})
    return {"viewport": {"width": 1280, "height": 900}, "reduced_motion": "reduce"} | given


@pytest.fixture
def page(browser: Any, gateway: RunningGateway, look: dict[str, Any]) -> Iterator[Any]:
    """The page, opened; it must load nothing from elsewhere and report no error."""
    with browser.new_context(**look) as context:
        opened = context.new_page()
        said: list[str] = []
        asked: list[str] = []
        opened.on("pageerror", lambda error: said.append(str(error)))
        opened.on("console", lambda line: said.append(line.text) if line.type == "error" else None)
        opened.on("request", lambda request: asked.append(request.url))
        visit(opened, gateway)
        yield opened
        assert all(url.startswith((gateway.url, "blob:", "data:")) for url in asked)
        # Chromium reports answers of 4xx itself; the page shows them.
        assert [line for line in said if "the server responded with a status" not in line] == []


def visit(page: Any, gateway: RunningGateway) -> None:
    """Open the page and wait until its script has asked the gateway and hears clicks."""
    page.set_default_timeout(WAIT_MS)
    page.goto(gateway.url)
    until(page, "document.getElementById('version').textContent !== ''")


def send(page: Any, *clips: Path) -> None:
    page.set_input_files("#files", [str(clip) for clip in clips])


def settled(page: Any) -> None:
    """Wait until the clip of the result can be shown and nothing moves any more."""
    until(page, "syncnet.result.viewer.video.readyState >= HTMLMediaElement.HAVE_CURRENT_DATA")
    at_rest(page)


def at_rest(page: Any) -> None:
    """Wait until no colour changes, and everything stays where it is for two frames."""
    until(
        page,
        """new Promise((resolve) => {
            const places = () => JSON.stringify(
                [...document.querySelectorAll("body *")].map((each) => each.getBoundingClientRect())
            );
            const before = places();
            requestAnimationFrame(() => requestAnimationFrame(() => resolve(
                before === places() && document.getAnimations().length === 0
            )));
        })""",
    )


def headline(page: Any) -> str:
    page.wait_for_selector("#headline")
    text: str = page.inner_text("#headline")
    return text


def test_from_upload_to_result(page: Any, clips: dict[int, Path], shipped: Server) -> None:
    states: list[str] = []
    page.expose_function("told", lambda state: states.append(state))
    page.evaluate(
        "new MutationObserver(() => told(document.querySelector('.queue .state')?.textContent))"
        ".observe(document.getElementById('queue'), {subtree: true, childList: true})"
    )
    send(page, clips[5])
    assert headline(page) == "The audio is 200 ms ahead of the video."
    assert any(state.startswith("Uploading") for state in states)
    assert any(state.startswith("Scoring") for state in states)
    with SyncNetClient(shipped.grpc_url) as client:
        result = client.score(clips[5])
    facts = page.inner_text(".facts")
    assert "+5 frames, +200 ms" in facts
    low, high = (
        f"{end:+.0f}".replace("-", "\u2212") for end in result.to_dict()["offset_interval_ms"]
    )
    assert f"{low} to {high} ms" in facts
    assert f"{100 * result.agreement:.0f} % of the draws" in facts
    assert f"{result.confidence:.2f}" in facts
    assert f"{result.min_distance:.2f}" in facts
    assert page.inner_text(".badge") == "\u2713 Trusted"
    assert "200 ms ahead" in page.inner_text("#announcer")
    figures = page.locator("[role=img]")
    assert "at +5 frames" in figures.first.get_attribute("aria-label")
    assert page.locator(".u-over").count() == 2


def test_the_sample_is_one_click_away(page: Any) -> None:
    page.click("#sample")
    assert headline(page) == "Audio and video are in sync."
    assert page.is_disabled("[role=switch]")


def test_the_position_is_chosen_on_the_chart(page: Any) -> None:
    page.click("#sample")
    headline(page)
    settled(page)
    position = "syncnet.result.viewer.video.currentTime"
    slider = page.locator("[role=slider]")
    plot = slider.locator(".u-over")
    plot.click(position={"x": 0.75 * plot.bounding_box()["width"], "y": 20})
    until(page, f"Math.abs({position} - 0.75 * 5.6) < 0.1")
    slider.press("ArrowLeft")
    until(page, f"Math.abs({position} - (0.75 * 5.6 - 0.2)) < 0.1")
    slider.press("Home")
    until(page, f"{position} < 0.05")
    until(page, "document.querySelector('[role=slider]').ariaValueNow < 0.05")
    left = page.eval_on_selector(".playhead", "line => parseFloat(line.style.left)")
    assert abs(left) < 5


def test_the_box_follows_the_face(page: Any) -> None:
    page.click("#sample")
    headline(page)
    page.wait_for_selector(".box")
    settled(page)
    screen, box = (page.locator(name).bounding_box() for name in (".screen", ".box"))
    assert box == pytest.approx(screen, abs=2)  # of a clip that is a face crop, it is all
    page.evaluate(
        "syncnet.result.viewer.faces = [{track: 0, frame_times: [0, 2], detected: [true, false],"
        " boxes: [[0, 0, 56, 112], [112, 56, 112, 112]]}]"
    )
    page.evaluate("syncnet.result.viewer.seek(2.02)")
    page.wait_for_selector(".box.guessed")
    moved = page.locator(".box").bounding_box()
    assert moved["x"] == pytest.approx(screen["x"] + screen["width"] / 2, abs=2)
    assert moved["height"] == pytest.approx(screen["height"] / 2, abs=2)


@pytest.mark.parametrize("ahead", [5, -5])
def test_play_in_sync_moves_the_audio_by_what_was_measured(
    page: Any, clips: dict[int, Path], ahead: int
) -> None:
    send(page, clips[ahead])
    headline(page)
    later = ahead > 0
    assert f"200 ms {'later' if later else 'earlier'}" in page.inner_text(".controls")
    settled(page)
    # However slow the machine, the clip has not ended when it is listened to.
    page.evaluate("syncnet.result.viewer.video.loop = true")
    page.evaluate("syncnet.result.viewer.video.play()")
    page.click("[role=switch]")
    until(page, "syncnet.sync.state.on && !syncnet.result.viewer.video.paused")
    if later:
        assert page.evaluate("syncnet.sync.state.delay_s") == pytest.approx(0.2)
    until_moved_by(page, ahead * 0.04)
    page.evaluate("syncnet.result.viewer.seek(3)")
    until_moved_by(page, ahead * 0.04)
    page.click("[role=switch]")
    assert page.get_attribute("[role=switch]", "aria-checked") == "false"
    assert page.evaluate("syncnet.sync.state.moved_s") == 0


def until_moved_by(page: Any, seconds: float) -> None:
    """Wait until the audio is moved by that much.

    Two players are never read at one moment: the median of several readings counts, all of them
    read by the page while the clip plays on.
    """
    until(
        page,
        f"""(async () => {{
            const read = [];
            while (read.length < 9) {{
                await new Promise((resolve) => setTimeout(resolve, 50));
                read.push(syncnet.sync.state.moved_s);
            }}
            return Math.abs(read.sort((a, b) => a - b)[4] - {seconds}) < 0.02;
        }})()""",
    )


def test_the_graph_delays_what_it_is_given(page: Any) -> None:
    """An impulse comes out of the graph as much later as its delay says."""
    sample = page.evaluate(
        """async () => {
            const { connect } = await import("./js/insync.js");
            const context = new OfflineAudioContext(1, 48000, 48000);
            const buffer = context.createBuffer(1, 1, 48000);
            buffer.getChannelData(0)[0] = 1;
            const source = new AudioBufferSourceNode(context, { buffer });
            connect(context, source).delay.value = 0.2;
            source.start();
            const heard = (await context.startRendering()).getChannelData(0);
            return heard.indexOf(Math.max(...heard));
        }"""
    )
    assert sample == pytest.approx(0.2 * 48000, abs=1)


def test_what_can_be_taken_away(
    page: Any, clips: dict[int, Path], shipped: Server, tmp_path: Path
) -> None:
    send(page, clips[5])
    headline(page)

    def taken(button: str) -> Path:
        with page.expect_download() as waiting:
            page.get_by_role("button", name=button, exact=True).click()
        path = tmp_path / waiting.value.suggested_filename
        waiting.value.save_as(path)
        return path

    result = json.loads(taken("JSON").read_text())
    assert result["offset_frames"] == 5
    plot = taken("Plot")
    assert plot.suffix == ".png"
    assert plot.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    labels: list[str] = []
    page.expose_function("labelled", lambda text: labels.append(text))
    page.evaluate(
        "new MutationObserver(([{target}]) => labelled(target.textContent))"
        ".observe(document.querySelector('.takeaway-actions'), {subtree: true, childList: true})"
    )
    repaired = taken("Repaired clip")
    assert any(re.fullmatch(r"Repairing, \d+ %", label) for label in labels)
    page.get_by_role("button", name="Repaired clip", exact=True).wait_for()
    assert repaired.name == f"{clips[5].stem}.in-sync.mp4"
    with SyncNetClient(shipped.grpc_url) as client:
        assert abs(client.score(repaired).offset_frames) <= 1

    command = page.inner_text(".command")
    done = subprocess.run(
        ["bash", "-c", command], cwd=clips[5].parent, capture_output=True, check=True
    )
    assert json.loads(done.stdout) == result


def test_options_reach_the_score(page: Any) -> None:
    page.click("#options summary")
    page.get_by_label("vshift").fill("6")
    page.get_by_label("segment").fill("1")
    page.click("#sample")
    headline(page)
    assert "\u00b16 frames" in page.inner_text(".facts")
    assert page.get_by_role("img", name="Offset of").count() == 1
    assert "vshift=6&segment=1" in page.inner_text(".command")


def test_several_clips_queue_up(page: Any, clips: dict[int, Path]) -> None:
    send(page, clips[5], clips[-5], SAMPLE)
    until(page, "document.querySelectorAll('.queue button.name').length === 3")
    texts = page.locator(".queue .state").all_inner_texts()
    assert texts == [
        "Audio and video are in sync",
        "The audio is 200 ms behind the video",
        "The audio is 200 ms ahead of the video",
    ]
    page.locator(".queue button.name").last.click()
    assert headline(page) == "The audio is 200 ms ahead of the video."
    page.get_by_role("button", name="Remove talking-head.mp4 from the list").click()
    assert page.locator(".queue li").count() == 2


def test_errors_are_shown_where_they_belong(page: Any, tmp_path: Path) -> None:
    notes = tmp_path / "notes.mp4"
    notes.write_text("no media\n" * 100)
    large = tmp_path / "large.mp4"
    large.write_bytes(bytes(6_000_000))
    send(page, notes)
    page.wait_for_selector(".queue .failed")
    assert "notes.mp4 is not a media file" in page.inner_text(".queue .failed .state")
    send(page, large)
    until(page, "document.querySelectorAll('.queue .failed').length === 2")
    assert "6 MB is more than the 5 MB" in page.inner_text(".queue .failed .state >> nth=0")
    assert page.is_hidden("#result")


def test_an_offset_that_is_not_trusted_is_called_unknown(page: Any, tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "noise.mp4", frames=60)
    send(page, clip)
    assert headline(page) == "The offset is unknown."
    assert "Not to be trusted" in page.inner_text(".badge")
    assert page.locator(".reasons li").count() >= 1


def test_a_clip_is_cancelled(page: Any, gateway: RunningGateway, tmp_path: Path) -> None:
    send(page, write_clip(tmp_path / "long.mp4", frames=1500))
    until(page, "document.querySelector('.queue .state')?.textContent.startsWith('Scoring')")
    page.get_by_role("button", name="Cancel long.mp4").click()
    page.wait_for_selector(".queue .failed")
    assert page.inner_text(".queue .state") == "Cancelled"
    assert wait_for(lambda: gateway.workers() == [])
    assert wait_for(lambda: gateway.uploads() == [])


def test_a_clip_waits_for_a_gateway_that_is_busy(
    browser: Any, shipped: Server, tmp_path: Path
) -> None:
    options = ["--url", shipped.grpc_url, "--jobs", "1", "--waiting", "0"]
    with (
        running(tmp_path / "work", *options) as gateway,
        browser.new_context() as context,
        ThreadPoolExecutor() as pool,
    ):
        seen = threading.Event()

        def slow() -> Iterator[bytes]:  # takes the only place until the page has met it
            yield b'--x\r\nContent-Disposition: form-data; name="clip"; filename="a"\r\n\r\n'
            seen.wait(WAIT_MS / 1000)
            yield b"no media\r\n--x--\r\n"

        headers = {"Content-Type": "multipart/form-data; boundary=x"}
        other = pool.submit(gateway.post, "/v1/score", content=slow(), headers=headers)
        assert wait_for(lambda: gateway.jobs("uploading") == 1)
        page = context.new_page()
        visit(page, gateway)
        page.click("#sample")
        until(page, "document.querySelector('.state')?.textContent.includes('busy')")
        seen.set()
        assert other.result().status_code == 422
        page.wait_for_selector("#headline")


def test_the_token_is_asked_for(browser: Any, shipped: Server, tmp_path: Path) -> None:
    with (
        running(
            tmp_path / "work", "--url", shipped.grpc_url, SYNCNET_GATEWAY_TOKEN="open sesame"
        ) as gateway,
        browser.new_context() as context,
    ):
        page = context.new_page()
        visit(page, gateway)
        page.click("#sample")
        page.wait_for_selector(".queue .failed")
        assert "token" in page.inner_text(".queue .state")
        page.get_by_label("Token").fill("open sesame")
        page.click("#sample")
        page.wait_for_selector("#headline")
        assert "Bearer $TOKEN" in page.inner_text(".command")
        assert "open sesame" not in page.inner_text("body")


@pytest.mark.parametrize(
    "look",
    [
        pytest.param(
            {"color_scheme": scheme, "viewport": {"width": width, "height": 844}},
            id=f"{width}-{scheme}",
        )
        for width in (1280, 390)
        for scheme in ("light", "dark")
    ],
    indirect=True,
)
def test_it_is_accessible_in_every_dress(page: Any, look: dict[str, Any]) -> None:
    from axe_playwright_python.sync_playwright import Axe

    assert_accessible(Axe(), page)
    page.click("#sample")
    headline(page)
    settled(page)
    page.click("#options summary")
    assert_accessible(Axe(), page)
    assert page.evaluate("document.documentElement.scrollWidth") <= look["viewport"]["width"]


def assert_accessible(axe: Any, page: Any) -> None:
    at_rest(page)
    found = axe.run(page, options={"runOnly": ["wcag2a", "wcag2aa", "wcag21aa", "best-practice"]})
    assert found.response["violations"] == [], found.generate_report()


@pytest.mark.parametrize("look", [{"color_scheme": "light"}], indirect=True)
def test_the_scheme_is_that_of_the_system(page: Any) -> None:
    page.click("#sample")
    headline(page)
    settled(page)
    background = "getComputedStyle(document.body).backgroundColor"
    pixels = (
        "Array.from(document.querySelector('canvas').getContext('2d')"
        ".getImageData(0, 0, 400, 200).data).join()"
    )
    light = page.evaluate(background)
    page.evaluate(f"void (globalThis.before = {pixels})")
    page.emulate_media(color_scheme="dark")
    until(page, f"{background} !== '{light}'")
    dark = page.evaluate(background)
    assert sum(map(int, dark[4:-1].split(", "))) < 150
    assert sum(map(int, light[4:-1].split(", "))) > 600
    until(page, f"before !== {pixels}")  # the charts follow


def test_a_keyboard_is_enough(page: Any) -> None:
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")  # skips to the content
    until(page, "location.hash === '#main'")
    for _ in range(3):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.id") == "sample":
            break
    assert page.evaluate("document.activeElement.id") == "sample"
    page.keyboard.press("Enter")
    assert headline(page) == "Audio and video are in sync."
    settled(page)
    reached = set()
    for _ in range(25):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.textContent.trim().slice(0, 20)"))
    assert {"JSON", "Plot", "Copy"} <= reached
