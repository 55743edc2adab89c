"""What the user types after `-m` to a model."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from ..core.errors import ModelError, UsageError, did_you_mean
from .protocol import LanguageModel
from .table import abc

STORIES = Path(__file__).parent / "stories"
BUILT_IN = ("stories", "abc")
DIRECTORY = "give a directory with config.json, model.safetensors and tokenizer.json, or a built-in model: stories, abc"


def load(spec: str | Path | LanguageModel = "stories", tokenizer: Any = None) -> LanguageModel:
    """A language model from its name.

    spec       `stories` (children's stories, in the package), `abc` (three letters, a table), the path of a checkpoint
               directory of the Llama architecture, or a `LanguageModel`, which is returned as it is. A directory called
               like a built-in model is `./stories`.
    tokenizer  for models that come without one; those above bring theirs, so it must be None

    Nothing is downloaded and nothing is run: pickles are refused. Raises `ModelError`.
    """
    if tokenizer is not None:
        raise UsageError("this model brings its own tokenizer", fix="leave the tokenizer out")
    if isinstance(spec, Path) or (isinstance(spec, str) and spec not in BUILT_IN):
        return read_directory(str(spec))
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


def read_directory(spec: str) -> LanguageModel:
    """The model in a directory, or the error that says why there is none."""
    from .checkpoint import READS, refuse_pickle

    if spec.startswith(("http://", "https://")):
        raise ModelError(f"{spec} is a server; {READS}", fix=DIRECTORY)
    path = Path(os.path.expanduser(spec))
    if spec and os.path.isdir(path):  # os.path says no where pathlib raises: names that are too long, folders that may not be read
        return open_checkpoint(path, spec.rstrip("/\\") or spec)
    if path.suffix == ".gguf":
        raise ModelError(f"{spec} is a GGUF file; {READS}", fix=DIRECTORY)
    if os.path.isfile(path):
        refuse_pickle(path, spec)
        raise ModelError(f"{spec} is a file; {READS}", fix=DIRECTORY)
    if "/" in spec or "\\" in spec:
        raise ModelError(f"there is no {spec}; nothing is downloaded", fix=DIRECTORY)
    raise ModelError(f'unknown model "{spec}".{did_you_mean(spec, BUILT_IN)}', fix=DIRECTORY)
