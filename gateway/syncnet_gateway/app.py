"""The gateway as an ASGI application."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict
from pathlib import Path

from fastapi import FastAPI
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import FileResponse, JSONResponse, Response
from fastapi.staticfiles import StaticFiles
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.datastructures import MutableHeaders
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from syncnet_gateway import problems
from syncnet_gateway.access import Gate
from syncnet_gateway.api import make_router
from syncnet_gateway.documentation import DESCRIPTION
from syncnet_gateway.folder import private_folder
from syncnet_gateway.jobs import Jobs
from syncnet_gateway.metrics import Metrics
from syncnet_gateway.options import describe
from syncnet_gateway.settings import Settings
from syncnet_gateway.triton import Readiness
from syncnet_programs.installs import package_version

__all__ = ["create_app"]

_STATIC = Path(__file__).parent / "static"
_CHECKOUT = Path(__file__).parents[2]
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' blob: data:; media-src 'self' blob:; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)


def create_app(settings: Settings) -> FastAPI:
    """Make the application; its ``state.jobs`` are the jobs.

    Args:
        settings: how it works.
    """
    metrics = Metrics()
    jobs = Jobs(settings.limits, metrics)
    readiness = Readiness(settings)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        with private_folder(settings.work_folder) as jobs.folder:
            yield
            await jobs.stop()

    app = FastAPI(
        docs_url=None,  # FastAPI's own page takes Swagger UI from a network of others
        redoc_url=None,
        title="SyncNet gateway",
        description=DESCRIPTION,
        version=package_version(),
        license_info={"name": "MIT"},
        lifespan=lifespan,
    )
    app.state.jobs = jobs
    problems.install(app)
    app.add_middleware(_SecurityHeaders)
    if settings.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.cors_origins,
            allow_methods=["GET", "POST", "DELETE"],
            allow_headers=["Authorization", "Prefer"],
            expose_headers=["Location", "Retry-After"],
        )
    app.include_router(make_router(settings, jobs, readiness, metrics, Gate(settings)))
    _add_operation(app, jobs, readiness, metrics)
    _add_docs(app)
    _add_page(app, settings)
    return app


def _add_operation(app: FastAPI, jobs: Jobs, readiness: Readiness, metrics: Metrics) -> None:
    @app.get("/healthz", tags=["operation"], summary="Whether the gateway is alive")
    async def healthz() -> dict[str, str]:
        return {"status": "alive"}

    @app.get("/readyz", tags=["operation"], summary="Whether the gateway and Triton are ready")
    async def readyz() -> dict[str, str]:
        if jobs.stopping:
            raise problems.ProblemError("stopping", "the gateway is stopping")
        await readiness.require()
        return {"status": "ready"}

    @app.get("/metrics", tags=["operation"], summary="Metrics for Prometheus")
    def get_metrics() -> Response:
        return Response(generate_latest(metrics.registry), media_type=CONTENT_TYPE_LATEST)


def _add_docs(app: FastAPI) -> None:
    """Swagger UI, of files that fastapi_offline brings along."""
    page = get_swagger_ui_html(
        openapi_url="/openapi.json",
        title=app.title,
        swagger_js_url="/docs/swagger-ui-bundle.js",
        swagger_css_url="/docs/swagger-ui.css",
        swagger_favicon_url="/favicon.svg",
    )
    script = bytes(page.body).partition(b"<script>")[2].partition(b"</script>")[0]
    digest = base64.b64encode(hashlib.sha256(script).digest()).decode()
    page.headers["Content-Security-Policy"] = _POLICY.replace(
        "script-src 'self'", f"script-src 'self' 'sha256-{digest}'"
    )

    @app.get("/docs", include_in_schema=False)
    async def docs() -> Response:
        return page

    app.mount("/docs", StaticFiles(packages=[("fastapi_offline", "static")]))


def _add_page(app: FastAPI, settings: Settings) -> None:
    @app.get("/v1/about", tags=["operation"], summary="Limits, options and version")
    async def about() -> Response:
        limits = asdict(settings.limits)
        told = ("max_bytes", "max_duration_s", "max_pixels", "jobs", "waiting", "keep_s")
        return JSONResponse(
            {
                "version": app.version,
                "token_needed": settings.token is not None,
                "limits": {name: limits[name] for name in told},
                "options": describe(),
            }
        )

    @app.get("/sample.mp4", include_in_schema=False)
    async def sample() -> Response:
        return FileResponse(_sample())

    app.mount("/", StaticFiles(directory=_STATIC, html=True))


def _sample() -> Path:
    """The sample clip: an installed package brings it along."""
    installed = _STATIC / "sample.mp4"
    return installed if installed.is_file() else _CHECKOUT / "samples" / "talking-head.mp4"


class _SecurityHeaders:
    """Lets pages load what the gateway itself serves and nothing else."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.setdefault("Content-Security-Policy", _POLICY)
                headers["X-Content-Type-Options"] = "nosniff"
                headers["Referrer-Policy"] = "no-referrer"
                headers["Cross-Origin-Resource-Policy"] = "same-origin"
                headers.setdefault("Cache-Control", "no-cache")
            await send(message)

        await self._app(scope, receive, send_with_headers)
