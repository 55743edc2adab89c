"""What `ulam law` says: lines for people, or one JSON object."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ... import __version__
from ...core.errors import BudgetExceeded
from ...core.values import print_value
from ...core.vocabulary import Vocabulary
from ...decode.request import read_prompts
from ...decode.samples import model_entry
from ...exact import Interval
from ...exact.comparison import Comparison
from ...exact.lines import LN2, Names, indented, many, rest, to_lines
from ...exact.size import told
from ...exact.ties import Tie
from ...models.protocol import LanguageModel
from ...recipe import Recipe
from ...render.numbers import probability
from ...render.receipt import counted, receipt
from ...render.terminal import visible
from .recipes import Given
from .summary import titled

MOST_TIES = 3  # that are told one by one
MOST_TOKENS = 4  # of a tie
MOST_PROMPT = 40  # characters of the prompt's end


@dataclass(frozen=True)
class Question:
    """What is asked for; `against` is None for the bare model."""

    given: Given
    against: Recipe | None
    prompt: str
    length: int
    budget: int
    event: re.Pattern[str] | None

    @property
    def names(self) -> Names:
        return Names("recipe", "model", "the model") if self.against is None else Names("recipe", "against", str(self.against))


@dataclass(frozen=True)
class Answer:
    """What was found."""

    question: Question
    model: LanguageModel
    found: Comparison
    ties: list[Tie]

    def lines(self, top: int, columns: int | None) -> list[str]:
        """For people; wrapped where there is a number of columns."""
        question, found = self.question, self.found
        prompt = question.prompt if len(question.prompt) <= MOST_PROMPT else "…" + question.prompt[-MOST_PROMPT:]
        parts = [f"law of {counted(question.length, 'token')}" + (f" after {visible(print_value(prompt))}" if prompt else "")]
        parts += [f"model {titled(self.model)}", f"recipe {question.given.recipe}"]
        parts += [f"against {question.against}"] if question.against is not None else []
        head = receipt([*parts, f"exact ({many(found.law.paths, 'path')})"], columns, " ").split("\n")
        facts = [f"event {written(question.event.pattern)}: {shown(p)} under {name}" for name, p in self.chances()] if question.event else []
        facts += [f"note: {note}" for note in [*self.warnings(), *tie_notes(self.ties, self.model.vocabulary)]]
        return [*head, *to_lines(found.law, found, question.names, top, columns), *(line for fact in facts for line in indented(fact, columns))]

    def document(self, top: int | None) -> dict[str, Any]:
        """In the shape `ulam.law/1`."""
        question, found, law, model = self.question, self.found, self.found.law, self.model
        name, recipe, back = question.names.other, question.given.recipe, found.reverse_kl
        top = len(law) if top is None else top
        return {
            "schema": "ulam.law/1",
            "model": model_entry(model),
            "prompt": {"text": question.prompt, "tokens": len(read_prompts(model, question.prompt)[1][0])},
            "recipe": str(recipe),
            "recipe_id": recipe.id,
            "recipe_from": question.given.source,
            "against": "model" if question.against is None else str(question.against),
            "max_tokens": question.length,
            "outcomes": [
                {
                    "text": model.vocabulary.decode(outcome.tokens),
                    "tokens": list(outcome.tokens),
                    "finish_reason": outcome.finish_reason,
                    "recipe_prob": float(p),
                    f"{name}_prob": q,
                }
                for outcome, p, q in zip(law.outcomes[:top], law.probs, found.probs, strict=False)
            ],
            "rest": {"texts": max(0, len(law) - top), "recipe_prob": rest(law, top), f"{name}_prob": math.fsum(found.probs[top:])},
            "removed": {"texts": found.removed, f"{name}_prob": found.rest},
            "entropy_bits": {"recipe": in_bits(law.entropy()), name: None if found.entropy is None else in_bits(found.entropy)},
            "tv": found.total_variation,
            "kl_bits": {f"recipe_from_{name}": in_bits(found.kl)} | ({} if back is None else {f"{name}_from_recipe": in_bits(back)}),
            **({} if question.event is None else {"event": {"regex": question.event.pattern} | self.event_probs()}),
            "ties": [
                {"stage": tie.stage, "kept": tie.kept, "removed": tie.removed, "after": tie.first, "prefixes": tie.prefixes, "always": tie.always}
                for tie in self.ties
            ],
            "paths": {"recipe": law.paths, name: None if found.other is None else found.other.paths},
            "exactness": {"recipe": "all texts", name: "the recipe's texts" if found.other is None else "all texts"},
            "warnings": self.warnings(),
            "versions": {"ulam": __version__, "numpy": np.__version__},
        }

    def chances(self) -> list[tuple[str, float | Interval]]:
        """The probability of the event under both laws."""
        event, decode = self.question.event, self.model.vocabulary.decode

        def matches(outcome: Any) -> bool:
            return event is not None and event.search(decode(outcome.tokens)) is not None

        law, names = self.found.law, self.question.names
        return [(f"the {names.law}", math.fsum(float(p) for outcome, p in law if matches(outcome))), (names.whole, self.found.mass(matches))]

    def event_probs(self) -> dict[str, float]:
        name, (p, q) = self.question.names.other, (chance for _, chance in self.chances())
        bounds = {f"{name}_low_prob": q.low, f"{name}_high_prob": q.high} if isinstance(q, Interval) else {f"{name}_prob": q}
        return {"recipe_prob": p, **bounds}  # type: ignore[dict-item]

    def warnings(self) -> list[str]:
        given = self.question.given
        found = [*(f"{stage} is neutral and left out of the recipe" for stage in given.idle), *given.notes]
        why, against = self.found.unlisted, self.question.against
        if isinstance(why, BudgetExceeded):
            reason = f"has {why.count or 'too many'} paths, and --budget allows {told(self.question.budget)}"
        else:
            reason = None if why is None else f"cannot be listed: {why.what}"
        if reason:
            whose = "the model's own law" if against is None else f"the law of {against}"
            found.append(f"{whose} {reason}; its entropy and the number of texts removed are left out")
        return found


def shown(p: float | Interval) -> str:
    """`0.296`; `0.1 to 0.4` for bounds."""
    return f"{probability(p.low)} to {probability(p.high)}" if isinstance(p, Interval) else probability(p)


def written(pattern: str) -> str:
    """A regular expression as it is; in quotes if its borders cannot be seen."""
    return visible(pattern if re.fullmatch(r"\S(.*\S)?", pattern) else print_value(pattern))


def in_bits(nats: float) -> float | None:
    return nats / LN2 if math.isfinite(nats) else None


def tie_notes(ties: Sequence[Tie], vocabulary: Vocabulary) -> list[str]:
    """A sentence a tie; of many, the first ones and how many more there are."""
    more = [f"{many(len(ties) - MOST_TIES, 'more tie')} at the boundary; --json lists all"] if len(ties) > MOST_TIES else []
    return [tie_note(tie, vocabulary) for tie in ties[:MOST_TIES]] + more


def tie_note(tie: Tie, vocabulary: Vocabulary) -> str:
    """`b and c tie at the boundary; the lower token id stays, so c is never said`."""
    lower = "the lower token id stays" if len(tie.kept) == 1 else "the lower token ids stay"
    stays = lower if max(tie.kept) < min(tie.removed) else f"{tie.stage} keeps {named(tie.kept, vocabulary)}"
    verb = "is" if len(tie.removed) == 1 else "are"
    gone = f"{named(tie.removed, vocabulary)} {verb} never said" if tie.always else f"{named(tie.removed, vocabulary)} {verb} not said there"
    return f"{named(sorted([*tie.kept, *tie.removed]), vocabulary)} tie at the boundary{'' if tie.always else place(tie, vocabulary)}; {stays}, so {gone}"


def place(tie: Tie, vocabulary: Vocabulary) -> str:
    """Where a tie happens that does not happen always."""
    first = f" after {visible(''.join(map(vocabulary.show, tie.first)))}" if tie.first else " for the first token"
    return first + (f" and at {many(tie.prefixes - 1, 'other place')}" if tie.prefixes > 1 else "")


def named(tokens: Sequence[int], vocabulary: Vocabulary) -> str:
    """`a, b and c`; of many tokens, the first ones. A token that is no word has quotes."""
    words = [visible(vocabulary.show(token)) for token in tokens[:MOST_TOKENS]]
    words = [word if word.strip("␣").isalnum() else f"“{word}”" for word in words]
    words += [many(len(tokens) - MOST_TOKENS, "other")] if len(tokens) > MOST_TOKENS else []
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
