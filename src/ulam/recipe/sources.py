"""Settings as people have them, read: a file or a text to an engine and its parameters, or to a recipe.

    temperature=0.8 top_p=0.95                       a recipe; also .toml, and .json with "stages"
    generation_config.json                           transformers
    a .json file or {...}: a request body            OpenAI, or the engine that is named
    SamplingParams(temperature=0.8)                  vLLM; GenerationConfig(...) and generate(...): transformers
    llama-cli -m x.gguf --temp 0.7                   llama.cpp: a command line, or its flags alone
    Modelfile                                        ollama: the PARAMETER lines
    preset.yaml                                      text-generation-webui
    model.gguf                                       llama.cpp: the keys general.sampling.*

Nothing in them is run. What is not understood is an error that names it.
"""

from __future__ import annotations

import ast
import json
import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from ..core.errors import ModelError, RecipeError, UsageError
from .dialects import find
from .recipe import Recipe

CALLS = {"SamplingParams": "vllm", "GenerationConfig": "transformers", "generate": "transformers"}
PYTHON = re.compile(r"\s*(?:[A-Za-z_][\w.]*\s*=\s*)?(?:[\w.]+\.)?([A-Za-z_]\w*)\s*\(.*\)\s*;?\s*", re.DOTALL)
LARGEST = 2**26


@dataclass(frozen=True)
class Source:
    """Settings and whose they are.

    engine      the engine whose parameters they are; None for a recipe of ours
    parameters  by the engine's names
    recipe      the recipe, if they are one
    """

    engine: str | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict[str, Any])
    recipe: Recipe | None = None


def read_source(text: str, engine: str | None = None) -> Source:
    """What a file or a text says. `engine` is whose settings they are, where that cannot be seen.

    Raises `UsageError` and its kinds for what cannot be read, `ModelError` for a broken GGUF file.
    """
    path = Path(text) if len(text) < 4096 and "\n" not in text and "\0" not in text else None
    if path is not None and is_file(path):
        return from_file(path, engine)
    return from_text(text, engine)


def is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:
        return False


def from_file(path: Path, engine: str | None) -> Source:
    if path.suffix == ".gguf":
        from ..models.gguf_file import sampling

        return Source(engine or "llama.cpp", renamed(sampling(path), "llama.cpp", "GGUF"))
    try:
        if path.stat().st_size > LARGEST:
            raise UsageError(f"{path} has {path.stat().st_size:,} bytes; settings are at most {LARGEST:,}")
        content = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise UsageError(f"{path} is not text", fix=UNDERSTOOD) from None
    except OSError as error:
        raise UsageError(f"cannot read {path}: {(error.strerror or 'it is not a file').lower()}") from None
    try:
        if path.suffix == ".toml":
            return Source(recipe=Recipe.from_toml(content))
        if path.suffix in (".yaml", ".yml"):
            return Source(engine or "text-generation-webui", from_yaml(content))
        if path.suffix == ".json" and engine is None and path.name.startswith("generation_config"):
            engine = "transformers"
        return from_text(content, engine)
    except RecipeError as error:
        error.what = f"{path}: {error.what}"
        raise


def from_text(text: str, engine: str | None) -> Source:
    stripped = text.strip()
    if stripped.startswith("{"):
        return from_json(stripped, engine)
    call = PYTHON.fullmatch(stripped)
    if call and (call[1] in CALLS or engine not in (None, "llama.cpp", "ollama")):
        return Source(engine or CALLS[call[1]], from_call(stripped))
    words = stripped.split(None, 1)
    if stripped.startswith("-") or (words and Path(words[0]).name.startswith(("llama-", "llama_", "main"))):
        return Source(engine or "llama.cpp", from_flags(stripped))
    if re.search(r"^\s*(FROM|PARAMETER)\s", stripped, re.MULTILINE):
        return Source(engine or "ollama", from_modelfile(stripped))
    if engine is not None:
        raise UsageError(f"these are no settings of {engine}", fix=UNDERSTOOD)
    return Source(recipe=Recipe(stripped))


UNDERSTOOD = "a recipe, generation_config.json, a request body {...}, SamplingParams(...), flags of llama.cpp, a Modelfile, a preset .yaml, a .gguf file"


def from_json(text: str, engine: str | None) -> Source:
    """A recipe, or a request body; the options of ollama may stand in `options`."""
    try:
        data: Any = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise RecipeError(f"this is not JSON: {str(error)[:100]}", fix=UNDERSTOOD) from None
    if not isinstance(data, dict):
        raise RecipeError("the settings are no JSON object", fix='{"temperature": 0.8}')
    body = cast(dict[str, Any], data)
    if set(body) == {"stages"} and engine is None:
        return Source(recipe=Recipe.from_json(text))
    if isinstance(body.get("options"), dict) and engine in (None, "ollama"):
        return Source("ollama", cast(dict[str, Any], body["options"]))
    if engine is None and "transformers_version" in body:
        engine = "transformers"
    if engine is None and not {"messages", "input"} & set(body):
        raise UsageError("whose settings this JSON is cannot be seen", fix="--from vllm, --from llama.cpp, ...")
    return Source(engine or "openai", body)


