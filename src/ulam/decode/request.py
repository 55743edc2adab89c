"""What a run is asked for, brought to its normal form and checked before any work is done."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Sequence
from itertools import pairwise
from numbers import Integral
from typing import Any, TypeAlias

from ..core.errors import ContextOverflow, UsageError
from ..core.noise import Noise, PhiloxNoise, check_seed, check_word, sequence_number
from ..core.values import is_unicode, print_value
from ..core.vocabulary import Vocabulary
from ..models.protocol import LanguageModel, refuse_engine
from ..recipe import Recipe

Prompt: TypeAlias = str | Sequence[int]


def read_noise(seed: int | None, noise: Noise | None) -> tuple[int | None, Noise]:
    """The source of all draws, and its seed if it is made from one: a fresh one of 32 bits if nothing is given. Raises `UsageError`."""
    if noise is None:
        fixed = check_seed(secrets.randbits(32) if seed is None else seed)
        return fixed, PhiloxNoise(fixed)
    if seed is not None:
        raise UsageError("a seed and a noise are two sources of the same draws", fix="one of them")
    if not hasattr(noise, "categorical"):
        raise UsageError(f"{noise!r} is no noise", fix="seed=7, or a noise: ulam.core.noise.PhiloxNoise(7)")
    return None, noise


def listed(value: Any, name: str, fix: str) -> list[Any]:
    """The items of a list, an array or a generator. Raises `UsageError` for what has none."""
    if isinstance(value, (bytes, bytearray)) or not isinstance(value, Iterable) or getattr(value, "shape", None) == ():
        raise UsageError(f"{name}: {value!r} is not a list", fix=fix)
    return value.tolist() if hasattr(value, "tolist") else list(value)  # type: ignore[attr-defined]


def read_count(value: Any, name: str, least: int) -> int:
    """A whole number from `least` to 2^32 - 1, the room of a position and of a sample index. Raises `UsageError`."""
    if isinstance(value, bool) or not isinstance(value, Integral) or not least <= int(value) < 2**32:
        raise UsageError(f"{name}={value} is not a whole number from {least} to 2^32 - 1", fix=f"{name}={max(least, 1)}")
    return int(value)


def read_tokens(vocabulary: Vocabulary, text: Any, which: str, begins: bool = False) -> tuple[str, tuple[int, ...]]:
    """A text or token ids, as text and as ids, without start or end token; `which` names it in errors.

    A text that `begins`, and does not go on another, is encoded as the tokenizer encodes a prompt.

    Raises `UsageError`, `TokenOutOfRange`, and `NeedsTokenizer` for text where the model has none.
    """
    if isinstance(text, str):
        if not is_unicode(text):
            raise UsageError(f"{which} holds half of a surrogate pair, which is no text", fix="read the text as UTF-8")
        encode = vocabulary.encode_prompt if begins else vocabulary.encode
        return text, tuple(encode(text)) if text else ()  # nothing needs no tokenizer
    ids = tuple(vocabulary.check(token) for token in listed(text, which, 'a text, or a list of token ids: "Once", [3, 17, 4]'))
    return vocabulary.decode(ids), ids


def read_prompt(vocabulary: Vocabulary, prompt: Any, which: str = "the prompt") -> tuple[str, tuple[int, ...]]:
    """As `read_tokens`; a text stands after the start token, if there is one."""
    text, ids = read_tokens(vocabulary, prompt, which, begins=True)
    return text, ids if vocabulary.start is None or not isinstance(prompt, str) else (vocabulary.start, *ids)


def check_model(model: Any) -> None:
    """Raises `UsageError` for what is no model, and `Unsupported` for an engine, which generates by itself."""
    if not hasattr(model, "prefill"):
        refuse_engine(model)
        raise UsageError(f"{model!r} is not a model", fix="model = ulam.load()")


def read_prompts(model: LanguageModel, prompts: Any) -> tuple[list[str], list[tuple[int, ...]]]:
    """Prompts as text and as ids. A text is encoded after the start token, if there is one; ids are taken as they are.

    Raises `UsageError`, `ContextOverflow`, `TokenOutOfRange`, and `NeedsTokenizer` for text where the model has none.
    """
    check_model(model)
    items = [prompts] if isinstance(prompts, str) else listed(prompts, "prompts", 'a text, a list of token ids, or a list of these: ["Once upon a time"]')
    if items and all(isinstance(item, Integral) for item in items):
        items = [items]
    if not items:
        raise UsageError("there is no prompt", fix='ulam.sample(model, "Once upon a time")')
    texts: list[str] = []
    ids: list[tuple[int, ...]] = []
    for number, prompt in enumerate(items, 1):
        which = f"prompt {number}" if len(items) > 1 else "the prompt"
        text, tokens = read_prompt(model.vocabulary, prompt, which)
        limit = model.context_limit
        if limit is not None and len(tokens) >= limit:
            what = f"{which} has {len(tokens)} tokens; the context of {model.name} holds {limit}, one of them to draw"
            raise ContextOverflow(what, fix="a shorter prompt")
        texts.append(text)
        ids.append(tokens)
    return texts, ids


def read_recipes(recipe: Any, prompts: int) -> list[Recipe]:
    """A recipe for every prompt. Raises `RecipeError` and its kinds, and `UsageError` for a wrong number of them."""
    if isinstance(recipe, (str, Recipe)):
        return [Recipe(recipe)] * prompts
    return one_each([Recipe(each) for each in listed(recipe, "recipe", 'recipe="temperature=0.8"')], "recipes", prompts)


def read_sequences(sequence: Any, prompts: int, n: int) -> list[int]:
    """The number of every prompt's first sample in the address of its noise; sample j adds j.

    Equal numbers share all their noise, on purpose. Numbers nearer than `n` would share some of it by accident: `UsageError`.
    """
    if sequence is None:
        return [sequence_number(i, 0) for i in range(prompts)]
    given = [sequence] if isinstance(sequence, Integral) else listed(sequence, "sequence", "sequence=0")
    firsts = [check_word(each, "sequence") for each in one_each(given, "sequence numbers", prompts)]
    for low, high in pairwise([*sorted(set(firsts)), 2**64]):
        if low + n > high:
            what = f"sequence number {low} and the next, {high}, leave no room for {n} samples"
            raise UsageError(what if high < 2**64 else f"sequence number {low} and its {n} samples end beyond 2^64 - 1", fix=f"numbers at least {n} apart")
    return firsts


def one_each(given: list[Any], name: str, prompts: int) -> list[Any]:
    if len(given) != prompts:
        raise UsageError(f"{len(given)} {name} for {prompts} {'prompt' if prompts == 1 else 'prompts'}", fix="give one for all, or one for each")
    return given


def read_stop(stop: Any) -> tuple[str, ...]:
    """Stop strings. Raises `UsageError` for what is no text, and for an empty one."""
    words = (stop,) if isinstance(stop, str) else tuple(listed(stop, "stop", 'stop=["\\n\\n"]'))
    for word in words:
        if not isinstance(word, str) or not is_unicode(word):
            raise UsageError(f"stop: {print_value(word) if isinstance(word, str) else repr(word)} is not a text", fix='stop=["\\n\\n"]')
        if not word:
            raise UsageError("a stop string is empty, so it would stop before the first token", fix="leave it out, or max_tokens=0")
    return words
