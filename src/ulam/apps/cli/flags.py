"""Flags made from the method files: `--top-p 0.9` for a method that one number sets, `--greedy` for one with nothing to set."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Annotated, Any, TypeAlias

import typer

from ...core.errors import UsageError
from ...core.parameter import parameters
from ...core.values import Call, Reader, Word
from ...methods import ALIASES, Method, catalogue

PANEL = "Stages"

MODELS = "stories, abc, a directory, x.gguf, x.json, http://host:port/v1 (or $ULAM_MODEL)"
ModelFlag: TypeAlias = Annotated[str, typer.Option("-m", "--model", metavar="MODEL", envvar="ULAM_MODEL", help=MODELS)]
BackendFlag: TypeAlias = Annotated[str, typer.Option("--backend", metavar="NAME", help="what computes: builtin, transformers, llama_cpp, remote, ... (auto)")]
OptionsFlag: TypeAlias = Annotated[
    list[str] | None,
    typer.Option("--model-option", metavar="NAME=VALUE", help="an option of the backend, such as device=cuda:0 or draws=here; may be repeated"),
]
OfflineFlag: TypeAlias = Annotated[bool, typer.Option("--offline", help="open no connection ($ULAM_OFFLINE)")]
HiddenBackendFlag: TypeAlias = Annotated[str, typer.Option("--backend", metavar="NAME", hidden=True)]
HiddenOptionsFlag: TypeAlias = Annotated[list[str] | None, typer.Option("--model-option", metavar="NAME=VALUE", hidden=True)]
HiddenOfflineFlag: TypeAlias = Annotated[bool, typer.Option("--offline", hidden=True)]
"""Hidden where the page of help has no room: `ulam models --help` tells."""
RECIPES = "one text, a .toml or .json file, or model: its makers' settings"
RecipeFlag: TypeAlias = Annotated[str | None, typer.Option("-r", "--recipe", metavar="RECIPE", help=RECIPES)]
QuietFlag: TypeAlias = Annotated[bool, typer.Option("-q", "--quiet", help="only errors on standard error")]


def flag(name: str) -> str:
    """A method's name as a flag."""
    return "--" + name.replace("_", "-")


def flagged() -> dict[str, Method]:
    """The methods that a flag can name whole."""
    return {name: method for name, method in catalogue().items() if fits(method)}


def fits(method: Method) -> bool:
    first, *rest = parameters(method.stage) or (None,)
    return first is None or bare(method) or (first.kind in (float, int) and not any(p.required for p in rest))


def bare(method: Method) -> bool:
    """Whether its flag takes no value: nothing has to be set, and what can be set first is no number."""
    declared = parameters(method.stage)
    return not declared or (declared[0].kind is bool and not any(p.required for p in declared))


def with_stage_flags(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function` as a command with a flag for every method; what was given reaches it as `settings`, text (or None) by name.

    A method of others whose flag the command has already is typed as a stage.
    """
    signature = inspect.signature(function, eval_str=True)
    taken = {"--help", "--version", "--debug", *(name for p in signature.parameters.values() for name in declared_flags(p))}
    methods = {name: method for name, method in flagged().items() if name not in signature.parameters and flag(name) not in taken}

    def command(**values: Any) -> Any:
        given = {name: values.pop(name) for name in methods}
        return function(**values, settings={name: value for name, value in given.items() if value})

    own = [p for p in signature.parameters.values() if p.name != "settings"]
    whole = [*own, *(option(name, method) for name, method in methods.items())]
    command.__doc__ = function.__doc__
    command.__signature__ = signature.replace(parameters=whole)  # type: ignore[attr-defined]
    command.__annotations__ = {p.name: p.annotation for p in whole}
    return command


def declared_flags(p: inspect.Parameter) -> list[str]:
    """What a parameter of a command is typed as."""
    return [name for each in getattr(p.annotation, "__metadata__", ()) for name in getattr(each, "param_decls", None) or ()]


def option(name: str, method: Method) -> inspect.Parameter:
    names = [flag(name), *(flag(alias) for alias, target in ALIASES.items() if target == name)]
    kind: Any = bool if bare(method) else list[str] | None
    declared = Annotated[kind, typer.Option(*names, help=method.summary, rich_help_panel=PANEL)]
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None if kind is not bool else False, annotation=declared)


def read_settings(given: dict[str, Any]) -> dict[str, Any]:
    """Numbers (None for a bare flag) by method. Raises `UsageError` for a flag that is given twice or holds no value."""
    return {name: None if values is True else read_value(name, values) for name, values in given.items()}


def read_value(name: str, values: list[str]) -> Any:
    if len(values) > 1:
        raise UsageError(f"{flag(name)} is given twice: {' and '.join(values)}", fix=f"{flag(name)} {values[-1]}")
    reader = Reader(values[0].strip())
    try:
        value = reader.value()
    except UsageError:
        value = None
    if reader.at < len(reader.text) or not isinstance(value, (int, float, Word)):
        raise UsageError(f"{flag(name)} {values[0]} is not a number")
    return value


def model_options(backend: str, options: Sequence[str], offline: bool) -> dict[str, Any]:
    """What `load` is given besides the name of a model. Raises `UsageError`."""
    found: dict[str, Any] = {} if backend == "auto" else {"backend": backend}
    for option in options:
        name, equals, text = option.partition("=")
        name = name.replace("-", "_")
        if not equals or not name.isidentifier():
            raise UsageError(f"--model-option {option} is not NAME=VALUE", fix="--model-option device=cuda:0")
        if name == "api_key":  # other users of the machine see what is typed, and so does the shell's history
            raise UsageError("a key is never an argument", fix="export ULAM_API_KEY=...")
        if name in found:
            raise UsageError(f"--model-option {name} is given twice", fix=f"--model-option {option}")
        found[name] = read_option(text)
    return {**found, "offline": True} if offline else found


def read_option(text: str) -> Any:
    """A number, true, false or a list as such; everything else is text."""
    reader = Reader(text)
    try:
        value = reader.value()
    except UsageError:
        return text
    return text if reader.at < len(text) or isinstance(value, (Word, Call)) else value
