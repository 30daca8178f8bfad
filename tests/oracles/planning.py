"""Best designs by looking at every point, or at very many."""

import math

import numpy as np
from scipy.optimize import minimize_scalar
from tests.oracles import costs, laws

#: A cost may exceed its budget by this share, so that rounding excludes nothing.
SLACK = 1e-12


def sign(law):
    """Multiplying by it makes less better."""
    return -1 if law.predicts_pass else 1


def affordable(budget, n, d, k):
    """Whether designs meet every budget and bound; arrays broadcast."""
    train, inference = costs.training(n, d, budget.workload), costs.inference(n, k, budget.workload)
    fits = np.ones(np.broadcast(n, d, k).shape, dtype=bool)
    for limit, cost in (
        (budget.train_flops, train),
        (budget.inference_flops, inference),
        (budget.total_flops, train + inference),
    ):
        if limit is not None:
            fits &= cost <= limit * (1 + SLACK)
    for limit, amount in ((budget.max_params, n), (budget.max_tokens, d), (budget.max_k, k)):
        if limit is not None:
            fits &= amount <= limit
    return fits & (n >= 1) & (d >= 1) & (k >= 1)


def grid(law, budget, n, d, k, value=laws.values):
    """Every feasible point of a grid as rows (value, total cost, i, j, l), best first.

    The better value, of equal values the cheaper, of equal costs the earlier on the axes.
    """
    n, d, k = np.meshgrid(n, d, k, indexing="ij")
    value = value(law, n, d, k, budget.unique_tokens)
    cost = costs.training(n, d, budget.workload) + costs.inference(n, k, budget.workload)
    fits = affordable(budget, n, d, k)
    places = np.argwhere(fits)
    order = np.lexsort((cost[fits], sign(law) * value[fits]))  # stable: ties stay in the order of the axes
    return [(value[fits][row], cost[fits][row], *places[row]) for row in order]


def most_tokens(budget, n, k):
    """The largest D affordable beside N and k."""
    per_token = costs.training(n, 1, budget.workload)
    limits = [math.inf if budget.max_tokens is None else budget.max_tokens]
    if budget.train_flops is not None:
        limits.append(budget.train_flops / per_token)
    if budget.total_flops is not None:
        limits.append((budget.total_flops - costs.inference(n, k, budget.workload)) / per_token)
    return min(limits)


def most_samples(budget, n, d):
    """The largest real k affordable beside N and D."""
    fixed = costs.inference(n, 0, budget.workload)
    per_sample = costs.inference(n, 1, budget.workload) - fixed
    limits = [math.inf if budget.max_k is None else budget.max_k]
    if budget.inference_flops is not None:
        limits.append((budget.inference_flops - fixed) / per_sample)
    if budget.total_flops is not None:
        limits.append((budget.total_flops - costs.training(n, d, budget.workload) - fixed) / per_sample)
    return min(limits)


def scan(objective, low, high, points):
    """The least of a function of one number: a dense scan, then a bounded search between the best one's neighbours."""
    if not high > low:
        return low, objective(low)
    places = np.linspace(low, high, points)
    values = [objective(place) for place in places]
    best = int(np.argmin(values))
    left, right = places[max(best - 1, 0)], places[min(best + 1, points - 1)]
    with np.errstate(all="ignore"):  # infinite where nothing is affordable
        found = minimize_scalar(objective, bounds=(left, right), method="bounded", options={"xatol": 1e-10})
    return (found.x, found.fun) if found.fun < values[best] else (places[best], values[best])


