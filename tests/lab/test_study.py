"""A whole study, from text to page."""

import dataclasses
import json
import os
import re
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

from tests.support import laboratory, nano_lab

from t2fast.errors import DataError, T2Error
from t2fast.lab.advice_claims import differences
from t2fast.lab.study import _cores, judge_study, run_study
from t2fast.results import Progress


def test_the_number_of_cores_needs_no_affinity(monkeypatch):
    assert _cores() >= 1
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    assert _cores() == os.cpu_count()


def test_what_cannot_work_is_refused_before_anything_is_written(tmp_path):
    preset = nano_lab.preset()
    poor = dataclasses.replace(preset, duel=dataclasses.replace(preset.duel, inference_flops=1e3))
    (tmp_path / "poor.json").write_text(json.dumps(poor.to_dict()))
    with pytest.raises(T2Error, match="duel: inference_flops = 1000"):
        run_study(tmp_path / "poor.json", tmp_path / "lab", tmp_path / "page")
    assert [path.name for path in tmp_path.iterdir()] == ["poor.json"]


def test_a_stored_table_is_judged_anew(found, tmp_path):
    pytest.importorskip("matplotlib")
    (tmp_path / "lab").mkdir()
    laboratory.make().write(tmp_path / "lab" / "table.json")
    again = judge_study(tmp_path / "lab", tmp_path / "page")
    assert [one.holds for one in again.claims] == [one.holds for one in found.claims]
    assert (tmp_path / "page" / "index.html").is_file()
    with pytest.raises(DataError, match="no such file"):
        judge_study(tmp_path / "nowhere", tmp_path / "page")


@pytest.mark.slow
def test_the_page_of_the_second_study_says_what_is_found(tmp_path):
    """Every verdict, figure and interval of docs/lab-small.md follows from the table that comes with t2fast."""
    pytest.importorskip("matplotlib")
    found = judge_study("small", tmp_path / "page")
    text = (Path(__file__).parents[2] / "docs" / "lab-small.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\d+) \|(.*)\|$", text, re.MULTILINE)
    assert [int(number) for number, _ in rows] == list(range(1, len(found.claims) + 1))
    verdicts = {True: "**confirmed**", False: "**refuted**", None: "undecided"}
    for (_, row), one in zip(rows, found.claims, strict=True):
        _, value, interval, verdict = (cell.strip() for cell in row.split("|"))
        assert verdict.startswith(verdicts[one.holds]), row
        said = [float(number) for number in re.findall(r"[-+]?\d*\.\d+", f"{value} {interval}")]
        scale, digits = (100, 1) if "%" in value else (1, 3)
        assert said == [round(scale * number, digits) for number in (one.value, one.low, one.high)], row
    protocol = found.verdicts[0].regret.protocols["lobo"]
    for one in protocol.strategies:
        low, high = (f"{number:.3f}"[1:] for number in (one.low, one.high))
        row = next(row for row in text.splitlines() if re.match(rf"\| \**{one.strategy}\**(,[^|]*)? \|", row))
        assert f"{one.regret:.3f}"[1:] in row
        assert f"{low} to {high}" in row
    cells = [row.split("|")[2:-1] for row in text.splitlines() if re.match(r"\| (any|ver|maj)[^|]*(LOBO|forward)", row)]
    said = [re.findall(r"-?\.\d{3}", cell) for row in cells for cell in row]
    for numbers, one in zip(said, differences(found.verdicts[:4]), strict=True):
        for number, exact in zip(numbers, (one["value"], one["low"], one["high"]), strict=True):
            assert float(number) == pytest.approx(exact, abs=6e-4)
    told = text[text.index("### The families") :].splitlines()
    for place, family in enumerate(found.by_family, 2):
        for one in family.regret.protocols["lobo"].strategies:
            row = next(row for row in told if re.match(rf"\| \**{one.strategy}\** \|", row))
            low, high = (f"{number:.3f}"[1:] for number in (one.low, one.high))
            assert row.split("|")[place].strip() == f"{one.regret:.3f}"[1:] + f" [{low}, {high}]", row


@pytest.mark.slow
def test_a_study_from_text_to_page(tmp_path):
    """Twice from the same seed: the same table; and the page is whole."""
    preset = nano_lab.preset()
    path = tmp_path / "nano.json"
    path.write_text(json.dumps(preset.to_dict()))
    said = []
    found = run_study(path, tmp_path / "a", tmp_path / "page", workers=2, progress=said.append)
    run_study(path, tmp_path / "b", tmp_path / "again", workers=1)
    first, second = ((tmp_path / name / "table.json").read_bytes() for name in "ab")
    assert first == second
    assert len(found.lab.side("planned")) == len(found.lab.side("chinchilla", tuned=True)) == 2
    assert any("planned-0" in one.note for one in said)
    agreement = found.claims[-1]
    assert agreement.low < 1.1
    assert agreement.high > 0.9
    page = (tmp_path / "page" / "index.html").read_text()
    assert page.count("<img") == 6
    assert "http" not in page.replace("http://www.w3.org", "")
    resumed = run_study(path, tmp_path / "a", tmp_path / "page", workers=2)
    assert resumed.to_dict() == found.to_dict()


@pytest.mark.slow
@pytest.mark.timeout(2400)
def test_the_second_study_twice_and_after_interruptions(tmp_path):
    """From one seed the same table and answers, also when stopped in every stage and gone on with."""
    preset = nano_lab.graded()
    path = tmp_path / "nano.json"
    path.write_text(json.dumps(preset.to_dict()))
    found = run_study(path, tmp_path / "a", tmp_path / "page", workers=2)
    assert [one.rule for one in found.verdicts] == [
        "any right", "verifier, f = 5%", "majority", "any right, fine-tuned",
    ]  # fmt: skip
    assert len(found.lab.tuned) == len(found.lab.grid)
    assert found.claims[-1].low < 1.1
    assert found.claims[-1].high > 0.9
    assert "Does the advice win?" in (tmp_path / "page" / "index.html").read_text()
    for stage in ("rate-", "grid-", "-tuned", "chinchilla-"):

        def stop(now: Progress, stage: str = stage) -> None:
            if stage in now.note:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            run_study(path, tmp_path / "b", tmp_path / "again", workers=1, progress=stop)
    run_study(path, tmp_path / "b", tmp_path / "again", workers=1)
    for name in ("table.json", "answers.npz"):
        first, second = ((tmp_path / lab / name).read_bytes() for lab in "ab")
        assert first == second, name
