"""Triton model `mfcc`: AUDIO int16 [1 + 640 * (A - 1) + 3440] -> MFCC fp32 [A, 13, 20]."""

import triton_python_backend_utils as pb_utils
from mfcc import mfcc_windows


class TritonPythonModel:
    """Answers every request by itself, so that a bad one does not take its batch-mates along."""

    def execute(self, requests):
        return [self._answer(request) for request in requests]

    def _answer(self, request):
        audio = pb_utils.get_input_tensor_by_name(request, "AUDIO").as_numpy()
        try:
            windows = mfcc_windows(audio)
        except ValueError as error:
            return pb_utils.InferenceResponse(
                error=pb_utils.TritonError(str(error), pb_utils.TritonError.INVALID_ARG)
            )
        except MemoryError:
            return pb_utils.InferenceResponse(
                error=pb_utils.TritonError("mfcc: out of memory", pb_utils.TritonError.UNAVAILABLE)
            )
        return pb_utils.InferenceResponse([pb_utils.Tensor("MFCC", windows)])
