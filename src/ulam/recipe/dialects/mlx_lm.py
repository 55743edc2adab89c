"""mlx-lm 0.32: `make_sampler(...)` and `make_logits_processors(...)`, and the fields of its server.

Order     logit_bias > repetition > presence > frequency > top_p > min_p > xtc > top_k > temperature.
Defaults  temp is 0: the most likely token, and top_p, min_p, xtc and top_k are passed over. The penalties are off; each counts
          its own last 20 tokens.
Edges     temperature is always last. A context size of 0 is no empty window: it is every token. top_p=0 and top_p=1 are off. top_k must be below the
          size of the vocabulary. xtc: a token at the threshold does not count, tokens that tie with the last one stay, special
          tokens count but never go; the server always spares the newline and the ends. The prompt counts in the server and in batches;
          `generate` and `stream_generate` see the last token of the prompt alone.
Source    mlx_lm/{sample_utils,generate,server}.py
"""

from __future__ import annotations

from collections.abc import Sequence

from ...core.method import Stage
from ...methods.transforms.xtc import XTC
from .dialect import Dialect, Slot, Values
from .slots import NEEDS_IDS, biases, number, penalty, single_ids
from .verdicts import Fit, Verdict, approximate, unsupported

PENALTIES = ("repetition", "presence", "frequency")
SEEN = "the prompt counts in the server and in batches; stream_generate sees its last token alone"
SPARED = "special tokens that reach the threshold count there, though they never go"


def read_xtc(values: Values) -> Stage | None:
    probability, spared = values.number("xtc_probability"), values.items("xtc_special_tokens", int)
    if probability == 0:
        return None
    if spared:
        values.note(SPARED)
    return XTC(probability, values.number("xtc_threshold"), spared)


def write_xtc(stage: XTC) -> Fit:
    if stage.threshold > 0.5:
        return Fit({"xtc_probability": 0.0}, Verdict.EXACT_BECAUSE_NEUTRAL, "no two tokens have more than half of the mass each")
    spared = single_ids(stage, "exempt")
    if spared is None:
        return unsupported(NEEDS_IDS)
    found = {"xtc_probability": stage.probability, "xtc_threshold": stage.threshold, "xtc_special_tokens": spared}
    return approximate(found, SPARED) if spared else Fit(found)


class MLX(Dialect):
    name = "mlx-lm"
    version = "0.32"
    slots = (
        biases("logit_bias"),
        penalty("repetition_penalty", "repetition_penalty", off=1.0, scope="all", window="repetition_context_size", every=0, also_off=(0.0,)),
        penalty("presence_penalty", "presence_penalty", off=0.0, scope="all", window="presence_context_size", every=0),
        penalty("frequency_penalty", "frequency_penalty", off=0.0, scope="all", window="frequency_context_size", every=0),
        number("top_p", off=0.0, allowed="(0, 1]", also_off=(1.0,)),
        number("min_p", off=0.0),
        Slot("xtc", {"xtc_probability": 0.0}, read_xtc, write_xtc),
        number("top_k", off=0),
        number("temperature", "temp", off=1.0),
    )
    defaults = {
        "temp": 0.0,
        "top_p": 0.0,
        "min_p": 0.0,
        "top_k": 0,
        "xtc_probability": 0.0,
        "xtc_threshold": 0.1,
        "xtc_special_tokens": (),
        "logit_bias": None,
        "repetition_penalty": 1.0,
        "repetition_context_size": 20,
        "presence_penalty": 0.0,
        "presence_context_size": 20,
        "frequency_penalty": 0.0,
        "frequency_context_size": 20,
    }
    aliases = {"temperature": "temp"}
    rest = frozenset(
        {"max_tokens", "max_completion_tokens", "max_kv_size", "prefill_step_size", "kv_bits", "kv_group_size", "quantized_kv_start", "seed", "stop"}
        | {"model", "messages", "prompt", "stream", "stream_options", "logprobs", "top_logprobs", "draft_model", "num_draft_tokens", "adapters", "role_mapping"}
    )
    refused = {"min_tokens_to_keep": ((1,), "keeps tokens that min_p would drop, and no stage does")}
    greedy = {"temp": 0.0}
    skipped = frozenset({"top_p", "min_p", "xtc", "top_k", "temperature"})

    def is_greedy(self, values: Values) -> bool:
        return values.number("temp") == 0

    def review(self, stages: Sequence[Stage], fits: Sequence[Fit]) -> Sequence[Fit]:
        """Which tokens of the prompt count depends on how it is called."""
        return [fit.worse(fit.verdict, SEEN) if any(f"{each}_penalty" in fit.parameters for each in PENALTIES) else fit for fit in fits]


DIALECT = MLX()
