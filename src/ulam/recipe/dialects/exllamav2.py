"""exllamav2 of December 2025: `ExLlamaV2Sampler.Settings`.

Order     repetition, presence, frequency > token_bias > dry > smoothing > temperature > top_k > top_p > top_a > min_p > tfs > typical >
          mirostat > min_temp to max_temp > xtc > skew. With temperature_last=True temperature is where min_temp to max_temp is.
Defaults  temperature 0.8, top_k 50, top_p 0.8, token_repetition_penalty 1.025 over everything. All are written.
Edges     top_p drops the token that crosses p, and then takes smaller ones that still fit. typical reads p + ln p in place of ln p, and drops the
          token that crosses. dry multiplies by how often a sequence came. xtc is the average of its two outcomes, which is the same law as it is the
          last stage, but it looks at the next candidate and so needs them sorted: by a top_k. Candidates below 1e-8 are dropped wherever
          they are sorted (1e-6 by top_p), and the draw never reaches the last 0.02 % of the mass: counted exact. temperature below 0.01 is the most
          likely token. min_temp to max_temp counts every token that is left, and forbidden ones too where nothing was cut.
Source    exllamav2/generator/sampler.py, exllamav2/exllamav2_ext/{ext_sampling.cpp,cpp/sampling.cpp}
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ...core.errors import Unsupported
from ...core.method import Stage
from ...methods.choosers.mirostat_v2 import MirostatV2
from ...methods.constraints.ban_tokens import BanTokens
from ...methods.transforms.dry import Dry
from ...methods.transforms.dynamic_temperature import DynamicTemperature
from ...methods.transforms.xtc import XTC
from .dialect import Dialect, Layout, Slot, Values
from .slots import NEEDS_IDS, biases, dry_by_ids, narrows, number, penalty, single_ids
from .verdicts import Fit, Verdict, approximate, unsupported

TOP_P = "it drops the token that crosses p, and takes smaller ones that still fit"
TYPICAL = "it reads p + ln p in place of ln p, and drops the token that crosses p"
DRY = "its dry multiplies by how often the sequence came, and looks at 20 tokens at most"
UNSORTED = "its xtc looks at the next candidate, so it is right only where a top_k has sorted them"
COUNTED = "forbidden tokens count in the entropy's scale there, as nothing was cut"
MARKS = [".", ",", "!", "?", "<", ">", "[", "]", "(", ")", "{", "}", "\n", "\t", '"']


def read_bans(values: Values) -> Stage | None:
    given = values.items("disallow_tokens", int)
    return BanTokens(given) if given else None


def write_bans(stage: BanTokens) -> Fit:
    ids = single_ids(stage, "tokens")
    return Fit({"disallow_tokens": ids}) if ids is not None else unsupported(NEEDS_IDS)


def read_dry(values: Values) -> Stage | None:
    multiplier = values.number("dry_multiplier")
    if multiplier <= 0:
        return None
    values.note(DRY)
    breakers, window = values.get("dry_sequence_breakers"), values.whole("dry_range")
    length = values.whole("dry_allowed_length")
    return Dry(multiplier, values.number("dry_base"), length, window or "all", MARKS if breakers is None else sorted(breakers))


def write_dry(stage: Dry) -> Fit:
    found = dry_by_ids(stage)
    return approximate(found.parameters, DRY) if found.parameters else found


def read_mirostat(values: Values) -> Stage | None:
    if not values.get("mirostat"):
        return None
    return MirostatV2(values.number("mirostat_tau"), values.number("mirostat_eta"), observed="kept")


def write_mirostat(stage: MirostatV2) -> Fit:
    if stage.observed != "kept":
        return unsupported("it reads the surprise of a token after the cut: observed=kept")
    return Fit({"mirostat": True, "mirostat_tau": stage.tau, "mirostat_eta": stage.eta})


def read_range(values: Values) -> Stage | None:
    low, high = values.number("min_temp"), values.number("max_temp")
    return DynamicTemperature(low, high, values.number("temp_exponent")) if high > low else None


def write_range(stage: DynamicTemperature) -> Fit:
    if stage.high <= stage.low:
        return unsupported("max_temp must be above min_temp")
    return Fit({"min_temp": stage.low, "max_temp": stage.high, "temp_exponent": stage.exponent})


def read_xtc(values: Values) -> Stage | None:
    probability, spared = values.number("xtc_probability"), values.get("xtc_ignore_tokens")
    if probability <= 0:
        return None
    if spared is None:
        values.note("xtc_ignore_tokens is not given: xtc spares every token with a newline, and special ones")
    if values.whole("top_k") < 2 or spared is None or spared:
        values.note(UNSORTED)
    return XTC(probability, values.number("xtc_threshold"), ["\n"] if spared is None else sorted(spared))


def write_xtc(stage: XTC) -> Fit:
    spared = single_ids(stage, "exempt")
    if spared is None:
        return unsupported(NEEDS_IDS)
    found = {"xtc_probability": stage.probability, "xtc_threshold": stage.threshold, "xtc_ignore_tokens": spared}
    return approximate(found, "it looks at the next candidate, and a token that is spared may be it") if spared else Fit(found)


BEFORE = (
    penalty("repetition_penalty", "token_repetition_penalty", off=1.0, scope="all", window="token_repetition_range", every=-1, fade="token_repetition_decay"),
    penalty("presence_penalty", "token_presence_penalty", off=0.0, scope="all", window="token_repetition_range", every=-1, fade="token_repetition_decay"),
    penalty("frequency_penalty", "token_frequency_penalty", off=0.0, scope="all", window="token_repetition_range", every=-1, fade="token_repetition_decay"),
    biases("token_bias"),
    Slot("ban_tokens", {"disallow_tokens": None}, read_bans, write_bans),
    Slot("dry", {"dry_multiplier": 0.0}, read_dry, write_dry),
    number("smoothing", "smoothing_factor", off=0.0),
)
HEAT = number("temperature", off=1.0, allowed="[0.01, inf)")
CUTS = (
    number("top_k", off=0),
    number("top_p", off=1.0, allowed="(0, 1]", also_off=(0.0,), differs=TOP_P),
    number("top_a", off=0.0),
    number("min_p", off=0.0, allowed="[0, 1)", also_off=(1.0,)),
    number("tail_free", "tfs", off=0.0, allowed="(0, 1)", also_off=(1.0,)),
    number("typical_p", "typical", off=0.0, allowed="(0, 1)", also_off=(1.0,), differs=TYPICAL),
    Slot("mirostat_v2", {"mirostat": False}, read_mirostat, write_mirostat),
)
BETWEEN = Slot("dynamic_temperature", {"max_temp": 0.0}, read_range, write_range)
AFTER = (Slot("xtc", {"xtc_probability": 0.0}, read_xtc, write_xtc), number("skew", off=0.0))


class ExLlamaV2(Dialect):
    name = "exllamav2"
    version = "0.3.2"
    slots = (*BEFORE, HEAT, *CUTS, BETWEEN, *AFTER)
    late = (*BEFORE, *CUTS, HEAT, *AFTER)
    defaults = {
        "temperature": 0.8,
        "temperature_last": False,
        "smoothing_factor": 0.0,
        "min_temp": 0.0,
        "max_temp": 0.0,
        "temp_exponent": 1.0,
        "top_k": 50,
        "top_p": 0.8,
        "top_a": 0.0,
        "min_p": 0.0,
        "tfs": 0.0,
        "typical": 0.0,
        "skew": 0.0,
        "token_repetition_penalty": 1.025,
        "token_repetition_range": -1,
        "token_repetition_decay": 0,
        "token_presence_penalty": 0.0,
        "token_frequency_penalty": 0.0,
        "token_bias": None,
        "disallow_tokens": None,
        "dry_multiplier": 0.0,
        "dry_base": 1.75,
        "dry_allowed_length": 2,
        "dry_range": 0,
        "dry_sequence_breakers": None,
        "xtc_probability": 0.0,
        "xtc_threshold": 0.1,
        "xtc_ignore_tokens": None,
        "mirostat": False,
        "mirostat_tau": 1.5,
        "mirostat_eta": 0.1,
    }
    rest = frozenset({"mirostat_mu", "dry_max_ngram", "ngram_trie", "ngram_index", "ngram_history", "max_new_tokens", "seed", "stop_conditions"})
    refused = {
        "cfg_scale": ((), "combines two passes of the model: ulam.models.guidance"),
        "post_sampling_hooks": (([],), "is code of the caller, which no stage says"),
    }
    greedy = {"top_k": 1}
    skipped = frozenset({"temperature", "top_k", "top_p", "top_a", "min_p", "tail_free", "typical_p", "dynamic_temperature", "xtc", "skew"})
    advice = "token_bias is a tensor there: zeros of the vocabulary's size, with these values; disallow_tokens is a method of Settings"

    def is_greedy(self, values: Values) -> bool:
        cold = values.number("temperature") < 0.01 and not values.get("temperature_last")
        return values.whole("top_k") == 1 or cold

    def order(self, values: Values) -> tuple[Slot, ...]:
        ranged = values.number("max_temp") > values.number("min_temp")
        last = bool(values.get("temperature_last"))
        if values.get("mirostat"):
            later = [last and values.number("temperature") != 1, ranged, values.number("xtc_probability") > 0, values.number("skew") != 0]
            if any(later):
                raise Unsupported(
                    "exllamav2: mirostat cuts, and temperature_last, max_temp, xtc or skew change what is drawn from", fix="leave out one of them"
                )
        if last and ranged:
            values.note("temperature_last with max_temp above min_temp: temperature is not read")
            return (*BEFORE, *CUTS, BETWEEN, *AFTER)
        return self.late if last else self.slots

    def layouts(self, stages: Sequence[Stage]) -> Iterable[Layout]:
        if stages[-1].name == "mirostat_v2":
            return (Layout((*BEFORE, HEAT, *CUTS), lacking="there is no such stage beside mirostat"),)
        return (Layout(self.slots), Layout(self.late, {"temperature_last": True}))

    def review(self, stages: Sequence[Stage], fits: Sequence[Fit]) -> Sequence[Fit]:
        """What holds only behind a cut, or only at the end."""
        found: list[Fit] = []
        for i, (stage, fit) in enumerate(zip(stages, fits, strict=True)):
            before = [each for each, one in zip(stages[:i], fits[:i], strict=True) if one.parameters]
            cut = any(narrows(each) and each.kind == "transform" for each in before)
            if stage.name == "xtc" and fit.parameters:
                if not any("top_k" in one.parameters for one in fits):
                    fit = fit.worse(Verdict.APPROXIMATE, UNSORTED)
                if any("skew" in one.parameters for one in fits):
                    fit = fit.worse(Verdict.APPROXIMATE, "its xtc is the average of two outcomes, and skew is applied to it")
            elif stage.name == "dynamic_temperature" and fit.parameters and not cut and any(each.kind == "constraint" for each in before):
                fit = fit.worse(Verdict.APPROXIMATE, COUNTED)
            found.append(fit)
        return found


DIALECT = ExLlamaV2()
