"""Reads the deployment's files for the tests: Dockerfiles, alert rules, dashboard, queries."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import kustomize

ROOT = Path(__file__).resolve().parents[1]
SERVER = ROOT / "server"
KUBERNETES = SERVER / "kubernetes"

# Metrics that Triton publishes only where there is a GPU.
GPU_METRICS = {"nv_gpu_utilization", "nv_gpu_memory_used_bytes"}


def dockerfile(name: str = "Dockerfile") -> dict[str, Any]:
    """The last instruction of each kind; JSON arguments as lists."""
    text = re.sub(r"\\\n", " ", (SERVER / name).read_text())
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    instructions: dict[str, Any] = {}
    for line in lines:
        instruction, _, argument = line.partition(" ")
        instructions[instruction] = json.loads(argument) if argument[0] == "[" else argument
    return instructions


def alerts() -> list[dict[str, Any]]:
    (rules,) = kustomize.load_all(SERVER / "prometheus" / "rules.yml")
    return [rule for group in rules["groups"] for rule in group["rules"]]


def dashboard() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((SERVER / "grafana/dashboards/syncnet.json").read_text())
    return loaded


def dashboard_queries() -> list[str]:
    panels = [panel for panel in dashboard()["panels"] if panel["type"] != "row"]
    return [target["expr"] for panel in panels for target in panel["targets"]]


def adapter_queries() -> list[str]:
    (values,) = kustomize.load_all(KUBERNETES / "prometheus-adapter" / "values.yaml")
    queries = []
    for rule in values["rules"]["custom"]:
        query = rule["metricsQuery"].replace("<<.GroupBy>>", "pod")
        queries += [rule["seriesQuery"], query.replace("<<.LabelMatchers>>", 'pod="a"')]
    return queries


def metric_names(query: str) -> set[str]:
    return set(re.findall(r"\b(?:nv|syncnet)_[a-z_0-9]+", re.sub(r'"[^"]*"', "", query)))


def fill_in(query: str) -> str:
    """Put values in the place of Grafana's variables."""
    return query.replace("$__rate_interval", "1m").replace("$instance", ".*")
