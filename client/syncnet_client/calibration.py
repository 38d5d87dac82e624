"""Which threshold to take: clips with their own sound, and with that of others.

A clip is decoded, cropped and embedded once. Every pair of a picture and a sound is then compared
and scored by the server's own models.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence, Sized
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from syncnet_client.chunks import Chunk, Chunker
from syncnet_client.closing import Closing
from syncnet_client.contract import SYNCNET
from syncnet_client.errors import NoFaceError, UsageError
from syncnet_client.faces import TrackFrames, make_cropper
from syncnet_client.media import open_media
from syncnet_client.scoring.feed import feed
from syncnet_client.scoring.options import ScoreOptions
from syncnet_client.transport.base import ChunkAnswer
from syncnet_client.transport.grpc import GrpcTransport

__all__ = [
    "Calibration",
    "Embedded",
    "Pair",
    "Separation",
    "calibrate",
    "embed",
    "require_several",
    "separate",
]

STATISTICS = ("agreement", "confidence")


@dataclass(frozen=True, eq=False)
class Embedded:
    """A clip's longest face and the sound beside it: float32 [K, 1024] each."""

    video: npt.NDArray[np.float32]
    audio: npt.NDArray[np.float32]


@dataclass(frozen=True)
class Pair:
    """The picture of one clip with a sound.

    Attributes:
        clip: whose picture it is.
        sound: whose sound it is; the same for a true pair.
        offset_frames, agreement, confidence: what was measured.
    """

    clip: str
    sound: str
    offset_frames: int
    agreement: float
    confidence: float

    @property
    def true(self) -> bool:
        """Whether picture and sound belong together."""
        return self.clip == self.sound


@dataclass(frozen=True)
class Separation:
    """How well one number tells true pairs from wrong ones.

    Attributes:
        statistic: ``agreement`` or ``confidence``.
        area: under the curve of true against wrong acceptance; 1 is perfect, 0.5 is chance.
        threshold: the lowest that accepts no more wrong pairs than wanted.
        true_accepted, wrong_accepted: shares of the pairs at that threshold.
    """

    statistic: str
    area: float
    threshold: float
    true_accepted: float
    wrong_accepted: float


@dataclass(frozen=True)
class Calibration:
    """What came out on some clips.

    Attributes:
        pairs: every pair that was scored.
        separations: of agreement and of confidence.
    """

    pairs: tuple[Pair, ...]
    separations: tuple[Separation, ...]

    def values(self, statistic: str, *, true: bool) -> npt.NDArray[np.float64]:
        """A statistic of the true or of the wrong pairs."""
        return np.array([getattr(p, statistic) for p in self.pairs if p.true is true])

    def to_dict(self) -> dict[str, Any]:
        """All in types that JSON knows."""
        return {
            "pairs": [asdict(pair) | {"true": pair.true} for pair in self.pairs],
            "separations": [asdict(each) for each in self.separations],
        }


class _Embedder(Closing):
    """Takes chunks in place of a stream of the ensemble, and keeps their embeddings by track."""

    def __init__(self, transport: GrpcTransport) -> None:
        self._transport = transport
        self.tracks: dict[int, list[Embedded]] = {}

    def send(self, chunk: Chunk) -> None:
        """Embed a chunk; those of a track come in the order of time."""
        infer, names = self._transport.infer, SYNCNET
        video = infer(names.video_tower, {names.frames: chunk.frames[None]})
        mfcc = infer("mfcc", {names.audio: chunk.audio[None]})
        audio = infer(names.audio_tower, {names.mfcc: mfcc[names.mfcc]})
        self.tracks.setdefault(chunk.track, []).append(
            Embedded(video[names.video_embeddings][0], audio[names.audio_embeddings][0])
        )

    def received(self) -> Sequence[ChunkAnswer]:
        """Nothing: the embeddings stay here."""
        return ()

    def finish(self) -> Sequence[ChunkAnswer]:
        """Nothing: every chunk is answered when it was sent."""
        return ()

    def close(self) -> None:
        """Nothing is open."""


class _Nothing:
    """A ``Collector`` that needs neither frames nor samples."""

    def take_samples(self, samples: npt.NDArray[np.int16]) -> None: ...

    def take_frames(self, event: TrackFrames) -> None: ...

    def take_answer(self, answer: ChunkAnswer) -> None: ...


