"""The ingest: any source as 25 fps and 16 kHz on one clock, checked to the frame and the sample."""

from __future__ import annotations

import functools
import http.server
import itertools
import os
import threading
import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from media_recipes import Recipe, encode, picture_number, read, rotate_mp4
from tiny import read_so_far, wait_for

from syncnet_client.errors import MediaError, NoAudioError, NoVideoError, UsageError
from syncnet_client.media import ArrayMedia, open_media
from syncnet_client.media.audio import AudioTimeline, SampleBuffer
from syncnet_client.media.sampling import FrameSampler

PLAIN = Recipe()
LOSSLESS = PLAIN.with_(audio_codec="pcm_s16le")
AVI = LOSSLESS.with_(video_codec="mpeg4")
FIFTH = Fraction(1, 5)
FRAME = 1 / 25


def test_plain_clip_gives_exactly_its_frames_and_samples(tmp_path: Path) -> None:
    path = encode(tmp_path / "clip.mkv", LOSSLESS.with_(rate=16_000, layout="mono"))
    with av.open(str(path)) as container:
        images = np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])
    with av.open(str(path)) as container:
        samples = np.concatenate([frame.to_ndarray()[0] for frame in container.decode(audio=0)])
    reading = read(path)
    assert np.array_equal(reading.images, images)
    assert np.array_equal(reading.samples, samples)
    assert reading.times == [Fraction(index, 25) for index in range(50)]
    assert reading.summary.start == 0
    assert reading.summary.frames == len(images) == 50
    assert reading.summary.samples == len(samples) == 32_000
    assert reading.summary.warnings == ()


@pytest.mark.parametrize(
    ("name", "recipe"),
    [
        ("clip.mp4", PLAIN),
        ("clip.mov", LOSSLESS),
        ("clip.mkv", PLAIN),
        ("clip.avi", AVI),
        ("clip.webm", PLAIN.with_(video_codec="libvpx", audio_codec="libopus")),
        ("clip.ts", PLAIN),
        ("bframes.mp4", PLAIN.with_(video_options=(("bf", "3"), ("b_strategy", "0")))),
        ("faststart.mp4", PLAIN.with_(container_options=(("movflags", "faststart"),))),
    ],
)
def test_every_container_keeps_both_streams_in_place(
    tmp_path: Path, name: str, recipe: Recipe
) -> None:
    reading = read(encode(tmp_path / name, recipe))
    assert len(reading.images) == 50
    assert reading.flash == 25
    assert reading.beep == pytest.approx(1.0, abs=0.0005)
    levels = reading.images.mean(axis=(1, 2, 3))
    expected = [picture_number(index) for index in range(50) if index != 25]
    assert np.delete(levels, 25) == pytest.approx(expected, abs=6)
    assert (reading.summary.repeated_frames, reading.summary.unused_frames) == (0, 0)
    assert reading.summary.warnings == ()


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
@pytest.mark.parametrize(
    "fps", [Fraction(24_000, 1001), Fraction(30_000, 1001), 12, 15, 24, 30, 50, 60, 120], ids=str
)
def test_every_frame_rate_is_sampled_by_time(
    tmp_path: Path, suffix: str, fps: Fraction | int
) -> None:
    recipe = PLAIN.with_(fps=Fraction(fps), container_options=())
    reading = read(encode(tmp_path / f"clip.{suffix}", recipe))
    source = recipe.frame_times
    assert len(reading.images) == pytest.approx(25 * len(source) / fps, abs=1)
    # Containers round time stamps to a millisecond or better.
    worst = max(abs(time - Fraction(index, 25)) for index, time in enumerate(reading.times))
    assert worst <= min(Fraction(1, 2) / fps, Fraction(1, 25)) + Fraction(21, 1000)
    flash = max(time for time in source if time <= 1)
    assert abs(reading.flash * FRAME - float(flash)) <= FRAME
    assert reading.beep == pytest.approx(1.0, abs=0.0005)


