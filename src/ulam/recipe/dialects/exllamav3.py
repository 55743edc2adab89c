"""exllamav3 of August 2026: `ComboSampler(...)`, and `CustomSampler([...])` with steps in any order.

Order     ComboSampler: logit_bias > repetition > presence, frequency > dry > temperature > min_p > top_k > top_p > draw, or adaptive_p;
          temp_last puts temperature after top_p. What that cannot say is written as `steps`: names of classes with their arguments, in the
          order of the recipe. Biases, penalties and dry must come before the first step that cuts.
Defaults  all neutral. (DefaultSampler is min_p 0.08, then temperature 0.8.)
Edges     top_p drops the token that crosses p, with and without the fused kernel; the first token always stays. A range of n tokens counts the
          last n - 1, so that a window of w is written as w + 1, and everything as 1e8. In the fade of a repetition penalty the logit is a mean of
          the old and the new one, and not a weaker penalty. A presence penalty below 0 does nothing. xtc is the average of its two
          outcomes: the same law where the draw follows at once. The fused kernel keeps tokens that tie at a cut. adaptive_target=1 is off.
          dry has breakers of one token each.
Source    exllamav3/generator/sampler/{custom,presets}.py, exllamav3/exllamav3_ext/generator/{rep_pen,sampling_fused}.cu
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import pairwise
from typing import Any

from ...core.errors import OutOfRange, Unsupported
from ...core.method import Stage
from ...methods.choosers.adaptive_p import AdaptiveP
from ...methods.constraints.ban_tokens import BanTokens
from ...methods.transforms.dry import Dry
from ...methods.transforms.xtc import XTC
from .dialect import Dialect, Layout, Slot, Values
from .slots import NEEDS_IDS, biases, dry_by_ids, narrows, number, penalty, single_ids
from .verdicts import Fit, Verdict, approximate, unsupported

EVERY = 10**8
TOP_P = "it drops the token that crosses p"
FADES = "in its fade the logit is a mean of the old and the new one, not a weaker penalty"
AVERAGE = "its xtc is the average of two outcomes, and what follows is applied to it"
LATE = "it must come before the first step that cuts"
ADDITIVE = frozenset({"logit_bias", "repetition_penalty", "presence_penalty", "frequency_penalty", "dry"})


def read_dry(values: Values) -> Stage | None:
    multiplier, breakers = values.number("dry_multiplier"), values.get("dry_sequence_breakers")
    if multiplier == 0:
        return None
    if breakers is None:
        values.note("dry_sequence_breakers is not given: every token with one of . , ! ? < > [ ] ( ) { } newline, tab or quote breaks, and special ones")
        breakers = [*'.,!?<>[](){}\n\t"']
    return Dry(multiplier, values.number("dry_base"), values.whole("dry_allowed_length"), max(values.whole("dry_range"), 0) or "all", list(breakers))


def read_adaptive(values: Values) -> Stage | None:
    target = values.number("adaptive_target")
    return AdaptiveP(target, values.number("adaptive_decay")) if target != 1 else None


def write_adaptive(stage: AdaptiveP) -> Fit:
    return Fit({"adaptive_target": stage.target, "adaptive_decay": stage.decay}) if stage.target != 1 else unsupported("a target of 1 is off there")


def read_bans(values: Values) -> Stage | None:
    given: Sequence[int] = values.get("token_ids")
    return BanTokens(list(given)) if given else None


def write_bans(stage: BanTokens) -> Fit:
    ids = single_ids(stage, "tokens")
    return Fit({"token_ids": ids}) if ids is not None else unsupported(NEEDS_IDS)


def read_xtc(values: Values) -> Stage | None:
    probability = values.number("probability")
    return XTC(probability, values.number("threshold"), list(values.get("protected_token_ids"))) if probability else None


def write_xtc(stage: XTC) -> Fit:
    spared = single_ids(stage, "exempt")
    found = {"probability": stage.probability, "threshold": stage.threshold, "protected_token_ids": spared}
    return Fit(found) if spared is not None else unsupported(NEEDS_IDS)


def counted(method: str, parameter: str, prefix: str = "", *, off: float, allowed: str | None = None) -> Slot:
    """A penalty with its ranges; `prefix` is that of their names."""
    window, fade = f"{prefix}sustain_range", f"{prefix}decay_range"
    plain = penalty(method, parameter, off=off, allowed=allowed, scope="all", window=window, every=EVERY, beyond=1, fade=fade)

    def write(stage: Any) -> Fit:
        fit = plain.write(stage)
        return approximate(fit.parameters, FADES) if method == "repetition_penalty" and stage.fade and fit.parameters else fit

    return replace(plain, write=write)


DRY = Slot("dry", {"dry_multiplier": 0.0}, read_dry, dry_by_ids)
HEAT, MIN_P, TOP_K = number("temperature", off=1.0), number("min_p", off=0.0), number("top_k", off=0)
NUCLEUS = number("top_p", off=1.0, differs=TOP_P)
BEFORE = (
    biases("logit_bias"),
    counted("repetition_penalty", "rep_p", "rep_", off=1.0),
    counted("presence_penalty", "pres_p", "rep_", off=0.0, allowed="[0, inf)"),
    counted("frequency_penalty", "freq_p", "rep_", off=0.0),
    DRY,
)
ADAPTIVE = Slot("adaptive_p", {"adaptive_target": 1.0}, read_adaptive, write_adaptive)

STEPS: tuple[tuple[str, Slot], ...] = (
    ("SS_LogitBias", biases("logit_bias")),
    ("SS_RepP", counted("repetition_penalty", "rep_p", off=1.0)),
    ("SS_PresFreqP", counted("presence_penalty", "pres_p", off=0.0, allowed="[0, inf)")),
    ("SS_PresFreqP", counted("frequency_penalty", "freq_p", off=0.0)),
    ("SS_DRY", DRY),
    ("SS_BanTokens", Slot("ban_tokens", {}, read_bans, write_bans)),
    ("SS_Temperature", HEAT),
    ("SS_MinP", MIN_P),
    ("SS_TopK", TOP_K),
    ("SS_TopP", NUCLEUS),
    ("SS_XTC", Slot("xtc", {}, read_xtc, write_xtc)),
)
ARGUMENTS: Mapping[str, Mapping[str, Any]] = {
    "SS_LogitBias": {"logit_bias": None},
    "SS_RepP": {"rep_p": 1.0, "sustain_range": EVERY, "decay_range": 0},
    "SS_PresFreqP": {"pres_p": 0.0, "freq_p": 0.0, "sustain_range": EVERY, "decay_range": 0},
    "SS_DRY": {"dry_multiplier": 0.0, "dry_base": 1.75, "dry_allowed_length": 2, "dry_range": 0, "dry_sequence_breakers": None},
    "SS_BanTokens": {"token_ids": ()},
    "SS_Temperature": {"temperature": 1.0},
    "SS_MinP": {"min_p": 0.0},
    "SS_TopK": {"top_k": 0},
    "SS_TopP": {"top_p": 1.0},
    "SS_XTC": {"probability": 0.0, "threshold": 0.1, "protected_token_ids": ()},
    "SS_AdaptiveP": {"target": 1.0, "decay": 0.0},
}
ENDS = ("SS_Sample", "SS_Argmax", "SS_AdaptiveP")
END = ("SS_AdaptiveP", Slot("adaptive_p", {}, lambda values: AdaptiveP(values.number("target"), values.number("decay")), write_adaptive))


def too_late(stage: Stage) -> Fit:
    return unsupported(LATE)


def step(at: int, name: str, slot: Slot) -> Slot:
    """The slot of one step of a stack: its arguments are one parameter, a list of the class and what it is given."""

    def write(stage: Stage) -> Fit:
        fit = slot.write(stage)
        return Fit({f"steps[{at}]": [name, fit.parameters]}, fit.verdict, fit.note) if fit.parameters else fit

    return Slot(slot.method, {}, slot.read, write)


def given(slot: Slot, name: str, arguments: Mapping[str, Any], values: Values) -> Stage | None:
    """What one step of a stack does."""
    values.looked.add("steps")
    inner = Values(Arguments(name), arguments)
    found = slot.read(inner)
    values.notes += inner.notes
    return found


def steps_of(values: Values) -> list[tuple[str, Mapping[str, Any]]]:
    """The steps of a stack. Raises `OutOfRange`."""
    found: list[tuple[str, Mapping[str, Any]]] = []
    steps: Sequence[Any] = values.get("steps")
    for at, item in enumerate(steps):
        name, arguments = item if isinstance(item, list | tuple) and len(item) == 2 else (item, None)  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
        if not isinstance(arguments, Mapping) or name not in {*ARGUMENTS, *ENDS} or (name in ENDS) != (at == len(steps) - 1):
            told = f"exllamav3: steps[{at}] = {item!r} is no step, or stands in the wrong place"
            raise OutOfRange(told, parameter="steps", fix=f"pairs of a class and its arguments, the last one of {', '.join(ENDS)}")
        found.append((name, arguments))  # pyright: ignore[reportUnknownArgumentType]
    if not found:
        raise OutOfRange("exllamav3: steps is empty", parameter="steps", fix=f"at least one of {', '.join(ENDS)}")
    return found


class Arguments(Dialect):
    """The arguments of one step."""

    def __init__(self, name: str):
        self.name, self.defaults = name, ARGUMENTS[name]  # pyright: ignore[reportAttributeAccessIssue]


def stacked(parameters: dict[str, Any]) -> dict[str, Any]:
    """The steps in one list, with the draw at its end."""
    steps: list[list[Any]] = [value for name, value in parameters.items() if name.startswith("steps[")]
    if parameters.get("temperature") == 0:
        return {"steps": [*steps, ["SS_Argmax", {}]]}
    if "adaptive_target" in parameters:
        return {"steps": [*steps, ["SS_AdaptiveP", {"target": parameters["adaptive_target"], "decay": parameters["adaptive_decay"]}]]}
    return {"steps": [*steps, ["SS_Sample", {}]]}


class ExLlamaV3(Dialect):
    name = "exllamav3"
    version = "1.4"
    slots = (*BEFORE, HEAT, MIN_P, TOP_K, NUCLEUS, ADAPTIVE)
    late = (*BEFORE, MIN_P, TOP_K, NUCLEUS, HEAT, ADAPTIVE)
    defaults = {
        "temperature": 1.0,
        "temp_last": False,
        "min_p": 0.0,
        "top_k": 0,
        "top_p": 1.0,
        "rep_p": 1.0,
        "pres_p": 0.0,
        "freq_p": 0.0,
        "rep_sustain_range": EVERY,
        "rep_decay_range": 0,
        "logit_bias": None,
        "dry_multiplier": 0.0,
        "dry_base": 1.75,
        "dry_allowed_length": 2,
        "dry_range": 0,
        "dry_sequence_breakers": None,
        "adaptive_target": 1.0,
        "adaptive_decay": 0.9,
        "steps": None,
    }
    rest = frozenset({"max_new_tokens", "seed", "stop_conditions"})
    greedy = {"temperature": 0.0}
    skipped = frozenset({"temperature", "min_p", "top_k", "top_p", "adaptive_p"})
    advice = "arguments of ComboSampler; or steps, each a class and its arguments, for CustomSampler"

    def is_greedy(self, values: Values) -> bool:
        if values.get("steps") is not None:
            return steps_of(values)[-1][0] == "SS_Argmax"
        return values.number("temperature") == 0 or values.whole("top_k") == 1

    def order(self, values: Values) -> tuple[Slot, ...]:
        if values.get("steps") is None:
            return self.late if values.get("temp_last") else self.slots
        if mixed := [name for name in values.given if name != "steps"]:
            raise Unsupported(f"exllamav3: steps and {mixed[0]} are both given", fix="either steps of CustomSampler, or arguments of ComboSampler")
        return tuple(
            replace(slot, read=partial(given, slot, name, arguments)) for name, arguments in steps_of(values) for known, slot in (*STEPS, END) if known == name
        )

    def layouts(self, stages: Sequence[Stage]) -> Iterable[Layout]:
        steps: list[Slot] = []
        cut = False
        for at, stage in enumerate(stages):
            found = [step(at, name, slot) for name, slot in STEPS if slot.method == stage.name]
            steps += [replace(slot, write=too_late) for slot in found] if cut and stage.name in ADDITIVE else found
            cut = cut or (stage.kind == "transform" and narrows(stage))
        return (Layout(self.slots), Layout(self.late, {"temp_last": True}), Layout((*steps, ADAPTIVE), pack=stacked))

    def review(self, stages: Sequence[Stage], fits: Sequence[Fit]) -> Sequence[Fit]:
        """An average of the outcomes of xtc is the same law only where the draw follows at once."""
        acts = [at for at, (stage, fit) in enumerate(zip(stages, fits, strict=True)) if fit.parameters or stage.kind == "chooser"]
        found = list(fits)
        for at, after in pairwise(acts):
            if stages[at].name == "xtc" and stages[after].name not in ("categorical", "gumbel_max"):
                found[at] = fits[at].worse(Verdict.APPROXIMATE, AVERAGE)
        return found


DIALECT = ExLlamaV3()
