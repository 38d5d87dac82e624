"""What the client says about numbers from the server: words, smoothing, drift, doubts, JSON."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.signal import medfilt

from syncnet_client.scoring.curves import median_filter, offset_in_words, subframe_offset
from syncnet_client.scoring.drift import Drift, DriftKind, Segment, analyse_drift
from syncnet_client.scoring.result import ClipAnswer, SyncResult, TrackResult
from syncnet_client.scoring.verdict import Evidence, ReasonCode, audible, judge
from syncnet_client.transport.base import Weights


@pytest.mark.parametrize(
    ("offset_ms", "words"),
    [
        (120, "the audio is 120 ms ahead of the video"),
        (-40, "the audio is 40 ms behind the video"),
        (0, "audio and video are in sync"),
    ],
)
def test_offset_in_words(offset_ms: int, words: str):
    assert offset_in_words(offset_ms) == words


@pytest.mark.filterwarnings("ignore:kernel_size exceeds volume extent")
@given(arrays(np.float32, st.integers(1, 60), elements=st.floats(-20, 20, width=32)))
def test_median_filter_is_the_published_one(values: np.ndarray):
    np.testing.assert_array_equal(median_filter(values), medfilt(values, 9))


@given(vshift=st.integers(1, 15), true=st.floats(-14.4, 14.4), depth=st.floats(0.01, 3))
def test_subframe_offset_finds_the_lowest_point_of_a_parabola(vshift, true, depth):
    shifts = np.arange(-vshift, vshift + 1)  # column j compares with audio j - vshift frames later
    curve = 7 + depth * (shifts + true) ** 2
    estimate = subframe_offset(curve)
    if abs(true) < vshift - 0.501:
        assert estimate == pytest.approx(true, abs=1e-6)
    elif abs(true) > vshift - 0.499:  # the lowest column is the first or the last
        assert estimate is None


def test_subframe_offset_needs_a_minimum_between_neighbours():
    assert subframe_offset(np.array([1.0, 2.0, 3.0])) is None
    assert subframe_offset(np.array([3.0])) is None
    assert subframe_offset(np.full(5, 2.0)) is None


def segments_of(offsets_ms: list[float], untrusted: tuple[int, ...] = ()) -> list[Segment]:
    return [
        Segment(10.0 * i, 10.0 * (i + 1), round(ms / 40), ms, 6.0, 1.0, i not in untrusted)
        for i, ms in enumerate(offsets_ms)
    ]


@pytest.mark.parametrize(
    ("offsets_ms", "kind"),
    [
        ([80.0] * 8, "constant"),
        ([80, 95, 70, 85, 66, 90, 100, 81], "constant"),
        ([80.0] * 10 + [-300] + [80.0] * 9, "constant"),  # one window without speech
        ([0, 20, 40, 60, 80, 100, 120], "drift"),
        ([0, -31, -55, -95, -118, -150, -185, -205, -240], "drift"),
        ([0, 0, 5, -5, 0, 200, 205, 195, 200], "jump"),
        ([115, 118, 112, 115, 151, 154, 150, 152], "constant"),  # moves by less than a frame
        ([0, 400], "unknown"),
        ([0, 300, -200, 100, 350, -80, 240, -300], "unsteady"),
    ],
)
def test_kinds_of_drift(offsets_ms: list[float], kind: str):
    drift = analyse_drift(segments_of(offsets_ms), 10.0)
    assert drift.kind == kind
    assert (drift.ms_per_minute is not None) == (kind == "drift")
    assert (drift.jump_s is not None) == (kind == "jump")


def test_drift_is_told_in_numbers_and_words():
    drift = analyse_drift(segments_of([0, 20, 40, 60, 80, 100, 120]), 10.0)
    assert drift.ms_per_minute == pytest.approx(120)
    assert drift.text == "the audio gets 120 ms more ahead every minute"
    jump = analyse_drift(segments_of([0, 0, 0, 0, 200, 200, 200]), 10.0)
    assert jump.jump_s == pytest.approx(40)
    assert jump.text == "the offset jumps from +0 to +200 ms at about 40 s"


def test_windows_that_cannot_be_trusted_do_not_count():
    noisy = [40, 40, -390, 40, 40, 370, 40, 40]
    assert analyse_drift(segments_of(noisy), 10.0).kind == "unsteady"
    assert analyse_drift(segments_of(noisy, untrusted=(2, 5)), 10.0).kind == "constant"
    assert (
        analyse_drift(segments_of([40] * 8, untrusted=tuple(range(2, 8))), 10.0).kind == "unknown"
    )


GOOD = Evidence(
    offset=3,
    vshift=10,
    agreement=1.0,
    confidence=6.0,
    windows=200,
    audible=0.8,
    detected=1.0,
    covered=1.0,
    drift=None,
)


def test_good_evidence_is_trusted():
    verdict = judge(GOOD)
    assert verdict.trusted
    assert verdict.reasons == ()


@pytest.mark.parametrize(
    ("changes", "code", "words"),
    [
        (
            {"agreement": 0.432},
            "low_agreement",
            "within +-10 frames no offset stands out: 43% of the draws agree, 90% are asked for "
            "(try --vshift 25, other weights, or the other face)",
        ),
        (
            {"agreement": 0.432, "vshift": 50},
            "low_agreement",
            "90% are asked for (other weights, or the other face)",
        ),
        (
            {"offset": -10},
            "edge_of_range",
            "edge of the searched +-10 frames; the true one may lie beyond (try --vshift 25)",
        ),
        (
            {"contradiction": "the faces differ: +0 ms, +200 ms"},
            "offset_changes",
            "no single offset fits: the faces differ: +0 ms, +200 ms",
        ),
        ({"audible": 0.02}, "silence", "sound in only 2% of the time"),
        ({"windows": 12}, "too_short", "only 0.5 s can be compared"),
        ({"detected": 0.3}, "face_lost", "found on only 30%"),
        ({"covered": 0.2}, "face_lost", "in view for only 20% of the clip"),
        (
            {"drift": Drift("jump", 10, (), None, 31.0, "the offset jumps")},
            "offset_changes",
            "no single offset fits: the offset jumps",
        ),
    ],
)
def test_each_doubt_has_its_reason(changes, code, words):
    verdict = judge(dataclasses.replace(GOOD, **changes))
    assert not verdict.trusted
    (reason,) = verdict.reasons
    assert reason.code == code
    assert words in reason.text


def test_all_doubts_are_told():
    verdict = judge(dataclasses.replace(GOOD, agreement=0.1, audible=0.0, offset=10))
    assert {r.code for r in verdict.reasons} == {"low_agreement", "silence", "edge_of_range"}


def test_a_confidence_can_be_asked_for() -> None:
    modest = dataclasses.replace(GOOD, confidence=0.7)
    assert judge(modest).trusted
    (reason,) = judge(modest, min_confidence=2).reasons
    assert reason.code == "low_confidence"
    assert reason.text == "confidence 0.70 is below 2, which is asked for"


def test_more_or_less_agreement_can_be_asked_for() -> None:
    assert not judge(dataclasses.replace(GOOD, agreement=0.95), min_agreement=0.96).trusted
    assert judge(dataclasses.replace(GOOD, agreement=0.6), min_agreement=0.5).trusted


@pytest.mark.parametrize("kind", ["constant", "unknown"])
def test_a_steady_or_unknown_drift_is_no_doubt(kind):
    assert judge(dataclasses.replace(GOOD, drift=Drift(kind, 10, (), None, None, ""))).trusted


def test_a_range_of_one_frame_has_no_edge():
    assert judge(dataclasses.replace(GOOD, vshift=0, offset=0)).trusted


def test_silence_is_below_minus_55_decibels():
    time = np.arange(640)
    tone = np.sin(2 * np.pi * time / 64)
    loud = np.round(tone * 32768 * np.sqrt(2) * 10 ** (-54 / 20)).astype(np.int16)
    faint = np.round(tone * 32768 * np.sqrt(2) * 10 ** (-56 / 20)).astype(np.int16)
    samples = np.concatenate([loud, faint, np.zeros(640, np.int16), loud[:100]])
    assert audible(samples).tolist() == [True, False, False]


def make_track(number: int, agreement: float) -> TrackResult:
    random = np.random.default_rng(number)
    distances = random.uniform(5, 15, (40, 21)).astype(np.float32)
    return TrackResult(
        track=number,
        first_frame=0,
        offset_frames=3,
        offset_interval=(2.75, 3.5),
        agreement=agreement,
        confidence=6.25,
        min_distance=5.5,
        mean_distances=distances.mean(axis=0),
        distances=distances,
        frame_confidence=random.normal(6, 1, 40).astype(np.float32),
        times=np.arange(40) / 25 + 0.1,
        frame_times=np.arange(45) / 25,
        boxes=np.tile(np.array([[10, 20, 224, 224]], np.float32), (45, 1)),
        detected=np.ones(45, np.bool_),
        drift=analyse_drift(segments_of([0, 20, 40, 60, 80]), 10.0),
        verdict=judge(dataclasses.replace(GOOD, agreement=agreement)),
    )


def test_json_object_survives_json_and_has_the_promised_keys():
    result = SyncResult(
        clip="a.mp4",
        tracks=(make_track(1, 0.95), make_track(0, 0.3)),
        frames=45,
        audio_samples=45 * 640,
        vshift=10,
        model_versions={"video_tower": "2", "audio_tower": "2"},
        warnings=("odd",),
    )
    data = result.to_dict()
    assert json.loads(json.dumps(data, allow_nan=False)) == data
    assert data["clip"] == "a.mp4"
    assert data["offset_frames"] == 3
    assert data["offset_ms"] == 120
    assert data["meaning"] == "the audio is 120 ms ahead of the video"
    assert data["offset_interval_ms"] == [110, 140]
    assert data["agreement"] == 0.95
    assert data["confidence"] == 6.25
    assert data["min_distance"] == 5.5
    assert data["track"] == 1
    assert [track["track"] for track in data["other_tracks"]] == [0]
    assert data["frames"] == 45
    assert data["audio_samples"] == 28_800
    assert data["windows"] == 40
    assert data["model_versions"] == {"video_tower": "2", "audio_tower": "2"}
    assert data["warnings"] == ["odd"]
    assert data["box"] == [10, 20, 224, 224]
    assert len(data["mean_distances"]) == 2 * data["vshift"] + 1
    assert len(data["times"]) == len(data["frame_confidence"]) == data["windows"]
    assert len(data["frame_confidence_median"]) == data["windows"]
    assert data["drift"]["kind"] == "drift"
    assert data["verdict"] == {"trusted": True, "reasons": []}
    other = data["other_tracks"][0]["verdict"]
    assert [reason["code"] for reason in other["reasons"]] == ["low_agreement"]
    assert data["other_tracks"][0]["meaning"] == "the offset is unknown (+120 ms measured)"


def answer_of(track: TrackResult, **changes: Any) -> ClipAnswer:
    """What a clip says that says what one of its faces says, but for the changes."""
    answer = SyncResult("", (track,), 45, 28_800, 10, {}).answer
    return dataclasses.replace(answer, track_weights={0: 0.25, 1: 0.75}, **changes)


def test_a_clip_of_several_faces_is_what_they_say_together() -> None:
    speaker, other = make_track(1, 0.95), make_track(0, 0.3)
    together = answer_of(other, offset_frames=-2, agreement=0.4)
    result = SyncResult("a.mp4", (speaker, other), 45, 28_800, 10, {}, several=together)
    assert (result.offset_ms, result.agreement) == (-80, 0.4)
    assert not result.verdict.trusted
    data = result.to_dict()
    assert (data["offset_ms"], data["agreement"], data["verdict"]["trusted"]) == (-80, 0.4, False)
    assert data["meaning"] == "the offset is unknown (-80 ms measured)"
    assert (data["track"], data["speaker"]["offset_frames"]) == (1, 3)
    assert data["speaker"]["verdict"]["trusted"]
    assert data["track_weights"] == [0.75, 0.25]


def test_the_known_error_of_the_weights_stands_beside_the_offset() -> None:
    weights = Weights("v1", "synthetic faces", 120)
    track = make_track(0, 1.0)
    result = SyncResult("a.mp4", (track,), 45, 28_800, 10, {}, weights=weights)
    assert result.meaning == (
        "the audio is 120 ms ahead of the video (+-120 ms: weights trained on synthetic faces)"
    )
    assert result.meaning in result.headline
    assert result.to_dict()["weights"] == {
        "name": "v1",
        "trained_on": "synthetic faces",
        "offset_error_ms": 120,
    }
    assert Weights("v1", "", 80).error_in_words == "+-80 ms: weights v1"
    assert Weights("official", "films").error_in_words == ""


def keys_of(value: object) -> set[str]:
    if isinstance(value, dict):
        return set(value).union(*map(keys_of, value.values()))
    if isinstance(value, list):
        return set().union(*map(keys_of, value))
    return set()


def test_every_key_and_code_is_documented():
    text = (Path(__file__).resolve().parents[1] / "docs" / "json.md").read_text()
    documented = set(re.findall(r"`(\w+)`", text))
    tracks = (make_track(0, 1.0), make_track(1, 0.5))
    data = SyncResult("a", tracks, 45, 28_800, 10, {"video_tower": "1"}).to_dict()
    assert keys_of(data) <= documented
    assert set(get_args(ReasonCode)) | set(get_args(DriftKind)) <= documented
