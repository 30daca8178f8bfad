"""The page as a widget."""

import json
import re
import time

import pytest

import t2fast as t2

pytest.importorskip("anywidget", reason="needs the extra 'notebook'")
pytest.importorskip("plotly", reason="needs the extra 'notebook'")


def answers(widget, *messages):
    """What a widget sends to its page for these messages of it."""
    sent = []
    widget.send = sent.append
    for message in messages:
        widget._handle_custom_msg(message, [])
    for _ in range(600):
        if len(sent) == len(messages):
            break
        time.sleep(0.05)
    return sent


def test_the_page_begins_with_the_question():
    widget = t2.explore("lab-tiny", train_flops=3e11, inference_flops=2e6)
    held = json.loads(re.search(r'<script id="relayed" type="application/json">(.*?)</script>', widget.page)[1])
    assert held == {"law": "lab-tiny", "train-flops": "3e+11", "inference-flops": "2e+06"}


def test_the_notebook_answers_the_page():
    widget = t2.explore("lab-tiny")
    asked = [["law", "lab-tiny"], ["train-flops", "3e11"], ["inference-flops", "2e6"]]
    good, bad = answers(
        widget,
        {"id": 0.5, "path": "plan", "asked": asked},
        {"id": 0.25, "path": "plan", "asked": [["law", "lab-tiny"], ["train-flops", "-1"]]},
    )
    assert good["id"] == 0.5
    best = t2.plan("lab-tiny", t2.Budget(train_flops=3e11, inference_flops=2e6))
    assert json.loads(json.dumps(good["told"]))["plan"]["n_params"] == best.n_params
    assert "train_flops = -1" in bad["told"]["error"]


def test_an_option_that_is_none_is_refused():
    with pytest.raises(t2.T2Error, match="train-flop"):
        t2.explore("lab-tiny", train_flop=1e20)
