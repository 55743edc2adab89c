"""Two recipes on the rows of a model: how far apart they are, and where their texts part."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from ..core.arrays import to_numpy
from ..core.categorical import Categorical
from ..core.noise import Address, PhiloxNoise
from ..models.protocol import LanguageModel
from ..recipe import Recipe
from .loop import sample
from .request import read_prompts


@dataclass(frozen=True, eq=False)
class Difference:
    """The next token after one text, under two recipes and the bare model.

    uniform   the number that both draws read; `drawn`, the token of each
    """

    model: Categorical
    first: Categorical
    second: Categorical
    uniform: float
    drawn: tuple[int, int]

    @property
    def total_variation(self) -> float:
        """Half the sum of |P - Q|: the most by which the probabilities of any event differ."""
        return 0.5 * float(np.abs(to_numpy(self.first.probs).astype(float) - to_numpy(self.second.probs)).sum())


def difference(model: LanguageModel, first: Recipe, second: Recipe, prompt: str, seed: int = 0, *, said: int = 0) -> Difference:
    """The two laws of the token after `prompt`, of which the last `said` tokens count as generated.

    Raises what the recipes raise for the row (`EmptySupport`).
    """
    vocabulary = model.vocabulary
    ids = read_prompts(model, prompt)[1][0]
    state, logits = model.prefill([ids])
    model.release(state)
    cut = len(ids) - min(said, max(0, len(ids) - 1))
    told, row = (ids[:cut], ids[cut:]), logits[0]
    bound = [each.bind(vocabulary) for each in (first, second)]
    laws = [each.distribution(row, *told) for each in bound]
    drawn = [each.choose(row, seed, prompt=told[0], generated=told[1]).token for each in bound]
    uniform = float(PhiloxNoise(seed).uniform(Address([0], [len(told[1])])).values[0])
    return Difference(Categorical.of(row), laws[0], laws[1], uniform, (drawn[0], drawn[1]))


def distances(model: LanguageModel, first: Recipe, second: Recipe, prompts: Iterable[str]) -> list[float]:
    """The total variation of the next token after each prompt, the second half of which counts as generated."""
    return [difference(model, first, second, prompt, said=len(read_prompts(model, prompt)[1][0]) // 2).total_variation for prompt in prompts]


def parting(model: LanguageModel, first: Recipe, second: Recipe, prompt: str, seed: int, max_tokens: int) -> tuple[int | None, Sequence[int], Sequence[int]]:
    """The position at which two texts drawn with the same dice first differ (None if they do not), and the tokens of both."""
    a, b = (sample(model, prompt, each, seed=seed, max_tokens=max_tokens)[0].tokens for each in (first, second))
    same = next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), None)
    return (min(len(a), len(b)) if same is None and len(a) != len(b) else same), a, b
