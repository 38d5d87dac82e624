"""Containers, compose, Kubernetes, Prometheus and Grafana: what can be checked without them.

The manifests are built as kustomize would and validated against Kubernetes' own schemas; rules and
queries go through promtool; every option of tritonserver is looked up in the real binary's help.
"""

from __future__ import annotations

import functools
import json
import os
import platform
import re
import shutil
import subprocess
import uuid
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import kubernetes_validate
import kustomize
import pytest
import yaml
from deployment import (
    KUBERNETES,
    ROOT,
    SERVER,
    adapter_queries,
    alerts,
    dashboard,
    dashboard_queries,
    dockerfile,
    fill_in,
    metric_names,
)

from syncnet_server.locate import locate

OVERLAYS = ("cpu", "gpu")

# The oldest release that has everything used (the sleep of preStop), and the newest known here.
KUBERNETES_VERSIONS = ("1.30", kubernetes_validate.latest_version())

# Types that operators and KServe bring along; Kubernetes has no schema of them.
CUSTOM_TYPES = {"PodMonitor", "PrometheusRule", "InferenceService"}

promtool = pytest.mark.skipif(
    shutil.which("promtool") is None, reason="needs promtool (Debian package prometheus)"
)


@functools.cache
def overlay(name: str) -> list[dict[str, Any]]:
    return kustomize.build(KUBERNETES / "overlays" / name)


def find(resources: list[dict[str, Any]], kind: str, name: str) -> dict[str, Any]:
    (found,) = (r for r in resources if (r["kind"], r["metadata"]["name"]) == (kind, name))
    return found


def pod_spec(resources: list[dict[str, Any]], name: str) -> dict[str, Any]:
    spec: dict[str, Any] = find(resources, "Deployment", name)["spec"]["template"]["spec"]
    return spec


def validate(resource: dict[str, Any]) -> None:
    for version in KUBERNETES_VERSIONS:
        kubernetes_validate.validate(resource, version, strict=True)


def manifests() -> list[Path]:
    return sorted(SERVER.rglob("*.y*ml"))


def inference_service() -> dict[str, Any]:
    (document,) = kustomize.load_all(KUBERNETES / "kserve" / "inference-service.yaml")
    predictor: dict[str, Any] = document["spec"]["predictor"]
    return predictor


def serving_pods() -> Iterator[dict[str, Any]]:
    """Every pod specification that runs Triton."""
    for name in OVERLAYS:
        yield pod_spec(overlay(name), "syncnet-server")
    yield inference_service()


# Kubernetes


@pytest.mark.parametrize("name", OVERLAYS)
def test_overlay_meets_the_schemas_of_kubernetes(name: str) -> None:
    kinds = set()
    for resource in overlay(name):
        kinds.add(resource["kind"])
        assert resource["kind"] == "Namespace" or resource["metadata"]["namespace"] == "syncnet"
        if resource["kind"] not in CUSTOM_TYPES:
            validate(resource)
    assert kinds > {
        *("Deployment", "Service", "PodDisruptionBudget", "NetworkPolicy", "ConfigMap"),
        *("HorizontalPodAutoscaler", "PodMonitor", "PrometheusRule", "ServiceAccount"),
    }


def test_schemas_are_strict() -> None:
    broken = json.loads(json.dumps(find(overlay("cpu"), "Deployment", "syncnet-server")))
    broken["spec"]["template"]["spec"]["terminationGracePeriodSecond"] = 1
    with pytest.raises(kubernetes_validate.ValidationError, match="terminationGracePeriodSecond"):
        validate(broken)


def test_inference_service_describes_a_valid_pod() -> None:
    predictor = dict(inference_service())
    for own in ("labels", "minReplicas", "maxReplicas", "scaleMetric", "scaleTarget"):
        del predictor[own]
    validate(
        {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "syncnet"}, "spec": predictor}
    )


