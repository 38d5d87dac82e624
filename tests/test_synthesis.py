# ruff: noqa: RUF001 (letters of the phonetic alphabet)
"""Synthetic talking heads: sound and picture agree, and the same seed gives the same clip."""

import gzip
import io
from collections.abc import Iterator
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from syncnet_training.cli import PROGRAM
from syncnet_training.errors import DatasetError, SynthesisError
from syncnet_training.storage import open_clips, read_about
from syncnet_training.synthesis import (
    SyntheticClip,
    clip_seed,
    room,
    synthesize_clip,
    tts,
    write_clips,
    write_folder,
    write_mp4,
)
from syncnet_training.synthesis.alignment import align, transfer
from syncnet_training.synthesis.articulation import (
    ARTICULATORS,
    TRACK_RATE,
    Sound,
    Style,
    articulate,
    random_style,
    sample_track,
)
from syncnet_training.synthesis.camera import Camera
from syncnet_training.synthesis.head import SHAPES
from syncnet_training.synthesis.motion import random_motion
from syncnet_training.synthesis.phonemes import (
    JAW,
    LOWER,
    PAUSE,
    PHONEMES,
    PRESS,
    ROUND,
    UPPER,
    from_ipa,
)
from syncnet_training.synthesis.portrait import Portrait
from syncnet_training.synthesis.raster import Canvas, Mesh
from syncnet_training.synthesis.recordings import Recordings
from syncnet_training.synthesis.room import record
from syncnet_training.synthesis.script import random_speech
from syncnet_training.synthesis.voice import random_voice, speak

needs_espeak = pytest.mark.skipif(tts.library_path() is None, reason="espeak-ng is not installed")


