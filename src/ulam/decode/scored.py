"""What scoring a text gives back: the surprise of every token, and its totals."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..core.vocabulary import Vocabulary
from ..recipe import Recipe
from .request import read_count
from .samples import finite, token_entry


class Peak(NamedTuple):
    """A token of a text and its surprise under the model, in bits."""

    position: int
    token: int
    bits: float


@dataclass(frozen=True, eq=False)
class Score:
    """The surprise of one text of T tokens.

    text, tokens        the text and its T ids, the end token included if it was given
    prompt              the text before it, with `prompt_tokens`, which is not scored
    recipe              the recipe, or None
    model_log_probs     [T] nats under the bare model; `-inf` for an impossible token, NaN for an unscored one
    ranks               [T] rank under the model: 1 is the most likely token, ties by id; 0 for an unscored one
    recipe_log_probs    [T] nats under the recipe, chooser included, or None
    removed_by          for every token None, or what made it impossible: a stage as written, or "model"
    log_normalizers     [T] log N of every step (`RecipeModel.log_normalizers`), nats; None if the recipe has no global form
    byte_counts         [T] bytes of the tokens; special tokens have none
    windows             how many windows the model read: 1 unless prompt and text are longer than its context

    Totals are over the scored tokens.
    """

    text: str
    tokens: tuple[int, ...]
    prompt: str
    prompt_tokens: tuple[int, ...]
    recipe: Recipe | None
    model_log_probs: NDArray[np.float64]
    ranks: NDArray[np.int64]
    recipe_log_probs: NDArray[np.float64] | None
    removed_by: tuple[str | None, ...]
    log_normalizers: NDArray[np.float64] | None
    byte_counts: NDArray[np.int64]
    windows: int

    @property
    def scored(self) -> int:
        """Tokens that have a probability."""
        return int((~np.isnan(self.model_log_probs)).sum())

    @property
    def unscored(self) -> int:
        """Tokens without one: the first, if nothing stands before it and the model cannot begin."""
        return len(self.tokens) - self.scored

    @property
    def model_log_prob(self) -> float:
        """Nats of the text under the bare model."""
        return total(self.model_log_probs)

    @property
    def recipe_log_prob(self) -> float | None:
        """Nats of the text under the recipe; `-inf` if it could not have produced it."""
        return None if self.recipe_log_probs is None else total(self.recipe_log_probs)

    @property
    def log_distortion(self) -> float | None:
        """Sum of log N, nats: the log of the weight that repairs local normalisation. q(x) = prod u / exp(log_distortion)."""
        return None if self.log_normalizers is None else total(self.log_normalizers)

    @property
    def surprises(self) -> NDArray[np.float64]:
        """[T] bits under the model."""
        return np.abs(self.model_log_probs / math.log(2))

    @property
    def bits(self) -> float:
        """Bits of the text under the model."""
        return abs(self.model_log_prob / math.log(2))

    @property
    def bits_per_token(self) -> float:
        """NaN if no token is scored."""
        return self.bits / self.scored if self.scored else math.nan

    @property
    def bits_per_byte(self) -> float:
        """Comparable between tokenizers. NaN if the scored tokens have no bytes."""
        size = int(self.byte_counts[~np.isnan(self.model_log_probs)].sum())
        return self.bits / size if size else math.nan

    @property
    def perplexity(self) -> float:
        """exp of minus the mean log-probability a token. NaN if no token is scored."""
        with np.errstate(over="ignore"):
            return float(np.exp2(self.bits_per_token))

    @property
    def coverage(self) -> int | None:
        """How many of the scored tokens the recipe could have produced."""
        return None if self.recipe_log_probs is None else int((self.recipe_log_probs > -np.inf).sum())

    @property
    def removed_at(self) -> int | None:
        """Position of the first impossible token, or None."""
        return next((position for position, stage in enumerate(self.removed_by) if stage is not None), None)

    def peaks(self, k: int) -> list[Peak]:
        """The k most surprising tokens under the model, or all if there are fewer; the largest first, equal ones by position."""
        count = read_count(k, "k", 1)
        bits = self.surprises
        order = [i for i in np.argsort(-bits, kind="stable").tolist() if not math.isnan(bits[i])]
        return [Peak(i, self.tokens[i], float(bits[i])) for i in order[:count]]

    def __repr__(self) -> str:
        left_out = f" ({self.scored} scored)" if self.unscored else ""
        model = f"model {self.bits:.4g} bits, {self.bits_per_token:.3g} per token, perplexity {self.perplexity:.3g}"
        under = f"; {self.recipe}: {self.recipe_log_prob:.4g} nats, could produce {self.coverage} of {self.scored}" if self.recipe is not None else ""
        return f"Score({len(self.tokens)} tokens{left_out}; {model}{under})"

    def to_dict(self, vocabulary: Vocabulary) -> dict[str, Any]:
        """Plain numbers and strings; log-probabilities in nats. What is not finite is null; `removed_by` says where that is minus infinity.

        Fields about a recipe are there if there is one.
        """
        at = self.removed_at
        under: dict[str, Any] = {}
        if self.recipe is not None:
            sums = {"recipe_log_prob": finite(self.recipe_log_prob), "log_distortion": finite(self.log_distortion), "coverage": self.coverage}
            under = {"recipe": str(self.recipe), "recipe_id": self.recipe.id, **sums}
        return {
            "text": self.text,
            "prompt": {"text": self.prompt, "tokens": len(self.prompt_tokens)},
            "tokens": len(self.tokens),
            "scored": self.scored,
            "unscored": self.unscored,
            "windows": self.windows,
            "model_log_prob": finite(self.model_log_prob),
            "model_bits": finite(self.bits),
            "model_bits_per_token": finite(self.bits_per_token),
            "model_bits_per_byte": finite(self.bits_per_byte),
            "model_perplexity": finite(self.perplexity),
            **under,
            "removed_at": at,
            "removed_by": None if at is None else self.removed_by[at],
            "steps": [self.step(position, vocabulary) for position in range(len(self.tokens))],
        }

    def step(self, position: int, vocabulary: Vocabulary) -> dict[str, Any]:
        """One token for `to_dict`."""
        under: dict[str, Any] = {}
        if self.recipe_log_probs is not None:
            log_prob = float(self.recipe_log_probs[position])
            under = {"recipe_log_prob": finite(log_prob), "recipe_bits": finite(abs(log_prob / math.log(2)))}
        if self.log_normalizers is not None:
            under["log_normalizer"] = finite(self.log_normalizers[position])
        return {
            "position": position,
            "token": token_entry(self.tokens[position], vocabulary),
            "model_log_prob": finite(self.model_log_probs[position]),
            "model_bits": finite(self.surprises[position]),
            "model_rank": int(self.ranks[position]) or None,
            **under,
            "removed_by": self.removed_by[position],
        }


def total(log_probs: NDArray[np.float64]) -> float:
    """The sum of what is not NaN."""
    return math.fsum(log_probs[~np.isnan(log_probs)])
