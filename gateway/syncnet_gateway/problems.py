"""Errors as RFC 9457 problem details, each with the sentence that the command line prints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, PlainTextResponse, Response
from starlette.exceptions import HTTPException

from syncnet_client.errors import (
    ClipTooShortError,
    MediaError,
    ModelNotReadyError,
    NoAudioError,
    NoFaceError,
    NoVideoError,
    OutOfMemoryError,
    ServerError,
    ServerUnavailableError,
    UntrustedError,
    UsageError,
)
from syncnet_gateway.worker import ClipTooLargeError

__all__ = ["KINDS", "MEDIA_TYPE", "Kind", "ProblemError", "install", "kind_of_error"]

MEDIA_TYPE = "application/problem+json"


@dataclass(frozen=True)
class Kind:
    """A kind of problem.

    Attributes:
        name: last part of the address that is its ``type``.
        status: of the HTTP answer.
        title: what it is, the same for all problems of the kind.
        errors: the client's errors that are of this kind.
        retry_after_s: when it is worth to try again, where it is.
    """

    name: str
    status: int
    title: str
    errors: tuple[type[Exception], ...] = ()
    retry_after_s: int | None = None


KINDS: Mapping[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind("bad-option", 400, "An option has an impossible value", (UsageError,)),
        Kind("bad-upload", 400, "The upload is not what was expected"),
        Kind("no-token", 401, "The token is missing or wrong"),
        Kind("cross-site", 403, "Pages of other origins may not call this gateway"),
        Kind("not-found", 404, "There is nothing here"),
        Kind("wrong-method", 405, "This address does not take the method"),
        Kind("upload-too-slow", 408, "The upload took too long"),
        Kind("cancelled", 409, "The job was cancelled"),
        Kind("not-finished", 409, "The job has no outcome yet"),
        Kind("too-large", 413, "The upload is too large"),
        Kind("clip-too-large", 413, "The clip is too long or its picture too large",
             (ClipTooLargeError,)),
        Kind("not-multipart", 415, "The upload is not multipart/form-data"),
        Kind("unreadable-clip", 422, "The clip cannot be read", (MediaError,)),
        Kind("no-video", 422, "The clip has no picture", (NoVideoError,)),
        Kind("no-audio", 422, "The clip has no sound", (NoAudioError,)),
        Kind("no-face", 422, "The clip shows no face", (NoFaceError,)),
        Kind("too-short", 422, "The clip is too short", (ClipTooShortError,)),
        Kind("untrusted", 422, "The offset cannot be trusted", (UntrustedError,)),
        Kind("out-of-memory", 422, "The clip needs too much memory", (OutOfMemoryError,)),
        Kind("crashed", 422, "The process that worked on the clip ended"),
        Kind("busy", 429, "All places are taken", retry_after_s=5),
        Kind("internal", 500, "The gateway failed", (Exception,)),
        Kind("inference", 502, "Triton refused a request or failed at it", (ServerError,)),
        Kind("server-unavailable", 503, "Triton does not answer or is not ready",
             (ServerUnavailableError, ModelNotReadyError), retry_after_s=5),
        Kind("stopping", 503, "The gateway is stopping", retry_after_s=5),
        Kind("job-too-slow", 504, "The job took too long"),
        Kind("disk-full", 507, "There is no room for the upload", retry_after_s=60),
    )
}  # fmt: skip
_BY_ERROR = {error.__name__: kind for kind in KINDS.values() for error in kind.errors}
_BY_STATUS = {404: "not-found", 405: "wrong-method"}


@dataclass
class ProblemError(Exception):
    """What went wrong with a request or a job.

    Attributes:
        name: of its kind, a key of ``KINDS``.
        detail: one sentence about this very occurrence.
        headers: more headers for the answer.
    """

    name: str
    detail: str
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def kind(self) -> Kind:
        """Its kind."""
        return KINDS[self.name]

    def to_dict(self) -> dict[str, Any]:
        """The members of RFC 9457."""
        return {
            "type": f"/problems/{self.name}",
            "title": self.kind.title,
            "status": self.kind.status,
            "detail": self.detail,
        }

    def response(self) -> Response:
        """The answer to the request that met the problem."""
        headers = dict(self.headers)
        if self.kind.retry_after_s is not None:
            headers.setdefault("Retry-After", str(self.kind.retry_after_s))
        return JSONResponse(
            self.to_dict(), self.kind.status, headers=headers, media_type=MEDIA_TYPE
        )


def kind_of_error(classes: Sequence[str]) -> str:
    """The name of the kind to which an error belongs.

    Args:
        classes: names of the error's class and of its bases, the class itself first; the error
            itself stays in the process that met it.
    """
    return next(_BY_ERROR[name].name for name in (*classes, "Exception") if name in _BY_ERROR)


def install(app: FastAPI) -> None:
    """Let ``app`` answer every error as a problem, and explain the kinds under ``/problems``."""

    @app.exception_handler(ProblemError)
    async def answer_problem(_request: Request, error: ProblemError) -> Response:
        return error.response()

    @app.exception_handler(RequestValidationError)
    async def answer_invalid(_request: Request, error: RequestValidationError) -> Response:
        return ProblemError("bad-option", _sentence(error.errors())).response()

    @app.exception_handler(HTTPException)
    async def answer_http(request: Request, error: HTTPException) -> Response:
        name = _BY_STATUS.get(error.status_code, "internal")
        detail = f"{request.method} {request.url.path}: {str(error.detail).lower()}"
        return ProblemError(name, detail, dict(error.headers or {})).response()

    @app.exception_handler(Exception)
    async def answer_bug(_request: Request, _error: Exception) -> Response:
        return ProblemError("internal", "an unexpected error; see the gateway's log").response()

    @app.get("/problems/{name}", include_in_schema=False)
    async def explain(name: str) -> Response:
        if name not in KINDS:
            raise ProblemError("not-found", f"there is no kind of problem named {name}")
        kind = KINDS[name]
        return PlainTextResponse(f"{kind.title}.\nHTTP status {kind.status}.\n")


def _sentence(errors: Sequence[Any]) -> str:
    """What is wrong with the options, in one line."""
    parts = []
    for error in errors:
        place = ".".join(str(part) for part in error["loc"][1:])
        text = str(error["msg"]).removeprefix("Value error, ")
        parts.append(text if text.startswith(place) else f"{place}: {text}")
    return "; ".join(parts)
