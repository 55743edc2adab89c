"""A distribution over tokens, row by row."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .arrays import Array, as_logits, entropy, finite_rows, log_softmax, namespace, row_max, row_sum, support, to_numpy
from .errors import InvalidLogits


@dataclass(frozen=True, eq=False)
class Categorical:
    """Distribution(s) over a vocabulary: [V], or [B, V] for a batch of rows.

    Made from logits (`Categorical.of`); everything else is read off `log_probs` (nats, `-inf` for a forbidden token).
    """

    log_probs: Array

    @classmethod
    def of(cls, logits: Array) -> Categorical:
        """From logits [V] or [B, V], nats, up to a constant a row. Raises `InvalidLogits` for NaN, +inf or nothing finite."""
        z = as_logits(logits)
        if not finite_rows(z).all():
            raise InvalidLogits("the logits hold NaN, +inf or no finite entry")
        return cls(log_softmax(z[None, :])[0, :]) if z.ndim == 1 else cls(log_softmax(z))

    @property
    def probs(self) -> Array:
        """Probabilities; each row adds to one up to rounding."""
        rows = self.log_probs if self.log_probs.ndim > 1 else self.log_probs[None, :]
        weight = namespace(rows).exp(rows - row_max(rows))
        return (weight / row_sum(weight)).reshape(self.log_probs.shape)

    @property
    def support(self) -> Array:
        """Bool: the tokens that are not forbidden. A token of probability below 1e-308 is still in the support."""
        return support(self.log_probs)

    @property
    def entropy(self) -> Array:
        """Entropy in nats, a number a row."""
        if self.log_probs.ndim > 1:
            return entropy(self.log_probs)[:, 0]
        return entropy(self.log_probs[None, :])[0, 0]  # a scalar of the library

    @property
    def entropy_bits(self) -> Array:
        """Entropy in bits."""
        return self.entropy / np.log(2.0)

    def __repr__(self) -> str:
        *rows, width = self.log_probs.shape
        if rows:
            return f"Categorical({rows[0]} rows over {width} tokens)"
        probs = to_numpy(self.probs)
        best = np.argsort(-probs, kind="stable")[:3]
        tops = ", ".join(f"{int(i)}: {probs[i]:.4g}" for i in best)
        kept = int(to_numpy(self.support).sum())
        return f"Categorical({kept} of {width} tokens kept, {float(self.entropy_bits):.3f} bits; {tops})"
