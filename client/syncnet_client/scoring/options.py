"""How to score and how to watch: every option once, with its default, its limits and its help.

The command line makes its options of these fields (``commands.options``), the client takes them
as keyword arguments. A new option is a field here and, for type checkers, a key of the
``...Keywords`` beside its class.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypedDict, cast

from syncnet_client.contract import FRAMES_PER_SECOND
from syncnet_client.defaults import (
    DEFAULT_CHUNK,
    DEFAULT_EVERY_S,
    DEFAULT_LOOKBACK_S,
    DEFAULT_MAX_DURATION_S,
    DEFAULT_MIN_AGREEMENT,
    DEFAULT_MIN_CONFIDENCE,
    DEFAULT_SEGMENT_S,
    DEFAULT_VSHIFT,
    MAX_CHUNK,
    MAX_VSHIFT,
    MIN_SCORED_WINDOWS,
    WIDE_VSHIFT,
)
from syncnet_client.errors import UsageError

if TYPE_CHECKING:  # OpenCV takes its time to load
    from syncnet_client.faces import CropMode, DetectorName
    from syncnet_client.media.paired import AudioClock
    from syncnet_client.scoring.protocols import Protocol

__all__ = ["Flag", "ScoreKeywords", "ScoreOptions", "WatchKeywords", "WatchOptions", "parse_crop"]

Search = Literal["fixed", "auto"]

LEAST_LENGTH_S = MIN_SCORED_WINDOWS / FRAMES_PER_SECOND  # of what is scored by itself


@dataclass(frozen=True, kw_only=True)
class Flag:
    """An option as it appears on the command line.

    Attributes:
        name: with its dashes.
        metavar: what stands for the value in the help.
        help: one sentence.
        least, most: limits of the value.
        unit: of the limits, for the error.
        parse: from the text that was typed to the value.
        existing_file: the value is a file that must be there.
    """

    name: str
    metavar: str
    help: str
    least: float = -math.inf
    most: float | None = None
    unit: str = ""
    parse: Callable[[str], Any] | None = None
    existing_file: bool = False

    def check(self, argument: str, value: float) -> None:
        """Compare a value with the limits.

        Raises:
            UsageError: it is beyond one of them.
        """
        if self.most is not None and not self.least <= value <= self.most:
            limits = f"{self.least:g} to {self.most:g}{self.unit}"
        elif value < self.least:
            limits = f"at least {self.least:g}{self.unit}"
        else:
            return
        raise UsageError(f"{argument} must be {limits}, not {value:g}")


def _flag(name: str, **settings: Any) -> dict[str, Flag]:
    return {"flag": Flag(name=name, **settings)}


def parse_crop(text: str) -> CropMode:
    """Understand the value of ``--crop``.

    Raises:
        UsageError: it is none of the three forms.
    """
    if text == "auto":
        return "auto"
    if text == "none":
        return "none"
    if not re.fullmatch(r"\d+,\d+,\d+,\d+", text):
        raise UsageError(f"--crop is auto, none or X,Y,W,H in pixels, not {text!r}")
    x, y, width, height = (int(number) for number in text.split(","))
    return x, y, width, height


def parse_detector(text: str) -> DetectorName:
    """Understand the value of ``--detector``.

    Raises:
        UsageError: it is not the name of a detector.
    """
    if text == "haar":
        return "haar"
    if text == "yunet":
        return "yunet"
    raise UsageError(f"--detector is haar or yunet, not {text!r}")


def parse_search(text: str) -> Search:
    """Understand the value of ``--search``.

    Raises:
        UsageError: it is neither of the two.
    """
    if text == "fixed":
        return "fixed"
    if text == "auto":
        return "auto"
    raise UsageError(f"--search is fixed or auto, not {text!r}")


def _parse_clock(text: str) -> AudioClock:
    if text not in ("start", "file"):
        raise UsageError(f"--audio-clock is start or file, not {text!r}")
    return cast("AudioClock", text)


@dataclass(frozen=True, kw_only=True)
class _Options:
    """What scoring a clip and watching a live source have in common.

    Attributes:
        vshift: audio shifts compared to each side, in frames.
        crop: ``"auto"`` finds faces and leaves a clip of 224x224 alone, ``"none"`` takes the
            whole picture, ``(x, y, width, height)`` that part of it.
        detector: what finds faces: ``"haar"`` (OpenCV's cascade) or ``"yunet"``; by default
            YuNet if its file is here.
        yunet: ONNX file of YuNet; by default the one that ``fetch yunet`` downloads.
        min_agreement: results of which a smaller share of the draws agrees are not trusted.
        min_confidence: results below are not trusted; 0 asks for none.
        allow_playlists: a file may be a playlist, which opens the files in it.
    """

    vshift: int = field(
        default=DEFAULT_VSHIFT,
        metadata=_flag(
            "--vshift",
            metavar="N",
            help="Frames (40 ms) searched to each side.",
            least=0,
            most=MAX_VSHIFT,
            unit=" frames",
        ),
    )
    crop: CropMode = field(
        default="auto",
        metadata=_flag(
            "--crop",
            metavar="auto|none|X,Y,W,H",
            help="Find the face; take the whole picture; or take this part of it.",
            parse=parse_crop,
        ),
    )
    detector: DetectorName | None = field(
        default=None,
        metadata=_flag(
            "--detector",
            metavar="haar|yunet",
            help="What finds faces. [default: yunet once it was fetched, else haar]",
            parse=parse_detector,
        ),
    )
    yunet: str | Path | None = field(
        default=None,
        metadata=_flag(
            "--yunet",
            metavar="FILE",
            help="ONNX file of YuNet. [default: the one that `fetch yunet` downloads]",
            parse=Path,
            existing_file=True,
        ),
    )
    min_agreement: float = field(
        default=DEFAULT_MIN_AGREEMENT,
        metadata=_flag(
            "--min-agreement",
            metavar="SHARE",
            help="Trust an offset if this share of the draws agrees on it.",
            least=0,
            most=1,
        ),
    )
    min_confidence: float = field(
        default=DEFAULT_MIN_CONFIDENCE,
        metadata=_flag(
            "--min-confidence",
            metavar="C",
            help="Do not trust results below this confidence; 0 asks for none.",
            least=0,
        ),
    )

    allow_playlists: bool = field(
        default=False,
        metadata=_flag(
            "--allow-playlists",
            metavar="",
            help="A file may be a playlist (HLS, concat), which opens the files in it.",
        ),
    )

    def __post_init__(self) -> None:
        for each in fields(self):
            value = getattr(self, each.name)
            if isinstance(value, (int, float)):
                each.metadata["flag"].check(each.name, value)


class _Keywords(TypedDict, total=False):
    vshift: int
    crop: CropMode
    detector: DetectorName | None
    yunet: str | Path | None
    min_agreement: float
    min_confidence: float
    allow_playlists: bool


@dataclass(frozen=True, kw_only=True)
class ScoreOptions(_Options):
    """How to score a clip; for the rest of the attributes see ``WatchOptions``.

    Attributes:
        chunk: windows in one request; changes speed and memory, never the result.
        segment_s: length of the segments in which drift is looked for, in seconds.
        max_duration_s: of a source that names no end of its own, in seconds.
        search: ``"auto"`` scores once more with a search of 2 s to each side where no offset
            stands out or it lies at the edge.
        protocol: name of a score protocol (``scoring.protocols``), which decides the frames, the
            faces and the search; then ``vshift`` and ``crop`` are not to be given.
        lossy: under a protocol, pictures and sound go through the files that its script keeps
            them in, and time moves as it does there.
        audio: file or URL whose sound takes the place of the clip's own; or a folder, which has a
            sound file named as each clip.
        audio_clock: ``"start"``: that sound begins with the clip's first frame. ``"file"``: the
            time stamps of both files are of one clock.

    Raises:
        UsageError: a value is out of range, or two contradict each other.
    """

    chunk: int = field(
        default=DEFAULT_CHUNK,
        metadata=_flag(
            "--chunk",
            metavar="N",
            help="Windows in one request; only affects speed.",
            least=1,
            most=MAX_CHUNK,
            unit=" windows",
        ),
    )
    segment_s: float = field(
        default=DEFAULT_SEGMENT_S,
        metadata=_flag(
            "--segment",
            metavar="SECONDS",
            help="Look for drift over segments of this length.",
            least=LEAST_LENGTH_S,
            unit=" second",
        ),
    )
    max_duration_s: float = field(
        default=DEFAULT_MAX_DURATION_S,
        metadata=_flag(
            "--max-duration",
            metavar="SECONDS",
            help="Stop after so much of a source that has no end, as a live stream.",
            least=LEAST_LENGTH_S,
            unit=" second",
        ),
    )
    protocol: str | None = field(
        default=None,
        metadata=_flag(
            "--protocol",
            metavar="NAME",
            help="Score as a published script does, for LSE-D and LSE-C that compare: "
            "syncnet-demo, syncnet, wav2lip-lrs, wav2lip-real, latentsync or mocha.",
            parse=str,
        ),
    )
    lossy: bool = field(
        default=False,
        metadata=_flag(
            "--lossy",
            metavar="",
            help="With --protocol: convert and compress as the script does in between.",
        ),
    )
    audio: str | Path | None = field(
        default=None,
        metadata=_flag(
            "--audio",
            metavar="FILE",
            help="Score against the sound of this file, or of the file in this folder that is "
            "named as the clip.",
            parse=str,
        ),
    )
    audio_clock: AudioClock = field(
        default="start",
        metadata=_flag(
            "--audio-clock",
            metavar="start|file",
            help="That sound begins with the first frame; or both files' time stamps are of "
            "one clock.",
            parse=_parse_clock,
        ),
    )

    search: Search = field(
        default="fixed",
        metadata=_flag(
            "--search",
            metavar="fixed|auto",
            help=f"auto searches +-{WIDE_VSHIFT} frames where --vshift finds no trusted offset.",
            parse=parse_search,
        ),
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.audio_clock not in ("start", "file"):
            raise UsageError(f"audio_clock is start or file, not {self.audio_clock!r}")
        rules = self.rules
        if rules is None:
            if self.lossy:
                raise UsageError("lossy is for a protocol: name one with protocol")
            return
        if self.lossy and self.audio_clock == "file":
            raise UsageError(
                "with lossy the sound begins with the first frame: leave out audio_clock"
            )
        if self.crop != "auto":
            raise UsageError(f"protocol {rules.name} decides what is cropped: leave out crop")
        if self.vshift not in (DEFAULT_VSHIFT, rules.vshift):
            raise UsageError(
                f"protocol {rules.name} searches {rules.vshift} frames: leave out vshift"
            )
        if self.search != "fixed":
            raise UsageError(f"protocol {rules.name} searches once: leave out search")
        object.__setattr__(self, "vshift", rules.vshift)

    @property
    def rules(self) -> Protocol | None:
        """The protocol of that name.

        Raises:
            UsageError: there is none.
        """
        if self.protocol is None:
            return None
        from syncnet_client.scoring.protocols import find_protocol

        return find_protocol(self.protocol)

    def keywords(self) -> ScoreKeywords:
        """The same as keyword arguments of ``SyncNetClient.score``."""
        return cast("ScoreKeywords", vars(self))


class ScoreKeywords(_Keywords, total=False):
    """The fields of ``ScoreOptions`` as keyword arguments."""

    chunk: int
    segment_s: float
    max_duration_s: float
    search: Search
    protocol: str | None
    lossy: bool
    audio: str | Path | None
    audio_clock: AudioClock


@dataclass(frozen=True, kw_only=True)
class WatchOptions(_Options):
    """How to watch a live source.

    Attributes:
        vshift: audio shifts compared to each side, in frames.
        crop: ``"auto"`` finds faces and leaves a picture of 224x224 alone, ``"none"`` takes the
            whole picture, ``(x, y, width, height)`` that part of it.
        detector: what finds faces: ``"haar"`` (OpenCV's cascade) or ``"yunet"``; by default
            YuNet if its file is here.
        yunet: ONNX file of YuNet; by default the one that ``fetch yunet`` downloads.
        min_agreement: updates of which a smaller share of the draws agrees are not trusted.
        min_confidence: updates below are not trusted; 0 asks for none.
        allow_playlists: a file may be a playlist, which opens the files in it.
        lookback_s: seconds that an update looks back.
        every_s: seconds of the source from one update to the next.

    Raises:
        UsageError: a value is out of range.
    """

    lookback_s: float = field(
        default=DEFAULT_LOOKBACK_S,
        metadata=_flag(
            "--lookback",
            metavar="SECONDS",
            help="Look back so far in every update.",
            least=LEAST_LENGTH_S,
            unit=" second",
        ),
    )
    every_s: float = field(
        default=DEFAULT_EVERY_S,
        metadata=_flag(
            "--every",
            metavar="SECONDS",
            help="Time from one update to the next.",
            least=1 / FRAMES_PER_SECOND,
            unit=" seconds",
        ),
    )

    def keywords(self) -> WatchKeywords:
        """The same as keyword arguments of ``SyncNetClient.watch``."""
        return cast("WatchKeywords", vars(self))


class WatchKeywords(_Keywords, total=False):
    """The fields of ``WatchOptions`` as keyword arguments."""

    lookback_s: float
    every_s: float
