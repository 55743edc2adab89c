"""llama.cpp of October 2026: the fields of its server, its command line (`FLAGS`), and what a model file may say (`GGUF`).

Order     logit_bias > the list `samplers`, usually penalties (repetition, then frequency and presence) > dry > top_n_sigma > top_k > typ_p >
          top_p > min_p > xtc > temperature (or dynamic temperature) > draw, or adaptive_p if it is in the list. The list is part of the
          request: what is not in it is off, and any order can be asked for. mirostat puts bias > temperature > mirostat in place of it all.
Defaults  temperature 0.8, top_k 40, top_p 0.95, min_p 0.05. Flags of the server and keys of the model file change them without a word,
          so all of them are written.
Edges     The penalties share one window; they and dry count prompt and continuation, and a window is a number of tokens. temperature=0 keeps
          the first maximum of what reaches it. Forbidden tokens (a bias of false, top_n_sigma) stay in the list until top_p or min_p
          drops them: dynamic temperature counts them, mirostat 1 fits its curve to them, and the entropy of typ_p becomes NaN. Where
          the k of mirostat 1 is above 2^31 (a flat row, a large tau) one token stays. dry: a
          breaker of one letter is every token that holds it; longer ones also match across tokens. A grammar is asked only about the
          token drawn, and all of it is drawn again after a refusal. top_k cuts ties in no certain order.
Source    src/llama-sampler.cpp, common/{sampling,arg,common}.cpp, tools/server/server-schema.cpp, src/llama-arch.cpp
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from ...core.errors import OutOfRange, Unsupported
from ...core.method import Stage
from ...core.values import Word
from ...methods.choosers.adaptive_p import AdaptiveP
from ...methods.choosers.mirostat import Mirostat
from ...methods.choosers.mirostat_v2 import MirostatV2
from ...methods.constraints.ban_tokens import BanTokens
from ...methods.transforms.dry import LINES, Dry
from ...methods.transforms.dynamic_temperature import DynamicTemperature
from ...methods.transforms.logit_bias import LogitBias
from ...methods.transforms.temperature import Temperature
from ...methods.transforms.top_k import TopK
from ...methods.transforms.top_n_sigma import TopNSigma
from ...methods.transforms.xtc import XTC
from .dialect import Dialect, Layout, Slot, Values
from .export import first_alone
from .slots import NEEDS_IDS, dry_fields, number, penalty
from .verdicts import Fit, Verdict, approximate, unsupported

OVERFLOW = "where its k is above 2^31 (a flat row, a large tau) it keeps one token"
EVERY = 2**20
"""A window that no context outgrows: there is no word for all."""

NAMES = ("penalties", "dry", "top_n_sigma", "top_k", "typ_p", "top_p", "min_p", "xtc", "temperature", "adaptive_p", "infill")
LETTERS = dict(zip("edskypmxtai", NAMES, strict=True))
OTHER_NAMES = {"nucleus": "top_p", "typical_p": "typ_p", "typical": "typ_p", "typ": "typ_p", "temp": "temperature", "top_nsigma": "top_n_sigma"}

FLAGS: dict[str, str] = {
    **dict.fromkeys(("--temp", "--temperature"), "temperature"),
    **dict.fromkeys(("--samplers", "--sampler-seq", "--sampling-seq"), "samplers"),
    **dict.fromkeys(("--top-nsigma", "--top-n-sigma"), "top_n_sigma"),
    **dict.fromkeys(("--typical", "--typical-p"), "typical_p"),
    **dict.fromkeys(("-l", "--logit-bias"), "logit_bias"),
    **dict.fromkeys(("-s", "--seed"), "seed"),
    **dict.fromkeys(("--tfs", "--tfs-z"), "tfs_z"),
    **dict.fromkeys(("-j", "--json-schema", "-jf", "--json-schema-file"), "json_schema"),
    **dict.fromkeys(("--grammar", "--grammar-file"), "grammar"),
    "--top-k": "top_k",
    "--top-p": "top_p",
    "--min-p": "min_p",
    "--xtc-probability": "xtc_probability",
    "--xtc-threshold": "xtc_threshold",
    "--repeat-last-n": "repeat_last_n",
    "--repeat-penalty": "repeat_penalty",
    "--presence-penalty": "presence_penalty",
    "--frequency-penalty": "frequency_penalty",
    "--dry-multiplier": "dry_multiplier",
    "--dry-base": "dry_base",
    "--dry-allowed-length": "dry_allowed_length",
    "--dry-penalty-last-n": "dry_penalty_last_n",
    "--dry-sequence-breaker": "dry_sequence_breakers",
    "--adaptive-target": "adaptive_target",
    "--adaptive-decay": "adaptive_decay",
    "--dynatemp-range": "dynatemp_range",
    "--dynatemp-exp": "dynatemp_exponent",
    "--mirostat": "mirostat",
    "--mirostat-lr": "mirostat_eta",
    "--mirostat-ent": "mirostat_tau",
}
"""Flags that take a value, and the parameter it is."""

GGUF: dict[str, str] = {
    "general.sampling.sequence": "samplers",
    "general.sampling.top_k": "top_k",
    "general.sampling.top_p": "top_p",
    "general.sampling.min_p": "min_p",
    "general.sampling.xtc_probability": "xtc_probability",
    "general.sampling.xtc_threshold": "xtc_threshold",
    "general.sampling.temp": "temperature",
    "general.sampling.penalty_last_n": "repeat_last_n",
    "general.sampling.penalty_repeat": "repeat_penalty",
    "general.sampling.mirostat": "mirostat",
    "general.sampling.mirostat_tau": "mirostat_tau",
    "general.sampling.mirostat_eta": "mirostat_eta",
}
"""Keys of a model file that change defaults."""


def sampler_names(given: Any) -> list[str]:
    """The list of samplers: names, a text of names between semicolons, or a letter for each. Raises `OutOfRange`, `Unsupported`."""
    found: list[str] = []
    for item in given.split(";") if isinstance(given, str) else given:
        name = str(item).strip().replace("-", "_")
        name = OTHER_NAMES.get(name, name)
        if name in NAMES:
            found.append(name)
        elif all(letter in LETTERS for letter in name):
            found += [LETTERS[letter] for letter in name]
        else:
            raise OutOfRange(f"llama.cpp: samplers: it has no sampler {item!r}", parameter="samplers", fix="of " + ", ".join(NAMES))
    if "infill" in found:
        raise Unsupported("llama.cpp: the sampler infill is no stage here", fix="leave it out")
    return found


def bias_pairs(values: Values) -> dict[Any, float]:
    """What is added to each token; false, or -inf, forbids it."""
    given: Any = values.get("logit_bias")
    if isinstance(given, Mapping):
        items: list[tuple[Any, Any]] = [(int(key) if str(key).isdigit() else key, value) for key, value in given.items()]  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]
    else:
        items = [(each["token"], each["bias"]) if isinstance(each, Mapping) else tuple(each) for each in given or ()]  # pyright: ignore[reportUnknownArgumentType]
    pairs: dict[Any, float] = {}
    for token, value in items:
        pairs[token] = pairs.get(token, 0) + (float("-inf") if value is False else value)
    return pairs


def read_bias(values: Values) -> Stage | None:
    return LogitBias({token: value for token, value in bias_pairs(values).items() if value != float("-inf")})


def write_bias(stage: LogitBias) -> Fit:
    pairs: dict[Any, float] = dict(stage.map)
    return Fit({"logit_bias": pairs}) if all(isinstance(key, int) for key in pairs) else unsupported(NEEDS_IDS)


def read_bans(values: Values) -> Stage | None:
    ends = [Word("end")] if values.flag("ignore_eos") else []
    return BanTokens([*(token for token, value in bias_pairs(values).items() if value == float("-inf")), *ends])


def write_bans(stage: BanTokens) -> Fit:
    ids = [token for token in stage.tokens if token != Word("end")]
    if not all(isinstance(token, int) for token in ids):
        return unsupported(NEEDS_IDS)
    ends = {"ignore_eos": True} if len(ids) < len(stage.tokens) else {}
    return Fit(({"logit_bias": dict.fromkeys(ids, False)} if ids else {}) | ends)


def counted(slot: Slot) -> Slot:
    """A penalty's slot of an engine that counts the prompt too: near to one that counts only what was generated."""

    def write(stage: Any) -> Fit:
        if stage.scope != "generated":
            return slot.write(stage)
        fit = slot.write(replace(stage, scope="all"))
        return fit.worse(Verdict.APPROXIMATE, "it counts the tokens of the prompt inside its window too; without a prompt it is the same")

    return replace(slot, write=write)


