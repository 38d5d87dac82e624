"""Real clips for evaluation, read and cropped exactly as the client does it."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from syncnet_client.contract import SAMPLES_PER_FRAME
from syncnet_client.errors import SyncNetError
from syncnet_client.faces import TrackFrames, make_cropper
from syncnet_client.media import open_media
from syncnet_training.errors import DatasetError
from syncnet_training.evaluate import EvaluationClip

__all__ = ["read_talking_head"]


def read_talking_head(source: str | Path) -> EvaluationClip:
    """Read the longest face track of a video, with its sound.

    Args:
        source: a file or URL.

    Raises:
        DatasetError: it cannot be read, lacks video or audio, or shows no face.
    """
    cropper = make_cropper("auto")
    tracks: dict[int, list[NDArray[np.uint8]]] = {}
    starts: dict[int, int] = {}
    sound = []
    try:
        with open_media(source) as media:
            events = []
            for block in media:
                sound.append(block.samples)
                events += cropper.push(block.frames)
            events += cropper.flush()
    except SyncNetError as error:
        named = str(error) if str(source) in str(error) else f"{source}: {error}"
        raise DatasetError(named) from error
    for event in events:
        if isinstance(event, TrackFrames):
            for frame in event.frames:
                starts.setdefault(event.track, frame.index)
                tracks.setdefault(event.track, []).append(frame.image)
    longest = max(tracks, key=lambda track: len(tracks[track]))
    frames = np.stack(tracks[longest])
    first = starts[longest] * SAMPLES_PER_FRAME
    samples = np.concatenate(sound)[first : first + len(frames) * SAMPLES_PER_FRAME]
    return EvaluationClip(Path(source).name, frames, samples)
