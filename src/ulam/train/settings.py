"""What a training run is made of: the numbers that decide it, and what it reports while it runs."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Settings:
    """Sizes are in tokens unless they say otherwise. The defaults train a small model in minutes on a laptop."""

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


@dataclass(frozen=True)
class Progress:
    """One report of a run. Losses are cross-entropies in nats a token; `valid` only where it was measured."""

    step: int
    steps: int
    tokens: int
    seconds: float
    train: float
    valid: float | None = None
    valid_bits_per_byte: float | None = None
    best: bool = False
