"""The page itself: its parts as files for the server, or all in one file with an answer inside."""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path
from typing import Any

from t2fast.app.answers import curve_answer, plan_answer
from t2fast.app.question import Question
from t2fast.errors import MissingExtraError
from t2fast.files import replacing

__all__ = ["plotly_js", "static", "whole_page", "write_page"]


def static(name: str) -> str:
    """One of the page's own files."""
    return resources.files("t2fast.app").joinpath("static", name).read_text(encoding="utf-8")


def plotly_js() -> str:
    """The figures' library, as the package plotly brings it along.

    Raises
    ------
    MissingExtraError
        Without plotly.
    """
    try:
        return resources.files("plotly").joinpath("package_data", "plotly.min.js").read_text(encoding="utf-8")
    except ModuleNotFoundError:
        raise MissingExtraError("the page needs plotly: pip install 't2fast[app]'") from None


def write_page(question: Question, path: Path, name: str = "path") -> None:
    """Write a plan as one HTML file that needs no server and no network.

    Parameters
    ----------
    question
        The plan.
    path
        The file to write; one that exists is replaced when the new one is whole.
    name
        What messages call the path.

    Raises
    ------
    T2Error
        As ``plan`` does, and for a path that cannot be written.
    MissingExtraError
        Without plotly.

    Examples
    --------
    >>> write_page(Question({"law": "hoffmann", "train-flops": "1e21"}), Path("plan.html"))
    """
    answer = plan_answer(question) | curve_answer(question)
    text = whole_page("held", {"question": dict(question.given), "answer": answer})
    with replacing(path, name) as beside:
        beside.write_text(text, encoding="utf-8")


def whole_page(name: str, data: Any) -> str:
    """The page with all of its parts inside, and data in an element of a name."""
    held = json.dumps(data).replace("<", "\\u003c")
    given = f'<script id="{name}" type="application/json">{held}</script>\n'
    parts = {
        '<link rel="stylesheet" href="page.css">': f"<style>\n{static('page.css')}</style>",
        '<script src="plotly.js"></script>': f"<script>{plotly_js()}</script>",
        '<script src="page.js"></script>': f"{given}<script>\n{static('page.js')}</script>",
    }
    text, rest = "", static("page.html")
    # Each part is put in once, and a part's own text is never searched for the next one's place.
    for place, part in parts.items():
        before, rest = rest.split(place)
        text += before + part
    return text + rest
