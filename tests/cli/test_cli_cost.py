import json

import pytest

ASK = ("--gpu", "h100", "--prompt-tokens", 1000, "--answer-tokens", 300, "-k", 16)


def test_a_size_is_priced(run):
    code, out, err = run("cost", "8B", *ASK)
    assert (code, err) == (0, "")
    assert "90% interval" in out
    for mode in ("recomputed", "cached", "shared"):
        assert mode in out


def test_json_is_what_the_api_says(run):
    from t2fast import costs

    code, out, _ = run("cost", "llama-3.1-8b", *ASK, "--dtype", "fp8", "--json")
    assert code == 0
    found = costs.cost("llama-3.1-8b", gpu="h100", prompt_tokens=1000, answer_tokens=300, k=16, dtype="fp8")
    assert json.loads(out) == json.loads(json.dumps(found.to_dict()))


def test_an_architectures_file_is_read(run, tmp_path):
    arch = tmp_path / "arch.json"
    shape = {
        "layers": 32,
        "d_model": 4096,
        "heads": 32,
        "kv_heads": 8,
        "head_dim": 128,
        "vocab": 128256,
        "n_params": 8.03e9,
    }
    arch.write_text(json.dumps(shape))
    by_file, by_name = (
        json.loads(run("cost", *model, *ASK, "--json")[1]) for model in (("--arch", arch), ("llama-3.1-8b",))
    )
    assert by_file["seconds"] == by_name["seconds"]


def test_a_calibrated_card_is_used(run, tmp_path):
    rows = tmp_path / "rows.csv"
    lines = [
        f"llama-3.1-8b,{batch},{t},200,{speed}" for batch, t, speed in ((1, 100, 100), (16, 100, 1500), (64, 500, 4000))
    ]
    rows.write_text("\n".join(["model,batch,prompt_tokens,answer_tokens,tokens_per_second", *lines]) + "\n")
    card = tmp_path / "card.json"
    code, out, err = run("cost", "--calibrate", rows, "--gpu", "h100", "--out", card)
    assert (code, err) == (0, "")
    assert "3 rows" in out
    code, _, _ = run("cost", "8B", "--gpu", card)
    assert code == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("cost",), "give one model"),
        (("cost", "8B", "--price", "0"), "price = 0"),
        (("cost", "8B", "--gpu", "h10"), "did you mean h100"),
        (("cost", "llama-3.3-70b"), "the weights need 141.1 GB"),
        (("cost", "8B", "--max-seconds", "0.01"), "met by no batch"),
        (("cost", "--calibrate", "none.csv"), "--calibrate needs --out"),
        (("cost", "--calibrate", "none.csv", "--out", "x.json"), "none.csv: cannot be read"),
    ],
)
def test_bad_input_is_one_line(run, arguments, message):
    code, out, err = run(*arguments)
    assert (code, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1


def test_what_the_benchmarks_write_becomes_a_card(run, tmp_path):
    pytest.importorskip("torch")
    import torch
    from bench.sampling import built, write_row
    from tests.costs.test_kernel_times import kernels

    speeds, times, card = tmp_path / "speeds.csv", kernels(tmp_path / "kernels.csv"), tmp_path / "mycard.json"
    model, _ = built("small", "cpu", torch.float32)
    for case, speed in (((1, 64, 512, 64), 51e3), ((4, 16, 512, 64), 50e3), ((16, 4, 64, 32), 55e3)):
        write_row(speeds, model, "small", case, speed, torch.bfloat16)
    code, out, err = run("cost", "--calibrate", speeds, "--calibrate", times, "--gpu", "h100", "--out", card)
    assert (code, err) == (0, "")
    assert "7 rows" in out
    code, out, _ = run("cost", "8B", "--gpu", card, "--json")
    assert code == 0
    assert json.loads(out)["interval"][0] > 0