def read_dry(values: Values) -> Stage | None:
    multiplier, window = values.number("dry_multiplier"), values.whole("dry_penalty_last_n")
    if multiplier == 0 or window == 0:
        return None
    breakers = values.items("dry_sequence_breakers", str)
    if any(len(each.encode()) > 1 for each in breakers):
        values.note("dry breakers of several letters also match across tokens")
    return Dry(multiplier, values.number("dry_base"), values.whole("dry_allowed_length"), "all" if window >= EVERY else window, breakers)


def write_dry(stage: Dry) -> Fit:
    if not all(isinstance(each, str) for each in stage.breakers):
        return unsupported("it wants breakers as texts")
    found = dry_fields(stage, list(stage.breakers), "dry_penalty_last_n", EVERY)
    if not stage.breakers:
        return unsupported("its server refuses an empty list of breakers; on the command line it is --dry-sequence-breaker none")
    if any(len(each.encode()) > 1 for each in stage.breakers):
        return approximate(found, "breakers of several letters also match across tokens there")
    return Fit(found)


def read_sigma(values: Values) -> Stage | None:
    n = values.number("top_n_sigma")
    return TopNSigma(n) if n > 0 else None


def read_top_k(values: Values) -> Stage | None:
    k = values.whole("top_k")
    return TopK(k) if k > 0 else None


