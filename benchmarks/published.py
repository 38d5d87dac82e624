"""The published way to score a clip, plainly: the yardstick of the end-to-end benchmark.

Every frame goes to disk as a JPEG file and is read back, the audio goes through a WAV file, all
windows of the clip are put together in batches of 20 for the Conv3d network in PyTorch, the audio
windows for the other tower likewise, and a loop over the windows compares each with the audio at
every shift (Chung & Zisserman, 2016). Prints offset, confidence and minimum distance as JSON.

    python -m benchmarks.published CLIP --weights WEIGHTS [--batch 20] [--device cpu]
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
import torch
from python_speech_features import mfcc

from syncnet_export.checkpoint import load_checkpoint
from syncnet_export.network import SyncNet

VSHIFT = 10  # frames


def extract(clip: Path, folder: Path) -> None:
    """Write `clip` as folder/000000.jpg, ... and folder/audio.wav (16 kHz mono)."""
    with av.open(str(clip)) as container:
        for index, frame in enumerate(container.decode(video=0)):
            cv2.imwrite(str(folder / f"{index:06d}.jpg"), frame.to_ndarray(format="bgr24"))
    resampler = av.AudioResampler(format="s16", layout="mono", rate=16_000)
    with av.open(str(clip)) as container, wave.open(str(folder / "audio.wav"), "wb") as audio:
        audio.setnchannels(1)
        audio.setsampwidth(2)
        audio.setframerate(16_000)
        for sound in [*container.decode(audio=0), None]:
            for piece in resampler.resample(sound):
                audio.writeframes(piece.to_ndarray().tobytes())


def score(
    folder: Path, network: SyncNet, batch: int, device: torch.device
) -> tuple[int, float, float]:
    """Offset (frames), confidence and minimum distance of an extracted clip."""
    images = [cv2.imread(str(path)) for path in sorted(folder.glob("*.jpg"))]
    video = torch.from_numpy(np.stack(images, axis=3).astype(np.float32)).permute(2, 3, 0, 1)
    with wave.open(str(folder / "audio.wav"), "rb") as file:
        samples = np.frombuffer(file.readframes(file.getnframes()), np.int16)
    coefficients = torch.from_numpy(mfcc(samples, 16_000).T.astype(np.float32))
    windows = min(len(images), len(samples) // 640) - 5
    video_features, audio_features = [], []
    with torch.inference_mode():
        for start in range(0, windows, batch):
            rows = range(start, min(windows, start + batch))
            frames = torch.stack([video[:, row : row + 5] for row in rows])
            video_features.append(network.forward_video(frames.to(device)).cpu())
            sound = torch.stack([coefficients[None, :, 4 * row : 4 * row + 20] for row in rows])
            audio_features.append(network.forward_audio(sound.to(device)).cpu())
    video_feature, audio_feature = torch.cat(video_features), torch.cat(audio_features)
    padded = torch.nn.functional.pad(audio_feature, (0, 0, VSHIFT, VSHIFT))
    distances = torch.stack(
        [
            torch.nn.functional.pairwise_distance(
                video_feature[[row]].repeat(2 * VSHIFT + 1, 1), padded[row : row + 2 * VSHIFT + 1]
            )
            for row in range(windows)
        ]
    )
    mean = distances.mean(dim=0)
    minimum, best = mean.min(dim=0)
    return VSHIFT - int(best), float(mean.median() - minimum), float(minimum)


def main() -> None:
    """Score the clip named on the command line."""
    parser = argparse.ArgumentParser(description="Score a clip the published way.")
    parser.add_argument("clip", type=Path)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--batch", type=int, default=20)
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    device = torch.device(arguments.device)
    network = SyncNet.from_state_dict(load_checkpoint(arguments.weights).state_dict).to(device)
    with tempfile.TemporaryDirectory() as folder:
        extract(arguments.clip, Path(folder))
        offset, confidence, minimum = score(Path(folder), network, arguments.batch, device)
    print(json.dumps({"offset": offset, "confidence": confidence, "min_distance": minimum}))


if __name__ == "__main__":
    main()
