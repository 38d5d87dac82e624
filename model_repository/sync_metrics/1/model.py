"""Triton model `sync_metrics`: DISTANCES fp32 [K, 2 V + 1] -> offset and confidence.

Publishes counters on Triton's metrics endpoint: results, results of low confidence, and absolute
offsets in cumulative buckets. Each is labelled with the scope of the result: `chunk` when the
ensemble asks, `clip` when a client sets the request parameter `scope` to that. With the request
parameter `segment_windows`, the clip is also scored in segments of so many windows.
"""

import json
from dataclasses import dataclass

import numpy as np
import triton_python_backend_utils as pb_utils
from sync_metrics import segment_metrics, sync_metrics

SCOPES = ("chunk", "clip")
OFFSET_BUCKETS = ("0", "1", "2", "3", "5", "10", "15", "+Inf")  # frames, upper bounds


@dataclass(frozen=True)
class Settings:
    """The parameters of config.pbtxt."""

    low_confidence: float  # results below this are counted as of low confidence

    @classmethod
    def from_model_config(cls, model_config):
        parameters = json.loads(model_config)["parameters"]
        return cls(low_confidence=float(parameters["low_confidence"]["string_value"]))


class ResultCounters:
    """What Prometheus gets to know of the results of each scope."""

    def __init__(self, low_confidence):
        self._low_confidence = low_confidence
        results = _family("syncnet_results_total", "Chunks and clips scored")
        low = _family("syncnet_low_confidence_results_total", "Results of low confidence")
        offsets = _family(
            "syncnet_absolute_offset_frames_bucket",
            "Results whose absolute offset is at most `le` frames",
        )
        # A metric is gone when its family is collected, so the families are kept.
        self._families = (results, low, offsets)
        self._results = {scope: results.Metric({"scope": scope}) for scope in SCOPES}
        self._low = {scope: low.Metric({"scope": scope}) for scope in SCOPES}
        self._offsets = {
            (scope, bound): offsets.Metric({"scope": scope, "le": bound})
            for scope in SCOPES
            for bound in OFFSET_BUCKETS
        }

    def count(self, scope, metrics):
        self._results[scope].increment(1)
        if metrics.confidence < self._low_confidence:
            self._low[scope].increment(1)
        for bound in OFFSET_BUCKETS:
            if abs(metrics.offset) <= float(bound):
                self._offsets[scope, bound].increment(1)


class TritonPythonModel:
    def initialize(self, args):
        settings = Settings.from_model_config(args["model_config"])
        self._counters = ResultCounters(settings.low_confidence)

    def execute(self, requests):
        return [self._answer(request) for request in requests]

    def _answer(self, request):
        distances = pb_utils.get_input_tensor_by_name(request, "DISTANCES").as_numpy()
        try:
            parameters = json.loads(request.parameters() or "{}")
            scope = _scope(parameters)
            results = [sync_metrics(chunk) for chunk in distances]
            segments = _segments(parameters, distances)
        except ValueError as error:
            return pb_utils.InferenceResponse(
                error=pb_utils.TritonError(str(error), pb_utils.TritonError.INVALID_ARG)
            )
        except MemoryError:
            return pb_utils.InferenceResponse(
                error=pb_utils.TritonError(
                    "sync_metrics: out of memory", pb_utils.TritonError.UNAVAILABLE
                )
            )
        for result in results:
            self._counters.count(scope, result)
        offsets, confidences, minima, frame_confidences = zip(*results, strict=True)
        return pb_utils.InferenceResponse(
            [
                pb_utils.Tensor("OFFSET", np.array(offsets, np.int32)[:, None]),
                pb_utils.Tensor("CONFIDENCE", np.array(confidences, np.float32)[:, None]),
                pb_utils.Tensor("MIN_DISTANCE", np.array(minima, np.float32)[:, None]),
                pb_utils.Tensor("FRAME_CONFIDENCE", np.stack(frame_confidences)),
                *segments,
            ]
        )


def _segments(parameters, distances):
    """The tensors about segments, for requests that ask for them."""
    if "segment_windows" not in parameters:
        return []
    windows = int(parameters["segment_windows"])
    starts, offsets, confidences = np.transpose(
        [segment_metrics(chunk, windows) for chunk in distances], (2, 0, 1)
    )
    return [
        pb_utils.Tensor("SEGMENT_START", starts.astype(np.int32)),
        pb_utils.Tensor("SEGMENT_OFFSET", offsets.astype(np.int32)),
        pb_utils.Tensor("SEGMENT_CONFIDENCE", confidences.astype(np.float32)),
    ]


def _scope(parameters):
    scope = parameters.get("scope", "chunk")
    if scope not in SCOPES:
        raise ValueError(f"request parameter scope must be one of {SCOPES}, got {scope!r}")
    return scope


def _family(name, description):
    return pb_utils.MetricFamily(
        name=name, description=description, kind=pb_utils.MetricFamily.COUNTER
    )
