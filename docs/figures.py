"""The pictures of the pages: a few forms, drawn by altair and saved as SVG beside the page, without a browser or a network.

Series have the same colours in all of them; every axis says what it measures and under which law.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import altair as alt
import vl_convert

PICTURES = Path(os.environ.get("ULAM_PICTURES", Path(__file__).parent / "pictures"))
COLOURS = ["#0b6e99", "#c1592b", "#4d8b31", "#7d5ba6", "#c79a00", "#98a4b0"]
INK, FAINT = "#59626b", "#e8ebee"
STYLE = {
    "view": {"stroke": None},
    "axis": {"labelFontSize": 12, "titleFontSize": 12, "titleFontWeight": "normal", "titlePadding": 10, "labelLimit": 400, "labelFlush": False}
    | {"labelColor": INK, "titleColor": INK, "domainColor": "#8a939c", "tickColor": "#8a939c", "gridColor": FAINT},
    "legend": {"orient": "top", "labelFontSize": 12, "labelColor": INK, "padding": 0, "offset": 10, "symbolStrokeWidth": 3, "labelLimit": 400},
    "header": {"labelFontSize": 12, "labelColor": INK, "titleFontSize": 12, "titleColor": INK, "titleFontWeight": "normal"},
}

Points: TypeAlias = Sequence[tuple[float, float]]


def save(name: str, chart: Any, width: int = 560, height: int = 280) -> None:
    """One picture of the page, `pictures/name.svg`."""
    whole = chart.properties(width=width, height=height, background="white", padding=14)
    PICTURES.mkdir(parents=True, exist_ok=True)
    (PICTURES / f"{name}.svg").write_text(vl_convert.vegalite_to_svg(whole.configure(**STYLE).to_dict()), encoding="utf-8")


def colour(names: Sequence[str], title: str | None = None) -> alt.Color:
    return alt.Color("series:N", title=title, sort=list(names), scale=alt.Scale(domain=list(names), range=COLOURS[: len(names)]), legend=legend(names))


def legend(names: Sequence[str]) -> Any:
    return None if len(names) == 1 else alt.Legend(columns=4, symbolOpacity=1)


def bars(name: str, series: Mapping[str, Mapping[str, float]], x: str, y: str, digits: str = ".3~f") -> None:
    """Grouped bars: for every label the value of each series, written above it."""
    labels = list(dict.fromkeys(label for values in series.values() for label in values))
    rows = [{"series": s, "label": label, "value": float(values.get(label, 0))} for s, values in series.items() for label in labels]
    base = alt.Chart(alt.Data(values=rows)).encode(
        x=alt.X("label:N", title=x, sort=labels, axis=alt.Axis(labelAngle=0, labelLimit=110)),
        y=alt.Y("value:Q", title=y, scale=alt.Scale(domain=[0, 1.1 * max(row["value"] for row in rows)], nice=False)),
        xOffset=alt.XOffset("series:N", sort=list(series)),
    )
    written = base.mark_text(dy=-6, fontSize=10, color=INK).encode(text=alt.Text("value:Q", format=digits))
    save(name, base.mark_bar().encode(color=colour(list(series))) + written)


def curves(
    name: str,
    series: Mapping[str, Points],
    x: str,
    y: str,
    *,
    levels: Mapping[str, float] | None = None,
    marks: Mapping[str, float] | None = None,
    x_range: tuple[float, float] | None = None,
    y_range: tuple[float, float] | None = None,
    dots: bool = False,
    steps: bool = False,
    faint: str | None = None,
) -> None:
    """Lines, with horizontal `levels` and vertical `marks` that say what they are. One series may stand behind, `faint`."""
    rows = [{"series": s, "x": float(a), "y": float(b)} for s, points in series.items() for a, b in points]
    whole = all(float(row["x"]).is_integer() for row in rows)
    domain = alt.Scale(domain=x_range, nice=False) if x_range else alt.Scale(zero=False, nice=False)
    across = alt.X("x:Q", title=x, scale=domain, axis=alt.Axis(grid=False, tickMinStep=1 if whole else 0))
    up = alt.Y("y:Q", title=y, scale=alt.Scale(domain=y_range, nice=False) if y_range else alt.Scale())
    line: dict[str, Any] = {"strokeWidth": 2.2, "clip": not dots}
    if dots:
        line["point"] = alt.OverlayMarkDef(size=40, filled=True)
    if steps:
        line["interpolate"] = "step-after"
    layers = []
    for thin in (True, False):
        part = [row for row in rows if (row["series"] == faint) == thin]
        form = {**line, "strokeWidth": 1.0, "opacity": 0.45, "point": False} if thin else line
        layers += [alt.Chart(alt.Data(values=part)).mark_line(**form).encode(x=across, y=up, color=colour(list(series)))] if part else []
    (left, right), top = x_range or bounds(row["x"] for row in rows), (y_range or bounds(row["y"] for row in rows))[1]
    for label, value in (levels or {}).items():
        below = value == min((levels or {}).values()) and len(levels or {}) > 1  # the lowest of several has its name below it
        layers += labelled({"x": right, "y": value, "label": label}, across, up, "y", align="right", dx=-6, dy=22 if below else -8)
    for label, value in (marks or {}).items():
        layers += labelled({"x": value, "y": top, "label": label}, across, up, "x", **beside(value, left, right), dy=8)
    save(name, alt.layer(*layers))


def bounds(values: Any) -> tuple[float, float]:
    found = list(values)
    return min(found), max(found)


def beside(value: float, left: float, right: float) -> dict[str, Any]:
    """On which side of a vertical mark its label has room."""
    return {"align": "right", "dx": -5} if value > left + 0.6 * (right - left) else {"align": "left", "dx": 5}


def labelled(row: dict[str, Any], across: alt.X, up: alt.Y, along: str, **placed: Any) -> list[Any]:
    """A dashed line and its name, on a halo so that curves do not cross the letters."""
    at = alt.Chart(alt.Data(values=[row]))
    rule = at.mark_rule(color=INK, strokeDash=[5, 4]).encode(**({"y": up} if along == "y" else {"x": across}))
    text = {"x": across, "y": up, "text": "label:N"}
    halo = at.mark_text(stroke="white", strokeWidth=5, fontSize=12, **placed).encode(**text)
    return [rule, halo, at.mark_text(color=INK, fontSize=12, **placed).encode(**text)]


def heights(name: str, series: Mapping[str, Points], x: str, y: str, *, marks: Mapping[str, float] | None = None, width: float) -> None:
    """Overlaid histograms: columns of one width at their places."""
    rows = [{"series": s, "x": float(a) - width / 2, "x2": float(a) + width / 2, "y": float(b)} for s, points in series.items() for a, b in points]
    places = [*(row["x"] for row in rows), *(row["x2"] for row in rows)]
    left, right = bounds(places + [end for value in (marks or {}).values() for end in (value - width, value + width)])
    top = 1.15 * max(row["y"] for row in rows)
    across = alt.X("x:Q", title=x, scale=alt.Scale(domain=[left, right], nice=False), axis=alt.Axis(grid=False))
    up = alt.Y("y:Q", title=y, scale=alt.Scale(domain=[0, top], nice=False))
    columns = alt.Chart(alt.Data(values=rows)).mark_rect(opacity=0.55).encode(
        x=across, x2="x2:Q", y=up, y2=alt.datum(0), color=colour(list(series))
    )
    layers: list[Any] = [columns]
    for label, value in (marks or {}).items():
        layers += labelled({"x": value, "y": top, "label": label}, across, up, "x", **beside(value, left, right), dy=8)
    save(name, alt.layer(*layers))


def panels(name: str, series: Mapping[str, Mapping[str, float]], x: str, y: str, columns: int = 4, against: str | None = None) -> None:
    """Small bars, a panel a series; those of the series `against` stand behind every panel as an outline."""
    behind = series.get(against, {}) if against else {}
    order = [s for s in series if s != against]
    rows = [
        {"series": s, "label": label, "value": float(series[s].get(label, 0)), "behind": float(behind.get(label, 0))}
        for s in order
        for label in dict.fromkeys([*series[s], *behind])
    ]
    labels = list(dict.fromkeys(row["label"] for row in rows))
    across = alt.X("label:N", title=x, sort=labels, axis=alt.Axis(labelAngle=0))
    base = alt.Chart().encode(x=across)
    filled = base.mark_bar(color=COLOURS[0]).encode(y=alt.Y("value:Q", title=y, scale=alt.Scale(domain=[0, 1])))
    light = alt.when(alt.datum.value > 0.12).then(alt.value("white")).otherwise(alt.value(INK))
    written = base.mark_text(baseline="bottom", dy=-4, fontSize=11).encode(y=alt.datum(0), text=alt.Text("value:Q", format=".2~f"), color=light)
    outline = base.mark_bar(filled=False, stroke=COLOURS[1], strokeWidth=1.4).encode(y="behind:Q")
    layered = alt.layer(filled, outline, written) if against else alt.layer(filled, written)
    whole = layered.properties(width=130, height=110).facet(facet=alt.Facet("series:N", title=None, sort=order), columns=columns, data=alt.Data(values=rows))
    PICTURES.mkdir(parents=True, exist_ok=True)
    chart = whole.properties(background="white", padding=14).configure(**STYLE)
    (PICTURES / f"{name}.svg").write_text(vl_convert.vegalite_to_svg(chart.to_dict()), encoding="utf-8")


def intervals(name: str, rows: Mapping[str, tuple[float, float, float]], x: str, *, marks: Mapping[str, float] | None = None) -> None:
    """A dot with its interval (low, middle, high) for every label."""
    data = [{"label": label, "low": low, "x": middle, "high": high, "value": f"{middle:.2f}"} for label, (low, middle, high) in rows.items()]
    base = alt.Chart(alt.Data(values=data)).encode(y=alt.Y("label:N", title=None, sort=list(rows)))
    across = alt.X("x:Q", title=x, scale=alt.Scale(zero=False))
    layers: list[Any] = [
        base.mark_rule(color=COLOURS[0], strokeWidth=2.5).encode(x=alt.X("low:Q", title=x, scale=alt.Scale(zero=False)), x2="high:Q"),
        base.mark_point(color=COLOURS[0], filled=True, size=70, opacity=1).encode(x=across),
        base.mark_text(dy=-11, fontSize=11, color=INK).encode(x=across, text="value:N"),
    ]
    for label, value in (marks or {}).items():
        at = alt.Chart(alt.Data(values=[{"x": value, "label": label}]))
        layers += [
            at.mark_rule(color=INK, strokeDash=[5, 4]).encode(x=across),
            at.mark_text(color=INK, fontSize=12, align="left", dx=5, baseline="bottom").encode(x=across, y=alt.value(0), text="label:N"),
        ]
    save(name, alt.layer(*layers), height=44 * len(rows))
