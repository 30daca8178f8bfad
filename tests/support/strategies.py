"""Random laws and budgets for property tests."""

from dataclasses import replace

from hypothesis import strategies as st

import t2fast as t2


def powers(low, high):
    """Numbers spread evenly over orders of magnitude."""
    return st.floats(low, high, allow_nan=False).map(lambda power: 10.0**power)


def coefficients():
    """E, A, B, alpha, beta with losses in a plausible range."""
    return st.fixed_dictionaries(
        {
            "E": st.one_of(st.just(0.0), st.floats(0.1, 3)),
            "A": powers(1, 4.5),
            "B": powers(1, 5),
            "alpha": st.floats(0.2, 0.7),
            "beta": st.floats(0.2, 0.7),
        }
    )


chinchilla_laws = coefficients().map(lambda c: t2.ChinchillaLaw(**c))
loss_laws = st.builds(
    lambda c, g, gamma: t2.T2LossLaw(**c, G=g, gamma=gamma), coefficients(), powers(-2, 1), st.floats(0.05, 1.2)
)


@st.composite
def pass_laws(draw, falling=None):
    """Pass laws; `falling` picks the sign of theta4: True for theta4 <= 0, False for theta4 > 0."""
    lows = {None: (-1.5, 1.5), True: (-1.5, 0.0), False: (0.05, 1.5)}
    c = draw(coefficients())
    return t2.T2PassLaw(
        **c,
        theta0=c["E"] + draw(st.floats(-2, 3)),
        theta1=draw(st.floats(0.5, 4)),
        theta2=draw(st.floats(0.2, 1)),
        theta3=draw(st.floats(-2, 5)),
        theta4=draw(st.floats(*lows[falling])),
    )


def overtrained(laws):
    """Laws with a term of overtraining."""
    return st.builds(lambda law, f, delta: replace(law, F=f, delta=delta), laws, powers(-4, 0), st.floats(0.1, 1.2))


plain_laws = st.one_of(chinchilla_laws, loss_laws, pass_laws())
any_laws = st.one_of(plain_laws, overtrained(plain_laws))


@st.composite
def workloads(draw, attention=True):
    """Uses of a model, from one token to millions of queries."""
    if draw(st.booleans()):
        return t2.Workload()
    with_attention = attention and draw(st.booleans())
    return t2.Workload(
        queries=draw(powers(0, 6)),
        prompt_tokens=draw(st.one_of(st.just(0.0), powers(1, 3))),
        answer_tokens=draw(powers(0, 3)),
        prompt=draw(st.sampled_from(["recomputed", "cached", "shared"])),
        attention=t2.Attention(draw(st.floats(32, 256)), draw(powers(2, 4))) if with_attention else None,
    )


@st.composite
def budgets(draw, attention=True, kinds=("pair", "total", "all")):
    """Budgets of every kind that bound N, D and k and admit a model of a million parameters."""
    use = draw(workloads(attention))
    smallest = t2.inference_flops(1e6, 1, use)
    train, inference = draw(powers(15, 24)), smallest * draw(powers(0, 6))
    kind = draw(st.sampled_from(kinds))
    flops = {
        "pair": {"train_flops": train, "inference_flops": inference},
        "total": {"total_flops": train + inference},
        "all": {"train_flops": train, "inference_flops": inference, "total_flops": 0.5 * (train + inference)},
    }[kind]
    optional = lambda strategy: draw(st.one_of(st.none(), strategy))  # noqa: E731
    return t2.Budget(
        **flops,
        workload=use,
        max_params=optional(powers(6, 11)),
        max_tokens=optional(powers(7, 13)),
        max_k=optional(st.integers(1, 10_000).map(float)),
        unique_tokens=optional(powers(8, 12)),
    )
