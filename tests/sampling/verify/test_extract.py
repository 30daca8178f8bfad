"""What a text answers: the same for all spellings that the verifier of the name takes for one answer."""

import json

import pytest

from t2fast import T2Error
from t2fast.sampling import Prompt, load_extractor, load_verifier, usual_extractor


@pytest.mark.parametrize(
    ("name", "texts", "answer"),
    [
        ("numeric", ["so the answer is $72.", "#### 72", r"\boxed{72.0}"], "72"),
        ("numeric", ["1/2 of it", "The answer is 0.5"], "1/2"),
        ("math", [r"\boxed{\frac{1}{2}}", "It is 0.5", r"$x = \frac12$"], "1/2"),
        ("choice", ["The answer is (B).", "**B**", "B"], "B"),
        ("normalised", ["The Eiffel tower.", "eiffel  tower"], "eiffel tower"),
        ("exact", [" 4\n", "4"], "4"),
        (r"regex:Answer: (\d+)", ["Answer: 5. No! Answer: 7"], "7"),
    ],
)
def test_spellings_of_one_answer(name, texts, answer):
    extract = load_extractor(name)
    assert [extract(text) for text in texts] == [answer] * len(texts)


@pytest.mark.parametrize(
    ("name", "text"), [("numeric", "none"), ("choice", "none of them"), ("exact", " "), ("math", "")]
)
def test_no_answer(name, text):
    assert load_extractor(name)(text) is None


@pytest.mark.parametrize("text", ["72", "The answer is 1,234.5", "so 3/4", "about 7 apples", "x = 5"])
def test_extracted_numbers_agree_with_the_verifier(text):
    found = load_extractor("numeric")(text)
    assert load_verifier("numeric")(Prompt("q", "?", answer=found), text)


def test_unknown_extractors():
    with pytest.raises(T2Error, match="did you mean numeric"):
        load_extractor("numerics")
    with pytest.raises(T2Error, match="must be the name"):
        load_extractor(None)


def test_manifests_name_the_extractor(tmp_path):
    path = tmp_path / "s.jsonl"
    manifest = tmp_path / "s.jsonl.manifest.json"
    assert usual_extractor([path]) is None
    for verifier, name in (("numeric", "numeric"), ("command:x", None), ("", None), ("regex:a", "regex:a")):
        manifest.write_text(json.dumps({"verifier": verifier}))
        assert usual_extractor([path]) == name
    manifest.write_text("[]")
    with pytest.raises(T2Error, match="not a manifest"):
        usual_extractor([path])
