"""A model of `transformers` as a language model: any network with a causal output layer, on the device and in the type it has.

Batch     Prompts of unequal length are padded on the left; the padding is masked, and positions count from a row's first
          token. A row's logits depend on its own tokens only, up to the rounding of the backend, which changes with the
          shape of a batch: the model does not declare "batch_invariant".
Forks     `select` copies the rows of the cache that it takes; `step` lets the cache of its argument grow. n samples of one
          prompt cost one prefill.
Logits    stay on the device, in the type of the network; the loop makes them at least float32 there.
Ends      the end tokens of generation_config.json, which is where chat models keep them, else of config.json, else the tokenizer's.
          Nothing else of generation_config.json is used: see `proposed`.
Start     the token that the tokenizer puts before a text, if it puts one.
"""

from __future__ import annotations

import copy
import hashlib
import inspect
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers.cache_utils import Cache

from ..core.arrays import Array, to_numpy
from ..core.errors import ContextOverflow, EmptyPrompt, ModelError, UsageError
from ..core.values import print_value
from ..core.vocabulary import Vocabulary
from .notes import vocabulary_notes
from .protocol import TokenIds
from .state import OnceState, row_numbers, token_ids, token_rows
from .tokenizer import read_vocabulary

ATTENTION = "a network of attention layers"
SEEN = 1024  # numbers of a tensor that enter the fingerprint one by one


class TransformersState(OnceState):
    """The cache of B rows of equal width, the last column of which is their newest token; how many tokens each has: lengths [B]."""

    def __init__(self, cache: Any, width: int, lengths: NDArray[np.int64]):
        self.cache, self.width, self.lengths = cache, width, lengths


