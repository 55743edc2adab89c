"""Several models as one: every part reads the same text, each after words of its own, and their rows become one row.

What the rows become is the combinator's business (`models/combine/`, a file each); how the parts are read is here. A combination
is a language model as any other, so that everything that takes a model takes it.

A part's row is a function of the combination's row: what the part has before it goes after the start token, if there is one, and
the rest is shared. So the rule of all models holds, that the logits of a row depend on its tokens alone, however they came.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import MISSING, dataclass
from fractions import Fraction
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from ..core.arrays import Array, namespace
from ..core.errors import ContextOverflow, EmptyPrompt, UsageError, VocabularyMismatch
from ..core.parameter import Interval, Parameter
from ..core.values import is_unicode, print_value
from ..core.vocabulary import Vocabulary
from .extend import extend
from .prefixes import Prefix
from .protocol import LanguageModel, State, TokenIds, refuse_engine
from .state import OnceState, row_numbers, token_ids, token_rows
from .table import digest

Rule: TypeAlias = Callable[[Sequence[Array]], Array]
"""What the parts say, logits [N, V] each, those of a part's layers after its own, to the logits [N, V] of the combination, row by row."""


class Part(NamedTuple):
    """A model, the tokens that it reads before what all parts share, and which of its layers are asked too."""

    model: LanguageModel
    before: Prefix = ()
    layers: tuple[int, ...] = ()

    def row(self, ids: Prefix) -> Prefix:
        first = 1 if self.before and ids[:1] == (self.model.vocabulary.start,) else 0
        return (*ids[:first], *self.before, *ids[first:])


@dataclass(frozen=True)
class PartsCase:
    """One row of every part, worked out by hand: probabilities in the order of the arguments, parameters, the combination's probabilities.

    excludes   the misreading that these rows tell apart
    """

    rows: Sequence[Sequence[float | Fraction]]
    parameters: dict[str, Any]
    expect: Sequence[float | Fraction]
    excludes: str


class CombinedState(OnceState):
    """What every part remembers, and the tokens that every row has."""

    def __init__(self, states: Sequence[State], lengths: Sequence[int]):
        self.states, self.lengths = tuple(states), tuple(lengths)


class Combination:
    """A language model made of others, the main one first.

    name         of the combinator, as typed
    parts        models with equal vocabularies, and what each reads before the text
    rule         what their rows become; a function of every row alone
    parameters   what else it depends on, for name and fingerprint
    """

    def __init__(self, name: str, parts: Sequence[Part], rule: Rule, parameters: dict[str, Any]):
        models = [part.model for part in parts]
        self.parts, self._rule = tuple(parts), rule
        self.vocabulary = one_vocabulary(name, models)
        shown = [*dict.fromkeys(model.name for model in models), *(f"{key}={print_value(value)}" for key, value in parameters.items())]
        self.name = f"{name}({', '.join(shown)})"
        self.context_limit = self._room(name)
        self.fingerprint = digest(name, [(part.model.fingerprint, part.before) for part in parts], parameters)
        self.capabilities = frozenset({"batch_invariant"}).intersection(*(model.capabilities for model in models))
        if any("extend" in model.capabilities for model in models) and not any(part.layers for part in parts):  # layers tell of the newest token alone
            self.capabilities |= {"extend"}

    def __repr__(self) -> str:
        return f"Combination({self.name})"

    def prefill(self, prompts: Sequence[TokenIds]) -> tuple[CombinedState, Array]:
        """As every model's. Raises `EmptyPrompt` for a row without the start token where words of a part go after it."""
        rows = [tuple(token_ids(prompt, len(self.vocabulary)).tolist()) for prompt in prompts]
        for number, ids in enumerate(rows):
            self._check_length(len(ids), number)
            if not ids and self.vocabulary.start is not None and any(part.before for part in self.parts):
                begin = f"begin with the start token: [{self.vocabulary.start}]"
                raise EmptyPrompt("an empty prompt has no place for the words of a part", fix=begin, row=number)
        return self._read([len(ids) for ids in rows], [lambda part=part: part.model.prefill([part.row(ids) for ids in rows]) for part in self.parts])

    def step(self, state: CombinedState, tokens: Sequence[int] | Array) -> tuple[CombinedState, Array]:
        """As every model's: one more token a row, for every part."""
        state.check()
        ids = token_ids(tokens, len(self.vocabulary), len(state.lengths))
        return self._go_on(state, 1, lambda model, own: model.step(own, ids))

    def extend(self, state: CombinedState, tokens: Sequence[TokenIds] | Array) -> tuple[CombinedState, Array]:
        """K more tokens a row, ids [B, K], and the logits [B, K, V] after each: at once for the parts that can, by steps for others."""
        state.check()
        ids = token_rows(tokens, len(self.vocabulary), len(state.lengths))
        return self._go_on(state, ids.shape[1], lambda model, own: extend(model, own, ids))

    def select(self, state: CombinedState, rows: Sequence[int] | Array) -> CombinedState:
        """Row i of the result is a copy of row `rows[i]`. Raises `StaleState`."""
        state.check()
        numbers = row_numbers(rows, len(state.lengths))
        states = [part.model.select(own, numbers) for part, own in zip(self.parts, state.states, strict=True)]
        return CombinedState(states, [state.lengths[i] for i in numbers])

    def release(self, state: CombinedState) -> None:
        if state.live:
            for part, own in zip(self.parts, state.states, strict=True):
                part.model.release(own)
        state.live = False

    def _go_on(self, state: CombinedState, more: int, call: Callable[[LanguageModel, State], tuple[State, Array]]) -> tuple[CombinedState, Array]:
        """`more` tokens a row for every part; consumes `state` unless there is no room."""
        lengths = [length + more for length in state.lengths]
        for length in lengths:
            self._check_length(length)
        state.live = False
        pairs = list(zip(self.parts, state.states, strict=True))
        try:
            return self._read(lengths, [lambda part=part, own=own: call(part.model, own) for part, own in pairs])
        except BaseException:
            for part, own in pairs:  # some have gone on, some have not
                part.model.release(own)
            raise

    def _read(self, lengths: Sequence[int], calls: Sequence[Callable[[], tuple[State, Array]]]) -> tuple[CombinedState, Array]:
        """A call of every part, and the rule on all rows [N, V] of it. If one fails, nothing is left of the others' states."""
        states: list[State] = []
        said: list[Array] = []
        try:
            for part, call in zip(self.parts, calls, strict=True):
                state, logits = call()
                states.append(state)
                said.append(logits)
                if part.layers:
                    own: Any = part.model
                    early = own.layer_logits(state, part.layers)
                    said.extend(early[j, :, :] for j in range(len(part.layers)))
            with np.errstate(all="ignore"):  # a row without a token has no log-probabilities: it fails where it is drawn from
                logits = self._rule([in_rows(each) for each in said])
            return CombinedState(states, lengths), namespace(logits).reshape(logits, tuple(said[0].shape))
        except BaseException:
            for part, state in zip(self.parts, states, strict=False):
                part.model.release(state)
            raise

    def _room(self, name: str) -> int | None:
        """The most tokens that a row may have: every part needs a place for its own."""
        rooms = [part.model.context_limit - len(part.before) for part in self.parts if part.model.context_limit is not None]
        if rooms and min(rooms) < 1:
            what = f"{name}: {max(len(part.before) for part in self.parts)} tokens before the text leave no room for it"
            raise ContextOverflow(what, fix="fewer words before the text")
        return min(rooms, default=None)

    def _check_length(self, length: int, row: int | None = None) -> None:
        if self.context_limit is not None and length > self.context_limit:
            raise ContextOverflow(f"a row of {length} tokens; {self.name} holds {self.context_limit}", fix="a shorter text, or fewer words before it", row=row)