def read_xtc(values: Values) -> Stage | None:
    probability, threshold = values.number("xtc_probability"), values.number("xtc_threshold")
    return XTC(probability, threshold) if probability > 0 and threshold <= 0.5 else None


def write_xtc(stage: XTC) -> Fit:
    return unsupported("it spares no tokens") if stage.exempt else Fit({"xtc_probability": stage.probability, "xtc_threshold": stage.threshold})


def read_heat(values: Values) -> Stage | None:
    """The temperature, where it is one number."""
    return None if values.number("dynatemp_range") > 0 else read_one_heat(values)


def read_one_heat(values: Values) -> Stage:
    return Temperature(max(values.number("temperature"), 0.0))


def write_heat(stage: Temperature) -> Fit:
    return Fit({"temperature": stage.T, "dynatemp_range": 0.0})


def read_dynamic(values: Values) -> Stage | None:
    middle, reach = values.number("temperature"), values.number("dynatemp_range")
    return DynamicTemperature(max(middle - reach, 0.0), middle + reach, values.number("dynatemp_exponent")) if reach > 0 else None


def write_dynamic(stage: DynamicTemperature) -> Fit:
    if stage.low == stage.high:
        return Fit({"temperature": stage.low, "dynatemp_range": 0.0})
    if stage.low > stage.high:
        return unsupported("low cannot be above high")
    return Fit({"temperature": (stage.low + stage.high) / 2, "dynatemp_range": (stage.high - stage.low) / 2, "dynatemp_exponent": stage.exponent})


def read_adaptive(values: Values) -> Stage | None:
    values.get("samplers")
    target = values.number("adaptive_target")
    return AdaptiveP(target, values.number("adaptive_decay")) if target >= 0 else None


def mirostat(build: Any, version: int) -> Slot:
    """The slot of a mirostat: the surprise of a token is read after the cut."""

    def read(values: Values) -> Stage:
        values.get("mirostat")
        return build(values.number("mirostat_tau"), values.number("mirostat_eta"), observed="kept")

    def write(stage: Any) -> Fit:
        found = {"mirostat": version, "mirostat_tau": stage.tau, "mirostat_eta": stage.eta}
        if getattr(stage, "m", 100) != 100:
            return unsupported("it fits its curve to 100 tokens")
        notes = [] if stage.observed == "kept" else ["it reads the surprise of a token after the cut"]
        notes += [OVERFLOW] if version == 1 else []
        return approximate(found, "; ".join(notes)) if notes else Fit(found)

    return Slot(build.name, {"mirostat": 0}, read, write)


