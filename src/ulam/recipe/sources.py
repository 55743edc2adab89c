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
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any, cast

from ..core.errors import ModelError, RecipeError, UsageError, did_you_mean
from .dialects import find
from .recipe import Recipe

CALLS = {
    "SamplingParams": "vllm",
    "GenerationConfig": "transformers",
    "generate": "transformers",
    "make_sampler": "mlx-lm",
    "ExLlamaV2Sampler": "exllamav2",
    "ComboSampler": "exllamav3",
    "completions": "openai",
}
PYTHON = re.compile(r"(?:\s*(?:(?:from|import)\s[^\n]*|#[^\n]*)\n)*\s*(?:[A-Za-z_]\w*\s*=\s*)?([A-Za-z_][\w.]*)\s*\(")
COMMAND = re.compile(r"(?:\$\s+|sudo\s+|[A-Z_]+=\S*\s+)*(?:\S*[\\/])?(?:llama-[\w-]+|main|server|llama)(?:\.exe)?(?=\s|$)|(?=--?[A-Za-z])")
MODELFILE = re.compile(r"^\s*(?:FROM|PARAMETER)\s", re.MULTILINE | re.IGNORECASE)
INSTRUCTIONS = ("FROM", "PARAMETER", "TEMPLATE", "SYSTEM", "ADAPTER", "LICENSE", "MESSAGE", "REQUIRES", "RENDERER", "PARSER")
FILES = (".json", ".toml", ".yaml", ".yml", ".gguf", ".py", ".txt")
LARGEST = 2**26


@dataclass(frozen=True)
class Source:
    """Settings and whose they are.

    engine      the engine whose parameters they are; None for a recipe of ours
    parameters  by the engine's names
    recipe      the recipe, if they are one
    beside      what was written beside them, and is about other things
    """

    engine: str | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict[str, Any])
    recipe: Recipe | None = None
    beside: Mapping[str, Any] = field(default_factory=dict[str, Any])


def read_source(text: str, engine: str | None = None) -> Source:
    """What a file or a text says. `engine` is whose settings they are, where that cannot be seen.

    Raises `UsageError` and its kinds for what cannot be read, `ModelError` for a broken GGUF file.
    """
    if engine is not None:
        engine = find(engine).name
    path = Path(text) if 0 < len(text) < 4096 and not set("\n\0") & set(text) else None
    try:
        found = path is not None and path.exists()
    except OSError:
        found = False
    if path is not None and found:
        return from_file(path, engine)
    if path is not None and path.suffix.lower() in FILES and not set(" ({=") & set(text):
        raise UsageError(f"there is no file {text}", fix=UNDERSTOOD)
    return from_text(text, engine)


def from_file(path: Path, engine: str | None) -> Source:
    if path.suffix == ".gguf":
        from ..models.gguf_file import sampling

        return Source(engine or "llama.cpp", renamed(sampling(path), "llama.cpp", "GGUF"))
    try:
        if path.stat().st_size > LARGEST:
            raise UsageError(f"{path} has {path.stat().st_size:,} bytes; settings are at most {LARGEST:,}")
        content = path.read_text(encoding="utf-8-sig")
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
    stripped = text.lstrip("\ufeff").strip()
    if stripped.startswith("{"):
        return from_json(stripped, engine)
    if call := PYTHON.match(stripped):
        names = call[1].split(".")
        whose = next((CALLS[name] for name in names if name in CALLS), None)
        if whose or engine not in (None, "llama.cpp", "ollama"):
            return Source(engine or whose, from_call(stripped))
        if len(names) > 1:
            raise UsageError(f"whose call {call[1]}(...) is cannot be seen", fix="--from vllm, --from mlx-lm, ...")
    if command := COMMAND.match(stripped):
        before = stripped[: command.end()].split()[:-1]
        parameters, beside = from_flags(stripped[command.end() :])
        return Source(engine or "llama.cpp", parameters, beside=dict.fromkeys(before, True) | beside)
    if MODELFILE.search(stripped):
        parameters, beside = from_modelfile(stripped)
        return Source(engine or "ollama", parameters, beside=beside)
    if engine is not None:
        raise UsageError(f"these are no settings of {engine}", fix=UNDERSTOOD)
    if re.search(r"\s--[a-z]", stripped):
        raise UsageError("whose command line this is cannot be seen", fix="begin with the program: llama-cli --temp 0.7")
    return Source(recipe=Recipe(stripped))