B_FRAMES = (("bf", "3"), ("b_strategy", "0"))
QUIET = ("x265-params", "log-level=none")


@pytest.mark.parametrize("fps", [Fraction(30_000, 1001), Fraction(50), Fraction(60)], ids=str)
@pytest.mark.parametrize(
    ("name", "codec", "options", "skips"),
    [
        ("h264.mp4", "libx264", B_FRAMES, True),
        ("h264.ts", "libx264", B_FRAMES, True),
        ("no-b-frames.mp4", "libx264", (("bf", "0"),), False),
        ("interlaced.mp4", "libx264", (*B_FRAMES, ("x264-params", "tff=1")), False),
        ("hevc.mkv", "libx265", (QUIET,), True),
        ("mpeg4.mp4", "mpeg4", (("bf", "2"),), True),
        ("mpeg4.avi", "mpeg4", (("bf", "2"),), False),  # has no time stamps to go by
        ("mpeg2.ts", "mpeg2video", (("bf", "2"),), True),
        ("vp9.webm", "libvpx-vp9", (("deadline", "realtime"), ("cpu-used", "8")), False),
    ],
)
def test_frames_that_are_never_shown_are_not_decoded_where_none_refers_to_them(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    fps: Fraction,
    name: str,
    codec: str,
    options: tuple[tuple[str, str], ...],
    skips: bool,
) -> None:
    sound = "libopus" if name.endswith("webm") else "aac"
    recipe = PLAIN.with_(fps=fps, video_codec=codec, video_options=options, audio_codec=sound)
    path = encode(tmp_path / name, recipe)
    some = read(path)
    monkeypatch.setattr(FrameSampler, "passes_over", lambda *_: False)
    everything = read(path)
    assert some.times == everything.times
    assert np.array_equal(some.images, everything.images)
    assert np.array_equal(some.samples, everything.samples)
    assert some.summary.warnings == everything.summary.warnings
    left_out = everything.summary.source_frames - some.summary.source_frames
    assert skips or left_out == 0
    if skips and fps == 60:
        assert left_out > 0


def test_variable_frame_rate_keeps_its_time_stamps(tmp_path: Path) -> None:
    random = np.random.default_rng(3)
    steps = random.integers(15, 120, 40)
    times = [Fraction(int(time), 1000) for time in np.concatenate([[0], np.cumsum(steps)])]
    flash = times[20]
    recipe = PLAIN.with_(times=times, flash=flash, beep=flash, seconds=times[-1] + 1)
    reading = read(encode(tmp_path / "clip.mkv", recipe))
    assert abs(reading.flash * FRAME - float(flash)) <= FRAME / 2 + 0.001
    assert reading.beep == pytest.approx(float(flash), abs=0.0005)
    for index, shown in enumerate(reading.times):
        tick = Fraction(index, 25)
        nearest = min(abs(time - tick) for time in times if time <= tick + Fraction(1, 50))
        assert abs(shown - tick) == nearest


@pytest.mark.parametrize("layout", ["mono", "stereo", "5.1"])
@pytest.mark.parametrize("rate", [8_000, 22_050, 44_100, 48_000])
def test_every_sample_rate_and_layout_becomes_16_khz_mono(
    tmp_path: Path, rate: int, layout: str
) -> None:
    reading = read(encode(tmp_path / "clip.mkv", LOSSLESS.with_(rate=rate, layout=layout)))
    assert len(reading.samples) == 32_000
    assert reading.beep == pytest.approx(1.0, abs=1 / 16_000)
    coded = read(encode(tmp_path / "clip.mp4", PLAIN.with_(rate=rate, layout=layout)))
    assert coded.beep == pytest.approx(1.0, abs=0.0005)


