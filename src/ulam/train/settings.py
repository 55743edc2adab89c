"""What a training run is made of: the numbers that decide it, and what it reports while it runs."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ..core.errors import UsageError

BYTES = 257  # the smallest vocabulary: every byte, and the end token


@dataclass(frozen=True)
class Settings:
    """Sizes are in tokens unless they say otherwise. The defaults train a small model in minutes on a laptop.

    Raises `UsageError` for numbers that make no network or no run.
    """

    vocabulary: int = 1024
    context: int = 256
    layers: int = 4
    hidden: int = 192
    heads: int = 3
    kv_heads: int = 1
    inner: int = 512
    steps: int = 1000
    batch: int = 4096  # tokens a step, padding included
    rate: float = 0.02  # Muon, on matrices; embedding and norms take a quarter of it, by AdamW
    weight_decay: float = 0.1
    dropout: float = 0.1  # on both residual branches, in training only
    warm_up: int = 60  # steps; afterwards the rate falls in a straight line to zero
    every: int = 100  # steps between validations
    seed: int = 0

    def __post_init__(self) -> None:
        ones = ("layers", "heads", "kv_heads", "inner", "steps", "every")
        least = {"vocabulary": BYTES, "context": 8, "batch": 8, "hidden": 2, "warm_up": 0} | dict.fromkeys(ones, 1)
        for name, smallest in least.items():
            if getattr(self, name) < smallest:
                why = "; every byte is a token, and so is the end" if name == "vocabulary" else ""
                raise UsageError(f"{name}={getattr(self, name)} is too small: at least {smallest}{why}", fix=f"{name}={smallest}", parameter=name)
        if self.hidden % (2 * self.heads):
            unit = 2 * self.heads
            near = max(unit, round(self.hidden / unit) * unit)
            what = f"hidden={self.hidden} cannot be shared by heads={self.heads}: each head needs a whole and even number of dimensions"
            raise UsageError(what, fix=f"hidden={near}", parameter="hidden")
        if self.heads % self.kv_heads:
            near = max(n for n in range(1, min(self.heads, self.kv_heads) + 1) if self.heads % n == 0)
            raise UsageError(f"kv_heads={self.kv_heads} does not divide heads={self.heads}", fix=f"kv_heads={near}", parameter="kv_heads")
        if not 0 <= self.seed < 2**64:
            raise UsageError(f"seed={self.seed} is outside 0 to 2^64 - 1", fix="seed=0", parameter="seed")
        if not 0 <= self.dropout < 1:
            raise UsageError(f"dropout={self.dropout} is outside [0, 1)", fix="dropout=0.1", parameter="dropout")
        if not (0 < self.rate < math.inf and 0 <= self.weight_decay < math.inf):
            raise UsageError(f"rate={self.rate} or weight_decay={self.weight_decay} is no size of a step", fix="rate=0.02 weight_decay=0.1", parameter="rate")


@dataclass(frozen=True)
class Loss:
    """What a model loses on a text: minus the log-probability of all its tokens, end tokens included.

    nats    the sum over all tokens
    tokens  how many tokens that was
    bytes   the UTF-8 length of the documents, nothing between them counted
    """

    nats: float
    tokens: int
    bytes: int

    @property
    def per_token(self) -> float:
        """Cross-entropy, nats a token."""
        return self.nats / self.tokens

    @property
    def bits_per_token(self) -> float:
        return self.per_token / math.log(2)

    @property
    def bits_per_byte(self) -> float:
        """Comparable between vocabularies, which cut the same bytes into different tokens."""
        return self.nats / self.bytes / math.log(2)

    @property
    def perplexity(self) -> float:
        """exp of the cross-entropy: the number of equally likely tokens that would be as hard to guess; inf beyond all floats."""
        try:
            return math.exp(self.per_token)
        except OverflowError:
            return math.inf


@dataclass(frozen=True)
class Progress:
    """One report of a run.

    train  nats a token, dropout on: of this step, or where `valid` is there the mean over the steps since the last one
           with `valid`; None before the first step
    valid  the loss on the watched part of the held-out text, where it was measured
    best   whether `valid` is the lowest so far; this model has then been saved
    """

    step: int
    steps: int
    tokens: int  # targets learnt from so far
    seconds: float
    train: float | None
    valid: Loss | None = None
    best: bool = False
