"""How sure an answer is: what is drawn again, over windows and over faces, with no Triton."""

from __future__ import annotations

import numpy as np
import pytest

from syncnet_server import default_model_repository, load_model_module

module = load_model_module(default_model_repository(), "sync_metrics")
sync_metrics, segment_metrics = module.sync_metrics, module.segment_metrics

VSHIFT = 15


def face(windows: int, offset: int, *, depth: float, seed: int = 0) -> np.ndarray:
    """Rows of a face, float32 [K, 31]: noise that neighbouring windows share, and a minimum.

    Depth 0 is a face that does not speak.
    """
    noise = np.random.default_rng(seed).normal(size=(windows + 4, 2 * VSHIFT + 5))
    # A window of 5 frames shares 4 with the next, in time as in shift.
    shared = np.lib.stride_tricks.sliding_window_view(noise, (5, 5)).mean(axis=(2, 3)) * 5
    dip = np.exp(-np.square(np.arange(2 * VSHIFT + 1) - (VSHIFT - offset)) / 2)
    return (12 + shared - depth * dip).astype(np.float32)


def test_an_offset_that_stands_agrees() -> None:
    metrics = sync_metrics(face(250, -4, depth=1))
    assert metrics.offset == -4
    assert metrics.agreement >= 0.99
    low, high = metrics.offset_interval
    assert -4.5 < low < high < -3.5


def test_sound_that_does_not_belong_to_the_face_rarely_agrees() -> None:
    agreements = [sync_metrics(face(250, 0, depth=0, seed=seed)).agreement for seed in range(200)]
    assert np.mean(np.array(agreements) >= 0.9) <= 0.05
    assert np.median(agreements) < 0.7


def test_a_deeper_minimum_agrees_more() -> None:
    agreements = [sync_metrics(face(120, 3, depth=depth)).agreement for depth in (0.2, 0.5, 1, 2)]
    assert agreements == sorted(agreements)
    assert agreements[0] < 0.9 < agreements[-1]


def test_the_interval_is_wide_where_the_offset_is_unknown() -> None:
    known = sync_metrics(face(250, 2, depth=2)).offset_interval
    unknown = sync_metrics(face(250, 2, depth=0)).offset_interval
    assert known[1] - known[0] < 1 < 5 < unknown[1] - unknown[0]


def test_the_same_distances_give_the_same_bits() -> None:
    rows = face(250, 2, depth=0.3)
    first, again = sync_metrics(rows), sync_metrics(np.array(rows, order="F"))
    assert first.agreement == again.agreement
    assert first.offset_interval == again.offset_interval
    assert 0 < first.agreement < 1


@pytest.mark.parametrize("windows", [1, 6, 11])
def test_too_few_windows_to_draw_from_tell_nothing(windows: int) -> None:
    metrics = sync_metrics(face(windows, 0, depth=5))
    assert metrics.offset == 0
    assert metrics.agreement == 0
    assert metrics.offset_interval == (-VSHIFT, VSHIFT)


def test_twelve_windows_can_be_drawn_from() -> None:
    assert sync_metrics(face(12, 0, depth=5)).agreement > 0.9


def test_distances_that_are_all_alike_tell_nothing() -> None:
    metrics = sync_metrics(np.full((100, 21), 7, np.float32))
    assert metrics.agreement == 0
    assert metrics.offset_interval == (-10, 10)


def test_ties_do_not_agree() -> None:
    rows = np.full((100, 21), 7, np.float32)
    rows[:, [3, 16]] = 5
    assert sync_metrics(rows).agreement == 0


@pytest.mark.parametrize("vshift", [0, 1])
def test_without_a_shift_further_away_nothing_can_disagree(vshift: int) -> None:
    rows = np.full((100, 2 * vshift + 1), 7, np.float32)
    rows[:, vshift] = 5
    metrics = sync_metrics(rows)
    assert metrics.offset == 0
    assert metrics.agreement == 0


def test_chunks_are_not_drawn_from() -> None:
    rows = face(250, 2, depth=2)
    drawn, plain = sync_metrics(rows), sync_metrics(rows, resample=False)
    assert plain[:3] == drawn[:3]
    np.testing.assert_array_equal(plain.frame_confidence, drawn.frame_confidence)
    assert plain.agreement == 0


def test_an_hour_is_drawn_from_in_bounded_memory() -> None:
    metrics = sync_metrics(face(90_000, 5, depth=0.3))
    assert (metrics.offset, metrics.agreement) == (5, 1)


