"""Seconds of a question on a card, one step after another, as the page on costs tells it."""

import math


def seen(shape, context):
    """Tokens of a context that a layer sees on average."""
    share = shape["windowed"]
    return (1 - share) * context + share * min(context, shape["window"])


def parameters(shape):
    """Those that multiply, those that multiply one token, and a function of how many a step of S tokens reads."""
    table = 0 if shape["tied"] else shape["vocab"] * shape["d_model"]
    multiplying = shape["n_params"] - table
    if shape["experts"] is None:
        return multiplying, multiplying, lambda _: multiplying
    count, chosen, active = shape["experts"]
    one = (shape["n_params"] - active) / (count - chosen)

    def read(sequences):
        untouched = 1.0
        for _ in range(int(sequences)):
            untouched *= 1 - chosen / count
        untouched *= (1 - chosen / count) ** (sequences - int(sequences))
        return multiplying - count * one + count * one * (1 - untouched)

    return multiplying, active - table, read


def room(card, shape, serving):
    """Bytes for keys and values."""
    return 0.9 * (card["memory"] * serving["cards"] - shape["n_params"] * serving["weight_bytes"])


def most_sequences(card, shape, serving, t_in, t_out, k, prompt):
    """Sequences whose keys and values fit: counted question by question where a question keeps one prompt."""
    per_token = 2 * shape["layers"] * shape["kv_width"] * serving["kv_bytes"]
    free = room(card, shape, serving) / per_token
    prefix, whole = seen(shape, t_in), seen(shape, t_in + t_out) - seen(shape, t_in)
    if prompt == "recomputed":
        return free / (prefix + whole)
    questions = free / (prefix + k * whole)
    if questions >= 1:
        return questions * k
    return (free - prefix) / whole


def step(card, constants, shape, serving, batch, t_in, t_out, k, prompt):
    """Seconds of a step in which `batch` sequences get one more token each."""
    cards = serving["cards"]
    flops = card["flops"] * cards * constants["compute"]
    bandwidth = card["bandwidth"] * cards * constants["memory"]
    _, active, read = parameters(shape)
    matrices = max(2 * active * batch / flops, read(batch) * serving["weight_bytes"] / bandwidth)
    group = (shape["q_width"] / shape["kv_width"]) ** constants["regroup"]
    prefix = seen(shape, t_in)
    half = seen(shape, t_in + t_out / 2) - prefix
    prompts_read = batch if prompt != "shared" else max(1.0, batch / k)
    tokens_read = prompts_read * prefix + batch * half
    kv = tokens_read * 2 * shape["layers"] * shape["kv_width"] * serving["kv_bytes"] * group / bandwidth
    logits = batch * 12 * shape["vocab"] / bandwidth
    between = batch * 2 * constants["activations"] * shape["layers"] * shape["d_model"] / bandwidth
    network = batch * all_reduces(card, constants, shape, cards)
    per_layer = constants["layer"] + (constants["expert_layer"] if shape["experts"] is not None else 0)
    waits = 2 * shape["layers"] * constants["hop"] if cards > 1 else 0
    return matrices + kv + logits + between + network + per_layer * shape["layers"] + waits + constants["step"]


def all_reduces(card, constants, shape, cards):
    """Seconds per token: two per layer, of d_model numbers of two bytes, which pass a ring twice."""
    return 2 * shape["layers"] * shape["d_model"] * 2 * 2 * (cards - 1) / cards / (card["link"] * constants["link"])


def prefill(card, constants, shape, serving, t_in):
    """Seconds to process a prompt: matrices, pairs of tokens, activations."""
    cards = serving["cards"]
    flops = card["flops"] * cards * constants["compute"]
    bandwidth = card["bandwidth"] * cards * constants["memory"]
    _, active, _ = parameters(shape)
    pairs = 4 * shape["layers"] * shape["q_width"] * t_in * seen(shape, t_in) / 2
    between = t_in * 2 * constants["activations"] * shape["layers"] * shape["d_model"] / bandwidth
    return (2 * active * t_in + pairs) / flops + between + t_in * all_reduces(card, constants, shape, cards)


def question(card, constants, shape, serving, t_in, t_out, k, prompt):
    """Card-seconds, batch, latency and tokens per second of a question with k answers."""
    batch = min(serving["most_sequences"], most_sequences(card, shape, serving, t_in, t_out, k, prompt))
    if serving["batch"] is not None:
        batch = serving["batch"]
    one = step(card, constants, shape, serving, batch, t_in, t_out, k, prompt)
    prompts = k if prompt == "recomputed" else 1
    reading = prefill(card, constants, shape, serving, t_in)
    seconds = serving["cards"] * (prompts * reading + k * t_out * one / batch)
    latency = constants["request"] + reading + t_out * one * max(1, k / batch)
    return {
        "seconds": seconds,
        "batch": batch,
        "latency": latency,
        "tokens_per_second": k * t_out * serving["cards"] / seconds,
    }


def training(card, constants, shape, context):
    """Card-seconds per training token."""
    _, active, _ = parameters(shape)
    flops = 6 * active + 12 * shape["layers"] * shape["q_width"] * context / 2
    width = shape["layers"] * shape["d_model"]
    return flops / (card["train_flops"] * constants["train_compute"]) + constants["train_activations"] * width / (
        card["bandwidth"] * constants["memory"]
    )


def family_width(family, n):
    """d_model at N parameters, by bisection: N = block layers d^2 + matrices V d with layers = depth d^slope."""
    depth, slope, block, vocab, tied = family
    low, high = 1e-6, 1e9
    for _ in range(400):
        d = math.sqrt(low * high)
        size = block * depth * d**slope * d**2 + (1 if tied else 2) * vocab * d
        low, high = (d, high) if size < n else (low, d)
    return math.sqrt(low * high)
