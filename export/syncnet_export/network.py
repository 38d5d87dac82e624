"""The SyncNet network in plain PyTorch, as published: the form that checkpoints are made of.

Chung & Zisserman, "Out of time: automated lip sync in the wild" (2016). Every convolution and the
first fully connected layer of a tower are followed by batch norm and ReLU. The state dict has the
keys of the official weights (``netcnnaud.N.*``, ``netfcaud.N.*``, ``netcnnlip.N.*``,
``netfclip.N.*``), where N counts layer, norm, ReLU and then the pool, if the layer has one.

Serving uses an equivalent form (see ``served_tower.py``); this one is what exports are verified
against.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from syncnet_client.contract import EMBEDDING_SIZE

__all__ = ["SyncNet", "random_checkpoint"]

# Channels of the convolutions of a tower at width 1, then of its first fully connected layer.
VIDEO_CHANNELS = (96, 256, 256, 256, 256, 512)
AUDIO_CHANNELS = (64, 192, 384, 256, 256, 512)
HIDDEN = 512


class SyncNet(nn.Module):
    """Two towers that embed 0.2 s of video and of audio into one space.

    Args:
        video_channels: channels of the six video convolutions.
        audio_channels: channels of the six audio convolutions.
        hidden: outputs of the first fully connected layer, (video, audio).
        embedding_size: outputs of the second one, the same for both towers.
    """

    def __init__(
        self,
        video_channels: tuple[int, ...] = VIDEO_CHANNELS,
        audio_channels: tuple[int, ...] = AUDIO_CHANNELS,
        hidden: tuple[int, int] = (HIDDEN, HIDDEN),
        embedding_size: int = EMBEDDING_SIZE,
    ) -> None:
        super().__init__()
        v1, v2, v3, v4, v5, v6 = video_channels
        self.netcnnlip = nn.Sequential(
            *_conv3d(3, v1, (5, 7, 7), stride=2),
            nn.MaxPool3d((1, 3, 3), (1, 2, 2)),
            *_conv3d(v1, v2, (1, 5, 5), stride=2, padding=1),
            nn.MaxPool3d((1, 3, 3), (1, 2, 2), padding=(0, 1, 1)),
            *_conv3d(v2, v3, (1, 3, 3), padding=1),
            *_conv3d(v3, v4, (1, 3, 3), padding=1),
            *_conv3d(v4, v5, (1, 3, 3), padding=1),
            nn.MaxPool3d((1, 3, 3), (1, 2, 2)),
            *_conv3d(v5, v6, (1, 6, 6)),
        )
        self.netfclip = _head(v6, hidden[0], embedding_size)
        a1, a2, a3, a4, a5, a6 = audio_channels
        self.netcnnaud = nn.Sequential(
            *_conv2d(1, a1, (3, 3), padding=1),
            nn.MaxPool2d((1, 1), (1, 1)),
            *_conv2d(a1, a2, (3, 3), padding=1),
            nn.MaxPool2d((3, 3), (1, 2)),
            *_conv2d(a2, a3, (3, 3), padding=1),
            *_conv2d(a3, a4, (3, 3), padding=1),
            *_conv2d(a4, a5, (3, 3), padding=1),
            nn.MaxPool2d((3, 3), (2, 2)),
            *_conv2d(a5, a6, (5, 4)),
        )
        self.netfcaud = _head(a6, hidden[1], embedding_size)

    @classmethod
    def of_width(cls, width: float) -> "SyncNet":
        """A network with every layer but the embeddings scaled by `width` (1.0: as published)."""
        if width <= 0:
            raise ValueError(f"width must be positive, got {width}")

        def scale(channels: int) -> int:
            return max(8, round(channels * width / 8) * 8)

        return cls(
            tuple(scale(channels) for channels in VIDEO_CHANNELS),
            tuple(scale(channels) for channels in AUDIO_CHANNELS),
            (scale(HIDDEN), scale(HIDDEN)),
        )

    @classmethod
    def from_state_dict(cls, state_dict: Mapping[str, Tensor]) -> "SyncNet":
        """The network whose weights these are, with the channels the weights have, in eval mode.

        Raises:
            ValueError: tensors are missing, unexpected or misshapen; the message names them.
        """
        network = cls._shaped_like(state_dict)
        expected = network.state_dict()
        problems = [f"missing {key}" for key in expected if key not in state_dict]
        problems += [f"unexpected {key}" for key in state_dict if key not in expected]
        problems += [
            f"{key} has shape {tuple(state_dict[key].shape)}, expected {tuple(tensor.shape)}"
            for key, tensor in expected.items()
            if key in state_dict and state_dict[key].shape != tensor.shape
        ]
        if problems:
            shown = "; ".join(problems[:6])
            more = f"; and {len(problems) - 6} more" if len(problems) > 6 else ""
            raise ValueError(f"not a SyncNet checkpoint: {shown}{more}")
        network.load_state_dict({key: state_dict[key].float() for key in expected})
        return network.eval()

    @classmethod
    def _shaped_like(cls, state_dict: Mapping[str, Tensor]) -> "SyncNet":
        def outputs(key: str, default: int) -> int:
            tensor = state_dict.get(key)
            return default if tensor is None or tensor.ndim == 0 else int(tensor.shape[0])

        def channels(tower: str, defaults: tuple[int, ...]) -> tuple[int, ...]:
            template = getattr(_TEMPLATE, tower)
            convolutions = [
                index
                for index, layer in enumerate(template)
                if isinstance(layer, (nn.Conv2d, nn.Conv3d))
            ]
            return tuple(
                outputs(f"{tower}.{index}.weight", default)
                for index, default in zip(convolutions, defaults, strict=True)
            )

        return cls(
            channels("netcnnlip", VIDEO_CHANNELS),
            channels("netcnnaud", AUDIO_CHANNELS),
            (outputs("netfclip.0.weight", HIDDEN), outputs("netfcaud.0.weight", HIDDEN)),
            outputs("netfclip.3.weight", EMBEDDING_SIZE),
        )

    def forward_video(self, windows: Tensor) -> Tensor:
        """Embed video windows.

        Args:
            windows: float [N, 3, 5, 224, 224], five consecutive BGR frames, values 0 to 255.

        Returns:
            float [N, 1024]
        """
        features: Tensor = self.netcnnlip(windows)
        embeddings: Tensor = self.netfclip(features.flatten(1))
        return embeddings

    def forward_audio(self, windows: Tensor) -> Tensor:
        """Embed audio windows.

        Args:
            windows: float [N, 1, 13, 20], 13 MFCC coefficients of 20 frames 10 ms apart.

        Returns:
            float [N, 1024]
        """
        features: Tensor = self.netcnnaud(windows)
        embeddings: Tensor = self.netfcaud(features.flatten(1))
        return embeddings


def _conv3d(
    inputs: int, outputs: int, kernel: tuple[int, int, int], *, stride: int = 1, padding: int = 0
) -> tuple[nn.Module, ...]:
    """Convolution, norm, ReLU; `stride` and `padding` are spatial, time has neither."""
    convolution = nn.Conv3d(
        inputs, outputs, kernel, stride=(1, stride, stride), padding=(0, padding, padding)
    )
    return convolution, nn.BatchNorm3d(outputs), nn.ReLU(inplace=True)


def _conv2d(
    inputs: int, outputs: int, kernel: tuple[int, int], *, padding: int = 0
) -> tuple[nn.Module, ...]:
    convolution = nn.Conv2d(inputs, outputs, kernel, padding=padding)
    return convolution, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)


def _head(inputs: int, hidden: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(inputs, hidden), nn.BatchNorm1d(hidden), nn.ReLU(), nn.Linear(hidden, outputs)
    )


with torch.device("meta"):
    _TEMPLATE = SyncNet()


def random_checkpoint(seed: int = 0, width: float = 1.0) -> dict[str, Tensor]:
    """A state dict in the published layout with seeded random weights, for tests and timings.

    Weights are scaled so that activations keep their size through the layers (He et al., 2015),
    and norms carry statistics of the kind training leaves, so that folding them is put to the test.
    """
    generator = torch.Generator().manual_seed(seed)

    def uniform(like: Tensor, low: float, high: float) -> Tensor:
        return torch.rand(like.shape, generator=generator) * (high - low) + low

    with torch.device("meta"):
        template = SyncNet.of_width(width)
    state: dict[str, Any] = {}
    for name, module in template.named_modules():
        if isinstance(module, (nn.Conv2d, nn.Conv3d, nn.Linear)):
            fan_in = module.weight[0].numel()
            # Frames come as 0 to 255; the first video layer brings them to the size of the rest.
            gain = 1 / 64 if name == "netcnnlip.0" else 0.1 if name == "netcnnaud.0" else 1.0
            noise = torch.randn(module.weight.shape, generator=generator)
            state[f"{name}.weight"] = noise * gain * (2 / fan_in) ** 0.5
            state[f"{name}.bias"] = torch.randn(module.weight.shape[0], generator=generator) * 0.05
        elif isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)):
            state[f"{name}.weight"] = uniform(module.weight, 0.8, 1.2)
            state[f"{name}.bias"] = uniform(module.bias, -0.2, 0.2)
            state[f"{name}.running_mean"] = uniform(module.bias, -0.2, 0.2)
            state[f"{name}.running_var"] = uniform(module.bias, 0.8, 1.2)
            state[f"{name}.num_batches_tracked"] = torch.tensor(1)
    return state
