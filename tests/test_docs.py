"""Every command and code block of README.md and docs/*.md runs and prints what the page shows."""

import importlib.util
from pathlib import Path

import pytest

_spec = importlib.util.spec_from_file_location("render", Path(__file__).parent.parent / "docs" / "render.py")
render = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(render)


#: Pages whose blocks need more than t2fast itself.
NEEDS = {
    "integrations": "trl",
    "kernels": "t2fast_kernels",
    "kernels-sampling": "t2fast_kernels",
    "sample": "transformers",
    "sample-engine": "transformers",
    "score": "transformers",
    "serve": "openai",
}


@pytest.mark.parametrize("page", render.pages(), ids=lambda page: page.name)
def test_page_shows_what_its_blocks_print(page, tmp_path):
    if page.stem in NEEDS:
        pytest.importorskip(NEEDS[page.stem], reason="needs an extra")
    shown = page.read_text(encoding="utf-8")
    assert render.settled(render.render(page, tmp_path)) == render.settled(shown)
