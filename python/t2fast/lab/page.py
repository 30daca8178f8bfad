"""The page of a laboratory: one HTML file that needs nothing else, and its figures as files."""

from __future__ import annotations

import base64
import html
import io
import json
import math
from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure

from t2fast.errors import T2Error
from t2fast.lab.advice_claims import differences
from t2fast.lab.claims import Claim
from t2fast.lab.findings import Findings
from t2fast.lab.verdict import families, regret_rows
from t2fast.plots import canvas
from t2fast.plots import lab as figures

__all__ = ["write_page"]

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; color: #111; }
figure { display: inline-block; vertical-align: top; width: 29rem; max-width: 100%; margin: 1rem 1rem 1rem 0; }
img { width: 100%; } figcaption { font-size: 0.9rem; } pre { overflow-x: auto; font-size: 0.85rem; }
table { border-collapse: collapse; } td, th { text-align: left; padding: 0.4rem 0.8rem 0.4rem 0; vertical-align: top; }
tr { border-bottom: 1px solid #ccc; } .yes { color: #00664a; } .no { color: #a03c00; } .open { color: #555; }
"""
_CAPTIONS = {
    "regrets": "Regret: what following each contestant would have cost, with 90% intervals over training budgets.",
    "grid": "The checkpoints. Every one is a training run of its own, its cosine matched to its length.",
    "isoflop": "Equal training compute along each curve: loss, and the share of problems solved.",
    "curves": "pass@k measured, and what the law fitted to all counts says.",
    "extrapolation": "Runs that the laws had not seen, all more overtrained than those they had.",
    "optima": "Where the best design lies under each resampled law.",
    "duel": "The planned design and its rival, trained: what each solves for what it costs to sample.",
}


def write_page(found: Findings, folder: Path) -> Path:
    """Write the page ``index.html``, and give its path.

    Beside it lie ``findings.json``, the figures and the fitted laws: ``law.json``, and of Approach 1 ``loss-law.json``.

    Raises
    ------
    T2Error
        When the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        drawn = {}
        for name, caption in _CAPTIONS.items():
            missing = {"duel": not found.duels, "extrapolation": not found.held_out, "regrets": not found.verdicts}
            if missing.get(name):
                continue
            figure = getattr(figures, name)(found, folder / f"{name}.png")
            drawn[name] = f"<figure>{_image(figure)}<figcaption>{html.escape(caption)}</figcaption></figure>"
        (folder / "findings.json").write_text(json.dumps(found.to_dict(), indent=1) + "\n", encoding="utf-8")
        found.law.save(folder / "law.json")
        found.loss_law.save(folder / "loss-law.json")
        page = folder / "index.html"
        first = drawn.pop("regrets", "")
        page.write_text(_page(found, first, "\n".join(drawn.values())), encoding="utf-8")
    except OSError as error:
        raise T2Error(f"{folder}: cannot be written: {error.strerror}") from None
    return page


def _image(figure: Figure) -> str:
    data = io.BytesIO()
    with canvas.style():
        figure.savefig(data, format="png")
    return f'<img alt="" src="data:image/png;base64,{base64.b64encode(data.getvalue()).decode()}">'


def _row(number: int, one: Claim) -> str:
    kind, says = {True: ("yes", "holds"), False: ("no", "does not hold"), None: ("open", "open")}[one.holds]
    number_ = f"{one.value:.3f} {html.escape(one.unit)}<br>({one.low:.3f} to {one.high:.3f})"
    if math.isnan(one.value):
        number_ = "could not be found"
    return (
        f"<tr><td>{number}</td><td>{html.escape(one.claim)}<br><small>{html.escape(one.detail)}</small></td>"
        f'<td>{number_}</td><td class="{kind}">{says}</td></tr>'
    )


def _table(rows: Sequence[Sequence[str]]) -> str:
    head, *body = ["".join(f"<td>{html.escape(cell)}</td>" for cell in row) for row in rows]
    lines = "\n".join(f"<tr>{row}</tr>" for row in body)
    return f"<table><tr>{head.replace('td>', 'th>')}</tr>\n{lines}\n</table>"


def _advice(found: Findings, figure: str) -> str:
    """What the page of a study of advice opens with: regrets, their figure, and every difference."""
    if not found.verdicts:
        return ""
    rows = [["rule, or family under pass@k", "laws see", "difference in regret", "value", "90% interval", ""]]
    for one in differences((*found.verdicts, *found.by_family)):
        says = {True: "holds", False: "fails", None: "open"}[one["holds"]]
        numbers = [f"{one['value']:+.3f}", f"{one['low']:+.3f} to {one['high']:+.3f}"]
        rows.append([one["rule"], one["protocol"], one["difference"], *numbers, says])
    lost = [
        f"{one.rule}, {protocol.name}: {name}: {why}"
        for one in (*found.verdicts, *found.by_family)
        for protocol in one.regret.protocols.values()
        for name, why in protocol.failures.items()
    ]
    lost = list(dict.fromkeys(lost))
    failures = f"<p>Not followed: {html.escape('; '.join(lost))}.</p>" if lost else ""
    spread = ""
    if found.sampling_noise is not None:
        mean, most = found.sampling_noise
        spread = f"<p>The luck of sampling moves a design's pass@k by {mean:.4f} (at most {most:.4f}).</p>"
    return f"""<h2>Does the advice win?</h2>
<p>Regret: the best result of a menu minus that of the design picked; 90% intervals over training budgets.
"lobo": laws see all but the menu; "forward": only what cost a quarter of its budget or less.</p>
{_table(regret_rows(found.verdicts))}
{figure}
{spread}{failures}
<h2>Differences</h2>
{_table(rows)}
<h2>Families</h2>
{_table(families(found.lab))}
<p>Regret in pass@k on each family by itself, its problems alone seen and solved:</p>
{_table(regret_rows(found.by_family)) if found.by_family else ""}
"""


def _page(found: Findings, first: str, drawn: str) -> str:
    rows = "\n".join(_row(number, one) for number, one in enumerate(found.claims, 1))
    lab, fits = found.lab, found.fits
    head = html.escape(found.summary().split("\n\n")[0])
    laws = "\n\n".join(one.summary() for one in (fits.counts, fits.loss, fits.approach_1, fits.approach_2))
    intervals = fits.bootstrap.summary()
    manifest = json.dumps(dict(lab.manifest), indent=1)
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>t2fast laboratory: {html.escape(found.preset.name)}</title>
<style>{_STYLE}</style></head><body>
<h1>Train-to-test laboratory: {html.escape(found.preset.name)}</h1>
<p>{head.replace(chr(10), "<br>")}</p>
{_advice(found, first)}<h2>Claims</h2>
<p>Each number with its 90% interval.</p>
<table><tr><th></th><th>Claim</th><th>Number</th><th></th></tr>
{rows}
</table>
<h2>Figures</h2>
{drawn}
<h2>Plan</h2><pre>{html.escape(found.plan.summary())}</pre>
<h2>Laws</h2><pre>{html.escape(laws)}</pre><pre>{html.escape(intervals)}</pre>
<h2>How it was made</h2><pre>{html.escape(manifest)}</pre>
</body></html>
"""
