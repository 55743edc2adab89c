"""The one interface to a model that everything in the house works on.

A model is batched, holds no text and draws nothing: token ids in, logits out. Four calls are enough for every
algorithm: `prefill` reads prompts, `step` adds one token a row, `select` forks, drops and reorders rows,
`release` gives the memory back. `ulam.testing.check_model` checks a model against all of this.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, TypeAlias, runtime_checkable

from ..core.arrays import Array
from ..core.errors import Unsupported
from ..core.vocabulary import Vocabulary

TokenIds: TypeAlias = Sequence[int]

State: TypeAlias = Any
"""What a model remembers of B rows. Opaque; consumed by `step`, kept by `select`."""


@runtime_checkable
class LanguageModel(Protocol):
    """A trained model: for a text so far, logits of the next token.

    name           for people
    vocabulary     V tokens, start and end
    context_limit  the most tokens a row may hold, prompt included, or None
    fingerprint    changes when weights or tokenizer change
    capabilities   of: "batch_invariant" (the bits of a row depend neither on its batch nor on how its tokens came, by
                   prefill, step or extend), "extend", "layer_logits" (the model has the call below)

    Rules. The logits of a row depend on that row's tokens only. Logits may be `-inf` (impossible) but not NaN or
    +inf, and not all `-inf`. A state that was stepped, extended or released may not be used again: `StaleState`. A call that
    is refused with one of the errors below leaves its state as it was. Models are not thread-safe.

    Not every model has these:

    extend(state, tokens) -> (state, logits)   K more tokens a row, ids [B, K], and the logits [B, K, V] after each of them, at
                  once; consumes `state`. A model that has it says "extend"; for all others `models.extend` takes K steps.
    layer_logits(state, layers) -> logits   [len(layers), B, V] of the next token, by the output head on the hidden state after so many
                  layers, numbers from 0 to `model.layers` - 1; `state` stays valid. A model that has it says "layer_logits".
    runs          what computes it, for people, where that is not the house itself: `transformers, bfloat16 on cuda:0`
    notes         a line each on what its makers may not have meant: `models/notes.py`
    probs(prefix) -> tuple   the probabilities of the next token after a prefix, V `Fraction`s or V floats, exactly as a
                  table was given them: what laws in rational numbers are worked out from.
    notes         what is to be known of a model that works, a line each: no end token, entries without a token, tensors left aside.
    """

    @property
    def name(self) -> str: ...

    @property
    def vocabulary(self) -> Vocabulary: ...

    @property
    def context_limit(self) -> int | None: ...

    @property
    def fingerprint(self) -> str: ...

    @property
    def capabilities(self) -> frozenset[str]: ...

    def prefill(self, prompts: Sequence[TokenIds]) -> tuple[State, Array]:
        """Read B prompts (start token included where there is one); state of B rows and next-token logits [B, V].

        Raises `EmptyPrompt`, `ContextOverflow`, `TokenOutOfRange`.
        """
        ...

    def step(self, state: State, tokens: Sequence[int] | Array) -> tuple[State, Array]:
        """Add one token to every row, ids [B]; consumes `state`. Logits [B, V]."""
        ...

    def select(self, state: State, rows: Sequence[int] | Array) -> State:
        """Row i of the result is a copy of row `rows[i]`: repeat to fork, leave out to drop. `state` stays valid."""
        ...

    def release(self, state: State) -> None:
        """Give the memory back. May be called twice; a dropped state is released too."""
        ...


def refuse_engine(model: Any) -> None:
    """Raises `Unsupported` for an engine (`decode/engine.py`) where a model is needed."""
    if not hasattr(model, "prefill") and hasattr(model, "generate") and hasattr(model, "fingerprint"):
        what = f"{model.name} generates by itself and shows a part of its logits; this needs all of them"
        raise Unsupported(what, fix="ulam.sample draws from it; for anything else ulam.load a model that runs here")