def test_inference_service_runs_the_server_of_the_deployment() -> None:
    (kserve,) = inference_service()["containers"]
    (ours,) = pod_spec(overlay("cpu"), "syncnet-server")["containers"]
    for field in ("image", "args", "env", "lifecycle", "resources", "securityContext"):
        assert kserve[field] == ours[field], field
    assert inference_service()["volumes"] == pod_spec(overlay("cpu"), "syncnet-server")["volumes"]


@pytest.mark.skipif(shutil.which("kustomize") is None, reason="needs kustomize")
@pytest.mark.parametrize("name", OVERLAYS)
def test_kustomize_builds_the_same(name: str) -> None:
    built = subprocess.run(
        ["kustomize", "build", KUBERNETES / "overlays" / name],
        check=True,
        capture_output=True,
        text=True,
    )
    real = {}
    for resource in yaml.safe_load_all(built.stdout):
        # The hash at the end of a generated name is kustomize's own.
        text = re.sub(r"(syncnet-balancer)-[a-z0-9]{10}\b", r"\1", json.dumps(resource))
        resource = json.loads(text)
        real[resource["kind"], resource["metadata"]["name"]] = resource
    assert real == {(r["kind"], r["metadata"]["name"]): r for r in overlay(name)}


def build_overlay(folder: Path, **fields: Any) -> list[dict[str, Any]]:
    """Build a kustomization of a user's own."""
    given = {"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization"}
    (folder / "kustomization.yaml").write_text(yaml.safe_dump({**given, **fields}))
    return kustomize.build(folder)


def test_the_model_repository_can_come_from_a_volume(tmp_path: Path) -> None:
    resources = build_overlay(
        tmp_path,
        namespace="syncnet",
        resources=[str(KUBERNETES / "overlays" / "gpu")],
        components=[str(KUBERNETES / "components" / "model-repository-volume")],
    )
    validate(find(resources, "PersistentVolumeClaim", "syncnet-model-repository"))
    validate(find(resources, "Deployment", "syncnet-server"))
    pod = pod_spec(resources, "syncnet-server")
    (mount,) = (m for m in pod["containers"][0]["volumeMounts"] if m["mountPath"] == "/models")
    assert mount == {"name": "model-repository", "mountPath": "/models", "readOnly": True}


def test_the_overlay_in_the_documentation_builds(tmp_path: Path) -> None:
    text = (ROOT / "docs" / "deployment.md").read_text()
    (shown,) = re.findall(r"```yaml\n(# kustomization.yaml.*?)```", text, re.DOTALL)
    resources = build_overlay(tmp_path, **yaml.safe_load(shown.replace("syncnet/", f"{ROOT}/")))
    validate(find(resources, "Deployment", "syncnet-server"))
    (container,) = pod_spec(resources, "syncnet-server")["containers"]
    assert container["image"] == "registry.your-company.net/syncnet-server:0.1.0-weights-3"
    assert container["env"][0] == {"name": "SYNCNET_PROFILE", "value": "tensorrt-ep"}


def test_the_documentation_makes_every_secret() -> None:
    text = (ROOT / "docs" / "deployment.md").read_text()
    (server,) = pod_spec(overlay("cpu"), "syncnet-server")["containers"]
    used = [e["valueFrom"]["secretKeyRef"]["name"] for e in server["env"] if "valueFrom" in e]
    volumes = pod_spec(overlay("cpu"), "syncnet-balancer")["volumes"]
    used += [volume["secret"]["secretName"] for volume in volumes if "secret" in volume]
    assert len(used) == 2
    for name in used:
        assert f"create secret generic {name} " in text


