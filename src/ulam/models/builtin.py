"""The built-in model: a Llama forward in NumPy, so that text comes at once, offline and without PyTorch.

Math      x = embedding of the token; in every layer x += out(attention(unit(x))) and x += down(silu(gate) * up), gate and up
          of unit(x); logits = head(unit(x)). unit(x) is x over its root mean square; attention is causal, with rotary
          positions and, if there are fewer key-value heads than query heads, groups of query heads that share one.
Folded    Done once, when the weights are read: every matrix is transposed to [in, out]; query, key and value are one matrix,
          gate and up are one; the scale of a norm and the 1/sqrt(D) of attention go into the matrix that follows; the two
          numbers that a rotary position turns stand side by side, so that turning is one complex product.
Bits      A row's logits depend on that row's tokens alone, bit for bit: not on its batch, not on how a text was cut into
          prefill and steps. Three rules make it so. BLAS sees one shape only: a vector times a matrix a row, and in
          attention a vector times one block of BLOCK positions. Blocks are added in order, and those after the row's end
          add exact zeros. Every other sum runs over the contiguous last axis of fixed length. One BLAS thread. Not
          promised: equal bits on another processor or with another BLAS.
Shapes    cache [layers, B, 2G, blocks, BLOCK, D] float32: G heads of keys, then G heads of values; it doubles when full.
Cost      a matrix is read once a row, of a prompt too: a batch saves the interpreter's time, not the memory's.
Source    Touvron et al. 2023, arXiv 2302.13971 (LLaMA); Su et al. 2021, arXiv 2104.09864 (RoFormer); Zhang, Sennrich 2019,
          arXiv 1910.07467 (RMSNorm); Shazeer 2020, arXiv 2002.05202 (SwiGLU); Ainslie et al. 2023, arXiv 2305.13245 (grouped heads).
Elsewhere `LlamaForCausalLM` of transformers: same logits within float32 rounding.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ..core.arrays import Array
from ..core.errors import ContextOverflow, EmptyPrompt
from .checkpoint import Checkpoint, Config, Weights, read_proposed
from .notes import vocabulary_notes
from .protocol import TokenIds
from .state import OnceState, row_numbers, token_ids, token_rows
from .threads import one_blas_thread

Floats: TypeAlias = NDArray[Any]  # float32

BLOCK = 64  # positions of one product in attention
CHUNK = 64  # prompt tokens that go through the network together


class LlamaState(OnceState):
    """Keys and values of every row, how many positions each has, and what goes into every layer at its last one: hidden [layers, B, hidden]."""

    def __init__(self, cache: Floats, lengths: NDArray[np.int64], longest: int, hidden: Floats):
        self.cache, self.lengths, self.longest, self.hidden = cache, lengths, longest, hidden


class Layer(NamedTuple):
    qkv: Floats  # [hidden, (H + 2G) D]
    out: Floats  # [H D, hidden]
    gate_up: Floats  # [hidden, 2 inner]
    down: Floats  # [inner, hidden]


def maps(*matrices: Floats) -> Floats:
    """Matrices [out, in] of one input as a single one [in, sum of out]."""
    return np.ascontiguousarray(np.concatenate(matrices).T)


def side_by_side(matrix: Floats, heads: int) -> Floats:
    """Rows d and d + D/2 of every head, which rotary positions turn together, become neighbours."""
    rows, width = matrix.shape
    return matrix.reshape(heads, 2, rows // heads // 2, width).swapaxes(1, 2).reshape(rows, width)


def read_layer(weights: Weights, number: int, c: Config) -> Layer:
    here, queries, keys = f"model.layers.{number}.", c.heads * c.head, c.groups * c.head
    scale = np.float32(c.hidden**0.5)
    norm = weights.take(here + "input_layernorm.weight", c.hidden) * scale
    q = weights.take(here + "self_attn.q_proj.weight", queries, c.hidden) * np.float32(c.head**-0.5)
    k = weights.take(here + "self_attn.k_proj.weight", keys, c.hidden)
    v = weights.take(here + "self_attn.v_proj.weight", keys, c.hidden)
    qkv = maps(side_by_side(q, c.heads) * norm, side_by_side(k, c.groups) * norm, v * norm)
    out = maps(weights.take(here + "self_attn.o_proj.weight", c.hidden, queries))
    norm = weights.take(here + "post_attention_layernorm.weight", c.hidden) * scale
    gate = weights.take(here + "mlp.gate_proj.weight", c.inner, c.hidden)
    up = weights.take(here + "mlp.up_proj.weight", c.inner, c.hidden)
    return Layer(qkv, out, maps(gate * norm, up * norm), maps(weights.take(here + "mlp.down_proj.weight", c.hidden, c.inner)))


def linear(x: Floats, matrix: Floats) -> Floats:
    """[n, in] times [in, out], a product of its own for every row."""
    return np.matmul(x[:, None], matrix)[:, 0]


class Llama:
    """A checkpoint as a language model. Raises `ModelError` for weights that are missing, misshapen or not finite.

    `proposed` has the fields of its generation_config.json, none of which is applied.
    """

    capabilities = frozenset({"batch_invariant", "extend", "layer_logits"})

    def __init__(self, checkpoint: Checkpoint):
        self.config = c = checkpoint.config
        weights = checkpoint.weights()
        self._embedding = weights.take("model.embed_tokens.weight", c.vocabulary, c.hidden)
        self.layers = c.layers
        self._layers = [read_layer(weights, number, c) for number in range(c.layers)]
        shared = c.tied and "lm_head.weight" not in weights
        head = self._embedding if shared else weights.take("lm_head.weight", c.vocabulary, c.hidden)
        self._head = maps(head * (weights.take("model.norm.weight", c.hidden) * np.float32(c.hidden**0.5)))
        weights.finish(c.layers)
        self._eps = np.float32(c.eps * c.hidden)
        self._angles = 1j * c.theta ** (-np.arange(0, c.head, 2) / c.head)
        self.name, self.vocabulary, self.context_limit = checkpoint.name, checkpoint.vocabulary, c.context
        self.notes = vocabulary_notes(self.vocabulary)
        self.fingerprint, self.proposed = checkpoint.fingerprint(weights), read_proposed(checkpoint.folder, checkpoint.name)

    def prefill(self, prompts: Sequence[TokenIds]) -> tuple[LlamaState, Array]:
        """State and next-token logits [B, V] float32 of B prompts, which begin with the start token where there is one.

        Raises `EmptyPrompt`, `ContextOverflow`, `TokenOutOfRange`.
        """
        rows = [token_ids(prompt, len(self.vocabulary)) for prompt in prompts]
        lengths = np.array([len(ids) for ids in rows], np.int64)
        for number, ids in enumerate(rows):
            if len(ids) == 0:
                begin = "give at least one token" if self.vocabulary.start is None else f"begin with the start token: [{self.vocabulary.start}]"
                raise EmptyPrompt("an empty prompt has no next token", fix=begin, row=number)
            if len(ids) > self.config.context:
                raise ContextOverflow(f"a prompt of {len(ids)} tokens; {self.name} holds {self.config.context}", fix="shorten the prompt", row=number)
        longest = int(lengths.max(initial=0))
        cache = self._new_cache(len(rows), longest // BLOCK + 1)
        last = np.zeros((len(rows), self.config.hidden), np.float32)
        hidden = np.zeros((self.layers, *last.shape), np.float32)
        with one_blas_thread(), np.errstate(over="ignore", invalid="ignore"):
            for number, ids in enumerate(rows):
                for x in self._chunks(ids, 0, cache[:, number : number + 1], hidden[:, number : number + 1]):
                    last[number] = x[-1]
            return LlamaState(cache, lengths, longest, hidden), linear(self._unit(last), self._head)

    def step(self, state: LlamaState, tokens: Sequence[int] | Array) -> tuple[LlamaState, Array]:
        """Logits [B, V] float32 after one more token a row; consumes `state`.

        Raises `StaleState`, `TokenOutOfRange`, and `ContextOverflow` (the state lives on) if a row is full.
        """
        state.check()
        ids = token_ids(tokens, len(self.vocabulary), len(state.lengths))
        hidden = state.hidden
        cache, lengths, longest = self._room(state, 1)
        with one_blas_thread(), np.errstate(over="ignore", invalid="ignore"):
            x = self._forward(ids, lengths, longest, cache, hidden)
            return LlamaState(cache, lengths + 1, longest, hidden), linear(self._unit(x), self._head)

    def extend(self, state: LlamaState, tokens: Sequence[TokenIds] | Array) -> tuple[LlamaState, Array]:
        """Logits [B, K, V] float32 after each of K more tokens a row, ids [B, K], the bits of K steps; consumes `state`.

        Row by row, tokens of a row together: quicker than steps for rows longer than they are many. Raises as `step`.
        """
        state.check()
        ids = token_rows(tokens, len(self.vocabulary), len(state.lengths))
        hidden = state.hidden
        cache, lengths, longest = self._room(state, ids.shape[1])
        logits = np.zeros((*ids.shape, len(self.vocabulary)), np.float32)
        with one_blas_thread(), np.errstate(over="ignore", invalid="ignore"):
            for number, (more, length) in enumerate(zip(ids, lengths.tolist(), strict=True)):
                at = 0
                for x in self._chunks(more, length, cache[:, number : number + 1], hidden[:, number : number + 1]):
                    logits[number, at : at + len(x)] = linear(self._unit(x), self._head)
                    at += len(x)
        return LlamaState(cache, lengths + ids.shape[1], longest, hidden), logits

    def layer_logits(self, state: LlamaState, layers: Sequence[int]) -> Array:
        """Logits [len(layers), B, V] float32 of the next token if the network had only so many layers, 0 up to all but one; keeps `state`.

        The hidden state after them goes through the last norm and the output matrix. Raises `StaleState`.
        """
        state.check()
        with one_blas_thread(), np.errstate(over="ignore", invalid="ignore"):
            return np.stack([linear(self._unit(state.hidden[layer]), self._head) for layer in layers])

    def select(self, state: LlamaState, rows: Sequence[int] | Array) -> LlamaState:
        """Row i of the result is a copy of row `rows[i]`. Raises `StaleState`."""
        state.check()
        numbers = row_numbers(rows, len(state.lengths))
        lengths = state.lengths[numbers]
        longest = int(lengths.max(initial=0))
        cache = self._new_cache(len(numbers), longest // BLOCK + 1)
        for place, number in enumerate(numbers):
            cache[:, place, :, : state.cache.shape[3]] = state.cache[:, number, :, : cache.shape[3]]
        return LlamaState(cache, lengths, longest, state.hidden[:, numbers])

    def release(self, state: LlamaState) -> None:
        state.live, state.cache, state.hidden = False, np.zeros(0), np.zeros(0)

    def _room(self, state: LlamaState, more: int) -> tuple[Floats, NDArray[np.int64], int]:
        """Cache with a place for `more` tokens a row, lengths before them and the greatest after them; consumes `state` unless there is no room."""
        longest = state.longest + more
        if longest > self.config.context:
            already = f"a row has {state.longest} tokens and {self.name} holds {self.config.context}, which leaves no room for {more} more"
            raise ContextOverflow(already, fix="stop earlier: a smaller max_tokens")
        cache, lengths = state.cache, state.lengths
        self.release(state)
        if longest > (full := cache.shape[3]) * BLOCK:
            small, cache = cache, self._new_cache(len(lengths), min(max(2 * full, -(-longest // BLOCK)), -(-self.config.context // BLOCK)))
            cache[:, :, :, :full] = small
        return cache, lengths, longest

    def _new_cache(self, rows: int, blocks: int) -> Floats:
        """Zeros: a position that is not written yet is multiplied by a weight of 0, so it must be finite."""
        return np.zeros((self.config.layers, rows, 2 * self.config.groups, blocks, BLOCK, self.config.head), np.float32)

    def _unit(self, x: Floats) -> Floats:
        """Every row over its length. The sqrt(hidden) that makes it the root mean square is in the matrices."""
        return x / np.sqrt(np.matmul(x[:, None], x[:, :, None])[:, 0] + self._eps)

    def _chunks(self, ids: NDArray[np.int64], first: int, cache: Floats, hidden: Floats) -> Iterator[Floats]:
        """`_forward` of one row's tokens from position `first` on, a chunk at a time."""
        for at in range(0, len(ids), CHUNK):
            chunk = ids[at : at + CHUNK]
            yield self._forward(chunk, np.arange(first + at, first + at + len(chunk)), first + at + len(chunk), cache, hidden)

    def _forward(self, ids: NDArray[np.int64], positions: NDArray[np.int64], longest: int, cache: Floats, hidden: Floats) -> Floats:
        """The last layer's [n, hidden] of n tokens at their positions, all below `longest`; writes their keys and values, and the last one's `hidden`.

        One new token of each of the n rows of `cache`, or n tokens of its only row.
        """
        H, G, D, n = self.config.heads, self.config.groups, self.config.head, len(ids)
        row = 0 if cache.shape[1] == 1 else np.arange(n)
        block, place = positions // BLOCK, positions % BLOCK
        blocks = (longest - 1) // BLOCK + 1
        future = np.where(np.arange(blocks * BLOCK) > positions[:, None], np.float32(-np.inf), np.float32(0)).reshape(n, 1, 1, blocks, BLOCK)
        turn = np.exp(positions[:, None, None] * self._angles).astype(np.complex64)
        x = self._embedding[ids]
        for layer, held, kept in zip(self._layers, cache, hidden, strict=True):
            kept[:] = x[n - len(kept) :]
            y = linear(self._unit(x), layer.qkv).reshape(n, H + 2 * G, D)
            turned = y[:, : H + G].view(np.complex64)
            turned *= turn
            held[row, :, block, place] = y[:, H:]
            z = np.matmul(held[:, :G, None, :blocks], y[:, :H].reshape(n, G, H // G, 1, D, 1))[..., 0]
            z += future
            z -= z.max((-2, -1), keepdims=True)
            np.exp(z, out=z)
            mixed = np.add.reduce(np.matmul(z[..., None, :], held[:, G:, None, :blocks])[..., 0, :], -2)
            mixed /= np.add.reduce(np.add.reduce(z, -2), -1, keepdims=True)
            x += linear(mixed.reshape(n, H * D), layer.out)
            y = linear(self._unit(x), layer.gate_up)
            gate, up = y[:, : self.config.inner], y[:, self.config.inner :]
            x += linear(gate / (1 + np.exp(-gate)) * up, layer.down)  # exp may be inf: such a gate is closed
        return x


def open_model(folder: Path, name: str) -> Llama:
    """The Llama in a checkpoint directory, which errors call `name`. Raises `ModelError`."""
    return Llama(Checkpoint(folder, name))
