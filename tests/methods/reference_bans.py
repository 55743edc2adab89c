"""The constraints once more, token by token, in plain Python and as their definitions read: the tokens that are allowed."""

from __future__ import annotations


def ban_tokens(width: int, tokens: list[int]) -> set[int]:
    return set(range(width)) - set(tokens)


def allow_tokens(width: int, tokens: list[int]) -> set[int]:
    return {i for i in range(width) if i in tokens}


def ban_words(width: int, history: list[int], words: list[list[int]]) -> set[int]:
    """A token goes if the text with it would end in a word."""
    return {t for t in range(width) if not any((len(word) == 1 or len(history) >= len(word) - 1) and ends([*history, t], word) for word in words)}


def ends(text: list[int], word: list[int]) -> bool:
    return len(text) >= len(word) and text[len(text) - len(word) :] == word


def no_repeat_ngram(width: int, history: list[int], n: int, window: int | str) -> set[int]:
    """A token goes if the n tokens that it would end stand in the window before it."""
    if n == 0 or window == 0:
        return set(range(width))
    h = history if window == "all" else history[max(len(history) - int(window), 0) :]
    grams = [h[i : i + n] for i in range(len(h) - n + 1)]
    return {t for t in range(width) if [*h, t][len(h) + 1 - n :] not in grams or len(h) + 1 < n}


def suppress_at_start(width: int, position: int, tokens: list[int], until: int) -> set[int]:
    return {i for i in range(width) if not (i in tokens and position < until)}


def min_tokens(width: int, position: int, ends: list[int], n: int) -> set[int]:
    return {i for i in range(width) if not (i in ends and position < n)}


def force_tokens(width: int, position: int, tokens: list[int], at: int) -> set[int]:
    forced = dict(enumerate(tokens, at))
    return {i for i in range(width) if forced.get(position, i) == i}
