"""Real people's voices: prompts recorded for telephone systems, with the time of each phoneme.

The Asterisk core sounds are free recordings with their text (CC BY-SA 3.0, Russian CC BY 3.0),
packaged by Debian as `asterisk-core-sounds-LANGUAGE` (text) and `-g722` (sound at 16 kHz).
espeak-ng reads the same text, and its phonemes are carried over by alignment.
"""

import gzip
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray
from scipy.signal import resample_poly

from syncnet_training.errors import SynthesisError
from syncnet_training.synthesis.alignment import align, transfer
from syncnet_training.synthesis.articulation import Sound
from syncnet_training.synthesis.phonemes import PAUSE
from syncnet_training.synthesis.tts import read_aloud, to_sounds

__all__ = ["Prompt", "Recordings", "say_recorded"]

SAMPLE_RATE = 16000


@dataclass(frozen=True)
class _Speaker:
    """A speaker's folder below `asterisk/sounds`, the package's language, espeak-ng's voice."""

    folder: str
    language: str
    voice: str


_SPEAKERS = (
    _Speaker("en_US_f_Allison", "en", "en-us+f2"),
    _Speaker("es_MX_f_Allison", "es", "es-419+f2"),
    _Speaker("fr_CA_f_June", "fr", "fr-fr+f2"),
    _Speaker("it_IT_m_Carlo", "it", "it"),
    _Speaker("ru_RU_f_IvrvoiceRU", "ru", "ru+f2"),
)
_SILENCE_DB = -42.0  # below the loud parts of a prompt: what is cut off at its ends
_SHORTEST_S, _LONGEST_S = 0.5, 10.0
# Mean distance of paired frames above which text and sound are taken for different.
_UNALIGNED = 0.93


@dataclass(frozen=True)
class Prompt:
    """A recorded sentence: its sound, its text, and the voice of espeak-ng that reads it too."""

    path: Path
    text: str
    voice: str


