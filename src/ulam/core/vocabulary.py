"""The tokens of a model: their bytes, which of them end a text, how text becomes ids."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from numbers import Integral

from .errors import NeedsTokenizer, TokenOutOfRange
from .values import Word


class Vocabulary:
    """V tokens by id.

    tokens     the bytes of every token; special tokens (start, end) have none
    names      how a special token is written, by id (`<|endoftext|>`)
    start      the id that begins a text, or None
    ends       the ids that end a text (may be empty)
    encode     text to ids, without start or end token; None for a vocabulary that has no text
    encode_prompt  the same for a text that begins, before which some tokenizers put a space; `encode` if left out
    """

    def __init__(
        self,
        tokens: Sequence[bytes],
        *,
        names: dict[int, str] | None = None,
        start: int | None = None,
        ends: Sequence[int] = (),
        encode: Callable[[str], list[int]] | None = None,
        encode_prompt: Callable[[str], list[int]] | None = None,
    ):
        self.tokens, self.names, self.start, self.ends = tuple(tokens), dict(names or {}), start, tuple(sorted(set(ends)))
        self._encode, self._encode_prompt = encode, encode_prompt or encode
        for i in (*self.names, *self.ends, *([] if start is None else [start])):
            self.check(i)

    def __len__(self) -> int:
        return len(self.tokens)

    def __repr__(self) -> str:
        return f"Vocabulary({len(self)} tokens, start {self.start}, ends {list(self.ends)})"

    def check(self, token: int) -> int:
        """`token` if it is an id of this vocabulary; raises `TokenOutOfRange`."""
        if isinstance(token, bool) or not isinstance(token, Integral) or not 0 <= int(token) < len(self.tokens):
            raise TokenOutOfRange(f"token id {token!r} is outside 0 to {len(self) - 1}", fix="use ids of this model's vocabulary")
        return int(token)

    def encode(self, text: str) -> list[int]:
        """Ids whose bytes are this text, without start or end token. Raises `NeedsTokenizer` where there are none."""
        return self._ids(self._encode, text)

    def encode_prompt(self, text: str) -> list[int]:
        """Ids of a text that begins here, without start or end token, as the model's tokenizer has them. Raises `NeedsTokenizer` where there is no text.

        Their bytes may differ from the text: a space before it, capitals or accents that the tokenizer does not keep.
        """
        return self._ids(self._encode_prompt, text)

    def _ids(self, encode: Callable[[str], list[int]] | None, text: str) -> list[int]:
        if encode is None:
            raise NeedsTokenizer("this model has no tokenizer, so text cannot become tokens", fix="give token ids: [3, 17, 4]")
        return [self.check(i) for i in encode(text)]

    def decode(self, ids: Sequence[int]) -> str:
        """Text of ids; bytes that are no UTF-8 become U+FFFD. Special tokens have no text."""
        return b"".join(self.tokens[self.check(i)] for i in ids).decode("utf-8", "replace")

    def resolve(self, token: int | str | Word) -> int:
        """The id of a token given as an id, as a text that is exactly one token, or as the word `end` or `bos`."""
        if isinstance(token, Word):
            if token.name == "end" and len(self.ends) == 1:
                return self.ends[0]
            if token.name == "bos" and self.start is not None:
                return self.start
            raise NeedsTokenizer(f"this vocabulary has no single token for the word {token.name}", fix="give its id")
        if isinstance(token, str):
            special = [i for i, name in self.names.items() if name == token]
            ids = special or self.encode(token)
            if len(ids) != 1:
                fix = "name one token by its id or its exact text; sequence_bias and ban_words take several"
                raise NeedsTokenizer(f"{token!r} is {len(ids)} tokens here ({ids}), not one", fix=fix)
            return ids[0]
        return self.check(token)

    def show(self, token: int) -> str:
        """A token for people: visible spaces and line ends, special tokens by name, broken UTF-8 as hex."""
        if token in self.names:
            return self.names[token]
        raw = self.tokens[self.check(token)]
        try:
            text = raw.decode("utf-8")
        except UnicodeDecodeError:
            return "".join(f"⟨{byte:02X}⟩" for byte in raw)
        return show_blanks(text)


def show_blanks(text: str) -> str:
    """`text` with visible spaces, line ends and tabs."""
    return text.replace(" ", "␣").replace("\n", "⏎").replace("\t", "⇥")