def test_references_between_resources_hold() -> None:
    for name in OVERLAYS:
        resources = overlay(name)
        deployments = [r for r in resources if r["kind"] == "Deployment"]
        ports_of = {}
        for deployment in deployments:
            template = deployment["spec"]["template"]
            selector = deployment["spec"]["selector"]["matchLabels"]
            assert selector.items() <= template["metadata"]["labels"].items()
            for container in template["spec"]["containers"]:
                ports_of[selector["app.kubernetes.io/name"]] = {
                    port["name"] for port in container["ports"]
                }
        for service in (r for r in resources if r["kind"] == "Service"):
            ports = ports_of[service["spec"]["selector"]["app.kubernetes.io/name"]]
            assert {port["targetPort"] for port in service["spec"]["ports"]} <= ports
        for budget in (r for r in resources if r["kind"] == "PodDisruptionBudget"):
            assert budget["spec"]["selector"]["matchLabels"]["app.kubernetes.io/name"] in ports_of
        monitor = find(resources, "PodMonitor", "syncnet-server")["spec"]
        monitored = ports_of[monitor["selector"]["matchLabels"]["app.kubernetes.io/name"]]
        assert {endpoint["port"] for endpoint in monitor["podMetricsEndpoints"]} <= monitored
        balancer = pod_spec(resources, "syncnet-balancer")
        (configuration,) = (v["configMap"] for v in balancer["volumes"] if "configMap" in v)
        files = find(resources, "ConfigMap", configuration["name"])["data"]
        assert set(files) == {"nginx.conf", "listen.conf", "upstream.conf"}


def test_balancer_asks_for_the_headless_service() -> None:
    service = find(overlay("cpu"), "Service", "syncnet-server")
    assert service["spec"]["clusterIP"] == "None"
    upstream = find(overlay("cpu"), "ConfigMap", "syncnet-balancer")["data"]["upstream.conf"]
    name, port = service["metadata"]["name"], service["spec"]["ports"][0]["port"]
    host = f"{name}.{service['metadata']['namespace']}.svc.cluster.local"
    assert f"server {host}:{port} resolve" in upstream


def test_autoscaler_uses_the_metric_of_the_adapter() -> None:
    (values,) = kustomize.load_all(KUBERNETES / "prometheus-adapter" / "values.yaml")
    (rule,) = values["rules"]["custom"]
    for name in OVERLAYS:
        scaler = find(overlay(name), "HorizontalPodAutoscaler", "syncnet-server")["spec"]
        assert scaler["metrics"][0]["pods"]["metric"]["name"] == rule["name"]["as"]
        target = scaler["scaleTargetRef"]
        deployment = find(overlay(name), target["kind"], target["name"])
        assert "replicas" not in deployment["spec"]


def test_stopping_leaves_time_for_what_is_in_flight() -> None:
    for pod in serving_pods():
        (container,) = pod["containers"]
        (drain,) = (
            int(argument.partition("=")[2])
            for argument in container["args"]
            if argument.startswith("--exit-timeout-secs=")
        )
        before_stop = container["lifecycle"]["preStop"]["sleep"]["seconds"]
        assert pod["terminationGracePeriodSeconds"] >= before_stop + drain + 15

    balancer = pod_spec(overlay("cpu"), "syncnet-balancer")
    before_stop = balancer["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"]
    match = re.search(r"worker_shutdown_timeout (\d+)s;", (SERVER / "nginx/nginx.conf").read_text())
    assert match is not None
    assert balancer["terminationGracePeriodSeconds"] >= before_stop + int(match[1]) + 10


def test_probes_ask_tritons_own_endpoints() -> None:
    for pod in serving_pods():
        (container,) = pod["containers"]
        assert container["startupProbe"]["httpGet"]["path"] == "/v2/health/ready"
        assert container["readinessProbe"]["httpGet"]["path"] == "/v2/health/ready"
        assert container["livenessProbe"]["httpGet"]["path"] == "/v2/health/live"


def test_pods_meet_the_restricted_security_standard() -> None:
    balancers = [pod_spec(overlay(name), "syncnet-balancer") for name in OVERLAYS]
    for pod in [*serving_pods(), *balancers]:
        assert pod["automountServiceAccountToken"] is False
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["runAsUser"] > 0
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        allowed = {"name", "emptyDir", "configMap", "secret", "persistentVolumeClaim"}
        assert all(set(volume) <= allowed for volume in pod["volumes"])
        for container in pod["containers"]:
            security = container["securityContext"]
            assert security == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            assert container["resources"]["requests"]["memory"]
            assert container["resources"]["limits"]["memory"]


