"""What the user types after `-m`, or has at hand, to a model."""

from __future__ import annotations

import importlib
import inspect
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..core.errors import ModelError, UsageError, did_you_mean
from .protocol import LanguageModel
from .table import abc

STORIES = Path(__file__).parent / "stories"
BUILT_IN = ("stories", "abc")
DIRECTORY = "give a directory with config.json, model.safetensors and tokenizer.json, a GGUF file (x.gguf), a table (x.json), or a built-in model: stories, abc"
HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}")


@dataclass(frozen=True)
class Backend:
    """A file of this folder that opens models: `open_model(spec, **options)`, whose keywords are the options that `load` takes for it.

    extra  the extra of the package that installs what the file imports, or None
    """

    module: str
    extra: str | None = None


BACKENDS = {
    "builtin": Backend("builtin"),
    "transformers": Backend("transformers_folder", "transformers"),
    "llama_cpp": Backend("llama_cpp", "gguf"),
}


def load(
    spec: str | Path | LanguageModel | Callable[[list[int]], Any] = "stories",
    tokenizer: Any = None,
    backend: str = "auto",
    **options: Any,
) -> LanguageModel:
    """A language model from its name, or from an object.

    spec       `stories` (children's stories, in the package), `abc` (three letters, a table), the path of a checkpoint directory,
               a model on the hub (`owner/name`), the path of a GGUF file (`x.gguf`), the path of a table (`x.json`, format in
               `models/table_file.py`), a model of transformers, a function from a list of token ids to logits [V]
               (`models/function.py`), or a `LanguageModel`, which is returned as it is. A directory called like a built-in model
               is `./stories`.
    tokenizer  for a model of transformers: its tokenizer. For a function: a `Vocabulary`, or the letters of one (`"abc"`); if it is
               left out the function is called once, with no tokens, and up to 52 tokens are letters. The other models bring
               their own, so it must be None
    backend    what computes: `builtin` (NumPy, plain Llamas, the bits of a row are the same in any batch), `transformers`, `llama_cpp`
               (GGUF files), or `auto`: for a directory builtin if it is a plain Llama in one file of at most 1 GiB and no option is
               given, else transformers
    options    of the backend; transformers has device ("cuda:0"), dtype ("bfloat16") and remote_code (`models/transformers_folder.py`);
               llama_cpp has context, threads and cache (`models/llama_cpp.py`)

    Nothing in a file is run: pickles are refused. What is downloaded is what `owner/name` asks for, unless it is in the cache
    or ULAM_OFFLINE is set. Raises `ModelError` for what cannot be loaded, with one line that names the file and what is wrong
    in it; `UsageError` for a tokenizer, a backend or an option that has no place; for a function that is called, what
    `FunctionModel` raises.
    """
    if backend != "auto" and backend not in BACKENDS:
        raise UsageError(f'unknown backend "{backend}".{did_you_mean(backend, BACKENDS)}', fix=f"backend={', '.join(['auto', *BACKENDS])}")
    if hasattr(spec, "generate") and hasattr(spec, "config"):
        return opener("transformers", "wrap")(spec, tokenizer)
    if callable(spec) and not isinstance(spec, LanguageModel):
        from .function import FunctionModel

        return FunctionModel(spec, tokenizer)
    if tokenizer is not None:
        raise UsageError("this model brings its own tokenizer", fix="leave the tokenizer out")
    if isinstance(spec, Path) or (isinstance(spec, str) and spec not in BUILT_IN):
        return open_spec(str(spec), backend, options)
    if spec == "stories":
        return open_with(backend_of("stories", STORIES, options) if backend == "auto" else backend, STORIES, "stories", options)
    refuse_options(backend, options)
    if spec == "abc":
        return abc()
    if isinstance(spec, LanguageModel):
        return spec
    raise ModelError(f"a model cannot be made from {type(spec).__name__}", fix=DIRECTORY)


def open_spec(spec: str, backend: str, options: dict[str, Any]) -> LanguageModel:
    """The model in a directory or a file or on the hub, or the error that says why there is none."""
    path = Path(os.path.expanduser(spec))
    if path.suffix == ".json" and os.path.isfile(path):
        from .table_file import read_table

        refuse_options(backend, options)
        return read_table(path, spec)
    return open_with(backend_of(spec, path, options) if backend == "auto" else backend, path, spec.rstrip("/\\") or spec, options)


def refuse_options(backend: str, options: dict[str, Any]) -> None:
    """Raises `UsageError` for a backend or its options where they have no place: a table and a model in memory compute themselves."""
    if options or backend not in ("auto", "builtin"):
        raise UsageError(f"the backend and its {', '.join(options) or 'options'} are for checkpoints", fix="leave them out")


def open_with(chosen: str, path: Path, name: str, options: dict[str, Any]) -> LanguageModel:
    """The model at a path, or on the hub, by this backend. Raises `UsageError` for an option that it does not have."""
    open_model = opener(chosen)
    known = list(inspect.signature(open_model).parameters)[2:]
    for option in options:
        if option not in known:
            raise UsageError(f"the backend {chosen} has no option {option}.{did_you_mean(option, known)}", fix=f"it has {', '.join(known) or 'none'}")
    return open_model(path, name, **options)


def backend_of(spec: str, path: Path, options: dict[str, Any]) -> str:
    """The backend for a spec of which the user did not say."""
    if spec and os.path.isdir(path):  # os.path says no where pathlib raises: names that are too long, folders that may not be read
        from .checkpoint import plain_llama

        return "builtin" if not options and plain_llama(path, spec) else "transformers"
    if HUB_ID.fullmatch(spec) and not os.path.exists(path) and path.suffix not in (".json", ".gguf"):
        return "transformers"
    if path.suffix == ".gguf" and os.path.isfile(path):
        return "llama_cpp"
    raise no_model(spec, path)


def opener(name: str, call: str = "open_model") -> Callable[..., LanguageModel]:
    """`call` of a backend's file. Raises `ModelError` if what it imports is not installed."""
    backend = BACKENDS[name]
    try:
        return getattr(importlib.import_module(f".{backend.module}", __package__), call)
    except ModuleNotFoundError as error:
        if backend.extra is None or (error.name or "").startswith("ulam"):
            raise
        what = f'the backend {name} needs the extra "{backend.extra}", which is not installed ({error.name} is missing)'
        raise ModelError(what, fix=f'pip install "ulam[{backend.extra}]"') from None


def no_model(spec: str, path: Path) -> ModelError:
    """Why there is no model in a path that is no directory and no table."""
    from .checkpoint import READS, refuse_pickle

    if spec.startswith(("http://", "https://")):
        return ModelError(f"{spec} is a server; {READS}", fix=DIRECTORY)
    if os.path.isfile(path):
        refuse_pickle(path, spec)
        return ModelError(f"{spec} is a file; {READS}", fix=DIRECTORY)
    if "/" in spec or "\\" in spec or path.suffix in (".json", ".gguf"):
        return ModelError(f"there is no {spec}; nothing is downloaded", fix=DIRECTORY)
    return ModelError(f'unknown model "{spec}".{did_you_mean(spec, BUILT_IN)}', fix=DIRECTORY)
