import numpy as np
import pytest

import t2fast as t2
from t2fast.laws import as_law


@pytest.mark.parametrize("name", sorted(t2.presets()))
def test_presets_travel_through_files(name, tmp_path):
    law = t2.load_law(name)
    path = tmp_path / "law.json"
    law.save(path)
    assert t2.load_law(path) == law
    assert t2.load_law(str(path)) == law
    assert law.source
    assert law.params_counted
    assert law.warnings or law.data_range is not None


@pytest.mark.parametrize(
    ("text", "words"), [("{", "line 1"), ("[]", "JSON object"), ("", "not JSON"), ("nul", "not JSON")]
)
def test_what_is_no_law_is_refused(text, words, tmp_path):
    path = tmp_path / "bad.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(t2.LawError, match=words):
        t2.load_law(path)
    path.write_bytes(b"\xff\xfe{}")
    with pytest.raises(t2.LawError, match="cannot be read"):
        t2.load_law(path)


def test_unknown_presets_offer_near_names():
    with pytest.raises(t2.LawError, match="did you mean pythia-gsm8k"):
        t2.load_law("pythia-gsm8")
    with pytest.raises(t2.LawError, match=r"known: .*hoffmann"):
        t2.load_law("zzz")
    with pytest.raises(t2.LawError, match="no such file"):
        t2.load_law("absent.json")


def test_presets_belong_to_their_caller():
    names = set(t2.presets())
    mine = t2.presets()
    mine.clear()
    assert set(t2.presets()) == names
    with pytest.raises(TypeError):
        t2.presets()["pythia-gsm8k"].uncertainty["draws"] = {}


def test_a_law_is_given_as_object_name_or_path(tmp_path):
    law = t2.load_law("hoffmann")
    law.save(tmp_path / "law.json")
    for given in (law, "hoffmann", tmp_path / "law.json", str(tmp_path / "law.json")):
        assert as_law(given) == law


@pytest.mark.parametrize("given", [None, 3, ["hoffmann"], {"kind": "chinchilla"}])
def test_what_names_no_law_is_refused(given):
    with pytest.raises(t2.LawError, match=r"law = .*must be a law, the name of a preset or the path"):
        as_law(given)


def test_a_preset_bears_the_name_of_its_file():
    for name, law in t2.presets().items():
        assert t2.load_law(name) is law
        assert law.name == name


TASKS = [name for name in t2.presets() if name.startswith("olmo-") and not name.endswith("-accuracy")]


@pytest.mark.parametrize("name", TASKS)
def test_task_laws_say_how_they_did_held_out(name):
    law = t2.presets()[name]
    assert law.kind == "chinchilla"
    assert "Held out: off by" in law.source
    assert "7B" in law.held_out
    low, high = np.quantile(law.predictive(6.9e9, 3.9e12), [0.05, 0.95])
    assert low < law.value(6.9e9, 3.9e12) < high


@pytest.mark.parametrize("name", TASKS)
def test_every_task_has_a_second_step(name):
    first, second = t2.load_law(name), t2.load_law(f"{name}-accuracy")
    assert second.kind == "accuracy"
    at = np.array([2e8, 3e9, 1.3e10]), np.array([2e9, 6e11, 5e12])
    np.testing.assert_allclose(second.loss.value(*at), first.value(*at), rtol=1e-12)
    low, high = np.quantile(second.predictive(6.9e9, 3.9e12), [0.05, 0.95])
    assert 0 < low < second.value(6.9e9, 3.9e12) < high < 1


def test_presets_say_what_they_are_for():
    purposes = {law.purpose for law in t2.presets().values()}
    assert len(purposes) == 4
    assert "" not in purposes
