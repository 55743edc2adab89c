"""A GGUF file as a language model: llama.cpp computes, through the low-level API of llama-cpp-python.

Logits    of all tokens, float32, copied. A row's depend on its own tokens up to rounding, which changes with the batch and with
          what else is remembered: "batch_invariant" is not declared. Attention is float32 throughout if all weights are,
          else float16 in part, as is usual in llama.cpp.
Forks     cost nothing: rows share what they have in common (`llama_sequences.py`).
Memory    the weights, mapped from the file, and keys and values, which begin small and grow with what is sampled up to `cache`.
Proposed  the sampling settings that the file proposes are in `proposed`; nothing applies them.
Elsewhere the logits of llama.cpp itself. Its samplers are not used.
"""

from __future__ import annotations

import hashlib
import os
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..core.arrays import Array, to_numpy
from ..core.errors import ContextOverflow, EmptyPrompt, ModelError, UsageError
from .gguf_file import F32, Header, proposed, read_header
from .llama_api import api
from .llama_file import OpenFile, read_vocabulary
from .llama_sequences import FIRST, NUMBERS, TOKENS, Store, Strand, Task
from .notes import vocabulary_notes
from .protocol import TokenIds
from .state import OnceState, row_numbers, token_ids, token_rows

WHOLE = 2**28  # bytes; of a larger file a part is read for the fingerprint
PART, PARTS = 2**16, 1024


class LlamaCppState(OnceState):
    """The tokens of every row, and the strands that hold what llama.cpp made of them."""

    def __init__(self, rows: Sequence[tuple[int, ...]], strands: list[Strand], store: Store):
        self.rows, self.strands = rows, strands
        for strand in strands:
            strand.users += 1
        self.end = weakref.finalize(self, store.ended.append, strands)


