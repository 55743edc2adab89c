"""What the dialect of transformers says that `generate` does, against the processors that `generate` itself puts together."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from transformers import GenerationConfig, GenerationMixin, LlamaConfig

from ulam.core.vocabulary import Vocabulary
from ulam.recipe import Recipe
from ulam.recipe.dialects import find

torch.set_num_threads(1)

WIDTH, END, ROWS, PROMPT, GENERATED = 48, 47, 12, 9, 6
VOCABULARY = Vocabulary([*(bytes([65 + i]) for i in range(WIDTH - 1)), b""], names={END: "<end>"}, ends=[END])
Draw = np.random.Generator

PARAMETERS: dict[str, Callable[[Draw], Any]] = {
    "temperature": lambda r: float(r.uniform(0.2, 2.5)),
    "top_k": lambda r: int(r.integers(0, 30)),
    "top_p": lambda r: float(r.uniform(0.05, 1)),
    "min_p": lambda r: float(r.uniform(0, 0.5)),
    "typical_p": lambda r: float(r.uniform(0.1, 1)),
    "epsilon_cutoff": lambda r: float(r.uniform(0, 0.2)),
    "eta_cutoff": lambda r: float(r.uniform(0, 0.2)),
    "repetition_penalty": lambda r: float(r.uniform(0.6, 1.8)),
    "encoder_repetition_penalty": lambda r: float(r.uniform(0.6, 1.8)),
    "no_repeat_ngram_size": lambda r: int(r.integers(0, 4)) or 2,
    "bad_words_ids": lambda r: [[int(i) for i in r.integers(0, END, size)] for size in (1, 2, 3)],
    "sequence_bias": lambda r: [[[i], float(r.integers(-8, 8)) / 4] for i in range(4)] + [[[i, i + 1], float(r.integers(-8, 8)) / 4] for i in range(6)],
    "min_new_tokens": lambda r: int(r.integers(0, 12)),
    "exponential_decay_length_penalty": lambda r: (int(r.integers(0, 8)), float(r.uniform(0.7, 1.4))),
    "suppress_tokens": lambda r: [int(i) for i in r.integers(0, WIDTH, 3)],
    "begin_suppress_tokens": lambda r: [int(i) for i in r.integers(0, WIDTH, 3)],
}


class Pipeline(GenerationMixin):
    """As much of a model as putting the processors together asks for."""

    config = LlamaConfig(vocab_size=WIDTH, eos_token_id=END, bos_token_id=None)
    generation_config = GenerationConfig(eos_token_id=END)
    device = torch.device("cpu")

    def law(self, parameters: dict[str, Any], z: NDArray[np.float64], tokens: NDArray[np.int64]) -> NDArray[np.float64]:
        """The distributions from which `generate(**parameters)` would draw, or the one token it would take."""
        config, left = self._prepare_generation_config(None, **parameters)
        assert not left, "transformers does not know a parameter of the dialect"
        self._prepare_special_tokens(config, True, device="cpu")
        ids = torch.asarray(tokens)
        processors = self._get_logits_processor(config, input_ids_seq_length=PROMPT, encoder_input_ids=ids[:, :PROMPT], device="cpu")
        scores = processors(ids, torch.asarray(z.copy()))
        if config.do_sample:
            return torch.softmax(scores, dim=-1).numpy()
        return torch.nn.functional.one_hot(scores.argmax(dim=-1), WIDTH).double().numpy()


def rows(rng: Draw) -> NDArray[np.float64]:
    return rng.standard_normal((ROWS, WIDTH)) * rng.uniform(0.5, 6, (ROWS, 1)) + rng.normal(size=(ROWS, 1))


def histories(rng: Draw, length: int) -> NDArray[np.int64]:
    """Few different tokens, so that much repeats, and now and then none of the continuation yet."""
    return rng.integers(0, rng.choice([6, 20, END]), (ROWS, PROMPT + length))


def ours(recipe: Recipe, z: NDArray[np.float64], tokens: NDArray[np.int64]) -> NDArray[np.float64]:
    bound = recipe.bind(VOCABULARY)
    pairs = zip(z, tokens.tolist(), strict=True)
    return np.stack([np.asarray(bound.distribution(row, past[:PROMPT], past[PROMPT:]).probs) for row, past in pairs])


def chosen(rng: Draw) -> dict[str, Any]:
    share = rng.choice([0.1, 0.3, 0.7])
    return {"do_sample": bool(rng.random() < 0.85)} | {name: draw(rng) for name, draw in PARAMETERS.items() if rng.random() < share}


@pytest.mark.parametrize("seed", range(4))
def test_random_parameters_rows_and_histories(seed: int) -> None:
    """Fifty sets of parameters with twelve rows each, whole distributions."""
    rng = np.random.default_rng(seed)
    for _ in range(50):
        parameters = chosen(rng)
        z, tokens = rows(rng), histories(rng, int(rng.choice([0, 1, GENERATED])))
        here = ours(find("transformers").read(parameters).recipe, z, tokens)
        there = Pipeline().law(parameters, z, tokens)
        assert np.abs(here - there).max() < 1e-7, f"{parameters}"


@pytest.mark.parametrize("name", list(PARAMETERS))
def test_every_parameter_alone(name: str) -> None:
    rng = np.random.default_rng(sum(name.encode()))
    matters = False
    for _ in range(8):
        parameters = {"do_sample": True, "top_k": 0, name: PARAMETERS[name](rng)}
        z, tokens = rows(rng), histories(rng, int(rng.choice([0, GENERATED])))
        here, there = ours(find("transformers").read(parameters).recipe, z, tokens), Pipeline().law(parameters, z, tokens)
        assert np.abs(here - there).max() < 1e-7, f"{parameters}"
        matters = matters or float(np.abs(there - Pipeline().law({"do_sample": True, "top_k": 0}, z, tokens)).max()) > 1e-3
    assert matters, f"{name} does nothing there"


@pytest.mark.parametrize("parameters", [{}, {"do_sample": True}, {"do_sample": False, "temperature": 0.3, "top_p": 0.1}])
def test_defaults(parameters: dict[str, Any]) -> None:
    rng = np.random.default_rng(3)
    z, tokens = rows(rng), histories(rng, GENERATED)
    assert np.abs(ours(find("transformers").read(parameters).recipe, z, tokens) - Pipeline().law(parameters, z, tokens)).max() < 1e-9


EXPORTED = [
    *("temperature=0.7 top_k=20 min_p=0.05", "min_p=0.1 temperature=0.6", "top_k=9 temperature=1.6 typical_p=0.7", "greedy", "temperature=0"),
    *("sequence_bias={[1, 2]: 1.5} repetition_penalty=1.3 top_p=0.9", "ban_tokens=[3] min_tokens=9 top_k=1", "repetition_penalty(1.3, scope=prompt)"),
    *("no_repeat_ngram=2 ban_words([[1, 2]], scope=all)", "length_decay(1.1, 3) suppress_at_start=[1, end]", "epsilon_cutoff=0.05 eta_cutoff=0.1"),
]


@pytest.mark.parametrize("recipe", EXPORTED)
def test_what_is_called_exact_is_what_generate_does(recipe: str) -> None:
    wanted = Recipe(recipe).bind(VOCABULARY)
    parameters = wanted.to("transformers").parameters
    rng = np.random.default_rng(11)
    for length in (0, GENERATED):
        z, tokens = rows(rng), histories(rng, length)
        assert np.abs(ours(wanted, z, tokens) - Pipeline().law(parameters, z, tokens)).max() < 1e-7


def test_top_h_is_another_function() -> None:
    """Of eight tokens their running sum of -p ln p keeps 1, 3 and 4, where the entropy of what is kept allows 2, 2 and 4."""
    row = np.full(WIDTH, -np.inf)
    row[:8] = np.log([0.4, 0.2, 0.15, 0.1, 0.07, 0.05, 0.02, 0.01])
    for a, here, there in ((0.4, 2, 1), (0.6, 2, 3), (0.8, 4, 4)):
        law = Pipeline().law({"do_sample": True, "top_k": 0, "top_h": a}, row[None].repeat(2, 0), np.zeros((2, PROMPT), np.int64))
        assert (law[0] > 0).sum() == there
        assert (ours(Recipe(f"top_h={a}"), row[None], np.zeros((1, PROMPT), np.int64)) > 0).sum() == here
    assert "top_h" in find("transformers").read({"do_sample": True, "top_h": 0.4}).notes[0]
