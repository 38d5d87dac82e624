"""Clips as the towers see them: face crops and MFCC, and the scores that come out of embeddings."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from syncnet_client.chunks import Chunk, Chunker
from syncnet_client.defaults import DEFAULT_VSHIFT
from syncnet_client.errors import SyncNetError
from syncnet_client.faces import CropEvent, TrackEnd, TrackFrames, make_cropper
from syncnet_client.media import open_media
from syncnet_export.errors import ExportError
from syncnet_export.reference import Embeddings, Inputs
from syncnet_server import load_model_module

__all__ = ["ClipScore", "calibration_inputs", "clip_inputs", "sample_clip", "score"]

_WINDOWS_AT_ONCE = 16
_CALIBRATION_BLOCK = 4  # windows
_CALIBRATION_BLOCKS = 32  # of one clip at most


@dataclass(frozen=True)
class ClipScore:
    """What the embeddings of a clip say about its sync (see the model `sync_metrics`)."""

    offset: int  # frames
    confidence: float
    min_distance: float


def sample_clip() -> Path:
    """The project's own synthetic talking head.

    Raises:
        ExportError: it did not come with this installation.
    """
    clip = Path(__file__).resolve().parents[2] / "samples" / "talking-head.mp4"
    if not clip.is_file():
        raise ExportError("the sample clip is not installed; name clips of talking heads instead")
    return clip


def clip_inputs(
    clip: Path, model_repository: Path, *, windows: int = _WINDOWS_AT_ONCE
) -> Iterator[Inputs]:
    """All windows of the first face of a clip, in order, in blocks.

    Args:
        clip: any media file; one of 224x224 pixels is taken for a face crop.
        model_repository: its `mfcc` model computes the MFCC.
        windows: of one block; the last one may have fewer.

    Raises:
        ExportError: the clip cannot be read, has no face, or has fewer windows than one.
    """
    mfcc_windows = load_model_module(model_repository, "mfcc").mfcc_windows
    track = None
    try:
        for chunk in _chunks(clip, windows):
            track = chunk.track if track is None else track
            if chunk.track == track:
                yield Inputs(chunk.frames, mfcc_windows(chunk.audio))
    except SyncNetError as error:
        raise ExportError(str(error)) from error
    if track is None:
        raise ExportError(f"{clip}: no face stays in view long enough for a window")


def calibration_inputs(clip: Path, model_repository: Path) -> list[Inputs]:
    """Short stretches of a clip, spread evenly over it; at most 128 windows."""
    kept: list[Inputs] = []
    stride = 1
    for index, block in enumerate(clip_inputs(clip, model_repository, windows=_CALIBRATION_BLOCK)):
        if index % stride == 0:
            kept.append(block)
        if len(kept) > _CALIBRATION_BLOCKS:
            kept = kept[::2]
            stride *= 2
    return kept


def score(
    embeddings: Embeddings, model_repository: Path, vshift: int = DEFAULT_VSHIFT
) -> ClipScore:
    """Score the embeddings of all windows of a clip with the mathematics of the served models."""
    distances = load_model_module(model_repository, "shift_distance").shift_distances(
        embeddings.video, embeddings.audio, vshift, vshift
    )
    metrics = load_model_module(model_repository, "sync_metrics").sync_metrics(distances)
    return ClipScore(metrics.offset, metrics.confidence, metrics.min_distance)


def _chunks(clip: Path, windows: int) -> Iterator[Chunk]:
    """Chunks of every face in the clip, each with the audio of its own windows alone."""
    chunker = Chunker(vshift=0, chunk=windows)
    cropper = make_cropper()
    with open_media(clip) as media:
        for block in media:
            chunker.push_clip(len(block.frames), block.samples)
            _take(chunker, cropper.push(block.frames))
            yield from chunker.ready()
    _take(chunker, cropper.flush())
    yield from chunker.finish()


def _take(chunker: Chunker, events: list[CropEvent]) -> None:
    for event in events:
        if isinstance(event, TrackEnd):
            chunker.end_track(event.track)
        elif isinstance(event, TrackFrames):
            first = event.frames[0].index
            chunker.push_frames(event.track, first, (frame.image for frame in event.frames))
