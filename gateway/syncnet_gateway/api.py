"""The addresses under ``/v1``."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import FileResponse, JSONResponse, Response
from pydantic import Field
from starlette.background import BackgroundTask
from starlette.requests import ClientDisconnect

from syncnet_gateway import documentation as docs
from syncnet_gateway.events import event_stream
from syncnet_gateway.jobs import Job, Jobs, State
from syncnet_gateway.metrics import Metrics
from syncnet_gateway.options import Query as ScoreQuery
from syncnet_gateway.options import make_query
from syncnet_gateway.problems import ProblemError
from syncnet_gateway.process import run
from syncnet_gateway.settings import Settings
from syncnet_gateway.triton import Readiness
from syncnet_gateway.uploads import Upload, drain, receive
from syncnet_gateway.worker import Task

__all__ = ["make_router"]

PARTS = {"score": ("clip", "audio"), "align": ("clip",)}
_ATTEMPTS = 3
REPAIRABLE = (".mp4", ".m4v", ".mov", ".mkv", ".webm")

_Stream = Annotated[bool, Field(description="Answer with server-sent events; see the examples.")]
_Force = Annotated[bool, Field(description="Repair although a measurement speaks against it.")]
_ScoreQuery: Any = make_query("ScoreQuery", stream=(_Stream, False))
_AlignQuery: Any = make_query("AlignQuery", stream=(_Stream, False), force=(_Force, False))


def make_router(
    settings: Settings, jobs: Jobs, readiness: Readiness, metrics: Metrics, allow: Any
) -> APIRouter:
    """The routes of the jobs.

    Args:
        settings: of the gateway.
        jobs: where they go.
        readiness: of Triton.
        metrics: where uploads are counted.
        allow: dependency that lets a request pass or raises a ``ProblemError``.
    """
    router = APIRouter(prefix="/v1", dependencies=[Depends(allow)])

    async def upload(request: Request, kind: str) -> tuple[Job, dict[str, Upload]]:
        try:
            job = jobs.admit(kind)
        except ProblemError:
            await drain(request)
            raise
        try:
            received = await receive(request, job.folder, settings.limits, PARTS[kind])
        except ProblemError as problem:
            jobs.abandon(job, problem)
            await drain(request)
            raise
        except ClientDisconnect as error:
            broken = ProblemError("bad-upload", "the upload was broken off")
            jobs.abandon(job, broken)
            raise broken from error
        except BaseException:
            jobs.abandon(job, ProblemError("internal", "the upload could not be stored"))
            raise
        metrics.received.inc(sum(each.path.stat().st_size for each in received.values()))
        return job, received

    def start(
        job: Job, files: dict[str, Upload], query: ScoreQuery, *, force: bool = False
    ) -> None:
        task = Task(
            kind=job.kind,
            folder=job.folder,
            clip=files["clip"].name,
            audio=files["audio"].name if "audio" in files else None,
            output=None if job.output is None else job.output.name,
            options=query.keywords(),
            force=force,
            url=settings.url,
            grpc=settings.grpc,
            max_duration_s=settings.limits.max_duration_s,
            max_pixels=settings.limits.max_pixels,
            memory_bytes=settings.limits.memory_bytes,
        )

        async def work() -> None:
            for attempt in range(_ATTEMPTS):
                await readiness.wait()
                try:
                    await run(task, timeout_s=settings.limits.job_timeout_s, tell=job.tell)
                except ProblemError as problem:
                    # Triton may have died between this question and the worker's own.
                    if problem.name != "server-unavailable" or attempt + 1 == _ATTEMPTS:
                        raise
                else:
                    return

        jobs.start(job, work)

    def answer_early(request: Request, job: Job, *, stream: bool) -> Response | None:
        """The answer to a caller who does not wait for the outcome in silence."""
        if "respond-async" in request.headers.get("prefer", ""):
            return JSONResponse(_describe(job, jobs), 202, headers=_links(job))
        if stream or "text/event-stream" in request.headers.get("accept", ""):
            return event_stream(job, lambda each: _describe(each, jobs), owned=True)
        return None

    def send_file(job: Job) -> Response:
        """The file of a job that is done; it is sent once, and then removed."""
        _result(job)
        file, job.output = job.output, None
        if file is None:
            raise ProblemError("not-found", "the job has no file, or the file was sent before")
        return FileResponse(
            file,
            filename=file.name,
            headers=_links(job),
            background=BackgroundTask(jobs.release, job),
        )

    @router.post("/score", **docs.SCORE)
    async def score(request: Request, query: Annotated[_ScoreQuery, Query()]) -> Response:
        """Measure how far the audio of a clip is ahead of or behind its video.

        The answer is the object that `syncnet-client score --json` prints. With `stream=true`, or
        `Accept: text/event-stream`, events tell how the job goes, and the last one has the
        result. With `Prefer: respond-async`, the answer comes once the upload is complete, and
        the job is at its `Location`.

        A job ends when its caller goes away, unless the caller asked for it with
        `Prefer: respond-async`.
        """
        job, files = await upload(request, "score")
        start(job, files, query)
        if (early := answer_early(request, job, stream=query.stream)) is not None:
            return early
        await _wait(request, job)
        return JSONResponse(_result(job), headers=_links(job))

    @router.post("/align", **docs.ALIGN)
    async def align(request: Request, query: Annotated[_AlignQuery, Query()]) -> Response:
        """Put a clip in sync, and give it back.

        Its audio is moved by time stamps alone; no packet is decoded or changed. As with
        `syncnet-client align`, the clip is measured before and after, and there is no file
        when the offset is not trusted, or when the copy is not in sync. Both results are
        at the `Location` of the answer.

        With `stream=true` or `Prefer: respond-async`, as for a score, the file is at
        `/v1/jobs/{id}/file` once the job is done.
        """
        job, files = await upload(request, "align")
        clip = files["clip"]
        job.output = job.folder / f"{Path(clip.name).stem}.in-sync{_suffix(clip.name)}"
        start(job, files, query, force=query.force)
        if (early := answer_early(request, job, stream=query.stream)) is not None:
            return early
        await _wait(request, job)
        return send_file(job)

    @router.get("/jobs/{identity}", **docs.JOB)
    async def get_job(identity: str, request: Request) -> Response:
        """Tell where a job is: its state, its progress, and in the end its result or problem.

        With `Accept: text/event-stream`, the events of the job from now on.
        """
        job = jobs.get(identity)
        if "text/event-stream" in request.headers.get("accept", ""):
            return event_stream(job, lambda each: _describe(each, jobs), owned=False)
        described = _describe(job, jobs)
        if job.problem is not None:
            described["problem"] = job.problem.to_dict()
        if job.result is not None:
            described["result"] = job.result
        return JSONResponse(described, headers={"Cache-Control": "no-store"})

    @router.get("/jobs/{identity}/faces", **docs.FACES)
    async def get_faces(identity: str) -> Response:
        """Give the box of each face in every frame, once the job is done."""
        job = jobs.get(identity)
        _result(job)
        return JSONResponse(job.faces or [])

    @router.get("/jobs/{identity}/file", **docs.FILE)
    async def get_file(identity: str) -> Response:
        """Send the repaired clip of a job that is done, once."""
        return send_file(jobs.get(identity))

    @router.delete("/jobs/{identity}", status_code=204, **docs.CANCEL)
    async def cancel_job(identity: str) -> Response:
        """Cancel a job, and forget it. Its caller is told that it was cancelled."""
        await jobs.discard(jobs.get(identity))
        return Response(status_code=204)

    return router


def _links(job: Job) -> dict[str, str]:
    return {"Location": job.location}


def _describe(job: Job, jobs: Jobs) -> dict[str, Any]:
    return {
        "id": job.id,
        "kind": job.kind,
        "state": job.state.value,
        "ahead": jobs.ahead(job),
        "progress": job.progress,
    }


def _result(job: Job) -> Mapping[str, Any]:
    if job.problem is not None:
        raise job.problem
    if job.state is not State.DONE or job.result is None:
        raise ProblemError("not-finished", f"the job is {job.state.value}")
    return job.result


async def _wait(request: Request, job: Job) -> None:
    """Wait for the outcome; cancel the job if the caller goes away before."""
    finished = asyncio.ensure_future(job.finished())
    gone = asyncio.ensure_future(_gone(request.receive))
    try:
        await asyncio.wait([finished, gone], return_when=asyncio.FIRST_COMPLETED)
    finally:
        finished.cancel()
        gone.cancel()
        job.cancel()


async def _gone(receive: Callable[[], Any]) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _suffix(name: str) -> str:
    """The same container where it can hold the shift, else the one that holds almost anything."""
    suffix = Path(name).suffix.lower()
    return suffix if suffix in REPAIRABLE else ".mkv"