def optimum(law, budget, points=120):
    """(value, N, D, k) of the best design with a real k: a scan over ln N and, inside, over ln D.

    k is always the largest affordable: no law here gets worse with more samples.
    """

    def samples(n, d):
        k = most_samples(budget, n, d)
        return min(k, 1.0) if law.kind == "chinchilla" else k

    def at(x, y):
        n, d = math.exp(x), math.exp(y)
        k = samples(n, d)
        if k < 1 - 1e-9:
            return math.inf
        return sign(law) * float(laws.values(law, n, d, max(k, 1.0), budget.unique_tokens))

    def along_d(x):
        most = most_tokens(budget, math.exp(x), 1)
        if most < 1:
            return 0.0, math.inf
        return scan(lambda y: at(x, y), 0.0, math.log(most), points)

    top = 1.0
    limits = [budget.max_params or 1e40]
    if budget.train_flops is not None:
        limits.append(budget.train_flops / 6)
    if budget.inference_flops is not None:
        limits.append(budget.inference_flops / (2 * budget.workload.queries * budget.workload.answer_tokens))
    if budget.total_flops is not None:
        limits.append(budget.total_flops / 6)
    top = min(limits)
    x, value = scan(lambda x: along_d(x)[1], 0.0, math.log(top), points)
    n, d = math.exp(x), math.exp(along_d(x)[0])
    return sign(law) * value, n, d, samples(n, d)


def zoomed(law, budget, points=60, rounds=6):
    """(value, N, D, k) of the best design with a real k: a lattice over ln N and the place of ln D, ever finer around its best.

    Whole lattices at once, so that far more points are looked at than by :func:`optimum`; the law's own arrays give the
    values where tokens do not repeat.
    """
    limits = [budget.max_params or 1e40]
    if budget.train_flops is not None:
        limits.append(budget.train_flops / 6)
    if budget.inference_flops is not None:
        limits.append(budget.inference_flops / (2 * budget.workload.queries * budget.workload.answer_tokens))
    if budget.total_flops is not None:
        limits.append(budget.total_flops / 6)
    ends = np.array([[0.0, math.log(min(limits))], [0.0, 1.0]])
    box, best = ends.copy(), None
    for _ in range(rounds):
        x, v = (np.linspace(*side, points) for side in box)
        n = np.exp(x)
        most = np.array([max(most_tokens(budget, float(size), 1), 0.0) for size in n])
        d = np.exp(v * np.log(np.maximum(most, 1.0))[:, None])
        fixed = np.array([float(costs.inference(float(size), 0, budget.workload)) for size in n])[:, None]
        per_sample = np.array([float(costs.inference(float(size), 1, budget.workload)) for size in n])[:, None] - fixed
        train = np.array([float(costs.training(float(size), 1, budget.workload)) for size in n])[:, None] * d
        k = np.full(d.shape, math.inf if budget.max_k is None else float(budget.max_k))
        if budget.inference_flops is not None:
            k = np.minimum(k, (budget.inference_flops - fixed) / per_sample)
        if budget.total_flops is not None:
            k = np.minimum(k, (budget.total_flops - train - fixed) / per_sample)
        fits = (most >= 1)[:, None] & (k >= 1)
        if not fits.any():
            break
        k = np.where(fits, 1.0 if law.kind == "chinchilla" else k, 1.0)
        sizes = np.repeat(n[:, None], points, 1)
        if budget.unique_tokens is None:
            value = np.asarray(law.value(sizes, d, k))
        else:
            value = laws.values(law, sizes, d, k, budget.unique_tokens)
        i, j = np.unravel_index(np.argmin(np.where(fits, sign(law) * value, np.inf)), value.shape)
        found = (sign(law) * value[i, j], n[i], d[i, j], k[i, j])
        best = found if best is None else min(best, found)
        centre, step = np.array([x[i], v[j]]), 2 * (box[:, 1] - box[:, 0]) / (points - 1)
        box = np.clip(np.stack([centre - step, centre + step], 1), ends[:, :1], ends[:, 1:])
    return None if best is None else (sign(law) * best[0], *(float(it) for it in best[1:]))


def pareto(law, designs):
    """For each (value, training, inference) whether no other is as good in all and better in one, or an earlier equal."""

    def dominates(i, j):
        a, b = designs[i], designs[j]
        a, b = (sign(law) * a[0], *a[1:]), (sign(law) * b[0], *b[1:])
        return all(x <= y for x, y in zip(a, b, strict=True)) and (a != b or i < j)

    return [not any(dominates(i, j) for i in range(len(designs)) if i != j) for j in range(len(designs))]
