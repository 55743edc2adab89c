"""transformers 5.23: `model.generate(...)` and generation_config.json.

Order     sequence_bias > encoder repetition > repetition > no_repeat_ngram > bad words > min length > forced end > length decay >
          suppress > suppress at begin > temperature > top_h > top_k > top_p > min_p > typical_p > epsilon > eta > watermark. From
          temperature on only with do_sample=True.
Defaults  do_sample is False, so greedy; when sampling, top_k is 50. A model's own generation_config.json changes both without a word.
Edges     temperature 0 is refused; top_k and top_p keep tokens that tie with the last one in their own way; repetition_penalty counts
          prompt and continuation, all of it; encoder_repetition_penalty=x is repetition_penalty=1/x of the prompt, for models without
          an encoder too. bad_words_ids leaves out end tokens that stand alone. Biases are kept in float32. top_h is another function: it
          compares sums of -p ln p over the first 100 tokens.
Source    src/transformers/generation/{utils,logits_process,configuration_utils}.py
"""

from __future__ import annotations

from typing import Any

from ...core.method import Stage
from ...methods.constraints.ban_tokens import BanTokens
from ...methods.constraints.ban_words import BanWords
from ...methods.constraints.min_tokens import MinTokens
from ...methods.constraints.no_repeat_ngram import NoRepeatNgram
from ...methods.constraints.suppress_at_start import SuppressAtStart
from ...methods.transforms.length_decay import LengthDecay
from ...methods.transforms.repetition_penalty import RepetitionPenalty
from ...methods.transforms.sequence_bias import SequenceBias
from .dialect import Dialect, Slot, Values
from .slots import NEEDS_IDS, number, penalty, token_ids
from .verdicts import Fit, approximate, unsupported

TOP_H = "its top_h compares running sums of -p ln p of the first 100 tokens, not the entropy of what is kept"


def read_sequence_bias(values: Values) -> Stage | None:
    given = values.get("sequence_bias")
    pairs = given.items() if isinstance(given, dict) else [(key, value) for key, value in given or ()]  # pyright: ignore[reportUnknownVariableType]
    return SequenceBias({tuple(key): float(value) for key, value in pairs}) if given else None  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]


def write_sequence_bias(stage: SequenceBias) -> Fit:
    if stage.scope != "all":
        return unsupported("it looks at prompt and continuation")
    if not all(isinstance(key, tuple) for key, _ in stage.map):
        return unsupported(NEEDS_IDS)
    return Fit({"sequence_bias": [[list(key), value] for key, value in stage.map]})  # pyright: ignore[reportArgumentType, reportUnknownArgumentType]


def read_bad_words(values: Values) -> Stage | None:
    given = values.items("bad_words_ids", list)
    return BanWords(given, scope="all") if given else None


def write_bad_words(stage: BanWords) -> Fit:
    if stage.scope != "all":
        return unsupported("it looks at prompt and continuation")
    ids = token_ids(stage, "words")
    return Fit({"bad_words_ids": ids}) if ids is not None else unsupported(NEEDS_IDS)


def read_suppress(values: Values) -> Stage | None:
    given = values.items("suppress_tokens", int)
    return BanTokens(given) if given else None


def write_suppress(stage: BanTokens) -> Fit:
    ids = token_ids(stage)
    return Fit({"suppress_tokens": ids}) if ids is not None else unsupported(NEEDS_IDS)


def read_begin(values: Values) -> Stage | None:
    given = values.items("begin_suppress_tokens", int)
    return SuppressAtStart(given) if given else None


def write_begin(stage: SuppressAtStart) -> Fit:
    if stage.until != 1:
        return unsupported("it suppresses at the first position only")
    ids = token_ids(stage)
    return Fit({"begin_suppress_tokens": ids}) if ids is not None else unsupported(NEEDS_IDS)


def read_min_tokens(values: Values) -> Stage | None:
    wanted = values.whole("min_new_tokens")
    return MinTokens(wanted) if wanted else None


def read_ngram(values: Values) -> Stage | None:
    n = values.whole("no_repeat_ngram_size")
    return NoRepeatNgram(n) if n else None


def write_ngram(stage: NoRepeatNgram) -> Fit:
    if stage.scope != "all" or stage.window != "all":
        return unsupported("it looks at all of prompt and continuation")
    return Fit({"no_repeat_ngram_size": stage.n})


def read_decay(values: Values) -> Stage | None:
    given = values.get("exponential_decay_length_penalty")
    return LengthDecay(float(given[1]), int(given[0])) if given else None


def write_decay(stage: LengthDecay) -> Fit:
    return Fit({"exponential_decay_length_penalty": [stage.start, stage.factor]})


def read_encoder(values: Values) -> Stage | None:
    given = values.number("encoder_repetition_penalty")
    return RepetitionPenalty(1 / given, scope="prompt") if given != 1 else None


