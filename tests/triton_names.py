"""Names that Triton gives to its options, metrics and parameters, and where that stands.

24.10 (server 2.51.0) answers for itself: it is the server from pip, and tests ask it. For releases
after it these were read:

* options: `src/command_line_parser.cc` of triton-inference-server/server, commit 5fd6bc48bb05, the
  newest that could be had;
* parameters: `README.md` of triton-inference-server/onnxruntime_backend, commit 013d27450459;
* metrics: `docs/user_guide/metrics.md` of triton-inference-server/server, commit 067c1e968356, and
  for pending requests the metrics of 24.10 itself.

For 26.09, whose sources could not be had, NVIDIA's packages of that release answer, and a long test
asks the newest of them:

* options and metrics of the GPU: the tables of triton-model-analyzer 1.58.0, which starts
  tritonserver:26.09-py3. It does not know all options; `model-config-name` is none of its own;
* everything that configurations say but parameters: the schema in tritonclient 2.73.0.

`--allow-client-shm` of 26.04 is known from its release notes alone; nothing here sets it.
"""

from __future__ import annotations

# Options of tritonserver in all of them.
OPTIONS = frozenset(
    {
        "backend-config",
        "backend-directory",
        "disable-auto-complete-config",
        "exit-on-error",
        "exit-timeout-secs",
        "grpc-address",
        "grpc-port",
        "grpc-restricted-protocol",
        "grpc-root-cert",
        "grpc-server-cert",
        "grpc-server-key",
        "grpc-use-ssl",
        "grpc-use-ssl-mutual",
        "http-address",
        "http-port",
        "http-restricted-api",
        "log-verbose",
        "metrics-address",
        "metrics-config",
        "metrics-port",
        "model-config-name",
        "model-control-mode",
        "model-load-thread-count",
        "model-repository",
        "trace-config",
    }
)

# Those that Model Analyzer has no use for.
NOT_ANALYZED = frozenset({"model-config-name"})

# What --backend-config sets, by backend.
BACKEND_SETTINGS = {
    "onnxruntime": {"enable-global-threadpool", "intra_op_thread_count", "inter_op_thread_count"},
    "python": {"shm-region-prefix-name"},
}

# Metrics that need a GPU, and those that every server has.
GPU_METRICS = frozenset({"nv_gpu_memory_used_bytes", "nv_gpu_utilization"})
METRICS = frozenset(
    {
        "nv_cpu_memory_used_bytes",
        "nv_cpu_utilization",
        "nv_inference_compute_infer_duration_us",
        "nv_inference_count",
        "nv_inference_exec_count",
        "nv_inference_pending_request_count",
        "nv_inference_queue_duration_us",
        "nv_inference_request_duration_us",
        "nv_inference_request_failure",
        "nv_inference_request_success",
        "nv_inference_request_summary_us",
    }
)

# Parameters of models that the native ONNX Runtime backend reads, and those of its accelerator.
ONNXRUNTIME_PARAMETERS = frozenset(
    {
        "arena_extend_strategy",
        "cudnn_conv_algo_search",
        "enable_mem_arena",
        "enable_mem_pattern",
        "execution_mode",
        "gpu_mem_limit",
        "inter_op_thread_count",
        "intra_op_thread_count",
    }
)
TENSORRT_PARAMETERS = frozenset(
    {
        "max_workspace_size_bytes",
        "precision_mode",
        "trt_engine_cache_enable",
        "trt_engine_cache_path",
        "trt_profile_max_shapes",
        "trt_profile_min_shapes",
        "trt_profile_opt_shapes",
        "trt_timing_cache_enable",
        "trt_timing_cache_path",
    }
)
