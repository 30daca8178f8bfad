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


def graded() -> Preset:
    """The same of graded questions, with everything that the second study does."""
    duel = {"train_flops": 8e9, "inference_flops": 1e5, "repeats": 1, "finetune_problems": 64}
    return Preset.from_dict(
        load_preset("small").to_dict()
        | {
            "name": "nano-graded", "corpus_tokens": 1_500_000, "held_out": 8, "validation_rows": 32,
            "world": {
                "kind": "graded", "words": 16, "people": 128, "classes": 3, "events": 8, "operations": 4, "states": 6,
                "longest": 5, "base": 6,
            },
            "widths": [4, 8, 12, 16], "train_flops": [5e8, 1e9, 2e9, 4e9, 8e9], "tokens_per_param": [2, 1200],
            "seeds": 1, "larger": [[24, 3, 1]], "n_samples": 32, "predicted_k": 4, "n_resamples": 20,
            "holdout": "tokens_per_param > 150", "duel": duel,
            "rates": {"widths": [8, 16], "n_tokens": 10_000, "factors": [0.5, 1, 2]},
            "lessons": {"family": "sums", "n_problems": 64, "batch_rows": 16, "rate": 0.3},
            "verdict": {"inference_flops": [2e4, 5e4, 1e5], "false_positives": [0.05], "majority": True},
        }
    )  # fmt: skip