def test_pcm_of_unknown_channel_order_is_mixed_down(tmp_path: Path) -> None:
    assert read(encode(tmp_path / "clip.avi", AVI.with_(layout="5.1"))).beep == pytest.approx(
        1.0, abs=1 / 16_000
    )


@pytest.mark.parametrize("suffix", ["mp4", "mov", "mkv", "ts"])
def test_delays_by_time_stamps_move_the_streams_apart(tmp_path: Path, suffix: str) -> None:
    def ahead(recipe: Recipe) -> float:
        """Frames by which the flash comes after the beep."""
        reading = read(encode(tmp_path / f"clip.{suffix}", recipe))
        return reading.flash - reading.beep / FRAME

    # MP4 notes delays in milliseconds.
    assert ahead(PLAIN) == pytest.approx(0, abs=0.03)
    assert ahead(PLAIN.with_(audio_delay=FIFTH)) == pytest.approx(-5, abs=0.03)
    assert ahead(PLAIN.with_(video_delay=FIFTH)) == pytest.approx(5, abs=0.03)
    both = PLAIN.with_(audio_delay=FIFTH, video_delay=FIFTH)
    assert ahead(both) == pytest.approx(0, abs=0.03)


@pytest.mark.parametrize("suffix", ["mp4", "mov"])
def test_edit_lists_and_negative_starts_are_honoured(tmp_path: Path, suffix: str) -> None:
    options = (("avoid_negative_ts", "disabled"),)
    early_sound = PLAIN.with_(audio_delay=-FIFTH, container_options=options)
    reading = read(encode(tmp_path / f"sound.{suffix}", early_sound))
    assert (reading.flash, len(reading.images)) == (25, 50)
    assert reading.beep == pytest.approx(0.8, abs=0.0005)
    early_picture = PLAIN.with_(video_delay=-FIFTH, container_options=options)
    reading = read(encode(tmp_path / f"picture.{suffix}", early_picture))
    assert (reading.flash, len(reading.images)) == (20, 45)
    assert reading.beep == pytest.approx(1.0, abs=0.0005)


def test_scoring_begins_where_both_streams_have_begun(tmp_path: Path) -> None:
    late_sound = read(encode(tmp_path / "sound.mkv", LOSSLESS.with_(audio_delay=FIFTH)))
    assert late_sound.summary.start == late_sound.times[0] == FIFTH
    assert len(late_sound.images) == 45
    assert late_sound.summary.warnings == (
        "the audio begins 0.200 s after the video: what comes before 0:00.200 is not scored",
    )
    late_picture = read(encode(tmp_path / "picture.mkv", LOSSLESS.with_(video_delay=FIFTH)))
    assert late_picture.summary.start == late_picture.times[0] == FIFTH
    assert len(late_picture.images) == 50


def test_small_difference_of_starts_costs_no_frame(tmp_path: Path) -> None:
    reading = read(encode(tmp_path / "clip.mkv", LOSSLESS.with_(audio_delay=Fraction(15, 1000))))
    assert len(reading.images) == 50
    assert reading.beep == pytest.approx(1.015, abs=0.0005)
    assert reading.summary.warnings == ()


