"""A laboratory of models of a few thousand parameters, for tests that train."""

from t2fast.lab.preset import Preset, load_preset


def preset() -> Preset:
    duel = {
        "train_flops": 8e9, "inference_flops": 2e5, "repeats": 2, "finetune_problems": 256, "finetune_rate": 0.1
    }  # fmt: skip
    return Preset.from_dict(
        load_preset("tiny").to_dict()
        | {
            "name": "nano", "corpus_tokens": 300_000, "held_out": 8, "validation_rows": 32, "widths": [8, 12, 16],
            "train_flops": [1e9, 2e9, 4e9, 8e9], "tokens_per_param": [2, 600], "n_samples": 32, "predicted_k": 4,
            "n_resamples": 20, "holdout": "tokens_per_param > 20", "duel": duel,
        }
    )  # fmt: skip