class LlamaCpp:
    """A model of llama.cpp.

    path     a GGUF file; the first one, if the model is in several
    name     what errors call it
    context  most tokens of a row; as many as the model was trained for, if `cache` can hold a row of them
    threads  of the processor; all that this process may use
    cache    bound of the memory for keys and values, GiB (4)

    Raises `ModelError` for a file that is broken, cut short or not for sampling, `UsageError` for options out of range.
    """

    capabilities = frozenset({"extend"})

    def __init__(self, path: Path, name: str, context: int | None = None, threads: int | None = None, cache: float = 4):
        parts = read_parts(path, name)
        header = parts[path]
        self.name, self.proposed, self.fingerprint = name, proposed(header), fingerprint(parts)
        file = OpenFile(path, name)
        check_kind(file.model, name, header)
        self.vocabulary = read_vocabulary(file, header, path, name)
        self.notes = vocabulary_notes(self.vocabulary)
        exact = all(part.types <= {F32} for part in parts.values())
        trained = api.llama_model_n_ctx_train(file.model)
        if not isinstance(cache, (int, float)) or isinstance(cache, bool) or not 0 < cache < 2**20:
            raise UsageError(f"cache={cache!r} is not a number of GiB", fix="cache=4")
        most = min(int(cache * 2**30) // cell_bytes(file.model, header, exact), 2**30)
        self.context_limit = whole("context", context, min(trained, max(most, 1)), trained)
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        used = whole("threads", threads, cores, 512)

        def open_context(cells: int) -> Any:
            given = api.llama_context_default_params()
            given.n_ctx, given.n_seq_max, given.kv_unified = cells, NUMBERS, True
            given.n_batch = given.n_ubatch = TOKENS
            given.n_threads = given.n_threads_batch = used
            given.no_perf = True
            if exact:
                given.type_k = given.type_v = api.GGML_TYPE_F32
                given.flash_attn_type = api.LLAMA_FLASH_ATTN_TYPE_DISABLED  # it rounds queries to float16
            return api.llama_init_from_model(file.model, given)

        most = max(most, self.context_limit, TOKENS)
        self._store = Store(open_context, len(self.vocabulary), max(min(self.context_limit, FIRST), TOKENS), most, name)

    runs = "llama.cpp"

    def __repr__(self) -> str:
        return f"LlamaCpp({self.name}: {len(self.vocabulary)} tokens)"

    def prefill(self, prompts: Sequence[TokenIds]) -> tuple[LlamaCppState, Array]:
        """State and next-token logits [B, V] float32 of B prompts, which begin with the start token where there is one.

        Raises `EmptyPrompt`, `ContextOverflow`, `TokenOutOfRange`, and `ModelError` if llama.cpp fails.
        """
        rows = [tuple(token_ids(prompt, len(self.vocabulary)).tolist()) for prompt in prompts]
        for number, ids in enumerate(rows):
            if not ids:
                begin = "give at least one token" if self.vocabulary.start is None else f"begin with the start token: [{self.vocabulary.start}]"
                raise EmptyPrompt("an empty prompt has no next token", fix=begin, row=number)
            if len(ids) > self.context_limit:
                raise ContextOverflow(f"a prompt of {len(ids)} tokens; {self.name} holds {self.context_limit}", fix="shorten the prompt", row=number)
        strands, logits = self._store.read([Task(ids, Strand(), 1) for ids in rows])
        return LlamaCppState(rows, strands, self._store), logits

    def step(self, state: LlamaCppState, tokens: Sequence[int] | Array) -> tuple[LlamaCppState, Array]:
        """Logits [B, V] float32 after one more token a row; consumes `state`.

        Raises `StaleState`, `TokenOutOfRange`, `ContextOverflow` if a row is full or the rows need more memory together than
        there may be, and `ModelError` if llama.cpp fails; the state lives on.
        """
        state.check()
        ids = token_ids(on_host(tokens), len(self.vocabulary), len(state.rows))
        state, logits = self._more(state, ids[:, None].tolist())
        return state, logits

    def extend(self, state: LlamaCppState, tokens: Sequence[TokenIds] | Array) -> tuple[LlamaCppState, Array]:
        """Logits [B, K, V] float32 after each of K more tokens a row, ids [B, K]; consumes `state`. Raises as `step`."""
        state.check()
        ids = token_rows(on_host(tokens), len(self.vocabulary), len(state.rows))
        state, logits = self._more(state, ids.tolist())
        return state, logits.reshape(*ids.shape, len(self.vocabulary))

    def select(self, state: LlamaCppState, rows: Sequence[int] | Array) -> LlamaCppState:
        """Row i of the result is row `rows[i]`, and costs nothing until it grows. Raises `StaleState`."""
        state.check()
        numbers = row_numbers(rows, len(state.rows))
        return LlamaCppState([state.rows[i] for i in numbers], [state.strands[i] for i in numbers], self._store)

    def release(self, state: LlamaCppState) -> None:
        state.live = False
        state.end()
        self._store.sweep()

    def _more(self, state: LlamaCppState, more: list[list[int]]) -> tuple[LlamaCppState, Any]:
        """The state and the logits, row by row, after more tokens, of each row as many; consumes `state`."""
        wanted = len(more[0]) if more else 0
        longest = max(map(len, state.rows), default=0)
        if longest + wanted > self.context_limit:
            already = f"a row has {longest} tokens and {self.name} holds {self.context_limit}, which leaves no room for {wanted} more"
            raise ContextOverflow(already, fix="stop earlier: a smaller max_tokens")
        rows = [(*ids, *added) for ids, added in zip(state.rows, more, strict=True)]
        if wanted:
            strands, logits = self._store.read([Task(ids, strand, wanted) for ids, strand in zip(rows, state.strands, strict=True)])
        else:
            strands, logits = state.strands, np.zeros((0, len(self.vocabulary)), np.float32)
        new = LlamaCppState(rows, strands, self._store)
        self.release(state)
        return new, logits


def on_host(tokens: Any) -> Any:
    return to_numpy(tokens) if hasattr(tokens, "detach") else tokens


def whole(name: str, value: Any, default: int, most: int) -> int:
    """An option that is a number from 1 to `most`. Raises `UsageError`."""
    if value is None:
        return default
    if type(value) is not int or not 1 <= value <= most:
        raise UsageError(f"{name}={value!r} is not a whole number from 1 to {most}", fix=f"{name}={default}")
    return value


def check_kind(model: Any, name: str, header: Header) -> None:
    """Raises `ModelError` for a model that does not say the next token of a text."""
    kind = header.settings.get("general.architecture", "unknown")
    if api.llama_model_has_encoder(model) or not api.llama_model_has_decoder(model) or api.llama_model_is_diffusion(model):
        raise ModelError(f"{name} is a model of the architecture {kind}, which does not go on a text token by token", fix="a model with a decoder alone")
    if api.llama_model_is_recurrent(model) or api.llama_model_is_hybrid(model):
        what = f"{name} is a model of the architecture {kind}, which is recurrent; only models of attention layers alone can be forked"
        raise ModelError(what, fix="a model of attention layers")


def cell_bytes(model: Any, header: Header, exact: bool) -> int:
    """Memory of one token's keys and values."""
    kind, head = header.settings.get("general.architecture"), api.llama_model_n_embd(model) // max(api.llama_model_n_head(model), 1)
    said = [header.settings.get(f"{kind}.attention.{part}_length") for part in ("key", "value")]
    both = sum(length if type(length) is int else head for length in said)
    return max(1, api.llama_model_n_layer(model) * api.llama_model_n_head_kv(model) * both * (4 if exact else 2))


def read_parts(path: Path, name: str) -> dict[Path, Header]:
    """The headers of all files of a model, of which this is the first: `x-00001-of-00003.gguf`. Raises `ModelError`."""
    parts = {path: read_header(path, name)}
    count = parts[path].settings.get("split.count", 0)
    if type(count) is int and count > 1:
        ending = f"-00001-of-{count:05}.gguf"
        if not path.name.endswith(ending):
            raise ModelError(f"{name} is one of {count} files and not called as their first, ...{ending}", fix="give the first of them")
        for number in range(2, count + 1):
            other = f"-{number:05}-of-{count:05}.gguf"
            beside = path.with_name(path.name.removesuffix(ending) + other)
            parts[beside] = read_header(beside, name.removesuffix(ending) + other)
    return parts


def fingerprint(parts: dict[Path, Header]) -> str:
    """The first 16 digits of the SHA-256 of the file, or of the files one after the other.

    Of a file of more than 256 MiB its size, its header, and 1024 pieces of 64 KiB at equal distances are read, and the name says so.
    """
    digest, whole = hashlib.sha256(), True
    for path, header in parts.items():
        size = os.path.getsize(path)
        with path.open("rb") as file:
            if size <= WHOLE:
                digest.update(file.read())
                continue
            whole = False
            digest.update(f"{size} ".encode())
            digest.update(file.read(header.length))
            for at in np.linspace(header.length, size - PART, PARTS).astype(np.int64).tolist():
                file.seek(at)
                digest.update(file.read(PART))
    return f"sha256{'' if whole else '-part'}:{digest.hexdigest()[:16]}"


def open_model(path: Path, name: str, context: int | None = None, threads: int | None = None, cache: float = 4) -> LlamaCpp:
    """The model in a GGUF file, which errors call `name`; options as `LlamaCpp`. Raises `ModelError`, `UsageError`."""
    return LlamaCpp(path, name, context, threads, cache)
