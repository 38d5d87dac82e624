"""The files of one checkpoint: each tower in each precision."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import onnx

from syncnet_export.checkpoint import Checkpoint
from syncnet_export.clips import calibration_inputs
from syncnet_export.description import WeightsDescription
from syncnet_export.fp16 import to_fp16
from syncnet_export.grouping import run_in_groups
from syncnet_export.int8 import LayerStatistics, calibrate, integer_layers, quantise
from syncnet_export.metadata import TowerMetadata
from syncnet_export.mixed import LayerChoice
from syncnet_export.naming import name_after_checkpoint
from syncnet_export.onnx_files import embed, open_session, write_model
from syncnet_export.precisions import Precision
from syncnet_export.reference import (
    VERIFICATION_SEED,
    Embeddings,
    Inputs,
    published_embeddings,
    relative_error,
    seeded_inputs,
)
from syncnet_export.served_tower import serving_form
from syncnet_export.tower_files import TowerFile
from syncnet_export.tower_specs import VIDEO, TowerSpec
from syncnet_export.tracing import store_half_weights, trace
from syncnet_programs.installs import package_version

__all__ = ["Exporter"]

# Seeds of the inputs that int8 is calibrated on, beside clips; files are verified on another one.
_CALIBRATION_SEEDS = (101, 102, 103, 104)


class Exporter:
    """Writes files of one checkpoint; what only int8 needs is made when it is first asked for.

    Args:
        checkpoint: the weights.
        clips: to measure the ranges of int8 on.
        repository: its models compute the MFCC of the clips.
        description: what is known about the weights; files say it.

    Attributes:
        network: the published network with these weights.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        clips: Sequence[Path],
        repository: Path,
        description: WeightsDescription,
    ) -> None:
        self.network = checkpoint.network()
        self._checkpoint = checkpoint
        self._clips = clips
        self._repository = repository
        self._description = description
        self._calibration: list[Inputs] = []
        self._judged_on: list[tuple[Inputs, Embeddings]] = []
        self._traced: dict[tuple[str, bool, bool], bytes] = {}
        self._statistics: dict[str, dict[str, LayerStatistics]] = {}
        self._choices: dict[tuple[str, str], LayerChoice] = {}

    def write(self, file: TowerFile) -> None:
        """Export a tower in a precision.

        Raises:
            ExportError: a weight does not fit the precision, or a clip cannot be used.
        """
        spec, precision = file.spec, file.precision
        model = self._trace(spec, precision)
        in_fp32 = ""
        if precision.integer:
            choice = self._choice(spec, precision)
            statistics = self._statistics[spec.name]
            quantise(model, statistics, precision.integer, keep=choice.kept)
            in_fp32 = choice.describe(statistics)
        if precision.half:
            to_fp16(model)
        elif self._checkpoint.half:
            tower = serving_form(self.network, spec, aligned=precision.aligned)
            # Of int8 files the largest weight would be most of the file: that of the layer that was
            # a convolution over the whole image.
            largest = max(tower.weights, key=lambda name: tower.weights[name].raw.numel())
            as_bytes = [largest] if precision.integer else []
            store_half_weights(model, tower.weights, as_bytes=as_bytes)
        if precision.grouped and spec is VIDEO:
            run_in_groups(model)
        name_after_checkpoint(model.graph, self._checkpoint.sha256)
        metadata = TowerMetadata(
            tower=spec.name,
            precision=precision.name,
            checkpoint_sha256=self._checkpoint.sha256,
            exporter=package_version(),
            calibration=", ".join(clip.name for clip in self._clips) if precision.integer else "",
            in_fp32=in_fp32,
        )
        metadata.described(self._description).write(model)
        write_model(model, file.path)

    def keep_another_layer(self, file: TowerFile) -> bool:
        """Keep one more layer of an int8 file in fp32; False if there is none, or it is no int8."""
        if not file.precision.integer:
            return False
        return self._choice(file.spec, file.precision).keep_another()

    def _trace(self, spec: TowerSpec, precision: Precision) -> onnx.ModelProto:
        return self._trace_form(spec, precision.aligned, precision.bytes_first)

    def _trace_form(self, spec: TowerSpec, aligned: bool, bytes_first: bool) -> onnx.ModelProto:
        key = spec.name, aligned and spec is VIDEO, bytes_first and spec is VIDEO
        if key not in self._traced:
            tower = serving_form(self.network, spec, aligned=key[1], bytes_first=key[2])
            self._traced[key] = trace(tower).SerializeToString()
        return onnx.load_from_string(self._traced[key])

    def _choice(self, spec: TowerSpec, precision: Precision) -> LayerChoice:
        """Which layers stay in fp32: the same for all forms with the same numbers."""
        assert precision.integer is not None
        form = precision.integer
        key = spec.name, form.activation
        if key not in self._choices:
            self._prepare(spec)

            def error(kept: Sequence[str]) -> float:
                model = self._trace(spec, precision)
                quantise(model, self._statistics[spec.name], form, keep=kept)
                return self._error(model, spec)

            layers = integer_layers(self._trace(spec, precision))
            choice = LayerChoice(layers, precision.embedding_tolerance, error)
            choice.settle()
            self._choices[key] = choice
        return self._choices[key]

    def _prepare(self, spec: TowerSpec) -> None:
        """Measure ranges, and embed what int8 files are judged on with the published network."""
        if not self._calibration:
            self._calibration = [seeded_inputs(seed) for seed in _CALIBRATION_SEEDS]
            judged_on = [seeded_inputs(VERIFICATION_SEED)]
            for clip in self._clips:
                blocks = calibration_inputs(clip, self._repository)
                self._calibration += blocks
                judged_on += blocks
            self._judged_on = [
                (inputs, published_embeddings(self.network, inputs)) for inputs in judged_on
            ]
        if spec.name not in self._statistics:
            batches = (inputs.of(spec)[None] for inputs in self._calibration)
            model = self._trace_form(spec, aligned=True, bytes_first=True)
            self._statistics[spec.name] = calibrate(model, batches)

    def _error(self, model: onnx.ModelProto, spec: TowerSpec) -> float:
        """Of the worst embedding, as `verify` computes it."""
        session = open_session(model.SerializeToString())
        return max(
            relative_error(embed(session, spec, inputs.of(spec)[None])[0], expected.of(spec))
            for inputs, expected in self._judged_on
        )
