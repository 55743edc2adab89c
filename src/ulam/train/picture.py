"""The loss curve of a run, as PNG and SVG (libraries: altair, vl-convert)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import altair as alt
import vl_convert

from .settings import Progress

TRAIN, VALID, UNIFORM, INK = "#98a4b0", "#0b6e99", "#b4552d", "#59626b"
STYLE = {
    "view": {"stroke": None},
    "text": {"fontSize": 12},
    "axis": {"labelFontSize": 12, "titleFontSize": 12, "titleFontWeight": "normal", "titlePadding": 10}
    | {"labelColor": INK, "titleColor": INK, "domainColor": "#8a939c", "tickColor": "#8a939c", "gridColor": "#e8ebee"},
    "legend": {"orient": "top", "labelFontSize": 12, "labelColor": INK, "symbolStrokeWidth": 3, "padding": 0, "offset": 10},
}
NAMES = {"training text, dropout on": TRAIN, "held-out text": VALID}


def loss_chart(history: Sequence[Progress], uniform: float) -> alt.LayerChart:
    """Nats a token against tokens learnt from, with the loss of uniform guessing as a line.

    `history` holds the reports with a `valid`. A training loss is a mean over the steps since the report before, so
    it stands in the middle of them.
    """
    train, valid = NAMES
    held = [(report, report.valid.per_token) for report in history if report.valid]
    points: list[dict[str, Any]] = [{"tokens": report.tokens, "loss": loss, "text": valid} for report, loss in held]
    for before, after in pairwise(history):
        if after.train is not None:
            points.append({"tokens": (before.tokens + after.tokens) / 2, "loss": after.train, "text": train})
    right = max(1000, history[-1].tokens)
    top = 1.08 * max(uniform, *(point["loss"] for point in points))

    short = alt.Axis(labelExpr="datum.value == 0 ? '0' : replace(format(datum.value, '~s'), regexp('([kMG])'), ' $1')", tickCount=7, grid=False)
    x = alt.X("tokens:Q", title="tokens learnt from", axis=short, scale=alt.Scale(domain=[0, right], nice=False))
    y = alt.Y("loss:Q", title="cross-entropy, nats per token", axis=alt.Axis(tickCount=8), scale=alt.Scale(domain=[0, top], nice=False))
    colour = alt.Color("text:N", title=None, sort=list(NAMES), scale=alt.Scale(domain=list(NAMES), range=list(NAMES.values())))
    curves = alt.Chart(alt.Data(values=points)).mark_line(strokeWidth=2.2).encode(x, y, colour)

    level = alt.Chart(alt.Data(values=[{"tokens": right, "loss": uniform, "label": f"uniform guessing {uniform:.2f} nat"}]))
    guessing = [level.mark_rule(color=UNIFORM, strokeDash=[5, 4]).encode(y=y), *written(level, x, y, UNIFORM, align="right", baseline="bottom", dy=-5)]

    report, loss = next((r, v) for r, v in reversed(held) if r.best)
    place = alt.Chart(alt.Data(values=[{"tokens": report.tokens, "loss": loss, "label": f"best {loss:.2f} nat, step {report.step}"}]))
    early = 2 * report.tokens < right
    above = history[-1].train is not None and history[-1].train < loss  # the training curve ends below: its place is taken
    best = written(place, x, y, VALID, align="left" if early else "right", baseline="bottom" if above else "top", dx=6 if early else 0, dy=-14 if above else 11)
    best.append(place.mark_point(color=VALID, filled=True, size=70, opacity=1).encode(x, y))
    return alt.LayerChart(layer=[curves, *guessing, *best], width=560, height=300, background="white", padding=16, config=STYLE)


def written(at: alt.Chart, x: alt.X, y: alt.Y, colour: str, **placed: Any) -> list[alt.Chart]:
    """A label on a white halo, so that grid and curves do not cross its letters."""
    halo, letters = at.mark_text(stroke="white", strokeWidth=5, **placed), at.mark_text(color=colour, **placed)
    return [halo.encode(x, y, text="label:N"), letters.encode(x, y, text="label:N")]


def png_and_svg(chart: alt.LayerChart) -> tuple[bytes, str]:
    """Both drawn here, without a browser or a network; PNG at twice the size."""
    specification = chart.to_dict()
    return vl_convert.vegalite_to_png(specification, scale=2), vl_convert.vegalite_to_svg(specification)