def test_gap_in_the_audio_becomes_silence(tmp_path: Path) -> None:
    recipe = LOSSLESS.with_(keep_audio=lambda moment: not 0.3 < moment < 0.7)
    reading = read(encode(tmp_path / "clip.mkv", recipe))
    assert reading.beep == pytest.approx(1.0, abs=0.001)
    assert len(reading.samples) == 32_000
    assert not reading.samples[int(0.35 * 16_000) : int(0.65 * 16_000)].any()
    assert reading.summary.audio_gaps == 1
    assert reading.summary.audio_gap_seconds == pytest.approx(0.4, abs=0.03)
    assert len(reading.summary.warnings) == 1


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_rotation_is_applied(tmp_path: Path, degrees: int) -> None:
    path = encode(tmp_path / "clip.mp4", PLAIN.with_(seconds=Fraction(1, 2)))
    mark = tmp_path / "marked.mp4"
    with av.open(str(path)) as source, av.open(str(mark), "w") as target:
        video = target.add_stream("libx264", rate=25)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        sound = target.add_stream_from_template(source.streams.audio[0])
        image = np.zeros((48, 64, 3), np.uint8)
        image[:16, :16] = 255  # top left
        for _ in range(10):
            target.mux(video.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        target.mux(video.encode(None))
        for packet in source.demux(audio=0):
            if packet.size:
                packet.stream = sound
                target.mux(packet)
    rotate_mp4(mark, degrees)
    reading = read(mark)
    # A telephone that is held turned by so much clockwise has the picture turned back likewise.
    upright = np.rot90(image, -degrees // 90)
    assert reading.images.shape[1:] == upright.shape
    assert np.abs(reading.images[5].astype(int) - upright).mean() < 12
    assert reading.summary.rotation % 360 == -degrees % 360


def test_pixels_that_are_not_square_are_made_square(tmp_path: Path) -> None:
    recipe = PLAIN.with_(video_options=(("x264-params", "sar=2/1"),), seconds=Fraction(1, 2))
    reading = read(encode(tmp_path / "clip.mkv", recipe.with_(flash=Fraction(0))))
    assert reading.images.shape[1:3] == (48, 128)


@pytest.mark.parametrize("suffix", ["mkv", "mp4", "avi"])
def test_truncated_clip_is_read_up_to_there(tmp_path: Path, suffix: str) -> None:
    options = (("movflags", "faststart"),) if suffix == "mp4" else ()
    base = AVI if suffix == "avi" else PLAIN
    # Audio that fills the file evenly, so that cutting the file cuts time.
    recipe = base.with_(seconds=Fraction(6), container_options=options, noise=0.02)
    path = encode(tmp_path / f"clip.{suffix}", recipe)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 7 // 10])
    reading = read(path)
    assert 50 < len(reading.images) < 140
    assert reading.flash == 25
    assert reading.beep == pytest.approx(1.0, abs=0.0005)
    assert any("truncated" in warning for warning in reading.summary.warnings)


def test_damaged_packets_are_counted_and_the_rest_is_read(tmp_path: Path) -> None:
    path = encode(tmp_path / "clip.mkv", PLAIN.with_(video_options=(("g", "5"),)))
    data = bytearray(path.read_bytes())
    with av.open(str(path)) as container:
        places = [packet.pos for packet in container.demux(video=0) if packet.size]
    for place in places[30:33]:
        data[place + 12 : place + 40] = b"\xff" * 28
    path.write_bytes(data)
    reading = read(path)
    assert reading.summary.undecodable_frames >= 1
    assert any("could not be decoded" in warning for warning in reading.summary.warnings)
    assert len(reading.images) == 50
    assert reading.flash == 25
    assert reading.beep == pytest.approx(1.0, abs=0.0005)


def test_audio_that_is_stored_after_all_the_video_is_found(tmp_path: Path) -> None:
    path = encode(tmp_path / "clip.mp4", LOSSLESS.with_(audio_codec="aac"))
    with av.open(str(path)) as source, av.open(str(tmp_path / "late.mkv"), "w") as target:
        kinds = {stream.index: target.add_stream_from_template(stream) for stream in source.streams}
        packets = [packet for packet in source.demux() if packet.size]
        target.start_encoding()
        for kind in ("video", "audio"):
            for packet in packets:
                if packet.stream.type == kind:
                    packet.stream = kinds[packet.stream.index]
                    # Not the interleaving that mux() would do: one stream after the other.
                    target.mux_one(packet)
    reading = read(tmp_path / "late.mkv")
    assert (reading.flash, len(reading.images)) == (25, 50)
    assert reading.beep == pytest.approx(1.0, abs=0.0005)


@pytest.mark.parametrize(("picture", "sound"), [(1, 3), (3, 1)])
def test_streams_of_different_length_are_read_to_their_ends(
    tmp_path: Path, picture: int, sound: int
) -> None:
    times = [Fraction(index, 25) for index in range(25 * picture)]
    recipe = LOSSLESS.with_(times=times, seconds=Fraction(sound), flash=FIFTH, beep=FIFTH)
    reading = read(encode(tmp_path / "clip.mkv", recipe))
    assert len(reading.images) == 25 * picture
    assert len(reading.samples) == 16_000 * sound


def test_blocks_are_small_and_even_until_a_stream_ends(tmp_path: Path) -> None:
    path = encode(tmp_path / "clip.mkv", LOSSLESS)
    with open_media(path, block_frames=7) as media:
        sizes = [(len(block.frames), len(block.samples)) for block in media]
    assert sizes == [(7, 4480)] * 7 + [(1, 640)]


def test_bad_sources_are_named_in_one_sentence(tmp_path: Path) -> None:
    text = tmp_path / "text.txt"
    text.write_text("no media " * 500)
    empty = tmp_path / "empty.mp4"
    empty.touch()
    cases: list[tuple[Path, type[MediaError], str]] = [
        (tmp_path / "missing.mp4", MediaError, "no such file"),
        (tmp_path, MediaError, "folder"),
        (empty, MediaError, "empty"),
        (text, MediaError, "not a media file"),
        (encode(tmp_path / "mute.mp4", PLAIN.with_(sound=False)), NoAudioError, "no audio stream"),
        (encode(tmp_path / "dark.mp4", PLAIN.with_(picture=False)), NoVideoError, "no video"),
    ]
    for path, kind, message in cases:
        with pytest.raises(kind, match=message) as caught:
            open_media(path)
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)


def test_clip_of_which_nothing_can_be_decoded_is_an_error(tmp_path: Path) -> None:
    path = encode(tmp_path / "clip.avi", AVI.with_(seconds=Fraction(1, 2)))
    data = bytearray(path.read_bytes())
    with av.open(str(path)) as container:
        places = [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size]
    for place, size in places:
        data[place + 8 : place + 8 + size] = bytes(size)
    path.write_bytes(data)
    with pytest.raises(MediaError, match="nothing of the video stream"):
        read(path)


def test_file_names_are_not_taken_for_protocols(tmp_path: Path) -> None:
    assert read(encode(tmp_path / "take:2 é.mkv", PLAIN)).flash == 25


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.mark.parametrize("blocks", [0, 1, 5])
def test_closing_early_ends_the_thread_and_closes_the_file(tmp_path: Path, blocks: int) -> None:
    path = encode(tmp_path / "clip.mkv", PLAIN)
    before = open_files()
    with open_media(path) as media:
        for _ in range(blocks):
            next(media)
    media.close()
    assert not [thread for thread in threading.enumerate() if thread.name == "media"]
    assert open_files() == before
    with pytest.raises(StopIteration):
        next(media)
    with pytest.raises(RuntimeError, match="last block"):
        _ = media.summary


def test_reading_to_the_end_closes_the_file_too(tmp_path: Path) -> None:
    path = encode(tmp_path / "clip.mkv", PLAIN)
    before = open_files()
    media = open_media(path)
    assert sum(len(block.frames) for block in media) == 50
    assert open_files() == before
    assert media.info.source_fps == 25
    assert (media.info.width, media.info.height, media.info.sample_rate) == (64, 48, 48_000)


def test_decoding_stays_only_a_few_blocks_ahead(tmp_path: Path) -> None:
    path = encode(tmp_path / "clip.mkv", PLAIN.with_(seconds=Fraction(8)))
    with open_media(path) as media:
        next(media)
        assert wait_for(lambda: media._queue.qsize() == 1)
        assert not wait_for(lambda: media._queue.qsize() > 1, 0.3)
        assert sum(len(block.frames) for block in media) == 195


def test_realtime_hands_blocks_out_as_they_play(tmp_path: Path) -> None:
    path = encode(tmp_path / "clip.mkv", PLAIN.with_(seconds=Fraction(1), flash=FIFTH, beep=FIFTH))
    began = time.monotonic()
    assert len(read(path, realtime=True).images) == 25
    assert time.monotonic() - began >= 0.99


def test_named_pipe_is_read_as_it_is_written(tmp_path: Path) -> None:
    clip = encode(tmp_path / "clip.ts", PLAIN)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=lambda: pipe.write_bytes(clip.read_bytes()))
    writer.start()
    reading = read(pipe)
    writer.join()
    assert (reading.flash, len(reading.images)) == (25, 50)
    assert reading.beep == pytest.approx(1.0, abs=0.001)


