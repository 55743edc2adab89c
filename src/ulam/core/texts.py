"""Texts as tokens: which tokens of a vocabulary contain a text."""

from __future__ import annotations

from collections.abc import Iterable

from .parameter import Item
from .values import Word
from .vocabulary import Vocabulary


def holding(text: str, vocabulary: Vocabulary) -> tuple[int, ...]:
    """The tokens whose text contains `text`. Special tokens have no text."""
    part = text.encode()
    return tuple(i for i, token in enumerate(vocabulary.tokens) if part in token)


def spread(items: Iterable[Item], vocabulary: Vocabulary) -> list[int]:
    """Ids for texts and tokens, rising: a text stands for every token that contains it, the word end for every end token."""
    found: set[int] = set()
    for each in items:
        if each == Word("end") and vocabulary.ends:
            found.update(vocabulary.ends)
        elif isinstance(each, (int, Word)):
            found.add(vocabulary.resolve(each))
        else:
            found.update(holding(str(each), vocabulary))
    return sorted(found)
