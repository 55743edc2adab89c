"""`ulam.load`: a model from its name, wherever it computes; here those that compute elsewhere or by themselves, the rest is `models/load.py`."""

from __future__ import annotations

import importlib
import inspect
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..core.errors import ModelError, UsageError, did_you_mean
from ..models.load import BACKENDS
from ..models.load import load as load_model
from ..models.protocol import LanguageModel

SCHEMES = ("http://", "https://")
OFFLINE = "ULAM_OFFLINE"

ENGINES = {"remote": ("open_remote", "open_remote", "remote"), "vllm": ("vllm_engine", "open_engine", "vllm")}
"""Backends that generate by themselves: the file of this folder, what opens them, and the extra that they need."""


def load(
    spec: str | Path | LanguageModel | Callable[[list[int]], Any] = "stories",
    tokenizer: Any = None,
    backend: str = "auto",
    offline: bool = False,
    **options: Any,
) -> Any:
    """A language model from its name, or from an object; or an engine, which generates by itself and can be sampled from.

    spec, tokenizer, backend   as `ulam.models.load`, and two more: the URL of an OpenAI-compatible server, `http://host:port/v1`
                               (`adapters/remote.py`), and `backend="vllm"` for a directory (`adapters/vllm_engine.py`)
    offline                    open no connection; also where ULAM_OFFLINE is set
    options                    of the backend

    Raises what `ulam.models.load` raises, and `ModelError` for a server that cannot be reached.
    """
    served = isinstance(spec, str) and is_server(spec)
    if backend not in ("auto", *BACKENDS, *ENGINES):
        known = ["auto", *BACKENDS, *ENGINES]
        raise UsageError(f'unknown backend "{backend}".{did_you_mean(backend, known)}', fix=f"backend={', '.join(known)}")
    if (served and backend not in ("auto", "remote")) or (backend == "remote" and not served):
        raise UsageError(f"the backend {backend} is not for {spec}", fix="leave the backend out, or http://host:port/v1 with remote")
    with closed(offline):
        if not served and backend not in ENGINES:
            return load_model(spec, tokenizer, backend, **options)
        if tokenizer is not None:
            raise UsageError("this model brings its own tokenizer", fix="leave the tokenizer out")
        if served:
            if is_offline():
                raise ModelError("offline, so no connection to a server is opened", fix="without --offline and ULAM_OFFLINE, or a model that is here")
            return opened("remote", options, spec)
        return opened(backend, options, Path(os.path.expanduser(str(spec))), str(spec))


def is_server(spec: str) -> bool:
    """Whether a name is the URL of a server."""
    return spec.startswith(SCHEMES)


def is_offline() -> bool:
    return os.environ.get(OFFLINE, "") not in ("", "0")


@contextmanager
def closed(offline: bool) -> Iterator[None]:
    """Inside, what looks at ULAM_OFFLINE opens no connection if that is wanted."""
    before = os.environ.get(OFFLINE)
    if offline:
        os.environ[OFFLINE] = "1"
    try:
        yield
    finally:
        if offline:
            os.environ.pop(OFFLINE)
            os.environ.update({} if before is None else {OFFLINE: before})


def opened(backend: str, options: dict[str, Any], *given: Any) -> Any:
    """What the file of an engine opens. Raises `ModelError` if what it imports is not installed, `UsageError` for an option that it has not."""
    module, call, extra = ENGINES[backend]
    try:
        opener = getattr(importlib.import_module(f".{module}", __package__), call)
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("ulam"):
            raise
        what = f'the backend {backend} needs the extra "{extra}", which is not installed ({error.name} is missing)'
        raise ModelError(what, fix=f'pip install "ulam[{extra}]"') from None
    known = list(inspect.signature(opener).parameters)[len(given) :]
    for name in options:
        if name not in known:
            raise UsageError(f"the backend {backend} has no option {name}.{did_you_mean(name, known)}", fix=f"it has {', '.join(known)}")
    return opener(*given, **options)