def test_silent_pipe_is_given_up(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(MediaError, match="not a media file"):
        open_media(pipe, timeout_s=0.2)


def test_growing_file_is_followed_until_nothing_more_comes(tmp_path: Path) -> None:
    data = encode(tmp_path / "clip.ts", PLAIN.with_(seconds=Fraction(4))).read_bytes()
    growing = tmp_path / "growing.ts"
    half = len(data) // 376 * 188
    growing.write_bytes(data[:half])

    def write() -> None:
        wait_for(lambda: read_so_far(growing) >= half)
        with growing.open("ab") as file:
            file.write(data[half:])

    writer = threading.Thread(target=write)
    writer.start()
    reading = read(growing, follow=True, timeout_s=3)
    writer.join()
    assert len(reading.images) == 100
    assert any("no new data" in warning for warning in reading.summary.warnings)


def test_followed_file_can_be_closed_while_it_waits(tmp_path: Path) -> None:
    path = encode(tmp_path / "clip.ts", PLAIN)
    began = time.monotonic()
    with open_media(path, follow=True, timeout_s=60) as media:
        next(media)
    assert time.monotonic() - began < 20
    assert not [thread for thread in threading.enumerate() if thread.name == "media"]


@pytest.fixture
def website(tmp_path: Path) -> Iterator[str]:
    """Serve tmp_path over HTTP."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args: object) -> None:
            """Say nothing."""

    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(Quiet, directory=str(tmp_path))
    )
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_url_and_hls_are_read(tmp_path: Path, website: str) -> None:
    encode(tmp_path / "clip.mp4", PLAIN)
    hls = PLAIN.with_(container_options=(("hls_time", "1"), ("hls_list_size", "0")))
    encode(tmp_path / "live.m3u8", hls.with_(video_options=(("g", "25"),)))
    for name in ("clip.mp4", "live.m3u8"):
        reading = read(f"{website}/{name}")
        assert reading.flash == 25
        assert reading.beep == pytest.approx(1.0, abs=0.001)
    with pytest.raises(MediaError, match="cannot be opened"):
        open_media(f"{website}/missing.mp4")


def test_options_are_checked(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="positive"):
        open_media(tmp_path / "clip.mp4", block_frames=0)


# The parts, one by one.


def sample(times: list[Fraction], duration: Fraction = Fraction(1, 25)) -> list[tuple[int, int]]:
    """(tick, number of the frame it shows) for frames at these times."""
    sampler: FrameSampler[int] = FrameSampler()
    shown = [
        (sampled.tick, sampled.item)
        for index, moment in enumerate(times)
        for sampled in sampler.push(moment, duration, index)
    ]
    return shown + [(sampled.tick, sampled.item) for sampled in sampler.finish()]


@given(
    jitter=st.lists(st.integers(-9, 9), min_size=1, max_size=60),
    start=st.integers(-5_000, 5_000),
)
def test_25_fps_passes_frame_by_frame_even_if_time_stamps_waver(
    jitter: list[int], start: int
) -> None:
    times = [
        Fraction(start + 40 * index + (wobble if index else 0), 1000)
        for index, wobble in enumerate(jitter)
    ]
    assert sample(times) == [(index, index) for index in range(len(jitter))]


@given(steps=st.lists(st.integers(1, 200), min_size=2, max_size=60))
@settings(max_examples=50)
def test_a_tick_shows_the_nearest_frame_and_none_far_too_early(steps: list[int]) -> None:
    times = [Fraction(int(moment), 1000) for moment in np.cumsum(steps)]
    shown = sample(times)
    assert [tick for tick, _ in shown] == list(range(len(shown)))
    for tick, number in shown:
        moment = times[0] + Fraction(tick, 25)
        allowed = [time for time in times if time <= moment + Fraction(1, 50)]
        assert abs(times[number] - moment) == min(abs(time - moment) for time in allowed)


@given(
    steps=st.lists(st.integers(1, 50), min_size=2, max_size=60),
    duration=st.sampled_from([Fraction(1, 60), Fraction(1, 25), Fraction(1)]),
    keep=st.sets(st.integers(0, 59)),
)
def test_frames_passed_over_change_nothing(
    steps: list[int], duration: Fraction, keep: set[int]
) -> None:
    times = [Fraction(int(moment), 1000) for moment in np.cumsum(steps)]
    clock: FrameSampler[int] = FrameSampler()
    clock.start = times[0]
    left_out = {
        index
        for index in range(1, len(times) - 2)
        if index not in keep and clock.passes_over(*times[index - 1 : index + 2])
    }
    kept = [index for index in range(len(times)) if index not in left_out]
    shown = sample([times[index] for index in kept], duration)
    assert [(tick, kept[number]) for tick, number in shown] == sample(times, duration)


def test_most_frames_of_a_fast_source_are_passed_over() -> None:
    clock: FrameSampler[int] = FrameSampler()
    clock.start = Fraction(0)
    for fps, share in ((60, 35), (50, 25), (30, 5), (25, 0), (12, 0)):
        seen = [
            clock.passes_over(*(Fraction(index + step, fps) for step in (-1, 0, 1)))
            for index in range(1, fps)
        ]
        assert sum(seen) == share


def test_frames_with_time_stamps_that_go_back_are_left_out() -> None:
    sampler: FrameSampler[str] = FrameSampler()
    for moment, name in ((0, "a"), (2, "b"), (1, "c"), (2, "d"), (3, "e")):
        list(sampler.push(Fraction(moment), Fraction(1), name))
    assert sampler.out_of_order == 2


def tone(start: Fraction | None, samples: int, *, rate: int = 16_000) -> av.AudioFrame:
    frame = av.AudioFrame.from_ndarray(
        np.full((1, samples), 1000, np.int16), format="s16", layout="mono"
    )
    frame.rate = rate
    if start is not None:
        frame.time_base = Fraction(1, 1000)
        frame.pts = round(start * 1000)
    return frame


def track(frames: list[av.AudioFrame]) -> tuple[np.ndarray, AudioTimeline]:
    soundtrack = AudioTimeline()
    parts = [part for frame in frames for part in soundtrack.push(frame)]
    parts += list(soundtrack.flush())
    return np.concatenate(parts), soundtrack


def test_rounded_time_stamps_are_no_gaps() -> None:
    frames = [tone(Fraction(round(1000 * index / 15.625), 1000), 1024) for index in range(100)]
    samples, soundtrack = track(frames)
    assert len(samples) == 102_400
    assert soundtrack.gaps == 0
    assert samples.all()


def test_overlap_is_cut_and_hole_is_filled() -> None:
    frames = [tone(Fraction(0), 1600), tone(Fraction(5, 100), 1600), tone(Fraction(2, 10), 1600)]
    samples, soundtrack = track(frames)
    assert len(samples) == 4_800
    assert soundtrack.gap_samples == 800
    assert samples[:2_400].all()
    assert not samples[2_400:3_200].any()


def test_sample_rate_may_change_on_the_way() -> None:
    samples, _ = track([tone(Fraction(0), 1600), tone(Fraction(1, 10), 4800, rate=48_000)])
    assert len(samples) == 3_200


def test_jump_of_hours_ends_the_stream(tmp_path: Path) -> None:
    times = [*(Fraction(index, 25) for index in range(50)), Fraction(4000)]
    recipe = PLAIN.with_(times=times)
    reading = read(encode(tmp_path / "clip.mkv", recipe))
    assert len(reading.images) == 50
    assert len(reading.summary.warnings) == 1
    assert "nothing for 1:06:38" in reading.summary.warnings[0]


@given(
    parts=st.lists(st.integers(0, 20), max_size=8),
    skip=st.integers(0, 60),
    takes=st.lists(st.integers(0, 30), max_size=8),
)
def test_sample_buffer_is_first_in_first_out(parts: list[int], skip: int, takes: list[int]) -> None:
    stream = np.arange(sum(parts), dtype=np.int16)
    buffer = SampleBuffer()
    cuts = np.cumsum([0, *parts])
    pieces = [stream[first:last] for first, last in itertools.pairwise(cuts)]
    for piece in pieces[:3]:
        buffer.append(piece)
    buffer.skip(skip)
    for piece in pieces[3:]:
        buffer.append(piece)
    left = stream[skip:]
    for take in takes:
        assert len(buffer) == len(left)
        assert np.array_equal(buffer.take(take), left[:take])
        left = left[take:]


# Arrays.


def test_arrays_look_like_a_clip() -> None:
    frames = np.random.default_rng(0).integers(0, 256, (30, 8, 10, 3), np.uint8)
    samples = np.arange(30 * 640 + 100, dtype=np.int16)
    with ArrayMedia(frames, samples) as media:
        blocks = list(media)
        assert media.summary.frames == 30
        assert media.summary.samples == len(samples)
        assert (media.info.width, media.info.height) == (10, 8)
    assert np.array_equal(np.stack([f.image for block in blocks for f in block.frames]), frames)
    assert np.array_equal(np.concatenate([block.samples for block in blocks]), samples)
    assert [f.index for block in blocks for f in block.frames] == list(range(30))


@pytest.mark.slow  # librosa takes its time to import
def test_arrays_at_other_rates_are_resampled() -> None:
    frames = np.zeros((25, 8, 8, 3), np.uint8)
    moments = np.arange(48_000) / 48_000
    signal = 0.5 * np.sin(2 * np.pi * 200 * moments)
    with ArrayMedia(frames, signal.astype(np.float32), sample_rate=48_000) as media:
        samples = np.concatenate([block.samples for block in media])
    expected = 0.5 * 32_768 * np.sin(2 * np.pi * 200 * np.arange(16_000) / 16_000)
    assert len(samples) == 16_000
    assert np.abs(samples - expected)[100:-100].max() < 30


@pytest.mark.parametrize(
    ("frames", "samples", "message"),
    [
        (np.zeros((5, 8, 8, 3), np.float32), np.zeros(10, np.int16), "frames must be uint8"),
        (np.zeros((5, 8, 8), np.uint8), np.zeros(10, np.int16), "frames must be uint8"),
        (np.zeros((0, 8, 8, 3), np.uint8), np.zeros(10, np.int16), "no frames"),
        (np.zeros((5, 8, 8, 3), np.uint8), np.zeros((10, 2), np.int16), "samples must be mono"),
        (np.zeros((5, 8, 8, 3), np.uint8), np.zeros(10, np.int32), "samples must be mono"),
        (np.zeros((5, 8, 8, 3), np.uint8), np.full(10, np.nan), "finite"),
    ],
)
def test_wrong_arrays_are_refused(frames: np.ndarray, samples: np.ndarray, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        ArrayMedia(frames, samples)
