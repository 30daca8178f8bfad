"""The planner's page, served on loopback."""

from __future__ import annotations

import contextlib
import socket
import tempfile
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

from t2fast.app.page import plotly_js, static
from t2fast.app.views import VIEWS, told
from t2fast.errors import MissingExtraError, T2Error

__all__ = ["application", "serve"]

#: Largest file that the page hands over.
_LARGEST = 512 * 2**20
#: Names by which a browser on this machine asks. Others would be pages elsewhere that point a name of theirs here.
_LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
_SAFE = {
    "Content-Security-Policy": "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
    "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


def application(host: str = "127.0.0.1") -> Any:
    """The page as an ASGI application.

    Parameters
    ----------
    host
        The name or address that browsers use, besides loopback; ``"0.0.0.0"`` for any.

    Raises
    ------
    MissingExtraError
        Without starlette or plotly.
    """
    try:
        from starlette.applications import Starlette
        from starlette.concurrency import run_in_threadpool
        from starlette.middleware import Middleware
        from starlette.middleware.trustedhost import TrustedHostMiddleware
        from starlette.requests import Request
        from starlette.responses import JSONResponse, Response
        from starlette.routing import Route
    except ModuleNotFoundError:
        raise MissingExtraError("the page needs starlette and uvicorn: pip install 't2fast[app]'") from None

    plotly = plotly_js()

    def part(name: str, kind: str) -> Callable[[Request], Response]:
        text = static(name) if name != "plotly.js" else plotly
        return lambda _request: Response(text, media_type=kind, headers=_SAFE)

    def answer(view: str) -> Callable[[Request], Any]:
        async def response(request: Request) -> Response:
            asked = {name: request.query_params.getlist(name) for name in request.query_params}
            said = await run_in_threadpool(told, view, asked)
            return JSONResponse(said, 400 if isinstance(said, dict) and "error" in said else 200, headers=_SAFE)

        return response

    async def keep(request: Request) -> Response:
        """Keep a file that the page hands over, until the server ends; say where it is."""
        name = Path(request.query_params.get("name", "file").replace("\\", "/")).name or "file"
        if request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
            return JSONResponse({"error": "files come from this page alone"}, 403, headers=_SAFE)
        path = Path(tempfile.mkdtemp(dir=request.app.state.folder)) / name
        size = 0
        with path.open("wb") as file:
            async for chunk in request.stream():
                size += len(chunk)
                if size > _LARGEST:
                    path.unlink()
                    said = f"{name}: larger than {_LARGEST >> 20} MiB: use the command line"
                    return JSONResponse({"error": said}, 413, headers=_SAFE)
                file.write(chunk)
        return JSONResponse({"file": str(path)}, headers=_SAFE)

    @contextlib.asynccontextmanager
    async def lifespan(application: Starlette) -> AsyncIterator[None]:
        with tempfile.TemporaryDirectory(prefix="t2fast-app-") as folder:
            application.state.folder = folder
            yield

    routes = [
        Route("/", part("page.html", "text/html")),
        Route("/page.js", part("page.js", "text/javascript")),
        Route("/page.css", part("page.css", "text/css")),
        Route("/plotly.js", part("plotly.js", "text/javascript")),
        Route("/api/files", keep, methods=["POST"]),
        *(Route(f"/api/{view}", answer(view)) for view in VIEWS),
    ]
    hosts = ["*"] if host in ("0.0.0.0", "::") else [*_LOOPBACK, host]
    return Starlette(
        routes=routes, lifespan=lifespan, middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=hosts)]
    )


def serve(host: str = "127.0.0.1", port: int = 8642, browser: bool = True) -> None:
    """Serve the page until Ctrl-C.

    Parameters
    ----------
    host, port
        Where to listen: loopback unless told otherwise. There is no password: whoever reaches the port may ask.
    browser
        Open the page in the browser.

    Raises
    ------
    T2Error
        When the port is taken.
    MissingExtraError
        Without starlette, uvicorn or plotly.
    """
    try:
        import uvicorn
    except ModuleNotFoundError:
        raise MissingExtraError("the page needs starlette and uvicorn: pip install 't2fast[app]'") from None
    config = uvicorn.Config(application(host), log_level="warning")
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = socket.create_server((host, port), family=family)
    except (OSError, OverflowError) as error:
        raise T2Error(f"port = {port}: cannot listen on {host}: {error}; give another with --port") from None
    address = f"http://{'127.0.0.1' if host in ('0.0.0.0', '::') else host}:{listener.getsockname()[1]}/"
    print(f"t2fast app: {address} (Ctrl-C ends it)", flush=True)
    if browser:
        import webbrowser

        webbrowser.open(address)
    with listener:
        uvicorn.Server(config).run(sockets=[listener])
