"""Which detector finds the faces, and how YuNet comes to a machine."""

from __future__ import annotations

import hashlib
import sys
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
from commandline import assert_fails, run

from syncnet_client import cli
from syncnet_client.download import RemoteFile
from syncnet_client.errors import DownloadError, NoFaceError, UsageError
from syncnet_client.faces import fetch_yunet, make_cropper, yunet, yunet_file
from syncnet_client.media import ArrayPicture, Frame

NETWORK = b"a stand-in for the network"


class Blind:
    """Stands in for OpenCV's FaceDetectorYN, and sees nothing."""

    @classmethod
    def create(cls, path: str, *settings: object) -> Blind:  # noqa: ARG003
        assert Path(path).read_bytes() == NETWORK
        return cls()

    def setInputSize(self, size: tuple[int, int]) -> None:  # noqa: N802
        assert min(size) > 0

    def detect(self, image: np.ndarray) -> tuple[int, None]:  # noqa: ARG002
        return 1, None


@pytest.fixture
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty cache folder of its own, and OpenCV without the real network."""
    monkeypatch.setenv("SYNCNET_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(cv2, "FaceDetectorYN", Blind)
    return tmp_path / "cache"


def install() -> None:
    yunet_file().parent.mkdir()
    yunet_file().write_bytes(NETWORK)


def empty_frames() -> list[Frame]:
    picture = ArrayPicture(np.zeros((120, 160, 3), np.uint8))
    return [Frame(index, Fraction(index, 25), picture) for index in range(20)]


def searched_with(detector: str | None = None, file: Path | None = None) -> str:
    """The sentence about a clip without any face."""
    cropper = make_cropper("auto", detector=detector, yunet=file)  # type: ignore[arg-type]
    cropper.push(empty_frames())
    with pytest.raises(NoFaceError) as caught:
        cropper.flush()
    assert cropper.summary.detector == ("yunet" if "YuNet" in str(caught.value) else "haar")
    return str(caught.value)


def test_the_haar_cascade_is_used_until_yunet_is_there(cache: Path) -> None:
    assert not cache.exists()
    sentence = "searched with OpenCV's Haar cascade; install a better detector with {}, "
    assert sentence.format("syncnet-client fetch yunet") in searched_with()
    install()
    assert "searched with YuNet; give the face's place with --crop" in searched_with()
    assert "searched with OpenCV's Haar cascade" in searched_with("haar")
    assert "searched with YuNet" in searched_with("yunet")


@pytest.mark.usefixtures("cache")
def test_a_file_of_yunet_may_be_anywhere(tmp_path: Path) -> None:
    file = tmp_path / "copy.onnx"
    file.write_bytes(NETWORK)
    assert "YuNet" in searched_with(None, file)
    assert "YuNet" in searched_with("yunet", file)


@pytest.mark.usefixtures("cache")
def test_wrong_choices_are_told_before_any_frame(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="not installed: run syncnet-client fetch yunet"):
        make_cropper("auto", detector="yunet")
    with pytest.raises(UsageError, match="haar or yunet, not dlib"):
        make_cropper("auto", detector="dlib")  # type: ignore[arg-type]
    file = tmp_path / "copy.onnx"
    file.write_bytes(NETWORK)
    with pytest.raises(UsageError, match="the detector is another one"):
        make_cropper("auto", detector="haar", yunet=file)


@pytest.mark.usefixtures("cache")
def test_opencv_without_cascades_needs_yunet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(cv2, "CascadeClassifier")
    with pytest.raises(UsageError, match=r"no Haar cascade .*: install YuNet with syncnet-client"):
        make_cropper("auto").push(empty_frames())
    install()
    assert "YuNet" in searched_with()


def test_where_no_face_is_looked_for_no_detector_answers() -> None:
    cropper = make_cropper("none")
    cropper.push(empty_frames())
    assert cropper.summary.detector is None


def offered(monkeypatch: pytest.MonkeyPatch, path: Path, contents: bytes) -> None:
    """Let YuNet be a local file with these contents expected."""
    digest = hashlib.sha256(contents).hexdigest()
    remote = RemoteFile(path.as_uri(), len(contents), digest, "--yunet")
    monkeypatch.setattr(yunet, "YUNET", remote)


def test_fetch_downloads_once_into_the_cache(
    cache: Path,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    source = tmp_path / "network.onnx"
    source.write_bytes(NETWORK)
    offered(monkeypatch, source, NETWORK)
    monkeypatch.setattr(sys, "argv", ["syncnet-client", "fetch", "yunet"])
    assert cli.main() == 0
    assert capsys.readouterr().out == f"{cache / 'network.onnx'}\n"
    source.unlink()
    assert fetch_yunet() == yunet_file() == cache / "network.onnx"
    assert [path.name for path in cache.iterdir()] == ["network.onnx"]
    assert "YuNet" in searched_with()


def test_a_wrong_file_never_becomes_yunet(
    cache: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    source = tmp_path / "network.onnx"
    source.write_bytes(NETWORK[::-1])
    offered(monkeypatch, source, NETWORK)
    with pytest.raises(DownloadError, match="not the expected file"):
        fetch_yunet()
    assert list(cache.iterdir()) == []


def test_offline_fetch_is_one_line(tmp_path: Path) -> None:
    dead_end = {"https_proxy": "http://127.0.0.1:9", "SYNCNET_CACHE_DIR": str(tmp_path)}
    done = run("fetch", "yunet", **dead_end)
    assert_fails(done, "cannot download https://github.com/opencv/", "--yunet")
    assert list(tmp_path.iterdir()) == []


def test_the_published_file_is_the_one_expected() -> None:
    assert yunet.YUNET.size == 232_589
    assert yunet.YUNET.sha256.startswith("8f2383e4dd3cfbb4")
    assert yunet_file().name == "face_detection_yunet_2023mar.onnx"
