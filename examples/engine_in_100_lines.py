"""A whole engine in 100 lines: many samples of one prompt from a Llama of transformers, the prompt read once per step.

The weights are the model's; attention, rotary embedding, pages and the draw are t2fast_kernels' four operators. It runs
on a GPU, and on a CPU as PyTorch. ``python examples/engine_in_100_lines.py [FOLDER OF A MODEL]``.
"""

import sys

import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM

from t2fast_kernels import DecodeBuffers, append_kv, plan, prefix_decode, sample

PAGE = 16


class Engine:
    """Room for ``k`` samples of a prompt, all of them up to ``n_tokens`` long, prompt included."""

    def __init__(self, model: LlamaForCausalLM, k: int, n_tokens: int) -> None:
        one, config = model.lm_head.weight, model.config
        self.model, self.k, self.device = model.eval(), k, one.device
        self.heads, self.kv_heads = config.num_attention_heads, config.num_key_value_heads
        self.dim = model.model.layers[0].self_attn.head_dim
        # Row 0 of the tables is the prompt's, and each sample has a row for what it adds.
        width = -(-n_tokens // PAGE)
        self.tables = torch.arange((k + 1) * width, dtype=torch.int32, device=self.device).view(k + 1, width)
        shape = (2, config.num_hidden_layers, (k + 1) * width, PAGE, self.kv_heads, self.dim)
        self.k_cache, self.v_cache = torch.zeros(shape, dtype=one.dtype, device=self.device)
        positions = torch.arange(n_tokens, device=self.device)[None]
        cos, sin = model.model.rotary_emb(torch.zeros(1, device=self.device), positions)
        self.cos, self.sin = (part[0, :, : self.dim // 2].float().contiguous() for part in (cos, sin))
        self.buffers = DecodeBuffers(k, self.heads, self.kv_heads, self.dim, max_segments=1, device=self.device)

    def forward(self, ids, positions, rows, index, attend):
        """Hidden states of new tokens, whose keys and values go to ``index`` of the tables' ``rows``."""
        x = self.model.model.embed_tokens(ids)
        for i, layer in enumerate(self.model.model.layers):
            own, h = layer.self_attn, layer.input_layernorm(x)
            q, k, v = (part(h).unflatten(-1, (-1, self.dim)) for part in (own.q_proj, own.k_proj, own.v_proj))
            q = append_kv(
                k, v, self.k_cache[i], self.v_cache[i], self.tables, rows, index,
                positions=positions, cos=self.cos, sin=self.sin, q=q,
            )  # fmt: skip
            x = x + own.o_proj(attend(i, q).flatten(1))
            x = x + layer.mlp(layer.post_attention_layernorm(x))
        return self.model.model.norm(x)

    def prefill(self, i, q):
        """A prompt's attention in layer ``i``: causal, over the keys and values just stored."""
        k, v = (cache[i][self.tables[0].long()].flatten(0, 1)[: len(q)] for cache in (self.k_cache, self.v_cache))
        heads = [part.transpose(0, 1)[None] for part in (q, k, v)]
        return scaled_dot_product_attention(*heads, is_causal=True, enable_gqa=True)[0].transpose(0, 1)

    @torch.no_grad()
    def samples(self, prompt: list[int], max_new: int, *, seed: int = 0, eos: tuple[int, ...] = (), **settings):
        """Draw ``k`` samples of up to ``max_new`` tokens; settings such as ``temperature`` go to the draw."""
        n, at = len(prompt), torch.arange(len(prompt), dtype=torch.int32, device=self.device)
        ids, ends = (torch.tensor(tokens, dtype=torch.long, device=self.device) for tokens in (prompt, eos))
        last = self.forward(ids, at, torch.zeros_like(at), at, self.prefill)[-1:].expand(self.k, -1)
        number = torch.arange(self.k, dtype=torch.int32, device=self.device)
        alive, running, drawn = torch.ones_like(number, dtype=torch.bool), 0, []
        for step in range(max_new):
            begun = torch.full_like(number, step)  # how many tokens of its own each sample has
            ids, _ = sample(self.model.lm_head(last), seed, torch.zeros_like(number), number, begun, **settings)
            drawn.append(ids.where(alive, -1))
            alive = alive & ~torch.isin(ids, ends)
            if not (left := int(alive.sum())):
                break
            if left != running:  # a plan holds until a sample ends
                running, rows = left, (number + 1).where(alive, -1).cpu().numpy()
                plan(self.buffers, [[0, 0, n, 0]], [[0]] * self.k, rows, row_position=n)

            def attend(i, q, lens=begun + 1):
                return prefix_decode(q, self.k_cache[i], self.v_cache[i], self.tables, lens, self.buffers)

            last = self.forward(ids, begun + n, number + 1, begun.where(alive, -1), attend)
        return [[token for token in tokens if token >= 0] for tokens in torch.stack(drawn, 1).tolist()]


if __name__ == "__main__":
    if len(sys.argv) > 1:
        model, tokenizer = (kind.from_pretrained(sys.argv[1]) for kind in (AutoModelForCausalLM, AutoTokenizer))
        found = Engine(model, 16, 1024).samples(tokenizer("Once upon a time").input_ids, 64, temperature=0.8)
        print(*tokenizer.batch_decode(found), sep="\n---\n")
    else:
        torch.manual_seed(0)
        small = LlamaConfig(hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4)
        for tokens in Engine(LlamaForCausalLM(small), 8, 128).samples(list(range(1, 101)), 16, temperature=0.8):
            print(tokens)
