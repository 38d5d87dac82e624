# ruff: noqa: RUF001 (letters of the phonetic alphabet)
"""Speech sounds: what each looks like (articulation) and what it sounds like (acoustics).

Articulation targets are fractions of a speaker's own range. Formants are those of an adult man,
rounded from the classic measurements (Peterson & Barney 1952; Stevens 1998); voices scale them.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Kind = Literal["vowel", "approximant", "nasal", "stop", "fricative", "pause"]

# The articulators, in the order of the columns of a track.
JAW, WIDE, ROUND, UPPER, LOWER, PRESS, BITE, TONGUE = range(8)
ARTICULATORS = ("jaw", "wide", "round", "upper", "lower", "press", "bite", "tongue")


@dataclass(frozen=True)
class Phoneme:
    """One speech sound.

    jaw: opening, 0 (teeth together) to 1. wide: lip corners apart (negative: together).
    round: lip protrusion. upper, lower: lips drawn off the teeth. press: lips closed whatever the
    jaw does (p, b, m). bite: lower lip to the upper teeth (f, v). tongue: tip raised.
    hold: how strongly the sound insists on its lip and jaw targets against its neighbours'.
    formants: first three resonances in Hz. noise: centre of the frication or burst in Hz.
    duration: typical length in seconds at a normal rate.
    """

    symbol: str
    kind: Kind
    voiced: bool
    formants: tuple[float, float, float]
    duration: float
    jaw: float = 0.0
    wide: float = 0.0
    round: float = 0.0
    upper: float = 0.0
    lower: float = 0.0
    press: float = 0.0
    bite: float = 0.0
    tongue: float = 0.0
    hold: float = 1.0
    noise: float = 0.0
    noise_level: float = 0.0

    @property
    def targets(self) -> tuple[float, ...]:
        """Where each of `ARTICULATORS` goes."""
        return tuple(getattr(self, name) for name in ARTICULATORS)


def _vowel(
    symbol: str,
    formants: tuple[float, float, float],
    jaw: float,
    wide: float = 0.0,
    lips_round: float = 0.0,
    duration: float = 0.11,
) -> Phoneme:
    spread = max(wide, 0.0)
    return Phoneme(
        symbol,
        "vowel",
        True,
        formants,
        duration,
        jaw=jaw,
        wide=wide,
        round=lips_round,
        upper=0.25 + 0.35 * spread - 0.2 * lips_round,
        lower=0.30 + 0.35 * spread - 0.1 * lips_round,
        tongue=0.25 * spread,
        hold=1.0 + 0.6 * lips_round,
    )


def _consonant(
    symbol: str,
    kind: Kind,
    voiced: bool,
    formants: tuple[float, float, float],
    duration: float,
    **targets: float,
) -> Phoneme:
    return Phoneme(symbol, kind, voiced, formants, duration, **targets)


_VOWELS = (
    _vowel("i", (280, 2250, 2900), 0.16, 0.65),
    _vowel("ɪ", (400, 1950, 2550), 0.24, 0.4, duration=0.08),
    _vowel("e", (400, 2100, 2650), 0.30, 0.5),
    _vowel("ɛ", (550, 1800, 2500), 0.46, 0.35),
    _vowel("æ", (690, 1650, 2450), 0.66, 0.4, duration=0.13),
    _vowel("a", (750, 1350, 2500), 0.80, 0.15, duration=0.13),
    _vowel("ɑ", (710, 1100, 2450), 0.85, 0.0, duration=0.14),
    _vowel("ɒ", (650, 950, 2450), 0.72, -0.1, 0.35),
    _vowel("ɔ", (570, 860, 2450), 0.60, -0.15, 0.55, duration=0.13),
    _vowel("o", (440, 850, 2400), 0.40, -0.2, 0.8),
    _vowel("ʊ", (440, 1050, 2250), 0.27, -0.15, 0.6, duration=0.08),
    _vowel("u", (300, 800, 2250), 0.17, -0.25, 1.0),
    _vowel("y", (280, 1900, 2200), 0.16, -0.2, 0.95),
    _vowel("ø", (400, 1600, 2250), 0.32, -0.15, 0.75),
    _vowel("œ", (550, 1500, 2300), 0.46, -0.1, 0.5),
    _vowel("ə", (500, 1500, 2500), 0.28, 0.05, duration=0.06),
    _vowel("ʌ", (620, 1200, 2500), 0.52, 0.05),
    _vowel("ɜ", (480, 1350, 1750), 0.36, 0.0, 0.2),
    _vowel("ɨ", (320, 1600, 2400), 0.20, 0.2),
    _vowel("ɯ", (320, 1150, 2300), 0.20, 0.1),
)

_LABIAL, _ALVEOLAR, _POSTALVEOLAR, _VELAR = (
    (300.0, 950.0, 2200.0),
    (320.0, 1750.0, 2600.0),
    (300.0, 1900.0, 2500.0),
    (300.0, 1900.0, 2200.0),
)
_P = {"jaw": 0.10, "press": 1.0, "hold": 2.2}
_F = {"jaw": 0.12, "bite": 1.0, "upper": 0.3, "hold": 2.2}
_T = {"jaw": 0.12, "upper": 0.22, "lower": 0.3, "wide": 0.1, "tongue": 0.9, "hold": 0.55}
_S = {"jaw": 0.06, "upper": 0.3, "lower": 0.45, "wide": 0.25, "tongue": 0.5, "hold": 1.0}
_SH = {"jaw": 0.08, "upper": 0.35, "lower": 0.5, "wide": -0.2, "round": 0.6, "hold": 1.3}
_K = {"jaw": 0.25, "upper": 0.2, "lower": 0.25, "hold": 0.35}

_CONSONANTS = (
    _consonant("p", "stop", False, _LABIAL, 0.09, noise=900, noise_level=0.35, **_P),
    _consonant("b", "stop", True, _LABIAL, 0.08, noise=700, noise_level=0.2, **_P),
    _consonant("m", "nasal", True, (270, 1000, 2200), 0.08, **_P),
    _consonant("f", "fricative", False, _LABIAL, 0.11, noise=5500, noise_level=0.16, **_F),
    _consonant("v", "fricative", True, _LABIAL, 0.07, noise=5000, noise_level=0.08, **_F),
    _consonant("t", "stop", False, _ALVEOLAR, 0.08, noise=4200, noise_level=0.6, **_T),
    _consonant("d", "stop", True, _ALVEOLAR, 0.06, noise=3800, noise_level=0.35, **_T),
    _consonant("n", "nasal", True, (270, 1650, 2500), 0.07, **_T),
    _consonant("θ", "fricative", False, _ALVEOLAR, 0.1, noise=6000, noise_level=0.14, **_T),
    _consonant("ð", "fricative", True, _ALVEOLAR, 0.06, noise=5500, noise_level=0.06, **_T),
    _consonant("s", "fricative", False, _ALVEOLAR, 0.11, noise=5600, noise_level=0.6, **_S),
    _consonant("z", "fricative", True, _ALVEOLAR, 0.08, noise=5400, noise_level=0.35, **_S),
    _consonant("ʃ", "fricative", False, _POSTALVEOLAR, 0.12, noise=2900, noise_level=0.6, **_SH),
    _consonant("ʒ", "fricative", True, _POSTALVEOLAR, 0.08, noise=2700, noise_level=0.35, **_SH),
    _consonant("k", "stop", False, _VELAR, 0.09, noise=1900, noise_level=0.5, **_K),
    _consonant("ɡ", "stop", True, _VELAR, 0.07, noise=1800, noise_level=0.3, **_K),
    _consonant("ŋ", "nasal", True, (270, 1900, 2300), 0.08, **_K),
    _consonant("x", "fricative", False, _VELAR, 0.1, noise=1700, noise_level=0.3, **_K),
    _consonant("h", "fricative", False, (500, 1500, 2500), 0.07, hold=0.08, jaw=0.3),
    _consonant("ʔ", "stop", False, (500, 1500, 2500), 0.04, hold=0.05, jaw=0.3),
    _consonant(
        "l", "approximant", True, (360, 1150, 2600), 0.07, jaw=0.3, upper=0.2, lower=0.3,
        tongue=1.0, hold=0.6,
    ),
    _consonant(
        "ɹ", "approximant", True, (330, 1250, 1650), 0.07, jaw=0.2, upper=0.2, lower=0.25,
        round=0.45, hold=0.9,
    ),
    _consonant(
        "r", "approximant", True, (400, 1350, 2300), 0.06, jaw=0.25, upper=0.2, lower=0.3,
        tongue=0.9, hold=0.5,
    ),
    _consonant(
        "w", "approximant", True, (300, 680, 2200), 0.07, jaw=0.14, round=1.0, wide=-0.25,
        hold=1.8,
    ),
    _consonant(
        "j", "approximant", True, (280, 2200, 2900), 0.06, jaw=0.16, wide=0.55, upper=0.35,
        lower=0.35, hold=0.8,
    ),
)  # fmt: skip

PAUSE = Phoneme("", "pause", False, (500, 1500, 2500), 0.3, hold=0.45)

PHONEMES: dict[str, Phoneme] = {p.symbol: p for p in (*_VOWELS, *_CONSONANTS)}

# Sounds of the International Phonetic Alphabet that look and sound nearly like one above.
_ALIKE = {
    "ʏ": "y", "ɶ": "œ", "ɐ": "ʌ", "ɘ": "ə", "ɵ": "ø", "ɚ": "ə", "ɝ": "ɜ", "ɞ": "ɜ", "ɤ": "ʌ",
    "ʉ": "u", "ᵻ": "ɪ", "ɫ": "l", "ɭ": "l", "ʎ": "l", "ɬ": "ʃ", "ɮ": "l", "ɾ": "d", "ɽ": "r",
    "ʀ": "r", "ʁ": "x", "ɻ": "ɹ", "ɺ": "l", "ɱ": "m", "ɲ": "n", "ɳ": "n", "ɴ": "ŋ", "ʈ": "t",
    "ɖ": "d", "c": "k", "ɟ": "ɡ", "g": "ɡ", "q": "k", "ɢ": "ɡ", "ɸ": "f", "β": "v", "ʋ": "v",
    "ʂ": "ʃ", "ʐ": "ʒ", "ɕ": "ʃ", "ʑ": "ʒ", "ç": "x", "ʝ": "j", "ɣ": "x", "χ": "x", "ħ": "h",
    "ʕ": "h", "ɦ": "h", "ɰ": "w", "ɥ": "y", "ʍ": "w", "ɓ": "b", "ɗ": "d", "ɠ": "ɡ", "ʃ": "ʃ",
}  # fmt: skip


def from_ipa(text: str) -> list[Phoneme]:
    """The sounds of an IPA string; length marks, stress, tones and unknown signs are skipped."""
    return [p for p in (PHONEMES.get(_ALIKE.get(sign, sign)) for sign in text) if p is not None]


def by_kind(kinds: Iterable[Kind]) -> list[Phoneme]:
    """All phonemes of these kinds, in the order of the inventory."""
    wanted = set(kinds)
    return [p for p in PHONEMES.values() if p.kind in wanted]
