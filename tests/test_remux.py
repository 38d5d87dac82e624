"""Moving audio by time stamps: packets are the same afterwards, and only their times differ."""

from __future__ import annotations

import struct
from fractions import Fraction
from pathlib import Path

import av
import pytest
from flash import CODECS, write_flash_clip
from hypothesis import given
from hypothesis import strategies as st

from syncnet_client.errors import MediaError, UsageError
from syncnet_client.files import replacing
from syncnet_client.media.remux import check_output, plan_moves, shift_audio

FRAMES = 60
MILLISECOND = Fraction(1, 1000)


def packets(path: Path, kind: str) -> list[tuple[Fraction, bytes]]:
    """(time stamp in seconds, payload) of each packet of the first stream of that kind."""
    with av.open(path) as container:
        stream = getattr(container.streams, kind)[0]
        return [
            (packet.pts * packet.time_base, bytes(packet))
            for packet in container.demux(stream)
            if packet.size
        ]


def distance(path: Path) -> Fraction:
    """Seconds from the first video time stamp to the first audio time stamp."""
    video = min(time for time, _ in packets(path, "video"))
    return packets(path, "audio")[0][0] - video


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("clips")
    return {suffix: write_flash_clip(folder / f"clip{suffix}", frames=FRAMES) for suffix in CODECS}


@pytest.mark.parametrize("shift_ms", [200, -200, 40, -520, 0])
@pytest.mark.parametrize(
    ("source", "target"),
    [
        (".mp4", ".mp4"),
        (".mov", ".mov"),
        (".mkv", ".mkv"),
        (".webm", ".webm"),
        (".avi", ".mkv"),
        (".mp4", ".mkv"),
        (".mkv", ".mp4"),
        (".avi", ".mp4"),
    ],
)
def test_packets_stay_the_same_and_the_audio_moves(
    clips: dict[str, Path], tmp_path: Path, source: str, target: str, shift_ms: int
) -> None:
    shift = shift_ms * MILLISECOND
    copy = tmp_path / f"copy{target}"
    shift_audio(clips[source], copy, shift)

    for kind in ("video", "audio"):
        before, after = packets(clips[source], kind), packets(copy, kind)
        assert [data for _, data in after] == [data for _, data in before]
    assert abs(distance(copy) - distance(clips[source]) - shift) <= 2 * MILLISECOND
    with av.open(copy) as container:
        starts = [s.start_time * s.time_base for s in container.streams]
    assert min(starts) <= 30 * MILLISECOND  # the priming of an AAC encoder becomes audible sound
    assert sum(1 for _ in decoded(copy)) == FRAMES


def decoded(path: Path):
    with av.open(path) as container:
        yield from container.decode(video=0)


def test_moving_there_and_back_restores_the_times(clips: dict[str, Path], tmp_path: Path) -> None:
    there, back = tmp_path / "there.mkv", tmp_path / "back.mkv"
    shift_audio(clips[".mkv"], there, Fraction(1, 5))
    shift_audio(there, back, Fraction(-1, 5))
    for kind in ("video", "audio"):
        assert packets(back, kind) == packets(clips[".mkv"], kind)


def test_rotation_metadata_chapters_and_every_audio_stream_are_kept(
    clips: dict[str, Path], tmp_path: Path
) -> None:
    source, copy = tmp_path / "source.mp4", tmp_path / "copy.mp4"
    with av.open(clips[".mp4"]) as reader, av.open(source, "w") as writer:
        originals = [reader.streams.video[0], reader.streams.audio[0], reader.streams.audio[0]]
        picture, english, french = (writer.add_stream_from_template(s) for s in originals)
        english.metadata["language"], french.metadata["language"] = "eng", "fra"
        writer.metadata["title"] = "An interview"
        second = {"id": 2, "start": 500, "end": 1000, "time_base": MILLISECOND}
        writer.set_chapters(
            [
                {**second, "id": 1, "start": 0, "end": 500, "metadata": {"title": "Opening"}},
                {**second, "metadata": {"title": "Rest"}},
            ]
        )
        copy_packets(reader, writer, {0: [picture], 1: [english, french]}, Fraction(0))
    lay_on_its_side(source)

    shift_audio(source, copy, Fraction(-1, 5))

    with av.open(copy) as container:
        assert next(container.decode(video=0)).rotation in (90, -90)
        assert container.metadata["title"] == "An interview"
        assert [stream.language for stream in container.streams.audio] == ["eng", "fra"]
        opening, rest = container.chapters()
        assert [opening["metadata"]["title"], rest["metadata"]["title"]] == ["Opening", "Rest"]
        # The picture was delayed by 200 ms, and the chapters with it.
        assert abs(rest["start"] * rest["time_base"] - Fraction(7, 10)) <= MILLISECOND


