"""`ulam [sample] PROMPT [STAGE ...]`: text from a model under a recipe."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from ...adapters.load import is_server, load
from ...core.errors import ModelError, UlamError, UsageError
from ...decode import stream as start
from ...render.terminal import dim, is_terminal, visible
from .flags import HiddenBackendFlag, HiddenOfflineFlag, HiddenOptionsFlag, ModelFlag, QuietFlag, RecipeFlag, model_options
from .output import JsonLinesWriter, JsonWriter, TextWriter, format_of, opened
from .progress import Progress, after_a_second
from .reading import read_text, unescape
from .recipes import choose_recipe
from .running import draw
from .summary import complaints, notes, summary
from .talk import say, silent
from .typed import Typed
from .words import as_flags

MANY = 33  # more texts than anybody reads on a terminal: a slip for tokens
SHOWN = 400  # characters of the prompt's end that stand before the text on a terminal


def sample(
    context: typer.Context,
    words: Annotated[list[str] | None, typer.Argument()] = None,
    model: ModelFlag = "stories",
    samples: Annotated[int, typer.Option("-n", "--samples", "--num-return-sequences", metavar="N", help="how many texts (1)")] = 1,
    max_tokens: Annotated[
        int, typer.Option("--max-tokens", "--max-new-tokens", "--n-predict", "--predict", "--num-predict", metavar="N", help="the most tokens a text has (256)")
    ] = 256,
    stop: Annotated[list[str] | None, typer.Option("--stop", metavar="TEXT", help=r"end before this text; may be repeated; \n is a line end")] = None,
    seed: Annotated[int | None, typer.Option("--seed", metavar="N", help="0 to 2^64 - 1; the same seed draws the same text (a fresh one, printed)")] = None,
    recipe: RecipeFlag = None,
    prompt: Annotated[str | None, typer.Option("-p", "--prompt", metavar="TEXT", help="the prompt; every word is then a stage")] = None,
    file: Annotated[str | None, typer.Option("-f", "--file", metavar="FILE", help="a file with the prompt; every word is then a stage")] = None,
    json: Annotated[bool, typer.Option("--json", help="one JSON object: every token with its log-probabilities")] = False,
    jsonl: Annotated[bool, typer.Option("--jsonl", help="a JSON object for every event, as it happens")] = False,
    out: Annotated[Path | None, typer.Option("-o", "--out", metavar="FILE", help="write to a .txt, .json or .jsonl file; --force replaces one")] = None,
    force: Annotated[bool, typer.Option("--force", hidden=True)] = False,
    stream: Annotated[bool | None, typer.Option("--stream/--no-stream", help="write text while it is drawn (for one text on a terminal)")] = None,
    null: Annotated[bool, typer.Option("-0", help="end every text with a NUL instead of a line end")] = False,
    quiet: QuietFlag = False,
    backend: HiddenBackendFlag = "auto",
    options: HiddenOptionsFlag = None,
    offline: HiddenOfflineFlag = False,
    settings: dict[str, Any] | None = None,
) -> int:
    """ulam: sample text from a trained language model, and know exactly what you sampled.

      ulam "Once upon a time"                              a story from the model inside
      ulam "Once upon a time" temperature=0.8 top_p=0.95   with a recipe: stages, from left to right
      ulam "Once upon a time" --temp 0.8 -n 3 --seed 7     a recipe as flags; three texts; repeatable
      ulam "Once upon a time" --json > run.json            every token with its probabilities
      cat letter.txt | ulam - -m ./my-model                text from a pipe, a model of your own

    Usage: ulam [sample] PROMPT [STAGE ...] [FLAGS]; also, each with its --help:
      law STAGE ...      every text, exactly       score TEXT          how surprising a text is
      methods [NAME]     what each stage does      recipe VERB         settings of other engines
      audit file:Method  a method of your own      train TEXT -o DIR   a small model of your own
      models [NAME]      what a name after -m means, and the flags --backend, --model-option, --offline
    """
    note = silent if quiet else say
    typed = Typed(context, words or [], prompt, file)
    given = choose_recipe(typed, recipe, settings or {})
    check(samples, max_tokens, seed, stop or [])
    form = format_of(out, json, jsonl)
    if form != "text" and (stream is not None or null):
        raise UsageError(f"{'-0' if null else '--stream or --no-stream'} is about text; --jsonl writes every event as it happens")
    if force and out is None:
        raise UsageError("--force replaces the file of -o, and there is none")
    with opened(out, force) as target, as_typed(model):
        text, joined = read_text(typed.text, file, typed.from_input, note)
        if samples >= MANY and form == "text" and out is None:
            note(f"-n {samples} is {samples} samples; for {samples} tokens: --max-tokens {samples}")
        with after_a_second(lambda: note(f"loading {model} ...")):
            loaded = loaded_from(model, context)
        run = start(loaded, text, given.recipe, n=samples, max_tokens=max_tokens, seed=seed, stop=[unescape(each) for each in stop or []])
        watched = form == "text" and is_terminal(target)
        streams = stream if stream is not None else watched and samples == 1
        extra = {"recipe_from": given.source, "warnings": [*(f"{stage} is neutral and left out of the recipe" for stage in given.idle), *given.notes]}
        if form == "text":
            writer = TextWriter(target, samples, streams=streams, null=null)
        else:
            writer = (JsonWriter if form == "json" else JsonLinesWriter)(target, extra)
        if watched and not quiet and is_terminal(sys.stderr):
            say(dim(visible(shown(text))), end="" if samples == 1 else "\n")
        code = draw(run, writer, Progress(samples, wanted=not quiet and not (watched and streams), beside_text=watched))
    for line in complaints(run, as_flags if is_server(model) else str):
        say(line)
    note("\n".join([summary(run, given, joined, out), *(f"   {text}" for text in given.notes), *notes(run.model)]))
    return code


def check(samples: int, max_tokens: int, seed: int | None, stop: Sequence[str]) -> None:
    """Numbers in their range and stop strings that are some, told in the words of the flags. Raises `UsageError`."""
    for flag, value, least in (("-n", samples, 1), ("--max-tokens", max_tokens, 0)):
        if value < least:
            raise UsageError(f"{flag} {value} is less than {least}", fix=f"{flag} {max(least, 1)}")
    if seed is not None and not 0 <= seed < 2**64:
        raise UsageError(f"--seed {seed} is outside 0 to 2^64 - 1", fix="--seed 7")
    if "" in stop:
        raise UsageError("an empty --stop would stop before the first token", fix="leave it out, or --max-tokens 0")


@contextmanager
def as_typed(model: str) -> Iterator[None]:
    """Inside, an error of a server says what mends it in the words of the command."""
    try:
        yield
    except UlamError as error:
        error.fix = as_flags(error.fix or "") or None if is_server(model) else error.fix
        raise


def loaded_from(model: str, context: typer.Context) -> Any:
    """The model or engine, with its backend and options; an error says where the name came from if nobody typed it."""
    given = context.params
    options = model_options(given["backend"], given["options"] or (), given["offline"])
    try:
        return load(model, **options)
    except ModelError as error:
        source = context.get_parameter_source("model")
        if source is not None and source.name == "ENVIRONMENT":
            error.what += " (from ULAM_MODEL)"
        raise


def shown(prompt: str) -> str:
    """The prompt, or the end of a long one."""
    return prompt if len(prompt) <= SHOWN else "…" + prompt[-SHOWN:]
