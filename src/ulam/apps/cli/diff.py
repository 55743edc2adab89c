"""`ulam recipe diff`: two recipes on the user's own model: what is kept, how far apart they are, where their texts part."""

from __future__ import annotations

import json as codec
from typing import Annotated, Any

import numpy as np
import typer

from ...core.arrays import to_numpy
from ...core.categorical import Categorical
from ...core.errors import UsageError
from ...decode.difference import Difference, difference, distances, parting
from ...models.prompts import bundled
from ...models.protocol import LanguageModel, refuse_engine
from ...recipe import Recipe
from ...recipe.dialects import export, find
from ...recipe.dialects.commute import commute
from ...recipe.sources import read_source
from ...render.numbers import bits, probability
from .convert import understood
from .flags import HiddenBackendFlag, HiddenOfflineFlag, HiddenOptionsFlag, ModelFlag, QuietFlag
from .reading import read_file
from .sample import loaded_from
from .talk import say, silent

SHOWN = 4
"""Tokens whose probabilities are shown."""


def diff(
    context: typer.Context,
    words: Annotated[list[str] | None, typer.Argument(metavar="A B")] = None,
    engine: Annotated[str | None, typer.Option("--engine", metavar="ENGINE", help="B is what this engine makes of A")] = None,
    prompt: Annotated[str, typer.Option("-p", "--prompt", metavar="TEXT", help="the text to continue (one that comes with ulam)")] = "",
    prompts: Annotated[str | None, typer.Option("--prompts", metavar="FILE", help="also on every line of a file; bundled: 40 prompts of ulam")] = None,
    max_tokens: Annotated[int, typer.Option("--max-tokens", metavar="N", help="how long the two texts may be that are drawn with the same dice (64)")] = 64,
    seed: Annotated[int, typer.Option("--seed", metavar="N", help="of the dice (0)")] = 0,
    model: ModelFlag = "stories",
    json: Annotated[bool, typer.Option("--json", help="one JSON object")] = False,
    quiet: QuietFlag = False,
    backend: HiddenBackendFlag = "auto",
    options: HiddenOptionsFlag = None,
    offline: HiddenOfflineFlag = False,
) -> int:
    """ulam recipe diff: how two recipes differ on a model, token for token, with the same dice.

      ulam recipe diff "temperature=2 min_p=0.05" "min_p=0.05 temperature=2" -p "The cat saw"
      ulam recipe diff "top_p=0.9 temperature=1.3" --engine vllm    a recipe, and what vLLM makes of it
      ulam recipe diff generation_config.json "" --prompts bundled  any settings, on 40 prompts

    Usage: ulam recipe diff A B [FLAGS]      (each in quotes: stages, or settings as for recipe convert)
    """
    note = silent if quiet else say
    given = list(words or [])
    if len(given) != (2 if engine is None else 1):
        wanted = "two recipes, each in quotes" if engine is None else "one recipe, in quotes, beside --engine"
        raise UsageError(f"recipe diff takes {wanted}; here are {len(given)}", fix='ulam recipe diff "top_p=0.9" "min_p=0.05"')
    loaded = loaded_from(model, context)
    refuse_engine(loaded)
    first = understood(read_source(given[0]), False)[1].bind(loaded.vocabulary)
    second = understood(read_source(given[1]), False)[1] if engine is None else there(engine, first)
    made = "" if engine is None else f"what {find(engine).name} makes of A ({export(find(engine), first).verdict}): "
    text = prompt or bundled()[0]
    found = difference(loaded, first, second.bind(loaded.vocabulary), text, seed)
    place, ours, theirs = parting(loaded, first, second, text, seed, max_tokens)
    many = None if prompts is None else distances(loaded, first, second.bind(loaded.vocabulary), read_prompts(prompts))
    if json:
        print(codec.dumps(document(loaded, first, second, text, seed, found, place, many), ensure_ascii=True, allow_nan=False))
        return 0
    print("\n".join(table(loaded, found)))
    print(f"  total variation {found.total_variation:.3f}{swapped(first, second)}")
    if many:
        print(f"  on {len(many)} prompts {sum(many) / len(many):.3f} on average, {max(many):.3f} at worst")
    if max_tokens:
        print(f"  {apart(loaded, place, ours, theirs, seed, max_tokens)}")
    note(f"── A {first} ({first.id}) · B {made}{second} ({second.id}) · after {text[-40:]!r}, the next token of {loaded.name}")
    return 0