def test_segments_say_how_sure_they_are() -> None:
    rows = np.concatenate([face(100, 0, depth=3), face(100, 0, depth=0, seed=1)])
    speaks, is_silent, last = segment_metrics(rows, 80)
    assert [speaks.start, is_silent.start, last.start] == [0, 80, 120]
    assert speaks.agreement > 0.99
    assert last.agreement < 0.9
    alone = sync_metrics(rows[:80])
    assert (speaks.offset, speaks.confidence, speaks.agreement) == (
        alone.offset,
        alone.confidence,
        alone.agreement,
    )


def clip(*faces: np.ndarray) -> module.SyncMetrics:
    """The answer of a clip with these faces, whose rows come in any order of the faces."""
    tracks = np.repeat(np.arange(len(faces)) * 3 + 1, [len(rows) for rows in faces])
    return sync_metrics(np.concatenate(faces), tracks.astype(np.int32))


def test_a_clip_of_one_face_is_answered_as_that_face() -> None:
    rows = face(250, 2, depth=0.3)
    with_tracks = sync_metrics(rows, np.full(250, 4, np.int32))
    for ours, expected in zip(with_tracks, sync_metrics(rows), strict=True):
        np.testing.assert_array_equal(ours, expected)


def test_two_speakers_in_turn_agree() -> None:
    metrics = clip(face(100, 3, depth=1), face(100, 3, depth=1, seed=1))
    assert metrics.offset == 3
    assert metrics.agreement >= 0.9
    np.testing.assert_allclose(metrics.track_weights, 0.5, atol=0.1)


def test_a_listener_does_not_drown_the_speaker() -> None:
    results = [
        clip(face(250, 0, depth=0, seed=seed), face(75, -2, depth=2)) for seed in range(1, 21)
    ]
    assert {metrics.offset for metrics in results} == {-2}
    # One listener in some has a minimum by chance, and a firm one.
    assert np.mean([metrics.agreement >= 0.9 for metrics in results]) >= 0.9
    assert np.median([metrics.track_weights[1] for metrics in results]) > 0.9


def test_many_listeners_do_not_drown_the_speaker() -> None:
    listeners = [face(100, 0, depth=0, seed=seed) for seed in range(1, 6)]
    metrics = clip(*listeners, face(100, -2, depth=2))
    assert metrics.offset == -2
    assert metrics.agreement >= 0.9


def test_a_cut_to_a_new_face_in_sync_agrees() -> None:
    metrics = clip(face(60, 0, depth=2), face(140, 0, depth=1, seed=1))
    assert metrics.offset == 0
    assert metrics.agreement >= 0.9


@pytest.mark.parametrize("lengths", [(100, 100), (60, 140)])
def test_scenes_whose_offsets_differ_do_not_agree(lengths: tuple[int, int]) -> None:
    first, second = lengths
    metrics = clip(face(first, 0, depth=2), face(second, 5, depth=2, seed=1))
    assert metrics.agreement < 0.9


def test_several_faces_that_do_not_speak_rarely_agree() -> None:
    accepted = [
        clip(*(face(100, 0, depth=0, seed=10 * trial + n) for n in range(4))).agreement >= 0.9
        for trial in range(60)
    ]
    assert np.mean(accepted) <= 0.1


def test_faces_too_short_to_draw_from_count_by_their_windows() -> None:
    metrics = clip(face(8, 1, depth=5), face(4, 1, depth=5, seed=1))
    assert metrics.offset == 1
    assert metrics.agreement == 0
    np.testing.assert_allclose(metrics.track_weights, [2 / 3, 1 / 3])


def test_the_confidence_of_a_window_is_that_of_its_track() -> None:
    first, second = face(40, 0, depth=2), face(60, 5, depth=2, seed=1)
    order = np.random.default_rng(0).permutation(100)
    tracks = np.repeat([0, 1], [40, 60])[order]
    # Rows of a track stay in the order of time; those of different tracks may be mixed.
    rows = np.empty((100, 2 * VSHIFT + 1), np.float32)
    rows[tracks == 0], rows[tracks == 1] = first, second
    confidence = sync_metrics(rows, tracks.astype(np.int32)).frame_confidence
    np.testing.assert_array_equal(confidence[tracks == 0], sync_metrics(first).frame_confidence)
    np.testing.assert_array_equal(confidence[tracks == 1], sync_metrics(second).frame_confidence)


@pytest.mark.parametrize(
    ("tracks", "resample", "message"),
    [
        (
            np.zeros(3, np.int32),
            True,
            r"one number for each of the 20 rows of DISTANCES, got \[3\]",
        ),
        (np.zeros(20, np.int32), False, "TRACKS needs the request parameter scope"),
    ],
)
def test_tracks_that_do_not_fit_are_refused(
    tracks: np.ndarray, resample: bool, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        sync_metrics(face(20, 0, depth=1), tracks, resample=resample)
