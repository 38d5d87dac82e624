"""Rates of calls, with and without copies to the card, and the card's own peak."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
from torch import Tensor

from benchmarks.gpu.way import Embed

_WARM_UP_S = 1.0  # of products, before the peak is measured: clocks rise in the first moments
_PRODUCTS = 20  # timed together


def synchronise(device: torch.device) -> None:
    """Wait until the card has done all it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def matrix_peak(device: torch.device, size: int) -> float:
    """FLOP/s of bf16 matrix products of `size`, 20 in a row, on random values and warm clocks."""
    a, b = (torch.randn(size, size, device=device, dtype=torch.bfloat16) for _ in range(2))
    product = torch.empty(size, size, device=device, dtype=torch.bfloat16)

    def products() -> None:
        for _ in range(_PRODUCTS):
            torch.mm(a, b, out=product)

    warm = time.perf_counter() + _WARM_UP_S
    while time.perf_counter() < warm:
        _seconds(products, device)
    return _PRODUCTS * 2 * size**3 / _seconds(products, device)


def rates(embed: Embed, frames: Tensor, device: torch.device, calls: int) -> dict[str, float]:
    """Calls per second.

    Args:
        embed: what is timed.
        frames: of one call, in pinned memory where the device is a GPU.
        device: to compute on.
        calls: timed together.

    Returns:
        `on_card`: the frames lie there already; on a GPU also `copied`: each call waits for its
        copy; and `overlapped`: a second stream copies the next call's frames meanwhile.
    """
    resident = frames.to(device)

    def on_card() -> None:
        for _ in range(calls):
            embed(resident)

    def copied() -> None:
        for _ in range(calls):
            resident.copy_(frames, non_blocking=True)
            embed(resident)

    ways: dict[str, Callable[[], None]] = {"on_card": on_card}
    if device.type == "cuda":
        ways |= {"copied": copied, "overlapped": lambda: _overlapped(embed, frames, device, calls)}
    return {name: calls / _seconds(way, device) for name, way in ways.items()}


def _overlapped(embed: Embed, frames: Tensor, device: torch.device, calls: int) -> None:
    """Copy the frames of the next call on a stream of its own while this one is computed."""
    computing = torch.cuda.current_stream(device)
    copying = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
    copying.wait_stream(computing)
    places = [torch.empty_like(frames, device=device) for _ in range(2)]
    filled, used = (
        [torch.cuda.Event() for _ in places]  # type: ignore[no-untyped-call]
        for _ in range(2)
    )

    def fill(place: int) -> None:
        with torch.cuda.stream(copying):
            copying.wait_event(used[place])  # one that was never recorded is no obstacle
            places[place].copy_(frames, non_blocking=True)
            filled[place].record(copying)

    fill(0)
    for call in range(calls):
        if call + 1 < calls:  # before the call itself, which may wait for its own end
            fill((call + 1) % 2)
        computing.wait_event(filled[call % 2])
        embed(places[call % 2])
        used[call % 2].record(computing)
    synchronise(device)  # before the places' memory is given away


def _seconds(work: Callable[[], None], device: torch.device) -> float:
    synchronise(device)
    started = time.perf_counter()
    work()
    synchronise(device)
    return time.perf_counter() - started