def test_network_policies_let_only_the_balancer_and_prometheus_in() -> None:
    policies = [r for r in overlay("cpu") if r["kind"] == "NetworkPolicy"]
    everything = find(policies, "NetworkPolicy", "deny-all")["spec"]
    assert everything == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    server = find(policies, "NetworkPolicy", "syncnet-server")["spec"]
    assert server["egress"] == []
    callers = {rule["ports"][0]["port"]: rule["from"] for rule in server["ingress"]}
    assert set(callers) == {"grpc", "metrics"}
    balancer = {"app.kubernetes.io/name": "syncnet-balancer"}
    assert callers["grpc"] == [{"podSelector": {"matchLabels": balancer}}]


# Options, versions, profiles


def long_options(arguments: list[str]) -> set[str]:
    return {argument.partition("=")[0] for argument in arguments if argument.startswith("--")}


@pytest.fixture
def known_options(tmp_path: Path) -> set[str]:
    """What the real tritonserver lists in its help."""
    installation = locate()
    shown = subprocess.run(
        [installation.executable, "--help"],
        env={**os.environ, **installation.environment(tmp_path)},
        capture_output=True,
        text=True,
    )
    return set(re.findall(r"^\s+(--[a-z-]+)", shown.stdout + shown.stderr, re.MULTILINE))


def test_tritonserver_knows_every_option(known_options: set[str], fake_tritonserver: Path) -> None:
    used = long_options(entrypoint_arguments(fake_tritonserver, "default"))
    used |= long_options(dockerfile()["CMD"])
    used |= long_options(compose()["server"]["command"])
    for pod in serving_pods():
        used |= long_options(pod["containers"][0]["args"])
    assert len(used) >= 6
    assert used <= known_options


def test_versions_are_in_step() -> None:
    text = (SERVER / "Dockerfile").read_text()
    (triton,) = re.findall(r"^ARG TRITON_VERSION=(\S+)$", text, re.MULTILINE)
    documents = [ROOT / "README.md", *(ROOT / "docs").glob("*.md"), *manifests()]
    for path in documents:
        named = set(re.findall(r"\b2\d\.\d\d-py3\b", path.read_text()))
        assert named <= {triton}, path

    version = metadata.version("syncnet-triton")
    for pod in serving_pods():
        assert pod["containers"][0]["image"].endswith(f"syncnet-server:{version}")

    (balancer,) = pod_spec(overlay("cpu"), "syncnet-balancer")["containers"]
    assert compose()["balancer"]["image"] == balancer["image"]


def test_every_profile_is_explained() -> None:
    configurations = (ROOT / "model_repository").glob("*/configs/*.pbtxt")
    profiles = {"default", *(path.stem for path in configurations)}
    operations = (ROOT / "docs" / "operations.md").read_text()
    _, _, section = operations.partition("## Choosing a profile\n")
    explained = re.findall(r"^\| `([a-z0-9-]+)` \|", section.partition("\n## ")[0], re.MULTILINE)
    assert sorted(explained) == sorted(profiles)
    for path in ("server/compose.yaml", "server/kubernetes/base/server.yaml"):
        text = re.sub(r"\s+#?\s*", " ", (ROOT / path).read_text())
        assert f"{', '.join(explained[:-1])} or {explained[-1]}" in text


def test_images_are_pinned() -> None:
    images = [service["image"] for service in compose().values() if "build" not in service]
    images += [container["image"] for container in kustomize.containers(overlay("cpu"))]
    images += re.findall(r"^ARG \w+_VERSION=(\S+)$", (SERVER / "Dockerfile").read_text(), re.M)
    images += re.findall(
        r"^ARG \w+_VERSION=(\S+)$", (SERVER / "client.Dockerfile").read_text(), re.M
    )
    images += re.findall(
        r"^ARG \w+_VERSION=(\S+)$", (SERVER / "gateway.Dockerfile").read_text(), re.M
    )
    assert len(images) >= 7
    for image in images:
        assert re.search(r"\d+\.\d+", image.rpartition(":")[2]), f"{image} has no fixed version"


