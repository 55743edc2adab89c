"""OpenAI: the request of Chat Completions.

Order     not published. So a recipe of one stage, or of stages that commute, is exact; of others nobody can say.
Defaults  temperature 1, top_p 1, penalties 0.
Edges     temperature is in [0, 2], top_p in [0, 1], the penalties in [-2, 2], a bias in [-100, 100]. The penalties count "the text so far", and
          whether the prompt is a part of it is not said. -100 is no ban. seed is best effort.
          Responses has temperature and top_p alone; reasoning models refuse all of these.
Source    platform.openai.com/docs/api-reference/chat/create
"""

from __future__ import annotations

from ...core.method import Stage
from .dialect import Dialect, Slot, Values
from .slots import biases, number, penalty
from .verdicts import Fit, approximate

TEXT = "whether the prompt counts is not published"
UNSAID = "the order of what is given is not published; it is read as logit_bias, frequency, presence, temperature, top_p"


def so_far(method: str) -> Slot:
    """A penalty of "the text so far"."""
    plain = penalty(method, method, off=0.0, allowed="[-2, 2]", scope="generated")

    def write(stage: Stage) -> Fit:
        fit = plain.write(stage)
        return approximate(fit.parameters, TEXT) if fit.parameters else fit

    def read(values: Values) -> Stage | None:
        found = plain.read(values)
        if found is not None:
            values.note(f"{method}: {TEXT}")
        return found

    return Slot(method, plain.off, read, write)


class OpenAI(Dialect):
    name = "openai"
    version = "2026"
    slots = (
        biases("logit_bias", limit=100),
        so_far("frequency_penalty"),
        so_far("presence_penalty"),
        number("temperature", off=1.0, allowed="[0, 2]"),
        number("top_p", off=1.0),
    )
    defaults = {"temperature": 1.0, "top_p": 1.0, "frequency_penalty": 0.0, "presence_penalty": 0.0, "logit_bias": None}
    rest = frozenset(
        {"model", "messages", "input", "instructions", "n", "seed", "stop", "max_tokens", "max_completion_tokens", "max_output_tokens", "stream"}
        | {"stream_options", "logprobs", "top_logprobs", "user", "store", "metadata", "tools", "tool_choice", "parallel_tool_calls", "service_tier"}
        | {"reasoning_effort", "reasoning", "verbosity", "modalities", "audio", "prediction", "prompt_cache_key", "safety_identifier", "web_search_options"}
    )
    refused = {"response_format": (({"type": "text"},), "is a grammar, which no stage of this version says")}
    greedy = {"temperature": 0.0}
    skipped = frozenset({"temperature", "top_p"})
    ordered = False
    advice = "reasoning models refuse temperature, top_p, the penalties and logit_bias; Responses has temperature and top_p alone"

    def is_greedy(self, values: Values) -> bool:
        return values.number("temperature") == 0

    def order(self, values: Values) -> tuple[Slot, ...]:
        if sum(values.given.get(name) not in (None, default, {}) for name, default in self.defaults.items()) > 1:
            values.note(UNSAID)
        return self.slots


DIALECT = OpenAI()
