"""Costs, counted layer by layer and token by token where that is possible."""


def width(n, attention):
    """n_layers d_model of a model with N = 12 n_layers d_model^2 and the given d_model / n_layers."""
    d_model = (n * attention.aspect_ratio / 12) ** (1 / 3)
    return d_model / attention.aspect_ratio * d_model


def training(n, d, workload):
    """6 FLOP per parameter and token; a token attends to half a sequence on average, 4 FLOP forward, 8 backward."""
    flops = 6 * n * d
    if workload.attention is not None:
        flops += 12 * width(n, workload.attention) * workload.attention.train_context / 2 * d
    return flops


def reading(n, tokens, workload):
    """A prompt: 2 FLOP per parameter and token, and 4 for each pair of a token and one before it."""
    flops = 2 * n * tokens
    if workload.attention is not None:
        flops += 4 * width(n, workload.attention) * tokens**2 / 2
    return flops


def writing(n, workload):
    """An answer: its tokens see the prompt and what has been written."""
    t_in, t_out = workload.prompt_tokens, workload.answer_tokens
    flops = 2 * n * t_out
    if workload.attention is not None:
        flops += 4 * width(n, workload.attention) * (t_in * t_out + t_out**2 / 2)
    return flops


def inference(n, k, workload):
    """All queries: each reads its prompt once, or once per sample, and writes k answers."""
    readings = k if workload.prompt == "recomputed" else 1
    return workload.queries * (readings * reading(n, workload.prompt_tokens, workload) + k * writing(n, workload))
