"""koboldcpp of 2026: the fields of its generate API.

Order     logit_bias > dry > the 3000 most likely tokens > `sampler_order`, seven groups by number, usually 6, 0, 1, 3, 4, 2, 5: 0 top_k, 1 top_a,
          2 top_p then min_p, 3 tfs, 4 typical, 5 temperature (or dynamic temperature), smoothing, then nsigma, 6 repetition then
          presence > xtc > draw, or adaptive_p. With mirostat: repetition and presence > temperature and smoothing > mirostat.
Defaults  temperature 0.7, top_k 100, top_p 0.9; rep_pen_range 320. Most clients send all of them.
Edges     What is not among the 3000 is lost, so a recipe is exact only where a top_k comes before whatever looks further. The two penalties
          share one window, which counts prompt and continuation, and token 0 in the places before a text that is shorter. A slope below 1
          acts on a rep_pen above 1 only. temperature=0 is top_k=1. tfs keeps one token fewer. dry punishes breakers too. xtc takes off 999,
          and adaptive_p behind it may bring such a token back. adaptive_p: its average starts empty, and without top_p or min_p it
          adds min_p=0.002. mirostat goes on from the request before. A bias is clamped to [-100, 100].
Source    gpttype_adapter.cpp, koboldcpp.py
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from ...core.errors import OutOfRange
from ...core.method import Stage
from ...methods.choosers.adaptive_p import AdaptiveP
from ...methods.choosers.mirostat import Mirostat
from ...methods.choosers.mirostat_v2 import MirostatV2
from ...methods.transforms.dry import Dry
from ...methods.transforms.dynamic_temperature import DynamicTemperature
from ...methods.transforms.min_p import MinP
from ...methods.transforms.repetition_penalty import RepetitionPenalty
from ...methods.transforms.smoothing import Smoothing
from ...methods.transforms.top_k import TopK
from ...methods.transforms.top_n_sigma import TopNSigma
from .commute import commute
from .dialect import Dialect, Layout, Reading, Slot, Values
from .export import first_alone
from .llama_cpp import EVERY, ONE_HEAT, OVERFLOW, counted, read_one_heat, read_xtc, write_heat, write_xtc
from .slots import biases, dry_fields, number, penalty
from .verdicts import Fit, Verdict, approximate, unsupported

PREFILTER = 3000
FEWER = "its tfs keeps one token fewer"
LOST = f"it looks at the {PREFILTER} most likely tokens only; the mass of the others is lost"
SUMMED = "its average starts empty, and goes on from there"
KEPT = "its mu goes on from the request before"


def read_repetition(values: Values) -> Stage | None:
    r, slope, window = values.number("rep_pen"), values.number("rep_pen_slope"), values.whole("rep_pen_range")
    return RepetitionPenalty(r, "all" if window >= EVERY else max(window, 0), slope=slope if r > 1 else 1)


def write_repetition(stage: RepetitionPenalty) -> Fit:
    if stage.slope != 1 and stage.r < 1:
        return unsupported("rep_pen_slope acts on a rep_pen above 1 only")
    plain = penalty("repetition_penalty", "rep_pen", off=1.0, scope="all", window="rep_pen_range", every=EVERY)
    fit = plain.write(replace(stage, slope=1))
    return Fit(fit.parameters | {"rep_pen_slope": stage.slope}, fit.verdict, fit.note) if fit.parameters else fit


def read_dry(values: Values) -> Stage | None:
    multiplier, window = values.number("dry_multiplier"), values.whole("dry_penalty_last_n")
    if multiplier <= 0:
        return None
    breakers = values.items("dry_sequence_breakers", str)
    if breakers:
        values.note("dry punishes breakers too there")
    size = window if 0 < window < EVERY else "all"
    return Dry(multiplier, values.number("dry_base"), values.whole("dry_allowed_length"), size, breakers)


def write_dry(stage: Dry) -> Fit:
    if not all(isinstance(each, str) for each in stage.breakers):
        return unsupported("it wants breakers as texts")
    found = dry_fields(stage, list(stage.breakers), "dry_penalty_last_n", 0)
    return approximate(found, "it punishes breakers too") if stage.breakers else Fit(found)


def read_top_k(values: Values) -> Stage | None:
    k = values.whole("top_k")
    if k > PREFILTER:
        values.note(f"top_k={k} is more than the {PREFILTER} tokens that are looked at")
    return TopK(k) if 0 < k <= PREFILTER else None


def write_top_k(stage: TopK) -> Fit:
    return Fit({"top_k": stage.k}) if stage.k <= PREFILTER else unsupported(f"it looks at {PREFILTER} tokens at most")


def read_min_p(values: Values) -> Stage | None:
    a = values.number("min_p")
    if a <= 0 and values.number("adaptive_target") > 0 and values.number("top_p") >= 1 and values.whole("mirostat") == 0:
        values.note("adaptive_p without a truncation adds min_p=0.002")
        return MinP(0.002)
    return MinP(a) if a > 0 else None


def read_heat(values: Values) -> Stage | None:
    """The temperature, where it is one number."""
    return read_one_heat(values) if values.number("dynatemp_range") == 0 else None


def read_dynamic(values: Values) -> Stage | None:
    middle, reach = values.number("temperature"), values.number("dynatemp_range")
    if reach == 0:
        return None
    return DynamicTemperature(max(middle - reach, 0.0), max(middle + reach, 0.0), max(values.number("dynatemp_exponent"), 0.0))


def write_dynamic(stage: DynamicTemperature) -> Fit:
    middle, reach = (stage.low + stage.high) / 2, (stage.high - stage.low) / 2
    return Fit({"temperature": middle, "dynatemp_range": reach, "dynatemp_exponent": stage.exponent})


def read_smoothing(values: Values) -> Stage | None:
    factor = values.number("smoothing_factor")
    asleep = values.number("temperature") <= 0 and values.number("dynatemp_range") == 0
    return Smoothing(factor, values.number("smoothing_curve")) if factor > 0 and not asleep else None


def read_sigma(values: Values) -> Stage | None:
    n = values.number("nsigma")
    return TopNSigma(n) if n > 0 else None


def read_adaptive(values: Values) -> Stage | None:
    target = values.number("adaptive_target")
    if target <= 0:
        return None
    values.note(f"adaptive_p: {SUMMED}")
    return AdaptiveP(target, min(max(values.number("adaptive_decay"), 0.01), 0.99))


def write_adaptive(stage: AdaptiveP) -> Fit:
    if stage.target == 0 or stage.decay < 0.01:
        return unsupported("target 0 is off there, and decay at least 0.01")
    return approximate({"adaptive_target": stage.target, "adaptive_decay": stage.decay}, SUMMED)


def mirostat(build: Any, version: int) -> Slot:
    notes = [KEPT, *([OVERFLOW] if version == 1 else [])]

    def read(values: Values) -> Stage:
        values.note(f"mirostat: {'; '.join(notes)}")
        values.get("mirostat")
        return build(values.number("mirostat_tau"), values.number("mirostat_eta"), observed="kept")

    def write(stage: Any) -> Fit:
        if getattr(stage, "m", 100) != 100:
            return unsupported("it fits its curve to 100 tokens")
        after = [] if stage.observed == "kept" else ["it reads the surprise of a token after the cut"]
        return approximate({"mirostat": version, "mirostat_tau": stage.tau, "mirostat_eta": stage.eta}, "; ".join([*after, *notes]))

    return Slot(build.name, {"mirostat": 0}, read, write)


FRONT = (biases("logit_bias", limit=100, clamped=True), Slot("dry", {"dry_multiplier": 0.0}, read_dry, write_dry))
PENALTIES = (
    counted(Slot("repetition_penalty", {"rep_pen": 1.0}, read_repetition, write_repetition)),
    counted(penalty("presence_penalty", "presence_penalty", off=0.0, scope="all", window="rep_pen_range", every=EVERY)),
)
SMOOTHING = Slot("smoothing", {"smoothing_factor": 0.0}, read_smoothing, lambda stage: Fit({"smoothing_factor": stage.factor, "smoothing_curve": stage.curve}))
HEAT = (
    Slot("temperature", {"temperature": 1.0}, read_heat, write_heat),
    Slot("dynamic_temperature", {"dynatemp_range": 0.0}, read_dynamic, write_dynamic),
    SMOOTHING,
)
GROUPS: dict[int, tuple[Slot, ...]] = {
    0: (Slot("top_k", {"top_k": 0}, read_top_k, write_top_k),),
    1: (number("top_a", off=0.0),),
    2: (number("top_p", off=1.0), Slot("min_p", {"min_p": 0.0}, read_min_p, lambda stage: Fit({"min_p": stage.a}))),
    3: (number("tail_free", "tfs", off=1.0, differs=FEWER),),
    4: (number("typical_p", "typical", off=1.0),),
    5: (*HEAT, Slot("top_n_sigma", {"nsigma": 0.0}, read_sigma, lambda stage: Fit({"nsigma": stage.n}))),
    6: PENALTIES,
}
USUAL = (6, 0, 1, 3, 4, 2, 5)
END = (Slot("xtc", {"xtc_probability": 0.0}, read_xtc, write_xtc), Slot("adaptive_p", {"adaptive_target": -1.0}, read_adaptive, write_adaptive))
MIROSTAT = {version: (*FRONT, *PENALTIES, ONE_HEAT, SMOOTHING, mirostat(build, version)) for version, build in ((1, Mirostat), (2, MirostatV2))}


def ordered(numbers: Iterable[int]) -> tuple[Slot, ...]:
    return (*FRONT, *(slot for number in numbers for slot in GROUPS[number]), *END)


def seen(stages: Sequence[Stage]) -> bool:
    """Whether the most likely tokens are all that matters: a top_k that nothing before it can lead beyond them."""
    if any(stage.scheduled for stage in stages):
        return False
    inside, cut = 0, first_alone(stages)
    for i, stage in enumerate(stages):
        if stage.name in ("logit_bias", "dry") and not inside:
            continue
        k = vars(stage)["k"] if stage.name == "top_k" else 1 if i == cut else 0
        if k:
            return inside + k <= PREFILTER
        held = vars(stage)
        lowers = (stage.name == "repetition_penalty" and held["r"] >= 1) or (stage.name == "presence_penalty" and held["a"] >= 0)
        if lowers and held["window"] != "all":
            inside += held["window"]  # only so many tokens can fall behind those that are not looked at
        elif stage.kind == "chooser" or not (stage.neutral(1).all() or commute(stage, TopK(2))):
            return False
    return False


class KoboldCpp(Dialect):
    name = "koboldcpp"
    version = "2026"
    slots = ordered(USUAL)
    defaults = {
        "sampler_order": USUAL,
        "temperature": 0.7,
        "top_k": 100,
        "top_p": 0.9,
        "min_p": 0.0,
        "top_a": 0.0,
        "tfs": 1.0,
        "typical": 1.0,
        "nsigma": 0.0,
        "rep_pen": 1.0,
        "rep_pen_range": 320,
        "rep_pen_slope": 1.0,
        "presence_penalty": 0.0,
        "dynatemp_range": 0.0,
        "dynatemp_exponent": 1.0,
        "smoothing_factor": 0.0,
        "smoothing_curve": 1.0,
        "dry_multiplier": 0.0,
        "dry_base": 1.75,
        "dry_allowed_length": 2,
        "dry_penalty_last_n": 320,
        "dry_sequence_breakers": (),
        "xtc_probability": 0.0,
        "xtc_threshold": 0.2,
        "mirostat": 0,
        "mirostat_tau": 5.0,
        "mirostat_eta": 0.1,
        "adaptive_target": -1.0,
        "adaptive_decay": 0.9,
        "logit_bias": None,
    }
    aliases = {"typical_p": "typical", "top_n_sigma": "nsigma", "repetition_penalty": "rep_pen", "repeat_penalty": "rep_pen"}
    rest = frozenset(
        {"prompt", "memory", "images", "audio", "max_context_length", "max_length", "sampler_seed", "seed", "stop_sequence", "stop", "genkey", "trim_stop"}
        | {"render_special", "quiet", "n", "model", "messages", "stream", "logprobs", "top_logprobs", "use_default_badwordsids", "singleline", "frmttriminc"}
        | {"frmtrmblln", "max_tokens", "bypass_eos", "reasoning_effort", "thinking_budget_tokens", "grammar_retain_state", "replace_instruct_placeholders"}
    )
    refused = {
        "grammar": (("",), "is a grammar, which no stage of this version says"),
        "banned_strings": (([],), "takes back texts that were written, which is no law of one token"),
        "banned_tokens": (([],), "takes off the tokens that hold a text: ban_tokens"),
        "custom_token_bans": (("",), "adds -100 to tokens: logit_bias"),
        "ban_eos_token": ((False,), "takes off end tokens: ban_tokens=[end]"),
        "guidance_scale": ((1, 1.0), "combines two passes of the model: ulam.models.guidance"),
        "frequency_penalty": ((0, 0.0), "is taken for presence_penalty"),
    }
    greedy = {"temperature": 0.0}

    def read(self, parameters: Mapping[str, Any]) -> Reading:
        found = super().read(parameters)
        return found if seen(found.recipe.written) else replace(found, notes=(*found.notes, LOST))

    def order(self, values: Values) -> tuple[Slot, ...]:
        mode = values.whole("mirostat")
        if mode in MIROSTAT:
            return MIROSTAT[mode]
        if mode != 0:
            raise OutOfRange(f"koboldcpp: mirostat={mode} is none of 0, 1, 2", parameter="mirostat")
        numbers = list(values.get("sampler_order"))
        if any(type(number) is not int or number not in GROUPS for number in numbers):
            raise OutOfRange(f"koboldcpp: sampler_order={numbers} holds something else than 0 to 6", parameter="sampler_order")
        return ordered(numbers)

    def layouts(self, stages: Sequence[Stage]) -> Iterable[Layout]:
        """Its usual order; the groups in the order of the recipe; or mirostat."""
        cut = first_alone(stages)
        for version, slots in MIROSTAT.items():
            if cut is None and slots[-1].method == stages[-1].name:
                lacking = "mirostat takes the place of every stage but bias, dry, penalties, temperature and smoothing"
                yield Layout(slots, {"mirostat": version}, lacking=lacking)
                return
        yield Layout(ordered(USUAL), {"sampler_order": list(USUAL)})
        active = [stage.name for stage in stages[:cut] if not stage.neutral(1).all()]
        groups = [number for name in active for number, slots in GROUPS.items() if any(slot.method == name for slot in slots)]
        numbers = list(dict.fromkeys([*groups, *USUAL]))
        yield Layout(ordered(numbers), {"sampler_order": numbers})

    def review(self, stages: Sequence[Stage], fits: Sequence[Fit]) -> Sequence[Fit]:
        """What is lost outside the most likely tokens, and what adaptive_p does in company."""
        found, names = list(fits), [stage.name for stage in stages if not stage.neutral(1).all()]
        if not seen(stages):
            looks = (i for i, stage in enumerate(stages) if stage.kind == "chooser" or not (stage.name in ("logit_bias", "dry") or stage.neutral(1).all()))
            at = next((i for i in looks if fits[i].verdict != Verdict.UNSUPPORTED), len(stages) - 1)
            found[at] = found[at].worse(Verdict.APPROXIMATE, LOST)
        if stages[-1].name == "adaptive_p" and first_alone(stages) is None:
            if "xtc" in names:
                found[-1] = found[-1].worse(Verdict.APPROXIMATE, "it may bring back what xtc took away")
            if not {"top_p", "min_p"} & set(names):
                found[-1] = found[-1].worse(Verdict.APPROXIMATE, "without top_p or min_p it adds min_p=0.002")
        return found


DIALECT = KoboldCpp()