UNDERSTOOD = "a recipe, generation_config.json, a request body {...}, SamplingParams(...), flags of llama.cpp, a Modelfile, a preset .yaml, a .gguf file"


def from_json(text: str, engine: str | None) -> Source:
    """A recipe, or a request body; parameters may stand one level deeper, as those of ollama do in `options`."""
    try:
        data: Any = json.loads(text, object_pairs_hook=once, parse_constant=no_number)
    except (ValueError, RecursionError) as error:
        raise RecipeError(f"this is not JSON: {str(error)[:100]}", fix=UNDERSTOOD) from None
    if not isinstance(data, dict):
        raise RecipeError("the settings are no JSON object", fix='{"temperature": 0.8}')
    body = cast(dict[str, Any], data)
    if set(body) == {"stages"} and engine is None:
        return Source(recipe=Recipe.from_json(text))
    if {"temp", "rep_pen"} <= set(body):
        raise UsageError("this is a preset of SillyTavern, which has names of its own", fix="give the request that it sends: its console shows it")
    for key, whose in NESTED.items():
        inner = body.get(key)
        if isinstance(inner, dict) and (engine is None or engine.startswith(whose)):
            return Source(engine or whose, nested(body, key, find(whose).defaults))
    if engine is None and "transformers_version" in body:
        engine = "transformers"
    if engine is None and (not {"messages", "input"} & set(body) or "extra_body" in body):
        raise UsageError("whose settings this JSON is cannot be seen", fix="--from vllm, --from llama.cpp, ...")
    return Source(engine or "openai", flat(body))


NESTED = {"options": "ollama", "sampling_params": "sglang"}
"""Where a request has its parameters one level deeper."""


def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"{next(name for name in names if names.count(name) > 1)} is given twice")
    return found


def no_number(name: str) -> Any:
    raise ValueError(f"{name} is no number there")


def nested(body: Mapping[str, Any], key: str, names: Mapping[str, Any]) -> dict[str, Any]:
    """What stands under `key`, with what stands beside it. Raises `UsageError` for a parameter in the wrong place."""
    if lost := [name for name in body if name in names or name in body[key]]:
        raise UsageError(f"{lost[0]} stands beside {key}, where it is passed over", fix=f"put it in {key}")
    return {name: value for name, value in body.items() if name != key} | body[key]


def flat(parameters: dict[str, Any]) -> dict[str, Any]:
    """With `extra_body`, by which clients hand on what OpenAI does not have."""
    extra = parameters.get("extra_body")
    return nested(parameters, "extra_body", {}) if isinstance(extra, dict) else parameters


