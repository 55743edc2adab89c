"""A recipe inside the real `generate` draws the tokens of `ulam.sample`; a processor inside a recipe is the stage that it says it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import LogitsProcessor, RepetitionPenaltyLogitsProcessor, TemperatureLogitsWarper, TopKLogitsWarper, WatermarkingConfig

import ulam
from tests.models.networks import network, tokenizer
from ulam.adapters.transformers_generate import ACTING, RecipeProcessor, from_processor, generate_arguments, write_custom_generate
from ulam.core.errors import EmptySupport, UsageError
from ulam.methods.transforms.temperature import Temperature
from ulam.models.transformers import TransformersModel
from ulam.recipe import Recipe

TEXTS = ["The cat", "One day a small fox found", "a"]
RECIPES = (
    "",
    "greedy",
    "temperature=0.7 top_p=0.9",
    "repetition_penalty(1.3, scope=generated) no_repeat_ngram=2 temperature=1.2 min_p=0.02 gumbel_max",
    'ban_words(["the"]) xtc(0.5, threshold=0.01)',
    "mirostat(3, eta=0.2)",
    "dry=0.8 temperature=0.9",
)


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def model() -> TransformersModel:
    return TransformersModel(network("llama", max_position_embeddings=64), tokenizer(), "tiny")


def generated(model: TransformersModel, recipe: Any, texts: list[str] = TEXTS, length: int = 12, **options: Any) -> list[tuple[int, ...]]:
    """What generate draws after the texts: the tokens of every row up to its end."""
    batch = model.tokenizer(texts, return_tensors="pt", padding=True, return_token_type_ids=False)
    arguments = generate_arguments(model, recipe, **options, **batch)
    out = model.network.generate(**batch, **arguments, max_new_tokens=length)
    drawn = out[:, batch["input_ids"].shape[1] :].tolist()
    return [tuple(row[: row.index(0) + 1] if 0 in row else row) for row in drawn]


def sampled(model: TransformersModel, recipe: Any, texts: list[str] = TEXTS, length: int = 12, **options: Any) -> list[tuple[int, ...]]:
    return [sample.tokens for sample in ulam.sample(model, texts, recipe, max_tokens=length, **options)]


@pytest.mark.parametrize("recipe", RECIPES)
def test_the_tokens_are_those_of_sample(model: TransformersModel, recipe: str) -> None:
    assert generated(model, recipe, seed=7) == sampled(model, recipe, seed=7)


def test_several_rows_of_a_prompt_and_their_numbers(model: TransformersModel) -> None:
    found = generated(model, "temperature=0.8", seed=3, n=3)
    assert found == sampled(model, "temperature=0.8", seed=3, n=3)
    assert len(set(found)) > 3
    assert generated(model, "", seed=3, sequence=[5, 9, 70]) == sampled(model, "", seed=3, sequence=[5, 9, 70])
    assert generated(model, "", seed=4) != generated(model, "", seed=3)


def test_rows_end_alone(model: TransformersModel) -> None:
    """An end token in the middle: that row is padded, the others draw on as if nothing had been."""
    recipe = "logit_bias({0: 6})"
    found = generated(model, recipe, seed=2, n=2, length=16)
    assert found == sampled(model, recipe, seed=2, n=2, length=16)
    assert len({len(row) for row in found}) > 2


def test_log_probabilities_come_with_the_tokens(model: TransformersModel) -> None:
    batch = model.tokenizer(TEXTS, return_tensors="pt", padding=True, return_token_type_ids=False)
    arguments = generate_arguments(model, "temperature=0.7 top_p=0.9", seed=7, **batch)
    (processor,) = arguments["logits_processor"]
    model.network.generate(**batch, **arguments, max_new_tokens=6)
    assert repr(processor) == "RecipeProcessor('temperature=0.7 top_p=0.9', seed 7)"
    for row, sample in enumerate(ulam.sample(model, TEXTS, "temperature=0.7 top_p=0.9", seed=7, max_tokens=6)):
        assert processor.histories[row].prompt == sample.prompt_tokens  # without the padding
        assert tuple(processor.tokens[row]) == sample.tokens
        assert np.allclose(processor.model_log_probs[row], sample.model_log_probs, atol=1e-4)
        assert np.allclose(processor.recipe_log_probs[row], sample.recipe_log_probs, atol=1e-4)


SETTINGS: dict[str, Any] = {
    "do_sample": True,
    "temperature": 0.1,
    "top_k": 2,
    "top_p": 0.1,
    "min_p": 0.9,
    "typical_p": 0.2,
    "epsilon_cutoff": 0.3,
    "eta_cutoff": 0.3,
    "top_h": 0.5,
    "repetition_penalty": 3.0,
    "no_repeat_ngram_size": 1,
    "bad_words_ids": [[5], [6], [7]],
    "sequence_bias": [[[9], 50.0]],
    "min_new_tokens": 9,
    "exponential_decay_length_penalty": (1, 9.0),
    "suppress_tokens": list(range(1, 200)),
    "begin_suppress_tokens": list(range(1, 250)),
    "forced_eos_token_id": 0,
    "assistant_early_exit": 1,
    "renormalize_logits": True,
    "watermarking_config": WatermarkingConfig(bias=20.0),
}


@pytest.mark.parametrize("name", SETTINGS)
def test_the_models_own_settings_do_not_act(name: str) -> None:
    """Each of them alone would change the tokens (`test_settings_act` shows it of all)."""
    made = network("llama", max_position_embeddings=64)
    model = TransformersModel(made, tokenizer(), "tiny")
    recipe, length = "logit_bias({0: 3})", 12
    expected = sampled(model, recipe, length=length, seed=5)
    setattr(made.generation_config, name, SETTINGS[name])
    assert name in ACTING or name == "do_sample"
    assert generated(model, recipe, length=length, seed=5) == expected


@pytest.mark.parametrize("name", ["suppress_tokens", "forced_eos_token_id", "sequence_bias"])
def test_settings_act(name: str) -> None:
    """The twin of the test above, without our arguments."""
    made = network("llama", max_position_embeddings=64)
    ids = torch.tensor([[0, 5, 9]])
    plain = made.generate(ids, max_new_tokens=6, do_sample=False).tolist()
    setattr(made.generation_config, name, SETTINGS[name])
    assert made.generate(ids, max_new_tokens=6, do_sample=False).tolist() != plain


def test_what_is_refused(model: TransformersModel) -> None:
    batch = model.tokenizer(TEXTS, return_tensors="pt", padding=True, return_token_type_ids=False)
    arguments = generate_arguments(model, "", seed=1, **batch)
    with pytest.raises(UsageError, match="generate has 9 rows of"):
        model.network.generate(**batch, **arguments | {"sequence_bias": [[[9], 1.0]], "do_sample": False, "num_beams": 3}, max_new_tokens=4)
    used = generate_arguments(model, "", seed=1, **batch)
    model.network.generate(**batch, **used, max_new_tokens=4)
    with pytest.raises(UsageError, match="generate took other tokens than the recipe drew"):
        model.network.generate(**batch, **used, max_new_tokens=4)
    with pytest.raises(UsageError, match=r"generate has 3 rows of .* tokens; the mask has"):
        model.network.generate(**batch, **generate_arguments(model, "", attention_mask=batch["attention_mask"][:2]), max_new_tokens=4)
    right = {"input_ids": torch.tensor([[0, 5, 0]]), "attention_mask": torch.tensor([[1, 1, 0]])}
    with pytest.raises(UsageError, match="padded on the right"):
        RecipeProcessor(model, "", mask=right["attention_mask"])(right["input_ids"], torch.zeros(1, len(model.vocabulary)))
    with pytest.raises(EmptySupport):
        model.network.generate(**batch, **generate_arguments(model, f"ban_tokens({list(range(320))})", **batch), max_new_tokens=4)
    with pytest.raises(UsageError, match="unknown stage"):
        generate_arguments(model, "topp=0.9")


# a processor as a stage


class Nothing(LogitsProcessor):
    def __call__(self, input_ids: Any, scores: Any) -> Any:
        scores += 0.0  # in place, as some do
        return scores


@pytest.mark.parametrize(
    ("processor", "stage"),
    [
        (Nothing(), ""),
        (TemperatureLogitsWarper(0.7), "temperature=0.7"),
        (TopKLogitsWarper(5), "top_k=5"),
        (RepetitionPenaltyLogitsProcessor(1.4), "repetition_penalty=1.4"),
    ],
)
def test_a_processor_as_a_stage_draws_what_our_stage_draws(model: TransformersModel, processor: Any, stage: str) -> None:
    theirs = Recipe([from_processor(processor), Temperature(0.9)])
    ours = Recipe(f"{stage} temperature=0.9")
    assert sampled(model, theirs, seed=8, n=2) == sampled(model, ours, seed=8, n=2)
    assert generated(model, theirs, seed=8, n=2) == sampled(model, ours, seed=8, n=2)
    z = np.random.default_rng(0).normal(size=(1, 320)).astype(np.float32)
    kept = z.copy()
    found = np.asarray(theirs.distribution(z, prompt=[3, 4], generated=[5]).log_probs)
    assert np.allclose(found, np.asarray(ours.distribution(z, prompt=[3, 4], generated=[5]).log_probs), atol=1e-5)
    assert np.array_equal(z, kept)


def test_processors_are_printed_and_differ(model: TransformersModel) -> None:
    one, other = from_processor(TemperatureLogitsWarper(0.5)), from_processor(TemperatureLogitsWarper(2.0))
    assert str(one).startswith("<TemperatureLogitsWarper")
    assert one == one
    assert one != other
    rows = sampled(model, [Recipe([one]), Recipe([other])], texts=TEXTS[:2], seed=1)
    assert rows == sampled(model, ["temperature=0.5", "temperature=2"], texts=TEXTS[:2], seed=1)
    with pytest.raises(UsageError, match="is no processor"):
        from_processor(7)


# generate, replaced by a file


def test_custom_generate(model: TransformersModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))
    recipe = 'ban_words(["the"]) temperature=0.7 top_p=0.9'
    path = write_custom_generate(tmp_path / "m", recipe)
    assert path == tmp_path / "m" / "custom_generate" / "generate.py"
    with pytest.raises(UsageError, match="is there already"):
        write_custom_generate(tmp_path / "m", recipe)
    batch = model.tokenizer(TEXTS, return_tensors="pt", padding=True, return_token_type_ids=False)
    out = model.network.generate(
        **batch, custom_generate=str(tmp_path / "m"), trust_remote_code=True, tokenizer=model.tokenizer, seed=7, max_new_tokens=8, num_return_sequences=2
    )
    drawn = out[:, batch["input_ids"].shape[1] :].tolist()
    expected = sampled(model, recipe, seed=7, n=2, length=8)
    assert [tuple(row[: len(tokens)]) for row, tokens in zip(drawn, expected, strict=True)] == expected
    with pytest.raises(UsageError, match="has no text that could be read back"):
        write_custom_generate(tmp_path / "other", Recipe([from_processor(Nothing())]))
