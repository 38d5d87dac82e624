"""The two towers: what they are called, and the tensors they take and give."""

from __future__ import annotations

from dataclasses import dataclass

from syncnet_client.contract import (
    FRAME_SIZE,
    MFCC_COEFFICIENTS,
    MFCC_FRAMES,
    SYNCNET,
    WINDOW_FRAMES,
)

__all__ = ["AUDIO", "TOWERS", "VIDEO", "TowerSpec"]


@dataclass(frozen=True)
class TowerSpec:
    """What a tower is called, and the tensors it takes and gives.

    Attributes:
        name: the model in the repository.
        input_name, output_name: the tensors.
        input_type: of the elements, by its numpy name.
        input_dims: dimensions after (batch, frames or windows).
        input_axis: the name of the input's second dimension.
        surplus: by how much that dimension exceeds the number of windows.
    """

    name: str
    input_name: str
    output_name: str
    input_type: str
    input_dims: tuple[int, ...]
    input_axis: str
    surplus: int

    def input_shape(self, batch: int, windows: int) -> tuple[int, ...]:
        """The shape of an input that holds this many windows per batch entry."""
        return (batch, windows + self.surplus, *self.input_dims)


VIDEO = TowerSpec(
    name=SYNCNET.video_tower,
    input_name=SYNCNET.frames,
    output_name=SYNCNET.video_embeddings,
    input_type="uint8",
    input_dims=(FRAME_SIZE, FRAME_SIZE, 3),
    input_axis="frames",
    surplus=WINDOW_FRAMES - 1,
)
AUDIO = TowerSpec(
    name=SYNCNET.audio_tower,
    input_name=SYNCNET.mfcc,
    output_name=SYNCNET.audio_embeddings,
    input_type="float32",
    input_dims=(MFCC_COEFFICIENTS, MFCC_FRAMES),
    input_axis="windows",
    surplus=0,
)
TOWERS = (VIDEO, AUDIO)
