"""vLLM 0.33: `SamplingParams(...)` and the fields of its server.

Order     allowed tokens > bad words > min_tokens > logit_bias > repetition > frequency > presence > temperature > min_p > top_k > top_p.
          The second model runner takes the masks in another order, which is the same law.
Defaults  neutral, but the server takes temperature, top_k, top_p, min_p and repetition_penalty from the model's generation_config.json
          unless it is started with its own: so all of them are written.
Edges     temperature=0 is the most likely token; others below 0.01 are raised to it, above 2 they are refused. top_p=0 is refused; top_k=1
          is the same. The penalties are in [-2, 2]; the server clamps a bias to [-100, 100]. repetition_penalty counts prompt and
          continuation, the other two the continuation; none has a window. A bad word is completed by what was generated; spaces before it
          are dropped, and its encoding with a blank counts only where it is as long as the other and begins with another token.
          min_tokens bans stop_token_ids too. top_k keeps ties.
Source    vllm/sampling_params.py, vllm/v1/sample/{sampler,logits_processor,ops}
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ...core.errors import OutOfRange
from ...core.method import Stage
from ...core.parameter import Interval
from ...methods.constraints.allow_tokens import AllowTokens
from ...methods.constraints.ban_words import BanWords
from ...methods.constraints.min_tokens import MinTokens
from ...methods.transforms.logit_bias import LogitBias
from ...methods.transforms.temperature import Temperature
from ...methods.transforms.top_k import TopK
from ...methods.transforms.top_p import TopP
from .dialect import Dialect, Reading, Slot, Values
from .slots import NEEDS_IDS, biases, biases_by_id, number, penalty, token_ids
from .verdicts import Fit, Verdict, unsupported

RAISED_BELOW, CLAMP = 1e-2, 100
BLANK = "the encoding with a blank before it counts only where it is as long as the other and begins with another token"
RANGES = {
    "temperature": "[0, 2]",
    "top_k": "[-1, inf)",
    "top_p": "(0, 1]",
    "min_p": "[0, 1]",
    "repetition_penalty": "(0, inf)",
    "presence_penalty": "[-2, 2]",
    "frequency_penalty": "[-2, 2]",
}
"""What it takes; everything else it refuses."""


def read_allowed(values: Values) -> Stage | None:
    given = values.items("allowed_token_ids", int)
    return AllowTokens(given) if given else None


def write_allowed(stage: AllowTokens) -> Fit:
    ids = token_ids(stage)
    return Fit({"allowed_token_ids": ids}) if ids is not None else unsupported(NEEDS_IDS)


def read_bad_words(values: Values) -> Stage | None:
    given = values.items("bad_words", str)
    if given:
        values.note(f"bad_words: {BLANK}")
    return BanWords([word.lstrip() for word in given]) if given else None


def write_bad_words(stage: BanWords) -> Fit:
    if stage.scope != "generated":
        return unsupported("it looks at the continuation only")
    if not all(isinstance(word, str) for word in stage.words):
        return unsupported("it wants words as text")
    if any(word != word.lstrip() for word in stage.words):
        return unsupported("it drops the spaces before a word")
    return Fit({"bad_words": list(stage.words)}, Verdict.APPROXIMATE, BLANK)


def read_min_tokens(values: Values) -> Stage | None:
    wanted = values.whole("min_tokens")
    if wanted and values.rest.get("stop_token_ids"):
        values.note("min_tokens bans the stop_token_ids too")
    return MinTokens(wanted) if wanted else None


def read_bias(values: Values) -> Stage | None:
    given = biases_by_id(values, "logit_bias")
    if any(abs(value) > CLAMP for value in given.values()):
        values.note(f"logit_bias: its server clamps to [-{CLAMP}, {CLAMP}], SamplingParams made in Python does not")
    return LogitBias({key: min(max(value, -CLAMP), CLAMP) for key, value in given.items()}) if given else None


def read_temperature(values: Values) -> Stage | None:
    asked = values.number("temperature")
    if asked < RAISED_BELOW:
        values.note(f"temperature={asked:g} is raised to {RAISED_BELOW:g}")
    return Temperature(max(asked, RAISED_BELOW))


def write_temperature(stage: Temperature) -> Fit:
    if stage.T < RAISED_BELOW:
        return unsupported("it raises a temperature below 0.01")
    return Fit({"temperature": stage.T}) if stage.T <= 2 else unsupported("it refuses a temperature above 2")


def read_top_k(values: Values) -> Stage | None:
    k = values.whole("top_k")
    return TopK(k) if k > 0 else None


def write_top_p(stage: TopP) -> Fit:
    return Fit({"top_p": stage.p}) if stage.p > 0 else unsupported("it refuses top_p=0; top_k=1 is the same")


class VLLM(Dialect):
    name = "vllm"
    version = "0.33"
    slots = (
        Slot("allow_tokens", {"allowed_token_ids": None}, read_allowed, write_allowed),
        Slot("ban_words", {"bad_words": None}, read_bad_words, write_bad_words),
        Slot("min_tokens", {"min_tokens": 0}, read_min_tokens, lambda stage: Fit({"min_tokens": stage.n})),
        replace(biases("logit_bias", limit=CLAMP, clamped=True), read=read_bias),
        penalty("repetition_penalty", "repetition_penalty", off=1.0, allowed="(0, inf)", scope="all"),
        penalty("frequency_penalty", "frequency_penalty", off=0.0, allowed="[-2, 2]", scope="generated"),
        penalty("presence_penalty", "presence_penalty", off=0.0, allowed="[-2, 2]", scope="generated"),
        Slot("temperature", {"temperature": 1.0}, read_temperature, write_temperature),
        number("min_p", off=0.0),
        Slot("top_k", {"top_k": 0}, read_top_k, lambda stage: Fit({"top_k": stage.k})),
        Slot("top_p", {"top_p": 1.0}, lambda values: TopP(values.number("top_p")), write_top_p),
    )
    defaults = {
        "temperature": 1.0,
        "top_p": 1.0,
        "top_k": 0,
        "min_p": 0.0,
        "repetition_penalty": 1.0,
        "presence_penalty": 0.0,
        "frequency_penalty": 0.0,
        "logit_bias": None,
        "allowed_token_ids": None,
        "bad_words": None,
        "min_tokens": 0,
    }
    from_model = frozenset({"temperature", "top_k", "top_p", "min_p", "repetition_penalty"})
    rest = frozenset(
        {"n", "seed", "stop", "stop_token_ids", "ignore_eos", "max_tokens", "max_completion_tokens", "logprobs", "prompt_logprobs", "detokenize"}
        | {"skip_special_tokens", "spaces_between_special_tokens", "include_stop_str_in_output", "output_kind", "truncate_prompt_tokens", "flat_logprobs"}
        | {"model", "messages", "prompt", "stream", "stream_options", "user", "echo", "top_logprobs", "extra_args", "repetition_detection"}
        | {"tools", "parallel_tool_calls", "chat_template", "chat_template_kwargs", "add_generation_prompt", "continue_final_message", "priority"}
        | {"add_special_tokens", "documents", "cache_salt", "request_id", "kv_transfer_params", "return_token_ids", "return_tokens_as_token_ids"}
    )
    refused = {
        "structured_outputs": ((), "is a grammar, which no stage of this version says"),
        "response_format": (({"type": "text"},), "is a grammar, which no stage of this version says"),
        **dict.fromkeys(("guided_json", "guided_regex", "guided_choice", "guided_grammar"), ((), "is a grammar, which no stage of this version says")),
        "tool_choice": (("auto", "none"), "is a grammar, which no stage of this version says"),
        "best_of": ((1,), "chooses among several samples"),
        "use_beam_search": ((False,), "looks for a text instead of drawing one"),
    }
    greedy = {"temperature": 0.0}
    skipped = frozenset({"min_p", "top_k", "top_p", "temperature"})

    def read(self, parameters: Mapping[str, Any]) -> Reading:
        values = Values(self, parameters)
        for name, allowed in RANGES.items():
            if values.number(name) not in Interval.of(allowed):
                raise OutOfRange(f"vllm refuses {name}={values.number(name):g}", parameter=name, fix=f"{name} in {allowed}")
        return super().read(parameters)

    def is_greedy(self, values: Values) -> bool:
        return values.number("temperature") == 0


DIALECT = VLLM()
