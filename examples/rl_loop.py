"""Train a tiny model by GRPO for 20 steps, its samples drawn by t2fast from the live training model.

The model is random and its reward is silly (the share of even tokens), so the loop is all there is to see: in seconds
on a CPU the reward rises from one half towards one. Needs the extra ``trl``.
"""

import tempfile

import torch
from datasets import Dataset
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast, PrinterCallback
from trl import GRPOConfig, GRPOTrainer

from t2fast.integrations.trl import rollout


def even(completion_ids: list[list[int]], **_: object) -> list[float]:
    """The reward: which share of a completion's tokens is even."""
    return [sum(token % 2 == 0 for token in ids) / len(ids) for ids in completion_ids]


def train(steps: int = 20) -> list[float]:
    """Train, and give the mean reward of each step."""
    words = Tokenizer(models.WordLevel({"<eos>": 0} | {str(i): i for i in range(1, 64)}, unk_token="<eos>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, eos_token="<eos>", pad_token="<eos>")
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=64, hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=128, eos_token_id=0, bos_token_id=None, pad_token_id=0,
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as out:
        args = GRPOConfig(
            out, max_steps=steps, per_device_train_batch_size=32, num_generations=16, max_completion_length=16,
            learning_rate=3e-3, lr_scheduler_type="constant", use_cpu=True, bf16=False, gradient_checkpointing=False,
            logging_steps=1, report_to=[], save_strategy="no", disable_tqdm=True, seed=0,
        )  # fmt: skip
        trainer = GRPOTrainer(
            LlamaForCausalLM(config),
            even,
            args=args,
            train_dataset=Dataset.from_dict({"prompt": [f"{i} {i + 1} {i + 2}" for i in range(1, 9)]}),
            processing_class=tokenizer,
            rollout_func=rollout,
        )
        trainer.remove_callback(PrinterCallback)
        trainer.train()
    return [entry["reward"] for entry in trainer.state.log_history if "reward" in entry]


if __name__ == "__main__":
    for step, reward in enumerate(train(), 1):
        print(f"step {step:2d}: reward {reward:.3f}")
