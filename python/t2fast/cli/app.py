"""``t2fast app``: the planner's page in the browser."""

from __future__ import annotations

from typing import Annotated

import typer

__all__ = ["register"]


def _app(
    port: Annotated[int, typer.Option("--port", help="Port to listen on; 0 for any that is free.")] = 8642,
    host: Annotated[str, typer.Option("--host", help="Address to listen on; there is no password.")] = "127.0.0.1",
    browser: Annotated[bool, typer.Option(help="Open the page in the browser.")] = True,
) -> None:
    """Plan in the browser: move budgets and see the plan move.

    The page is served on this machine and asks no other. Its address holds the
    whole question; it copies the same question as a command or as Python.
    """
    from t2fast.app.server import serve

    serve(host, port, browser)


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("app")(_app)
