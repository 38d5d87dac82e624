"""What operators see: a real Prometheus scrapes a real server with the project's own rules."""

from __future__ import annotations

import math
import re
import shutil
import urllib.request
from collections.abc import Iterator

import numpy as np
import pytest
from deployment import (
    GPU_METRICS,
    adapter_queries,
    alerts,
    dashboard,
    dashboard_queries,
    fill_in,
    metric_names,
)
from scraping import Prometheus, running_prometheus

from syncnet_client.client import SyncNetClient
from syncnet_client.scoring.result import SyncResult
from syncnet_server import Server

pytestmark = [
    pytest.mark.server,
    pytest.mark.skipif(
        shutil.which("prometheus") is None, reason="needs Prometheus (Debian package prometheus)"
    ),
]

CLIPS = 3
FRAMES = 45  # 40 windows
LOW_AGREEMENT = 0.9  # in sync_metrics/config.pbtxt


def scrape(server: Server) -> str:
    with urllib.request.urlopen(f"http://{server.metrics_url}/metrics", timeout=10) as answer:
        text: str = answer.read().decode()
    return text


def value(text: str, name: str, **labels: str) -> float:
    """The value of one series in Prometheus' text format."""
    for series, shown in re.findall(rf"^{name}(?:{{(.*)}})? (\S+)$", text, re.MULTILINE):
        if dict(re.findall(r'(\w+)="([^"]*)"', series)) == labels:
            return float(shown)
    raise AssertionError(f"no series {name}{labels}")


def score_clips(server: Server) -> list[SyncResult]:
    """Score random clips in chunks of 20 windows."""
    rng = np.random.default_rng(0)
    results = []
    with SyncNetClient(server.grpc_url) as client:
        for _ in range(CLIPS):
            frames = rng.integers(0, 256, (FRAMES, 224, 224, 3), dtype=np.uint8)
            samples = rng.integers(-9000, 9000, 640 * FRAMES).astype(np.int16)
            results.append(client.score((frames, samples), chunk=20))
    return results


def test_the_models_count_what_was_scored(server: Server) -> None:
    before = scrape(server)
    results = score_clips(server)
    after = scrape(server)

    def increase(name: str, **labels: str) -> float:
        return value(after, name, **labels) - value(before, name, **labels)

    assert increase("syncnet_chunks_total") == CLIPS * 2
    assert increase("syncnet_windows_total") == CLIPS * 40
    assert increase("syncnet_scoring_seconds_total") > 0
    assert increase("syncnet_results_total", scope="chunk") == CLIPS * 2
    assert increase("syncnet_results_total", scope="clip") == CLIPS
    low = sum(result.agreement < LOW_AGREEMENT for result in results)
    assert low > 0  # noise
    assert increase("syncnet_low_agreement_results_total", scope="clip") == low
    assert 'syncnet_low_agreement_results_total{scope="chunk"}' not in after
    for bound in ("0", "1", "2", "3", "5", "10", "15", "+Inf"):
        counted = increase("syncnet_absolute_offset_frames_bucket", scope="clip", le=bound)
        assert counted == sum(abs(result.offset_frames) <= float(bound) for result in results)
    size = value(after, "syncnet_shared_memory_size_bytes")
    assert 0 < value(after, "syncnet_shared_memory_free_bytes") <= size


@pytest.fixture(scope="module")
def prometheus(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """Prometheus that has scraped before and after some clips were scored."""
    folder = tmp_path_factory.mktemp("prometheus")
    with running_prometheus(folder, [server.metrics_url]) as running:
        running.wait_for(lambda: running.query('up{job="syncnet-server"} == 1'))
        score_clips(server)
        chunks = value(scrape(server), "syncnet_chunks_total")
        running.wait_for(lambda: running.query(f"syncnet_chunks_total >= {chunks}"))
        yield running


PANELS = [panel for panel in dashboard()["panels"] if panel["type"] != "row"]


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: f"{panel['title']}-{panel['type']}")
def test_the_panel_shows_data(prometheus: Prometheus, panel: dict[str, object]) -> None:
    targets = panel["targets"]
    assert isinstance(targets, list)
    for target in targets:
        if metric_names(target["expr"]) & GPU_METRICS and not shutil.which("nvidia-smi"):
            continue
        series = prometheus.query(fill_in(target["expr"]))
        assert series
        assert not all(math.isnan(sample) for _, sample in series)


def test_prometheus_evaluates_every_alert(prometheus: Prometheus) -> None:
    def evaluated() -> bool:
        (group,) = prometheus.get("rules")["groups"]
        return all(rule["health"] == "ok" for rule in group["rules"])

    prometheus.wait_for(evaluated)
    (group,) = prometheus.get("rules")["groups"]
    assert [rule["name"] for rule in group["rules"]] == [alert["alert"] for alert in alerts()]
    firing = {rule["name"] for rule in group["rules"] if rule["state"] == "firing"}
    assert firing == set()


def test_every_metric_asked_for_exists(prometheus: Prometheus) -> None:
    published = set(prometheus.get("label/__name__/values"))
    asked = set()
    for query in [*dashboard_queries(), *adapter_queries(), *(alert["expr"] for alert in alerts())]:
        asked |= metric_names(query)
    assert asked - GPU_METRICS <= published


def test_autoscaler_metric_has_a_value(server: Server, prometheus: Prometheus) -> None:
    _, query = adapter_queries()
    series = prometheus.query(query.replace('pod="a"', f'instance="{server.metrics_url}"'))
    ((_, waiting),) = series
    assert waiting >= 0