# The images


def test_image_runs_as_a_user_without_rights() -> None:
    for name in ("Dockerfile", "client.Dockerfile", "gateway.Dockerfile"):
        assert dockerfile(name)["USER"] == "1000:1000"


def test_everything_that_is_copied_is_sent_to_the_builder() -> None:
    ignore = (ROOT / ".dockerignore").read_text().splitlines()
    sent = {line[1:].rstrip("/") for line in ignore if line.startswith("!")}
    assert "*" in ignore
    for name in ("Dockerfile", "client.Dockerfile", "gateway.Dockerfile"):
        copies = re.findall(r"^COPY (?!--from)(.+) \S+$", (SERVER / name).read_text(), re.M)
        for source in " ".join(copies).split():
            assert (ROOT / source).exists(), source
            assert source.partition("/")[0] in sent, source


@pytest.mark.parametrize("name", ["client.Dockerfile", "gateway.Dockerfile"])
def test_client_images_get_all_that_their_wheel_is_made_of(name: str) -> None:
    project = (ROOT / "pyproject.toml").read_text()
    _, _, wheel = project.partition("[tool.hatch.build.targets.wheel]\n")
    sources = re.findall(r'^(?:  "([^"]+)",|"([^"]+)" = )', wheel.partition("[tool.ruff]")[0], re.M)
    folders = {(package or included).partition("/")[0] for package, included in sources}
    assert folders >= {"client", "export", "model_repository", "server", "training"}
    copied = re.findall(r"^COPY (\S+) \S+$", (SERVER / name).read_text(), re.M)
    assert folders <= set(copied)


@pytest.fixture
def fake_tritonserver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model repository, and a tritonserver on PATH that prints its arguments."""
    repository = tmp_path / "model repository"
    for model in ("video_tower", "audio_tower"):
        (repository / model / "configs").mkdir(parents=True)
        (repository / model / "configs" / "int8.pbtxt").touch()
    program = tmp_path / "bin" / "tritonserver"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\nprintf '%s\\n' \"$@\"\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("SYNCNET_MODEL_REPOSITORY", str(repository))
    monkeypatch.delenv("SYNCNET_PROFILE", raising=False)
    return repository


def run_entrypoint(profile: str | None) -> subprocess.CompletedProcess[str]:
    environment = dict(os.environ)
    if profile is not None:
        environment["SYNCNET_PROFILE"] = profile
    return subprocess.run(
        [SERVER / "entrypoint.sh", "--exit-timeout-secs=30", "--id=two words"],
        env=environment,
        capture_output=True,
        text=True,
    )


def entrypoint_arguments(repository: Path, profile: str | None) -> list[str]:
    result = run_entrypoint(profile)
    assert result.returncode == 0, result.stderr
    arguments = result.stdout.splitlines()
    assert f"--model-repository={repository}" in arguments
    assert arguments[-2:] == ["--exit-timeout-secs=30", "--id=two words"]
    return arguments


@pytest.mark.parametrize(
    ("profile", "name"), [(None, "default"), ("default", "default"), ("int8", "int8")]
)
def test_one_variable_chooses_the_profile(
    fake_tritonserver: Path, profile: str | None, name: str
) -> None:
    assert f"--model-config-name={name}" in entrypoint_arguments(fake_tritonserver, profile)


def test_unknown_profile_is_refused(fake_tritonserver: Path) -> None:
    result = run_entrypoint("int9")
    assert result.returncode == 1
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert line == (f"SYNCNET_PROFILE=int9: no model in {fake_tritonserver} has configs/int9.pbtxt")


def test_shared_memory_of_an_earlier_run_is_removed(fake_tritonserver: Path) -> None:
    own = f"syncnet-container-{platform.node()}-"
    left_behind, of_others = (
        Path("/dev/shm") / f"{prefix}{uuid.uuid4()}" for prefix in (own, "syncnet-container-other-")
    )
    left_behind.touch()
    of_others.touch()
    try:
        arguments = entrypoint_arguments(fake_tritonserver, None)
        assert not left_behind.exists()
        assert of_others.exists()
    finally:
        left_behind.unlink(missing_ok=True)
        of_others.unlink()
    assert f"--backend-config=python,shm-region-prefix-name={own}" in arguments


# Compose


class _Compose(yaml.SafeLoader):
    """YAML with compose's own tag for taking something out of an earlier file."""


