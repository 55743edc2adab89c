r"""DRY (don't repeat yourself): make a token less likely the longer the repetition that it would prolong.

Math      h_1 ... h_L the history in scope and window. n_j, 1 <= j < L, is the length of the longest common suffix of h_1 ... h_j and
          h_1 ... h_L, at most R, the number of tokens after the newest breaker in h (L if there is none). M(t) is the largest n_j
          with h_(j+1) = t. If M(t) >= allowed_length, and t is no breaker: z'_t = z_t - multiplier base^(M(t) - allowed_length).
          A breaker is a token or a sequence of tokens, of which the last one breaks. A text stands for every token that contains
          it, and for the sequence it is encoded as if that has two tokens or more.
Shapes    logits [B, V] nats; multiplier (nats), base (ratio), allowed_length and window (tokens) scalar or [B]; breakers: list of
          texts, ids and lists of ids, the same for all rows; returns [B, V].
Neutral   multiplier = 0, or window = 0
Edges     the two suffixes may overlap. -inf stays; a penalty is clipped to 1e30. Without a vocabulary the texts of the default have
          no effect, nor has one of them that a vocabulary cannot spell.
Errors    OutOfRange; NeedsTokenizer for a text of another list than the default that no vocabulary has turned into ids;
          TokenOutOfRange for a history from another model.
Cost      O(V + L), a few passes over L numbers whatever the text: how many tokens agree is carried from token to token at every
          distance. Anew, from a history: the Z algorithm, O(L) of Python.
Claims    base without history, relabel
Source    Weidmann 2024, text-generation-webui, pull request 5677; the linear form by pi6am, 2024.
Elsewhere llama.cpp: the same, `dry_penalty_last_n` 64 here; text breakers also across tokens; the exponent is at most
          floor(88.72 / ln base). koboldcpp punishes breakers too and needs R > allowed_length. exllamav3: single-token breakers of
          its own. exllamav2: another function, which counts occurrences. text-generation-webui: one token a breaker.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from math import inf as INF
from typing import Any

import numpy as np

from ...core.arrays import Array, like
from ...core.claims import Case, but
from ...core.context import Context, History, Scope
from ...core.errors import NeedsTokenizer, TokenOutOfRange, UlamError
from ...core.method import Transform
from ...core.parameter import parameter
from ...core.schedule import extremes
from ...core.suffixes import Suffixes
from ...core.texts import holding
from ...core.values import print_value
from ...core.vocabulary import Vocabulary

LINES = ("\n", ":", '"', "*")


@dataclass(frozen=True)
class Said:
    """What repeats at the end of a history, and for each length of a breaker how many tokens came after the newest one."""

    suffixes: Suffixes
    since: dict[int, int]


@dataclass(frozen=True)
class Dry(Transform):
    multiplier: float = parameter(float, "[0, inf)", neutral=0, unit="nats", help="penalty of a repetition of the allowed length")
    base: float = parameter(float, "[1, inf)", default=1.75, help="the penalty grows by this at every token more")
    allowed_length: int = parameter(int, "[1, inf)", default=2, unit="tokens", help="repetitions shorter than this are free")
    window: int | str = parameter(int, "[0, inf)", words=("all",), default="all", neutral=0, unit="tokens", help="how many of the newest tokens count")
    breakers: Any = parameter(list, items="sequence", default=LINES, help="no repetition reaches across these")
    scope: Scope = parameter(str, words=("prompt", "generated", "all"), default="all", help="which tokens count")

    def bind(self, vocabulary: Vocabulary) -> Dry:
        found: dict[tuple[int, ...], None] = {}
        for each in self.breakers:
            if isinstance(each, tuple):
                found[tuple(map(vocabulary.check, each))] = None
                continue
            found |= dict.fromkeys((token,) for token in holding(each, vocabulary))
            try:
                sequence = tuple(vocabulary.encode(each))
            except UlamError:
                if self.breakers != LINES:
                    raise
                continue  # a default need not fit every vocabulary
            if len(sequence) > 1:
                found[sequence] = None
        return replace(self, breakers=[*found])

    @cached_property
    def breaks(self) -> dict[int, set[tuple[int, ...]]]:
        """The breakers by their length."""
        found: dict[int, set[tuple[int, ...]]] = {}
        for each in self.breakers if self.breakers != LINES else ():
            if not isinstance(each, tuple):
                what = f"{self.name}: {print_value(each)} is no id, and no vocabulary is bound"
                raise NeedsTokenizer(what, stage=self.name, parameter="breakers", fix="give token ids, or recipe.bind(vocabulary)")
            found.setdefault(len(each), set()).add(each)
        return found

    def init(self, history: History) -> Said | None:
        if self.neutral(1).all():
            return None
        reach = None if isinstance(self.window, str) else int(np.rint(extremes(self.window).max()))
        tokens = history.tokens(self.scope, reach).tolist()
        since: dict[int, int] = {}
        for length, sequences in self.breaks.items():
            newest = next((end for end in range(len(tokens), length - 1, -1) if tuple(tokens[end - length : end]) in sequences), None)
            if newest is not None:
                since[length] = len(tokens) - newest
        return Said(Suffixes.of(tokens, reach), since)

    def advance(self, state: Said, token: int, z: Array) -> Said:
        if self.scope == "prompt":
            return state
        suffixes, since = state.suffixes.add(token), {length: count + 1 for length, count in state.since.items()}
        for length, sequences in self.breaks.items():
            if tuple(suffixes.tokens[:length][::-1].tolist()) in sequences:
                since[length] = 0
        return Said(suffixes, since)

    def fork(self, state: Said | None) -> Said | None:
        return state

    def longest(self, state: Said, window: int | str, least: int) -> dict[int, int]:
        """M(t) of every token that is punished."""
        length = len(state.suffixes.tokens)
        inside = length if isinstance(window, str) else min(int(window), length)
        room = min((count for size, count in state.since.items() if count + size <= inside), default=inside)
        if room < least:
            return {}
        tokens, agree = state.suffixes.followers(inside, least)
        order = np.argsort(-agree, kind="stable")
        ids, first = np.unique(tokens[order], return_index=True)
        most = np.minimum(agree[order][first], room)
        singles = self.breaks.get(1, ())
        return {token: size for token, size in zip(ids.tolist(), most.tolist(), strict=True) if (token,) not in singles}

    def apply(self, z: Array, context: Context) -> Array:
        rows, width = int(z.shape[0]), int(z.shape[-1])
        multiplier, base, allowed, windows = (np.broadcast_to(x, rows) for x in (self.multiplier, self.base, self.allowed_length, self.window))
        out = np.zeros((rows, width))
        for b in range(rows):
            found = self.longest(context.state(self, b), self.window if isinstance(self.window, str) else int(windows[b]), int(allowed[b]))
            outside = [token for token in found if not 0 <= token < width]
            if outside:
                what = f"{self.name}: token id {outside[0]} of the history is outside 0 to {width - 1}"
                raise TokenOutOfRange(what, stage=self.name, row=b, fix="a history of this model's tokens")
            more = np.array([*found.values()], np.float64) - allowed[b]
            half = np.floor(more / 2)  # two powers, since one may overflow where a tiny multiplier times it is small
            out[b, [*found]] = np.minimum(multiplier[b] * np.power(float(base[b]), half) * np.power(float(base[b]), more - half), 1e30)
        return z - like(z, out)


CLAIMS = (*but("history"), "relabel")

CASES = (
    Case(
        (1, 2, 3, 0), {"multiplier": 0.8}, (1, 2, 2.2, 0), "the newest token is punished, or the exponent is M", prompt=(0, 1, 2), generated=(0, 1), logits=True
    ),
    Case((1, 2, 3, 0), {"multiplier": 0.8, "base": 2}, (1, -1.2, 3, 0), "repetitions may not overlap", generated=(1, 1, 1, 1, 1), logits=True),
    Case(
        (1, 2, 3, 0, -INF),
        {"multiplier": 1, "base": 3, "breakers": [[4, 0]]},
        (1, 2, 3, -3, -INF),
        "a breaker of two tokens is two breakers, or breaks before its last token",
        generated=(4, 0, 1, 2, 1, 3, 4, 0, 1, 2, 1),
        logits=True,
    ),
    Case((1, 2, 3, 0), {"multiplier": 1, "breakers": [2]}, (1, 2, 3, 0), "a breaker may be punished", generated=(0, 1, 2, 3, 0, 1), logits=True),
    Case(
        (1, 2, 3, 0),
        {"multiplier": 1, "base": 2, "window": 5},
        (1, 2, 3, 0),
        "agreement reaches across the window's start",
        generated=(0, 1, 2, 3, 0, 1),
        logits=True,
    ),
    Case(
        (1, 2, 3, 0),
        {"multiplier": 1, "base": 2},
        (1, 2, 3, 0),
        "the texts of the default mean nothing, or a whole token alone",
        generated=(0, 3, 2, 0, 3),
        tokens=("a", "b", "c", 'd"'),
        logits=True,
    ),
)
