"""What the tests of commands share: the command line in this process, and a small random model."""

import sys

import pytest

from t2fast import cli


@pytest.fixture
def run(capsys, monkeypatch):
    """Run a command; gives its exit code, what it printed, and what went to stderr."""

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["t2fast", *map(str, arguments)])
        code = 0
        try:
            cli.main()
        except SystemExit as end:
            code = end.code or 0
        return code, *capsys.readouterr()

    return call


@pytest.fixture(scope="session")
def model(tmp_path_factory):
    """A folder with a model of transformers and its tokenizer."""
    from tests.support import tiny

    folder = tmp_path_factory.mktemp("models") / "my-model"
    tiny.model("llama").save_pretrained(folder)
    tiny.tokenizer().save_pretrained(folder)
    return folder
