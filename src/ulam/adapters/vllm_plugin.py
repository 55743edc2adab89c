"""Recipes inside vLLM: a logits processor that draws the tokens itself.

A request that says `extra_args={"ulam": {"recipe": "temperature=0.8 top_p=0.95", "seed": 7, "sequence": 0}}` (through the server:
`vllm_xargs`, where the inner map is written as JSON text) has its tokens drawn by that recipe with ulam's noise, as `ulam.sample` draws
them. Requests that do not say so are left alone, in the same batch. Order, edges and draws are those of the recipe, whatever the engine's
own sampler does; `sampling_params` builds the parameters that leave that sampler nothing to do.

Start     vLLM finds the processor in the installed package; where ulam is only on the path, name it:
          `LLM(..., logits_processors=[RecipeProcessor])`, `vllm serve --logits-processors ulam.adapters.vllm_plugin:RecipeProcessor`.
How       The processor draws the token and leaves it the only one with a finite logit, which is the token's recipe log-probability in nats.
          So the engine's sampler returns it, `logprobs` in the mode `raw_logprobs` (the default) are the model's, and those of the mode
          `processed_logits` the recipe's. Inside one process both come from the row itself (`hold`), in float64.
Failure   One row of a batch cannot be failed here. A row that no token can be drawn for ends with the end token (the token 0 where
          there is none), whose logit is `FAILED`; the reason is logged, and stands in `Row.error`.
Refused   when the request is made: a recipe with a mistake in it; `n` above 1, since all n would be the same text; and what acts
          before this processor (`logit_bias`, `allowed_token_ids`, `bad_words`, `min_tokens`, penalties, grammars). Temperature,
          top_k, top_p, min_p and the seed of vLLM do nothing to a row with a recipe.
Runners   `RecipeProcessor` is a processor of both model runners, so that one entry point (group `vllm.logits_processors`) serves both. The
          first runner was run with vLLM 0.32 on CPUs. The second needs a GPU: its interface was driven by a simulated batch only.
Lost      With speculative decoding the first runner loads no custom processors at all, so recipes are not seen there; the second ends
          such requests as failed. A row of a recipe with feedback (mirostat) cannot go on after the engine preempted it, unless it is
          held in this process.
"""

# pyright: reportMissingImports=false

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import entry_points
from types import SimpleNamespace
from typing import Any

import torch
from vllm import SamplingParams
from vllm.v1.sample.logits_processor import LOGITSPROCS_GROUP, BatchUpdate
from vllm.v1.sample.logits_processor import LogitsProcessor as FirstRunner
from vllm.v1.sample.logits_processor.builtin import process_dict_updates

from ..core.errors import ModelError, UlamError, UsageError
from ..core.vocabulary import Vocabulary
from ..models.transformers import ends_of, vocabulary_of
from ..recipe import Recipe
from .rows import Row, Rows, read_asked

try:
    from vllm.v1.worker.gpu.sample.logits_processor import LogitsProcessor as SecondRunner
except ModuleNotFoundError:  # a vLLM that has the first runner only
    SecondRunner = object

KEY = "ulam"
PLACE = f"{__name__}:RecipeProcessor"
FAILED = -1e9
"""The logit of the end token of a row that failed: no log-probability is as low."""

LOWEST = -1e8
NEUTRAL = {
    "n": 1,
    "logit_bias": None,
    "allowed_token_ids": None,
    "bad_words": None,
    "min_tokens": 0,
    "presence_penalty": 0.0,
    "frequency_penalty": 0.0,
    "repetition_penalty": 1.0,
    "structured_outputs": None,
    "thinking_token_budget": None,
}
"""What must have these values where a recipe draws: it acts before the recipe, or after its draw."""

logger = logging.getLogger(__name__)
HELD: dict[str, Row] = {}


@contextmanager
def hold(rows: dict[str, Row]) -> Iterator[None]:
    """Inside, requests of this process that name one of these rows are drawn in it, so that it tells its log-probabilities and its error."""
    HELD.update(rows)
    try:
        yield
    finally:
        for name in rows:
            del HELD[name]


