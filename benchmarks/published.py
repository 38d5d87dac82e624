"""The published way to score a clip, plainly: the yardstick of the end-to-end benchmark.

Every frame goes to disk as a JPEG file and is read back, the audio goes through a WAV file, the
windows of the clip go through the Conv3d network in PyTorch in batches of 20, the audio windows
through the other tower likewise, and a loop over the windows compares each with the audio at every
shift (Chung & Zisserman, 2016). As in the published evaluation, frames take the detour over float64
and nothing tells PyTorch that no gradients are wanted. Prints the mean distance at every shift, the
offset and the confidence as JSON.

A clip that is no face crop comes with the boxes to cut out of its frames, as an array of left, top,
width and height.

    python -m benchmarks.published CLIP --weights WEIGHTS [--boxes NPY] [--batch 20] [--device cpu]
"""

from __future__ import annotations

import argparse
import json
import tempfile
import wave
from pathlib import Path

import av
import cv2
import numpy as np
import numpy.typing as npt
import torch
from python_speech_features import mfcc

from syncnet_client.faces import Box
from syncnet_client.faces.crops import cut_out
from syncnet_client.media import ArrayPicture
from syncnet_export import load_checkpoint
from syncnet_export.network import SyncNet

VSHIFT = 10  # frames

Boxes = npt.NDArray[np.float64]  # [T, 4]: left, top, width, height
Images = npt.NDArray[np.uint8]  # [T, height, width, 3], BGR
Samples = npt.NDArray[np.int16]  # [N], 16 kHz mono


def decode(clip: Path) -> tuple[Images, Samples]:
    """The frames and the samples of a clip at 25 fps and 16 kHz, all in memory."""
    with av.open(str(clip)) as container:
        images = [frame.to_ndarray(format="bgr24") for frame in container.decode(video=0)]
    resampler = av.AudioResampler(format="s16", layout="mono", rate=16_000)
    with av.open(str(clip)) as container:
        pieces = [
            piece.to_ndarray()[0]
            for sound in [*container.decode(audio=0), None]
            for piece in resampler.resample(sound)
        ]
    return np.stack(images), np.concatenate(pieces)


def through_files(
    images: Images, samples: Samples, folder: Path, boxes: Boxes | None = None
) -> tuple[Images, Samples]:
    """What is left of a clip after its way through JPEG and WAV files in `folder`.

    Args:
        images: of all frames.
        samples: of the whole clip.
        folder: an empty one.
        boxes: what to cut out of the frames that are read back; None for all of them.
    """
    for index, image in enumerate(images):
        cv2.imwrite(str(folder / f"{index:06d}.jpg"), image)
    with wave.open(str(folder / "audio.wav"), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes(samples.tobytes())
    read = []
    for index, path in enumerate(
        sorted(folder.glob("*.jpg"))[: None if boxes is None else len(boxes)]
    ):
        image = np.asarray(cv2.imread(str(path)), np.uint8)
        read.append(image if boxes is None else cut_out(ArrayPicture(image), Box(*boxes[index])))
    with wave.open(str(folder / "audio.wav"), "rb") as file:
        audio = np.frombuffer(file.readframes(file.getnframes()), np.int16)
    return np.stack(read), audio


def mean_distances(
    images: Images, samples: Samples, network: SyncNet, *, batch: int, device: torch.device
) -> torch.Tensor:
    """Mean distance of the clip's video to its audio at shifts -10 to +10, float [21].

    Gradients are tracked unless the caller is in `torch.inference_mode()`.
    """
    video = torch.from_numpy(images.astype(np.float64)).permute(3, 0, 1, 2).float()
    coefficients = torch.from_numpy(mfcc(samples, 16_000).T.astype(np.float32))
    windows = min(len(images), len(samples) // 640) - 5
    video_parts, audio_parts = [], []
    for start in range(0, windows, batch):
        rows = range(start, min(windows, start + batch))
        frames = torch.stack([video[:, row : row + 5] for row in rows])
        video_parts.append(network.forward_video(frames.to(device)).detach().cpu())
        sound = torch.stack([coefficients[None, :, 4 * row : 4 * row + 20] for row in rows])
        audio_parts.append(network.forward_audio(sound.to(device)).detach().cpu())
    video_embeddings, audio_embeddings = torch.cat(video_parts), torch.cat(audio_parts)
    padded = torch.nn.functional.pad(audio_embeddings, (0, 0, VSHIFT, VSHIFT))
    distances = [
        torch.nn.functional.pairwise_distance(
            video_embeddings[[row]].repeat(2 * VSHIFT + 1, 1), padded[row : row + 2 * VSHIFT + 1]
        )
        for row in range(windows)
    ]
    return torch.stack(distances).mean(dim=0)


def main() -> None:
    """Score the clip named on the command line."""
    parser = argparse.ArgumentParser(description="Score a clip the published way.")
    parser.add_argument("clip", type=Path)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--boxes", type=Path)
    parser.add_argument("--batch", type=int, default=20)
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    device = torch.device(arguments.device)
    network = load_checkpoint(arguments.weights).network().to(device)
    with tempfile.TemporaryDirectory() as folder:
        boxes = None if arguments.boxes is None else np.load(arguments.boxes)
        images, samples = through_files(*decode(arguments.clip), Path(folder), boxes)
    mean = mean_distances(images, samples, network, batch=arguments.batch, device=device)
    minimum, best = mean.min(dim=0)
    result = {
        "mean_distances": mean.tolist(),
        "offset_frames": VSHIFT - int(best),
        "confidence": float(mean.median() - minimum),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