def there(engine: str, recipe: Recipe) -> Recipe:
    """What an engine does with the parameters that come nearest to a recipe."""
    dialect = find(engine)
    return dialect.read(export(dialect, recipe).parameters).recipe


def read_prompts(name: str) -> list[str]:
    found = bundled() if name == "bundled" else [line for line in read_file(name).splitlines() if line]
    if not found:
        raise UsageError(f"{name} has no prompts", fix="one prompt a line")
    return found


def table(model: LanguageModel, found: Difference) -> list[str]:
    """The two laws side by side: how many tokens are kept, entropy, the likeliest tokens, the token drawn."""
    sides = [np.asarray(to_numpy(law.probs), dtype=float) for law in (found.first, found.second)]
    highest = np.maximum(*sides)
    best = [i for i in np.argsort(-highest, kind="stable")[:SHOWN] if highest[i] > 0]
    names = [model.vocabulary.show(int(token)) for token in best]
    head = ["", "kept", "entropy", *names, f"drawn with u {found.uniform:.4f}"]
    rows = [head]
    for letter, law, probs, token in zip("AB", (found.first, found.second), sides, found.drawn, strict=True):
        cells = [letter, str(kept(law)), bits(float(law.entropy_bits), unit=True), *(probability(float(probs[i])) for i in best), model.vocabulary.show(token)]
        rows.append(cells)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    last = len(head) - 1
    return [
        "  " + "  ".join(cell.ljust(w) if at in (0, last) else cell.rjust(w) for at, (cell, w) in enumerate(zip(row, widths, strict=True))).rstrip()
        for row in rows
    ]


def kept(law: Categorical) -> int:
    return int(to_numpy(law.support).sum())


def swapped(first: Recipe, second: Recipe) -> str:
    """Which order matters, if both have the same stages, or that only the choosers differ."""
    a, b = list(first.transforms), list(second.transforms)
    if a == b and first.chooser != second.chooser:
        return f" · only the last stage differs, {first.chooser.name} and {second.chooser.name}"
    if sorted(map(str, a)) != sorted(map(str, b)) or len(set(map(str, a))) != len(a):
        return ""
    place = {str(stage): at for at, stage in enumerate(b)}
    for i, one in enumerate(a):
        for other in a[i + 1 :]:
            if place[str(one)] > place[str(other)] and not commute(one, other):
                return f" · the same stages in another order: B takes {other.name} before {one.name}"
    return " · the same stages in another order, which is the same law" if a != b else ""


def apart(model: LanguageModel, place: int | None, ours: Any, theirs: Any, seed: int, max_tokens: int) -> str:
    """Where two texts part that are drawn with the same dice."""
    if place is None:
        return f"with the same dice (seed {seed}) the two texts are the same for all of {len(ours)} tokens"
    words = [model.vocabulary.show(tokens[place]) if place < len(tokens) else "nothing more" for tokens in (ours, theirs)]
    return f"with the same dice (seed {seed}) the texts part at token {place}: A says {words[0]}, B says {words[1]}"


def document(
    model: LanguageModel, first: Recipe, second: Recipe, prompt: str, seed: int, found: Difference, place: int | None, many: list[float] | None
) -> dict[str, Any]:
    """The shape `ulam.diff/1`."""
    sides = {
        letter: {
            "recipe": str(recipe),
            "recipe_id": recipe.id,
            "kept": kept(law),
            "recipe_entropy_bits": float(law.entropy_bits),
            "drawn": {"id": token, "text": model.vocabulary.show(token)},
        }
        for letter, recipe, law, token in zip("ab", (first, second), (found.first, found.second), found.drawn, strict=True)
    }
    data: dict[str, Any] = {"schema": "ulam.diff/1", "model": model.name, "prompt": prompt, "seed": seed, **sides}
    data |= {"uniform": found.uniform, "total_variation": found.total_variation, "first_difference": place}
    if many is not None:
        data["prompts"] = {"count": len(many), "mean": sum(many) / len(many), "worst": max(many)}
    return data
