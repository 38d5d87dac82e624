"""The part of kustomize that the project's manifests use, so that overlays are tested as built.

Whatever it does not know is an error and not passed over. Where the real `kustomize` is installed,
a test compares the two.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonpatch
import yaml

Resource = dict[str, Any]

_CLUSTER_WIDE = {"Namespace"}


class _UniqueKeys(yaml.SafeLoader):
    """YAML whose mappings name no key twice; PyYAML alone would take the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        merges = [key for key, _ in node.value if key.tag == "tag:yaml.org,2002:merge"]
        if len(keys) - len(merges) != len(set(map(str, keys)) - {"<<"}):
            raise yaml.YAMLError(f"{node.start_mark}: a key stands twice")
        return super().construct_mapping(node, deep)


def load_all(path: Path) -> list[Any]:
    """The documents of a YAML file; a mapping with a repeated key is an error."""
    return list(yaml.load_all(path.read_text(), _UniqueKeys))


def build(folder: Path) -> list[Resource]:
    """What `kustomize build FOLDER` would print, but for the hashes in names."""
    kustomization = dict(load_all(folder / "kustomization.yaml")[0])
    kind = kustomization.pop("kind")
    assert kind == "Kustomization", f"{folder} is a {kind}"
    return _apply(folder, kustomization, [])


def _apply(folder: Path, kustomization: dict[str, Any], given: list[Resource]) -> list[Resource]:
    fields = dict(kustomization)
    fields.pop("apiVersion")
    resources = list(given)
    for name in fields.pop("resources", []):
        resources += _resources(folder / name)
    for generator in fields.pop("configMapGenerator", []):
        resources.append(_config_map(folder, generator))
    # Components see what their kustomization has gathered; its own patches come after them.
    for name in fields.pop("components", []):
        component = dict(load_all(folder / name / "kustomization.yaml")[0])
        assert component.pop("kind") == "Component"
        resources = _apply(folder / name, component, resources)
    for patch in fields.pop("patches", []):
        _patch(resources, **patch)
    for label in fields.pop("labels", []):
        _label(resources, **label)
    for image in fields.pop("images", []):
        _rename_image(resources, **image)
    namespace = fields.pop("namespace", None)
    for resource in resources:
        if namespace and resource["kind"] not in _CLUSTER_WIDE:
            resource["metadata"]["namespace"] = namespace
    assert not fields, f"{folder}: tests/kustomize.py does not know {sorted(fields)}"
    return resources


def _resources(path: Path) -> list[Resource]:
    return build(path) if path.is_dir() else load_all(path)


def _config_map(folder: Path, generator: dict[str, Any]) -> Resource:
    assert set(generator) == {"name", "files"}
    data = {}
    for entry in generator["files"]:
        key, _, name = entry.rpartition("=")
        # kustomize reads no files from outside its own folder
        assert "/" not in name, f"{folder}: {name} lies elsewhere"
        data[key or name] = (folder / name).read_text()
    metadata = {"name": generator["name"]}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}


def _patch(resources: list[Resource], *, target: dict[str, str], patch: str) -> None:
    matching = [
        index
        for index, resource in enumerate(resources)
        if resource["kind"] == target["kind"] and resource["metadata"]["name"] == target["name"]
    ]
    assert len(matching) == 1, f"{len(matching)} resources match {target}"
    operations = yaml.load(patch, _UniqueKeys)
    resources[matching[0]] = jsonpatch.apply_patch(resources[matching[0]], operations)


def _label(resources: list[Resource], *, pairs: dict[str, str], includeTemplates: bool) -> None:  # noqa: N803
    assert includeTemplates
    for resource in resources:
        holders = [resource]
        if "template" in resource.get("spec", {}):
            holders.append(resource["spec"]["template"])
        for holder in holders:
            labels = holder["metadata"].get("labels", {})
            holder["metadata"]["labels"] = {**labels, **pairs}


def _rename_image(
    resources: list[Resource],
    *,
    name: str,
    newName: str,  # noqa: N803
    newTag: str,  # noqa: N803
) -> None:
    renamed = [
        container
        for container in containers(resources)
        if re.sub(r":[^/:]+$", "", container["image"]) == name
    ]
    assert renamed, f"no container has the image {name}"
    for container in renamed:
        container["image"] = f"{newName}:{newTag}"


def containers(resources: list[Resource]) -> Iterator[dict[str, Any]]:
    """The containers of all Deployments among the resources."""
    for resource in resources:
        if resource["kind"] == "Deployment":
            yield from resource["spec"]["template"]["spec"]["containers"]
