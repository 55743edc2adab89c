"""No repeat n-gram: never draw a token that would make a sequence of n tokens occur twice.

Math      h_1 ... h_L the history in scope, its last `window` tokens: z_t = -inf for every t such that h_(L-n+2) ... h_L t occurs in h.
          n = 1 bans every token of h. Nothing where L + 1 < n.
Shapes    logits [B, V] nats; n and window in tokens, >= 0, the same for all rows and positions, since the state is made for them; returns [B, V].
Neutral   n = 0, or window = 0
Edges     An n-gram lies in the window whole or not at all, so a window below n bans nothing. scope=prompt compares the end of the prompt with
          the prompt, and bans the same at every position. A row that has no other token left is EmptySupport.
Errors    TokenOutOfRange for a token to ban that the row does not have: a history from another model.
Cost      O(V), and O(n) a step with what is carried from step to step: which tokens came after which n - 1. O(L n) from a history.
Claims    base without history and nonempty, relabel, idempotent, ratios, scale_free. Commutes with every other mask and with whatever
          adds to logits.
Source    Paulus, Xiong, Socher 2017, "A deep reinforced model for abstractive summarization", arXiv 1705.04304.
Elsewhere transformers and text-generation-webui `no_repeat_ngram_size`: the same, without a window. transformers'
          `encoder_no_repeat_ngram_size` compares the end of the text with a source text.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from fractions import Fraction as F

from ...core.arrays import Array
from ...core.claims import Case, but
from ...core.context import Context, History, Scope
from ...core.errors import TokenOutOfRange
from ...core.masks import marked
from ...core.method import Constraint
from ...core.parameter import parameter


@dataclass
class Seen:
    """The tokens in scope, and after n - 1 tokens each token that came, with where its newest such n-gram begins."""

    tokens: list[int] = field(default_factory=list)
    after: dict[tuple[int, ...], dict[int, int]] = field(default_factory=dict)


@dataclass(frozen=True)
class NoRepeatNgram(Constraint):
    n: int = parameter(int, "[0, inf)", neutral=0, unit="tokens", fixed=True, help="length of the sequences that do not come again")
    window: int | str = parameter(
        int, "[0, inf)", words=("all",), default="all", neutral=0, unit="tokens", fixed=True, help="how many of the newest tokens count"
    )
    scope: Scope = parameter(str, words=("prompt", "generated", "all"), default="all", help="which tokens count")

    def init(self, history: History) -> Seen | None:
        if self.neutral(1).all():
            return None
        seen = Seen()
        for token in history.tokens(self.scope).tolist():
            self.add(seen, token)
        return seen

    def advance(self, state: Seen | None, token: int, z: Array) -> Seen | None:
        if state is not None and self.scope != "prompt":
            self.add(state, token)
        return state

    def fork(self, state: Seen | None) -> Seen | None:
        return None if state is None else Seen([*state.tokens], {begin: {**ends} for begin, ends in state.after.items()})

    def add(self, seen: Seen, token: int) -> None:
        """Note the n-gram that ends with one more token, and forget the one that leaves the window."""
        tokens = seen.tokens
        tokens.append(token)
        first = len(tokens) - self.n
        if first >= 0:
            seen.after.setdefault(tuple(tokens[first:-1]), {})[token] = first
        gone = -1 if isinstance(self.window, str) else len(tokens) - self.window - 1
        if 0 <= gone <= first:
            *begin, last = tokens[gone : gone + self.n]
            came = seen.after[tuple(begin)]
            if came.get(last) == gone:
                del came[last]

    def repeats(self, seen: Seen, width: int) -> Iterable[int]:
        """The tokens that would complete an n-gram again."""
        tokens = seen.tokens
        if len(tokens) < self.n - 1 or (not isinstance(self.window, str) and self.window < self.n):
            return ()
        found = seen.after.get(tuple(tokens[len(tokens) - self.n + 1 :]), {})
        for token in found:
            if not 0 <= token < width:
                raise TokenOutOfRange(f"{self.name}: token id {token} of the history is outside 0 to {width - 1}", stage=self.name)
        return found

    def allowed(self, z: Array, context: Context) -> Array:
        rows, width = map(int, z.shape)
        return ~marked(z, [self.repeats(context.state(self, b), width) for b in range(rows)])


CLAIMS = (*but("history", "nonempty"), "relabel", "idempotent", "ratios", "scale_free")

CASES = (
    Case(
        (F(1, 5), F(1, 10), F(3, 10), F(2, 5)),
        {"n": 3},
        (F(2, 7), F(1, 7), 0, F(4, 7)),
        "an n-gram may not cross from the prompt",
        prompt=(0, 1, 2),
        generated=(0, 1),
    ),
    Case((F(1, 5), F(1, 2), F(3, 10)), {"n": 2}, (F(2, 5), 0, F(3, 5)), "the last token is banned", generated=(0, 1, 0, 1, 0)),
    Case((F(1, 5), F(1, 2), F(3, 10)), {"n": 1}, (0, 0, 1), "n counts the tokens before", generated=(0, 1)),
    Case((F(1, 5), F(1, 2), F(3, 10)), {"n": 3}, (F(1, 5), F(1, 2), F(3, 10)), "n - 1 of two tokens are enough", generated=(0, 0, 1, 0)),
    Case((F(1, 5), F(1, 2), F(3, 10)), {"n": 2, "window": 3}, (F(2, 7), F(5, 7), 0), "an n-gram half in the window counts", generated=(0, 1, 0, 2, 0)),
    Case((F(1, 5), F(1, 2), F(3, 10)), {"n": 2, "scope": "generated"}, (F(2, 7), F(5, 7), 0), "the prompt always counts", prompt=(0, 1), generated=(0, 2, 0)),
)