def from_call(text: str) -> dict[str, Any]:
    """The keyword arguments of one call in Python; values are literals. Nothing is run."""
    try:
        body = ast.parse(text.strip()).body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise UsageError(f"this is not Python: {str(error)[:100]}", fix="SamplingParams(temperature=0.8, top_p=0.95)") from None
    call = getattr(body[0], "value", None) if len(body) == 1 else None
    if not isinstance(call, ast.Call):
        raise UsageError("this is not one call", fix="SamplingParams(temperature=0.8, top_p=0.95)")
    if call.args and not (isinstance(call.func, ast.Attribute) and call.func.attr == "generate"):
        raise UsageError("its arguments have no names", fix="SamplingParams(temperature=0.8, top_p=0.95)")
    found: dict[str, Any] = {}
    for each in call.keywords:
        if each.arg is None:
            raise UsageError(f"**{ast.unparse(each.value)} is not spelled out", fix="write the arguments one by one")
        try:
            found[each.arg] = ast.literal_eval(each.value)
        except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
            raise UsageError(f"{each.arg}={ast.unparse(each.value)[:60]} is no plain value", fix=f"write its value, or leave {each.arg} out") from None
    return found


def from_flags(text: str) -> dict[str, Any]:
    """A command line of llama.cpp. Flags that are not about sampling are passed over with their values."""
    try:
        words = shlex.split(text.replace("\\\n", " "))
    except ValueError as error:
        raise UsageError(f"this is no command line: {error}".replace("No closing", "no closing")) from None
    flags: Mapping[str, str] = engine_table("llama.cpp", "FLAGS")
    found: dict[str, Any] = {}
    at = 0
    while at < len(words):
        name, joined, value = words[at].partition("=") if words[at].startswith("--") else (words[at], "", "")
        at += 1
        if name == "--ignore-eos":  # the one about sampling that takes no value
            found["ignore_eos"] = True
        target = flags.get(name)
        if target is None:
            continue
        if not joined:
            if at == len(words):
                raise UsageError(f"{name} needs a value", fix=f"{name} 0.8")
            value = words[at]
            at += 1
        if target == "logit_bias":
            found.setdefault(target, {}).update([bias(name, value)])
        elif target == "dry_sequence_breakers":
            found[target] = [*found.get(target, []), *([] if value == "none" else [value.replace("\\n", "\n")])]
        elif target == "samplers":
            found[target] = [each for each in re.split("[;,]", value) if each]
        else:
            found[target] = plain_value(value)
    return found


def bias(name: str, value: str) -> tuple[int, float]:
    """`TOKEN+BIAS` or `TOKEN-BIAS`."""
    parts = re.fullmatch(r"(\d+)([+-](?:[\d.]+(?:e[+-]?\d+)?|inf))", value)
    if not parts:
        raise UsageError(f"{name} {value} is not TOKEN+BIAS", fix=f"{name} 15043+1")
    return int(parts[1]), float(parts[2])


def from_modelfile(text: str) -> dict[str, Any]:
    """The PARAMETER lines of a Modelfile."""
    found: dict[str, Any] = {}
    for line in text.splitlines():
        words = line.split(None, 2)
        if not words or words[0].upper() != "PARAMETER":
            continue
        if len(words) < 3:
            raise UsageError(f"{line.strip()} has no value", fix="PARAMETER temperature 0.8")
        value = plain_value(words[2].strip().strip('"'))
        found[words[1]] = [*found.get(words[1], []), value] if words[1] == "stop" else value
    return found


def from_yaml(text: str) -> dict[str, Any]:
    """A preset: one level of names and plain values."""
    import yaml

    try:
        data: Any = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError) as error:
        raise RecipeError(f"this is not YAML: {str(error).splitlines()[0][:100]}", fix="temperature: 0.8") from None
    if not isinstance(data, dict):
        raise RecipeError("a preset is one level of names and values", fix="temperature: 0.8")
    return {str(key): value for key, value in cast(dict[Any, Any], data).items()}


def plain_value(word: str) -> Any:
    """A word as a number or a truth value, if it is one."""
    for kind in cast(Sequence[Callable[[str], Any]], (int, float)):
        try:
            return kind(word)
        except ValueError:
            continue
    return {"true": True, "false": False}.get(word.lower(), word)


def engine_table(engine: str, name: str) -> Mapping[str, str]:
    """A table that stands in the file of a dialect."""
    import sys

    return getattr(sys.modules[type(find(engine)).__module__], name)


def renamed(values: Mapping[str, Any], engine: str, table: str) -> dict[str, Any]:
    """Values by an engine's own names. Raises `ModelError` for one that is not known."""
    names = engine_table(engine, table)
    if strange := [key for key in values if key not in names]:
        raise ModelError(f"the file names {strange[0]}, which is no setting of {engine} that is known here", fix="give the settings with --from")
    return {names[key]: value for key, value in values.items()}
