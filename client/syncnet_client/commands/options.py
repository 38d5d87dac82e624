"""The options that say how to score or watch, made of the fields of the classes that hold them."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Collection
from dataclasses import Field, fields
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from syncnet_client.scoring.options import Flag, ScoreOptions, WatchOptions

__all__ = ["options_of"]

T = TypeVar("T", ScoreOptions, WatchOptions)


def options_of(options: type[T], *, without: Collection[str] = ()) -> Callable[..., T]:
    """Give a function whose parameters are the command-line options of ``options``.

    It returns an instance of ``options``, and raises a ``UsageError`` for a value that cannot be
    meant, or a detector that is not here.

    Args:
        options: the class.
        without: names of fields that keep their defaults.
    """
    offered = [each for each in fields(options) if each.name not in without]
    flags: dict[str, Flag] = {each.name: each.metadata["flag"] for each in offered}

    def make(**values: Any) -> T:
        for name, flag in flags.items():
            if flag.parse is not None and isinstance(values[name], str):
                values[name] = flag.parse(values[name])
        made = options(**values)
        from syncnet_client.faces import make_cropper  # OpenCV takes its time to load

        make_cropper(made.crop, detector=made.detector, yunet=made.yunet)
        return made

    make.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [_parameter(each) for each in offered], return_annotation=options
    )
    return make


def _parameter(option: Field[Any]) -> inspect.Parameter:
    flag: Flag = option.metadata["flag"]
    kind: Any = str if flag.parse is not None else type(option.default)
    if option.default is None:
        kind = (Path if flag.existing_file else kind) | None
    settings = typer.Option(
        flag.name,
        metavar=flag.metavar,
        help=flag.help,
        min=None if math.isinf(flag.least) else flag.least,
        max=flag.most,
        exists=flag.existing_file,
        dir_okay=not flag.existing_file,
    )
    return inspect.Parameter(
        option.name,
        inspect.Parameter.KEYWORD_ONLY,
        default=option.default,
        annotation=Annotated[kind, settings],
    )
