"""What the OpenAPI description says about the addresses, with examples."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from syncnet_gateway.problems import KINDS, MEDIA_TYPE

__all__ = ["ALIGN", "CANCEL", "DESCRIPTION", "FACES", "FILE", "JOB", "SCORE"]

DESCRIPTION = """Audio-visual sync of talking-head clips, measured with SyncNet on Triton.

    curl -F clip=@interview.mp4 localhost:8080/v1/score
    curl -F clip=@interview.mp4 'localhost:8080/v1/score?vshift=15&stream=true' --no-buffer
    curl -F clip=@interview.mp4 localhost:8080/v1/align --output in-sync.mp4

Errors are problem details (RFC 9457).
"""

_RESULT = {
    "clip": "interview.mp4",
    "offset_frames": -5,
    "offset_ms": -200,
    "offset_interval_ms": [-200.1, -184.7],
    "meaning": "the audio is 200 ms behind the video",
    "estimate_ms": -192.3,
    "agreement": 1.0,
    "confidence": 6.963,
    "min_distance": 13.14,
    "verdict": {"trusted": True, "reasons": []},
    "windows": 132,
    "vshift": 10,
    "model_versions": {"video_tower": "1", "audio_tower": "1"},
}
_JOB = {
    "id": "Pp3Yv0cJm1m8mS0bqzqf7A",
    "kind": "score",
    "state": "running",
    "ahead": 0,
    "progress": {"frames": 96, "windows": 0, "total_frames": 137, "step": 1, "steps": 1},
}
_EVENTS = """event: job
data: {"id": "Pp3Yv0cJm1m8mS0bqzqf7A", "kind": "score", "state": "waiting", "ahead": 2, "progress": null}

event: job
data: {"id": "Pp3Yv0cJm1m8mS0bqzqf7A", "kind": "score", "state": "running", "ahead": 0,
data:  "progress": {"frames": 96, "windows": 0, "total_frames": 137, "step": 1, "steps": 1}}

event: result
data: {"clip": "interview.mp4", "offset_frames": -5, ...}
"""  # noqa: E501 (events are lines)
_FACE = {
    "track": 0,
    "frame_times": [0.0, 0.04],
    "boxes": [[412.0, 96.5, 224.0, 224.0], [412.5, 96.5, 224.0, 224.0]],
    "detected": [True, True],
}


_PARTS = {
    "clip": "The clip: any container and codec that FFmpeg reads.",
    "audio": "Another file with the sound to score the clip against, in place of its own.",
}


def _upload(*parts: str) -> dict[str, Any]:
    schema = {
        "type": "object",
        "required": ["clip"],
        "properties": {
            part: {"type": "string", "format": "binary", "description": _PARTS[part]}
            for part in parts
        },
    }
    return {
        "requestBody": {"required": True, "content": {"multipart/form-data": {"schema": schema}}}
    }


def _problems(names: Iterable[str]) -> dict[int | str, dict[str, Any]]:
    """Responses for kinds of problems; those with the same status share one, with examples."""
    responses: dict[int | str, dict[str, Any]] = {}
    for name in names:
        kind = KINDS[name]
        example = {
            "type": f"/problems/{name}",
            "title": kind.title,
            "status": kind.status,
            "detail": "the sentence that syncnet-client prints",
        }
        response = responses.setdefault(
            kind.status, {"description": kind.title, "content": {MEDIA_TYPE: {"examples": {}}}}
        )
        response["content"][MEDIA_TYPE]["examples"][name] = {"value": example}
        if kind.title not in response["description"]:
            response["description"] += f"; {kind.title[0].lower()}{kind.title[1:]}"
    return responses


def _json(description: str, example: Any) -> dict[str, Any]:
    return {"description": description, "content": {"application/json": {"example": example}}}


_JOB_PROBLEMS = [
    name for name in KINDS if name not in ("not-found", "wrong-method", "not-finished")
]
_SCORED = _json("The result", _RESULT)
_SCORED["content"]["text/event-stream"] = {"example": _EVENTS}

_ASYNC = _json("With Prefer: respond-async: the job, which is at its Location", _JOB)

SCORE: dict[str, Any] = {
    "summary": "Measure a clip",
    "tags": ["clips"],
    "openapi_extra": _upload("clip", "audio"),
    "responses": {
        200: _SCORED,
        202: _ASYNC,
        **_problems(name for name in _JOB_PROBLEMS if name != "untrusted"),
    },
}
_REPAIRED = {
    "description": "The clip in sync",
    "content": {"video/*": {"schema": {"type": "string", "format": "binary"}}},
}
ALIGN: dict[str, Any] = {
    "summary": "Repair a clip",
    "tags": ["clips"],
    "openapi_extra": _upload("clip"),
    "responses": {200: _REPAIRED, 202: _ASYNC, **_problems(_JOB_PROBLEMS)},
}
FILE: dict[str, Any] = {
    "summary": "Fetch the repaired clip",
    "tags": ["jobs"],
    "responses": {200: _REPAIRED, **_problems(["no-token", "not-found", "not-finished"])},
}
JOB: dict[str, Any] = {
    "summary": "Ask for a job",
    "tags": ["jobs"],
    "responses": {200: _json("The job", _JOB), **_problems(["no-token", "not-found"])},
}
FACES: dict[str, Any] = {
    "summary": "Ask where the faces are",
    "tags": ["jobs"],
    "responses": {
        200: _json("A list of faces; times in seconds, boxes x, y, width, height", [_FACE]),
        **_problems(["no-token", "not-found", "not-finished"]),
    },
}
CANCEL: dict[str, Any] = {
    "summary": "Cancel a job",
    "tags": ["jobs"],
    "responses": _problems(["no-token", "not-found"]),
}
