"""One training step, the same code for training and for its timing table."""

import math
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from syncnet_client.contract import EMBEDDING_SIZE, WINDOW_FRAMES
from syncnet_export.network import SyncNet
from syncnet_training.data import Batch
from syncnet_training.embedding import embed_audio, embed_video, video_windows
from syncnet_training.finish import DISTANCE_PER_NAT
from syncnet_training.losses import SyncLoss, jaw_loss, sync_loss

__all__ = [
    "FRESH_LOG_SCALE",
    "PARTS",
    "PUBLISHED_LOG_SCALE",
    "StepConfig",
    "TrainingStep",
    "one_cycle",
]

# Distances of a fresh network are some 10; logits should differ by some 3.
FRESH_LOG_SCALE = -1.0
# Weights that `finish` wrote have their scale in their embeddings.
PUBLISHED_LOG_SCALE = -math.log(DISTANCE_PER_NAT)
_GRADIENT_NORM = 5.0

Timer = Callable[[str], AbstractContextManager[object]]


@dataclass(frozen=True)
class StepConfig:
    """How weights are changed.

    Attributes:
        learning_rate: peak of the cycle.
        weight_decay: of AdamW, on matrices and kernels.
        across_weight: weight of the contrast against other clips.
        jaw_weight: weight of reading the opening of the jaw off each embedding. Contrast alone
            spends its first hundreds of steps on finding out that mouths matter; this tells it.
        average_decay: what is left of the running average of the weights after a step, less in the
            beginning. The average is what gets published: it is better than the last weights, at
            any time of the cycle.
        frozen: the part of the network that stays as it is, one of `PARTS`.
    """

    learning_rate: float = 1.5e-3
    weight_decay: float = 0.03
    across_weight: float = 0.2
    jaw_weight: float = 1.0
    average_decay: float = 0.998
    frozen: str | None = None


# Modules of `SyncNet`: its towers, and the first video convolution with its norm.
PARTS = {
    "video": ("netcnnlip", "netfclip"),
    "audio": ("netcnnaud", "netfcaud"),
    "stem": ("netcnnlip.0", "netcnnlip.1"),
}


