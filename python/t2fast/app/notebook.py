"""The planner's page in a notebook."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

from t2fast.app.page import whole_page
from t2fast.app.question import Question
from t2fast.app.views import told
from t2fast.errors import MissingExtraError
from t2fast.laws import DEFAULT_LAW

__all__ = ["explore"]

#: The frame that holds the page and hands its questions to Python; every answer goes back to the page that asked.
_FRAME = """
export default {
  render({ model, el }) {
    const frame = document.createElement("iframe");
    frame.style.cssText = "width: 100%; height: 60rem; border: 0";
    frame.title = "t2fast: plan N, D and k";
    frame.setAttribute("sandbox", "allow-scripts allow-downloads");
    frame.srcdoc = model.get("page");
    const asked = (event) => {
      if (event.source === frame.contentWindow) model.send(event.data);
    };
    const told = (message) => frame.contentWindow.postMessage(message, "*");
    addEventListener("message", asked);
    model.on("msg:custom", told);
    el.append(frame);
    return () => {
      removeEventListener("message", asked);
      model.off("msg:custom", told);
    };
  },
};
"""


def explore(law: str = DEFAULT_LAW, **options: str | float) -> Any:
    """Plan with sliders in a notebook: the page of ``t2fast app`` as a widget.

    Parameters
    ----------
    law
        A preset's name or a law's file.
    options
        Options of ``t2fast plan`` to begin with: ``train_flops=1e22``, ``select="verifier"``.

    Returns
    -------
    anywidget.AnyWidget
        A widget; notebooks show the last value of a cell.

    Raises
    ------
    T2Error
        For an option that ``t2fast plan`` does not have.
    MissingExtraError
        Without anywidget or plotly.

    Examples
    --------
    >>> widget = explore("lab-tiny", train_flops=3e11, inference_flops=2e6)
    """
    try:
        import anywidget
        import traitlets
    except ModuleNotFoundError:
        raise MissingExtraError("explore needs anywidget: pip install 't2fast[notebook]'") from None
    given = {
        name.replace("_", "-"): value if isinstance(value, str) else f"{value:g}" for name, value in options.items()
    }
    question = Question({"law": law} | given)
    made = type(
        "Explorer",
        (anywidget.AnyWidget,),
        {"_esm": _FRAME, "page": traitlets.Unicode(whole_page("relayed", dict(question.given))).tag(sync=True)},
    )()
    # One answer at a time, beside the notebook's own work.
    worker = ThreadPoolExecutor(1)

    def answer(widget: Any, message: dict[str, Any], _buffers: Any) -> None:
        asked: dict[str, list[str]] = {}
        for name, value in message["asked"]:
            asked.setdefault(name, []).append(value)
        view, number = message["path"], message["id"]
        if view in ("laws", "plan", "curve", "frontier", "compare"):  # the others read files
            worker.submit(lambda: widget.send({"id": number, "told": told(view, asked)}))

    made.on_msg(answer)
    return made
