"""SGLang 0.5: `sampling_params` of /generate, and the fields of its server.

Order     frequency, presence > repetition > min_new_tokens > grammar > logit_bias > temperature > top_k, top_p and min_p at once: each
          keeps its own set of one distribution, and what all keep is left. That is top_p > top_k > min_p, one after the other.
Defaults  neutral, but the server takes temperature, top_k, top_p, min_p and repetition_penalty from the model's generation_config.json
          unless it is started with `--sampling-defaults openai`: so all of them are written.
Edges     FlashInfer renormalises between top_k, top_p and min_p (in this order) as soon as one request of the batch has min_p: with all three
          the law depends on the backend. temperature below 1e-6 is the most likely token. top_k=0 and top_p=0 are refused; -1 is no
          top_k. top_p keeps one token more where the mass before it is p exactly. repetition_penalty is in (0, 2] and counts the
          continuation; presence and frequency, in [-2, 2], too. None has a window. With speculation logit_bias comes before the grammar.
Source    python/sglang/srt/sampling/{sampling_params,sampling_batch_info,penaltylib}, python/sglang/srt/layers/sampler.py
"""

from __future__ import annotations

from collections.abc import Sequence

from ...core.errors import OutOfRange
from ...core.method import Stage
from ...methods.constraints.min_tokens import MinTokens
from ...methods.transforms.top_k import TopK
from .dialect import Dialect, Slot, Values
from .slots import biases, number, penalty
from .verdicts import Fit, Verdict

GREEDY_BELOW = 1e-6
ALL = 2**30
TWO_LAWS = "with top_k, top_p and min_p together the law depends on the backend: pytorch takes all three sets of one row, FlashInfer renormalises between them"
ALONE = "where no other request of the batch has min_p: FlashInfer then takes top_k first and renormalises"


def read_min_tokens(values: Values) -> Stage | None:
    wanted = values.whole("min_new_tokens")
    return MinTokens(wanted) if wanted else None


def read_top_k(values: Values) -> Stage | None:
    k = values.whole("top_k")
    if k < -1 or k == 0:
        raise OutOfRange(f"sglang refuses top_k={k}", parameter="top_k", fix="top_k=-1")
    return TopK(k) if k != -1 and k < ALL else None


class SGLang(Dialect):
    name = "sglang"
    version = "0.5"
    slots = (
        penalty("frequency_penalty", "frequency_penalty", off=0.0, allowed="[-2, 2]", scope="generated"),
        penalty("presence_penalty", "presence_penalty", off=0.0, allowed="[-2, 2]", scope="generated"),
        penalty("repetition_penalty", "repetition_penalty", off=1.0, allowed="(0, 2]", scope="generated"),
        Slot("min_tokens", {"min_new_tokens": 0}, read_min_tokens, lambda stage: Fit({"min_new_tokens": stage.n})),
        biases("logit_bias"),
        number("temperature", off=1.0, allowed="[1e-6, inf)"),
        number("top_p", off=1.0, allowed="(0, 1]"),
        Slot("top_k", {"top_k": -1}, read_top_k, lambda stage: Fit({"top_k": stage.k})),
        number("min_p", off=0.0),
    )
    defaults = {
        "temperature": 1.0,
        "top_p": 1.0,
        "top_k": -1,
        "min_p": 0.0,
        "frequency_penalty": 0.0,
        "presence_penalty": 0.0,
        "repetition_penalty": 1.0,
        "min_new_tokens": 0,
        "logit_bias": None,
    }
    aliases = {"min_tokens": "min_new_tokens"}
    from_model = frozenset({"temperature", "top_k", "top_p", "min_p", "repetition_penalty"})
    rest = frozenset(
        {"max_new_tokens", "max_tokens", "max_completion_tokens", "stop", "stop_token_ids", "stop_regex", "n", "ignore_eos", "no_stop_trim"}
        | {"skip_special_tokens", "spaces_between_special_tokens", "custom_params", "stream_interval", "sampling_seed", "seed"}
        | {"model", "messages", "prompt", "stream", "stream_options", "user", "echo", "logprobs", "top_logprobs"}
        | {"text", "input_ids", "rid", "image_data", "return_logprob", "logprob_start_len", "top_logprobs_num", "return_text_in_logprobs", "lora_path"}
        | {"tools", "chat_template_kwargs", "separate_reasoning", "stream_reasoning", "continue_final_message"}
    )
    refused = {
        "json_schema": ((), "is a grammar, which no stage of this version says"),
        "regex": ((), "is a grammar, which no stage of this version says"),
        "ebnf": ((), "is a grammar, which no stage of this version says"),
        "structural_tag": ((), "is a grammar, which no stage of this version says"),
        "response_format": (({"type": "text"},), "is a grammar, which no stage of this version says"),
        "tool_choice": (("auto", "none"), "is a grammar, which no stage of this version says"),
        "custom_logit_processor": ((), "is code of the server, which no stage says"),
    }
    greedy = {"temperature": 0.0}
    skipped = frozenset({"temperature", "top_k", "top_p", "min_p"})

    def is_greedy(self, values: Values) -> bool:
        return 0 <= values.number("temperature") < GREEDY_BELOW or values.whole("top_k") == 1

    def order(self, values: Values) -> tuple[Slot, ...]:
        on = [values.whole("top_k") not in (-1, ALL), values.number("top_p") < 1, values.number("min_p") > 0]
        if all(on):
            values.note(TWO_LAWS)
        return self.slots

    def review(self, stages: Sequence[Stage], fits: Sequence[Fit]) -> Sequence[Fit]:
        """top_k with top_p is one law only where min_p is nowhere near."""
        on = {stage.name for stage, fit in zip(stages, fits, strict=True) if set(fit.parameters) & {"top_k", "top_p", "min_p"}}
        if not on >= {"top_k", "top_p"}:
            return fits
        found: list[Fit] = []
        for stage, fit in zip(stages, fits, strict=True):
            if stage.name not in ("top_k", "top_p") or not fit.parameters:
                found.append(fit)
            elif "min_p" in on:
                found.append(fit.worse(Verdict.APPROXIMATE, TWO_LAWS))
            elif fit.verdict == Verdict.REORDERED:
                found.append(fit.worse(Verdict.APPROXIMATE, "both sets are taken of one row, which is top_p before top_k"))
            else:
                found.append(fit.worse(fit.verdict, ALONE))
        return found


DIALECT = SGLang()
