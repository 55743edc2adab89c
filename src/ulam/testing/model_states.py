"""What a model promises of its states: how they are read, forked, stepped, ended. Part of `check_model`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from ..core.errors import StaleState
from .check_noise import refused
from .subject import Inapplicable
from .trial import Text, Trial, shown


def prefill(trial: Trial) -> int:
    """A prompt is read as if step by step, whatever its length, and steps go on from there."""
    done = 0
    for ids in trial.texts:
        begin, end = trial.begin(ids), len(ids)
        for cut in sorted({min(cut, end) for cut in (begin, begin + 1, begin + 2, (begin + end) // 2, end - 1, end) if cut >= begin}):
            state, rows = trial.prefill([ids[:cut]])
            trial.same("prefill", f"prefill of {cut} tokens", rows[0], ids[:cut])
            for at in range(cut, min(cut + 3, end)):
                state, rows = trial.step(state, [ids[at]])
                trial.same("prefill", f"prefill of {cut} tokens and {at + 1 - cut} steps", rows[0], ids[: at + 1])
            done += 1
    return done


def batch(trial: Trial) -> int:
    """A row does not depend on its mates, which have other lengths and other tokens."""
    some = trial.open_texts(8)
    groups = [list(pair) for pair in pairwise(some)] + [[some[0], some[-1]], [some[-1], some[0]], [some[0]] * 3, some, some[::-1]]
    for group in sorted(groups, key=len):
        go_on(trial, "batch", f"row {{row}} of {len(group)}, read together", *trial.prefill(group), group)
    return len(groups)


def select(trial: Trial) -> int:
    """Row i of the result is row `rows[i]`: in any order, some left out."""
    some = trial.open_texts(4)
    places = list(range(len(some)))
    choices = [[0], [places[-1]], places[::2], places[::-1], [*places[1:], 0]]
    for choice in choices:
        state, rows = trial.prefill(some)
        chosen = [some[i] for i in choice]
        go_on(trial, "select", f"row {{row}} of select {choice}", trial.model.select(state, choice), rows[choice], chosen)
    return len(choices)


def forks(trial: Trial) -> int:
    """Copies of a row go their own ways, and the argument of `select` is still what it was."""
    model, some = trial.model, trial.open_texts(4)
    for ids in some:
        state, rows = trial.prefill([ids])
        one, other, three = model.select(state, [0]), model.select(state, [0]), model.select(state, [0, 0, 0])
        go_on(trial, "forks", "row {row} of three forks", three, rows[[0, 0, 0]], [ids] * 3)
        go_on(trial, "forks", "a fork, after others went on", one, rows, [ids])
        go_on(trial, "forks", "another fork, after others went on", other, rows, [ids], turn=1)
        go_on(trial, "forks", "the argument of select, after its forks went on", state, rows, [ids], turn=2)
    return 4 * len(some)


def release(trial: Trial) -> int:
    """A state may be released twice, and before or after its forks; nobody else notices."""
    model, some = trial.model, trial.open_texts(4)
    for ids in some:
        state, rows = trial.prefill([ids])
        one, other, third = (model.select(state, [0]) for _ in range(3))
        for ended in (state, state, other, state):
            model.release(ended)
        _, mates = trial.prefill([ids, some[0]])  # what takes the place that was given back
        go_on(trial, "release", "a fork, after the argument of select and another fork were released", one, rows, [ids])
        go_on(trial, "release", "another fork, the same", third, mates[:1], [ids], turn=1)
        model.release(one)
    return 2 * len(some)


def stale(trial: Trial) -> int:
    """A state that was stepped, extended or released is refused, and what came after it goes on."""
    model, some = trial.model, trial.open_texts(4)
    more: list[tuple[str, Callable[[Any, int], Any]]] = [
        ("step", lambda state, token: model.step(state, np.array([token]))),
        ("select", lambda state, token: model.select(state, [0])),
    ]
    ends: list[tuple[str, Callable[[Any, int], Any]]] = [more[0], ("release", lambda state, token: model.release(state))]
    if "extend" in model.capabilities:
        own: Any = model
        more.append(("extend", lambda state, token: own.extend(state, np.array([[token]]))))
        ends.append(more[-1])
    for ids in some:
        token = trial.next(ids)
        for ended, end in ends:
            for asked, ask in more:
                state, _ = trial.prefill([ids])
                after = end(state, token)
                if not refused(StaleState, lambda ask=ask, state=state, token=token: ask(state, token)):
                    trial.fail("stale", f"{asked} takes a state of {shown(ids)} that {ended} has ended; StaleState is expected")
                if after is not None:
                    go_on(trial, "stale", f"what {ended} returned, after a stale {asked}", after[0], None, [(*ids, token)])
    return len(some) * len(ends) * len(more)


def extend(trial: Trial) -> int:
    """The logits after each of K tokens are those of K steps."""
    model: Any = trial.model
    if "extend" not in model.capabilities:
        raise Inapplicable('the model does not declare "extend"')
    done = 0
    for ids in trial.texts:
        begin, end = trial.begin(ids), len(ids)
        middle = (begin + end) // 2
        for cut, stop in sorted({(cut, min(cut + more, end)) for cut in (begin, middle) for more in (1, 2, end)}):
            state, _ = trial.prefill([ids[:cut]] * 2)
            state, logits = model.extend(state, np.array([ids[cut:stop]] * 2, np.int64).reshape(2, -1))
            rows = trial.looked_through(logits, (2, stop - cut, trial.size), f"extend by {stop - cut} tokens")
            for row in range(2):
                for at in range(cut, stop):
                    trial.same("extend", f"row {row} of an extend by {stop - cut} tokens, token {at - cut}", rows[row, at - cut], ids[: at + 1])
            go_on(trial, "extend", f"row {{row}} after an extend by {stop - cut} tokens", state, None, [ids[:stop]] * 2)
            done += 1
    return done


def layer_logits(trial: Trial) -> int:
    """What the layers say depends on the row alone, in the order they are asked, and asking changes nothing."""
    model: Any = trial.model
    if "layer_logits" not in model.capabilities:
        raise Inapplicable('the model does not declare "layer_logits"')
    layers, some = list(range(model.layers)), trial.open_texts(4)

    def ask(state: Any, numbers: Sequence[int], rows: int) -> Any:
        return trial.looked_through(model.layer_logits(state, numbers), (len(numbers), rows, trial.size), f"layer_logits of layers {list(numbers)}")

    for ids in some:
        state, _ = trial.prefill([ids[: trial.begin(ids)]])
        for token in ids[trial.begin(ids) :]:
            state, _ = trial.step(state, [token])
        alone = ask(state, layers, 1)[:, 0]
        together, _ = trial.prefill([some[-1], ids])
        fork = model.select(together, [1, 0, 1])
        for how, rows in (
            ("read together", ask(together, layers, 2)[:, 1]),
            ("of a fork", ask(fork, layers, 3)[:, 2]),
            ("asked the other way round", ask(state, layers[::-1], 1)[::-1, 0]),
        ):
            for layer in layers:
                trial.same("layer_logits", f"layer {layer} {how}", rows[layer], ids, expected=alone[layer])
        go_on(trial, "layer_logits", "a state, after its layers were asked", state, None, [ids])
        if not refused(StaleState, lambda state=state: model.layer_logits(state, layers)):
            trial.fail("layer_logits", f"layer_logits takes a state of {shown(ids)} that step has ended; StaleState is expected")
    return 3 * len(layers) * len(some)


def go_on(trial: Trial, promise: str, how: str, state: Any, rows: Any, texts: Sequence[Text], turn: int = 0) -> None:
    """Fail unless `rows`, if they are known, and two more steps are those of `texts`; the token of a row depends on its place and on `turn`."""
    texts = list(texts)
    for step in range(3):
        if rows is not None:
            for row, (ids, logits) in enumerate(zip(texts, rows, strict=True)):
                trial.same(promise, how.format(row=row) + (f", {step} steps on" if step else ""), logits, ids)
        if step == 2 or not all(map(trial.open, texts)):
            return
        tokens = [trial.next(ids, turn + row) for row, ids in enumerate(texts)]
        state, rows = trial.step(state, tokens)
        texts = [(*ids, token) for ids, token in zip(texts, tokens, strict=True)]
