"""Distances between video windows and the audio around them, in numpy alone."""

import numpy as np

MAX_WINDOWS = 3000  # video windows in a request, 2 minutes
MAX_VSHIFT = 250  # frames, 10 s

_EPSILON = np.float32(1e-6)  # what PyTorch's pairwise_distance adds to every difference


def shift_distances(video: np.ndarray, audio: np.ndarray, left: int, right: int) -> np.ndarray:
    """L2 distance of every video window to the audio at every shift from -V to +V frames.

    The video windows are consecutive. The audio windows are those from V frames before the first
    video window to V frames after the last; the ones that lie outside the clip are left out of
    `audio`, counted in `left` and `right`, and taken as zero embeddings, as published (Chung &
    Zisserman, 2016). The distance is ``|| v - a + 1e-6 ||``.

    Args:
        video: float32 [K, D], embeddings of K video windows.
        audio: float32 [A, D], embeddings of A audio windows, A + left + right = K + 2 V.
        left: audio windows missing before the first of `audio`.
        right: audio windows missing after the last of `audio`.

    Returns:
        float32 [K, 2 V + 1]; column j is the shift j - V.

    Raises:
        ValueError: the numbers of windows do not fit together, or are past their limits: K at
            most 3000 and V at most 250, so that the work is bounded by what was sent.
    """
    windows, width = video.shape
    total = len(audio) + left + right
    if windows < 1 or left < 0 or right < 0 or total < windows or (total - windows) % 2:
        raise ValueError(
            "A audio windows and AUDIO_PADDING [left, right] must give A + left + right = K + 2 V "
            f"for K >= 1 video windows and a whole V >= 0, got K = {windows}, A = {len(audio)}, "
            f"left = {left}, right = {right}"
        )
    if windows > MAX_WINDOWS or total - windows > 2 * MAX_VSHIFT:
        raise ValueError(
            f"K must be at most {MAX_WINDOWS} and V at most {MAX_VSHIFT}, got K = {windows}, "
            f"V = {(total - windows) // 2} (A = {len(audio)}, left = {left}, right = {right})"
        )
    padded = np.zeros((total, width), np.float32)
    padded[left : left + len(audio)] = audio
    shifts = total - windows + 1
    distances = np.empty((windows, shifts), np.float32)
    for shift in range(shifts):
        difference = video - padded[shift : shift + windows] + _EPSILON
        distances[:, shift] = np.sqrt(np.square(difference).sum(axis=1))
    return distances
