"""Options that several commands have in common."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, get_args

from typer.models import OptionInfo

__all__ = ["parameters_of", "takes"]

TITLES = {"how": "Scoring"}  # of groups whose parameter has another name


def takes(**groups: Callable[..., Any]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Let parameters of a command be made of options.

    On the command line, the parameters of the group's function stand where the command has the one
    parameter that is named after the group; the command gets what the function returns. In the
    help they stand under the group's name.

    Args:
        groups: a function for the name of each such parameter.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        parameters = []
        for parameter in parameters_of(command):
            group = groups.get(parameter.name)
            if group is None:
                parameters.append(parameter)
            else:
                parameters += [_titled(each, parameter.name) for each in parameters_of(group)]

        @functools.wraps(command)
        def run(**values: Any) -> None:
            for name, group in groups.items():
                made_of = {each.name: values.pop(each.name) for each in parameters_of(group)}
                values[name] = group(**made_of)
            command(**values)

        # What typer makes the options of.
        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        run.__annotations__ = {each.name: each.annotation for each in parameters}
        return run

    return decorate


def parameters_of(function: Callable[..., Any]) -> list[inspect.Parameter]:
    """With the types themselves as annotations, and only by name: so their order is free."""
    return [
        parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)
        for parameter in inspect.signature(function, eval_str=True).parameters.values()
    ]


def _titled(parameter: inspect.Parameter, group: str) -> inspect.Parameter:
    for setting in get_args(parameter.annotation)[1:]:
        if isinstance(setting, OptionInfo):
            setting.rich_help_panel = TITLES.get(group, group.capitalize())
    return parameter