_Compose.add_constructor("!reset", lambda *_: "!reset")


def compose(name: str = "compose.yaml") -> dict[str, Any]:
    document = yaml.load((SERVER / name).read_text(), _Compose)
    services: dict[str, Any] = document["services"]
    return services


def test_compose_hardens_every_service() -> None:
    for name, service in compose().items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name


def test_compose_publishes_on_the_loopback_address_alone() -> None:
    services = compose()
    published = [port for service in services.values() for port in service.get("ports", [])]
    assert len(published) == 4
    assert all(port.startswith("127.0.0.1:") for port in published)
    assert "ports" not in services["server"]


def test_compose_mounts_files_that_exist() -> None:
    mounts = [
        mount.split(":")[0]
        for service in compose().values()
        for mount in service.get("volumes", [])
        if mount.startswith(".")
    ]
    assert len(mounts) == 6
    for mount in mounts:
        assert (SERVER / mount).exists(), mount


def test_compose_reserves_a_gpu_that_the_cpu_file_takes_out() -> None:
    server = compose()["server"]
    (device,) = server["deploy"]["resources"]["reservations"]["devices"]
    assert device == {"driver": "nvidia", "count": 1, "capabilities": ["gpu"]}
    assert compose("compose.cpu.yaml")["server"]["deploy"] == "!reset"
    assert server["environment"] == {
        "SYNCNET_PROFILE": "${SYNCNET_PROFILE:-default}",
        "SYNCNET_ADMIN_KEY": "${SYNCNET_ADMIN_KEY:-}",
    }


def test_on_cpus_both_towers_share_one_pool_of_threads() -> None:
    (pod,) = (
        resource["spec"]["template"]["spec"]
        for resource in overlay("cpu")
        if (resource["kind"], resource["metadata"]["name"]) == ("Deployment", "syncnet-server")
    )
    (container,) = pod["containers"]
    cores = container["resources"]["limits"]["cpu"]
    in_kubernetes = container["args"]
    in_compose = compose("compose.cpu.yaml")["server"]["command"]
    assert in_compose[0] == compose()["server"]["command"][0]
    for arguments, threads in ((in_kubernetes, cores), (in_compose, "${SYNCNET_THREADS:-0}")):
        assert arguments[-3:] == [
            "--backend-config=onnxruntime,enable-global-threadpool=1",
            f"--backend-config=onnxruntime,intra_op_thread_count={threads}",
            "--backend-config=onnxruntime,inter_op_thread_count=1",
        ]


