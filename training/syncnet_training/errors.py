"""The errors of this package.

TrainingError       anything that stops a command of `syncnet-train`; one line, says what to do
  DatasetError      a data set, or a clip of one, cannot be used
  CheckpointError   a checkpoint to resume or to start from cannot be used
  SynthesisError    speech for a synthetic clip cannot be made
"""

__all__ = ["CheckpointError", "DatasetError", "SynthesisError", "TrainingError"]


class TrainingError(Exception):
    """Training, evaluation or profiling cannot go on; the message is one line."""


class DatasetError(TrainingError):
    """A data set, or a clip of one, cannot be used."""


class CheckpointError(TrainingError):
    """A checkpoint to resume or to start from cannot be used."""


class SynthesisError(TrainingError):
    """Speech for a synthetic clip cannot be made: espeak-ng is missing or fails."""
