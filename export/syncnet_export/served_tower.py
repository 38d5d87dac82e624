"""The form of the towers that is served: the published network, rewritten exactly.

Four things differ from the published form, and the numbers stay the same:

* Batch norm is folded into the layer before it.
* The first video convolution sees five frames of three colours at once, and every later one a
  single frame, so 3-D convolutions over time are 2-D ones over 15 channels. That is faster on
  every runtime.
* The last convolution of a tower covers its whole input, so it is a fully connected layer.
* The video tower cuts its windows itself, from consecutive frames as they come from a decoder
  (RGB bytes, colours last): every frame is sent once, not once per window it is part of. The
  published network takes BGR, so the first convolution's channels are in reverse order here.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from syncnet_client.contract import EMBEDDING_SIZE, WINDOW_FRAMES
from syncnet_export.network import SyncNet
from syncnet_export.tower_specs import VIDEO, TowerSpec

__all__ = ["LayerWeight", "ServedTower", "serving_form"]


_COLOURS = 3
_Convolution = (nn.Conv2d, nn.Conv3d)


@dataclass(frozen=True)
class LayerWeight:
    """The weight of a folded layer as the product it was made from: ``raw * factor``.

    Attributes:
        raw: the checkpoint's weight, with its axes in serving order, [outputs, inputs, ...].
        factor: what the folded norm multiplies each output with, [outputs, 1, ...]; None without
            a norm.
    """

    raw: Tensor
    factor: Tensor | None


class ServedTower(nn.Module):
    """One tower in the form that is served.

    Attributes:
        spec: names and shapes of its tensors.
        aligned: whether the first video convolution has 16 channels in place of 15, see
            `_align_first_layer`.
        bytes_first: whether frames are cut into windows as bytes and become floats right before
            the first convolution. Otherwise they become floats at once: TensorRT takes bytes as
            an input, and does nothing else with them.
        weights: how the weight of each layer was made, by its name in this module.
    """

    def __init__(
        self,
        spec: TowerSpec,
        convolutions: nn.Sequential,
        head: nn.Sequential,
        *,
        aligned: bool = False,
        bytes_first: bool = False,
    ) -> None:
        super().__init__()
        self.spec = spec
        self.aligned = aligned
        self.bytes_first = bytes_first
        self.weights: dict[str, LayerWeight] = {}
        modules = [*convolutions, *head]
        last = max(
            index for index, module in enumerate(modules) if isinstance(module, _Convolution)
        )
        layers: list[nn.Module] = []
        for index, module in enumerate(modules):
            if index == last:
                layers.append(nn.Flatten(1))
            if isinstance(module, (*_Convolution, nn.Linear)):
                # Every layer is followed by its norm, but for the last, which has none.
                norm = modules[index + 1] if index + 1 < len(modules) else None
                served, weight = _fold(module, norm, flat=index >= last)
                self.weights[f"layers.{len(layers)}.weight"] = weight
                layers.append(served)
            elif isinstance(module, nn.ReLU):
                layers.append(nn.ReLU())
            elif isinstance(module, (nn.MaxPool2d, nn.MaxPool3d)):
                layers.extend(_pool(module))
        if aligned and spec is VIDEO:
            layers[0] = self._align_first_layer(layers[0])
            first = self.weights["layers.0.weight"]
            self.weights["layers.0.weight"] = LayerWeight(_with_channel(first.raw), first.factor)
        self.layers = nn.Sequential(*layers)
        self.eval()

    def forward(self, inputs: Tensor) -> Tensor:
        """Embed every window of every batch entry.

        Args:
            inputs: for the video tower uint8 [B, K+4, 224, 224, 3], consecutive RGB frames; for
                the audio tower float [B, A, 13, 20], MFCC windows.

        Returns:
            float [B, K, 1024] or [B, A, 1024]
        """
        batch = inputs.shape[0]
        windows = self._video_windows(inputs) if self.spec is VIDEO else inputs.unsqueeze(2)
        embeddings: Tensor = self.layers(windows.flatten(0, 1).float())
        return embeddings.reshape(batch, -1, EMBEDDING_SIZE)

    def _video_windows(self, frames: Tensor) -> Tensor:
        """[B, K+4, 224, 224, 3] to [B, K, 15 or 16, 224, 224], channel 3 * frame + colour."""
        if not self.bytes_first:
            frames = frames.float()
        planes = frames.permute(0, 1, 4, 2, 3).flatten(1, 2)
        channels = torch.arange(_COLOURS * WINDOW_FRAMES)
        if self.aligned:
            channels = torch.cat([channels, channels[-1:]])
        windows = torch.arange(frames.shape[1] - self.spec.surplus)
        chosen = (_COLOURS * windows[:, None] + channels).flatten()
        return torch.unflatten(planes.index_select(1, chosen), 1, (-1, len(channels)))

    @staticmethod
    def _align_first_layer(layer: nn.Module) -> nn.Module:
        """The first video convolution with a sixteenth channel, whose weights are zero.

        Integer convolutions on CPUs read their patches 16 bytes at a time; with 15 channels none of
        them is aligned, and this layer, which is half the tower, takes 1.4 times as long. Matrix
        units of GPUs want multiples of 8 channels in half precision and of 16 in int8.
        """
        assert isinstance(layer, nn.Conv2d)
        aligned = nn.Conv2d(16, layer.out_channels, (7, 7), stride=2)
        assert layer.bias is not None
        weight = _with_channel(layer.weight.detach())
        aligned.load_state_dict({"weight": weight, "bias": layer.bias.detach()})
        return aligned


def serving_form(
    network: SyncNet, spec: TowerSpec, *, aligned: bool = False, bytes_first: bool = False
) -> ServedTower:
    """The tower of a network in eval mode, in the form that is served (see `ServedTower`)."""
    if spec is VIDEO:
        towers = network.netcnnlip, network.netfclip
    else:
        towers = network.netcnnaud, network.netfcaud
    return ServedTower(spec, *towers, aligned=aligned, bytes_first=bytes_first)


def _fold(
    layer: nn.Conv2d | nn.Conv3d | nn.Linear, norm: nn.Module | None, *, flat: bool
) -> tuple[nn.Module, LayerWeight]:
    """The layer with the norm that follows it, if one does, folded in; computed in fp64.

    norm(Wx + b) = g (Wx + b - m) / s + h = (g/s) W x + (g/s) (b - m) + h, per output channel.
    A `flat` layer comes out fully connected.
    """
    raw = layer.weight.detach()
    if isinstance(layer, nn.Conv3d):
        raw = _without_time(raw)
    if flat:
        raw = raw.flatten(1)
    assert layer.bias is not None  # every layer of the published network has one
    bias = layer.bias.detach().double()
    factor = None
    if isinstance(norm, (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)):
        assert norm.running_mean is not None
        assert norm.running_var is not None
        scale = norm.weight.detach().double() / (norm.running_var.double() + norm.eps).sqrt()
        bias = scale * (bias - norm.running_mean.double()) + norm.bias.detach().double()
        factor = scale.float().reshape(-1, *[1] * (raw.ndim - 1))
    served: nn.Module
    if flat or isinstance(layer, nn.Linear):
        served = nn.Linear(raw.shape[1], raw.shape[0])
    else:
        served = nn.Conv2d(
            raw.shape[1],
            raw.shape[0],
            (raw.shape[2], raw.shape[3]),
            stride=layer.stride[-2:],  # type: ignore[arg-type]
            padding=layer.padding[-2:],  # type: ignore[arg-type]
        )
    folded = raw if factor is None else raw * factor
    served.load_state_dict({"weight": folded, "bias": bias.float()})
    return served, LayerWeight(raw, factor)


def _without_time(weight: Tensor) -> Tensor:
    """A 3-D convolution's weight [O, I, T, H, W] for frames side by side, [O, T * I, H, W].

    Where T is more than 1 this is the first layer, whose inputs are colours: they come as RGB
    instead of BGR, so they are flipped.
    """
    outputs, _, frames, *size = weight.shape
    if frames > 1:
        weight = weight.flip(1)
    return weight.transpose(1, 2).reshape(outputs, -1, *size).contiguous()


def _with_channel(weight: Tensor) -> Tensor:
    """The weight of a 2-D convolution with one input channel more, which counts for nothing."""
    return nn.functional.pad(weight, (0, 0, 0, 0, 0, 1))


def _pool(layer: nn.MaxPool2d | nn.MaxPool3d) -> list[nn.Module]:
    """The pool over the two axes of an image; nothing for a pool of single values."""
    kernel, stride, padding = (
        size[-2:] if isinstance(size, tuple) else (size, size)
        for size in (layer.kernel_size, layer.stride, layer.padding)
    )
    if kernel == (1, 1) and stride == (1, 1):
        return []
    return [nn.MaxPool2d(kernel, stride, padding)]
