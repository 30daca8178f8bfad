"""The page of a laboratory needs nothing beside itself."""

import pytest


def test_the_report_is_one_page_and_its_figures(found, tmp_path):
    pytest.importorskip("matplotlib")
    from t2fast.lab.page import write_page

    page = write_page(found, tmp_path / "report").read_text()
    assert page.count("data:image/png;base64,") == 6
    assert 'src="http' not in page
    figures = {path.stem for path in (tmp_path / "report").glob("*.png")}
    assert figures == {"grid", "isoflop", "curves", "extrapolation", "optima", "duel"}
    for one in found.claims:
        assert one.unit in page
