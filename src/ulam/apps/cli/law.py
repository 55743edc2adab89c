"""`ulam law [STAGE ...]`: every text that a recipe can say, with its exact probability."""

from __future__ import annotations

import json as codec
import re
import sys
import warnings
from typing import Annotated, Any

import typer

from ...core.errors import BudgetExceeded, RecipeError, UsageError
from ...core.values import print_value
from ...decode.request import read_prompts
from ...exact.comparison import compare
from ...exact.lines import TOP
from ...exact.size import told
from ...exact.ties import ties
from ...models.cached import CachedModel
from ...recipe import Recipe
from ...render.receipt import counted
from ...render.terminal import is_terminal, width
from .flags import HiddenBackendFlag, HiddenOfflineFlag, HiddenOptionsFlag, ModelFlag, QuietFlag, RecipeFlag
from .law_output import Answer, Question
from .progress import Paths
from .recipes import choose_recipe, read_recipe
from .running import INTERRUPTED
from .sample import loaded_from
from .talk import say
from .typed import Stages
from .words import quote

MOST_PATHS = 10**7  # a larger budget is no advice: it takes hours


def law(
    context: typer.Context,
    words: Annotated[list[str] | None, typer.Argument(metavar="STAGE")] = None,
    prompt: Annotated[str | None, typer.Option("-p", "--prompt", metavar="TEXT", help="the text to continue (none)")] = None,
    length: Annotated[int, typer.Option("--length", "--max-tokens", metavar="T", help="the most tokens a text has (3); also --max-tokens")] = 3,
    model: ModelFlag = "stories",
    recipe: RecipeFlag = None,
    against: Annotated[str, typer.Option("--against", metavar="RECIPE", help="compare with this recipe, or with the bare model (model)")] = "model",
    top: Annotated[int | None, typer.Option("--top", metavar="K", help=f"list the K most probable texts ({TOP}; with --json, all)")] = None,
    event: Annotated[str | None, typer.Option("--event", metavar="REGEX", help="also tell how probable it is that a text matches")] = None,
    budget: Annotated[int, typer.Option("--budget", metavar="N", help="walk at most N paths (1000000)")] = 1_000_000,
    json: Annotated[bool, typer.Option("--json", help="one JSON object: every text with its tokens and probabilities")] = False,
    quiet: QuietFlag = False,
    backend: HiddenBackendFlag = "auto",
    options: HiddenOptionsFlag = None,
    offline: HiddenOfflineFlag = False,
    settings: dict[str, Any] | None = None,
) -> int:
    """ulam law: every text that a recipe can say, with its exact probability. Nothing is drawn.

      ulam law -m abc --length 3 greedy                     greedy says one text of 27
      ulam law -m abc --length 3 top_k=2 --top 4            the likeliest, and what is removed
      ulam law top_k=20 -p "Lily had a pet" --event cat     how probable a word is in three tokens
      ulam law -m abc top_p=0.7 --against temperature=0.5   how far apart two recipes are

    Usage: ulam law [STAGE ...] [FLAGS]      (every word is a stage; the prompt is -p)
    """
    given = choose_recipe(Stages(context, words or [], prompt, "law"), recipe, settings or {})
    check(length, top, budget)
    question = Question(given, read_against(against), prompt or "", length, budget, None if event is None else read_event(event))
    loaded = loaded_from(model, context)
    cached = CachedModel(loaded)
    progress = Paths(question.names.law, question.names.other, wanted=not quiet)
    try:
        found = compare(cached, given.recipe, question.against, question.prompt, length, max_paths=budget, watch=progress.watch)
        tied = ties(found.law, cached, given.recipe, read_prompts(cached, question.prompt)[1][0])
    except BudgetExceeded as error:
        raise in_flags(error, question, model) from None
    except KeyboardInterrupt:
        progress.stop()
        say(f"── interrupted{progress.told()}")
        return INTERRUPTED
    finally:
        progress.stop()
    answer = Answer(question, loaded, found, tied)
    if json:
        print(codec.dumps(answer.document(top), ensure_ascii=is_terminal(sys.stdout), allow_nan=False))
    else:
        print("\n".join(answer.lines(TOP if top is None else top, width(sys.stdout) if is_terminal(sys.stdout) else None)))
    return 0


def check(length: int, top: int | None, budget: int) -> None:
    """Numbers in their range, told in the words of the flags. Raises `UsageError`."""
    for flag, value, least, usual in (("--length", length, 0, 3), ("--top", top, 1, TOP), ("--budget", budget, 1, 1_000_000)):
        if value is not None and value < least:
            raise UsageError(f"{flag} {value} is less than {least}", fix=f"{flag} {usual}")


def read_against(text: str) -> Recipe | None:
    """The recipe to compare with, None for the bare model. An error says that it is about this recipe."""
    try:
        return None if text == "model" else read_recipe(text)
    except RecipeError as error:
        error.what = f"--against: {error.what}"
        raise


def read_event(text: str) -> re.Pattern[str]:
    """Raises `UsageError`, with the place, for what is no regular expression."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about what a later Python may read otherwise
            return re.compile(text)
    except (re.error, OverflowError, RecursionError) as error:
        place = "" if getattr(error, "pos", None) is None else f" at position {error.pos}"  # type: ignore[union-attr]
        what = f"--event {print_value(text)} is no regular expression: {getattr(error, 'msg', error)}{place}"
        raise UsageError(what, fix=f"--event {quote(re.escape(text))}, for this text itself") from None


def in_flags(error: BudgetExceeded, question: Question, model: str) -> BudgetExceeded:
    """The error in the words of the command line, with the way for larger laws."""
    if error.count is not None:
        law = f"the law of {counted(question.length, 'token')} under {question.given.recipe}"
        error.what = f"{law} has {error.count} paths, and --budget allows {told(question.budget)}"
    error.what = error.what.replace("max_paths=", "--budget ")
    ways = [f"--length {error.fits}"] if error.fits else []
    if error.needed is not None:
        ways.append(f"--budget {round(error.needed)}" if error.needed <= MOST_PATHS else "a recipe that keeps fewer tokens")
    stages = [quote(str(stage)) for stage in question.given.recipe.stages]
    words = ["ulam sample", "-p", quote(question.prompt), *stages, "-m", quote(model), "-n 1000", f"--max-tokens {question.length}", "--jsonl"]
    error.fix = ", or ".join([*ways, f"draw some: {' '.join(words)}"])
    return error
