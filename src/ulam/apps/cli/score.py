"""`ulam score [TEXT] [STAGE ...]`: how surprising a text is to a model, and how likely under a recipe."""

from __future__ import annotations

import json as codec
import os
import sys
import time
from typing import Annotated, Any

import numpy as np
import typer

from ... import __version__
from ...core.errors import UsageError
from ...decode import Score
from ...decode import score as score_text
from ...decode.samples import model_entry
from ...models.protocol import LanguageModel
from ...render.columns import wrap
from ...render.receipt import receipt
from ...render.terminal import is_terminal, visible, width
from .flags import HiddenBackendFlag, HiddenOfflineFlag, HiddenOptionsFlag, ModelFlag, QuietFlag, RecipeFlag
from .progress import Progress, after_a_second
from .reading import read_text
from .recipes import Given, choose_recipe
from .sample import loaded_from
from .summary import notes, titled
from .surprise import TOLD, Unit, marked, misspelt, model_parts, recipe_parts, table
from .talk import say, silent
from .typed import Text
from .words import quote


def score(
    context: typer.Context,
    words: Annotated[list[str] | None, typer.Argument()] = None,
    file: Annotated[str | None, typer.Option("-f", "--file", metavar="FILE", help="a file with the text; every word is then a stage")] = None,
    before: Annotated[str, typer.Option("--prompt", metavar="TEXT", help="what stands before the text; it is read and not scored")] = "",
    per: Annotated[Unit | None, typer.Option("--per", metavar="UNIT", help="a line for every token, word or line, in place of the text")] = None,
    peaks: Annotated[int | None, typer.Option("--peaks", metavar="K", help=f"how many of the most surprising tokens are marked ({TOLD})")] = None,
    model: ModelFlag = "stories",
    recipe: RecipeFlag = None,
    json: Annotated[bool, typer.Option("--json", help="one JSON object: every token with its log-probabilities")] = False,
    quiet: QuietFlag = False,
    backend: HiddenBackendFlag = "auto",
    options: HiddenOptionsFlag = None,
    offline: HiddenOfflineFlag = False,
    settings: dict[str, Any] | None = None,
) -> int:
    """ulam score: how surprising a text is, token by token, in bits. Nothing is drawn.

      ulam score "Once upon a time there was a dragon."   surprising tokens are marked: [dragon 11.3]
      ulam score "There was a dragon." top_p=0.95         also under a recipe, and what that cannot say
      ulam score -f essay.txt --per word                  a line for every word
      ulam score " ran." --prompt "The dog" --json        after a prompt; every number, as data

    Usage: ulam score [TEXT] [STAGE ...] [FLAGS]      (TEXT may also come from a pipe)
    """
    note = silent if quiet else say
    typed = Text(context, words or [], file, "score")
    given = choose_recipe(typed, recipe, settings or {})
    check(per, peaks, json)
    text, joined = read_text(typed.text, file, typed.from_input, note, typed.verb)
    if not text:
        raise UsageError("the text is empty, so there is nothing to score", fix='ulam score "Once upon a time"')
    with after_a_second(lambda: note(f"loading {model} ...")):
        loaded = loaded_from(model, context)
    progress = Progress(1, wanted=not quiet, beside_text=False)
    started = time.perf_counter()
    try:
        found = score_text(
            loaded,
            text,
            None if given.source == "default" else given.recipe,
            prompt=before,
            watch=lambda done, _: progress.count(tokens=done - progress.tokens),
        )
    finally:
        progress.stop()
    seconds = time.perf_counter() - started
    warnings = [*(f"{stage} is neutral and left out of the recipe" for stage in given.idle), *given.notes]
    warnings += [told for told in (misspelt(text, found, loaded.vocabulary), named_like(typed.text)) if told]
    if json:
        print(codec.dumps(document(found, loaded, given, seconds, warnings), ensure_ascii=is_terminal(sys.stdout), allow_nan=False))
    else:
        shown = marked(found, loaded.vocabulary, peaks or TOLD) if per is None else "\n".join(table(found, loaded.vocabulary, per))
        print(visible(shown) if is_terminal(sys.stdout) else shown)
    size = width(sys.stderr) if is_terminal(sys.stderr) else None
    first = [titled(loaded), *(["standard input, then the text"] if joined else []), *model_parts(found, loaded, peaks or TOLD)]
    told = [receipt(first, size), *(receipt(parts, size, "   ") for parts in (recipe_parts(found, loaded.vocabulary), warnings) if parts), *notes(loaded)]
    for line in "\n".join(told).split("\n"):
        note(visible("\n".join(wrap(line, max(24, size))) if size else line))
    return 0


def named_like(text: str | None) -> str | None:
    """What is to be said if the text is a word that names a file, which nobody has read."""
    return f"the text is the name of a file; for what is in it: ulam score -f {quote(text)}" if text and os.path.isfile(text) else None


def check(per: Unit | None, peaks: int | None, json: bool) -> None:
    """Flags that say one thing. Raises `UsageError`."""
    if per is not None and json:
        raise UsageError(f"--json has every token, and --per {per.value} is for people; choose one")
    if peaks is not None and (json or per is not None):
        raise UsageError(f"--peaks marks tokens in the text, and {'--json' if json else '--per'} shows all of them", fix="leave it out")
    if peaks is not None and peaks < 1:
        raise UsageError(f"--peaks {peaks} is less than 1", fix=f"--peaks {TOLD}")


def document(found: Score, model: LanguageModel, given: Given, seconds: float, warnings: list[str]) -> dict[str, Any]:
    """The score in the shape `ulam.score/1`."""
    source = {} if found.recipe is None else {"recipe_from": given.source}
    facts = {"versions": {"ulam": __version__, "numpy": np.__version__}, "seconds": round(seconds, 3), "warnings": warnings}
    return {"schema": "ulam.score/1", "model": model_entry(model), **source, **found.to_dict(model.vocabulary), **facts}
