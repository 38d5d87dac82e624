"""Triton model `shift_distance`: embeddings -> DISTANCES fp32 [K, 2 V + 1].

Publishes on Triton's metrics endpoint how many chunks and windows were scored, the time spent, the
state of the shared memory through which Triton and its Python models talk, and how often
`syncnet-server` has started Triton again.
"""

import os
import time

import numpy as np
import triton_python_backend_utils as pb_utils
from shift_distance import shift_distances


class TritonPythonModel:
    def initialize(self, args):
        counter, gauge = pb_utils.MetricFamily.COUNTER, pb_utils.MetricFamily.GAUGE
        # A metric is gone when its family is collected, so the families are kept.
        self._families = [
            pb_utils.MetricFamily(name=name, description=description, kind=kind)
            for name, description, kind in (
                ("syncnet_chunks_total", "Chunks whose distances were computed", counter),
                ("syncnet_windows_total", "Video windows in those chunks", counter),
                ("syncnet_scoring_seconds_total", "Time spent on those distances", counter),
                ("syncnet_shared_memory_size_bytes", "Size of /dev/shm", gauge),
                ("syncnet_shared_memory_free_bytes", "Free space in /dev/shm", gauge),
                ("syncnet_server_restarts_total", "Starts of Triton after it ended", counter),
            )
        ]
        (
            self._chunks,
            self._windows,
            self._seconds,
            self._shm_size,
            self._shm_free,
            self._restarts,
        ) = (family.Metric(labels={}) for family in self._families)
        # Set by syncnet-server; a container is counted by whoever starts it again.
        self._restarts.increment(int(os.environ.get("SYNCNET_RESTARTS", "0")))
        self._measure_shared_memory()

    def execute(self, requests):
        self._measure_shared_memory()
        return [self._answer(request) for request in requests]

    def _measure_shared_memory(self):
        shared_memory = os.statvfs("/dev/shm")
        self._shm_size.set(shared_memory.f_blocks * shared_memory.f_frsize)
        self._shm_free.set(shared_memory.f_bavail * shared_memory.f_frsize)

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
        except MemoryError:
            return pb_utils.InferenceResponse(
                error=pb_utils.TritonError(
                    "shift_distance: out of memory", pb_utils.TritonError.UNAVAILABLE
                )
            )
        self._seconds.increment(time.perf_counter() - started)
        self._chunks.increment(distances.shape[0])
        self._windows.increment(distances.shape[0] * distances.shape[1])
        return pb_utils.InferenceResponse([pb_utils.Tensor("DISTANCES", distances)])
