# ruff: noqa: RUF001 (letters of the phonetic alphabet)
"""Random speech for the built-in voice: pseudo-words with rhythm, stress and pauses."""

import numpy as np

from syncnet_training.synthesis.articulation import Sound
from syncnet_training.synthesis.phonemes import PAUSE, PHONEMES, Phoneme, by_kind


def _syllable(rng: np.random.Generator, language: dict[str, list[Phoneme]]) -> list[Phoneme]:
    sounds: list[Phoneme] = []
    if rng.random() < 0.9:
        sounds.append(_pick(rng, language["onset"]))
        if sounds[0].kind in ("stop", "fricative") and rng.random() < 0.15:
            sounds.append(_pick(rng, language["liquid"]))
    sounds.append(_pick(rng, language["vowel"]))
    if rng.random() < 0.2:
        sounds.append(_pick(rng, language["glide"]))
    if rng.random() < 0.35:
        sounds.append(_pick(rng, language["coda"]))
    return sounds


def _pick(rng: np.random.Generator, choices: list[Phoneme]) -> Phoneme:
    return choices[int(rng.integers(len(choices)))]


def _language(rng: np.random.Generator) -> dict[str, list[Phoneme]]:
    """Each clip speaks its own language: a part of the inventory."""
    vowels = by_kind(["vowel"])
    consonants = by_kind(["stop", "fricative", "nasal", "approximant"])
    labial = [p for p in consonants if p.press > 0 or p.bite > 0 or p.symbol == "w"]
    others = [p for p in consonants if p not in labial]
    chosen_vowels = rng.permutation(len(vowels))[: int(rng.integers(5, 13))]
    chosen = rng.permutation(len(others))[: int(rng.integers(7, 15))]
    onset = [others[i] for i in chosen]
    # Lip readers rely on labials; every language has them.
    onset += [labial[i] for i in rng.permutation(len(labial))[: int(rng.integers(3, 6))]]
    return {
        "vowel": [vowels[i] for i in chosen_vowels] + [PHONEMES["a"], PHONEMES["i"], PHONEMES["u"]],
        "onset": onset,
        "coda": onset,
        "liquid": [PHONEMES[s] for s in ("l", "r", "ɹ", "w", "j")],
        "glide": [PHONEMES[s] for s in ("ɪ", "ʊ", "ə")],
    }


def random_speech(rng: np.random.Generator, start: float, end: float) -> list[Sound]:
    """Sounds from `start` to about `end` (seconds), in phrases divided by pauses."""
    language = _language(rng)
    rate = rng.uniform(0.72, 1.35)
    sounds: list[Sound] = []
    time = start
    while time < end:
        words = int(rng.integers(1, 7))
        for word in range(words):
            syllables = int(rng.integers(1, 4))
            stressed = int(rng.integers(syllables))
            for index in range(syllables):
                strength = rng.uniform(0.95, 1.35) if index == stressed else rng.uniform(0.5, 0.95)
                final = word == words - 1 and index == syllables - 1
                for phoneme in _syllable(rng, language):
                    stretch = rate * rng.uniform(0.75, 1.3) * (1.4 if final else 1.0)
                    if phoneme.kind == "vowel":
                        stretch *= 0.55 + 0.55 * strength
                    length = max(phoneme.duration * stretch, 0.03)
                    sounds.append(Sound(phoneme, time, time + length, strength))
                    time += length
        pause = rng.uniform(0.12, 0.35) if rng.random() < 0.6 else rng.uniform(0.35, 0.9)
        sounds.append(Sound(PAUSE, time, time + pause))
        time += pause
    return sounds
