"""The code blocks of the embedding guide run and print what the page shows."""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path

import pytest
import torch

from conftest import INTERPRETED

#: What blocks print on a GPU instead.
GPU = {"no GPU: nothing was captured\n": "captured; as when launched: True\n"}
PAGES = sorted((Path(__file__).parents[2] / "docs").glob("kernels*.md"))


@pytest.mark.skipif(not PAGES, reason="the guide is in the repository, not in the distribution")
@pytest.mark.skipif(INTERPRETED, reason="the page shows what the CPU reference prints")
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_blocks_print_what_the_page_shows(page, tmp_path, monkeypatch):
    text = page.read_text(encoding="utf-8")
    if "import transformers" in text or "from transformers" in text:
        pytest.importorskip("transformers")
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    printed = ""
    with torch.random.fork_rng():
        for kind, body in re.findall(r"^```(\w+)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
            if kind == "python":
                output = io.StringIO()
                with contextlib.redirect_stdout(output):
                    exec(compile(body, str(page), "exec"), names)
                printed = output.getvalue()
            elif kind == "text":
                assert printed == (GPU.get(body, body) if torch.cuda.is_available() else body)
