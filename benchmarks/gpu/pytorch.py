"""The video tower in PyTorch: as published, and in the form that is served, compiled."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.gpu.way import BF16_TOLERANCE, TF32_TOLERANCE, Embed, Way
from syncnet_client.contract import FRAME_SIZE, WINDOW_FRAMES
from syncnet_export.network import SyncNet
from syncnet_export.precisions import FP16, FP32
from syncnet_export.served_tower import serving_form
from syncnet_export.tower_specs import VIDEO

_PUBLISHED_BATCH = 20  # windows in a call of the published script
_HALVES = (
    ("bf16", torch.bfloat16, BF16_TOLERANCE),
    ("fp16", torch.float16, FP16.embedding_tolerance),
)


def as_published(network: SyncNet, frames: Tensor) -> Tensor:
    """The published network on every window of consecutive frames.

    Args:
        network: in fp32.
        frames: uint8 [1, K+4, 224, 224, 3] RGB.

    Returns:
        fp32 [1, K, 1024]
    """
    planes = frames[0].flip(-1).permute(3, 0, 1, 2).float()  # BGR, [3, K+4, 224, 224]
    windows = planes.unfold(1, WINDOW_FRAMES, 1).permute(1, 0, 4, 2, 3)
    return network.forward_video(windows.contiguous())[None]


def pytorch_ways(network: SyncNet, device: torch.device, windows: tuple[int, ...]) -> Iterator[Way]:
    """Yield the published network first; it also takes the published batch and the largest only."""
    gpu = device.type == "cuda"
    for count in (_PUBLISHED_BATCH, max(windows)):
        yield Way(
            f"PyTorch, published Conv3d, eager {'TF32' if gpu else 'fp32'}, batch {count}",
            batch=1,
            windows=count,
            tolerance=TF32_TOLERANCE if gpu else FP32.embedding_tolerance,
            prepare=lambda: functools.partial(as_published, network),
        )
    for name, dtype, tolerance in _HALVES:
        compiled = functools.cache(
            functools.partial(_compiled, network, device, dtype)  # once for all its ways
        )
        for count in windows:
            served = f"PyTorch, served form, compiled {name} channels-last"
            yield Way(f"{served}, batch {count}", 1, count, tolerance, compiled)
            if gpu:
                yield Way(
                    f"{served}, CUDA graph, batch {count}",
                    1,
                    count,
                    tolerance,
                    functools.partial(_graph, compiled, count, device),
                )


class _Served(nn.Module):
    """The served form with 16 input channels, windows cut from frames with colours last."""

    def __init__(self, layers: nn.Module, dtype: torch.dtype) -> None:
        super().__init__()
        self.layers = layers
        self._dtype = dtype

    def forward(self, frames: Tensor) -> Tensor:
        """Embed uint8 [1, K+4, 224, 224, 3] as fp32 [1, K, 1024]."""
        count = frames.shape[1] - WINDOW_FRAMES + 1
        shifted = [frames[0, start : start + count] for start in range(WINDOW_FRAMES)]
        nothing = frames.new_zeros(count, FRAME_SIZE, FRAME_SIZE, 1)
        # Colours last is the order of memory that channels-last wants.
        windows = torch.cat([*shifted, nothing], dim=3).to(self._dtype).permute(0, 3, 1, 2)
        embeddings: Tensor = self.layers(windows).float()[None]
        return embeddings


def _compiled(network: SyncNet, device: torch.device, dtype: torch.dtype) -> Embed:
    layers = serving_form(network, VIDEO, aligned=True).layers
    tower: Any = _Served(layers, dtype)
    tower = tower.to(device, dtype, memory_format=torch.channels_last)
    embed: Embed = torch.compile(tower, dynamic=False)
    return embed


def _graph(compiled: Callable[[], Embed], windows: int, device: torch.device) -> Embed:
    """The same kernels, launched by one call; frames are copied to where the graph reads them."""
    embed = compiled()
    shape = (1, windows + WINDOW_FRAMES - 1, FRAME_SIZE, FRAME_SIZE, 3)
    frames = torch.zeros(shape, dtype=torch.uint8, device=device)
    graph = torch.cuda.CUDAGraph()
    beside = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
    beside.wait_stream(torch.cuda.current_stream(device))
    with torch.cuda.stream(beside):
        for _ in range(3):  # compiled and allocated before it is captured
            embed(frames)
    torch.cuda.current_stream(device).wait_stream(beside)
    with torch.cuda.graph(graph):
        embeddings = embed(frames)

    def replay(current: Tensor) -> Tensor:
        frames.copy_(current)
        graph.replay()
        return embeddings

    return replay