def penalties(tag: str, **names: Any) -> tuple[Slot, ...]:
    """The slots of the three penalties, which share a window; also those of engines that hand it on."""
    repeat, frequency, presence = (
        counted(penalty(method, parameter, off=off, scope="all", window="repeat_last_n", tag=tag, **names))
        for method, parameter, off in (
            ("repetition_penalty", "repeat_penalty", 1.0),
            ("frequency_penalty", "frequency_penalty", 0.0),
            ("presence_penalty", "presence_penalty", 0.0),
        )
    )
    return repeat, frequency, presence


FRONT = (
    Slot("logit_bias", {"logit_bias": None}, read_bias, write_bias),
    Slot("ban_tokens", {"logit_bias": None, "ignore_eos": False}, read_bans, write_bans),
)
LISTED = (
    *penalties("penalties", every=EVERY),
    Slot("dry", {"dry_multiplier": 0.0}, read_dry, write_dry, "dry"),
    Slot("top_n_sigma", {"top_n_sigma": -1.0}, read_sigma, lambda stage: Fit({"top_n_sigma": stage.n}), "top_n_sigma"),
    Slot("top_k", {"top_k": 0}, read_top_k, lambda stage: Fit({"top_k": stage.k}), "top_k"),
    number("typical_p", off=1.0, tag="typ_p"),
    number("top_p", off=1.0, tag="top_p"),
    number("min_p", off=0.0, tag="min_p"),
    Slot("xtc", {"xtc_probability": 0.0}, read_xtc, write_xtc, "xtc"),
    Slot("temperature", {"temperature": 1.0}, read_heat, write_heat, "temperature"),
    Slot("dynamic_temperature", {"dynatemp_range": 0.0}, read_dynamic, write_dynamic, "temperature"),
)
ADAPTIVE = Slot(
    "adaptive_p",
    {"adaptive_target": -1.0},
    read_adaptive,
    lambda stage: Fit({"adaptive_target": stage.target, "adaptive_decay": stage.decay}),
    "adaptive_p",
)
ONE_HEAT = Slot("temperature", {"temperature": 1.0}, read_one_heat, lambda stage: Fit({"temperature": stage.T}))
MIROSTAT = {1: mirostat(Mirostat, 1), 2: mirostat(MirostatV2, 2)}
MISLED = {
    "dynamic_temperature": "count as possible",
    "mirostat": "are part of its fit",
    "typical_p": "make its entropy NaN, and what it keeps is then anything",
}
"""What forbidden tokens do that are still in its list."""
USUAL = tuple(dict.fromkeys(slot.tag for slot in LISTED))


