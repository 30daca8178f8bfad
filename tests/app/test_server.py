"""The server of the page, asked as a browser asks it."""

import pytest

import t2fast as t2

pytest.importorskip("starlette", reason="needs the extra 'app'")
pytest.importorskip("plotly", reason="needs the extra 'app'")
try:
    from starlette import testclient
except (ImportError, RuntimeError):  # each version of starlette wants another client of HTTP
    pytest.skip("needs starlette's client for tests", allow_module_level=True)

from t2fast.app.server import application, serve

ASKED = "law=lab-tiny&train-flops=3e11&inference-flops=2e6"


@pytest.fixture(scope="module")
def client():
    with testclient.TestClient(application(), base_url="http://127.0.0.1") as client:
        yield client


def test_the_page_and_its_parts(client):
    page = client.get("/")
    assert page.status_code == 200
    assert "default-src 'self'" in page.headers["content-security-policy"]
    for name, kind in (("page.js", "javascript"), ("page.css", "css"), ("plotly.js", "javascript")):
        part = client.get(f"/{name}")
        assert (part.status_code, kind in part.headers["content-type"]) == (200, True)


def test_a_plan_and_its_curve(client):
    told = client.get(f"/api/plan?{ASKED}&view=plan").json()
    assert told["plan"]["n_params"] == t2.plan("lab-tiny", t2.Budget(train_flops=3e11, inference_flops=2e6)).n_params
    assert len(client.get(f"/api/curve?{ASKED}").json()["curve"]) > 40
    assert client.get("/api/laws").json()


def test_the_other_views(client):
    assert len(client.get(f"/api/frontier?{ASKED}&low=1e11&high=1e12&count=3").json()["rows"]) == 3
    assert client.get("/api/compare?law=hoffmann&designs=1B:20B 2B:10B").json()["designs"]


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("plan?train-flops=-1", "train_flops = -1"),
        ("plan?nonsense=1", "nonsense"),
        ("compare?law=hoffmann", "give at least one"),
        ("regret", "choose a file"),
        ("regret?table=/nowhere.csv", "no such file"),
        ("choose?file=/nowhere.csv", "prices"),
        ("frontier?law=hoffmann&train-flops=1e20&low=x&high=2", "--train-flops"),
    ],
)
def test_what_is_wrong_is_one_line(client, path, message):
    response = client.get(f"/api/{path}")
    assert response.status_code == 400
    assert message in response.json()["error"]


def test_files_are_kept_for_the_page_and_gone_with_the_server(tmp_path):
    from pathlib import Path

    t2.load_law("hoffmann").save(tmp_path / "law.json")
    with testclient.TestClient(application(), base_url="http://localhost") as client:
        told = client.post("/api/files?name=../../law.json", content=(tmp_path / "law.json").read_bytes()).json()
        kept = Path(told["file"])
        assert kept.name == "law.json"
        assert client.get("/api/plan", params={"law": str(kept), "train-flops": "1e21"}).status_code == 200
        foreign = client.post("/api/files?name=x", content=b"x", headers={"sec-fetch-site": "cross-site"})
        assert foreign.status_code == 403
    assert not kept.exists()


def test_a_file_too_large_is_refused(client, monkeypatch):
    from t2fast.app import server

    monkeypatch.setattr(server, "_LARGEST", 2**20)
    response = client.post("/api/files?name=big.csv", content=b"x" * (2**20 + 1))
    assert response.status_code == 413
    assert "command line" in response.json()["error"]


def test_other_names_of_this_machine_are_refused(client):
    assert client.get("/", headers={"host": "evil.example"}).status_code == 400


def test_a_port_that_is_taken_is_said():
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(t2.T2Error, match="cannot listen on 127.0.0.1: .* give another with --port"):
            serve(port=taken.getsockname()[1], browser=False)
