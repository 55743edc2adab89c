"""What a model is, told without its weights: from config.json, the header of a GGUF file, or a table."""

from __future__ import annotations

import importlib.util
import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..core.errors import ModelError
from .load import BACKENDS, BUILT_IN, HUB_ID, STORIES, backend_of
from .table import Table, abc

NEEDS = {"transformers": "transformers", "gguf": "llama_cpp", "remote": "httpx", "vllm": "vllm"}
"""A package that an extra installs, and that says whether it is there."""


@dataclass(frozen=True)
class About:
    """A model before it is loaded; None where that is not known without loading it.

    vocabulary    how many tokens
    context       the most tokens of a text
    extra         the extra of the package that its backend needs, or None
    installed     whether that is there
    proposed      the sampling settings that its makers propose, as its files have them; nothing applies them
    settings_of   the engine whose names these are
    """

    spec: str
    backend: str
    vocabulary: int | None = None
    context: int | None = None
    capabilities: tuple[str, ...] | None = None
    extra: str | None = None
    proposed: dict[str, Any] = field(default_factory=dict[str, Any])
    settings_of: str = "transformers"

    @property
    def installed(self) -> bool:
        return self.extra is None or importlib.util.find_spec(NEEDS[self.extra]) is not None


def about(spec: str, backend: str = "auto") -> About:
    """What `load(spec, backend=backend)` would open; no weights are read and nothing is downloaded. Raises `ModelError`."""
    if spec == "abc":
        return of_table(abc(), spec)
    if spec == "stories":
        return of_folder(STORIES, spec, "builtin")
    path = Path(os.path.expanduser(spec))
    if path.suffix == ".json" and os.path.isfile(path):
        from .table_file import read_table

        return of_table(read_table(path, spec), spec)
    chosen = backend_of(spec, path, {}) if backend == "auto" else backend
    if os.path.isdir(path):
        return of_folder(path, spec, chosen)
    if chosen == "llama_cpp":
        return of_gguf(path, spec)
    if HUB_ID.fullmatch(spec):
        return About(spec, chosen, extra=BACKENDS[chosen].extra)
    raise ModelError(f"{spec} is no directory", fix="ulam models lists what is inside")


def built_in() -> list[About]:
    return [about(name) for name in BUILT_IN]


def of_table(table: Table, spec: str) -> About:
    return About(spec, "table", len(table.vocabulary), table.context_limit, tuple(sorted(table.capabilities)))


def of_folder(folder: Path, spec: str, backend: str) -> About:
    from .checkpoint import CONFIG, Checkpoint, read_proposed, read_small

    proposed, extra = read_proposed(folder, spec), BACKENDS[backend].extra
    if backend == "builtin":
        from .builtin import Llama

        checkpoint = Checkpoint(folder, spec)
        size, context = len(checkpoint.vocabulary), checkpoint.config.context
        return About(spec, backend, size, context, tuple(sorted(Llama.capabilities)), extra, proposed)
    try:
        config = json.loads(read_small(folder / CONFIG, f"{spec}/{CONFIG}"))
        config = {**config, **(config.get("text_config") or {})}  # of a model that sees too
    except (ValueError, TypeError, AttributeError, RecursionError):
        raise ModelError(f"{spec}/{CONFIG} is no JSON object", fix="copy or download it again") from None
    return About(spec, backend, whole(config.get("vocab_size")), whole(config.get("max_position_embeddings")), None, extra, proposed)


def of_gguf(path: Path, spec: str) -> About:
    from .gguf_file import proposed, read_header

    header = read_header(path, spec)
    _, size = header.lists.get("tokenizer.ggml.tokens", (0, 0))
    context = whole(header.settings.get(f"{header.settings.get('general.architecture')}.context_length"))
    found = {key.removeprefix("general.sampling."): value for key, value in proposed(header).items()}
    return About(spec, "llama_cpp", size or None, context, None, BACKENDS["llama_cpp"].extra, found, "llama.cpp")


def whole(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None
