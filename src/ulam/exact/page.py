"""A law as a piece of a notebook's page: static HTML, with nothing from elsewhere."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from itertools import accumulate

from ..render.bars import scale
from ..render.numbers import probability
from ..render.terminal import visible
from .comparison import Comparison
from .laws import Law
from .lines import TOP, Names, many, measures, noun, rest, texts

UNFOLDED = 500
"""Outcomes that are shown when all of it is unfolded."""

MOST_BYTES = 190_000
MOST_CHARACTERS = 400
MOST_POSITIONS, MOST_TOKENS = 50, 5

STYLE = """
.ulam-law { --paper: #fff; --ink: #1b1f24; --soft: #5f6873; --line: #d8dee4; --bar: #3b76c4; --beside: #aebccd }
.ulam-law { background: var(--paper); color: var(--ink); padding: .5em 1em }
.ulam-law table { border-collapse: collapse; margin: .4em 0 }
.ulam-law :is(th, td) { text-align: left; padding: .1em 1em .1em 0; border-bottom: 1px solid var(--line); color: var(--ink); background: none }
.ulam-law td:first-child { font-family: ui-monospace, monospace; white-space: pre-wrap; overflow-wrap: anywhere }
.ulam-law i { display: block; height: .45em; background: var(--bar) }
.ulam-law i + i { background: var(--beside) }
.ulam-law td:last-child:has(i) { width: 16em }
.ulam-law :is(p, summary) { margin: .3em 0; color: var(--soft) }
@media (prefers-color-scheme: dark) { .ulam-law { --paper: #16191d; --ink: #e6e9ed; --soft: #9aa4af; --line: #3a424b; --bar: #6ea3e6; --beside: #4d5a69 } }
"""


def to_html(law: Law) -> str:
    """One `<div>` with a style of its own: the most probable outcomes with bars, entropy and distances. Unfolded: up to 500
    outcomes, and the tokens by position. At most 200 kB; what is left out is said.
    """
    beside = Comparison(law, law.model_log_probs) if law.model_log_probs and not law.uncovered else None
    facts = [many(len(law), noun(law)), *measures(law, beside, Names("law", "model", "the model"), len(law) <= TOP), many(law.paths, "path")]
    rows = outcome_rows(law, beside)
    parts = [f"<style>{STYLE}</style>", paragraph(" · ".join(facts)), *framed(law, beside, rows[:TOP])]
    by_position = position_rows(law)
    if by_position:
        parts += ["<details><summary>tokens by position</summary>", *tabled(["position", "most probable tokens"], by_position), "</details>"]
    if len(law) > TOP:
        parts.append(paragraph(f"rest {probability(rest(law, TOP))} in {many(len(law) - TOP, noun(law))}"))
        room = MOST_BYTES - sum(len(part.encode()) for part in parts)
        kept = [row for row, size in zip(rows, accumulate(len(row.encode()) for row in rows), strict=True) if size <= room]
        parts += [f"<details><summary>the first {len(kept)}</summary>", *framed(law, beside, kept)]
        parts += [paragraph(f"{many(len(law) - len(kept), noun(law))} left out here: law.outcomes and law.probs have all")] if len(law) > len(kept) else []
        parts.append("</details>")
    return f'<div class="ulam-law">{"".join(parts)}</div>'


def outcome_rows(law: Law, beside: Comparison | None) -> list[str]:
    """The rows of the first outcomes, most probable first."""
    outcomes, unit = law.outcomes[:UNFOLDED], longest(law)
    columns = [law.probs] if beside is None else [law.probs, beside.probs]
    rows: list[str] = []
    for text, *probs in zip(texts(law, outcomes), *columns, strict=False):
        whole = text if len(text) <= MOST_CHARACTERS else f"{text[: MOST_CHARACTERS // 2]}…{text[-MOST_CHARACTERS // 2 :]}"
        numbers = "".join(f'<td title="{float(p)!r}">{probability(float(p))}</td>' for p in probs)
        bars = "".join(f'<i style="width:{min(1.0, float(p) / unit):.1%}"></i>' for p in probs)
        rows.append(f"<tr><td>{escape(whole)}</td>{numbers}<td>{bars}</td></tr>")
    return rows


def position_rows(law: Law) -> list[str]:
    """The most probable tokens of each position, for a law of texts."""
    if noun(law) != "text" or law.vocabulary is None:
        return []
    rows: list[str] = []
    longest_text = max((len(outcome.tokens) for outcome in law.outcomes), default=0)
    for position in range(min(MOST_POSITIONS, longest_text)):
        tokens = law.marginal(position)
        shown = [f"{law.vocabulary.show(token) if token is not None else '(none)'} {probability(float(p))}" for token, p in list(tokens)[:MOST_TOKENS]]
        more = f" · {len(tokens) - MOST_TOKENS} more" if len(tokens) > MOST_TOKENS else ""
        rows.append(f"<tr><td>{position}</td><td>{escape(visible(' · '.join(shown)))}{more}</td></tr>")
    left = longest_text - len(rows)
    return rows + ([f"<tr><td>…</td><td>{many(left, 'more position')}: law.marginal({len(rows)})</td></tr>"] if left else [])


def framed(law: Law, beside: Comparison | None, rows: Iterable[str]) -> list[str]:
    """Rows of outcomes as a table."""
    return tabled([noun(law), "law", *([] if beside is None else ["model"]), f"bars: 0 to {longest(law):g}"], rows)


def tabled(heads: Iterable[str], rows: Iterable[str]) -> list[str]:
    return ["<table><tr>", *(f"<th>{head}</th>" for head in heads), "</tr>", *rows, "</table>"]


def paragraph(text: str) -> str:
    return f"<p>{escape(text)}</p>"


def longest(law: Law) -> float:
    """What a whole bar stands for."""
    return 10.0 ** -scale(float(law.probs[0]) if len(law) else 1)
