"""Triton model `shift_distance`: embeddings -> DISTANCES fp32 [K, 2 V + 1].

Publishes on Triton's metrics endpoint how many chunks and windows were scored and the time spent.
"""

import time

import numpy as np
import triton_python_backend_utils as pb_utils
from shift_distance import shift_distances


class TritonPythonModel:
    def initialize(self, args):
        self._chunks = _counter("syncnet_chunks_total", "Chunks whose distances were computed")
        self._windows = _counter("syncnet_windows_total", "Video windows in those chunks")
        self._seconds = _counter("syncnet_scoring_seconds_total", "Time spent on those distances")

    def execute(self, requests):
        return [self._answer(request) for request in requests]

    def _answer(self, request):
        video, audio, padding = (
            pb_utils.get_input_tensor_by_name(request, name).as_numpy()
            for name in ("VIDEO_EMBEDDINGS", "AUDIO_EMBEDDINGS", "AUDIO_PADDING")
        )
        started = time.perf_counter()
        try:
            distances = np.stack(
                [
                    shift_distances(video_chunk, audio_chunk, int(left), int(right))
                    for video_chunk, audio_chunk, (left, right) in zip(
                        video, audio, padding, strict=True
                    )
                ]
            )
        except ValueError as error:
            return pb_utils.InferenceResponse(
                error=pb_utils.TritonError(str(error), pb_utils.TritonError.INVALID_ARG)
            )
        self._seconds.increment(time.perf_counter() - started)
        self._chunks.increment(distances.shape[0])
        self._windows.increment(distances.shape[0] * distances.shape[1])
        return pb_utils.InferenceResponse([pb_utils.Tensor("DISTANCES", distances)])


def _counter(name, description):
    family = pb_utils.MetricFamily(
        name=name, description=description, kind=pb_utils.MetricFamily.COUNTER
    )
    return family.Metric(labels={})
