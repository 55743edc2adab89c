"""One tiny checkpoint behind every backend at hand: the same logits up to rounding, and with the same dice the same tokens.

Where two backends draw different tokens, the number that the draw read lies within rounding of the border between them: that is
looked at for every such draw, and how many there were is reported with the test (`pytest -rP`). vLLM has the same test in `tests/engines`.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from tests.gguf_tiny import write_gguf
from tests.tiny import TEXT, write_tiny
from ulam.core.arrays import to_numpy
from ulam.core.noise import Address, PhiloxNoise
from ulam.decode import Sample, sample
from ulam.models import load
from ulam.models.protocol import LanguageModel
from ulam.recipe import Recipe

TOLERANCE = {"transformers": 2e-5, "llama_cpp": 2e-4}  # of a logit; logits are up to 5, and all sides round to float32
BORDER = 2e-4  # of a running sum of probabilities, two of which differ by at most twice that of a logit over four
RECIPES = ["", "temperature=0.9 top_k=50 top_p=0.95", "repetition_penalty=1.2 presence_penalty=0.5 temperature=1.3 min_p=0.02", "top_p=0.9 typical_p=0.9"]
SEED = 11


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny(tmp_path_factory.mktemp("across") / "tiny")


@pytest.fixture(scope="module", params=["transformers", "llama_cpp"])
def other(request: pytest.FixtureRequest, folder: Path) -> tuple[str, LanguageModel]:
    if request.param == "transformers":
        return request.param, load(folder, backend="transformers")
    for package in ("llama_cpp", "gguf"):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"{package} is not installed")
    return request.param, load(write_gguf(folder.parent / "tiny.gguf"), threads=1)


def test_the_logits_agree(folder: Path, other: tuple[str, LanguageModel]) -> None:
    name, model = other
    built_in = load(folder, backend="builtin")
    prompts = [[0, *built_in.vocabulary.encode(text)] for text in TEXT]
    ours, theirs = (to_numpy(each.prefill(prompts)[1]) for each in (built_in, model))
    np.testing.assert_allclose(theirs, ours, rtol=0, atol=TOLERANCE[name])
    assert np.ptp(ours) > 2  # rows that say something


def test_one_vocabulary(folder: Path, other: tuple[str, LanguageModel]) -> None:
    built_in = load(folder, backend="builtin").vocabulary
    model = other[1].vocabulary
    assert (model.tokens, model.start, model.ends) == (built_in.tokens, built_in.start, built_in.ends)
    assert [model.encode(text) for text in TEXT] == [built_in.encode(text) for text in TEXT]


@pytest.mark.parametrize("recipe", RECIPES)
def test_the_same_dice_fall_alike(folder: Path, other: tuple[str, LanguageModel], recipe: str) -> None:
    name, model = other
    built_in = load(folder, backend="builtin")
    ours, theirs = (sample(each, list(TEXT), recipe, n=16, max_tokens=12, seed=SEED) for each in (built_in, model))
    drawn = sum(len(each.tokens) for each in ours)
    apart = [(a, b) for a, b in zip(ours, theirs, strict=True) if a.tokens != b.tokens]
    for a, b in apart:
        assert border(built_in, Recipe(recipe), a, b) < BORDER
    assert drawn > 400
    assert len(apart) <= 3, "by chance one in a thousand draws lies that near to a border"
    print(f"{name}, {recipe or 'categorical'}: {len(apart)} of {drawn} draws lay within rounding of a border")


def border(model: LanguageModel, recipe: Recipe, a: Sample, b: Sample) -> float:
    """How far the number that a draw read lies from the border between the two tokens drawn, at the first place where two samples differ."""
    at = next(i for i, pair in enumerate(zip(a.tokens, b.tokens, strict=False)) if pair[0] != pair[1])
    row = model.prefill([[*a.prompt_tokens, *a.tokens[:at]]])[1][0]
    probs = np.asarray(recipe.bind(model.vocabulary).distribution(row, a.prompt_tokens, a.tokens[:at]).probs)
    u = float(PhiloxNoise(SEED).uniform(Address([a.sequence], [at])).values[0])
    low, high = sorted((a.tokens[at], b.tokens[at]))
    edges = np.cumsum(probs)
    return float(min(abs(u - edges[low]), abs(u - (edges[high] - probs[high]))))
