"""What ``syncnet_client`` exports: all that its users need to type their own code."""

from __future__ import annotations

import ast
import inspect
import re
from dataclasses import fields
from pathlib import Path
from typing import get_type_hints

import pytest

import syncnet_client
from syncnet_client.scoring.options import (
    ScoreKeywords,
    ScoreOptions,
    WatchKeywords,
    WatchOptions,
)
from syncnet_server import default_model_repository

OURS = ("syncnet_client", "syncnet_export", "syncnet_server", "syncnet_training")
PROJECT = Path(__file__).parents[1]


def ours(annotation: object) -> set[str]:
    """Names in an annotation that look like classes of this project."""
    defined = {
        node.name
        for file in (PROJECT / "client").rglob("*.py")
        for node in ast.parse(file.read_text()).body
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_")
    }
    return set(re.findall(r"\b[A-Z]\w+", str(annotation))) & defined


@pytest.mark.parametrize("name", syncnet_client.__all__)
def test_types_of_public_signatures_are_exported(name: str) -> None:
    exported = getattr(syncnet_client, name)
    mentioned: set[str] = set()
    if inspect.isclass(exported):
        members = [*vars(exported).values(), exported]
        for member in members:
            function = member.fget if isinstance(member, property) else member
            if inspect.isfunction(function) and not function.__name__.startswith("_"):
                mentioned |= ours(function.__annotations__)
        mentioned |= ours(getattr(exported, "__annotations__", {}))
        mentioned |= ours(getattr(exported.__init__, "__annotations__", {}))
    assert mentioned <= set(syncnet_client.__all__)


@pytest.mark.parametrize(
    ("options", "keywords"), [(ScoreOptions, ScoreKeywords), (WatchOptions, WatchKeywords)]
)
def test_every_option_is_a_keyword_argument(options: type, keywords: type) -> None:
    assert {each.name for each in fields(options)} == set(keywords.__annotations__)
    assert vars(options()) == options().keywords()


def test_models_import_nothing_of_ours() -> None:
    """The repository is deployed without the packages."""
    files = list(default_model_repository().rglob("*.py"))
    assert files
    for file in files:
        for node in ast.walk(ast.parse(file.read_text())):
            names = [alias.name for alias in getattr(node, "names", [])]
            names.append(getattr(node, "module", None) or "")
            assert not any(name.split(".")[0] in OURS for name in names), file


def test_measurements_are_typed() -> None:
    assert get_type_hints(syncnet_client.Update)["windows"] is int