def sampling_params(
    recipe: str | Recipe,
    seed: int,
    sequence: int = 0,
    *,
    max_tokens: int = 256,
    stop: Sequence[str] = (),
    ends: Sequence[int] | None = None,
    row: str | None = None,
    **others: Any,
) -> SamplingParams:
    """vLLM's parameters for a request whose tokens are drawn by a recipe, everything else of its sampler neutral.

    seed, sequence  of the noise: 64 bits each; requests with one seed need sequence numbers of their own
    stop            vLLM's own stop strings
    ends            the tokens that end the text, in place of those that vLLM knows
    row             the name of a row in `hold`
    others          fields of `SamplingParams` that do not touch the law: `logprobs=0`, `detokenize=False`

    Raises `RecipeError` and its kinds, `OutOfRange`.
    """
    words = {"recipe": str(Recipe(recipe)), "seed": seed, "sequence": sequence} | ({} if row is None else {"row": row})
    read_asked(words)
    known = {} if ends is None else {"stop_token_ids": list(ends), "ignore_eos": True}
    return SamplingParams(temperature=0.0, max_tokens=max_tokens, stop=list(stop), extra_args={KEY: words}, **known, **others)


def vocabulary_in(config: Any) -> Vocabulary:
    """The vocabulary of the model of an engine's `VllmConfig`, whose logits have as many entries. Raises `ModelError`."""
    from vllm.tokenizers import cached_tokenizer_from_config

    model = config.model_config
    tokenizer = cached_tokenizer_from_config(model)
    if tokenizer is None:
        raise ModelError("the engine has no tokenizer, so recipes have no vocabulary", fix="start it without skip_tokenizer_init")
    settings = SimpleNamespace(**model.try_get_generation_config())
    return vocabulary_of(tokenizer, model.model, model.get_vocab_size(), ends_of(settings, model.hf_text_config, tokenizer))


def installed() -> bool:
    """Whether vLLM finds the processor by itself, through the entry point of the installed package."""
    return any(point.value == PLACE for point in entry_points(group=LOGITSPROCS_GROUP))


@dataclass
class Slot:
    """A place of the engine's batch whose request has a recipe. `generated` is the engine's own list of its tokens, which grows; -1 is one on its way."""

    row: Row
    generated: Sequence[int] = ()
    told: bool = False