@pytest.fixture
def no_espeak(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv("ESPEAK_LIBRARY", raising=False)
    monkeypatch.setattr("ctypes.util.find_library", lambda _: None)
    tts.library_path.cache_clear()
    yield
    tts.library_path.cache_clear()


def _say(symbols: str, each_s: float = 0.1) -> list[Sound]:
    """Sounds of IPA symbols, one after another from 0.2 s; a space is a pause."""
    sounds = [PAUSE if s == " " else PHONEMES[s] for s in symbols]
    return [Sound(p, 0.2 + i * each_s, 0.2 + (i + 1) * each_s) for i, p in enumerate(sounds)]


def _loudness(samples: NDArray[np.float32], steps: int) -> NDArray[np.float64]:
    """Log energy of each step of the articulation track."""
    block = 16000 // TRACK_RATE
    power = np.mean(samples[: steps * block].astype(float).reshape(-1, block) ** 2, axis=1)
    loudness: NDArray[np.float64] = np.log(np.sqrt(power) + 1e-3)
    return loudness


# --- articulation -------------------------------------------------------------------------------


def test_ipa_is_read_sound_by_sound() -> None:
    assert [p.symbol for p in from_ipa("tʃ")] == ["t", "ʃ"]
    assert [p.symbol for p in from_ipa("ˈaɪː")] == ["a", "ɪ"]
    assert [p.symbol for p in from_ipa("ɱg")] == ["m", "ɡ"]
    assert from_ipa("ˈː|") == []


@pytest.mark.parametrize("labial", ["p", "b", "m"])
def test_lips_are_shut_throughout_a_bilabial(labial: str) -> None:
    track = articulate(_say(f"ɑ{labial}ɑ"), 0.8, Style())
    closed = sample_track(track, np.linspace(0.31, 0.39, 9))
    assert closed[:, PRESS].min() > 0.95
    open_vowel = sample_track(track, np.array([0.25, 0.45]))
    assert open_vowel[:, PRESS].max() < 0.3
    assert open_vowel[:, JAW].min() > 0.3


def test_lips_round_before_a_rounded_vowel_is_heard() -> None:
    track = articulate(_say("ttu", 0.12), 0.8, Style())
    heard = 0.2 + 2 * 0.12
    rounding = sample_track(track, np.array([heard - 0.2, heard - 0.04, heard + 0.06]))[:, ROUND]
    assert rounding[0] < 0.05
    assert 0.1 < rounding[1] < rounding[2]


def test_silence_leaves_the_mouth_at_rest() -> None:
    style = Style(open_rest=0.1, parted=0.2)
    track = articulate([], 1.0, style)
    np.testing.assert_allclose(track[:, JAW], 0.1, atol=1e-6)
    np.testing.assert_allclose(track[:, [UPPER, LOWER]], 0.2, atol=1e-6)


@pytest.mark.parametrize("text_to_speech", [False, pytest.param(True, marks=needs_espeak)])
def test_loudness_and_opening_of_the_mouth_agree_best_without_a_shift(text_to_speech: bool) -> None:
    seconds, lags = 5.0, range(-50, 51, 5)  # steps of 5 ms
    correlation = np.zeros(len(lags))
    for seed in range(16):
        rng = np.random.default_rng(seed)
        if text_to_speech:
            samples, sounds, _ = tts.say_something(rng, seconds)
        else:
            sounds = random_speech(rng, 0.0, seconds)
            samples = speak(sounds, seconds, random_voice(rng), rng)
        track = articulate(sounds, seconds, random_style(rng))
        opening = (track[:, JAW] + 0.3 * (track[:, UPPER] + track[:, LOWER])) * (
            1 - track[:, PRESS]
        )
        loudness = _loudness(samples, len(track))
        for index, lag in enumerate(lags):
            a = loudness[max(lag, 0) : len(track) + min(lag, 0)]
            b = opening[max(-lag, 0) : len(track) - max(lag, 0)]
            correlation[index] += np.corrcoef(a, b)[0, 1] / 16
    # The best lag is within 25 ms of none, well above lags of two frames and more.
    assert abs(lags[int(np.argmax(correlation))]) <= 5
    middle = len(lags) // 2
    assert correlation[middle] > 0.3
    assert correlation[middle] > correlation[[middle - 4, middle + 4]].max() + 0.05


# --- sound --------------------------------------------------------------------------------------


def test_a_closure_is_quieter_than_its_vowels() -> None:
    rng = np.random.default_rng(3)
    loudness = _loudness(speak(_say("ɑpɑ", 0.12), 0.8, random_voice(rng), rng), 160)
    vowel, closure = loudness[46:60].mean(), loudness[66:84].mean()
    assert vowel - closure > 1.5


def test_a_recording_keeps_the_direct_sound_where_it_was() -> None:
    for seed in range(12):
        rng = np.random.default_rng(seed)
        burst = np.zeros(16000, np.float32)
        burst[6000:7000] = 0.3 * rng.standard_normal(1000)
        samples = record(burst, rng)
        assert samples.dtype == np.int16
        assert samples.shape == burst.shape
        match = np.correlate(samples.astype(float), burst[6000:7000], mode="valid")
        assert abs(int(np.argmax(np.abs(match))) - 6000) <= 8  # half a millisecond


@pytest.mark.parametrize("way", ["_telephone", "_codec"])
def test_telephones_and_codecs_delay_nothing(way: str) -> None:
    rng = np.random.default_rng(4)
    wave = np.zeros(16001)
    wave[6000:7000] = 0.3 * rng.standard_normal(1000)
    through = getattr(room, way)(wave, *([rng] if way == "_codec" else []))
    assert through.shape == wave.shape
    assert np.abs(through - wave).max() > 0.01
    match = np.correlate(through, wave[6000:7000], mode="valid")
    assert abs(int(np.argmax(np.abs(match))) - 6000) <= 2


def test_two_readings_of_a_text_are_paired_sound_by_sound() -> None:
    errors: list[float] = []
    for seed in range(4):
        rng = np.random.default_rng(seed)
        sounds = random_speech(rng, 0.0, 2.5)
        # The other speaker has a voice and a rhythm of its own.
        other, time = [], 0.0
        for sound in sounds:
            length = (sound.end - sound.start) * rng.uniform(0.7, 1.4)
            other.append(Sound(sound.phoneme, time, time + length, sound.strength))
            time += length
        one = speak(sounds, sounds[-1].end, random_voice(rng), rng)
        two = speak(other, time, random_voice(rng), rng)
        path, distance = align(one, two)
        assert distance < 0.9
        found = transfer(np.array([s.start for s in sounds]), path)
        errors += [f - s.start for f, s in zip(found, other, strict=True)]
    # A tenth of a frame is 4 ms.
    assert abs(float(np.median(errors))) < 0.004
    assert float(np.median(np.abs(errors))) < 0.02


def test_recordings_are_those_with_text(tmp_path: Path) -> None:
    with pytest.raises(SynthesisError, match="asterisk-core-sounds-en"):
        Recordings(tmp_path)
    folder = tmp_path / "asterisk" / "sounds" / "en_US_f_Allison"
    folder.mkdir(parents=True)
    for name in ("hello", "beep", "unnamed"):
        (folder / f"{name}.g722").write_bytes(b"")
    listing = tmp_path / "doc" / "asterisk-core-sounds-en" / "core-sounds-en.txt.gz"
    listing.parent.mkdir(parents=True)
    text = "; Sounds\n\nhello: Hello.\nbeep: [a beep]\nmissing: Not there.\n"
    listing.write_bytes(gzip.compress(text.encode()))
    ((prompt,),) = Recordings(tmp_path).speakers
    assert (prompt.path.name, prompt.text) == ("hello.g722", "Hello.")


@needs_espeak
def test_text_to_speech_is_the_same_for_the_same_seed() -> None:
    first, sounds, voice = tts.say_something(np.random.default_rng(5), 2.0)
    again, sounds_again, voice_again = tts.say_something(np.random.default_rng(5), 2.0)
    np.testing.assert_array_equal(first, again)
    assert (sounds, voice) == (sounds_again, voice_again)
    assert len(first) >= 2 * 16000
    starts = [s.start for s in sounds]
    assert starts == sorted(starts)


def test_the_closure_of_a_stop_is_found_before_its_burst() -> None:
    hum = 0.2 * np.sin(np.arange(8000) / 16000 * 2 * np.pi * 150).astype(np.float32)
    hum[2400:3200] = 0  # 150 to 200 ms: lips closed; the event comes at the burst
    sounds = tts.to_sounds([(0.0, "ɑ"), (0.2, "p"), (0.23, "ɑ")], hum)
    assert [s.phoneme.symbol for s in sounds] == ["ɑ", "p", "ɑ"]
    assert sounds[1].start == pytest.approx(0.15, abs=0.006)
    assert sounds[1].end == pytest.approx(0.208, abs=0.006)
    assert sounds[0].end == sounds[1].start
    assert sounds[2].start == sounds[1].end


@pytest.mark.usefixtures("no_espeak")
def test_without_espeak_the_built_in_voice_speaks() -> None:
    clip = next(c for c in (synthesize_clip(s, 2) for s in range(4)) if c.samples.any())
    assert clip.description["voice"].startswith("formant")
    with pytest.raises(SynthesisError, match="espeak-ng is not installed"):
        synthesize_clip(0, 2, text_to_speech=True)


# --- picture ------------------------------------------------------------------------------------


def _lip_gap(portrait: Portrait, symbol: str) -> float:
    """Height of the opening between the lips, in face units, for a sound."""
    targets = np.array(PHONEMES[symbol].targets, np.float32)
    idle = np.zeros(len(SHAPES), np.float32)
    head = portrait.head
    points = head.deform(portrait.coefficients(targets, idle))
    middle = points.reshape(head.rows, head.columns, 3)[:, head.columns // 2]
    lining = np.flatnonzero(head.inside.reshape(head.rows, head.columns)[:, head.columns // 2])
    return float(middle[lining[-1] + 1, 1] - middle[lining[0] - 1, 1])


@pytest.mark.parametrize("seed", range(5))
def test_lips_of_every_face_meet_in_m_and_part_in_a(seed: int) -> None:
    portrait = Portrait(np.random.default_rng(seed), np.zeros(3))
    # One face unit is about 50 pixels of a frame.
    assert _lip_gap(portrait, "m") < 0.01
    assert _lip_gap(portrait, "f") < 0.06
    assert _lip_gap(portrait, "ɑ") > 0.12
    assert _lip_gap(portrait, "ɑ") > _lip_gap(portrait, "i") > 0.02


def test_speech_changes_the_lower_face_and_nothing_else() -> None:
    rng = np.random.default_rng(11)
    motion = random_motion(rng, 0.1)
    portrait = Portrait(rng, np.zeros(3))
    pictures = []
    for symbol in ("m", "ɑ"):
        targets = np.array(PHONEMES[symbol].targets, np.float32)
        still = np.zeros(3, np.float32)
        pictures.append(
            portrait.draw(
                targets, motion.shapes[0], still, still, still[:2], 1.0, still[:2], still[:2] + 9
            ).astype(int)
        )
    change = np.abs(pictures[0] - pictures[1]).max(axis=-1) > 12
    rows = np.flatnonzero(change.any(axis=1)) / len(change)
    assert change.sum() > 300
    assert rows.min() > 0.3
    assert rows.max() < 0.8


def _square(size: float, depth: float) -> NDArray[np.float32]:
    return np.array(
        [[0, 0, depth], [size, 0, depth], [0, size, depth], [size, size, depth]], np.float32
    )


def test_nearer_surfaces_hide_farther_ones_and_holes_show_them() -> None:
    def mesh(level: float, coverage: float) -> Mesh:
        texture = np.full((4, 4, 4), level, np.float32)
        texture[..., 3] = 1.0
        texture[:, :2, 3] = coverage
        corners = np.array([[0, 0], [3, 0], [0, 3], [3, 3]], np.float32)
        return Mesh(np.array([[0, 1, 2], [1, 3, 2]], np.int32), corners, texture)

    canvas = Canvas(16)
    canvas.clear()
    light, gloss = np.ones((4, 3), np.float32), np.zeros(4, np.float32)
    canvas.draw(mesh(1.0, 0.0), _square(15, 2.0), light, gloss)
    canvas.draw(mesh(0.25, 1.0), _square(15, 1.0), light, gloss)
    picture = canvas.develop(np.zeros((16, 16, 3), np.float32), 0, 0, 1.0)
    assert (picture[2:14, 12] == 255).all()  # the nearer one
    assert (picture[2:14, 2] == 128).all()  # through the hole: half of display white


@pytest.mark.parametrize("codec", ["none", "jpeg", "h264", "mpeg4"])
def test_the_camera_delivers_frames_of_the_right_size(codec: str) -> None:
    cameras = (Camera(np.random.default_rng(s)) for s in range(100))
    camera = next(c for c in cameras if c.codec == codec and c._saturation > 0.5)
    rng = np.random.default_rng(0)
    scene = np.zeros((264, 264, 3), np.uint8)
    scene[:, :132] = (200, 120, 60)
    delivered = camera.deliver([camera.expose(scene, rng) for _ in range(3)])
    assert delivered.shape == (3, 224, 224, 3)
    assert delivered.dtype == np.uint8
    # Colours keep their order: the lit half is reddish, not bluish.
    left = delivered[:, 60:120, 50:100].reshape(-1, 3).mean(axis=0)
    assert left[0] > left[2]


# --- clips --------------------------------------------------------------------------------------


def test_the_same_seed_gives_the_same_clip() -> None:
    first, again, other = (synthesize_clip(seed, 3) for seed in (13, 13, 8))
    assert first.description["camera"]["codec"] == "h264"
    np.testing.assert_array_equal(first.frames, again.frames)
    np.testing.assert_array_equal(first.samples, again.samples)
    assert first.description == again.description
    assert not np.array_equal(first.frames, other.frames)
    assert first.frames.shape == (3, 224, 224, 3)
    assert first.samples.shape == (3 * 640,)
    assert first.jaw.shape == (3,)


def test_a_tick_shows_the_source_frame_whose_time_stamp_is_nearest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Pictures are those of the client's clock, whatever the rate of the camera."""
    drawn: list[float] = []

    def draw(*arguments: object) -> NDArray[np.uint8]:
        drawn.append(float(arguments[3]))  # type: ignore[arg-type]
        return np.full((264, 264, 3), len(drawn), np.uint8)

    monkeypatch.setattr("syncnet_training.synthesis.clip._draw", draw)
    monkeypatch.setattr(Camera, "deliver", lambda _, frames: np.stack(frames))
    monkeypatch.setattr(Camera, "expose", lambda _, picture, __: picture)
    rates = set()
    for seed in range(12):
        drawn.clear()
        clip = synthesize_clip(seed, 50, text_to_speech=False)
        rate = clip.description["camera"]["rate"]
        rates.add(rate)
        times = np.array(sorted(set(drawn)))
        if len(times) != len(np.unique(clip.frames[:, 0, 0, 0])):
            continue  # a slow shutter draws two moments of a frame
        shown = times[clip.frames[:, 0, 0, 0].astype(int) - 1]
        late = shown - np.arange(50) / 25  # seconds from the tick to the moment it shows
        # The middle of a source frame, 0.3 to 0.7 of its time after its stamp, half a frame off.
        assert late.min() > (0.3 - 0.5) / rate - 1e-6
        assert late.max() < (0.7 + 0.5) / rate + 1e-6
    assert len(rates) > 2


def test_sound_and_light_meet_to_a_tenth_of_a_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    """A jaw that shows what time it is, and a burst at a known time, through room and camera."""
    heard_at = 1.6  # seconds into the speech
    rng = np.random.default_rng(0)
    burst = (0.3 * rng.standard_normal(800)).astype(np.float32)

    def speech(*_: object) -> tuple[NDArray[np.float32], list[Sound], str]:
        wave = np.zeros(4 * 16000, np.float32)
        first = round(heard_at * 16000)
        wave[first : first + len(burst)] = burst
        return wave, [], "burst"

    def clock(*_: object) -> NDArray[np.float32]:
        times = np.arange(4 * TRACK_RATE) / TRACK_RATE
        return np.repeat(times[:, None], len(ARTICULATORS), axis=1).astype(np.float32)

    class Blank:
        """No face: the time is read off the description of the jaw."""

        def __init__(self, *_: object) -> None: ...

        def draw(self, *_: object) -> NDArray[np.uint8]:
            return np.zeros((264, 264, 3), np.uint8)

    monkeypatch.setattr("syncnet_training.synthesis.clip._speech", speech)
    monkeypatch.setattr("syncnet_training.synthesis.clip.articulate", clock)
    monkeypatch.setattr("syncnet_training.synthesis.clip.Portrait", Blank)
    monkeypatch.setattr(Camera, "deliver", lambda _, frames: np.stack(frames))
    monkeypatch.setattr(Camera, "expose", lambda _, picture, __: picture)
    after: list[float] = []
    for seed in range(24):
        clip = synthesize_clip(seed, 50)
        match = np.correlate(clip.samples.astype(float), burst, "valid")
        heard = int(np.argmax(np.abs(match))) / 16000  # seconds from the start of the clip
        # When the sound was heard that belongs to what each frame shows, from the frame's stamp.
        shown = (clip.jaw - heard_at + heard) - np.arange(50) / 25
        rate = clip.description["camera"]["rate"]
        # The middle of the camera's frame, give or take a fifth of it.
        after.append(float(np.mean(shown)) * rate)
    assert np.min(after) > 0.25
    assert np.max(after) < 0.75
    assert abs(np.mean(after) - 0.5) < 0.1


def test_a_clip_without_frames_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one frame"):
        synthesize_clip(0, 0)


def test_seeds_of_clips_differ_within_and_between_sets() -> None:
    seeds = {clip_seed(seed, index) for seed in range(20) for index in range(500)}
    assert len(seeds) == 20 * 500


@pytest.mark.slow
def test_clips_do_not_depend_on_the_number_of_processes(tmp_path: Path) -> None:
    options = {"clips": 3, "seed": 4, "frames": 3}
    alone = list(write_clips(tmp_path / "alone", **options, jobs=1))
    together = list(write_clips(tmp_path / "together", **options, jobs=2))
    assert [p.name for p in alone] == [p.name for p in together]
    for one, other in zip(alone, together, strict=True):
        for path in sorted(p for p in one.rglob("*") if p.is_file()):
            assert path.read_bytes() == (other / path.relative_to(one)).read_bytes()


def test_a_clip_folder_holds_frames_sound_and_description(tmp_path: Path) -> None:
    clip = synthesize_clip(1, 4)
    write_folder(clip, tmp_path / "clip")
    (stored,) = open_clips(tmp_path)
    assert stored.frames == 4
    pictures = stored.read_frames(0, 4)[..., ::-1].astype(int)
    assert np.abs(pictures - clip.frames).mean() < 4
    np.testing.assert_array_equal(stored.read_samples(), clip.samples)
    np.testing.assert_allclose(stored.read_jaw(), clip.jaw, atol=1e-4)
    about = read_about(stored.path)
    assert (about["seed"], about["frames"], about["hard"]) == (1, 4, False)


def test_mp4_has_flash_and_click_at_the_same_time(tmp_path: Path) -> None:
    frames = np.zeros((50, 224, 224, 3), np.uint8)
    samples = np.zeros(50 * 640, np.int16)
    frames[20:] = 255
    samples[20 * 640 : 20 * 640 + 8] = 30000
    path = tmp_path / "flash.mp4"
    write_mp4(SyntheticClip(frames, samples, np.zeros(50, np.float32)), path)
    data = io.BytesIO(path.read_bytes())
    with av.open(data) as container:
        pictures = [(f.time, f.to_ndarray(format="gray").mean()) for f in container.decode(video=0)]
    assert len(pictures) == 50
    assert next(time for time, level in pictures if level > 128) == pytest.approx(0.8, abs=1e-6)
    data.seek(0)
    with av.open(data) as container:
        heard = [(f.time, f.to_ndarray()[0]) for f in container.decode(audio=0)]
    assert heard[0][0] == 0.0
    wave_form = np.concatenate([part for _, part in heard])
    # Priming is gone: the click lies within the encoder's smear of a few samples.
    assert abs(int(np.argmax(np.abs(wave_form))) - 20 * 640) <= 16
    assert len(wave_form) >= len(samples)


# --- command line -------------------------------------------------------------------------------


def test_synthesize_writes_a_contact_sheet_and_resumes(tmp_path: Path) -> None:
    arguments = [
        "synthesize",
        str(tmp_path / "set"),
        "--clips",
        "2",
        "--seconds",
        "0.4",
        "--jobs",
        "1",
    ]
    sheet = tmp_path / "sheet.png"
    assert PROGRAM.run([*arguments, "--contact-sheet", str(sheet)]) == 0
    assert cv2.imread(str(sheet)).shape == (2 * 128, 8 * 128, 3)
    # A clip without its description is not complete: it is made again, the other one kept.
    first, second = (tmp_path / "set" / f"clip_{i:06d}" / "clip.json" for i in range(2))
    kept = first.stat().st_mtime_ns
    second.unlink()
    assert PROGRAM.run(arguments) == 0
    assert first.stat().st_mtime_ns == kept
    assert second.exists()


def test_sets_of_clips_are_not_mixed(tmp_path: Path) -> None:
    list(write_clips(tmp_path, clips=1, seed=1, frames=2))
    for other in ({"seed": 2, "frames": 2}, {"seed": 1, "frames": 3}):
        with pytest.raises(DatasetError, match="another seed, length or mix"):
            list(write_clips(tmp_path, clips=1, **other))
    with pytest.raises(DatasetError, match="another seed, length or mix"):
        list(write_clips(tmp_path, clips=1, seed=1, frames=2, hard=True))


def test_a_contact_sheet_needs_frames(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["synthesize", str(tmp_path), "--mp4", "--contact-sheet", str(tmp_path / "s.png")]
    assert PROGRAM.run(arguments) == 2
    assert "leave out --mp4" in capsys.readouterr().err
    assert PROGRAM.run(["synthesize", str(tmp_path), "--contact-sheet", "sheet.gif"]) == 2
    assert "a .jpg or .png file" in capsys.readouterr().err
