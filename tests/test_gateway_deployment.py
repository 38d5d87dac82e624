"""The gateway's image, its place in compose, and its component in Kubernetes."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from importlib import metadata
from typing import Any

import kubernetes_validate
import kustomize
import pytest
import yaml
from deployment import KUBERNETES, ROOT, SERVER, dockerfile

from syncnet_gateway.cli import TOKEN_VARIABLE

KUBERNETES_VERSIONS = ("1.30", kubernetes_validate.latest_version())
STATIC = ROOT / "gateway/syncnet_gateway/static"


@pytest.fixture(scope="module")
def resources(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    folder = tmp_path_factory.mktemp("overlay")
    kustomization = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "namespace": "syncnet",
        "resources": [str(KUBERNETES / "overlays" / "cpu")],
        "components": [str(KUBERNETES / "components" / "gateway")],
    }
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
    return kustomize.build(folder)


def find(resources: list[dict[str, Any]], kind: str, name: str) -> dict[str, Any]:
    (found,) = (r for r in resources if (r["kind"], r["metadata"]["name"]) == (kind, name))
    return found


def compose() -> dict[str, Any]:
    document = yaml.safe_load((SERVER / "compose.yaml").read_text())
    service: dict[str, Any] = document["services"]["gateway"]
    return service


def pod(resources: list[dict[str, Any]]) -> dict[str, Any]:
    spec: dict[str, Any] = find(resources, "Deployment", "syncnet-gateway")["spec"]["template"]
    return spec["spec"]


def known_options() -> set[str]:
    done = subprocess.run(
        [sys.executable, "-m", "syncnet_gateway", "--help"],
        capture_output=True,
        text=True,
        check=True,
    )
    return set(re.findall(r"(--[a-z-]+)", done.stdout))


def test_it_meets_the_schemas_of_kubernetes(resources: list[dict[str, Any]]) -> None:
    ours = [r for r in resources if "gateway" in r["metadata"]["name"]]
    assert {r["kind"] for r in ours} == {"Deployment", "Service", "NetworkPolicy"}
    for resource in ours:
        assert resource["metadata"]["namespace"] == "syncnet"
        for version in KUBERNETES_VERSIONS:
            kubernetes_validate.validate(resource, version, strict=True)


def test_it_meets_the_restricted_security_standard(resources: list[dict[str, Any]]) -> None:
    spec = pod(resources)
    assert spec["automountServiceAccountToken"] is False
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    (container,) = spec["containers"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert container["resources"]["limits"]["memory"]


def test_it_reaches_the_server_and_nothing_else(resources: list[dict[str, Any]]) -> None:
    policy = find(resources, "NetworkPolicy", "syncnet-gateway")["spec"]
    targets = [rule["to"][0]["podSelector"]["matchLabels"] for rule in policy["egress"]]
    assert targets == [{"app.kubernetes.io/name": "syncnet-server"}, {"k8s-app": "kube-dns"}]
    door = find(resources, "NetworkPolicy", "syncnet-server-from-gateway")["spec"]
    assert door["ingress"][0]["from"] == [
        {"podSelector": {"matchLabels": {"app.kubernetes.io/name": "syncnet-gateway"}}}
    ]
    service = find(resources, "Service", "syncnet-server")
    host = f"{service['metadata']['name']}.{service['metadata']['namespace']}.svc.cluster.local"
    (container,) = pod(resources)["containers"]
    assert f"--url=dns:///{host}:{service['spec']['ports'][0]['port']}" in container["args"]


def test_it_asks_for_the_token_that_the_documentation_makes(
    resources: list[dict[str, Any]],
) -> None:
    (container,) = pod(resources)["containers"]
    (variable,) = container["env"]
    assert variable["name"] == TOKEN_VARIABLE
    secret = variable["valueFrom"]["secretKeyRef"]
    text = (ROOT / "docs" / "gateway.md").read_text()
    assert f"create secret generic {secret['name']} --from-literal={secret['key']}=" in text
    assert list(compose()["environment"]) == [TOKEN_VARIABLE]


def test_probes_ask_what_there_is(resources: list[dict[str, Any]]) -> None:
    (container,) = pod(resources)["containers"]
    assert container["readinessProbe"]["httpGet"]["path"] == "/readyz"
    assert container["livenessProbe"]["httpGet"]["path"] == "/healthz"
    command = json.loads(dockerfile("gateway.Dockerfile")["HEALTHCHECK"].partition("CMD ")[2])
    assert "http://127.0.0.1:8080/healthz" in command[2]
    assert container["ports"][0]["containerPort"] == int(dockerfile("gateway.Dockerfile")["EXPOSE"])


def test_its_options_exist(resources: list[dict[str, Any]]) -> None:
    (container,) = pod(resources)["containers"]
    image = dockerfile("gateway.Dockerfile")
    used = [*container["args"], *compose()["command"], *image["ENTRYPOINT"], *image["CMD"]]
    options = {word.partition("=")[0] for word in used if word.startswith("--")}
    assert len(options) >= 6
    assert options <= known_options()


def test_there_is_room_for_all_uploads(resources: list[dict[str, Any]]) -> None:
    spec = pod(resources)
    (container,) = spec["containers"]
    limits = dict(word.removeprefix("--").split("=") for word in container["args"])
    uploads_mb = (int(limits["jobs"]) + int(limits["waiting"])) * int(limits["max-size"])
    (work,) = (volume for volume in spec["volumes"] if volume["name"] == "work")
    room_mb = int(work["emptyDir"]["sizeLimit"].removesuffix("Gi")) * 1.073741824e3
    assert room_mb >= 2 * uploads_mb
    assert spec["terminationGracePeriodSeconds"] >= int(limits["exit-timeout"]) + 10


def test_versions_are_in_step(resources: list[dict[str, Any]]) -> None:
    (container,) = pod(resources)["containers"]
    assert container["image"].endswith(f"syncnet-gateway:{metadata.version('syncnet-triton')}")


def test_the_page_brings_the_version_of_its_library_that_is_locked() -> None:
    package = json.loads((ROOT / "gateway/package.json").read_text())
    lock = json.loads((ROOT / "gateway/package-lock.json").read_text())
    version = package["dependencies"]["uplot"]
    assert lock["packages"]["node_modules/uplot"]["version"] == version
    vendored = STATIC / "vendor" / "uplot"
    assert {path.name for path in vendored.iterdir()} == {
        "LICENSE",
        "uPlot.esm.js",
        "uPlot.min.css",
    }
    assert f"(v{version})" in (vendored / "uPlot.esm.js").read_text()[:400]
    assert "MIT" in (vendored / "LICENSE").read_text()