def write_encoder(stage: RepetitionPenalty) -> Fit:
    if stage.scope != "prompt" or stage.window != "all" or stage.slope != 1 or stage.on != "logits":
        return unsupported("its encoder_repetition_penalty counts all of the prompt, and nothing else")
    return Fit({"encoder_repetition_penalty": 1 / stage.r})


def read_top_h(values: Values) -> Stage | None:
    if values.get("top_h") is not None:
        values.note(f"top_h={values.get('top_h'):g} is left out: {TOP_H}")
    return None


def write_top_h(stage: Any) -> Fit:
    return approximate({"top_h": stage.a}, TOP_H)


class Transformers(Dialect):
    name = "transformers"
    version = "5.23"
    slots = (
        Slot("sequence_bias", {"sequence_bias": None}, read_sequence_bias, write_sequence_bias),
        Slot("repetition_penalty", {"encoder_repetition_penalty": 1.0}, read_encoder, write_encoder),
        penalty("repetition_penalty", "repetition_penalty", off=1.0, scope="all"),
        Slot("no_repeat_ngram", {"no_repeat_ngram_size": 0}, read_ngram, write_ngram),
        Slot("ban_words", {"bad_words_ids": None}, read_bad_words, write_bad_words),
        Slot("min_tokens", {"min_new_tokens": 0}, read_min_tokens, lambda stage: Fit({"min_new_tokens": stage.n})),
        Slot("length_decay", {"exponential_decay_length_penalty": None}, read_decay, write_decay),
        Slot("ban_tokens", {"suppress_tokens": None}, read_suppress, write_suppress),
        Slot("suppress_at_start", {"begin_suppress_tokens": None}, read_begin, write_begin),
        number("temperature", off=1.0, allowed="(0, inf)"),
        Slot("top_h", {"top_h": None}, read_top_h, write_top_h),
        number("top_k", off=0),
        number("top_p", off=1.0),
        number("min_p", off=0.0),
        number("typical_p", off=1.0, allowed="(0, 1]"),
        number("epsilon_cutoff", off=0.0),
        number("eta_cutoff", off=0.0),
    )
    defaults = {
        "do_sample": False,
        "temperature": 1.0,
        "top_k": 50,
        "top_p": 1.0,
        "min_p": 0.0,
        "typical_p": 1.0,
        "epsilon_cutoff": 0.0,
        "eta_cutoff": 0.0,
        "top_h": None,
        "repetition_penalty": 1.0,
        "encoder_repetition_penalty": 1.0,
        "no_repeat_ngram_size": 0,
        "bad_words_ids": None,
        "sequence_bias": None,
        "min_new_tokens": 0,
        "exponential_decay_length_penalty": None,
        "suppress_tokens": None,
        "begin_suppress_tokens": None,
    }
    draws = {"do_sample": True}
    greedy = {"do_sample": False}
    rest = frozenset(
        {"max_new_tokens", "max_length", "num_return_sequences", "eos_token_id", "bos_token_id", "pad_token_id", "stop_strings"}
        | {"use_cache", "cache_implementation", "transformers_version", "_from_model_config", "return_dict_in_generate", "output_scores", "output_logits"}
        | {"max_time", "decoder_start_token_id", "renormalize_logits", "remove_invalid_values", "chat_format", "assistant_early_exit", "trust_remote_code"}
        | {"early_stopping", "length_penalty", "output_attentions", "output_hidden_states", "num_assistant_tokens", "low_memory", "disable_compile"}
    )
    open = True
    refused = {
        "min_length": ((0,), "counts the prompt, whose length is not known: min_new_tokens"),
        "encoder_no_repeat_ngram_size": ((0,), "forbids the sequences of the prompt, and no stage does"),
        "forced_decoder_ids": (([],), "forces tokens: the stage force_tokens"),
        "num_beam_groups": ((1,), "is beam search, which looks for a text instead of drawing one"),
        "token_healing": ((False,), "writes the end of the prompt again"),
        "num_beams": ((1,), "is beam search, which looks for a text instead of drawing one"),
        "penalty_alpha": ((0, 0.0), "is contrastive search, which looks at hidden states"),
        "guidance_scale": ((1, 1.0), "combines two passes of the model: ulam.models.guidance"),
        "watermarking_config": ((), "marks the text: see the stages green_list and synthid"),
        "dola_layers": ((), "combines layers of the model: ulam.models.dola"),
        "prompt_lookup_num_tokens": ((0,), "drafts from the prompt"),
        "forced_bos_token_id": ((), "forces the first token: the stage force_tokens"),
        "forced_eos_token_id": ((), "forces an end token at the length limit"),
        "force_words_ids": ((), "is constrained beam search"),
        "constraints": ((), "is constrained beam search"),
    }
    skipped = frozenset({"temperature", "top_h", "top_k", "top_p", "min_p", "typical_p", "epsilon_cutoff", "eta_cutoff"})

    def is_greedy(self, values: Values) -> bool:
        return not values.flag("do_sample")


DIALECT = Transformers()
