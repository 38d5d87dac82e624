"""What a way to run the video tower is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from syncnet_export.precisions import FP16

# bf16 keeps 8 bits of the significand where fp16 keeps 11; the error grows by the same factor.
BF16_TOLERANCE = 8 * FP16.embedding_tolerance
# TensorFloat-32, which PyTorch and ONNX Runtime take for fp32 unless told otherwise, rounds factors
# to 10 bits, as fp16.
TF32_TOLERANCE = FP16.embedding_tolerance

Embed = Callable[[Tensor], Tensor]  # uint8 [B, K+4, 224, 224, 3] to fp32 [B, K, 1024], on the card


class MissingError(Exception):
    """What a way needs is not on this machine; the message says what."""


@dataclass(frozen=True)
class Way:
    """One way to run the video tower.

    Attributes:
        name: for people.
        batch: chunks in a call.
        windows: of a chunk.
        tolerance: largest relative L2 error of an embedding.
        prepare: makes what embeds; raises MissingError where something is not installed.
    """

    name: str
    batch: int
    windows: int
    tolerance: float
    prepare: Callable[[], Embed]