def one_cycle(step: int, steps: int, peak: float) -> float:
    """The learning rate of a step: a cosine up to `peak` in the first tenth, then down to zero.

    (Smith & Topin, "Super-convergence", 2018.) A function of the step alone: nothing to save.
    """
    warm = max(1, steps // 10)
    if step < warm:
        progress, low, high = step / warm, 0.04, 1.0
    else:
        progress, low, high = (step - warm) / max(1, steps - warm), 1.0, 0.001
    blend = 0.5 - 0.5 * float(torch.cos(torch.tensor(torch.pi * min(1.0, progress))))
    return peak * (low + (high - low) * blend)


def _average(
    decay: float, averaged: list[Tensor], weights: list[Tensor], steps: Tensor | int
) -> None:
    """Take a step's weights into the running average, in place.

    The average is over the last tenth of the steps until it is over those that `decay` says. A
    short run would otherwise publish mostly what it began with.
    """
    grown = (1 + int(steps)) / (10 + int(steps))
    mean = get_ema_multi_avg_fn(min(decay, grown))  # type: ignore[no-untyped-call]
    mean(averaged, weights, steps)


class TrainingStep:
    """A network, the average of its weights, its learned scale and its optimiser.

    Args:
        network: trained in place; moved to `device`.
        precision: type that towers compute in; weights stay float32.
        compiled: compile the towers (pays on a GPU).
        log_scale: where the learned scale starts.

    Attributes:
        network: as the last step left it.
        average: the running average of its weights and of the statistics of its norms.
        log_scale: logarithm of what distances are multiplied by to become logits.
    """

    def __init__(
        self,
        network: SyncNet,
        config: StepConfig,
        device: torch.device,
        precision: torch.dtype,
        *,
        compiled: bool = False,
        log_scale: float = FRESH_LOG_SCALE,
    ) -> None:
        self.network = network.to(device)
        self._frozen = [network.get_submodule(name) for name in PARTS.get(config.frozen or "", ())]
        for part in self._frozen:
            part.requires_grad_(False)
        self.average = AveragedModel(
            network, multi_avg_fn=partial(_average, config.average_decay), use_buffers=True
        )
        self.log_scale = nn.Parameter(torch.tensor(log_scale, device=device))
        # Only for training: what an embedding says about the jaw in the five frames of its window.
        self.jaw_heads = nn.ModuleList(
            nn.Linear(EMBEDDING_SIZE, WINDOW_FRAMES, device=device) for _ in ("video", "audio")
        )
        self.config = config
        self.device = device
        self.precision = precision
        self._embed_video: Callable[[SyncNet, Tensor], Tensor] = embed_video
        self._embed_audio: Callable[[SyncNet, Tensor], Tensor] = embed_audio
        if compiled:
            self._embed_video = torch.compile(embed_video, fullgraph=True)
            self._embed_audio = torch.compile(embed_audio, fullgraph=True)
        parameters = [*network.parameters(), *self.jaw_heads.parameters(), self.log_scale]
        parameters = [parameter for parameter in parameters if parameter.requires_grad]
        self._parameters = parameters
        self.optimizer = torch.optim.AdamW(
            [
                {
                    "params": [parameter for parameter in parameters if parameter.ndim > 1],
                    "weight_decay": config.weight_decay,
                },
                {
                    "params": [parameter for parameter in parameters if parameter.ndim <= 1],
                    "weight_decay": 0.0,
                },
            ],
            lr=config.learning_rate,
            betas=(0.9, 0.98),
            fused=device.type == "cuda",
        )

    def __call__(
        self,
        batch: Batch,
        stride: int,
        learning_rate: float,
        timer: Timer = lambda _: nullcontext(),
    ) -> SyncLoss:
        """Learn from a batch that lies on the device; returns scalars on the device.

        Args:
            batch: windows of both towers.
            learning_rate: of this step.
            stride: frames between the video windows of the batch.
            timer: entered around each part of the step, under the part's name.
        """
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate
        self.network.train()
        for part in self._frozen:
            part.eval()
        result = self.evaluate(batch, stride, timer)
        with timer("backward"):
            self.optimizer.zero_grad(set_to_none=True)
            result.total.backward()  # type: ignore[no-untyped-call]
        with timer("optimizer"):
            torch.nn.utils.clip_grad_norm_(self._parameters, _GRADIENT_NORM)
            self.optimizer.step()
            self.average.update_parameters(self.network)
        return result

    def evaluate(
        self, batch: Batch, stride: int, timer: Timer = lambda _: nullcontext()
    ) -> SyncLoss:
        """The loss of a batch, in whichever mode the network is."""
        clips = len(batch.frames)
        with self.autocast():
            with timer("video CNN"):
                video = self._embed_video(self.network, video_windows(batch.frames, stride))
            with timer("audio CNN"):
                audio = self._embed_audio(self.network, batch.mfcc.flatten(0, 1))
        with timer("loss"):
            result = sync_loss(
                video.view(clips, -1, EMBEDDING_SIZE),
                audio.view(clips, -1, EMBEDDING_SIZE),
                batch.targets,
                self.log_scale,
                self.config.across_weight,
            )
            seen = batch.jaw.gather(1, batch.targets[..., None].expand(-1, -1, WINDOW_FRAMES))
            jaw = jaw_loss(self.jaw_heads[0](video), seen.flatten(0, 1))
            jaw = jaw + jaw_loss(self.jaw_heads[1](audio), batch.jaw.flatten(0, 1))
            return result._replace(
                total=result.total + self.config.jaw_weight * jaw, jaw=jaw.detach() / 2
            )

    def autocast(self) -> AbstractContextManager[Any]:
        """The context that the towers compute in."""
        return torch.autocast(
            self.device.type, self.precision, enabled=self.precision != torch.float32
        )

    def state_dict(self) -> dict[str, Any]:
        """Everything that a resumed run needs, apart from the number of the step."""
        return {
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            "log_scale": self.log_scale.detach(),
            "jaw_heads": self.jaw_heads.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what `state_dict` gave."""
        self.network.load_state_dict(state["network"])
        self.average.load_state_dict(state["average"])
        self.log_scale.data.copy_(state["log_scale"])
        self.jaw_heads.load_state_dict(state["jaw_heads"])
        self.optimizer.load_state_dict(state["optimizer"])
