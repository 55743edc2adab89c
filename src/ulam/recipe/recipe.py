"""Recipe: the complete law of the next token, as a value."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from ..core.arrays import Array, as_logits, to_numpy
from ..core.categorical import Categorical
from ..core.context import Context, History
from ..core.errors import RecipeError, TokenOutOfRange, UlamError, UsageError
from ..core.method import Chooser, Stage, Transform
from ..core.noise import Address, PhiloxNoise, check_word
from ..core.parameter import parameters
from ..core.vocabulary import Vocabulary
from ..methods.choosers.categorical import CategoricalChooser
from ..methods.choosers.gumbel_max import GumbelMax
from . import formats
from .draw import Failures, check_told_by_texts, draw, go_on, law, mend, shape
from .ledger import Ledger, ledger
from .parse import check_order, parse, show

if TYPE_CHECKING:
    from .dialects import Export


@dataclass(frozen=True)
class Choice:
    """A drawn token and its log-probabilities in nats: under the recipe it was drawn from, and under the bare model."""

    token: int
    recipe_log_prob: float
    model_log_prob: float


class Recipe:
    """Ordered stages: transforms, then a chooser (`categorical` if left out).

    Recipe("temperature=0.8 top_p=0.95"), Recipe([Temperature(0.8), TopP(0.95)]), or another recipe. Immutable, hashable,
    comparable; `str` gives the text that parses back to it. Nothing is applied that it does not list. Raises `RecipeError`
    and its kinds (`UnknownMethod`, `UnknownParameter`, `OutOfRange`).
    """

    stages: tuple[Stage, ...]
    vocabulary: Vocabulary | None = None

    def __init__(self, stages: str | Iterable[Stage] | Recipe = ()):
        if isinstance(stages, Recipe):
            stages = stages.stages
        elif isinstance(stages, str):
            stages = parse(stages)
        elif not isinstance(cast(Any, stages), Iterable):
            raise RecipeError(f"{stages!r} is not a recipe", fix='Recipe("temperature=0.8"), or a list of stages: Recipe([Temperature(0.8)])')
        stages = tuple(stages)
        for each in stages:
            if not isinstance(cast(Any, each), Stage):
                raise RecipeError(f"{each!r} is not a stage", fix='Recipe("temperature=0.8 top_p=0.95")')
            if any(isinstance(getattr(each, p.name), np.ndarray) for p in parameters(each)):
                raise RecipeError(f"{each.name} has an array for a parameter; a recipe holds single values", fix="one recipe for each prompt")
        check_order(stages)
        object.__setattr__(self, "stages", stages)

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"a recipe is a value; make another one instead of setting {name}")

    def __str__(self) -> str:
        return show(self.stages)

    def __repr__(self) -> str:
        return f"Recipe({str(self)!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Recipe) and self.written == other.written

    def __hash__(self) -> int:
        return hash(self.written)

    @property
    def transforms(self) -> tuple[Transform, ...]:
        """The stages before the chooser."""
        return tuple(stage for stage in self.stages if isinstance(stage, Transform))

    @property
    def chooser(self) -> Chooser:
        """The last stage, or `categorical`."""
        last = self.stages[-1] if self.stages else None
        return last if isinstance(last, Chooser) else CategoricalChooser()

    @property
    def written(self) -> tuple[Stage, ...]:
        """The stages with the chooser written out; recipes are equal when these are."""
        return (*self.transforms, self.chooser)

    @property
    def id(self) -> str:
        """A short name: `r-` and eight hex digits of the hash of the canonical JSON, chooser written out."""
        return "r-" + hashlib.sha256(formats.to_json(self.written).encode()).hexdigest()[:8]

    def simplified(self) -> Recipe:
        """The recipe without stages that do nothing; same law, same draws."""
        return Recipe([stage for stage in self.stages if not stage.neutral(1).all()])

    def init(self, prompt: Sequence[int] = (), generated: Sequence[int] = ()) -> list[Any]:
        """What the stages carry for a row with this history, one item a stage, the chooser's last; an empty list if none carries anything.

        A stage whose state is no function of the history (mirostat's target) begins anew. Bind first where texts are to become ids.
        """
        states = [stage.init(History(prompt, generated)) for stage in self.written]
        return states if any(state is not None for state in states) else []

    @np.errstate(all="ignore")  # differences of huge logits have their right limit
    def advance(self, state: list[Any], token: int, logits: Any, prompt: Sequence[int] = (), generated: Sequence[int] = ()) -> list[Any]:
        """The state after `token`, which was chosen from `logits` [V] with this history. Consumes `state`: fork it to keep it.

        Raises `NoGlobalForm` where the state depends on how a coin fell: then only `choose` can go on.
        """
        check_told_by_texts(self.transforms, self.chooser)
        if state:
            z, failures = checked(logits)[None, :], Failures()
            context = Context([History(prompt, generated)], self.vocabulary, [state])
            go_on(self.written, state, token, shape(self.transforms, mend(z, None, context, failures), context, failures)[0, :])
        return state

    def fork(self, state: list[Any]) -> list[Any]:
        """A copy of what the stages carry, so that two continuations can go on in different ways."""
        return [stage.fork(each) for stage, each in zip(self.written, state, strict=bool(state))]

    def bind(self, vocabulary: Vocabulary) -> Recipe:
        """The recipe with tokens given as text turned into ids of `vocabulary`, which its stages then know, the end tokens too."""
        bound = Recipe([stage.bind(vocabulary) for stage in self.stages])
        object.__setattr__(bound, "vocabulary", vocabulary)
        return bound

    def to_json(self) -> str:
        return formats.to_json(self.stages)

    def to_toml(self) -> str:
        return formats.to_toml(self.stages)

    @classmethod
    def from_json(cls, text: str) -> Recipe:
        return cls(formats.from_json(text))

    @classmethod
    def from_toml(cls, text: str) -> Recipe:
        return cls(formats.from_toml(text))

    def to(self, engine: str, *, strict: bool = True) -> Export:
        """The recipe in the parameters of another engine, with a verdict for every stage (`recipe/dialects`).

        engine  transformers, vllm, sglang, llama.cpp, mlx-lm, ollama, koboldcpp, exllamav2, exllamav3, text-generation-webui, openai
        strict  refuse what the engine cannot do exactly; without it the nearest parameters come, and the verdict says how near

        Tokens that are texts must be bound to a vocabulary first. Raises `Inexact` (with `.export`), and `UsageError` for an unknown engine.
        """
        from .dialects import export, find

        found = export(find(engine), self)
        if strict and not found.verdict.faithful:
            raise found.refusal()
        return found

    @classmethod
    def from_(cls, engine: str, parameters: Mapping[str, Any] | None = None) -> Recipe:
        """The recipe that says what another engine does with these parameters, its defaults written out.

        `dialects.find(engine).read(parameters)` tells more: which stages nobody asked for, and what no recipe says. Raises `UnknownParameter`,
        `OutOfRange`, and `Unsupported` for what is no law of the next token.
        """
        from .dialects import find

        return find(engine).read(parameters or {}).recipe

    def distribution(self, logits: Any, prompt: Sequence[int] = (), generated: Sequence[int] = (), state: list[Any] | None = None) -> Categorical:
        """The law of the next token after these logits [V] or [B, V], nats, and this history; no model, no draw.

        The chooser is part of the law: under `greedy` it is a point mass. Rows of a batch share the history, and the `state`
        (of `init` and `advance`; a fresh one if left out), which is not touched.
        Raises `InvalidLogits`, `EmptySupport`; `UsageError` for what are no logits.
        """
        z = checked(logits)
        rows = z if z.ndim == 2 else z[None, :]
        context = Context([History(prompt, generated)] * rows.shape[0], self.vocabulary, [state] * rows.shape[0] if state else ())
        log_probs, failures = law(self.transforms, self.chooser, rows, context)
        raise_first(failures)
        return Categorical(log_probs if z.ndim == 2 else log_probs[0, :])

    def ledger(
        self, logits: Any, prompt: Sequence[int] = (), generated: Sequence[int] = (), state: list[Any] | None = None, watch: Sequence[int] = ()
    ) -> Ledger:
        """What each stage did to one row of logits [V], nats, with this history: a table of what it kept, removed and moved, in float64.

        watch   tokens whose probability is shown after every stage
        state   as for `distribution`
        Raises what `distribution` raises; `TokenOutOfRange` for a watched id that the row does not have.
        """
        z = checked(logits)
        if z.ndim != 1:
            raise UsageError(f"a ledger is of one row of logits [V], and these have shape {tuple(z.shape)}", fix="call it for each row")
        for token in watch:
            if not 0 <= token < z.shape[0]:
                raise TokenOutOfRange(f"token id {token} is outside 0 to {z.shape[0] - 1}", fix="watch=[0]")
        row = to_numpy(z).astype(np.float64)
        shown = [stage for stage in self.written if not isinstance(stage, (CategoricalChooser, GumbelMax))]

        def law_after(count: int) -> Categorical:
            part = Recipe(shown[:count])
            object.__setattr__(part, "vocabulary", self.vocabulary)
            return part.distribution(row, prompt, generated, state[:count] + [None] * (count == len(part.transforms)) if state else None)

        return ledger(shown, law_after, watch, self.vocabulary)

    def choose(
        self,
        logits: Any,
        seed: int,
        sequence: int = 0,
        position: int | None = None,
        prompt: Sequence[int] = (),
        generated: Sequence[int] = (),
        state: list[Any] | None = None,
    ) -> Choice:
        """Draw one token from logits [V], nats.

        The draw is a function of (seed, sequence, position): 64, 64 and 32 bits. `position` is the number of generated
        tokens unless given. `state` (of `init`) goes on by the token, in place. Raises `InvalidLogits`, `EmptySupport`;
        `UsageError` for what is no row of logits or no address.
        """
        z = checked(logits)
        if z.ndim != 1:
            raise UsageError(f"choose draws from one row of logits [V], and these have shape {tuple(z.shape)}", fix="call it for each row, with its sequence")
        place = check_word(len(generated) if position is None else position, "position", 32)
        address = Address([check_word(sequence, "sequence")], [place])
        context = Context([History(prompt, generated)], self.vocabulary, [state] if state else ())
        out = draw(self.transforms, self.chooser, z[None, :], context, PhiloxNoise(seed), address)
        raise_first(out.failures)
        return Choice(int(out.tokens[0]), float(out.recipe_log_probs[0]), float(out.model_log_probs[0]))


def checked(logits: Any) -> Array:
    """Logits as an array [V] or [B, V], V >= 1."""
    try:
        z = as_logits(logits)
    except (TypeError, ValueError) as fault:
        raise UsageError(f"these are no logits: {fault}", fix="numbers, one row [V] or rows [B, V]") from None
    if z.ndim not in (1, 2) or z.shape[-1] == 0:
        raise UsageError(f"logits have shape {tuple(z.shape)}; one row [V] or rows [B, V] are wanted")
    return z


def raise_first(failures: dict[int, UlamError]) -> None:
    if failures:
        raise failures[min(failures)]