class RecipeProcessor(FirstRunner, SecondRunner):  # type: ignore[misc, valid-type]
    """ulam's logits processor, for both model runners of vLLM. vLLM makes it; see the module."""

    def __init__(self, vllm_config: Any, device: Any, is_pin_memory: bool | None = None):
        """`device` is a device under the first runner; under the second, which gives two arguments only, the tokens of all its requests."""
        named = [each for each in vllm_config.model_config.logits_processors or () if each in (type(self), PLACE)]
        if len(named) + installed() > 1:
            raise UsageError("the engine has ulam's logits processor twice", fix="no logits_processors: the installed package is found by itself")
        self.config = vllm_config
        self.requests: Any = device if is_pin_memory is None else None
        self.slots: dict[int, Slot] = {}
        self.waiting: dict[int, SamplingParams] = {}
        self.rows = Rows()

    @classmethod
    def validate_params(cls, sampling_params: SamplingParams) -> None:
        """Raises `ValueError`, which vLLM reports to whoever made the request."""
        words = (sampling_params.extra_args or {}).get(KEY)
        if words is None:
            return
        try:
            read_asked(words)
            for name, neutral in NEUTRAL.items():
                value = getattr(sampling_params, name, neutral)
                if value != neutral and (value or neutral):
                    raise UsageError(f"{name}={value!r} does not go together with a recipe", fix=f"{name}={neutral!r}, and a stage of the recipe")
        except UlamError as error:
            raise ValueError(str(error)) from None

    def is_argmax_invariant(self) -> bool:
        return False

    @cached_property
    def vocabulary(self) -> Vocabulary:
        return vocabulary_in(self.config)

    def row(self, params: SamplingParams, prompt: Sequence[int] | None, generated: Sequence[int]) -> Row:
        """The row of a request: the one that waits for it, or a new one. A row that cannot begin has failed."""
        try:
            if self.config.speculative_config is not None:
                raise UsageError("a recipe draws one token at a time, and this engine speculates", fix="start it without a speculative config")
            asked = read_asked((params.extra_args or {})[KEY])
            if asked.row in HELD:
                return HELD[asked.row]
            if prompt is None:
                raise UsageError("a prompt of embeddings has no tokens, which a recipe would look at", fix="a prompt of tokens")
            return Row(asked.recipe.bind(self.vocabulary), asked.seed, asked.sequence, prompt, generated)
        except UlamError as error:
            failed = Row(Recipe(), 0, 0, ())
            failed.error = error
            return failed

    @cached_property
    def end(self) -> int:
        """The token that a failed row ends with."""
        try:
            return next(iter(self.vocabulary.ends), 0)
        except ModelError:  # then every row has failed
            return next(iter(ends_of(SimpleNamespace(), self.config.model_config.hf_text_config, None)), 0)

    def apply(self, logits: torch.Tensor, ctx: Any = None) -> torch.Tensor:
        """Logits [rows, V], in which each row with a recipe has one token left; `ctx` is what the second runner tells of its batch."""
        standing = dict(sorted((self.first_standing() if ctx is None else self.second_standing(ctx)).items()))
        if not standing:
            return logits
        slots = list(standing.values())
        rows = [slot.row for slot in slots]
        places = torch.tensor(list(standing), device=logits.device)
        self.rows.draw(rows, logits if len(rows) == logits.shape[0] else logits[places])
        for slot in slots:
            if slot.row.error is not None and not slot.told:
                slot.told = True
                logger.warning("a request ends without its next token: %s", slot.row.error)
        tokens = [self.end if row.error else row.tokens[-1] for row in rows]
        values = [FAILED if row.error else max(row.recipe_log_probs[-1], LOWEST) for row in rows]
        logits.index_fill_(0, places, -torch.inf)
        logits[places, torch.tensor(tokens, device=logits.device)] = torch.tensor(values, dtype=logits.dtype, device=logits.device)
        return logits

    # the first runner

    def update_state(self, batch_update: BatchUpdate | None) -> None:
        def enter(params: SamplingParams, prompt: list[int] | None, generated: list[int]) -> Slot | None:
            return Slot(self.row(params, prompt, generated), generated) if KEY in (params.extra_args or {}) else None

        process_dict_updates(self.slots, batch_update, enter)

    def first_standing(self) -> dict[int, Slot]:
        """The slots by their row of the logits, brought to the tokens that the engine has."""
        for slot in self.slots.values():
            newest = slot.generated[-1] if slot.generated else -1
            slot.row.settle(len(slot.generated), newest if newest >= 0 else None)
        return self.slots

    # the second runner

    def add_request(self, req_idx: int, sampling_params: SamplingParams) -> bool:
        self.slots.pop(req_idx, None)
        self.waiting.pop(req_idx, None)
        if KEY not in (sampling_params.extra_args or {}):
            return False
        self.waiting[req_idx] = sampling_params
        return True

    def second_standing(self, ctx: Any) -> dict[int, Slot]:
        """As `first_standing`; a request that is still being read stands nowhere, because its token would be thrown away."""
        if self.config.speculative_config is not None:  # every row of every draft fails
            self.slots |= {slot: Slot(self.row(params, None, ())) for slot, params in self.waiting.items()}
            return {place: self.slots[slot] for place, slot in enumerate(ctx.expanded_idx_mapping.tolist()) if slot in self.slots}
        held, found = self.requests, {}
        for place, (slot, length) in enumerate(zip(ctx.idx_mapping_np.tolist(), ctx.seq_lens_upper_bound_np.tolist(), strict=True)):
            if (slot not in self.slots and slot not in self.waiting) or length < held.prefill_len.np[slot]:
                continue
            prompt = int(held.prompt_len.np[slot])
            if slot in self.waiting:
                tokens = held.all_token_ids.gpu[slot, :length].tolist()
                self.slots[slot] = Slot(self.row(self.waiting.pop(slot), tokens[:prompt], tokens[prompt:]))
            self.slots[slot].row.settle(length - prompt)
            found[place] = self.slots[slot]
        return found
