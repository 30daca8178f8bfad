"""The first formula for seconds of decoding, a prototype of the core's, term by term; and what it said of five workloads.

Its memory is full of keys and values (the core leaves a tenth), steps have no cost of their own, and a question's prompt is
read once or by every sample. Two of its constants are known to have ended at bounds: 85% of the peak of matrix products
and 15 us per layer and step. The other two are not known, and are what its figures ask for.
"""

H100 = {"flops": 9.89e14, "bandwidth": 3.35e12, "memory": 8e10}

#: Parameters, k, tokens of prompt and answer, mode, query heads to a KV head, dollars that a plan in operations
#: promises; the real bill over these, and the k that these dollars pay for.
WORKLOADS = [
    (129e6, 1470, 1000, 150, "shared", 1, 1e-4, 2.3, 625),
    (129e6, 1470, 1000, 150, "cached", 1, 1e-4, 18.0, 81),
    (129e6, 1470, 1000, 150, "recomputed", 1, 1e-4, 23.0, 63),
    (120e6, 1185, 300, 2000, "shared", 1, 1e-3, 17.0, 69),
    (120e6, 1185, 300, 2000, "shared", 8, 1e-3, 3.2, 375),
]

#: The constants of the prototype, those that its figures ask for among them.
CONSTANTS = {"compute": 0.85, "memory": 0.906, "activations": 53.5, "layer": 15e-6}


def terms(shape, constants, k, t_in, t_out, prompt, group=1):
    """Card-seconds of a question on an H100 in bf16, by what they go into."""
    layers, width, table = shape.layers, shape.d_model, shape.vocab * shape.d_model
    multiplying = shape.n_params - table
    flops = constants["compute"] * H100["flops"]
    bandwidth = constants["memory"] * H100["bandwidth"]
    kv = 2 * layers * (width / group) * 2
    prompts = t_in if prompt == "recomputed" else t_in / k
    batch = min(4096, (H100["memory"] - 2 * shape.n_params) / (kv * (prompts + t_out)))
    activations = 2 * constants["activations"] * layers * width / bandwidth
    prefill = (2 * multiplying * t_in + 2 * layers * width * t_in**2) / flops + t_in * activations
    tokens = k * t_out
    return {
        "prefill": prefill * (k if prompt == "recomputed" else 1),
        "matrices": tokens * max(2 * multiplying / flops, multiplying * 2 / (bandwidth * batch)),
        "kv": tokens * kv * (t_in * (1 / k if prompt == "shared" else 1) + t_out / 2) / bandwidth,
        "activations": tokens * (12 * shape.vocab / bandwidth + activations),
        "overhead": tokens * constants["layer"] * layers / batch,
    }
