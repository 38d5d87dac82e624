"""MFCC as the published SyncNet pipeline computes it, in numpy alone.

The numbers are those of ``python_speech_features`` 0.6 with its defaults on int16 samples at
16 kHz: pre-emphasis 0.97, rectangular windows of 25 ms every 10 ms, FFT of 512, power spectrum
divided by 512, 26 triangular mel filters between integer bins from 0 to 8 kHz, natural logarithm,
orthonormal DCT-II, 13 coefficients, sinusoidal lifter 22, and coefficient 0 replaced by the log of
the frame's energy. Exact zeros become the machine epsilon before a logarithm is taken.
"""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

SAMPLE_RATE = 16_000  # Hz
HOP_SAMPLES = SAMPLE_RATE // 100  # 10 ms
FRAME_SAMPLES = SAMPLE_RATE // 40  # 25 ms
COEFFICIENTS = 13
WINDOW_FRAMES = 20  # MFCC frames in an audio window, 0.2 s
WINDOW_HOP_FRAMES = 4  # MFCC frames in a video frame of 40 ms
WINDOW_HOP_SAMPLES = WINDOW_HOP_FRAMES * HOP_SAMPLES  # 640
WINDOW_SAMPLES = (WINDOW_FRAMES - 1) * HOP_SAMPLES + FRAME_SAMPLES  # 3440
MAX_WINDOWS = 3500  # in a request: those of 3000 video windows and 250 more on each side

_PRE_EMPHASIS = 0.97
_FFT_SIZE = 512
_FILTERS = 26
_LIFTER = 22
# A block fits into a core's cache, and its products are small enough (36 * 257 * 27, below 2**18)
# for OpenBLAS to compute them in one thread: on a busy machine several wait for each other.
_FRAMES_AT_ONCE = 36
_EPSILON = np.finfo(np.float64).eps


def _mel_filters() -> np.ndarray:
    """Triangular filters with corners on integer FFT bins, float64 [257, 26]."""
    top_mel = 2595 * np.log10(1 + SAMPLE_RATE / 2 / 700)
    corners_hz = 700 * (10 ** (np.linspace(0, top_mel, _FILTERS + 2) / 2595) - 1)
    corners = np.floor((_FFT_SIZE + 1) * corners_hz / SAMPLE_RATE)
    left, centre, right = corners[:-2], corners[1:-1], corners[2:]
    bins = np.arange(_FFT_SIZE // 2 + 1)[:, None]
    rising = (bins - left) / (centre - left)
    falling = (right - bins) / (right - centre)
    filters: np.ndarray = np.where(bins < centre, rising, falling).clip(min=0)
    return filters


def _cepstral_transform() -> np.ndarray:
    """Orthonormal DCT-II followed by the lifter, float64 [26, 13]."""
    band, order = np.arange(_FILTERS)[:, None], np.arange(COEFFICIENTS)
    transform = np.cos(np.pi * order * (2 * band + 1) / (2 * _FILTERS)) * np.sqrt(2 / _FILTERS)
    transform[:, 0] /= np.sqrt(2)
    lifter: np.ndarray = 1 + _LIFTER / 2 * np.sin(np.pi * order / _LIFTER)
    return transform * lifter


# The power in each mel band and, in the last column, in the whole frame; of squared FFT bins.
_BANDS = np.concatenate([_mel_filters(), np.ones((_FFT_SIZE // 2 + 1, 1))], axis=1) / _FFT_SIZE
_CEPSTRAL_TRANSFORM = _cepstral_transform()


def mfcc(samples: np.ndarray) -> np.ndarray:
    """MFCC of 25 ms frames every 10 ms; the last is filled up with zeros, as published.

    Args:
        samples: int16 [..., 1 + N] at 16 kHz. The first sample only feeds the pre-emphasis of the
            second; it is the sample before the audio, 0 at the start of a clip.

    Returns:
        float32 [..., 1 + ceil((N - 400) / 160), 13]; one frame where N < 400
    """
    *lead, length = samples.shape
    count = 1 + max(0, -((FRAME_SAMPLES + 1 - length) // HOP_SAMPLES))
    coefficients = np.empty((*lead, count, COEFFICIENTS), np.float32)
    padded = np.zeros((*lead, min(_FRAMES_AT_ONCE, count), _FFT_SIZE))
    for start in range(0, count, _FRAMES_AT_ONCE):
        stop = min(start + _FRAMES_AT_ONCE, count)
        block = padded[..., : stop - start, :]
        _fill(block[..., :FRAME_SAMPLES], samples[..., start * HOP_SAMPLES :])
        coefficients[..., start:stop, :] = _cepstra(block)
    return coefficients


def _fill(frames: np.ndarray, samples: np.ndarray) -> None:
    """Cut pre-emphasised frames, [..., F, 400], out of samples that begin one before the first."""
    count = frames.shape[-2]
    hops = count + -(FRAME_SAMPLES // -HOP_SAMPLES) - 1  # that the frames reach into
    signal = samples[..., : hops * HOP_SAMPLES + 1].astype(np.float64)
    emphasised = signal[..., 1:] - _PRE_EMPHASIS * signal[..., :-1]
    missing = hops * HOP_SAMPLES - emphasised.shape[-1]
    if missing:
        emphasised = np.pad(emphasised, [(0, 0)] * (samples.ndim - 1) + [(0, missing)])
    pieces = emphasised.reshape(*samples.shape[:-1], hops, HOP_SAMPLES)
    for first, start in enumerate(range(0, FRAME_SAMPLES, HOP_SAMPLES)):
        part = frames[..., start : start + HOP_SAMPLES]
        part[...] = pieces[..., first : first + count, : part.shape[-1]]


def _cepstra(padded: np.ndarray) -> np.ndarray:
    """Float64 [..., 13] of frames filled up to the size of the FFT, [..., 512]."""
    parts = np.fft.rfft(padded).view(np.float64)  # real and imaginary in turn
    np.square(parts, out=parts)
    powers = (parts[..., 0::2] + parts[..., 1::2]) @ _BANDS
    powers[powers == 0] = _EPSILON
    np.log(powers, out=powers)
    coefficients: np.ndarray = powers[..., :-1] @ _CEPSTRAL_TRANSFORM
    coefficients[..., 0] = powers[..., -1]
    return coefficients


def mfcc_windows(audio: np.ndarray) -> np.ndarray:
    """The MFCC of overlapping audio windows of 0.2 s, one for each video frame of 40 ms.

    Args:
        audio: int16 [..., 1 + 640 * (A - 1) + 3440], one sample of context and A windows.

    Returns:
        float32 [..., A, 13, 20]

    Raises:
        ValueError: `audio` does not hold a whole number of windows, or more than 3500.
    """
    samples = audio.shape[-1] - 1
    if samples < WINDOW_SAMPLES or (samples - WINDOW_SAMPLES) % WINDOW_HOP_SAMPLES:
        raise ValueError(
            f"AUDIO must hold 1 + {WINDOW_HOP_SAMPLES} * (A - 1) + {WINDOW_SAMPLES} samples for "
            f"A >= 1 audio windows, got {audio.shape[-1]}"
        )
    count = (samples - WINDOW_SAMPLES) // WINDOW_HOP_SAMPLES + 1
    if count > MAX_WINDOWS:
        raise ValueError(f"AUDIO must hold at most {MAX_WINDOWS} audio windows, got {count}")
    windows = sliding_window_view(mfcc(audio), WINDOW_FRAMES, axis=-2)
    return np.ascontiguousarray(windows[..., ::WINDOW_HOP_FRAMES, :, :])
