"""The exported video tower in ONNX Runtime and in TensorRT."""

from __future__ import annotations

import functools
import importlib
import importlib.util
import warnings
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.gpu.way import TF32_TOLERANCE, Embed, MissingError, Way
from syncnet_client.contract import EMBEDDING_SIZE
from syncnet_client.defaults import DEFAULT_CHUNK
from syncnet_export.network import SyncNet
from syncnet_export.precisions import FP16, FP32, Precision
from syncnet_export.served_tower import serving_form
from syncnet_export.tower_specs import VIDEO

# As the profiles for GPUs have it: the search of all algorithms begins anew for every shape.
_OPTIONS = {"CUDAExecutionProvider": {"cudnn_conv_algo_search": "HEURISTIC"}}
_PROVIDERS = {
    "cuda": (("CUDAExecutionProvider", "CUDA"), ("TensorrtExecutionProvider", "TensorRT")),
    "cpu": (("CPUExecutionProvider", "CPU"),),
}

Model = Callable[[], bytes]  # an ONNX file, exported when it is first asked for


def runtime_ways(network: SyncNet, device: torch.device, windows: tuple[int, ...]) -> Iterator[Way]:
    """Yield ONNX Runtime's providers, then TensorRT by its own interface; both in whole chunks."""
    batches = [max(1, count // DEFAULT_CHUNK) for count in windows]
    chunk = min(DEFAULT_CHUNK, *windows)
    models: dict[Precision, Model] = {
        precision: functools.cache(functools.partial(_exported, network, precision))
        for precision in (FP32, FP16)
    }
    for provider, label in _PROVIDERS[device.type]:
        for precision, model in models.items():
            session = functools.cache(functools.partial(_session, provider, model))
            for batch in batches:
                yield Way(
                    f"ONNX Runtime {label}, {precision.name}, batch {batch} x {chunk}",
                    batch,
                    chunk,
                    _tolerance(precision, device),
                    functools.partial(_bound, session, device),
                )
    if device.type == "cuda":
        engine = functools.cache(functools.partial(_engine, models[FP16]))
        for batch in batches:
            yield Way(
                f"TensorRT, fp16, batch {batch} x {chunk}",
                batch,
                chunk,
                FP16.embedding_tolerance,
                functools.partial(_context, engine, device),
            )


def _tolerance(precision: Precision, device: torch.device) -> float:
    if precision is FP32 and device.type == "cuda":
        return TF32_TOLERANCE
    return precision.embedding_tolerance


def _exported(network: SyncNet, precision: Precision) -> bytes:
    if importlib.util.find_spec("onnxscript") is None:
        raise MissingError("onnxscript, which PyTorch exports with, is not installed")
    from syncnet_export.fp16 import to_fp16
    from syncnet_export.tracing import trace

    model = trace(serving_form(network, VIDEO, aligned=precision.aligned).cpu())
    if precision.half:
        to_fp16(model)
    serialised: bytes = model.SerializeToString()
    return serialised


def _session(provider: str, model: Model) -> Any:
    """An ONNX Runtime session that really is on this provider."""
    onnxruntime = _package("onnxruntime")
    if provider not in onnxruntime.get_available_providers():
        raise MissingError(f"this ONNX Runtime was built without {provider}")
    if hasattr(onnxruntime, "preload_dlls"):
        onnxruntime.preload_dlls()  # CUDA's libraries may lie in the packages of PyTorch
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # asked below in a way that cannot be missed
        session = onnxruntime.InferenceSession(
            model(), providers=[(provider, _OPTIONS.get(provider, {}))]
        )
    if provider not in session.get_providers():
        raise MissingError(f"{provider} is part of this ONNX Runtime, but does not load here")
    return session


def _bound(opened: Callable[[], Any], device: torch.device) -> Embed:
    """Run a session on tensors that are on the card already, with no way back to the host."""
    session = opened()

    def embed(frames: Tensor) -> Tensor:
        embeddings = _empty_embeddings(frames)
        if device.type == "cuda":
            torch.cuda.current_stream(device).synchronize()  # the session has a stream of its own
        binding = session.io_binding()
        binding.bind_input(
            VIDEO.input_name, device.type, 0, np.uint8, tuple(frames.shape), frames.data_ptr()
        )
        binding.bind_output(
            VIDEO.output_name,
            device.type,
            0,
            np.float32,
            tuple(embeddings.shape),
            embeddings.data_ptr(),
        )
        session.run_with_iobinding(binding)
        return embeddings

    return embed


def _engine(model: Model) -> Any:
    """A TensorRT engine."""
    trt = _package("tensorrt")
    from syncnet_export.tensorrt import build_engine

    plan, _ = build_engine(trt, model(), VIDEO)
    return trt.Runtime(trt.Logger(trt.Logger.WARNING)).deserialize_cuda_engine(plan)


def _context(built: Callable[[], Any], device: torch.device) -> Embed:
    """Run an engine on PyTorch's stream, with its profile for clips, the second one."""
    engine = built()
    context = engine.create_execution_context()
    stream = torch.cuda.current_stream(device).cuda_stream
    if not context.set_optimization_profile_async(1, stream):
        raise RuntimeError("TensorRT refuses the second optimisation profile")

    def embed(frames: Tensor) -> Tensor:
        embeddings = _empty_embeddings(frames)
        context.set_input_shape(VIDEO.input_name, tuple(frames.shape))
        context.set_tensor_address(VIDEO.input_name, frames.data_ptr())
        context.set_tensor_address(VIDEO.output_name, embeddings.data_ptr())
        if not context.execute_async_v3(stream):
            raise RuntimeError("TensorRT could not run the engine; its log says why")
        return embeddings

    return embed


def _empty_embeddings(frames: Tensor) -> Tensor:
    batch, count = frames.shape[:2]
    return torch.empty(
        (batch, count - VIDEO.surplus, EMBEDDING_SIZE), dtype=torch.float32, device=frames.device
    )


def _package(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise MissingError(f"{name} is not installed") from error
