"""The query options of the gateway, made of the client's own options."""

from __future__ import annotations

import math
from dataclasses import MISSING, Field, fields
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, create_model
from pydantic import Field as QueryField

from syncnet_client.errors import UsageError
from syncnet_client.scoring.options import Flag, ScoreOptions

__all__ = ["OFFERED", "Query", "describe", "make_query"]

# The fields of ScoreOptions that callers may set: what changes the answer, opens no file of the
# gateway's machine, and costs no more than the limits allow for.
OFFERED = (
    "protocol",
    "vshift",
    "search",
    "crop",
    "detector",
    "segment_s",
    "min_agreement",
    "min_confidence",
    "audio_clock",
)


class Query(BaseModel):
    """Query options. The subclass that ``make_query`` gives has those of ``score``."""

    model_config = ConfigDict(extra="forbid")

    def keywords(self) -> dict[str, Any]:
        """The options as keyword arguments of ``SyncNetClient.score``."""
        return {name: getattr(self, _query_name(_flag(name))) for name in OFFERED}


def make_query(name: str, **more: Any) -> type[Query]:
    """A model of the query options of ``score``.

    Args:
        name: of the model.
        more: further options, each a type and a default.
    """
    options: dict[str, Any] = {}
    for each in _offered():
        flag: Flag = each.metadata["flag"]
        options[_query_name(flag)] = (
            _type(each),
            QueryField(_default(each), description=flag.help),
        )
    return create_model(name, __base__=Query, **options, **more)


def describe() -> list[dict[str, Any]]:
    """The options in types that JSON knows, for the page."""
    return [
        {
            "name": _query_name(flag := each.metadata["flag"]),
            "help": flag.help,
            "default": _default(each),
            "number": _is_number(each),
            "whole": isinstance(_default(each), int),
            "least": None if math.isinf(flag.least) else flag.least,
            "most": flag.most,
            "form": flag.metavar,
        }
        for each in _offered()
    ]


def _offered() -> list[Field[Any]]:
    return [each for each in fields(ScoreOptions) if each.name in OFFERED]


def _flag(name: str) -> Flag:
    (flag,) = (each.metadata["flag"] for each in fields(ScoreOptions) if each.name == name)
    assert isinstance(flag, Flag)
    return flag


def _query_name(flag: Flag) -> str:
    """The name of the option on the command line, as names in queries are written."""
    return str(flag.name).removeprefix("--").replace("-", "_")


def _default(option: Field[Any]) -> Any:
    return option.default if option.default is not MISSING else None


def _is_number(option: Field[Any]) -> bool:
    return isinstance(_default(option), (int, float)) and not isinstance(_default(option), bool)


def _type(option: Field[Any]) -> Any:
    flag: Flag = option.metadata["flag"]
    if _is_number(option):
        least = None if math.isinf(flag.least) else flag.least
        return Annotated[type(option.default), QueryField(ge=least, le=flag.most)]
    text = Annotated[str, AfterValidator(_parser(flag))]
    return text | None if _default(option) is None else text


def _parser(flag: Flag) -> Any:
    """Parse as the command line does, with errors that name the option as it was sent."""

    def parse(text: str) -> Any:
        try:
            return text if flag.parse is None else flag.parse(text)
        except UsageError as error:
            raise ValueError(str(error).replace(flag.name, _query_name(flag))) from error

    return parse
