"""Suffixes: where a history has said before what it says at its end, kept from token to token."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

GRAM = 4
"""Longest run of tokens by which earlier places are looked up: longer ones are hardly rarer, and cost memory."""


@dataclass
class Suffixes:
    """The tokens of a history, and the places after which the same tokens stand as at its end.

    A place is a number of tokens from the start. Only agreements of at least `gram` tokens are kept, so a token costs the
    number of earlier places of the newest `gram` tokens, no more of them than lie within `reach`.

    gram     shortest agreement that is kept, at least 1
    reach    how far back to look, in tokens; None for all of it
    agree    by place, how many tokens before it are those at the end
    """

    gram: int
    reach: int | None = None
    tokens: list[int] = field(default_factory=list[int])
    newest: dict[tuple[int, ...], int] = field(default_factory=dict[tuple[int, ...], int])
    before: list[int] = field(default_factory=lambda: [0])
    agree: dict[int, int] = field(default_factory=dict[int, int])

    def add(self, token: int) -> None:
        """One more token."""
        self.tokens.append(token)
        end, found = len(self.tokens), dict[int, int]()
        key = tuple(self.tokens[-self.gram :])
        place = self.newest.get(key, 0) if end >= self.gram else 0
        self.before.append(place)
        if end >= self.gram:
            self.newest[key] = end
        oldest = 0 if self.reach is None else max(end - self.reach, 0)
        while place > oldest:
            # what agreed a token ago agrees once more; what did not was a token short of the gram
            found[place] = self.agree.get(place - 1, self.gram - 1) + 1
            place = self.before[place]
        self.agree = found

    def followers(self, window: int) -> Iterator[tuple[int, int]]:
        """The token that came after each place, and how many tokens agree there, inside the newest `window` tokens."""
        first = max(len(self.tokens) - window, 0)
        for place, length in self.agree.items():
            if place > first:
                yield self.tokens[place], min(length, place - first)

    def copy(self) -> Suffixes:
        return Suffixes(self.gram, self.reach, self.tokens.copy(), self.newest.copy(), self.before.copy(), self.agree.copy())
