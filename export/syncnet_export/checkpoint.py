"""Read and write the weights that exports start from."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from syncnet_client.contract import EMBEDDING_SIZE
from syncnet_client.download import file_sha256
from syncnet_export.errors import CheckpointError
from syncnet_export.network import SyncNet

__all__ = ["Checkpoint", "load_checkpoint", "save_checkpoint"]

_COUNTER = ".num_batches_tracked"


@dataclass(frozen=True)
class Checkpoint:
    """Weights of a SyncNet, and the file they came from.

    Attributes:
        path: the file.
        sha256: of the file, in hexadecimal; exported towers carry it.
        state_dict: tensors by the published names, in the types the file has.
    """

    path: Path
    sha256: str
    state_dict: dict[str, Tensor]

    @property
    def half(self) -> bool:
        """Whether the file keeps the weights of all layers as fp16 (see `save_checkpoint`)."""
        return all(
            tensor.dtype == torch.float16
            for key, tensor in self.state_dict.items()
            if _is_layer_weight(key, tensor)
        )

    def network(self) -> SyncNet:
        """The published network with these weights, in eval mode and fp32."""
        return SyncNet.from_state_dict(self.state_dict)


def load_checkpoint(path: str | Path) -> Checkpoint:
    """Read a checkpoint: the published `.model` format (a pickled state dict) or safetensors.

    A pickle is read with `weights_only=True`, so it cannot run code. The channels of every layer
    are read from the tensors. The counters of batch norm, which do nothing in inference and which
    old versions of PyTorch did not write, may be absent.

    Raises:
        CheckpointError: the file cannot be read, or its tensors are not those of a SyncNet; the
            message names the missing, unexpected and misshapen ones.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"no such checkpoint: {path}")
    state_dict = _read(path)
    for key in list(state_dict):
        if key.endswith(".running_mean"):
            counter = key.removesuffix(".running_mean") + _COUNTER
            state_dict.setdefault(counter, torch.tensor(0))
    try:
        network = SyncNet.from_state_dict(state_dict)
    except ValueError as error:
        raise CheckpointError(f"{path}: {error}") from error
    embedding_size = network.netfclip[-1].out_features
    if embedding_size != EMBEDDING_SIZE:
        raise CheckpointError(
            f"{path}: embeddings have {embedding_size} values; the models served with the towers "
            f"expect {EMBEDDING_SIZE}"
        )
    for key, tensor in state_dict.items():
        if not bool(torch.isfinite(tensor.float()).all()):
            raise CheckpointError(f"{path}: {key} holds values that are not finite")
    return Checkpoint(path, file_sha256(path), state_dict)


def save_checkpoint(
    path: str | Path, state_dict: Mapping[str, Tensor], *, half: bool = False
) -> None:
    """Write a state dict as safetensors.

    Args:
        path: the file to write.
        state_dict: tensors by the published names (see `network.SyncNet`).
        half: round the weights of the layers to fp16; norms and biases stay as they are. The
            files exported from such a checkpoint are half as large, and still exactly its network.
    """
    tensors = {
        key: (tensor.half() if half and _is_layer_weight(key, tensor) else tensor).contiguous()
        for key, tensor in state_dict.items()
    }
    save_file(tensors, path)


def _is_layer_weight(key: str, tensor: Tensor) -> bool:
    """Whether this is the weight of a convolution or fully connected layer, not of a norm."""
    return key.endswith(".weight") and tensor.ndim >= 2


def _read(path: Path) -> dict[str, Tensor]:
    loaded: object
    try:
        if path.suffix == ".safetensors":
            loaded = load_file(path)
        else:
            loaded = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise CheckpointError(f"{path}: not a file of weights alone: refused") from error
    except (SafetensorError, OSError, RuntimeError, EOFError, KeyError, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CheckpointError(f"{path}: not a readable checkpoint: {reason}") from error
    if not isinstance(loaded, Mapping):
        raise CheckpointError(f"{path}: holds a {type(loaded).__name__}, expected a state dict")
    for key, tensor in loaded.items():
        if not isinstance(key, str) or not isinstance(tensor, Tensor):
            raise CheckpointError(
                f"{path}: {key!r} is a {type(tensor).__name__}, expected tensors only"
            )
    return dict(loaded)
