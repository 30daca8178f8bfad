"""The example asks a server of a tiny model."""

import pytest

pytest.importorskip("openai", reason="needs the openai client")
pytest.importorskip("uvicorn", reason="needs the extra 'serve'")

from tests.support import examples, server


def test_it_asks(capsys):
    with server.serving() as serving:
        answers = examples.load("ask_a_server").main(serving.url)
        serving.settle()
    assert len(answers) == 16
    shown = capsys.readouterr().out
    assert "tiny: 16 answers" in shown
    assert "t2fast_prefilled_tokens_total" in shown
