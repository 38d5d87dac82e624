"""Which layers of an int8 tower stay in fp32, so that it is the network it was made from.

Most checkpoints need none. Where the error is too large, the layers that add most to it go back to
fp32, one after the other; with all of them back, the file is the fp32 one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from syncnet_export.int8 import LayerStatistics

__all__ = ["LayerChoice"]

# Of the tolerance; the rest is for inputs that the choice was not made on.
_MARGIN = 0.9


@dataclass
class LayerChoice:
    """The layers of one tower that stay in fp32.

    Attributes:
        layers: all that can be bytes, by the names of their weights, first to last.
        tolerance: largest relative error of an embedding.
        error: tells it for a choice of kept layers, on inputs at hand.
        kept: those that are chosen so far.
    """

    layers: Sequence[str]
    tolerance: float
    error: Callable[[Sequence[str]], float]
    kept: list[str] = field(default_factory=list)
    _ranking: list[str] | None = None

    def settle(self) -> None:
        """Keep layers until the error is within the tolerance, with a margin."""
        while self.error(self.kept) > _MARGIN * self.tolerance and self.keep_another():
            pass

    def keep_another(self) -> bool:
        """Keep the layer that adds most to the error of those that are left; False if none is."""
        if self._ranking is None:
            alone = {
                layer: self.error([other for other in self.layers if other != layer])
                for layer in self.layers
            }
            self._ranking = sorted(self.layers, key=lambda layer: -alone[layer])
        left = [layer for layer in self._ranking if layer not in self.kept]
        self.kept += left[:1]
        return bool(left)

    def describe(self, statistics: Mapping[str, LayerStatistics]) -> str:
        """The kept layers and their share of the work: ``convolution 3 (20 %)``, or nothing.

        Args:
            statistics: of all convolutions, first to last.
        """
        total = sum(layer.products for layer in statistics.values())
        return ", ".join(
            f"convolution {number} ({layer.products / total:.0%})"
            for number, (name, layer) in enumerate(statistics.items(), 1)
            if name in self.kept
        ).replace("%", " %")