class TransformersModel:
    """A causal network of transformers and its tokenizer.

    model      a `PreTrainedModel` with an output layer, in evaluation mode
    tokenizer  one of the `tokenizers` library, as `AutoTokenizer` gives it
    name       for people; the model's own if left out
    proposed   the fields of generation_config.json; the model's generation_config if left out
    notes      what is to be known of it besides, a line each, of the one who read its files

    Raises `UsageError` for a network in training mode, and `ModelError` for one that is not causal, that cannot fork, or
    whose tokenizer does not belong to it. Memory is the network's and a cache of keys and values a row.
    """

    capabilities = frozenset({"extend"})

    def __init__(self, model: Any, tokenizer: Any, name: str | None = None, proposed: dict[str, Any] | None = None, notes: Sequence[str] = ()):
        self.network, self.tokenizer = model, tokenizer
        self.name = name or str(getattr(model.config, "name_or_path", "") or type(model).__name__)
        head = check_network(model, self.name)
        settings = getattr(model, "generation_config", None)
        self.proposed: dict[str, Any] = proposed if proposed is not None else settings.to_diff_dict() if settings is not None else {}
        text = model.config.get_text_config(decoder=True)
        limit = getattr(text, "max_position_embeddings", None)
        self.context_limit = limit if isinstance(limit, int) and limit > 0 else None
        self.vocabulary = vocabulary_of(tokenizer, self.name, head, ends_of(settings, text, tokenizer))
        self.notes = (*vocabulary_notes(self.vocabulary), *notes)
        self._takes = set(inspect.signature(model.forward).parameters)

    def __repr__(self) -> str:
        return f"TransformersModel({self.name}: {type(self.network).__name__}, {len(self.vocabulary)} tokens, {self.network.dtype} on {self.network.device})"

    @property
    def runs(self) -> str:
        """What computes, in which type, and where: `transformers, bfloat16 on cuda:0`."""
        return f"transformers, {str(self.network.dtype).removeprefix('torch.')} on {self.network.device}"

    @cached_property
    def fingerprint(self) -> str:
        """Of the weights as they are when it is first asked for: shapes, types, the exact sum of their bits, and 1024 numbers of each; and of the tokenizer."""
        digest = hashlib.sha256(self.tokenizer.backend_tokenizer.to_str().encode())
        with torch.inference_mode():
            for name, tensor in self.network.state_dict().items():
                flat = tensor.detach().contiguous().reshape(-1)
                digest.update(f"{name} {list(tensor.shape)} {tensor.dtype} ".encode())
                if flat.numel():
                    places = torch.arange(min(SEEN, flat.numel()), device=flat.device) * (flat.numel() - 1) // max(min(SEEN, flat.numel()) - 1, 1)
                    bits = flat.view(torch.uint8) if flat.element_size() in (1, 8, 16) else flat.view(torch.int32 if flat.element_size() == 4 else torch.int16)
                    digest.update(f"{int(bits.sum(dtype=torch.int64))} ".encode())
                    digest.update(to_numpy(flat[places].view(torch.uint8)).tobytes())
        return f"sha256:{digest.hexdigest()[:16]}"

    @property
    def chat_template(self) -> str | None:
        """The program that turns a conversation into a prompt (`models/chat.py`); the default one if there are several."""
        held = getattr(self.tokenizer, "chat_template", None)
        return held.get("default") if isinstance(held, dict) else held

    @property
    def special_tokens(self) -> dict[str, str]:
        """The special tokens by the names that templates know: bos_token, eos_token, ..."""
        return {name: str(token) for name, token in self.tokenizer.special_tokens_map.items() if isinstance(token, str)}

    def prefill(self, prompts: Sequence[TokenIds]) -> tuple[TransformersState, Array]:
        """State and next-token logits [B, V] of B prompts, which begin with the start token where there is one.

        Raises `EmptyPrompt`, `ContextOverflow`, `TokenOutOfRange`.
        """
        rows = [token_ids(prompt, len(self.vocabulary)) for prompt in prompts]
        for number, ids in enumerate(rows):
            if len(ids) == 0:
                start = self.vocabulary.start
                begin = "give at least one token" if start is None else f"begin with the start token: [{start}]"
                raise EmptyPrompt("an empty prompt has no next token", fix=begin, row=number)
            if self.context_limit is not None and len(ids) > self.context_limit:
                what = f"a prompt of {len(ids)} tokens; {self.name} holds {self.context_limit}"
                raise ContextOverflow(what, fix="shorten the prompt", row=number)
        lengths = np.array([len(ids) for ids in rows], np.int64)
        padded = np.zeros((len(rows), int(lengths.max(initial=0))), np.int64)
        for row, ids in zip(padded, rows, strict=True):
            row[len(row) - len(ids) :] = ids
        state, logits = self._forward(padded, TransformersState(None, 0, np.zeros(len(rows), np.int64)), lengths)
        return state, logits[:, -1]

    def step(self, state: TransformersState, tokens: Sequence[int] | Array) -> tuple[TransformersState, Array]:
        """Logits [B, V] after one more token a row; consumes `state`.

        Raises `StaleState`, `TokenOutOfRange`, and `ContextOverflow` (the state lives on) if a row is full.
        """
        state.check()
        ids = token_ids(here(tokens), len(self.vocabulary), len(state.lengths))
        state, logits = self._more(state, ids[:, None])
        return state, logits[:, -1]

    def extend(self, state: TransformersState, tokens: Sequence[TokenIds] | Array) -> tuple[TransformersState, Array]:
        """Logits [B, K, V] after each of K more tokens a row, ids [B, K]; consumes `state`. Raises as `step`."""
        state.check()
        return self._more(state, token_rows(here(tokens), len(self.vocabulary), len(state.lengths)), every=True)

    def select(self, state: TransformersState, rows: Sequence[int] | Array) -> TransformersState:
        """Row i of the result is a copy of row `rows[i]`. Raises `StaleState`."""
        state.check()
        numbers = row_numbers(here(rows), len(state.lengths))
        cache = None if state.cache is None or not numbers else copied(state.cache, torch.tensor(numbers, dtype=torch.long))
        return TransformersState(cache, state.width, state.lengths[numbers])

    def release(self, state: TransformersState) -> None:
        state.live, state.cache = False, None

    def _more(self, state: TransformersState, ids: NDArray[np.int64], every: bool = False) -> tuple[TransformersState, Array]:
        longest, more = int(state.lengths.max(initial=0)), ids.shape[1]
        if self.context_limit is not None and longest + more > self.context_limit:
            already = f"a row has {longest} tokens and {self.name} holds {self.context_limit}, which leaves no room for {more} more"
            raise ContextOverflow(already, fix="stop earlier: a smaller max_tokens")
        old = TransformersState(state.cache, state.width, state.lengths)
        self.release(state)
        return self._forward(ids, old, state.lengths + more, every)

    def _forward(
        self, ids: NDArray[np.int64], state: TransformersState, lengths: NDArray[np.int64], every: bool = False
    ) -> tuple[TransformersState, torch.Tensor]:
        """The network on ids [B, K] after `state`, of which each row has `lengths` tokens then; logits [B, K, V], or [B, 1, V] unless `every`.

        What the network made lives on outside inference mode as ordinary tensors.
        """
        network, width = self.network, state.width + ids.shape[1]
        if ids.size == 0:
            logits = torch.zeros((len(ids), ids.shape[1] if every else 1, len(self.vocabulary)), dtype=network.dtype, device=network.device)
            return TransformersState(state.cache, width, lengths), logits
        pads = width - lengths
        given: dict[str, Any] = {"input_ids": self._tensor(ids), "past_key_values": state.cache, "use_cache": True, "return_dict": True}
        if pads.any():
            given["attention_mask"] = self._tensor((np.arange(width) >= pads[:, None]).astype(np.int64))
        if "position_ids" in self._takes:
            given["position_ids"] = self._tensor(np.maximum(np.arange(state.width, width) - pads[:, None], 0))
        if "logits_to_keep" in self._takes:
            given["logits_to_keep"] = 0 if every else 1
        with torch.inference_mode():
            out = network(**given)
        cache = getattr(out, "past_key_values", None)
        if not forks(cache):
            raise ModelError(f"{self.name} keeps a {type(cache).__name__} of a text, which cannot be forked row by row", fix=ATTENTION)
        return TransformersState(cache, width, lengths), (out.logits if every else out.logits[:, -1:]).clone()

    def _tensor(self, values: NDArray[np.int64]) -> torch.Tensor:
        return torch.from_numpy(values).to(self.network.device)


