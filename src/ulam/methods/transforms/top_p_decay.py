r"""Top-p with decay: a nucleus that shrinks from token to token and opens again at the start of a sentence.

Math      t = number of generated tokens after the newest generated one whose text contains a text of `reset`, or which is a
          token of it; all generated ones if there is none. p_t = max(floor, p decay^t); then as `top_p` with p_t.
Shapes    logits [B, V] nats; p, decay, floor scalar or [B], probabilities; reset: list of texts and tokens, the same for all rows;
          returns [B, V].
Neutral   p = 1 with decay = 1
Edges     the prompt never counts. p_t = 1 leaves the row as it is, p_t = 0 keeps one token. Without a vocabulary the texts of the
          default have no effect: then only the length decays the nucleus.
Errors    OutOfRange outside [0, 1], (0, 1], and for a floor that may be above p; NeedsTokenizer for a text or a word of another list
          than the default that no vocabulary has turned into ids.
Cost      O(V log V): one sort. t is carried on from token to token.
Claims    base without history, order, argmax, relabel, monotone (the kept set grows with p), ratios.
Source    Lee, Ping, Xu, Patwary, Fung, Shoeybi, Catanzaro 2022, "Factuality enhanced language models for open-ended text
          generation", arXiv 2206.04624 (factual-nucleus sampling).
Elsewhere FasterTransformer and what came of it, TensorRT-LLM and rtp-llm: `top_p_decay`, `top_p_min`, `top_p_reset_ids` (one id).
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from fractions import Fraction as F
from functools import cached_property
from typing import Any

import numpy as np

from ...core.arrays import Array, keep, like, namespace, reach, slack, sort_down, upper_set
from ...core.claims import Case, but
from ...core.context import Context, History
from ...core.errors import NeedsTokenizer, OutOfRange
from ...core.method import Transform
from ...core.parameter import parameter
from ...core.schedule import extremes, row_by_row
from ...core.texts import spread
from ...core.values import print_value
from ...core.vocabulary import Vocabulary

SENTENCES = (".", "!", "?", "\n")


@dataclass(frozen=True)
class TopPDecay(Transform):
    together = {"p": 1, "decay": 1}

    p: float = parameter(float, "[0, 1]", help="mass that the kept tokens reach at the start of a sentence")
    decay: float = parameter(float, "(0, 1]", default=0.9, help="what the mass is multiplied by at every token")
    floor: float = parameter(float, "[0, 1]", default=0.3, help="the mass falls no lower")
    reset: Any = parameter(list, items="text", default=SENTENCES, help="after these the mass begins anew")

    def __post_init__(self) -> None:
        super().__post_init__()
        floor, p = extremes(self.floor), extremes(self.p)
        if np.any(floor > p) if row_by_row(self.floor, self.p) else floor.max(initial=0) > p.min(initial=1):
            raise OutOfRange(f"{self.name}: floor={self.floor} is above p={self.p}", stage=self.name, parameter="floor", fix="a floor of at most p")

    def bind(self, vocabulary: Vocabulary) -> TopPDecay:
        return replace(self, reset=spread(self.reset, vocabulary))

    @cached_property
    def starts(self) -> Collection[int]:
        """The tokens that begin anew."""
        for each in self.reset if self.reset != SENTENCES else ():
            if not isinstance(each, int):
                what = f"{self.name}: {print_value(each)} is no id, and no vocabulary is bound"
                raise NeedsTokenizer(what, stage=self.name, parameter="reset", fix="give token ids, or recipe.bind(vocabulary)")
        return frozenset(each for each in self.reset if isinstance(each, int))

    def init(self, history: History) -> int:
        """t of the next token."""
        generated, starts = history.generated, self.starts
        return next((t for t in range(len(generated)) if int(generated[-1 - t]) in starts), len(generated))

    def advance(self, state: int, token: int, z: Array) -> int:
        return 0 if token in self.starts else state + 1

    def apply(self, z: Array, context: Context) -> Array:
        xp = namespace(z)
        since = np.array([context.state(self, b) for b in range(int(z.shape[0]))], np.float64)
        p = np.maximum(self.floor, self.p * np.power(self.decay, since))
        ranked = sort_down(z)
        count = reach(xp.exp(ranked - ranked[:, :1]), p, slack(z))
        kept = keep(z, upper_set(z, count, ranked))
        return xp.where(like(z, p == 1, xp.bool)[:, None], z, kept)


CLAIMS = (*but("history"), "order", "argmax", "relabel", "monotone", "ratios")

ROW = (F(3, 20), F(1, 2), F(1, 20), F(3, 10))

CASES = (
    Case(ROW, {"p": 0.9}, (F(3, 19), F(10, 19), 0, F(6, 19)), "the prompt counts", prompt=(0, 1, 2)),
    Case(ROW, {"p": 0.9, "decay": 0.5}, (0, 1, 0, 0), "the mass above the floor decays: 0.6; t = 0 until the second token: 0.9", generated=(1,)),
    Case(ROW, {"p": 0.9, "decay": 0.9, "floor": 0.6}, (0, F(5, 8), 0, F(3, 8)), "no floor, or one that is added", generated=(1,) * 20),
    Case(ROW, {"p": 0.81, "decay": 0.5, "reset": [2]}, (F(3, 19), F(10, 19), 0, F(6, 19)), "the token after the reset is t = 1", generated=(1, 0, 2)),
    Case(ROW, {"p": 0.9, "decay": 0.5}, (0, 1, 0, 0), "a start anywhere in the text opens it again", generated=(3, 0, 1), tokens=("a", "b", "c", ".")),
    Case(
        ROW,
        {"p": 0.9, "decay": 0.5},
        (F(3, 19), F(10, 19), 0, F(6, 19)),
        "a token that contains a text is none",
        generated=(1, 3),
        tokens=("a", "b", "c", ' x."'),
    ),
)
