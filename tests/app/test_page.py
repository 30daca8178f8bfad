"""A plan as one file."""

import json
import re

import pytest

import t2fast as t2
from t2fast.app.page import static, write_page
from t2fast.app.question import Question

pytest.importorskip("plotly", reason="needs the extra 'app'")

ASKED = {"law": "lab-tiny", "train-flops": "3e11", "inference-flops": "2e6"}


def test_the_file_holds_everything(tmp_path):
    path = tmp_path / "plan.html"
    write_page(Question(ASKED), path)
    text = path.read_text(encoding="utf-8")
    held = json.loads(re.search(r'<script id="held" type="application/json">(.*?)</script>', text)[1])
    assert held["question"] == ASKED
    assert (
        held["answer"]["plan"]["n_params"]
        == t2.plan("lab-tiny", t2.Budget(train_flops=3e11, inference_flops=2e6)).n_params
    )
    assert len(held["answer"]["curve"]) > 40
    for part in ("page.css", "page.js"):
        assert static(part) in text
    # Nothing is fetched: no tag names another file or host.
    assert not re.search(r'<(script|link|img|iframe)[^>]+(src|href)="(?!data:)', text)


def test_text_from_files_cannot_end_the_script(tmp_path):
    law = json.loads(json.dumps(t2.load_law("hoffmann").to_dict()))
    law["name"] = "</script><script>alert(1)</script>"
    (tmp_path / "law.json").write_text(json.dumps(law))
    write_page(Question({"law": str(tmp_path / "law.json"), "train-flops": "1e21"}), tmp_path / "plan.html")
    assert "</script><script>alert" not in (tmp_path / "plan.html").read_text(encoding="utf-8")


def test_a_file_that_exists_survives_a_failure(tmp_path):
    path = tmp_path / "plan.html"
    path.write_text("mine")
    with pytest.raises(t2.T2Error):
        write_page(Question({"law": "lab-tiny", "train-flops": "-1"}), path)
    assert path.read_text() == "mine"


def test_the_command_writes_it(tmp_path, monkeypatch, capsys):
    from t2fast.cli import main

    words = [f"--{name}={value}" for name, value in ASKED.items()]
    monkeypatch.setattr("sys.argv", ["t2fast", "plan", *words, "--html", str(tmp_path / "plan.html")])
    with pytest.raises(SystemExit) as ended:
        main()
    assert not ended.value.code
    assert "recommended" in capsys.readouterr().out
    assert '"lab-tiny"' in (tmp_path / "plan.html").read_text(encoding="utf-8")
