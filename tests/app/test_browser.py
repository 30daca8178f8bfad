"""The page in a real browser: budgets move, files are handed over, errors are shown, keys work."""

import shutil
import socket
import subprocess
import sys
import time
import urllib.request

import pytest

pytest.importorskip("plotly", reason="needs the extra 'app'")
api = pytest.importorskip("playwright.sync_api", reason="needs playwright")
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs chromium")

DRAWN = "#figure:not(.stale) .main-svg"


@pytest.fixture(scope="module")
def address():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "t2fast", "app", "--no-browser", "--port", str(port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as server:
        for _ in range(300):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/api/laws", timeout=60).read()
                break
            except OSError:
                time.sleep(0.1)
        yield f"http://127.0.0.1:{port}/"
        server.terminate()


@pytest.fixture(scope="module")
def browser():
    with api.sync_playwright() as play:
        browser = play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def page(browser):
    page = browser.new_page()
    page.set_default_timeout(60000)
    faults = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    yield page
    page.close()
    assert faults == []


LAB = "?law=lab-tiny&train-flops=3e11&inference-flops=2e6"


def test_a_budget_moves_and_the_plan_follows(page, address):
    page.goto(address + LAB)
    page.wait_for_selector(DRAWN)
    before = page.inner_text("#headline")
    page.fill("[name=train-flops]", "1e11")
    page.wait_for_selector(f'#headline:not(:text-is("{before}"))')
    assert "train-flops=1e11" in page.url
    assert "--train-flops 1e11" in page.inner_text("#command")
    page.reload()
    page.wait_for_selector(DRAWN)
    assert page.input_value("[name=train-flops]") == "1e11"


def test_sliders_and_keys(page, address):
    page.goto(address + LAB)
    page.wait_for_selector(DRAWN)
    page.focus("[type=range][data-for=train-flops]")
    page.keyboard.press("ArrowLeft")
    page.wait_for_selector(DRAWN)
    assert float(page.input_value("[name=train-flops]")) < 3e11
    page.focus("#tab-plan")
    page.keyboard.press("ArrowRight")
    page.wait_for_selector("#tab-frontier[aria-selected=true]")
    page.wait_for_selector("#table caption:has-text('Recommended designs')")


def test_an_error_is_shown_and_goes(page, address):
    page.goto(address + LAB)
    page.wait_for_selector(DRAWN)
    page.select_option("[name=select]", "verifier")
    page.wait_for_selector("#error:not([hidden])")
    assert "needs --false-positive" in page.inner_text("#error")
    page.fill("[name=false-positive]", "0.01")
    page.wait_for_selector(DRAWN)
    page.wait_for_selector("#error", state="hidden")
    assert "result" in page.inner_text("#headline")


def test_samples_are_handed_over_and_a_model_chosen(page, address, tmp_path):
    for name, correct in (("small", 5), ("large", 20)):
        lines = [f"{name},{place},32,{(correct + place) % 33}" for place in range(40)]
        (tmp_path / f"{name}.csv").write_text("model,problem_id,n_samples,n_correct\n" + "\n".join(lines))
    (tmp_path / "prices.csv").write_text(
        "model,input_dollars,output_dollars,input_tokens,output_tokens\nsmall,0.1,0.4,500,300\nlarge,1,4,500,300\n"
    )
    page.goto(address)
    page.click("#tab-choose")
    page.set_input_files("[data-beside-file=file]", [tmp_path / "small.csv", tmp_path / "large.csv"])
    page.set_input_files("[data-beside-file=prices]", tmp_path / "prices.csv")
    page.fill("[data-beside=dollars]", "0.002")
    page.press("[data-beside=dollars]", "Enter")
    page.wait_for_selector("#summary:has-text('per question')")
    assert "t2fast choose small.csv large.csv" in page.inner_text("#command")


def test_a_page_of_one_file_needs_no_server(page, tmp_path):
    from t2fast.app.page import write_page
    from t2fast.app.question import Question

    write_page(Question({"law": "lab-tiny", "train-flops": "3e11", "inference-flops": "2e6"}), tmp_path / "plan.html")
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto((tmp_path / "plan.html").as_uri())
    page.wait_for_selector("#figure .main-svg")
    assert "tokens/param" in page.inner_text("#headline")
    assert [url for url in asked if not url.startswith(("file:", "data:", "blob:"))] == []


def test_nothing_is_wider_than_a_telephone(page, address):
    page.set_viewport_size({"width": 400, "height": 800})
    page.goto(address + LAB)
    page.wait_for_selector(DRAWN)
    assert page.evaluate("document.documentElement.scrollWidth") <= 400
