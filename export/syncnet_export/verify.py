"""Prove that exported files are still the network of their checkpoint.

Every file embeds the same inputs as the published PyTorch network. The error of a file is that of
its worst embedding, ``max ||e - r|| / ||r||``. On clips the scores are compared too, since they
are what users read: a clip with a confidence of at least 1 must keep its offset, and the
confidence must stay within a share of itself, or of 1 where it is below 1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from syncnet_export.clips import ClipScore, clip_inputs, score
from syncnet_export.network import SyncNet
from syncnet_export.onnx_files import embed, open_session
from syncnet_export.precisions import PRECISIONS
from syncnet_export.reference import (
    VERIFICATION_SEED,
    Embeddings,
    Inputs,
    published_embeddings,
    relative_error,
    seeded_inputs,
)
from syncnet_export.tower_files import TowerFile
from syncnet_export.tower_specs import VIDEO

__all__ = ["CLEAR_CONFIDENCE", "EmbeddingCheck", "Report", "ScoreCheck", "verify"]

CLEAR_CONFIDENCE = 1.0  # a clip below this has no clear offset


@dataclass(frozen=True)
class EmbeddingCheck:
    """How far the embeddings of one file are from those of the published network.

    Attributes:
        inputs: what was embedded: ``seeded``, or the name of a clip.
        relative_error: of the worst embedding.
    """

    file: str
    tower: str
    precision: str
    inputs: str
    relative_error: float
    tolerance: float

    @property
    def passed(self) -> bool:
        """Whether the error is within the tolerance; NaN is not."""
        return self.relative_error <= self.tolerance

    def __str__(self) -> str:
        return (
            f"{self.tower}, {self.file}: embeddings of {self.inputs} inputs are off by "
            f"{self.relative_error:.2g}, tolerance {self.tolerance:g}"
        )


@dataclass(frozen=True)
class ScoreCheck:
    """The score of a clip from a pair of files, beside that from the published network."""

    clip: str
    precision: str
    published: ClipScore
    exported: ClipScore
    tolerance: float

    @property
    def confidence_error(self) -> float:
        """Relative to the published confidence, or to 1 where that is below 1."""
        difference = abs(self.exported.confidence - self.published.confidence)
        return difference / max(self.published.confidence, CLEAR_CONFIDENCE)

    @property
    def passed(self) -> bool:
        """Whether the offset is kept where it is clear, and the confidence is within tolerance."""
        unclear = self.published.confidence < CLEAR_CONFIDENCE
        same = unclear or self.exported.offset == self.published.offset
        return same and self.confidence_error <= self.tolerance

    def __str__(self) -> str:
        return (
            f"{self.clip}, {self.precision}: offset {self.exported.offset} instead of "
            f"{self.published.offset}, confidence {self.exported.confidence:.3f} instead of "
            f"{self.published.confidence:.3f}, tolerance {self.tolerance:.0%}"
        )


@dataclass(frozen=True)
class Report:
    """All checks of some files."""

    embeddings: list[EmbeddingCheck]
    scores: list[ScoreCheck]

    @property
    def failures(self) -> list[EmbeddingCheck | ScoreCheck]:
        """The checks that did not pass; each reads as a sentence."""
        checks: list[EmbeddingCheck | ScoreCheck] = [*self.embeddings, *self.scores]
        return [check for check in checks if not check.passed]

    def updated(self, newer: Report) -> Report:
        """This report with the checks of some precisions replaced by newer ones."""
        replaced = {check.precision for check in newer.embeddings}
        return Report(
            [check for check in self.embeddings if check.precision not in replaced]
            + newer.embeddings,
            [check for check in self.scores if check.precision not in replaced] + newer.scores,
        )

    def to_json(self) -> dict[str, Any]:
        """As plain lists and numbers."""
        return {
            "passed": not self.failures,
            "embeddings": [asdict(check) | {"passed": check.passed} for check in self.embeddings],
            "scores": [
                asdict(check) | {"confidence_error": check.confidence_error, "passed": check.passed}
                for check in self.scores
            ],
        }


def verify(
    files: Sequence[TowerFile],
    network: SyncNet,
    *,
    clips: Iterable[Path] = (),
    model_repository: Path,
    progress: Callable[[str], None] = lambda _: None,
) -> Report:
    """Compare files with the published network, on seeded inputs and on clips.

    Args:
        files: both towers of each precision.
        network: that the files are to be.
        clips: of talking heads.
        model_repository: its models compute MFCC, distances and metrics.
        progress: told what is being done.

    Raises:
        ExportError: a clip cannot be used.
    """
    progress("comparing embeddings of seeded inputs with the PyTorch network")
    seeded = _compare(files, network, "seeded", [seeded_inputs(VERIFICATION_SEED)])
    embeddings, scores = seeded.checks, []
    for clip in clips:
        progress(f"comparing embeddings and scores of {clip.name} with the PyTorch network")
        compared = _compare(files, network, clip.name, clip_inputs(clip, model_repository))
        embeddings += compared.checks
        published = score(compared.published, model_repository)
        scores += [
            ScoreCheck(
                clip.name,
                precision.name,
                published,
                score(compared.exported[precision.name], model_repository),
                precision.confidence_tolerance,
            )
            for precision in PRECISIONS
            if precision.name in compared.exported
        ]
    return Report(embeddings, scores)


@dataclass(frozen=True)
class _Comparison:
    """The same inputs embedded by the published network, and by files of some precisions."""

    checks: list[EmbeddingCheck]
    published: Embeddings
    exported: dict[str, Embeddings]


def _compare(
    files: Sequence[TowerFile], network: SyncNet, name: str, blocks: Iterable[Inputs]
) -> _Comparison:
    """Embed inputs block by block, so that no more than one block of frames is in memory."""
    sessions = [open_session(file.path) for file in files]
    references: list[Embeddings] = []
    outputs: list[list[npt.NDArray[np.float32]]] = [[] for _ in files]
    for inputs in blocks:
        references.append(published_embeddings(network, inputs))
        for file, session, parts in zip(files, sessions, outputs, strict=True):
            parts.append(embed(session, file.spec, inputs.of(file.spec)[None])[0])
    published = Embeddings(
        np.concatenate([part.video for part in references]),
        np.concatenate([part.audio for part in references]),
    )
    checks = []
    exported: dict[str, dict[str, npt.NDArray[np.float32]]] = {}
    for file, parts in zip(files, outputs, strict=True):
        side = "video" if file.spec is VIDEO else "audio"
        embeddings = np.concatenate(parts)
        exported.setdefault(file.precision.name, {})[side] = embeddings
        checks.append(
            EmbeddingCheck(
                file=file.path.name,
                tower=file.spec.name,
                precision=file.precision.name,
                inputs=name,
                relative_error=relative_error(embeddings, published.of(file.spec)),
                tolerance=file.precision.embedding_tolerance,
            )
        )
    return _Comparison(
        checks, published, {key: Embeddings(**pair) for key, pair in exported.items()}
    )
