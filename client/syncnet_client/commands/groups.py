"""Options that several commands have in common."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

__all__ = ["takes"]


def takes(**groups: Callable[..., Any]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Let parameters of a command be made of options.

    On the command line, the parameters of the group's function stand where the command has the one
    parameter that is named after the group; the command gets what the function returns.

    Args:
        groups: a function for the name of each such parameter.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        parameters = []
        for parameter in _parameters(command):
            group = groups.get(parameter.name)
            parameters += [parameter] if group is None else _parameters(group)

        @functools.wraps(command)
        def run(**values: Any) -> None:
            for name, group in groups.items():
                made_of = {each.name: values.pop(each.name) for each in _parameters(group)}
                values[name] = group(**made_of)
            command(**values)

        # What typer makes the options of.
        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        run.__annotations__ = {each.name: each.annotation for each in parameters}
        return run

    return decorate


def _parameters(function: Callable[..., Any]) -> list[inspect.Parameter]:
    """With the types themselves as annotations, and only by name: so their order is free."""
    return [
        parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)
        for parameter in inspect.signature(function, eval_str=True).parameters.values()
    ]
