"""`ulam recipe convert`: settings of one engine as a recipe, or as settings of another engine, with a verdict."""

from __future__ import annotations

import json as codec
import sys
from dataclasses import replace
from typing import Annotated, Any

import typer

from ...core.errors import UsageError
from ...core.parameter import parameters
from ...core.values import Word
from ...decode.difference import distances
from ...models.prompts import bundled
from ...models.protocol import refuse_engine
from ...recipe import Recipe
from ...recipe.dialects import Export, Reading, Verdict, export, find
from ...recipe.sources import Source, read_source
from ...render.columns import columns
from ...render.terminal import width
from .flags import HiddenBackendFlag, HiddenOfflineFlag, HiddenOptionsFlag, ModelFlag, QuietFlag
from .sample import loaded_from
from .talk import say, silent

INEXACT = 6


def convert(
    context: typer.Context,
    words: Annotated[list[str] | None, typer.Argument(metavar="SETTINGS")] = None,
    target: Annotated[str | None, typer.Option("--to", metavar="ENGINE", help="the engine whose settings are wanted; a recipe if left out")] = None,
    source: Annotated[str | None, typer.Option("--from", metavar="ENGINE", help="whose settings these are, where it cannot be seen")] = None,
    only_written: Annotated[bool, typer.Option("--only-written", help="leave out the engine's defaults that nobody wrote down")] = False,
    measure: Annotated[bool, typer.Option("--measure", help="how far apart the two are, on rows of the model after 40 prompts")] = False,
    allow_inexact: Annotated[bool, typer.Option("--allow-inexact", help="the nearest settings are good enough (else exit code 6)")] = False,
    model: ModelFlag = "stories",
    json: Annotated[bool, typer.Option("--json", help="one JSON object with the settings and every verdict")] = False,
    quiet: QuietFlag = False,
    backend: HiddenBackendFlag = "auto",
    options: HiddenOptionsFlag = None,
    offline: HiddenOfflineFlag = False,
) -> int:
    """ulam recipe convert: settings of one engine in the words of another, and whether they mean the same.

      ulam recipe convert generation_config.json                  what it does, as a recipe
      ulam recipe convert temperature=0.8 top_p=0.95 --to vllm    a recipe as settings of vLLM
      ulam recipe convert "llama-cli --temp 0.7" --to vllm        from one engine to another
      ulam recipe convert body.json --from sglang --to openai     a request body

    Usage: ulam recipe convert SETTINGS [--to ENGINE] [FLAGS]
      SETTINGS  stages; a recipe file; generation_config.json; a JSON body, a file or {...};
                "SamplingParams(...)"; "llama-cli ..."; a Modelfile; a preset .yaml; a .gguf file
      ENGINE    transformers, vllm, sglang, llama.cpp, mlx-lm, ollama, koboldcpp, exllamav2,
                exllamav3, text-generation-webui, openai
    """
    note = silent if quiet else say
    if not words:
        raise UsageError("there are no settings to convert", fix="ulam recipe convert generation_config.json --to vllm")
    reading, recipe = understood(read_source(" ".join(words), source), only_written)
    bind = target is not None and named(recipe)
    loaded = loaded_from(model, context) if measure or bind else None
    if loaded is not None:
        refuse_engine(loaded)
        recipe = recipe.bind(loaded.vocabulary)
    found = None if target is None else export(find(target), recipe)
    if found is None and measure:
        raise UsageError("--measure compares a recipe with what an engine does", fix="--to ENGINE")
    apart = None if found is None or not measure or loaded is None else distances(loaded, recipe, find(found.engine).read(found.parameters).recipe, bundled())
    refused = found is not None and not found.verdict.faithful and not allow_inexact
    if json:
        print(codec.dumps(document(reading, recipe, found, apart), ensure_ascii=True, allow_nan=False))
    elif found is None:
        print(recipe)
    elif not refused:
        print(codec.dumps(found.parameters, ensure_ascii=False))
    for line in told(reading, found, apart):
        note(line)
    if bind and loaded is not None:
        note(f"  token ids are those of {loaded.name}; -m MODEL for another vocabulary")
    if refused and found is not None:
        note(f"  not written: --allow-inexact gives the nearest settings of {found.engine}")
    return INEXACT if refused else 0


