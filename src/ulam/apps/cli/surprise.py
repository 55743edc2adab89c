"""The surprise of a text, for people: marks in the text itself, a line for every token, word or line of it, and a receipt."""

from __future__ import annotations

import codecs
import math
from collections.abc import Iterator, Sequence
from enum import StrEnum
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from rich.cells import cell_len

from ...core.vocabulary import Vocabulary, show_blanks
from ...decode import Score
from ...models.protocol import LanguageModel
from ...render.receipt import counted, number

TOLD = 3
"""Tokens that a receipt names one by one."""


class Unit(StrEnum):
    token = "token"
    word = "word"
    line = "line"


class Run(NamedTuple):
    """The tokens `first` to `end` - 1 and their text, in which a special token has its name."""

    first: int
    end: int
    text: str


def characters(tokens: Sequence[int], vocabulary: Vocabulary) -> Iterator[Run]:
    """The shortest runs that are whole characters: a token each, unless a character is spread over several."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    first, text = 0, ""
    for position, token in enumerate(tokens):
        last = position + 1 == len(tokens)
        text += vocabulary.names[token] if token in vocabulary.names else decoder.decode(vocabulary.tokens[token])
        if last or not decoder.getstate()[0]:
            yield Run(first, position + 1, text + decoder.decode(b"", last))
            first, text = position + 1, ""


def units(unit: Unit, tokens: Sequence[int], vocabulary: Vocabulary) -> list[Run]:
    """The text in words, each with the blanks before it, or in lines, each with its end. A token is never divided."""
    found: list[Run] = []
    for run in characters(tokens, vocabulary):
        before = found[-1] if found else None
        special = any(tokens[each.first] in vocabulary.names for each in (before or run, run))
        if before is None or special or parted(unit, before.text, run.text):
            found.append(run)
        else:
            found[-1] = Run(before.first, run.end, before.text + run.text)
    return found


def parted(unit: Unit, before: str, after: str) -> bool:
    """Whether a new word, or a new line, begins after the text `before`."""
    if unit is Unit.line:
        return "\n" in before
    return bool(before.strip()) and (before[-1].isspace() or after[:1].isspace())


def marked(found: Score, vocabulary: Vocabulary, count: int) -> str:
    """The text with its peaks in brackets, each with its bits: `a good [fortune 6.1], must`. Blanks before a token stay outside."""
    bits = {peak.position: peak.bits for peak in found.peaks(count)}
    parts: list[str] = []
    for run in characters(found.tokens, vocabulary):
        mine = " + ".join(beside(bits[position]) for position in range(run.first, run.end) if position in bits)
        inside = run.text.strip()
        if not mine:
            parts.append(run.text)
        elif inside:
            head, _, tail = run.text.partition(inside)
            parts.append(f"{head}[{inside} {mine}]{tail}")
        else:
            parts.append(f"[{show_blanks(run.text)} {mine}]{run.text}")
    return "".join(parts)


def table(found: Score, vocabulary: Vocabulary, unit: Unit) -> list[str]:
    """A line for every token, word or line, under a head; what the recipe could not have produced has no bits but a reason."""
    model, under = found.surprises, None if found.recipe_log_probs is None else np.abs(found.recipe_log_probs / math.log(2))
    recipe_head = [] if under is None else ["recipe_bits"]
    if unit is Unit.token:
        rows = [["position", "token", "id", "model_bits", "rank", *recipe_head]]
        for i, token in enumerate(found.tokens):
            row = [str(i), vocabulary.show(token), str(token), bits(model[i : i + 1]), str(found.ranks[i] or "-")]
            removed = found.removed_by[i]
            rows.append(row + ([] if under is None else [bits(under[i : i + 1]) if removed is None else f"removed by {removed}"]))
    else:
        rows = [["position", "tokens", "model_bits", *recipe_head, unit.value]]
        for first, end, text in units(unit, found.tokens, vocabulary):
            sums = [bits(model[first:end]), *([] if under is None else [bits(under[first:end])])]
            rows.append([str(first), str(end - first), *sums, show_blanks(text)])
    sizes = [max(map(cell_len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell + " " * (size - cell_len(cell)) for cell, size in zip(row, sizes, strict=True)).rstrip() for row in rows]


def bits(each: NDArray[np.float64]) -> str:
    """The sum of what is scored; `-` if nothing is."""
    scored = each[~np.isnan(each)]
    return f"{math.fsum(scored):.2f}" if len(scored) else "-"


def beside(bits: float) -> str:
    """Bits beside a word: one decimal."""
    return f"{bits:.1f}"


def model_parts(found: Score, model: LanguageModel, peaks: int) -> list[str]:
    """The receipt's first line: how much was scored, and how surprising it is to the model."""
    parts = [counted(len(found.tokens), "token") + (f" ({found.scored} scored)" if found.unscored else "")]
    parts += [f"{found.windows} windows of {model.context_limit} tokens"] if found.windows > 1 else []
    if found.scored:
        each = f"{number(found.bits_per_token)} bits per token"
        size = "" if math.isnan(found.bits_per_byte) else f", {number(found.bits_per_byte)} per byte"
        parts.append(f"model: {each}{size}, perplexity {number(found.perplexity)}")
        highest = [f"{model.vocabulary.show(peak.token)} {beside(peak.bits)}" for peak in found.peaks(min(peaks, TOLD))]
        parts.append(f"peaks: {', '.join(highest)}")
    return parts


def recipe_parts(found: Score, vocabulary: Vocabulary) -> list[str]:
    """The receipt's second line: how likely the text is under the recipe, and what it could never have produced."""
    impossible = [position for position, stage in enumerate(found.removed_by) if stage is not None]
    parts: list[str] = []
    if found.recipe is not None and found.recipe_log_prob is not None and found.scored:
        could = "all" if found.coverage == found.scored else f"{found.coverage} of"
        each = "" if impossible else f"{number(abs(found.recipe_log_prob) / math.log(2) / found.scored)} bits per token, "
        parts.append(f"recipe {found.recipe} ({found.recipe.id}): {each}could produce {could} {counted(found.scored, 'token')}")
    if impossible:
        named = [f"{vocabulary.show(found.tokens[i])} (position {i}, rank {found.ranks[i]}, {reason(found, i)})" for i in impossible[:TOLD]]
        more = f" and {len(impossible) - TOLD} more" if len(impossible) > TOLD else ""
        parts.append(f"impossible: {', '.join(named)}{more}")
    return parts


def reason(found: Score, position: int) -> str:
    stage = found.removed_by[position]
    return "the model gives it probability 0" if stage == "model" else f"removed by {stage}"


def misspelt(text: str, found: Score, vocabulary: Vocabulary) -> str | None:
    """What is to be said if the tokens do not spell the text that was given; None if they do."""
    spelt = "".join(run.text for run in characters(found.tokens, vocabulary))
    if spelt == text:
        return None
    place = next((i for i, (a, b) in enumerate(zip(text, spelt, strict=False)) if a != b), min(len(text), len(spelt)))
    return f"the tokens spell another text than the one given, from character {place} on"
