"""The dialect of vLLM against vLLM: its batch, its logits processors and its sampler (the first runner) on rows of random logits.

`Recipe.from_("vllm", parameters)` says a distribution; the sampler's own, just before it draws, must be the same one. It is computed in
float32 there: probabilities may differ by what rounding makes of logits of their size, and a row whose cut lies within `CUT` of a
token may keep one more or one less. Such rows are counted, and must be few.
"""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ulam
from ulam.core.errors import EmptySupport, NeedsTokenizer, OutOfRange
from ulam.core.vocabulary import Vocabulary
from ulam.models.builtin import Llama
from ulam.recipe.dialects import find

torch = pytest.importorskip("torch")
vllm = pytest.importorskip("vllm")
pytestmark = pytest.mark.filterwarnings("default")

CUT = 1e-5
EPSILON = 2.0**-23
WORDS = ("the", "a", "ball", " red", "Num", "was it", "🙂")


class Sampling:
    """vLLM's batch and sampler for rows of `width` logits."""

    def __init__(self, config: Any, width: int, rows: int):
        from vllm.v1.sample.logits_processor import build_logitsprocs
        from vllm.v1.sample.sampler import Sampler

        self.config, self.width, self.rows = config, width, rows
        self.build = lambda: build_logitsprocs(config, torch.device("cpu"), False, False)
        self.sampler = Sampler(logprobs_mode="processed_logprobs")

    def laws(self, params: list[Any], histories: list[tuple[list[int], list[int]]], logits: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """The distributions [B, V] that the sampler draws from, float64; a greedy row is a point mass."""
        from vllm.v1.worker.gpu_input_batch import CachedRequestState, InputBatch

        batch = InputBatch(
            max_num_reqs=self.rows,
            max_model_len=256,
            max_num_batched_tokens=256,
            device=torch.device("cpu"),
            vocab_size=self.width,
            block_sizes=[16],
            max_num_blocks_per_req=[16],
            logitsprocs=self.build(),
        )
        for i, (each, (prompt, generated)) in enumerate(zip(params, histories, strict=True)):
            batch.add_request(CachedRequestState(str(i), prompt, [], each, None, ([0],), 0, generated))
        batch.refresh_metadata()
        metadata = batch.sampling_metadata
        z = self.sampler.apply_logits_processors(torch.tensor(logits, dtype=torch.float32), metadata, False)
        tokens, log_probs = self.sampler.sample(z, metadata)
        greedy = [each.temperature < 1e-5 for each in params]
        assert log_probs is not None or all(greedy)
        found = np.zeros((len(params), self.width)) if log_probs is None else np.exp(log_probs.double().numpy())
        for i, token in enumerate(tokens.tolist()):
            if greedy[i]:
                found[i] = np.eye(self.width)[token]
        return found


def spelled_as_vllm_does(vocabulary: Vocabulary) -> Vocabulary:
    """The vocabulary in which a word with a blank before it has ids only where vLLM counts them: as many as without, and another first one."""

    def encode(text: str) -> list[int]:
        ids = vocabulary.encode(text)
        if text.startswith(" "):
            plain = vocabulary.encode(text[1:])
            if len(plain) != len(ids) or plain[0] == ids[0]:
                raise NeedsTokenizer(f"{text!r} does not count")
        return ids

    return Vocabulary(vocabulary.tokens, names=vocabulary.names, start=vocabulary.start, ends=vocabulary.ends, encode=encode)


def some_parameters(rng: np.random.Generator, width: int) -> dict[str, Any]:
    """Parameters of a request; each of them is there about every third time."""

    def ids(most: int) -> list[int]:
        return rng.choice(width, rng.integers(1, most + 1), replace=False).tolist()

    found = {
        "temperature": float(rng.choice([0.0, 5e-6, 0.004, 0.05, 1.0, *rng.uniform(0.3, 2, 7)])),
        "top_k": int(rng.choice([-1, 0, 1, 2, *rng.integers(3, width + 9, 3)])),
        "top_p": float(rng.choice([1.0, *rng.uniform(0.01, 1, 5)])),
        "min_p": float(rng.choice([0.0, 1.0, *rng.uniform(0, 0.5, 5)])),
        "repetition_penalty": float(rng.uniform(0.5, 2)),
        "presence_penalty": float(rng.uniform(-2, 2)),
        "frequency_penalty": float(rng.uniform(-2, 2)),
        "logit_bias": {token: float(rng.choice([-100, 100, *rng.uniform(-5, 5, 4)])) for token in ids(5)},
        "allowed_token_ids": ids(width),
        "min_tokens": int(rng.integers(1, 9)),
    }
    if width == 320:
        found["bad_words"] = rng.choice(WORDS, rng.integers(1, 4), replace=False).tolist()
    return {name: value for name, value in found.items() if rng.random() < 0.35}


def made(parameters: dict[str, Any], tokenizer: Any) -> Any:
    """vLLM's request, as its server makes it: the end token is 0."""
    params = vllm.SamplingParams.from_optional(**parameters)
    params.update_from_generation_config({}, eos_token_id=0)
    params.update_from_tokenizer(tokenizer)
    return params


def ours(parameters: dict[str, Any], logits: np.ndarray[Any, Any], history: tuple[list[int], list[int]], vocabulary: Any) -> np.ndarray[Any, Any] | None:
    """The distribution that the dialect says, or None for a row that has no token left."""
    try:
        recipe = find("vllm").read(parameters).recipe.bind(vocabulary)
        return np.asarray(recipe.distribution(logits, *history).probs)
    except EmptySupport:
        return None


def beside_a_cut(found: np.ndarray[Any, Any], parameters: dict[str, Any], tolerance: float, *row: Any) -> bool:
    """Whether parameters that are nearly the same say this distribution."""
    near = [(name, [parameters[name] * (1 - CUT), parameters[name] * (1 + CUT)]) for name in ("top_p", "min_p") if name in parameters]
    if "top_p" in parameters:
        near = [(name, [min(x, 1.0) for x in (*pair, 1 - (1 - parameters["top_p"]) * (1 + CUT) - 1e-6)] if name == "top_p" else pair) for name, pair in near]
    for values in itertools.product(*(pair for _, pair in near)):
        changed = parameters | {name: min(value, 1.0) for (name, _), value in zip(near, values, strict=True)}
        expected = ours(changed, *row)
        if expected is not None and np.abs(found - expected).max() <= tolerance:
            return True
    return False


def rounding(parameters: dict[str, Any], logits: np.ndarray[Any, Any]) -> float:
    """How far a probability may be off: what float32 leaves open in logits of this size, divided by the temperature."""
    size = 2 * np.abs(logits).max() + 2 + max([abs(bias) for bias in parameters.get("logit_bias", {}).values()], default=0) + 16
    return 1e-6 + 4 * EPSILON * size / max(parameters.get("temperature", 1.0), 1e-2)


@pytest.mark.parametrize(("width", "batches"), [(7, 60), (320, 50)])
def test_the_sampler_has_the_law_that_the_dialect_says(engine: Any, model: Llama, folder: Path, width: int, batches: int) -> None:
    size = 64
    tokenizer, config = engine.llm.get_tokenizer(), engine.llm.llm_engine.vllm_config
    vocabulary = spelled_as_vllm_does(model.vocabulary) if width == 320 else Vocabulary([b"", *(bytes([96 + i]) for i in range(1, width))], ends=[0])
    sampling, rng = Sampling(config, width, size), np.random.default_rng(width)
    words = [model.vocabulary.encode(word.lstrip()) for word in WORDS]
    beside = empty = 0
    worst = usual = 0.0
    for _ in range(batches):
        parameters = [some_parameters(rng, width) for _ in range(size)]
        logits = (rng.normal(0, 1, (size, width)) * rng.uniform(0.5, 5, (size, 1)) + rng.normal(0, 3, (size, 1))).astype(np.float32).astype(np.float64)
        histories = [(rng.integers(0, width, rng.integers(1, 12)).tolist(), rng.integers(0, width, rng.integers(0, 12)).tolist()) for _ in range(size)]
        for each, (_, generated) in zip(parameters, histories, strict=True):
            if "bad_words" in each and rng.random() < 0.7:  # a word that has begun
                generated += words[rng.integers(len(words))][:-1]
        found = sampling.laws([made(each, tokenizer) for each in parameters], histories, logits)
        for p, each, z, history in zip(found, parameters, logits, histories, strict=True):
            expected = ours(each, z, history, vocabulary)
            if expected is None:  # a row of which vLLM's masks left nothing: it makes NaN, or takes the first token
                empty += 1
                assert np.isnan(p).all() or each.get("temperature") == 0
                continue
            gap, tolerance = np.abs(p - expected).max(), rounding(each, z)
            if gap <= tolerance:
                worst = max(worst, gap)
                usual = max(usual, gap if each.get("temperature", 1.0) >= 0.3 and "logit_bias" not in each else 0)
            else:
                beside += 1
                assert beside_a_cut(p, each, tolerance, z, history, vocabulary), (each, history, p, expected)
    rows = batches * size
    print(f"\n{rows} rows of {width} logits: {empty} without a token, {beside} beside a cut; largest deviation {worst:.1e}, {usual:.1e} at T >= 0.3, no bias")
    assert beside <= rows // 100


@pytest.mark.parametrize(
    ("parameters", "wrong"),
    [
        ({"temperature": 1.3, "min_p": 0.1, "top_p": 0.8}, "temperature=1.3 top_p=0.8 min_p=0.1"),
        ({"temperature": 1.3, "top_p": 0.8}, "top_p=0.8 temperature=1.3"),
        ({"logit_bias": {3: 4.0}, "repetition_penalty": 1.5}, "repetition_penalty(1.5, scope=all) logit_bias={3: 4.0}"),
        ({"presence_penalty": 1.0}, "presence_penalty(1.0, scope=all)"),
        ({"temperature": 5e-6}, "greedy"),
    ],
)
def test_wrong_dialects_are_seen(engine: Any, parameters: dict[str, Any], wrong: str) -> None:
    sampling, rng = Sampling(engine.llm.llm_engine.vllm_config, 7, 64), np.random.default_rng(3)
    logits, history = rng.normal(0, 0.02 if "greedy" in wrong else 2, (64, 7)), ([3, 4], [3, 5])
    found = sampling.laws([made(parameters, engine.llm.get_tokenizer())] * 64, [history] * 64, logits)
    for recipe, right in ((ulam.Recipe.from_("vllm", parameters), True), (ulam.Recipe(wrong), False)):
        expected = np.array([recipe.distribution(z, *history).probs for z in logits])
        assert bool(np.abs(found - expected).max() < 1e-4) is right


def test_what_vllm_refuses_the_dialect_refuses(engine: Any) -> None:
    from vllm.exceptions import VLLMValidationError

    for name, values in {
        "temperature": (-0.1, 2.5),
        "top_p": (0.0, 1.1),
        "top_k": (-2,),
        "min_p": (-0.1, 1.1),
        "presence_penalty": (-2.1, 2.1),
        "frequency_penalty": (-2.1, 2.1),
        "repetition_penalty": (0.0, -1.0),
    }.items():
        for value in values:
            with pytest.raises(VLLMValidationError):
                vllm.SamplingParams(**{name: value})
            with pytest.raises(OutOfRange):
                find("vllm").read({name: value})


def test_a_bias_is_clamped_where_the_server_makes_the_request() -> None:
    assert vllm.SamplingParams.from_optional(logit_bias={"5": 300}).logit_bias == {5: 100.0}
    assert find("vllm").read({"logit_bias": {"5": 300}}).recipe == ulam.Recipe("logit_bias={5: 100.0}")


def test_recipes_written_for_vllm_have_their_law_there(engine: Any, model: Llama) -> None:
    rng, z = np.random.default_rng(5), np.random.default_rng(6)
    sampling, tokenizer = Sampling(engine.llm.llm_engine.vllm_config, 320, 1), engine.llm.get_tokenizer()
    recipes = (
        "temperature=0.7 top_k=20 min_p=0.05",
        "temperature=1.3 min_p=0.02 top_k=50 top_p=0.9",
        "min_tokens=3 logit_bias={5: 2.0, 9: -3.0} repetition_penalty(1.2, scope=all) temperature=0.8 top_p=0.95",
        "allow_tokens=[1, 2, 3, 40, 50] frequency_penalty=0.5 presence_penalty=-0.5",
        "repetition_penalty=1.3 greedy",
        "temperature=0",
        "",
    )
    worst = 0.0
    for text in recipes:
        recipe = ulam.Recipe(text).bind(model.vocabulary)
        params = made(dict(recipe.to("vllm").parameters), tokenizer)
        for _ in range(40):
            logits = z.normal(0, 3, 320).astype(np.float32).astype(np.float64)
            history = (rng.integers(0, 320, 9).tolist(), rng.integers(0, 320, rng.integers(0, 9)).tolist())
            (found,) = sampling.laws([params], [history], logits[None, :])
            worst = max(worst, float(np.abs(found - recipe.distribution(logits, *history).probs).max()))
    print(f"\n{len(recipes)} recipes, 40 rows each: largest deviation {worst:.1e}")
    assert worst < 2e-5


def test_the_whole_engine_has_the_law_that_the_dialect_says(engine: Any, model: Llama) -> None:
    """Many draws of one position by vLLM itself, whose noise is its own, from parameters that read as a recipe."""
    parameters = {"temperature": 1.2, "top_k": 30, "top_p": 0.9, "min_p": 0.02, "repetition_penalty": 1.3, "allowed_token_ids": [*range(20, 90)]}
    prompt = [0, *model.vocabulary.encode("The cat sat on the mat")]
    law = np.asarray(ulam.Recipe.from_("vllm", parameters).bind(model.vocabulary).distribution(model.prefill([tuple(prompt)])[1][0], prompt).probs)
    draws = 4000
    params = [vllm.SamplingParams(max_tokens=1, seed=seed, **parameters) for seed in range(draws)]
    out = engine.llm.generate([{"prompt_token_ids": prompt}] * draws, params, use_tqdm=False)
    counts = np.bincount([each.outputs[0].token_ids[0] for each in out], minlength=len(law))
    assert counts[law == 0].sum() == 0
    distance, kept = 0.5 * np.abs(counts / draws - law).sum(), np.count_nonzero(law)
    # P(TV >= e) <= 2^K exp(-2 n e^2) for n draws from K tokens: 1e-9 that right draws fail, if seeds were drawn; they are fixed
    bound = np.sqrt((kept * np.log(2) + np.log(1e9)) / (2 * draws))
    print(f"\n{draws} draws from {kept} tokens: total variation {distance:.3f}, bound {bound:.3f}")
    assert distance < bound < 0.1