def understood(source: Source, only_written: bool) -> tuple[Reading | None, Recipe]:
    """The recipe that the settings are, and how they were read if they are an engine's."""
    if source.recipe is not None:
        return None, source.recipe
    assert source.engine is not None  # a source is one or the other
    reading = find(source.engine).read(source.parameters)
    reading = replace(reading, rest={**source.beside, **reading.rest})
    return reading, reading.written if only_written else reading.recipe


def named(recipe: Recipe) -> bool:
    """Whether a stage names tokens by text or word, so that a model has to say which they are."""
    held = [getattr(stage, p.name) for stage in recipe.stages for p in parameters(stage) if p.kind in (list, dict) and p.items != "text"]
    return any(isinstance(key, (str, Word)) for values in held for item in values for key in (item[:1] if isinstance(item, tuple) else (item,)))


def told(reading: Reading | None, found: Export | None, apart: list[float] | None) -> list[str]:
    """What is to be known, in lines."""
    lines: list[str] = []
    if reading is not None:
        lines.append(f"── {reading.engine}: {reading.recipe}")
        if reading.hidden:
            it = "it" if len(reading.hidden) == 1 else "them"
            stages = ", ".join(map(str, reading.hidden))
            lines.append(f"  nobody wrote {stages}: {plural(len(reading.hidden))} of {reading.engine} (--only-written leaves {it} out)")
        if reading.rest:
            lines.append(f"  not part of a recipe: {', '.join(f'{key}={shown(value)}' for key, value in reading.rest.items())}")
        lines += [f"  {text}" for text in reading.notes]
    if found is None:
        return lines
    lines.append(f"── {'. '.join([f'{found.engine}: {found.verdict}', *found.notes])}")
    if apart:
        lines.append(f"  on {len(apart)} prompts of ulam total variation is {sum(apart) / len(apart):.2g} on average, {max(apart):.2g} at worst")
    if any(each.verdict is not Verdict.EXACT or each.note for each in found.stages):
        rows = [(each.stage, str(each.verdict) + (f": {each.note}" if each.note else "")) for each in found.stages]
        lines.append(columns(rows, width(sys.stderr)).rstrip("\n"))
    return lines


def plural(count: int) -> str:
    return "a hidden default" if count == 1 else f"{count} hidden defaults"


def shown(value: Any) -> str:
    text = codec.dumps(plain(value), ensure_ascii=False)
    return text if len(text) <= 60 else text[:57] + "..."


def plain(value: Any) -> Any:
    """A value as JSON can hold it; what JSON has no word for, as it is written in Python."""
    try:
        codec.dumps(value, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        return repr(value)
    return value


def document(reading: Reading | None, recipe: Recipe, found: Export | None, apart: list[float] | None) -> dict[str, Any]:
    """The shape `ulam.convert/1`."""
    data: dict[str, Any] = {"schema": "ulam.convert/1", "recipe": str(recipe), "recipe_id": recipe.id}
    if reading is not None:
        data["from"] = {
            "engine": reading.engine,
            "hidden_defaults": [str(stage) for stage in reading.hidden],
            "rest": {key: plain(value) for key, value in reading.rest.items()},
            "notes": list(reading.notes),
        }
    if found is not None:
        data["to"] = {
            "engine": found.engine,
            "verdict": str(found.verdict),
            "parameters": found.parameters,
            "stages": [{"stage": each.stage, "verdict": str(each.verdict), "note": each.note} for each in found.stages],
            "notes": list(found.notes),
        }
    if apart is not None:
        data["total_variation"] = {"prompts": len(apart), "mean": sum(apart) / len(apart), "worst": max(apart)}
    return data
