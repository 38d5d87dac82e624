"""Everything that this package raises on purpose.

    SyncNetError
    ├── UsageError              an option or argument has an impossible value
    ├── MediaError              the clip cannot be read: missing, not media, broken
    │   ├── NoVideoError        it has no video stream
    │   ├── NoAudioError        it has no audio stream
    │   ├── NoFaceError         no face was found in it
    │   ├── ClipTooShortError   fewer than 6 frames of it have both picture and sound
    │   ├── OutOfMemoryError    it needs more memory than there is
    │   └── ClipCrashedError    the process that scored it died of it
    ├── DownloadError           a file cannot be fetched
    ├── UntrustedError          what was measured is not good enough to act upon
    └── ServerError             the fault is on the way to the server or in it
        ├── ServerUnavailableError   no answer: not started, not reachable, or gone for too long
        ├── ModelNotReadyError       the server is there, but a model of SyncNet is not loaded
        └── InferenceError           the server refused a request or failed at it

The message of each is one line that names what failed and, where there is one, the remedy; the
command line prints it as it is. Errors of PyAV, OpenCV and tritonclient are their ``__cause__``.
"""

__all__ = [
    "ClipCrashedError",
    "ClipTooShortError",
    "DownloadError",
    "InferenceError",
    "MediaError",
    "ModelNotReadyError",
    "NoAudioError",
    "NoFaceError",
    "NoVideoError",
    "OutOfMemoryError",
    "ServerError",
    "ServerUnavailableError",
    "SyncNetError",
    "UntrustedError",
    "UsageError",
]


class SyncNetError(Exception):
    """Base of all errors of this package."""


class UsageError(SyncNetError, ValueError):
    """An option or argument has a value that cannot be meant."""


class MediaError(SyncNetError):
    """The clip cannot be read."""


class NoVideoError(MediaError):
    """The clip has no video stream."""


class NoAudioError(MediaError):
    """The clip has no audio stream."""


class NoFaceError(MediaError):
    """No face was found in the clip."""


class ClipTooShortError(MediaError):
    """Fewer than 6 frames of the clip have both picture and sound."""


class DownloadError(SyncNetError):
    """A file cannot be fetched."""


class OutOfMemoryError(MediaError):
    """The clip needs more memory than there is, or than it may have."""


class ClipCrashedError(MediaError):
    """The process that scored the clip died of it."""


class UntrustedError(SyncNetError):
    """The offset is not trusted, so nothing was done with it."""


class ServerError(SyncNetError):
    """The server could not be reached or could not answer."""


class ServerUnavailableError(ServerError):
    """There was no answer, also after all attempts."""


class ModelNotReadyError(ServerError):
    """The server is up, but a model that SyncNet needs is not loaded."""


class InferenceError(ServerError):
    """The server refused a request or failed at it; the message is Triton's own sentence."""