def test_what_an_edit_list_hides_stays_hidden(clips: dict[str, Path], tmp_path: Path) -> None:
    trimmed, copy = tmp_path / "trimmed.mp4", tmp_path / "copy.mp4"
    with av.open(clips[".mp4"]) as reader, av.open(trimmed, "w") as writer:
        copies = {s.index: [writer.add_stream_from_template(s)] for s in reader.streams}
        copy_packets(reader, writer, copies, Fraction(-11, 10))
    shift_audio(trimmed, copy, Fraction(1, 5))
    shown = [frame.time for frame in decoded(trimmed)]
    assert 0 < len(shown) < FRAMES
    assert [frame.time for frame in decoded(copy)] == shown
    assert packets(copy, "video") == packets(trimmed, "video")


def copy_packets(
    reader: av.container.InputContainer,
    writer: av.container.OutputContainer,
    copies: dict[int, list[av.stream.Stream]],
    move: Fraction,
) -> None:
    """Write each packet to every copy of its stream, ``move`` seconds later."""
    for packet in reader.demux():
        for stream in copies[packet.stream_index] if packet.size else ():
            again = av.Packet(bytes(packet))
            ticks = round(move / packet.time_base)
            again.pts, again.dts = packet.pts + ticks, packet.dts + ticks
            again.time_base, again.duration = packet.time_base, packet.duration
            again.is_keyframe = packet.is_keyframe
            again.stream = stream
            writer.mux(again)


def lay_on_its_side(path: Path) -> None:
    """Turn the picture of an MP4 file by 90 degrees through the matrix of its track header."""
    data = bytearray(path.read_bytes())
    matrix = data.index(b"tkhd") + 44
    one = 1 << 16
    data[matrix : matrix + 36] = struct.pack(">9i", 0, one, 0, -one, 0, 0, 0, 0, 1 << 30)
    path.write_bytes(data)


starts = st.fractions(min_value=0, max_value=100)


@given(shift=st.fractions(min_value=-10, max_value=10), audio=starts, video=starts)
def test_moves_add_up_and_keep_the_beginning(
    shift: Fraction, audio: Fraction, video: Fraction
) -> None:
    moves = plan_moves(shift, audio_start=audio, video_start=video)
    assert moves.audio - moves.others == shift
    assert min(audio + moves.audio, video + moves.others) == min(audio, video)


def test_output_is_checked_before_any_work(clips: dict[str, Path], tmp_path: Path) -> None:
    source = clips[".mp4"]
    with pytest.raises(UsageError, match=r"AVI keeps no time stamps; choose \.mp4"):
        check_output(source, tmp_path / "out.avi", overwrite=False)
    with pytest.raises(UsageError, match="unknown suffix"):
        check_output(source, tmp_path / "out", overwrite=False)
    with pytest.raises(UsageError, match="there is no folder"):
        check_output(source, tmp_path / "nowhere" / "out.mp4", overwrite=False)
    with pytest.raises(UsageError, match="is what is read: choose another name"):
        check_output(source, source, overwrite=False)
    (tmp_path / "out.mp4").touch()
    with pytest.raises(UsageError, match="exists already; pass --overwrite"):
        check_output(source, tmp_path / "out.mp4", overwrite=False)
    check_output(source, tmp_path / "out.mp4", overwrite=True)


def test_replacing_is_all_or_nothing(tmp_path: Path) -> None:
    target = tmp_path / "out.mp4"
    target.write_text("old")
    with pytest.raises(ZeroDivisionError), replacing(target) as temporary:
        temporary.write_text(f"half {1 / 0}")
    assert target.read_text() == "old"
    with replacing(target) as temporary:
        assert temporary.suffix == ".mp4"
        temporary.write_text("new")
        assert target.read_text() == "old"
    assert target.read_text() == "new"
    assert list(tmp_path.iterdir()) == [target]


def test_sources_that_cannot_be_copied(clips: dict[str, Path], tmp_path: Path) -> None:
    text = tmp_path / "notes.mp4"
    text.write_text("not a video")
    with pytest.raises(MediaError, match=r"cannot copy .*notes\.mp4"):
        shift_audio(text, tmp_path / "out.mp4", Fraction(0))
    with pytest.raises(MediaError, match="to webm"):
        shift_audio(clips[".mp4"], tmp_path / "out.webm", Fraction(0))
    silent = tmp_path / "silent.mp4"
    with av.open(clips[".mp4"]) as reader, av.open(silent, "w") as writer:
        pictures = writer.add_stream_from_template(reader.streams.video[0])
        copy_packets(reader, writer, {0: [pictures], 1: []}, Fraction(0))
    with pytest.raises(MediaError, match="does not have both video and audio"):
        shift_audio(silent, tmp_path / "out.mp4", Fraction(0))
