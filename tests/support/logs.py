"""What the tests of readers share."""

import json


def pairs(counts):
    """Samples and correct samples of each problem."""
    rows = zip(counts.problem_id, counts.n_samples, counts.n_correct, strict=True)
    return {problem: (int(n), int(c)) for problem, n, c in rows}


def lines(records):
    """JSON Lines."""
    return "".join(json.dumps(record) + "\n" for record in records)


def written(path, content):
    """The path, with content in it: text, bytes or what becomes JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path
