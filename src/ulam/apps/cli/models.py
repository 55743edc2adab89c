"""`ulam models [SPEC]`: the models inside, or what a name resolves to. No weights are read."""

from __future__ import annotations

import json as codec
import sys
from typing import Annotated, Any

import typer

from ...adapters.load import is_server, load
from ...core.errors import UlamError
from ...models.about import About, about, built_in
from ...render.columns import columns
from ...render.terminal import is_terminal, width
from .flags import BackendFlag, OfflineFlag, OptionsFlag, model_options
from .recipes import proposal
from .words import as_flags

Entry = dict[str, Any]


def models(
    spec: Annotated[str | None, typer.Argument(metavar="SPEC")] = None,
    backend: BackendFlag = "auto",
    options: OptionsFlag = None,
    offline: OfflineFlag = False,
    json: Annotated[bool, typer.Option("--json", help="one JSON object")] = False,
) -> int:
    """ulam models: the models inside, or what a name after -m means. No weights are read.

      ulam models                               the models inside
      ulam models ./my-model                    a directory: backend, tokens, context, settings
      ulam models http://localhost:8000/v1      a server: which models, which engine
      ulam -m ./my-model --model-option device=cuda:0 "Once"    options, with every -m

    Usage: ulam models [SPEC] [FLAGS]

    SPEC is stories, abc, a directory with config.json, x.gguf, a table x.json, owner/name on the hub,
    or the URL of an OpenAI-compatible server. A key for it is read from ULAM_API_KEY.
    """
    found = [entry(each) for each in built_in()] if spec is None else [described(spec, backend, options or [], offline)]
    if json:
        document = {"schema": "ulam.models/1", "models": found}
        print(codec.dumps(document, ensure_ascii=is_terminal(sys.stdout), allow_nan=False))
    elif spec is None:
        print(columns([row(each) for each in found], size()), end="")
    else:
        print(columns([(name, value) for name, value in page(found[0])], size(), indent=0), end="")
    return 0


def size() -> int:
    return width(sys.stdout) if is_terminal(sys.stdout) else 100


def described(spec: str, backend: str, options: list[str], offline: bool) -> Entry:
    """A model that was named. A server is asked; everything else is read."""
    if not is_server(spec):
        return entry(about(spec, backend))
    given = model_options(backend, options, offline)
    try:
        engine = load(spec, **given)
    except UlamError as error:
        error.fix = as_flags(error.fix or "") or None
        raise
    capabilities = sorted(engine.capabilities)
    facts = {
        "name": engine.name,
        "backend": "remote",
        "kind": "engine",
        "engine": engine.dialect.name,
        "recognised": engine.recognised,
        "vocabulary": None,
        "context": None,
    }
    return {"spec": spec, **facts, "capabilities": capabilities, "extra": "remote", "installed": True, "proposed": {}, "recipe": None}


def entry(found: About) -> Entry:
    recipe, note = shipped(found)
    return {
        "spec": found.spec,
        "name": found.spec.rstrip("/\\"),
        "backend": found.backend,
        "kind": "model",
        "vocabulary": found.vocabulary,
        "context": found.context,
        "capabilities": None if found.capabilities is None else list(found.capabilities),
        "extra": found.extra,
        "installed": found.installed,
        "proposed": found.proposed,
        "recipe": recipe,
        **({"note": note} if note else {}),
    }


def shipped(found: About) -> tuple[str | None, str | None]:
    """The settings that the makers propose as a recipe, or why they are none."""
    try:
        reading = proposal(found)
    except UlamError as error:
        return None, error.what
    return None if reading is None else str(reading.recipe), None


def row(found: Entry) -> tuple[str, ...]:
    context = f"context {found['context']}" if found["context"] is not None else "no limit"
    return found["name"], found["backend"], f"{found['vocabulary']} tokens", context, ", ".join(found["capabilities"] or [])


def page(found: Entry) -> list[tuple[str, str]]:
    """Everything about one model, a line each."""
    unknown = "known once it is loaded"
    rows = [(found["name"], "model" if found["kind"] == "model" else "a server: draws by itself, shows a part of its logits")]
    needs = f", needs the extra {found['extra']}{'' if found['installed'] else ', which is not installed'}" if found["extra"] else ""
    rows += [("backend", found["backend"] + needs)]
    if found["kind"] == "engine":
        unsure = "not recognised, taken for {}; if it is another one: --model-option engine=NAME"
        rows += [("engine", found["engine"] if found["recognised"] else unsure.format(found["engine"]))]
    else:
        rows += [("vocabulary", unknown if found["vocabulary"] is None else f"{found['vocabulary']} tokens")]
        limit = "no limit" if found["backend"] == "table" else unknown
        rows += [("context", limit if found["context"] is None else f"{found['context']} tokens")]
        capabilities = found["capabilities"]
        rows += [("capabilities", unknown if capabilities is None else ", ".join(capabilities) or "none")]
        rows += [("proposed", found["recipe"] or found.get("note") or "no settings; nothing is applied that a recipe does not list")]
    return rows
