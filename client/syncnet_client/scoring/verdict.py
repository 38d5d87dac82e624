"""Whether a measured offset can be trusted, and if not, why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from syncnet_client.contract import FRAMES_PER_SECOND, SAMPLES_PER_FRAME
from syncnet_client.defaults import (
    DEFAULT_MIN_AGREEMENT,
    DEFAULT_MIN_CONFIDENCE,
    MIN_SCORED_WINDOWS,
    WIDE_VSHIFT,
)
from syncnet_client.scoring.curves import offset_in_words
from syncnet_client.scoring.drift import Drift
from syncnet_client.transport.base import Metrics, Weights

__all__ = [
    "Evidence",
    "Reason",
    "ReasonCode",
    "Verdict",
    "audible",
    "headline",
    "judge",
    "meaning",
    "trust_in_words",
]

ReasonCode = Literal[
    "low_agreement",
    "low_confidence",
    "edge_of_range",
    "silence",
    "too_short",
    "face_lost",
    "offset_changes",
]

# Speech is recorded at -30 to -15 dB below full scale, the noise of a quiet room near -60.
SILENCE_DBFS = -55.0
LEAST_AUDIBLE = 0.1  # of the time; even slow speech fills a third of it

# Where the detector sees the face less often, the crop was mostly drawn by interpolation.
LEAST_DETECTED = 0.6

# What to try where the search was narrower: 1 s to each side, then 2 s.
WIDER_VSHIFTS = (25, WIDE_VSHIFT)

# A face that is in view for less of the clip does not speak for the clip.
LEAST_COVERED = 0.5


UNKNOWN_WEIGHTS = Weights()


@dataclass(frozen=True)
class Reason:
    """One reason to distrust a result: a code for machines, a sentence for people."""

    code: ReasonCode
    text: str


@dataclass(frozen=True)
class Verdict:
    """Whether the offset can be trusted; if not, all reasons that speak against it."""

    trusted: bool
    reasons: tuple[Reason, ...]

    @property
    def may_lie_beyond(self) -> bool:
        """Whether a wider search may find an offset."""
        beyond = {"low_agreement", "low_confidence", "edge_of_range"}
        return any(reason.code in beyond for reason in self.reasons)

    @property
    def text(self) -> str:
        """``trusted`` or ``not to be trusted``, without the reasons."""
        return trust_in_words(self.trusted)

    def to_dict(self) -> dict[str, Any]:
        """All in types that JSON knows."""
        reasons = [asdict(reason) for reason in self.reasons]
        return {"trusted": self.trusted, "reasons": reasons}


def trust_in_words(trusted: bool) -> str:
    """How a verdict is named wherever people read it."""
    return "trusted" if trusted else "not to be trusted"


def meaning(offset_ms: float, trusted: bool, weights: Weights = UNKNOWN_WEIGHTS) -> str:
    """What a result says in words: an offset that is not trusted is unknown.

    Args:
        offset_ms: what was measured.
        trusted: what the verdict says.
        weights: what is known about them; a known error stands beside the offset.
    """
    if not trusted:
        return f"the offset is unknown ({offset_ms:+g} ms measured)"
    words = offset_in_words(offset_ms)
    return f"{words} ({weights.error_in_words})" if weights.error_in_words else words


def headline(meaning: str, agreement: float, confidence: float, trusted: bool) -> str:
    """A result in one line, wherever there is room for no more.

    Args:
        meaning: the offset in words, or that it is unknown.
        agreement: of the result.
        confidence: of the result.
        trusted: what the verdict says.
    """
    numbers = f"agreement {agreement:.0%}, confidence {confidence:.2f}"
    return f"{meaning}, {numbers}, {trust_in_words(trusted)}"


@dataclass(frozen=True)
class Evidence:
    """What the verdict on one track, or on a clip of several, rests on.

    Attributes:
        offset: frames.
        vshift: frames searched to each side.
        agreement: share of the draws that give this offset to within a frame, 0 to 1.
        confidence: of the whole track.
        windows: scored.
        audible: share of the track's time in which there is sound, 0 to 1.
        detected: share of the track's frames on which the detector saw the face, 0 to 1.
        covered: share of the clip's frames that the track has, 0 to 1.
        drift: None for a clip that is too short to tell.
        contradiction: what faces say that do not agree with each other; empty if they do.
    """

    offset: int
    vshift: int
    agreement: float
    confidence: float
    windows: int
    audible: float
    detected: float
    covered: float
    drift: Drift | None
    contradiction: str = ""

    @classmethod
    def gather(
        cls,
        metrics: Metrics,
        *,
        vshift: int,
        sound: Sequence[bool] | npt.NDArray[np.bool_],
        detected: Sequence[bool] | npt.NDArray[np.bool_],
        covered: float = 1.0,
        drift: Drift | None = None,
    ) -> Evidence:
        """Put together what is known of a track, or of a part of it.

        Args:
            metrics: what the server said about its windows.
            vshift: frames searched to each side.
            sound: for each of its frames, whether there is sound.
            detected: for each of its frames, whether the detector saw the face.
            covered: share of the clip's frames that the track has.
            drift: how the offset develops, where that was looked for.
        """
        return cls(
            offset=metrics.offset,
            vshift=vshift,
            agreement=metrics.agreement,
            confidence=metrics.confidence,
            windows=len(metrics.frame_confidence),
            audible=float(np.mean(sound)),
            detected=float(np.mean(detected)),
            covered=covered,
            drift=drift,
        )


def judge(
    evidence: Evidence,
    min_agreement: float = DEFAULT_MIN_AGREEMENT,
    min_confidence: float = DEFAULT_MIN_CONFIDENCE,
) -> Verdict:
    """Collect the reasons for distrust; without any, the result is trusted."""
    reasons = []
    wider = next((vshift for vshift in WIDER_VSHIFTS if vshift > evidence.vshift), None)
    try_wider = "" if wider is None else f"try --vshift {wider}"

    def doubt(code: ReasonCode, text: str) -> None:
        reasons.append(Reason(code, text))

    if evidence.audible < LEAST_AUDIBLE:
        doubt("silence", f"there is sound in only {evidence.audible:.0%} of the time")
    if evidence.windows < MIN_SCORED_WINDOWS:
        seconds = evidence.windows / FRAMES_PER_SECOND
        doubt("too_short", f"only {seconds:.1f} s can be compared; at least 1 s is needed")
    elif evidence.agreement < min_agreement:  # what is too short cannot agree
        remedies = ", ".join(filter(None, [try_wider, "other weights, or the other face"]))
        doubt(
            "low_agreement",
            f"within +-{evidence.vshift} frames no offset stands out: {evidence.agreement:.0%} of "
            f"the draws agree, {min_agreement:.0%} are asked for ({remedies})",
        )
    if evidence.detected < LEAST_DETECTED:
        doubt("face_lost", f"the face was found on only {evidence.detected:.0%} of its frames")
    if evidence.covered < LEAST_COVERED:
        doubt("face_lost", f"the face is in view for only {evidence.covered:.0%} of the clip")
    if evidence.confidence < min_confidence:
        doubt(
            "low_confidence",
            f"confidence {evidence.confidence:.2f} is below {min_confidence:g}, which is asked for",
        )
    if evidence.vshift > 0 and abs(evidence.offset) == evidence.vshift:
        remedy = f" ({try_wider})" if try_wider else ""
        doubt(
            "edge_of_range",
            f"the offset lies at the edge of the searched +-{evidence.vshift} frames; the true one "
            f"may lie beyond{remedy}",
        )
    if evidence.drift is not None and evidence.drift.changes:
        doubt("offset_changes", f"no single offset fits: {evidence.drift.text}")
    if evidence.contradiction:
        doubt("offset_changes", f"no single offset fits: {evidence.contradiction}")
    return Verdict(not reasons, tuple(reasons))


def audible(samples: npt.NDArray[np.int16]) -> npt.NDArray[np.bool_]:
    """Whether there is sound in each whole 40 ms of audio at 16 kHz, bool [n // 640]."""
    whole = len(samples) // SAMPLES_PER_FRAME * SAMPLES_PER_FRAME
    frames = samples[:whole].reshape(-1, SAMPLES_PER_FRAME).astype(np.float32) / 32768
    power: npt.NDArray[np.float32] = np.square(frames).mean(axis=1)
    return power > 10 ** (SILENCE_DBFS / 10)
