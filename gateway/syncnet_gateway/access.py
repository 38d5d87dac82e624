"""Who may call the gateway."""

from __future__ import annotations

import hmac

from fastapi import Request

from syncnet_gateway.problems import ProblemError
from syncnet_gateway.settings import Settings

__all__ = ["Gate"]


class Gate:
    """Lets a request pass, or raises why not.

    Browsers send a page's upload without asking the gateway first, so what they say about the
    page's origin is checked here.
    """

    def __init__(self, settings: Settings) -> None:
        self._token = None if settings.token is None else settings.token.encode()
        self._origins = settings.cors_origins

    async def __call__(self, request: Request) -> None:
        """Check a request.

        Raises:
            ProblemError: it comes from a page of another origin, or lacks the token.
        """
        site = request.headers.get("sec-fetch-site", "none")
        origin = request.headers.get("origin")
        if site not in ("none", "same-origin") and origin not in self._origins:
            raise ProblemError("cross-site", f"the page at {origin} may not call this gateway")
        if self._token is None:
            return
        scheme, _, shown = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not hmac.compare_digest(shown.encode(), self._token):
            raise ProblemError(
                "no-token",
                "send the gateway's token, as in -H 'Authorization: Bearer TOKEN'",
                {"WWW-Authenticate": "Bearer"},
            )
