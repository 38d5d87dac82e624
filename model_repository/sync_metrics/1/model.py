"""Triton model `sync_metrics`: DISTANCES fp32 [K, 2 V + 1] -> offset and confidence.

Publishes counters on Triton's metrics endpoint: results, results of low agreement, and absolute
offsets in cumulative buckets. Each is labelled with the scope of the result: `chunk` when the
ensemble asks; `clip` or `track` when a client sets the request parameter `scope` to that, and then
the answer also says how sure it is (agreement). With the request parameter `segment_windows`, the
rows are also scored in segments of so many windows.
"""

import json
from dataclasses import dataclass

import numpy as np
import triton_python_backend_utils as pb_utils
from sync_metrics import segment_metrics, sync_metrics

SCOPES = ("chunk", "track", "clip")
RESAMPLED = SCOPES[1:]  # chunks have no agreement
OFFSET_BUCKETS = ("0", "1", "2", "3", "5", "10", "15", "+Inf")  # frames, upper bounds


@dataclass(frozen=True)
class Settings:
    """The parameters of config.pbtxt."""

    low_agreement: float  # results below this are counted as of low agreement

    @classmethod
    def from_model_config(cls, model_config):
        parameters = json.loads(model_config)["parameters"]
        return cls(low_agreement=float(parameters["low_agreement"]["string_value"]))


class ResultCounters:
    """What Prometheus gets to know of the results of each scope."""

    def __init__(self, low_agreement):
        self._low_agreement = low_agreement
        results = _family("syncnet_results_total", "Chunks and clips scored")
        low = _family("syncnet_low_agreement_results_total", "Tracks and clips of low agreement")
        offsets = _family(
            "syncnet_absolute_offset_frames_bucket",
            "Results whose absolute offset is at most `le` frames",
        )
        # A metric is gone when its family is collected, so the families are kept.
        self._families = (results, low, offsets)
        self._results = {scope: results.Metric({"scope": scope}) for scope in SCOPES}
        self._low = {scope: low.Metric({"scope": scope}) for scope in RESAMPLED}
        self._offsets = {
            (scope, bound): offsets.Metric({"scope": scope, "le": bound})
            for scope in SCOPES
            for bound in OFFSET_BUCKETS
        }

    def count(self, scope, metrics):
        self._results[scope].increment(1)
        if scope in RESAMPLED and metrics.agreement < self._low_agreement:
            self._low[scope].increment(1)
        for bound in OFFSET_BUCKETS:
            if abs(metrics.offset) <= float(bound):
                self._offsets[scope, bound].increment(1)


class TritonPythonModel:
    def initialize(self, args):
        settings = Settings.from_model_config(args["model_config"])
        self._counters = ResultCounters(settings.low_agreement)

    def execute(self, requests):
        return [self._answer(request) for request in requests]

    def _answer(self, request):
        distances = _input(request, "DISTANCES")
        tracks = _input(request, "TRACKS")
        try:
            parameters = json.loads(request.parameters() or "{}")
            scope = _scope(parameters)
            results = [
                sync_metrics(
                    rows, None if tracks is None else tracks[item], resample=scope in RESAMPLED
                )
                for item, rows in enumerate(distances)
            ]
            segments = _segments(parameters, distances, tracks)
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
        resampled = _resampled(results) if scope in RESAMPLED else []
        return pb_utils.InferenceResponse(
            [
                _tensor("OFFSET", np.int32, [[result.offset] for result in results]),
                _tensor("CONFIDENCE", np.float32, [[result.confidence] for result in results]),
                _tensor("MIN_DISTANCE", np.float32, [[result.min_distance] for result in results]),
                _tensor("FRAME_CONFIDENCE", np.float32, [r.frame_confidence for r in results]),
                *resampled,
                *segments,
            ]
        )


def _resampled(results):
    """The tensors of what is drawn again, which chunks go without."""
    tracks = max(len(result.track_weights) for result in results)
    weights = [np.pad(r.track_weights, (0, tracks - len(r.track_weights))) for r in results]
    return [
        _tensor("AGREEMENT", np.float32, [[result.agreement] for result in results]),
        _tensor("OFFSET_INTERVAL", np.float32, [result.offset_interval for result in results]),
        _tensor("MEAN_DISTANCES", np.float32, [result.mean_distances for result in results]),
        _tensor("TRACK_WEIGHTS", np.float32, weights),
    ]


def _segments(parameters, distances, tracks):
    """The tensors about segments, for requests that ask for them."""
    if "segment_windows" not in parameters:
        return []
    if tracks is not None:
        raise ValueError("segment_windows goes with the rows of one track, not with TRACKS")
    windows = int(parameters["segment_windows"])
    starts, offsets, confidences, agreements = np.transpose(
        [segment_metrics(rows, windows) for rows in distances], (2, 0, 1)
    )
    return [
        _tensor("SEGMENT_START", np.int32, starts),
        _tensor("SEGMENT_OFFSET", np.int32, offsets),
        _tensor("SEGMENT_CONFIDENCE", np.float32, confidences),
        _tensor("SEGMENT_AGREEMENT", np.float32, agreements),
    ]


def _input(request, name):
    """A tensor of the request; None for an optional one that it does not have."""
    tensor = pb_utils.get_input_tensor_by_name(request, name)
    return None if tensor is None else tensor.as_numpy()


def _tensor(name, kind, values):
    return pb_utils.Tensor(name, np.array(values, kind))


def _scope(parameters):
    scope = parameters.get("scope", "chunk")
    if scope not in SCOPES:
        raise ValueError(f"request parameter scope must be one of {SCOPES}, got {scope!r}")
    return scope


def _family(name, description):
    return pb_utils.MetricFamily(
        name=name, description=description, kind=pb_utils.MetricFamily.COUNTER
    )