class LlamaCpp(Dialect):
    name = "llama.cpp"
    version = "October 2026"
    slots = (*FRONT, *LISTED, ADAPTIVE)
    defaults = {
        "samplers": USUAL,
        "temperature": 0.8,
        "top_k": 40,
        "top_p": 0.95,
        "min_p": 0.05,
        "typical_p": 1.0,
        "top_n_sigma": -1.0,
        "xtc_probability": 0.0,
        "xtc_threshold": 0.1,
        "dynatemp_range": 0.0,
        "dynatemp_exponent": 1.0,
        "repeat_penalty": 1.0,
        "presence_penalty": 0.0,
        "frequency_penalty": 0.0,
        "repeat_last_n": 64,
        "dry_multiplier": 0.0,
        "dry_base": 1.75,
        "dry_allowed_length": 2,
        "dry_penalty_last_n": 64,
        "dry_sequence_breakers": LINES,
        "mirostat": 0,
        "mirostat_tau": 5.0,
        "mirostat_eta": 0.1,
        "adaptive_target": -1.0,
        "adaptive_decay": 0.9,
        "logit_bias": None,
        "ignore_eos": False,
    }
    aliases = {"temp": "temperature", "typ_p": "typical_p", "penalty_last_n": "repeat_last_n", "penalty_repeat": "repeat_penalty"}
    rest = frozenset(
        {"n_predict", "max_tokens", "max_completion_tokens", "n_keep", "n_discard", "n_indent", "n_probs", "logprobs", "top_logprobs", "seed", "stop"}
        | {"prompt", "messages", "model", "stream", "stream_options", "cache_prompt", "id_slot", "return_tokens", "return_progress", "timings_per_token"}
        | {"post_sampling_probs", "backend_sampling", "response_fields", "t_max_predict_ms", "n_cmpl", "n", "n_cache_reuse", "verbose", "chat_format"}
        | {"chat_template_kwargs", "reasoning_format", "parse_tool_calls", "add_generation_prompt", "sse_ping_interval", "tools", "parallel_tool_calls", "lora"}
    )
    refused = {
        "min_keep": ((0, 1), "keeps tokens that a truncation would drop, and no stage does"),
        "tool_choice": (("auto", "none"), "is a grammar, which no stage of this version says"),
        "tfs_z": ((1, 1.0), "was taken out of llama.cpp: tail_free"),
        "grammar": (("",), "is a grammar, which no stage of this version says"),
        "json_schema": (({},), "is a grammar, which no stage of this version says"),
        "response_format": (({"type": "text"},), "is a grammar, which no stage of this version says"),
    }
    from_model = frozenset(GGUF.values()) - {"samplers"}
    greedy = {"temperature": 0.0}

    def order(self, values: Values) -> tuple[Slot, ...]:
        for name in ("repeat_last_n", "dry_penalty_last_n"):
            if values.whole(name) < 0:
                raise OutOfRange(f"llama.cpp: {name}={values.get(name)} is refused; -1 was the context once", parameter=name, fix=f"{name}={EVERY}")
        mode = values.whole("mirostat")
        if mode in MIROSTAT:
            return (*FRONT, ONE_HEAT, MIROSTAT[mode])
        if mode != 0:
            raise OutOfRange(f"llama.cpp: mirostat={mode} is none of 0, 1, 2", parameter="mirostat")
        listed = sampler_names(values.get("samplers"))
        chooser = (ADAPTIVE,) if "adaptive_p" in listed else ()
        return (*FRONT, *(slot for tag in listed for slot in LISTED if slot.tag == tag), *chooser)

    def layouts(self, stages: Sequence[Stage]) -> Iterable[Layout]:
        """The samplers in the order of the recipe, or mirostat in place of them."""
        cut = first_alone(stages)
        for version, slot in MIROSTAT.items():
            if cut is None and slot.method == stages[-1].name:
                yield Layout((*FRONT, ONE_HEAT, slot), {"mirostat": version}, lacking="mirostat takes the place of every stage but bias and temperature")
                return
        tags = dict.fromkeys(slot.tag for stage in stages[:cut] if not stage.neutral(1).all() for slot in LISTED if slot.method == stage.name)
        if cut is not None:
            tags |= {"temperature": None}
        elif stages[-1].name == "adaptive_p":
            tags |= {"adaptive_p": None}
        listed = sorted(LISTED, key=lambda slot: [*tags].index(slot.tag) if slot.tag in tags else len(tags))
        yield Layout((*FRONT, *listed, ADAPTIVE), {"mirostat": 0, "samplers": [*tags]})

    def review(self, stages: Sequence[Stage], fits: Sequence[Fit]) -> Sequence[Fit]:
        """Forbidden tokens stay in its list until top_p or min_p drops them."""
        found, holes = list(fits), any(stage.name == "ban_tokens" for stage in stages)
        for i, stage in enumerate(stages):
            if stage.name in MISLED and holes:
                found[i] = found[i].worse(Verdict.APPROXIMATE, f"tokens that an earlier stage has forbidden {MISLED[stage.name]}")
            holes = (holes or stage.name == "top_n_sigma") and stage.name not in ("top_p", "min_p")
        return found


DIALECT = LlamaCpp()
