"""A recipe in the parameters of an engine, with a verdict for every stage.

Neutral stages drop out. What ends in one token is asked for as greedy, and the stages before it that keep the most likely token no longer
matter. Every other stage goes to its slot. Two stages that the engine swaps must commute, or be rewritten by an identity; since
sorting only ever swaps neighbours that are in the wrong order, checking all swapped pairs is enough. Slots that are not used are switched off.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations, pairwise, zip_longest
from typing import Any

from ...core.method import Stage
from ...methods import claims_of
from ...methods.choosers.categorical import CategoricalChooser
from ...methods.choosers.greedy import Greedy
from ..recipe import Recipe
from .commute import apart, commute, merged, tempered
from .dialect import Dialect, Layout
from .verdicts import Export, Fit, Judged, Verdict, unsupported

ONE_TOKEN = "only the most likely token is left, and this stage keeps it"


ONLY_ONE = {"temperature": 0, "top_k": 1, "top_p": 0}
"""Stages that leave one token, the most likely one, at this value of their first parameter."""


def export(dialect: Dialect, recipe: Recipe) -> Export:
    """The parameters of the engine that come nearest to the recipe, and how near that is."""
    if dialect.backends:
        return worst(dialect.name, [export(each, recipe) for each in dialect.backends])
    written = recipe.written
    return min((attempt(dialect, layout, written) for layout in dialect.layouts(written)), key=badness)


def worst(name: str, found: Sequence[Export]) -> Export:
    """What holds whichever of the backends it is: for each stage the worst verdict, and no verdict above `reordered` where they want different parameters."""
    first = max(found, key=badness)
    parameters = {name: value for each in (*found, first) for name, value in each.parameters.items()}
    split = any(parameters[name] != value for each in found for name, value in each.parameters.items())
    stages: list[Judged] = []
    for several in zip_longest(*(each.stages for each in found)):
        said = [(each.engine, stage) for each, stage in zip(found, several, strict=True) if stage is not None]
        engine, judged = max(said, key=lambda each: (each[1].verdict, each[1].note != ""))
        if len(said) < len(found) or any(stage != judged for _, stage in said):
            verdict = max(judged.verdict, Verdict.REORDERED) if split else judged.verdict
            judged = Judged(judged.stage, verdict, f"{engine}: {judged.note}")
        stages.append(judged)
    return Export(name, parameters, tuple(stages), first.notes)


def badness(found: Export) -> tuple[int, int, int]:
    """What decides between two orders: the verdict, those of the stages, and how many of these need a word."""
    return found.verdict, sum(each.verdict for each in found.stages), sum(each.note != "" for each in found.stages)


def attempt(dialect: Dialect, layout: Layout, written: tuple[Stage, ...]) -> Export:
    """The recipe in one order that the engine can be told."""
    fits: list[Fit] = [Fit() for _ in written]
    stages: dict[int, Stage] = {}
    end, begin = one_token(written), first_alone(written)
    for i, stage in enumerate(written):
        if stage.kind != "chooser" and stage.neutral(1).all():
            known = any(slot.method == stage.name for slot in layout.slots)
            fits[i] = Fit({}, Verdict.EXACT if known else Verdict.EXACT_BECAUSE_NEUTRAL, "neutral")
        elif begin is None or end is None or i < begin:
            stages[i] = stage
        elif i == end or isinstance(stage, Greedy):
            fits[i] = Fit()
        elif i < end or stage.kind == "chooser" or "nonempty" in claims_of(stage):
            fits[i] = Fit({}, Verdict.EXACT_BECAUSE_NEUTRAL, ONE_TOKEN)
        else:
            fits[i] = unsupported("after one token is left it could only ban that one")
    greedy = begin is not None and end is not None
    merge(stages, fits)
    places = placed(layout, stages, fits)
    if dialect.ordered:
        rewrite(dialect, stages, places, fits)
    judge_order(dialect, stages, places, fits)
    parameters = write(dialect, layout, stages, places, fits)
    if greedy and end is not None:
        ask_greedy(dialect, layout, stages, places, parameters, fits, end)
    else:
        parameters |= dialect.draws
    parameters = layout.pack({name: parameters[name] for name in (*dialect.defaults, *parameters) if name in parameters})
    fits = list(dialect.review(written, fits))
    judged = tuple(Judged(str(stage), fit.verdict, fit.note) for stage, fit in zip(written, fits, strict=True) if shown(stage, fit))
    return Export(dialect.name, parameters, judged, notes(dialect, parameters))


def one_token(stages: Sequence[Stage]) -> int | None:
    """The first stage that leaves one token, the most likely one of what reaches it."""
    for i, stage in enumerate(stages):
        first = next(iter(vars(stage).values()), None)
        if isinstance(stage, Greedy) or (stage.name in ONLY_ONE and first == ONLY_ONE[stage.name]):
            return i
    return None


def first_alone(stages: Sequence[Stage]) -> int | None:
    """The stage from which on nothing matters but which token is the most likely one."""
    begin = one_token(stages)
    while begin is not None and begin > 0 and keeps_first(stages[begin - 1]):
        begin -= 1
    return begin


def keeps_first(stage: Stage) -> bool:
    return "argmax" in claims_of(stage) or bool(stage.neutral(1).all())


def shown(stage: Stage, fit: Fit) -> bool:
    return not isinstance(stage, CategoricalChooser) or not fit.verdict.faithful


def merge(stages: dict[int, Stage], fits: list[Fit]) -> None:
    """Neighbours of one method become one stage, the later one, where that is the same."""
    order = sorted(stages)
    for i, j in pairwise(order):
        if stages[i].name == stages[j].name and (one := merged(stages[i], stages[j])) is not None:
            fits[i] = Fit(note=f"together with the next, {one}")
            stages[j] = one
            del stages[i]


def placed(layout: Layout, stages: dict[int, Stage], fits: list[Fit]) -> dict[int, int]:
    """The slot of every stage that has one; the others are judged, and leave."""
    slots, places = layout.slots, dict[int, int]()
    for i, stage in list(stages.items()):
        free = [at for at, slot in enumerate(slots) if slot.method == stage.name and at not in places.values()]
        if stage.scheduled:
            fits[i] = unsupported("a parameter that changes from token to token has no name there")
        elif stage.kind == "chooser" and stage.name in ("categorical", "gumbel_max"):
            fits[i] = Fit()
        elif not free:
            taken = any(slot.method == stage.name for slot in slots)
            fits[i] = unsupported("there is one place for it, and it is taken" if taken else layout.lacking)
        else:
            places[i] = min(free, key=lambda at: slots[at].write(stage).verdict)
            continue
        del stages[i]
    return places


def rewrite(dialect: Dialect, stages: dict[int, Stage], places: dict[int, int], fits: list[Fit]) -> None:
    """A min_p that the engine takes on the other side of a temperature gets the value that does the same there."""
    for i, j in combinations(sorted(stages), 2):
        names = (stages[i].name, stages[j].name)
        if places[i] > places[j] and set(names) == {"min_p", "temperature"}:
            m, t = (i, j) if names[0] == "min_p" else (j, i)
            T: float = vars(stages[t])["T"]
            before, stages[m] = stages[m], tempered(stages[m], T if m == i else 1 / T)
            side = "after" if m == i else "before"
            fits[m] = Fit(note=f"{before} becomes {vars(stages[m])['a']:.6g}, because {dialect.name} takes it {side} temperature")


def judge_order(dialect: Dialect, stages: dict[int, Stage], places: dict[int, int], fits: list[Fit]) -> None:
    """Pairs that change places and do not commute."""
    for i, j in combinations(sorted(stages), 2):
        a, b = stages[i], stages[j]
        if {a.name, b.name} == {"min_p", "temperature"} and dialect.ordered:
            continue
        swapped = places[i] > places[j] or not dialect.ordered
        if not swapped or commute(a, b):
            continue
        example = apart(a, b)
        why = f"{dialect.name} takes {b.name} before {a.name}" if dialect.ordered else f"the order of {a.name} and {b.name} is not published"
        for k in (i, j):
            fits[k] = fits[k].worse(Verdict.REORDERED, why + (f"; {example}" if example and k == i else ""))


def write(dialect: Dialect, layout: Layout, stages: dict[int, Stage], places: dict[int, int], fits: list[Fit]) -> dict[str, Any]:
    """The parameters of all stages, and of all slots that are not used."""
    found: dict[str, Any] = {}
    for i in sorted(stages, key=lambda i: places[i]):
        fit = layout.slots[places[i]].write(stages[i])
        for name, value in fit.parameters.items():
            if isinstance(value, dict) and isinstance(found.get(name), dict):
                fit.parameters[name] = found[name] = found[name] | value  # what two stages say in one map
        clash = [name for name, value in fit.parameters.items() if name in found and found[name] != value]
        if clash:
            fit = unsupported(f"{clash[0]} would have to be {found[clash[0]]} and {fit.parameters[clash[0]]} at once")
        note = "; ".join(each for each in (fits[i].note, fit.note) if each)
        fits[i] = Fit(fit.parameters, max(fits[i].verdict, fit.verdict), note)
        found |= fit.parameters
    used = {places[i] for i in stages if fits[i].verdict != Verdict.UNSUPPORTED}
    off: dict[str, Any] = {}
    for at, slot in enumerate(layout.slots):
        if at not in used:
            off |= {name: value for name, value in slot.off.items() if name in dialect.from_model or dialect.defaults.get(name) != value}
    return {**off, **found, **layout.parameters}


def ask_greedy(
    dialect: Dialect, layout: Layout, stages: dict[int, Stage], places: dict[int, int], parameters: dict[str, Any], fits: list[Fit], end: int
) -> None:
    """Ask for the most likely token, if the engine then still does what stands before."""
    asked = dialect.greedy or {}
    at = next((at for at, slot in enumerate(layout.slots) if slot.off.keys() & asked.keys()), len(layout.slots))
    lost = [
        i
        for i in stages
        if fits[i].verdict != Verdict.UNSUPPORTED
        and (stages[i].name in dialect.skipped or places[i] > at or any(fits[i].parameters.get(name, value) != value for name, value in asked.items()))
    ]
    if dialect.greedy is not None and not lost:
        skipped = {name for slot in layout.slots if slot.method in dialect.skipped for name in slot.off} - set(dialect.greedy)
        for name in skipped:
            parameters.pop(name, None)
        parameters |= dialect.greedy
        if stages and not dialect.ordered:
            for i in (*stages, end):
                fits[i] = fits[i].worse(Verdict.REORDERED, "the order is not published")
    else:
        why = f"it cannot do {stages[lost[0]].name} and then take the most likely token" if lost else "it cannot be asked for the most likely token"
        fits[end] = unsupported(why)


def notes(dialect: Dialect, parameters: dict[str, Any]) -> tuple[str, ...]:
    """Defaults that had to be written out, and how the parameters are passed."""
    offs = {name: value for slot in dialect.slots for name, value in slot.off.items()}
    told = [
        f"{name}={parameters[name]} is written because its default is {dialect.defaults[name]}"
        for name, value in offs.items()
        if name in parameters and parameters[name] == value and dialect.defaults.get(name) not in (None, value)
    ]
    return (*told, *([dialect.advice] if dialect.advice else []))