class Recordings:
    """The prompts that are installed below a folder such as `/usr/share`.

    Attributes:
        speakers: for each speaker the prompts, in the order of their names.
        music: pieces of music, from the package `asterisk-moh-opsound-g722`; may be empty.

    Raises:
        SynthesisError: there are none.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.music = sorted((root / "asterisk" / "moh").glob("*.g722"))
        self.speakers = [found for speaker in _SPEAKERS if (found := _prompts(root, speaker))]
        if not self.speakers:
            raise SynthesisError(
                f"{root}: no recordings (Debian and Ubuntu: packages asterisk-core-sounds-en and "
                "asterisk-core-sounds-en-g722; also es, fr, it, ru; they lie below /usr/share)"
            )

    def play(self, rng: np.random.Generator, samples: int) -> NDArray[np.float32] | None:
        """An excerpt of a piece of music, float32 [samples] at 16 kHz; None where there is none."""
        if not self.music:
            return None
        piece = _read(self.music[int(rng.integers(len(self.music)))])
        first = int(rng.integers(0, max(1, len(piece) - samples)))
        return np.resize(piece[first : first + samples], samples)


def _prompts(root: Path, speaker: _Speaker) -> list[Prompt]:
    name = f"core-sounds-{speaker.language}.txt.gz"
    listing = root / "doc" / f"asterisk-core-sounds-{speaker.language}" / name
    folder = root / "asterisk" / "sounds" / speaker.folder
    if not listing.is_file():
        return []
    prompts = []
    for line in gzip.decompress(listing.read_bytes()).decode("utf-8", "replace").splitlines():
        name, colon, text = line.partition(":")
        path = folder / f"{name.strip()}.g722"
        # Brackets hold what is no speech; a slash, what is said in another way.
        if line.startswith(";") or not colon or re.search(r"[\[\]()/<>]", text):
            continue
        if len(text.strip()) > 1 and path.is_file():
            prompts.append(Prompt(path, text.strip(), speaker.voice))
    return sorted(prompts, key=lambda prompt: prompt.path)


def say_recorded(
    rng: np.random.Generator, seconds: float, recordings: Recordings
) -> tuple[NDArray[np.float32], list[Sound], str]:
    """`seconds` or a little more of one speaker's prompts, with pauses between them.

    Returns:
        samples float32 at 16 kHz, their sounds, and the speaker's name.

    Raises:
        SynthesisError: espeak-ng is missing or fails, or a recording cannot be read.
    """
    prompts = recordings.speakers[int(rng.integers(len(recordings.speakers)))]
    weights = np.array([min(len(prompt.text), 120) for prompt in prompts], float)
    # Played faster or slower than recorded: other pitches and sizes of vocal tract.
    speed = float(rng.uniform(0.84, 1.22)) if rng.random() < 0.75 else 1.0
    pieces: list[NDArray[np.float32]] = []
    sounds: list[Sound] = []
    time = 0.0
    while time < seconds:
        prompt = prompts[int(rng.choice(len(prompts), p=weights / weights.sum()))]
        aligned = _aligned(prompt)
        if aligned is None:
            continue
        wave, heard = aligned
        played = round(SAMPLE_RATE * speed / 50) * 50
        divisor = np.gcd(played, SAMPLE_RATE)
        wave = resample_poly(wave, SAMPLE_RATE // divisor, played // divisor).astype(np.float32)
        factor = SAMPLE_RATE / played
        wave = wave * (0.06 / (float(np.sqrt(np.mean(wave**2))) + 1e-6))
        sounds += [
            Sound(s.phoneme, time + s.start * factor, time + s.end * factor, s.strength)
            for s in heard
        ]
        pause = float(rng.uniform(0.05, 0.5))
        pieces += [wave, np.zeros(round(pause * SAMPLE_RATE), np.float32)]
        end = time + len(wave) / SAMPLE_RATE
        time = sum(map(len, pieces)) / SAMPLE_RATE
        sounds.append(Sound(PAUSE, end, time))
    return np.concatenate(pieces), sounds, prompts[0].path.relative_to(recordings.root).parts[2]


@lru_cache(maxsize=256)
def _aligned(prompt: Prompt) -> tuple[NDArray[np.float32], list[Sound]] | None:
    """A prompt without the silence around it, and its sounds; None where the two do not match."""
    recording = _without_silence(_read(prompt.path))
    if not _SHORTEST_S <= len(recording) / SAMPLE_RATE <= _LONGEST_S:
        return None
    spoken = read_aloud(prompt.text, prompt.voice)
    divisor = np.gcd(spoken.rate, SAMPLE_RATE)
    reference = resample_poly(spoken.samples, SAMPLE_RATE // divisor, spoken.rate // divisor)
    first, last = _speech(reference)
    if last - first < _SHORTEST_S * SAMPLE_RATE / 2:
        return None
    path, distance = align(reference[first:last].astype(np.float32), recording)
    if distance > _UNALIGNED:
        return None
    starts = np.array([at / spoken.rate for at, _ in spoken.phonemes]) - first / SAMPLE_RATE
    moved = transfer(starts, path)
    named = [(float(t), name) for t, (_, name) in zip(moved, spoken.phonemes, strict=True)]
    return recording, to_sounds(named, recording)


@lru_cache(maxsize=8)
def _read(path: Path) -> NDArray[np.float32]:
    """A recording, float32 in -1..1 at 16 kHz mono."""
    try:
        with av.open(str(path)) as media:
            resampler = av.AudioResampler(format="s16", layout="mono", rate=SAMPLE_RATE)
            blocks = [
                out.to_ndarray()[0]
                for frame in media.decode(audio=0)
                for out in resampler.resample(frame)
            ]
            blocks += [out.to_ndarray()[0] for out in resampler.resample(None)]
    except (av.error.FFmpegError, OSError) as error:
        raise SynthesisError(f"{path}: {error}") from error
    samples: NDArray[np.float32] = np.concatenate(blocks).astype(np.float32) / 32768
    return samples


def _without_silence(wave: NDArray[np.float32]) -> NDArray[np.float32]:
    first, last = _speech(wave)
    return wave[first:last]


def _speech(wave: NDArray[np.float32]) -> tuple[int, int]:
    """First and last sample of what is not silence."""
    blocks = len(wave) // 80
    level = np.sqrt(np.mean(wave[: blocks * 80].reshape(-1, 80) ** 2, axis=1) + 1e-12)
    loud = np.flatnonzero(level > np.percentile(level, 95) * 10 ** (_SILENCE_DB / 20))
    return int(loud[0]) * 80, int(loud[-1] + 1) * 80