def embed(clip: str | Path, transport: GrpcTransport, options: ScoreOptions) -> Embedded:
    """Embed a clip's longest face and its sound.

    Raises:
        MediaError, NoFaceError: the clip cannot be read, or shows no face for long enough.
        ServerError: the server cannot embed it.
    """
    embedder = _Embedder(transport)
    cropper = make_cropper(options.crop, detector=options.detector, yunet=options.yunet)
    chunker = Chunker(vshift=0, chunk=options.chunk)
    with open_media(clip, allow_playlists=options.allow_playlists) as media:
        for _ in feed(media, cropper, chunker, embedder, _Nothing()):
            pass
    if not embedder.tracks:
        raise NoFaceError(f"{clip}: no face stays in view with sound")
    parts = max(embedder.tracks.values(), key=lambda track: sum(len(part.video) for part in track))
    return Embedded(
        np.concatenate([part.video for part in parts]),
        np.concatenate([part.audio for part in parts]),
    )


def require_several(clips: Sized) -> None:
    """Make sure that there is another clip for each.

    Raises:
        UsageError: there are fewer than two.
    """
    if len(clips) < 2:
        raise UsageError("calibrate needs at least two clips that can be scored")


def calibrate(
    clips: dict[str, Embedded],
    transport: GrpcTransport,
    *,
    vshift: int,
    others: int = 2,
    seed: int = 0,
    wrong_share: float = 0.02,
    progress: Callable[[], None] | None = None,
) -> Calibration:
    """Score every clip with its own sound and with that of others.

    Args:
        clips: at least two, by name.
        transport: the way to the server.
        vshift: frames searched to each side.
        others: how many other clips' sounds each clip gets.
        seed: draws the others.
        wrong_share: how many wrong pairs a threshold may accept.
        progress: called after each pair.

    Raises:
        UsageError: there are fewer than two clips.
        ServerError: the server cannot score.
    """
    require_several(clips)
    random = np.random.default_rng(seed)
    names = list(clips)
    pairs = []
    for clip in names:
        rest = [name for name in names if name != clip]
        chosen = random.permutation(len(rest))[:others]
        for sound in [clip, *(rest[index] for index in chosen)]:
            pairs.append(_pair(clip, sound, clips, transport, vshift))
            if progress is not None:
                progress()
    plain = Calibration(tuple(pairs), ())
    separations = (
        separate(name, plain.values(name, true=True), plain.values(name, true=False), wrong_share)
        for name in STATISTICS
    )
    return replace(plain, separations=tuple(separations))


def separate(
    statistic: str,
    true: npt.NDArray[np.float64],
    wrong: npt.NDArray[np.float64],
    wrong_share: float,
) -> Separation:
    """Area under the curve, and the lowest threshold that accepts few enough wrong pairs.

    The threshold is the lowest value of a true pair with that; above all of them if there is none.
    """
    pairs = true[:, None] - wrong[None, :]
    fits = [value for value in np.sort(true) if np.mean(wrong >= value) <= wrong_share]
    threshold = float(fits[0]) if fits else float(np.nextafter(wrong.max(), np.inf))
    return Separation(
        statistic=statistic,
        area=float((pairs > 0).mean() + (pairs == 0).mean() / 2),
        threshold=threshold,
        true_accepted=float(np.mean(true >= threshold)),
        wrong_accepted=float(np.mean(wrong >= threshold)),
    )


def _pair(
    clip: str, sound: str, clips: dict[str, Embedded], transport: GrpcTransport, vshift: int
) -> Pair:
    video, audio = clips[clip].video, clips[sound].audio
    windows = min(len(video), len(audio))
    answer = transport.infer(
        "shift_distance",
        {
            SYNCNET.video_embeddings: video[None, :windows],
            SYNCNET.audio_embeddings: audio[None, :windows],
            SYNCNET.audio_padding: np.array([[vshift, vshift]], np.int32),
        },
    )
    metrics = transport.measure(answer[SYNCNET.distances][0], "track")
    return Pair(clip, sound, metrics.offset, metrics.agreement, metrics.confidence)