def from_call(text: str) -> dict[str, Any]:
    """The keyword arguments of one call in Python; values are literals. Nothing is run."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of backslashes in texts, which are not ours
            body = [each for each in ast.parse(text).body if not isinstance(each, (ast.Import, ast.ImportFrom))]
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise UsageError(f"this is not Python: {str(error)[:100]}", fix="SamplingParams(temperature=0.8, top_p=0.95)") from None
    call = getattr(body[0], "value", None) if len(body) == 1 else None
    if not isinstance(call, ast.Call):
        raise UsageError("this is not one call", fix="SamplingParams(temperature=0.8, top_p=0.95)")
    if call.args and "generate" not in (getattr(call.func, "attr", ""), getattr(call.func, "id", "")):
        raise UsageError("its arguments have no names", fix="SamplingParams(temperature=0.8, top_p=0.95)")
    found: dict[str, Any] = {}
    for each in call.keywords:
        if each.arg is None:
            raise UsageError(f"**{ast.unparse(each.value)} is not spelled out", fix="write the arguments one by one")
        if each.arg in found:
            raise UsageError(f"{each.arg} is given twice", fix=f"{each.arg}=...")
        try:
            found[each.arg] = ast.literal_eval(each.value)
        except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
            raise UsageError(f"{each.arg}={ast.unparse(each.value)[:60]} is no plain value", fix=f"write its value, or leave {each.arg} out") from None
    return flat(found)


TEXTS = frozenset({"-p", "--prompt", "-sys", "--system-prompt", "-r", "--reverse-prompt", "--in-prefix", "--in-suffix", "--chat-template", "-f", "-m"})
"""Flags of llama.cpp whose value may look like a flag."""


def from_flags(text: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The flags of a command line of llama.cpp that are about sampling, and the others."""
    try:
        words = shlex.split(re.sub(r"[\\^`][ \t]*\r?\n", " ", text))
    except ValueError as error:
        raise UsageError(f"this is no command line: {error}".replace("No closing", "no closing")) from None
    flags: Mapping[str, str] = engine_table("llama.cpp", "FLAGS")
    found: dict[str, Any] = {}
    others: dict[str, Any] = {}
    words.reverse()
    while words:
        word = words.pop()
        name, joined, value = word.partition("=") if word.startswith("--") else (word, "", "")
        name = name.replace("_", "-") if name.startswith("--") else name
        target = flags.get(name)
        if name == "--ignore-eos":  # the one about sampling that takes no value
            found["ignore_eos"] = True
            continue
        if target is None:
            if near := get_close_matches(name, flags, 1, 0.8) if len(name) > 4 and name != "--main-gpu" else []:
                raise UsageError(f"llama.cpp has no flag {name}. Did you mean {near[0]}?", fix=f"leave out {name}")
            values = [value] if joined else []
            while words and not joined and (not is_flag(words[-1]) or (name in TEXTS and not values)):
                values.append(words.pop())
            others[name] = " ".join(values) or True
            continue
        if not joined:
            if not words:
                raise UsageError(f"{name} needs a value", fix=f"{name} 0.8")
            value = words.pop()
        if target == "logit_bias":
            token, added = bias(name, value)
            pairs = found.setdefault(target, {})
            pairs[token] = pairs.get(token, 0) + added
        elif target == "dry_sequence_breakers":
            found[target] = [*found.get(target, []), *([] if value == "none" else [value.replace("\\n", "\n")])]
        elif target == "samplers":
            found[target] = [each for each in re.split("[;,]", value) if each]
        else:
            found[target] = plain_value(value)
    return found, others


def is_flag(word: str) -> bool:
    return re.fullmatch(r"--?[A-Za-z][^\s]*", word) is not None


def bias(name: str, value: str) -> tuple[int, float]:
    """`TOKEN+BIAS` or `TOKEN-BIAS`."""
    parts = re.fullmatch(r"(\d{1,18})([+-](?:\d+\.?\d*(?:e[+-]?\d+)?|\.\d+|inf))", value)
    if not parts:
        raise UsageError(f"{name} {' '.join(value.split())} is not TOKEN+BIAS", fix=f"{name} 15043+1")
    return int(parts[1]), float(parts[2])


def from_modelfile(text: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The PARAMETER lines of a Modelfile, and its other instructions. A text between three quotes may hold anything."""
    found: dict[str, Any] = {}
    others: dict[str, Any] = {}
    lines = iter(text.splitlines())
    for line in lines:
        words = line.split(None, 1)
        if not words or words[0].startswith("#"):
            continue
        name, value = words[0].upper(), words[1].strip() if len(words) > 1 else ""
        if name not in INSTRUCTIONS:
            raise UsageError(f"a Modelfile has no {words[0]}.{did_you_mean(name, INSTRUCTIONS)}", fix="PARAMETER temperature 0.8")
        parts = value.split(None, 1)
        while value.count('"""') % 2:
            more = next(lines, None)
            if more is None:
                raise UsageError(f'{name} has no closing """', fix=f'{name} """..."""')
            value += f"\n{more}"
        if name != "PARAMETER":
            others[name] = value.replace('"""', "")
            continue
        if len(parts) < 2:
            raise UsageError(f"{line.strip()} has no value", fix="PARAMETER temperature 0.8")
        given = value.split(None, 1)[1]
        setting = plain_value(given.strip('"') if given.strip('"') else given)
        found[parts[0]] = [*found.get(parts[0], []), setting] if parts[0] == "stop" else setting
    return found, others


def from_yaml(text: str) -> dict[str, Any]:
    """A preset: one level of names and plain values."""
    import yaml

    try:
        data: Any = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError, ValueError, TypeError) as error:
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
