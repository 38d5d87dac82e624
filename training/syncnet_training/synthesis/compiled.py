"""Typed face of numba's compiler: inner loops that numpy can't express at video rate."""

from collections.abc import Callable
from typing import TypeVar, cast

import numba

F = TypeVar("F", bound=Callable[..., object])


def compiled(function: F) -> F:
    """Compile `function` to machine code at its first call; the result is cached on disk."""
    return cast(F, numba.njit(cache=True, nogil=True)(function))
