"""When a tritonserver counts as stuck: what is seen of it, and what follows from that."""

from __future__ import annotations

import http.server
import os
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import replace

import pytest
import tiny

from syncnet_server.watchdog import Look, Model, Observer, Watchdog, parse_models

METRICS = """\
# TYPE nv_inference_request_success counter
nv_inference_request_success{model="mfcc",version="1"} 7
nv_inference_request_success{model="tower",version="1"} 2
nv_inference_request_success{model="tower",version="2"} 3
nv_inference_request_failure{model="mfcc",reason="BACKEND",version="1"} 1
nv_inference_request_failure{model="mfcc",reason="CANCELED",version="1"} 4
nv_inference_pending_request_count{model="mfcc",version="1"} 5
nv_inference_pending_request_count{model="tower",version="2"} 0
nv_inference_queue_duration_us{model="mfcc",version="1"} 99
"""
STILL = Look(0.0, answers=True, models={"mfcc": Model(3, 100), "tower": Model(0, 100)})


def first_sign(looks: Iterator[Look], stuck_after_s: float = 10.0) -> tuple[float, str] | None:
    """Return when and why it is taken for stuck."""
    watchdog = Watchdog(stuck_after_s)
    for look in looks:
        if sign := watchdog.stuck(look):
            return look.at_s, sign
    return None


def looks(
    look: Look = STILL, *, work: float = 0.0, done: float = 0.0, every_s: float = 2.0
) -> Iterator[Look]:
    """A minute in which processor time and answers of `mfcc` grow by so much each second."""
    for number in range(int(60 / every_s)):
        seconds = number * every_s
        waiting, before = look.models["mfcc"].waiting, look.models["mfcc"].done
        models = {**look.models, "mfcc": Model(waiting, before + done * seconds)}
        yield replace(look, at_s=seconds, busy_s=work * seconds, models=models)


def test_requests_that_wait_while_nobody_works_are_a_sign() -> None:
    assert first_sign(looks()) == (
        10.0,
        "the model mfcc has let requests wait and done nothing for 10 s",
    )
    assert first_sign(looks(every_s=0.5), 2.0) == (
        2.0,
        "the model mfcc has let requests wait and done nothing for 2 s",
    )


def test_silence_while_nobody_works_is_a_sign() -> None:
    silent = replace(STILL, answers=False, models={"mfcc": Model(0, 0)})
    assert first_sign(looks(silent)) == (10.0, "tritonserver has not answered for 10 s")


@pytest.mark.parametrize("answers", [True, False])
def test_who_works_is_not_stuck_however_slow(answers: bool) -> None:
    slow = replace(STILL, answers=answers)
    assert first_sign(looks(slow, work=0.5)) is None
    assert first_sign(looks(slow, work=0.06)) is None
    # Ready to run, but others have the processors; or held by a disk or a debugger.
    assert first_sign(looks(replace(slow, works=True))) is None


def test_who_answers_is_not_stuck_however_idle() -> None:
    assert first_sign(looks(done=1.0)) is None  # work of a GPU


def test_who_has_nothing_to_do_is_not_stuck() -> None:
    idle = replace(STILL, models={"mfcc": Model(0, 100)})
    assert first_sign(looks(idle)) is None


def test_other_models_do_not_hide_one_that_is_stuck() -> None:
    def busy_tower() -> Iterator[Look]:
        for look in looks():
            yield replace(look, models={**look.models, "tower": Model(1, 100 + look.at_s)})

    assert first_sign(busy_tower()) is not None


def test_a_sign_counts_from_its_beginning_and_from_the_end_of_work() -> None:
    def works_until(end_s: float) -> Iterator[Look]:
        for look in looks(work=1.0):
            yield replace(look, busy_s=min(look.busy_s, end_s))

    found = first_sign(works_until(20.0))
    assert found is not None
    assert 30 <= found[0] <= 34


def test_who_was_not_looked_at_for_long_is_not_judged() -> None:
    watchdog = Watchdog(10.0)
    for number in range(10):
        assert watchdog.stuck(replace(STILL, at_s=30.0 * number)) is None


def test_it_can_be_turned_off() -> None:
    assert first_sign(looks(), 0.0) is None


def test_metrics_are_read() -> None:
    assert parse_models(METRICS) == {"mfcc": Model(5, 8), "tower": Model(0, 5)}
    assert parse_models("") == {}


@pytest.fixture
def group() -> Iterator[int]:
    """A process group of one process that waits."""
    with subprocess.Popen(["sleep", "600"], start_new_session=True) as process:
        yield process.pid
        process.kill()


def test_nobody_answers_on_ports_that_nobody_listens_on(group: int) -> None:
    with tiny.taken_port() as listener:
        url = f"127.0.0.1:{listener.getsockname()[1]}"
    assert tiny.wait_for(lambda: Observer(url, url, group).look().works is False)
    look = Observer(url, url, group).look()
    assert (look.answers, look.models) == (False, {})


def test_a_proxy_is_not_asked(group: int, monkeypatch: pytest.MonkeyPatch) -> None:
    class Metrics(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(METRICS.encode())

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    with http.server.HTTPServer(("127.0.0.1", 0), Metrics) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        look = Observer(f"127.0.0.1:{server.server_port}", "127.0.0.1:9", group).look()
        server.shutdown()
    assert look.answers
    assert look.models["mfcc"] == Model(5, 8)


def test_a_process_at_work_is_seen() -> None:
    with subprocess.Popen(["sh", "-c", "while :; do :; done"], start_new_session=True) as process:
        observer = Observer("127.0.0.1:9", "127.0.0.1:9", os.getpgid(process.pid))
        assert tiny.wait_for(lambda: observer.look().busy_s > 0)
        assert observer.look().works
        process.kill()