def in_rows(logits: Array) -> Array:
    """Logits [..., V] as rows [N, V]."""
    return namespace(logits).reshape(logits, (-1, logits.shape[-1]))


def one_vocabulary(name: str, models: Sequence[LanguageModel]) -> Vocabulary:
    """The vocabulary that all models have. Raises `VocabularyMismatch`, naming the first token that differs.

    Raises `UsageError` for what is no model, and for one whose rows depend on more than their tokens.
    """
    for model in models:
        if not hasattr(model, "prefill"):
            refuse_engine(model)
            raise UsageError(f"{name}: {model!r} is not a model", fix="model = ulam.load()")
        if getattr(model, "splits_history", False):
            what = f"{name}: {model.name} tells prompt and generated tokens apart, and the parts of a combination share them"
            raise UsageError(what, fix="give the recipe to the combination: ulam.sample(combination, prompt, recipe)")
    main = models[0]
    for other in models[1:]:
        a, b = main.vocabulary, other.vocabulary
        if a is b or (a.tokens, a.names, a.start, a.ends) == (b.tokens, b.names, b.start, b.ends):
            continue
        token = next(i for i in range(max(len(a), len(b))) if told(a, i) != told(b, i))
        what = f"{name}: token {token} is {told(a, token)} in {main.name} and {told(b, token)} in {other.name}"
        raise VocabularyMismatch(what, fix="models that share one tokenizer")
    return main.vocabulary


def told(vocabulary: Vocabulary, token: int) -> str:
    """All that is known of a token, in words."""
    if token >= len(vocabulary):
        return "nothing"
    roles = ["the start"] * (token == vocabulary.start) + ["an end"] * (token in vocabulary.ends)
    name = [print_value(vocabulary.names[token])] if token in vocabulary.names else []
    raw = vocabulary.tokens[token]
    text = [print_value(raw.decode())] if is_text(raw) else [repr(raw)]
    return " ".join([*(name or text), *(["with the text", *text] if name and raw else []), *([f"({', '.join(roles)})"] if roles else [])])


def is_text(raw: bytes) -> bool:
    return raw.decode("utf-8", "ignore").encode() == raw


def tokens_before(model: LanguageModel, words: str | Sequence[int], place: str) -> Prefix:
    """Words that a part reads before the text, a text or token ids, as ids without a start token; `place` names them in errors."""
    if not hasattr(model, "vocabulary"):
        raise UsageError(f"{place}: {model!r} is not a model", fix="model = ulam.load()")
    if not isinstance(words, str):
        try:
            return tuple(token_ids(words, len(model.vocabulary)).tolist())
        except UsageError as error:
            raise type(error)(f"{place}: {error.what}", fix=error.fix) from None
    if not is_unicode(words):
        raise UsageError(f"{place} holds half of a surrogate pair, which is no text", fix="read the text as UTF-8")
    return tuple(model.vocabulary.encode_prompt(words)) if words else ()


def number(name: str, range: str, *, help: str, default: float, neutral: Any = MISSING) -> Parameter:
    """A number that a combinator takes, the same for all rows and positions."""
    return Parameter(name, False, float, "token", Interval.of(range), (), default, neutral, "", help, True)
