"""What the command line's arguments stand for."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator
from pathlib import Path

import fsspec
import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from flash import write_flash_clip

from syncnet_client.batch.inputs import expand
from syncnet_client.errors import MediaError, UsageError
from syncnet_client.media import open_media


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ["b.mp4", "a.MKV", "sub/c.webm", "notes.txt", ".hidden.mp4", ".cache/d.mp4"]:
        file = tmp_path / "clips" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.usefixtures("folder")
def test_folders_patterns_files_and_urls() -> None:
    assert expand(["clips"]) == ["clips/a.MKV", "clips/b.mp4", "clips/sub/c.webm"]
    assert expand(["clips/*.m*"]) == ["clips/b.mp4"]
    assert expand(["clips/**/*.[wm]*"]) == ["clips/b.mp4", "clips/sub/c.webm"]
    others = ["clips/notes.txt", "missing.mp4", "-", "rtsp://host/live", "s3://bucket/a.mp4"]
    assert expand(others) == others


@pytest.mark.usefixtures("folder")
def test_each_clip_once_in_the_order_given() -> None:
    assert expand(["clips/sub/c.webm", "clips", "clips/b.mp4"]) == [
        "clips/sub/c.webm",
        "clips/a.MKV",
        "clips/b.mp4",
    ]


def test_a_file_whose_name_looks_like_a_pattern(folder: Path) -> None:
    (folder / "take [1].mp4").touch()
    assert expand(["take [1].mp4"]) == ["take [1].mp4"]


@pytest.mark.parametrize("suffix", [".jsonl", ".csv", ".parquet"])
def test_manifests(folder: Path, suffix: str) -> None:
    rows = [
        {"clip": "x.mp4", "speaker": "é"},
        {"clip": "/abs/y, z.mp4", "speaker": "b"},
        {"clip": "s3://bucket/z.mp4", "speaker": "c"},
    ]
    manifest = folder / "clips" / f"list{suffix}"
    if suffix == ".jsonl":
        manifest.write_text("\n".join(json.dumps(row) for row in rows) + "\n\n")
    elif suffix == ".csv":
        manifest.write_text('speaker,clip\né,x.mp4\nb,"/abs/y, z.mp4"\nc,s3://bucket/z.mp4\n')
    else:
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), manifest)
    expected = ["clips/x.mp4", "/abs/y, z.mp4", "s3://bucket/z.mp4"]
    assert expand([f"clips/list{suffix}"]) == expected


@pytest.fixture
def bucket() -> Iterator[fsspec.AbstractFileSystem]:
    """A file system that is not on this machine's disk."""
    system = fsspec.filesystem("memory")
    for name in ("/bucket/b.mp4", "/bucket/sub/a.mkv", "/bucket/notes.txt"):
        system.pipe(name, b"")
    yield system
    system.rm("/bucket", recursive=True)


@pytest.mark.usefixtures("bucket")
def test_folders_and_patterns_elsewhere() -> None:
    assert expand(["memory://bucket/"]) == ["memory:///bucket/b.mp4", "memory:///bucket/sub/a.mkv"]
    assert expand(["memory://bucket/*.mp4"]) == ["memory:///bucket/b.mp4"]
    assert expand(["memory://bucket/b.mp4"]) == ["memory://bucket/b.mp4"]
    with pytest.raises(UsageError, match=r"no clips at memory://bucket/\*\.webm"):
        expand(["memory://bucket/*.webm"])
    with pytest.raises(UsageError, match=r"nowhere://a/ cannot be listed: .*nowhere"):
        expand(["nowhere://a/"])


def test_a_manifest_elsewhere(bucket: fsspec.AbstractFileSystem) -> None:
    bucket.pipe("/bucket/list.csv", b"clip\nsub/a.mkv\ns3://other/b.mp4\n/data/c.mp4\n")
    assert expand(["memory://bucket/list.csv"]) == [
        "memory://bucket/sub/a.mkv",
        "s3://other/b.mp4",
        "/data/c.mp4",
    ]
    with pytest.raises(UsageError, match=r"manifest memory://bucket/gone\.csv cannot be read"):
        expand(["memory://bucket/gone.csv"])


def test_a_clip_elsewhere_is_read_where_it_is(tmp_path: Path) -> None:
    """In an archive, which FFmpeg cannot read by itself."""
    clip = write_flash_clip(tmp_path / "clip.mp4", audio_late_frames=2)
    with zipfile.ZipFile(tmp_path / "clips.zip", "w") as archive:
        archive.write(clip, "clip.mp4")
    url = f"zip://clip.mp4::{tmp_path / 'clips.zip'}"
    with open_media(url) as media, open_media(clip) as same:
        for block, expected in zip(media, same, strict=True):
            assert np.array_equal(block.samples, expected.samples)
            for frame, expected_frame in zip(block.frames, expected.frames, strict=True):
                assert np.array_equal(frame.image, expected_frame.image)
    assert not media.info.live
    with pytest.raises(MediaError, match=r"gone\.mp4"):
        open_media(url.replace("clip.mp4", "gone.mp4"))
    with pytest.raises(MediaError, match="cannot be opened"):
        open_media("nowhere://clip.mp4")


def test_arguments_without_clips(folder: Path) -> None:
    (folder / "empty").mkdir()
    with pytest.raises(UsageError, match="no media files in folder empty"):
        expand(["empty"])
    with pytest.raises(UsageError, match=r"no file matches nothing/\*\.mp4"):
        expand(["nothing/*.mp4"])


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", "", "manifest a.jsonl is empty"),
        ("a.jsonl", '{"clip": "x"}\n{"file": "y"}', 'manifest a.jsonl, row 2: no "clip"'),
        ("a.jsonl", '{"clip": 3}', 'manifest a.jsonl, row 1: no "clip"'),
        ("a.jsonl", '["clip"]', 'manifest a.jsonl, row 1: no "clip"'),
        ("a.jsonl", "{broken", "manifest a.jsonl cannot be read"),
        ("a.csv", "file\nx.mp4\n", 'manifest a.csv, row 1: no "clip"'),
        ("a.parquet", "PAR", "manifest a.parquet cannot be read"),
        ("missing.csv", None, "missing.csv: no such file"),
    ],
)
def test_manifests_that_cannot_be_used(
    folder: Path, name: str, content: str | None, message: str
) -> None:
    if content is not None:
        (folder / name).write_text(content)
    with pytest.raises(UsageError, match=message):
        expand([name])
