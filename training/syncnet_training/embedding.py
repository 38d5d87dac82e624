"""The towers of `SyncNet` in the form that trains fast, on the parameters of the published form.

The first video convolution covers all five frames, so it is a 2-D convolution over 15 channels,
and the others have a depth of one: the whole tower is exactly a 2-D network. The functions here run
it that way, channels last, on the parameters of the `SyncNet` they are given. Nothing has to be
converted: what is trained, saved and loaded is the published layout.
"""

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from syncnet_client.contract import WINDOW_FRAMES
from syncnet_export.network import SyncNet

__all__ = ["best_precision", "embed_audio", "embed_video", "video_windows"]


def best_precision(device: torch.device) -> torch.dtype:
    """bfloat16 where the device multiplies it in hardware, else float32."""
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float32
    # AMX; without it bfloat16 convolutions are slower than float32 ones on a CPU.
    return torch.bfloat16 if torch.cpu.get_capabilities().get("amx_bf16") else torch.float32


def video_windows(frames: Tensor, stride: int = 1) -> Tensor:
    """Cut clips into windows of five frames.

    Args:
        frames: uint8 [B, T, 224, 224, 3] BGR.
        stride: frames from one window to the next.

    Returns:
        uint8 [B * K, 15, 224, 224] with K = (T - 5) // stride + 1, channels last in memory.
        Channel 5 c + t is colour c of frame t: the order in which the kernel of the published
        3-D convolution holds its weights.
    """
    windows = frames.unfold(1, WINDOW_FRAMES, stride)  # [B, K, H, W, 3, 5], no copy
    batch, count, height, width, *_ = windows.shape
    return windows.reshape(batch * count, height, width, 3 * WINDOW_FRAMES).permute(0, 3, 1, 2)


def embed_video(network: SyncNet, windows: Tensor) -> Tensor:
    """Embed windows as `SyncNet.forward_video` does.

    Args:
        network: in training mode its norms use and update batch statistics.
        windows: [N, 15, 224, 224] from `video_windows`, values 0 to 255, any type.

    Returns:
        float32 [N, 1024]
    """
    features = windows.to(_compute_type(windows.device))
    for layer in _pools_first(network.netcnnlip):
        features = _apply_2d(layer, features)
    return cast(Tensor, network.netfclip(features.flatten(1))).float()


def embed_audio(network: SyncNet, mfcc: Tensor) -> Tensor:
    """Embed audio windows as `SyncNet.forward_audio` does.

    Args:
        network: whose audio tower is used.
        mfcc: float32 [N, 13, 20].

    Returns:
        float32 [N, 1024]
    """
    windows = mfcc[:, None].to(_compute_type(mfcc.device))
    windows = windows.contiguous(memory_format=torch.channels_last)
    return network.forward_audio(windows).float()


def _compute_type(device: torch.device) -> torch.dtype:
    """The type that convolutions will run in, so that bytes are converted once."""
    if torch.is_autocast_enabled(device.type):
        return torch.get_autocast_dtype(device.type)
    return torch.float32


def _pools_first(tower: nn.Sequential) -> list[nn.Module]:
    """The layers of a tower, each pool before the ReLU it follows.

    The maximum and the ReLU commute; this way the ReLU and its gradient touch a quarter of the
    values, which saves a tenth of a training step.
    """
    layers = list(tower)
    for position, layer in enumerate(layers):
        if isinstance(layer, nn.MaxPool3d) and isinstance(layers[position - 1], nn.ReLU):
            layers[position - 1 : position + 1] = layer, layers[position - 1]
    return layers


def _apply_2d(layer: nn.Module, features: Tensor) -> Tensor:
    """Apply a layer of the 3-D video tower to features [N, C, H, W]."""
    if isinstance(layer, nn.Conv3d):
        # [O, I, D, H, W] with D = 5 (first layer, whose input holds the frames as channels) or 1.
        kernel = layer.weight.flatten(1, 2)
        return F.conv2d(
            features,
            kernel.contiguous(memory_format=torch.channels_last),
            layer.bias,
            cast(tuple[int, int], layer.stride[1:]),
            cast(tuple[int, int], layer.padding[1:]),
        )
    if isinstance(layer, nn.BatchNorm3d):
        return _batch_norm(layer, features)
    if isinstance(layer, nn.MaxPool3d):
        kernel_size, stride, padding = (
            cast(tuple[int, ...], size if isinstance(size, tuple) else (size,) * 3)
            for size in (layer.kernel_size, layer.stride, layer.padding)
        )
        return F.max_pool2d(features, kernel_size[1:], stride[1:], padding[1:])
    return cast(Tensor, layer(features))


def _batch_norm(norm: nn.BatchNorm3d, features: Tensor) -> Tensor:
    """What the module does, which itself takes [N, C, D, H, W] only."""
    if norm.training and norm.num_batches_tracked is not None:
        norm.num_batches_tracked.add_(1)
    return F.batch_norm(
        features,
        norm.running_mean,
        norm.running_var,
        norm.weight,
        norm.bias,
        training=norm.training,
        momentum=norm.momentum if norm.momentum is not None else 0.1,
        eps=norm.eps,
    )
