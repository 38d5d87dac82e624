"""A job as server-sent events."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

from fastapi.sse import KEEPALIVE_COMMENT, EventSourceResponse, format_sse_event

from syncnet_gateway.jobs import Job, State

__all__ = ["KEEP_ALIVE_S", "event_stream"]

KEEP_ALIVE_S = 15.0  # proxies close connections that rest


def event_stream(
    job: Job, describe: Callable[[Job], dict[str, Any]], *, owned: bool
) -> EventSourceResponse:
    """Tell how a job goes: events ``job`` and, in the end, ``result`` or ``problem``.

    Args:
        job: what to tell about.
        describe: what is told, without result and problem.
        owned: the job belongs to the listener and ends when the listener goes away.
    """

    async def events() -> AsyncIterator[bytes]:
        try:
            changes = job.changes()
            change = asyncio.ensure_future(anext(changes))
            while True:
                await asyncio.wait([change], timeout=KEEP_ALIVE_S)
                if not change.done():
                    yield KEEPALIVE_COMMENT
                    continue
                state = change.result()
                yield _event("job", describe(job))
                if state.final:
                    break
                change = asyncio.ensure_future(anext(changes))
            if job.state is State.DONE:
                yield _event("result", job.result)
            elif job.problem is not None:
                yield _event("problem", job.problem.to_dict())
        finally:
            if owned:
                job.cancel()

    headers = {
        "Cache-Control": "no-store",
        "Location": job.location,
        "X-Accel-Buffering": "no",  # nginx would hold events back
    }
    return EventSourceResponse(events(), headers=headers)


def _event(name: str, content: Any) -> bytes:
    return format_sse_event(event=name, data_str=json.dumps(content, allow_nan=False))
