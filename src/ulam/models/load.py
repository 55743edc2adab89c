"""What the user types after `-m`, or has at hand, to a model."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..core.errors import ModelError, UsageError, did_you_mean
from .protocol import LanguageModel
from .table import abc

STORIES = Path(__file__).parent / "stories"
BUILT_IN = ("stories", "abc")
DIRECTORY = "give a directory with config.json, model.safetensors and tokenizer.json, a table (x.json), or a built-in model: stories, abc"


def load(spec: str | Path | LanguageModel | Callable[[list[int]], Any] = "stories", tokenizer: Any = None) -> LanguageModel:
    """A language model from its name, or from a function.

    spec       `stories` (children's stories, in the package), `abc` (three letters, a table), the path of a checkpoint
               directory of the Llama architecture, the path of a table (`x.json`, format in `models/table_file.py`), a
               function from a list of token ids to logits [V] (`models/function.py`), or a `LanguageModel`, which is returned
               as it is. A directory called like a built-in model is `./stories`.
    tokenizer  for a function: a `Vocabulary`, or the letters of one (`"abc"`); if it is left out the function is called once, with
               no tokens, and up to 52 tokens are letters. The other models bring their own, so it must be None

    Nothing is downloaded and nothing in a file is run: pickles are refused. Raises `ModelError` for what cannot be loaded,
    with one line that names the file and what is wrong in it; `UsageError` for a tokenizer that has no place; for a function
    that is called, what `FunctionModel` raises.
    """
    if callable(spec) and not isinstance(spec, LanguageModel):
        from .function import FunctionModel

        return FunctionModel(spec, tokenizer)
    if tokenizer is not None:
        raise UsageError("this model brings its own tokenizer", fix="leave the tokenizer out")
    if isinstance(spec, Path) or (isinstance(spec, str) and spec not in BUILT_IN):
        return read_path(str(spec))
    if spec == "abc":
        return abc()
    if spec == "stories":
        return open_checkpoint(STORIES, "stories")
    if isinstance(spec, LanguageModel):
        return spec
    raise ModelError(f"a model cannot be made from {type(spec).__name__}", fix=DIRECTORY)


def open_checkpoint(folder: Path, name: str) -> LanguageModel:
    from .builtin import Llama  # with it come safetensors and tokenizers, which a table does not need
    from .checkpoint import Checkpoint

    return Llama(Checkpoint(folder, name))


def read_path(spec: str) -> LanguageModel:
    """The model in a directory or a file, or the error that says why there is none."""
    path = Path(os.path.expanduser(spec))
    if spec and os.path.isdir(path):  # os.path says no where pathlib raises: names that are too long, folders that may not be read
        return open_checkpoint(path, spec.rstrip("/\\") or spec)
    if path.suffix == ".json" and os.path.isfile(path):
        from .table_file import read_table

        return read_table(path, spec)
    raise no_model(spec, path)


def no_model(spec: str, path: Path) -> ModelError:
    """Why there is no model in a path that is no directory and no table."""
    from .checkpoint import READS, refuse_pickle

    if spec.startswith(("http://", "https://")):
        return ModelError(f"{spec} is a server; {READS}", fix=DIRECTORY)
    if path.suffix == ".gguf":
        return ModelError(f"{spec} is a GGUF file; {READS}", fix=DIRECTORY)
    if os.path.isfile(path):
        refuse_pickle(path, spec)
        return ModelError(f"{spec} is a file; {READS}", fix=DIRECTORY)
    if "/" in spec or "\\" in spec or path.suffix == ".json":
        return ModelError(f"there is no {spec}; nothing is downloaded", fix=DIRECTORY)
    return ModelError(f'unknown model "{spec}".{did_you_mean(spec, BUILT_IN)}', fix=DIRECTORY)
