"""text-generation-webui of May 2026: the preset of its Transformers and *_HF loaders, which its request body has too.

Order     bans and logit_bias > repetition > presence > frequency > dry > top_n_sigma > temperature > dynamic_temperature > smoothing > top_k >
          top_p > typical > epsilon > eta > tfs > top_a > min_p > adaptive_p > mirostat > xtc > encoder repetition > no_repeat_ngram. All but the
          first two move: sampler_priority is the order, and temperature_last puts the three temperatures behind it.
Defaults  neutral, with a repetition_penalty_range of 1024; 0 is everything. The program itself starts with a preset.
Edges     epsilon_cutoff and eta_cutoff are in units of 1e-4. The range is one for all penalties and for dry. dynamic_temperature acts beside temperature.
          xtc does nothing where the newline or the end would go. After a mask or a cut, top_n_sigma reads forbidden logits as 0 (its deviation is
          that of a sample), and tfs goes on through the forbidden. A breaker of dry is the last token of its text. top_k, top_p and the like are those of
          transformers, as ties are. With do_sample=False those and temperature are passed over, the others are not. mirostat is version 2.
Source    modules/{sampler_hijack,presets,text_generation}.py
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

from ...core.errors import OutOfRange
from ...core.method import Stage
from ...core.values import Word
from ...methods.choosers.adaptive_p import AdaptiveP
from ...methods.choosers.mirostat_v2 import MirostatV2
from ...methods.constraints.ban_tokens import BanTokens
from ...methods.constraints.no_repeat_ngram import NoRepeatNgram
from ...methods.transforms.dry import Dry
from ...methods.transforms.dynamic_temperature import DynamicTemperature
from ...methods.transforms.repetition_penalty import RepetitionPenalty
from ...methods.transforms.smoothing import Smoothing
from ...methods.transforms.xtc import XTC
from .dialect import Dialect, Layout, Slot, Values
from .slots import NEEDS_IDS, biases, narrows, number, penalty
from .verdicts import Fit, Verdict, approximate, unsupported

RANGE = "repetition_penalty_range"
LATE = ("temperature", "dynamic_temperature", "quadratic_sampling")
CANCELLED = "its xtc does nothing where the newline or the end would go"
BREAKERS = "a breaker is the last token of its text there"
MASKED = {
    "top_n_sigma": "it reads forbidden logits as 0, and something is forbidden before it",
    "tail_free": "it goes on through forbidden tokens, and something is forbidden before it",
}


def read_bans(values: Values) -> Stage | None:
    text: str = values.get("custom_token_bans")
    found: list[Any] = [int(each) for each in text.split(",") if each.strip()]
    if values.flag("ban_eos_token"):
        found.append(Word("end"))
    return BanTokens(found) if found else None


def write_bans(stage: BanTokens) -> Fit:
    ids = [each for each in stage.tokens if isinstance(each, int)]
    if len([each for each in stage.tokens if each == Word("end")]) + len(ids) < len(stage.tokens):
        return unsupported(NEEDS_IDS)
    ends = {"ban_eos_token": True} if len(ids) < len(stage.tokens) else {}
    return Fit({"custom_token_bans": ",".join(map(str, ids)), **ends})


def read_dry(values: Values) -> Stage | None:
    multiplier = values.number("dry_multiplier")
    if multiplier <= 0:
        return None
    given: Any = values.get("dry_sequence_breakers")
    try:
        breakers = given if isinstance(given, list) else json.loads(given if given.startswith("[") else f"[{given}]")  # pyright: ignore[reportUnknownVariableType]
    except ValueError as error:
        raise OutOfRange(f"dry_sequence_breakers={given!r} is no list of texts", parameter="dry_sequence_breakers") from error
    if breakers:
        values.note(BREAKERS)
    window = values.whole(RANGE)
    return Dry(multiplier, values.number("dry_base"), values.whole("dry_allowed_length"), window or "all", breakers)


def write_dry(stage: Dry) -> Fit:
    if stage.scope != "all":
        return unsupported("it looks at prompt and continuation")
    if not all(isinstance(each, str) for each in stage.breakers):
        return unsupported("its breakers are texts")
    texts = json.dumps(list(stage.breakers))
    found = {"dry_multiplier": stage.multiplier, "dry_base": stage.base, "dry_allowed_length": stage.allowed_length, "dry_sequence_breakers": texts}
    found[RANGE] = 0 if stage.window == "all" else stage.window
    return approximate(found, BREAKERS) if stage.breakers else Fit(found)


def read_range(values: Values) -> Stage | None:
    if not values.flag("dynamic_temperature"):
        return None
    return DynamicTemperature(values.number("dynatemp_low"), values.number("dynatemp_high"), values.number("dynatemp_exponent"))


def write_range(stage: DynamicTemperature) -> Fit:
    return Fit({"dynamic_temperature": True, "dynatemp_low": stage.low, "dynatemp_high": stage.high, "dynatemp_exponent": stage.exponent})


def read_smoothing(values: Values) -> Stage | None:
    factor = values.number("smoothing_factor")
    return Smoothing(factor, values.number("smoothing_curve")) if factor > 0 else None


def read_adaptive(values: Values) -> Stage | None:
    target = values.number("adaptive_target")
    return AdaptiveP(target, min(values.number("adaptive_decay"), 0.99)) if target > 0 else None


def write_adaptive(stage: AdaptiveP) -> Fit:
    return Fit({"adaptive_target": stage.target, "adaptive_decay": stage.decay}) if stage.target > 0 else unsupported("a target of 0 is off there")


def read_mirostat(values: Values) -> Stage | None:
    mode = values.whole("mirostat_mode")
    if mode not in (0, 2):
        values.note(f"mirostat_mode={mode} does nothing in these loaders")
    return MirostatV2(values.number("mirostat_tau"), values.number("mirostat_eta"), observed="kept") if mode == 2 else None


def write_mirostat(stage: MirostatV2) -> Fit:
    if stage.observed != "kept":
        return unsupported("it reads the surprise of a token after the cut: observed=kept")
    return Fit({"mirostat_mode": 2, "mirostat_tau": stage.tau, "mirostat_eta": stage.eta})


def read_xtc(values: Values) -> Stage | None:
    probability = values.number("xtc_probability")
    if probability <= 0:
        return None
    values.note(CANCELLED)
    return XTC(probability, values.number("xtc_threshold"))


def write_xtc(stage: XTC) -> Fit:
    return approximate({"xtc_probability": stage.probability, "xtc_threshold": stage.threshold}, CANCELLED)


def read_encoder(values: Values) -> Stage | None:
    given = values.number("encoder_repetition_penalty")
    return RepetitionPenalty(1 / given, scope="prompt") if given != 1 else None


def write_encoder(stage: RepetitionPenalty) -> Fit:
    if stage.scope != "prompt" or stage.window != "all" or stage.slope != 1 or stage.on != "logits":
        return unsupported("its penalty of the prompt counts all of it, and nothing else")
    return Fit({"encoder_repetition_penalty": 1 / stage.r})


def read_ngram(values: Values) -> Stage | None:
    n = values.whole("no_repeat_ngram_size")
    return NoRepeatNgram(n) if n else None


def write_ngram(stage: NoRepeatNgram) -> Fit:
    return (
        Fit({"no_repeat_ngram_size": stage.n}) if stage.scope == "all" and stage.window == "all" else unsupported("it looks at all of prompt and continuation")
    )


def counted(name: str, off: float) -> Slot:
    return penalty(name, name, off=off, scope="all", window=RANGE, every=0, tag=name)


FIRST = (Slot("ban_tokens", {"custom_token_bans": "", "ban_eos_token": False}, read_bans, write_bans), biases("logit_bias"))
MOVED = (
    counted("repetition_penalty", 1.0),
    counted("presence_penalty", 0.0),
    counted("frequency_penalty", 0.0),
    Slot("dry", {"dry_multiplier": 0.0}, read_dry, write_dry, "dry"),
    number("top_n_sigma", off=0.0, tag="top_n_sigma"),
    number("temperature", off=1.0, allowed="(0, inf)", tag="temperature"),
    Slot("dynamic_temperature", {"dynamic_temperature": False}, read_range, write_range, "dynamic_temperature"),
    Slot(
        "smoothing",
        {"smoothing_factor": 0.0},
        read_smoothing,
        lambda stage: Fit({"smoothing_factor": stage.factor, "smoothing_curve": stage.curve}),
        "quadratic_sampling",
    ),
    number("top_k", off=0, tag="top_k"),
    number("top_p", off=1.0, tag="top_p"),
    number("typical_p", off=1.0, allowed="(0, 1]", tag="typical_p"),
    number("epsilon_cutoff", off=0.0, unit=1e-4, tag="epsilon_cutoff"),
    number("eta_cutoff", off=0.0, unit=1e-4, tag="eta_cutoff"),
    number("tail_free", "tfs", off=1.0, tag="tfs"),
    number("top_a", off=0.0, tag="top_a"),
    number("min_p", off=0.0, tag="min_p"),
    Slot("adaptive_p", {"adaptive_target": 0.0}, read_adaptive, write_adaptive, "adaptive_p"),
    Slot("mirostat_v2", {"mirostat_mode": 0}, read_mirostat, write_mirostat, "mirostat"),
    Slot("xtc", {"xtc_probability": 0.0}, read_xtc, write_xtc, "xtc"),
    Slot("repetition_penalty", {"encoder_repetition_penalty": 1.0}, read_encoder, write_encoder, "encoder_repetition_penalty"),
    Slot("no_repeat_ngram", {"no_repeat_ngram_size": 0}, read_ngram, write_ngram, "no_repeat_ngram"),
)
WARPERS = frozenset({"temperature", "top_k", "top_p", "min_p", "typical_p", "epsilon_cutoff", "eta_cutoff"})


class TextGenerationWebUI(Dialect):
    name = "text-generation-webui"
    version = "4.7"
    slots = (*FIRST, *MOVED)
    defaults = {
        "do_sample": True,
        "temperature": 1.0,
        "dynamic_temperature": False,
        "dynatemp_low": 1.0,
        "dynatemp_high": 1.0,
        "dynatemp_exponent": 1.0,
        "smoothing_factor": 0.0,
        "smoothing_curve": 1.0,
        "top_k": 0,
        "top_p": 1.0,
        "min_p": 0.0,
        "top_n_sigma": 0.0,
        "typical_p": 1.0,
        "epsilon_cutoff": 0.0,
        "eta_cutoff": 0.0,
        "tfs": 1.0,
        "top_a": 0.0,
        "xtc_probability": 0.0,
        "xtc_threshold": 0.1,
        "adaptive_target": 0.0,
        "adaptive_decay": 0.9,
        "mirostat_mode": 0,
        "mirostat_tau": 5.0,
        "mirostat_eta": 0.1,
        "repetition_penalty": 1.0,
        "presence_penalty": 0.0,
        "frequency_penalty": 0.0,
        RANGE: 1024,
        "encoder_repetition_penalty": 1.0,
        "no_repeat_ngram_size": 0,
        "dry_multiplier": 0.0,
        "dry_base": 1.75,
        "dry_allowed_length": 2,
        "dry_sequence_breakers": '"\\n", ":", "\\"", "*"',
        "custom_token_bans": "",
        "ban_eos_token": False,
        "logit_bias": None,
        "temperature_last": False,
        "sampler_priority": None,
    }
    rest = frozenset(
        {"max_new_tokens", "max_tokens", "auto_max_new_tokens", "max_tokens_second", "truncation_length", "seed", "stop", "stopping_strings", "stream"}
        | {"add_bos_token", "skip_special_tokens", "static_cache", "enable_thinking", "reasoning_effort", "preserve_thinking", "n", "user", "echo"}
        | {"model", "messages", "prompt", "mode", "character", "instruction_template", "continue_", "logprobs", "top_logprobs"}
    )
    refused = {
        "preset": (("",), "names a file of parameters: give what is in it"),
        "penalty_alpha": ((0, 0.0), "is contrastive search, which looks at hidden states"),
        "guidance_scale": ((1, 1.0), "combines two passes of the model: ulam.models.guidance"),
        "negative_prompt": (("",), "is for guidance_scale"),
        "prompt_lookup_num_tokens": ((0,), "drafts from the prompt"),
        "grammar_string": (("",), "is a grammar, which no stage of this version says"),
    }
    greedy = {"do_sample": False}
    skipped = WARPERS

    def is_greedy(self, values: Values) -> bool:
        drawn = values.whole("mirostat_mode") == 2 or values.number("adaptive_target") > 0  # they draw a token themselves
        return not values.flag("do_sample") and not drawn

    def order(self, values: Values) -> tuple[Slot, ...]:
        tags = [slot.tag for slot in MOVED]
        given: Any = values.get("sampler_priority")
        if isinstance(given, str):
            given = [each.strip() for each in given.replace("\n", ",").split(",") if each.strip()]
        listed: list[str] = list(given or tags)
        if strange := [each for each in listed if each not in tags]:
            values.note(f"sampler_priority names {strange[0]}, which these loaders do not have")
        if values.flag("temperature_last"):
            listed = [*(each for each in listed if each not in LATE), *LATE]
        slots = [slot for slot in MOVED if slot.tag not in listed]  # what is not listed comes first
        slots += sorted((slot for slot in MOVED if slot.tag in listed), key=lambda slot: listed.index(slot.tag))
        if not values.flag("do_sample"):
            slots = [slot for slot in slots if slot.method not in WARPERS]
        ends = [at for at, slot in enumerate(slots) if self.drawn(slot, values)]
        return (*FIRST, *(slots[: ends[0] + 1] if ends else slots))

    def drawn(self, slot: Slot, values: Values) -> bool:
        """Whether this slot draws the token, so that nothing behind it matters."""
        return (slot.tag == "mirostat" and values.whole("mirostat_mode") == 2) or (slot.tag == "adaptive_p" and values.number("adaptive_target") > 0)

    def layouts(self, stages: Sequence[Stage]) -> Iterable[Layout]:
        wanted = [stage.name for stage in stages]
        moved = sorted(MOVED, key=lambda slot: self.place(slot, stages, wanted))
        return (Layout(self.slots), Layout((*FIRST, *moved), {"sampler_priority": [slot.tag for slot in moved]}))

    def place(self, slot: Slot, stages: Sequence[Stage], wanted: Sequence[str]) -> int:
        """Where the recipe has what this slot does; behind everything if nowhere."""
        if slot.method == "repetition_penalty":
            encoder = slot.tag == "encoder_repetition_penalty"
            found = [at for at, stage in enumerate(stages) if stage.name == slot.method and (vars(stage)["scope"] == "prompt") == encoder]
            return found[0] if found else len(stages)
        return wanted.index(slot.method) if slot.method in wanted else len(stages)

    def review(self, stages: Sequence[Stage], fits: Sequence[Fit]) -> Sequence[Fit]:
        """What is another function once tokens are forbidden."""
        found: list[Fit] = []
        for i, (stage, fit) in enumerate(zip(stages, fits, strict=True)):
            before = [each for each, one in zip(stages[:i], fits[:i], strict=True) if one.parameters]
            wrong = stage.name in MASKED and fit.parameters and any(map(narrows, before))
            found.append(fit.worse(Verdict.APPROXIMATE, MASKED[stage.name]) if wrong else fit)
        return found


DIALECT = TextGenerationWebUI()
