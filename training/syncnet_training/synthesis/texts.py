"""Random things to say: everyday words of a few languages mixed with words that don't exist."""

import json
from pathlib import Path

import numpy as np

# {"words": {language of espeak-ng: words}, "variants": speakers of espeak-ng}, each a string with
# spaces between its items.
_VOCABULARY = json.loads(Path(__file__).with_name("vocabulary.json").read_text(encoding="utf-8"))
_WORDS: dict[str, list[str]] = {k: v.split() for k, v in _VOCABULARY["words"].items()}
_SPEAKERS: list[str] = _VOCABULARY["variants"].split()
_ONSETS = [
    "b",
    "p",
    "m",
    "f",
    "v",
    "w",
    "b",
    "p",
    "m",
    "t",
    "d",
    "n",
    "s",
    "k",
    "g",
    "l",
    "r",
    "sh",
    "ch",
    "j",
    "h",
    "br",
    "pl",
    "fl",
    "st",
    "tr",
    "gr",
]
_MIDDLES = ["a", "e", "i", "o", "u", "a", "e", "i", "o", "u", "ai", "ee", "oo", "ou"]
_ENDS = ["", "", "", "n", "m", "b", "p", "s", "t", "l", "v", "f", "k"]


def _invented(rng: np.random.Generator) -> str:
    parts = (rng.choice(_ONSETS) + rng.choice(_MIDDLES) for _ in range(int(rng.integers(1, 4))))
    return "".join(parts) + str(rng.choice(_ENDS))


def random_text(rng: np.random.Generator, words: int) -> tuple[str, str]:
    """A language code of espeak-ng and a text of about `words` words with punctuation."""
    language = "en" if rng.random() < 0.55 else str(rng.choice(list(_WORDS)))
    invented = rng.uniform(0, 0.5)
    said: list[str] = []
    while len(said) < words:
        length = int(rng.integers(2, 9))
        for _ in range(length):
            if rng.random() < invented:
                said.append(_invented(rng))
            else:
                said.append(str(rng.choice(_WORDS[language])))
        said[-1] += str(rng.choice([".", ",", "?", "!", ",", ""]))
    if language == "en":
        language = str(
            rng.choice(["en-us", "en-gb-x-rp", "en-gb-scotland", "en-029", "en-gb-x-gbclan"])
        )
    return language, " ".join(said)


def random_speaker(rng: np.random.Generator, language: str) -> str:
    """The name of a voice of espeak-ng: a language with one of its speakers."""
    return f"{language}+{rng.choice(_SPEAKERS)}"