def test_engines_lie_in_a_volume_for_each_version_of_the_towers(
    fake_tritonserver: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for model in ("video_tower", "audio_tower"):
        (fake_tritonserver / model / "configs" / "tensorrt-ep.pbtxt").touch()
        for version in ("2", "10"):
            (fake_tritonserver / model / version).mkdir()
    program = tmp_path / "bin" / "tritonserver"
    program.write_text("#!/bin/sh\npwd\n")
    cache = tmp_path / "cache"
    (cache / "version-2").mkdir(parents=True)
    (cache / "version-2" / "old.engine").touch()
    monkeypatch.setenv("SYNCNET_CACHE", str(cache))
    result = run_entrypoint("tensorrt-ep")
    assert result.stdout.splitlines() == [str(cache / "version-10")]
    assert [path.name for path in cache.iterdir()] == ["version-10"]
    assert (cache / "version-10").stat().st_mode & 0o777 == 0o700


def test_the_network_policy_selects_the_pods_of_kserve() -> None:
    (service,) = kustomize.load_all(KUBERNETES / "kserve" / "inference-service.yaml")
    policies = kustomize.load_all(KUBERNETES / "base" / "network-policy.yaml")
    (policy,) = (each for each in policies if each["metadata"]["name"] == "syncnet-server")
    wanted = policy["spec"]["podSelector"]["matchLabels"]
    assert wanted.items() <= service["spec"]["predictor"]["labels"].items()


def test_compose_leaves_time_for_what_is_in_flight() -> None:
    server = compose()["server"]
    assert server["command"] == dockerfile()["CMD"] == ["--exit-timeout-secs=30"]
    assert int(server["stop_grace_period"].removesuffix("s")) >= 30 + 15


# Prometheus and Grafana


@promtool
def test_promtool_accepts_rules_and_configuration() -> None:
    for kind, name in (("rules", "rules.yml"), ("config", "prometheus.yml")):
        subprocess.run(
            ["promtool", "check", kind, SERVER / "prometheus" / name],
            check=True,
            capture_output=True,
        )


@promtool
def test_alerts_fire_when_they_should_and_not_otherwise() -> None:
    result = subprocess.run(
        ["promtool", "test", "rules", SERVER / "prometheus" / "rules_test.yml"],
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    tested = (SERVER / "prometheus" / "rules_test.yml").read_text()
    for alert in alerts():
        assert f"alertname: {alert['alert']}\n" in tested


@promtool
def test_every_query_parses(tmp_path: Path) -> None:
    queries = [*dashboard_queries(), *adapter_queries()]
    assert len(queries) > 20
    rules = [
        {"record": f"query:{number}", "expr": fill_in(query)}
        for number, query in enumerate(queries)
    ]
    path = tmp_path / "queries.yml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "queries", "rules": rules}]}))
    checked = subprocess.run(["promtool", "check", "rules", path], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_alerts_in_kubernetes_are_those_of_compose() -> None:
    (rules,) = kustomize.load_all(SERVER / "prometheus" / "rules.yml")
    for name in OVERLAYS:
        resource = find(overlay(name), "PrometheusRule", "syncnet-server")
        assert resource["spec"] == rules


def test_every_alert_says_what_to_do() -> None:
    operations = (ROOT / "docs" / "operations.md").read_text()
    for alert in alerts():
        assert alert["labels"]["severity"] in {"critical", "warning"}
        assert alert["annotations"]["summary"]
        assert alert["annotations"]["runbook"] == f"docs/operations.md#{alert['alert'].lower()}"
        assert f"### {alert['alert']}\n" in operations


def test_dashboard_is_well_formed() -> None:
    panels = dashboard()["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken = set()
    for panel in panels:
        grid = panel["gridPos"]
        assert grid["x"] + grid["w"] <= 24
        cells = {
            (grid["x"] + column, grid["y"] + line)
            for column in range(grid["w"])
            for line in range(grid["h"])
        }
        assert not cells & taken, f"{panel['title']} lies on another panel"
        taken |= cells
        if panel["type"] != "row":
            assert panel["description"]
            assert panel["datasource"]["uid"] == "${datasource}"


def test_the_models_publish_what_is_asked_for() -> None:
    """Triton's own metrics are compared with a real server's in test_metrics.py."""
    published = set()
    for model in (ROOT / "model_repository").glob("*/1/model.py"):
        published |= set(re.findall(r'"(syncnet_[a-z_]+)"', model.read_text()))
    asked = set()
    for query in [*dashboard_queries(), *(alert["expr"] for alert in alerts())]:
        asked |= {name for name in metric_names(query) if name.startswith("syncnet_")}
    assert asked <= published
    assert published <= asked, "a metric is published that neither dashboard nor alerts use"


@pytest.mark.parametrize("path", manifests(), ids=lambda path: str(path.relative_to(SERVER)))
def test_yaml_has_no_key_twice(path: Path) -> None:
    if path.parent == SERVER:
        assert yaml.load(path.read_text(), _Compose)  # compose merges keys with its own tags
    else:
        assert kustomize.load_all(path)
