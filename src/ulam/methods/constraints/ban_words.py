"""Ban words: never finish any of these sequences of tokens.

Math      a text w stands for the encodings of w and of a blank and w, where they differ; a list of ids stands for itself. With h the history in
          scope: for every sequence a_1 ... a_n with n = 1, or with h ending in a_1 ... a_(n-1), z of a_n is -inf.
Shapes    logits [B, V] nats; a list of sequences (a text, or a list of ids), the same for all rows; returns [B, V].
Neutral   the empty list
Edges     It bans tokens, not text: another way to write the same text in tokens passes. A vocabulary that cannot spell the blank has
          one encoding of w. A sequence may begin before the scope's first token only if the scope holds it. A row that has no other token
          left is EmptySupport.
Errors    OutOfRange for an end token alone (ban_tokens says that), and for a text that is no token at all; NeedsTokenizer for a text that
          no vocabulary has turned into ids; TokenOutOfRange for an id the row does not have.
Cost      O(V), and O(total length of the sequences) a row
Claims    base without history and nonempty, relabel, idempotent, ratios, scale_free. Commutes with every other mask and with whatever
          adds to logits.
Source    transformers, `bad_words_ids`, 2020.
Elsewhere transformers `bad_words_ids`: ids alone, scope all, and it leaves out end tokens without saying so. vLLM `bad_words`: the generated
          tokens; the encoding with a blank counts only if it is as long as the other and begins with another token.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from fractions import Fraction as F
from typing import Any

from ...core.arrays import Array
from ...core.claims import Case, but
from ...core.context import Context, History, Scope
from ...core.errors import OutOfRange, UsageError
from ...core.masks import ids_in, marked
from ...core.method import Constraint
from ...core.parameter import parameter
from ...core.values import print_value
from ...core.vocabulary import Vocabulary


@dataclass(frozen=True)
class BanWords(Constraint):
    words: Any = parameter(list, items="sequence", neutral=[], help="what is never finished")
    scope: Scope = parameter(str, words=("prompt", "generated", "all"), default="generated", help="where a word may have begun")

    def bind(self, vocabulary: Vocabulary) -> BanWords:
        found: dict[tuple[int, ...], None] = {}
        for word in self.words:
            for each in encodings(word, vocabulary) if isinstance(word, str) else [tuple(map(vocabulary.check, word))]:
                if not each or (len(each) == 1 and each[0] in vocabulary.ends):
                    told = "is an end token alone" if each else "is no token of this vocabulary"
                    raise OutOfRange(f"{self.name}: {print_value(word)} {told}", stage=self.name, parameter="words", fix="ban_tokens=[end] bans the end")
                found[each] = None
        return replace(self, words=[*found])

    def allowed(self, z: Array, context: Context) -> Array:
        words = [ids_in(self, "words", [word] if isinstance(word, str) else word, int(z.shape[-1])) for word in self.words]
        reach = max(map(len, words)) - 1
        return ~marked(z, [finishing(words, row.tokens(self.scope, reach).tolist()) for row in context.rows or [History()]])


def encodings(word: str, vocabulary: Vocabulary) -> list[tuple[int, ...]]:
    """A word as it stands at the beginning and inside a text."""
    found = [tuple(vocabulary.encode(word))]
    with suppress(UsageError):  # a vocabulary without a blank
        found.append(tuple(vocabulary.encode(" " + word)))
    return found


def finishing(words: list[list[int]], tokens: list[int]) -> set[int]:
    """The tokens that would finish a word after these."""
    return {last for *begun, last in words if tokens[max(len(tokens) - len(begun), 0) :] == begun}


CLAIMS = (*but("history", "nonempty"), "relabel", "idempotent", "ratios", "scale_free")

WORDS = [[1, 2], [3]]

CASES = (
    Case((F(1, 10), F(2, 5), F(3, 10), F(1, 5)), {"words": WORDS}, (F(1, 5), F(4, 5), 0, 0), "all tokens of a word are banned", generated=(0, 1)),
    Case((F(1, 10), F(2, 5), F(3, 10), F(1, 5)), {"words": WORDS}, (F(1, 8), F(1, 2), F(3, 8), 0), "an older beginning counts", generated=(1, 0)),
    Case((F(1, 10), F(2, 5), F(3, 10), F(1, 5)), {"words": WORDS}, (F(1, 8), F(1, 2), F(3, 8), 0), "a word may begin in the prompt", prompt=(0, 1)),
    Case(
        (F(1, 10), F(2, 5), F(3, 10), F(1, 5)),
        {"words": [[0, 1, 2], [2, 1, 3]], "scope": "all"},
        (F(1, 7), F(4, 7), 0, F(2, 7)),
        "scope=all forgets the prompt, or one token of the beginning is enough",
        prompt=(0,),
        generated=(1,),
    ),
    Case((F(1, 10), F(2, 5), F(3, 10), F(1, 5)), {"words": ["x"]}, (0, F(2, 3), 0, F(1, 3)), "one encoding of two", tokens=("x", "y", " x", " ")),
    Case((F(1, 10), F(9, 10), 0), {"words": ["ab", [0]]}, (0, 0, 0), "without a blank there is no encoding", generated=(0,), tokens="abc"),
)