def check_network(model: Any, name: str) -> int:
    """The number of entries of the logits. Raises `ModelError` for a network without a causal output layer, `UsageError` in training mode."""
    if not hasattr(model, "get_output_embeddings") or getattr(model.config, "is_encoder_decoder", False):
        raise ModelError(f"{name} is a {type(model).__name__}, which has no logits of the next token", fix="AutoModelForCausalLM.from_pretrained(...)")
    head = model.get_output_embeddings()
    if head is None or getattr(head, "weight", None) is None:
        raise ModelError(f"{name} is a {type(model).__name__}, which has no output layer", fix="AutoModelForCausalLM.from_pretrained(...)")
    takes = inspect.signature(model.forward).parameters
    lacks = next((each for each in ("attention_mask", "past_key_values") if each not in takes), None)
    if lacks or getattr(model, "_is_stateful", False):
        why = f"takes no {lacks}" if lacks else "carries a recurrent state, which padding would change"
        raise ModelError(f"{name} is a {type(model).__name__}, which {why}: its rows cannot be read together", fix=ATTENTION)
    if model.training:
        raise UsageError(f"{name} is in training mode, in which its logits are random", fix="model.eval()")
    return int(getattr(head, "out_features", 0) or head.weight.shape[0])


def ends_of(settings: Any, config: Any, tokenizer: Any) -> tuple[int, ...]:
    """The end tokens: of the first of the three that names any."""
    for held in (settings, config, tokenizer):
        ids = getattr(held, "eos_token_id", None)
        if ids is not None and ids != []:
            return tuple(ids) if isinstance(ids, (list, tuple)) else (ids,)
    return ()


def vocabulary_of(tokenizer: Any, name: str, size: int, ends: tuple[int, ...]) -> Vocabulary:
    """The vocabulary of a tokenizer of transformers. Raises `ModelError` for one that is written in Python, or that another model's ends need."""
    if getattr(tokenizer, "backend_tokenizer", None) is None:
        what = f"the tokenizer of {name}, {type(tokenizer).__name__}, is not one of the tokenizers library"
        raise ModelError(what, fix="AutoTokenizer.from_pretrained(...), from a directory with tokenizer.json")
    for end in ends:
        if not (type(end) is int and 0 <= end < size):
            what = f"the end token of {name} is {print_value(str(end)[:80])[1:-1]}, and its ids are 0 to {size - 1}"
            raise ModelError(what, fix="eos_token_id in its generation_config.json, or config.json")
    plain, whole = (tokenizer.encode("a", add_special_tokens=special) for special in (False, True))
    head = whole[: next((i for i in range(len(whole)) if whole[i : i + len(plain)] == plain), 0)]
    if len(head) > 1:
        raise ModelError(f"the tokenizer of {name} puts {len(head)} tokens before a text; one start token is supported", fix="another tokenizer")
    raw = tokenizer.backend_tokenizer.to_str().encode()
    return read_vocabulary(raw, f"the tokenizer of {name}", size=size, start=head[0] if head else None, ends=ends)


def forks(cache: Any) -> bool:
    """Whether `copied` can fork it: all that it keeps of a row is in its layers, and each of them knows how to take rows."""
    whole = isinstance(cache, Cache) and type(cache).batch_select_indices is Cache.batch_select_indices
    return whole and all(hasattr(layer, "batch_select_indices") for layer in cache.layers)


def copied(cache: Cache, rows: torch.Tensor) -> Cache:
    """Some rows of a cache, with nothing shared that a later step writes to. Layers may be on several devices."""
    fork = copy.copy(cache)
    layers: list[Any] = [copy.copy(layer) for layer in cache.layers]
    fork.layers = layers
    with torch.inference_mode():
        for layer in layers:
            if hasattr(layer, "device"):  # one that has nothing of its own takes that of another layer
                layer.batch_select_indices(rows := rows.to(layer.device))  # new tensors in the place of those that are the original's
    return fork


def here(numbers: Any) -> Any:
    """Token ids or row numbers on the host, where they are checked."""
    return numbers.cpu() if hasattr(numbers, "cpu") else numbers
