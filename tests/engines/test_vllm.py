"""Recipes inside vLLM, the real engine on a CPU: its tokens are those of `ulam.sample` on NumPy.

The two forward passes round differently. A row whose tokens differ must differ first where NumPy's logits, shifted by normal noise of
deviation `NEAR`, have a law in which the uniform of that draw lies within `NEAR` of a border between two tokens or falls to the
token that vLLM drew (a cut may stand elsewhere there); such rows are counted, and must be few.
"""

from __future__ import annotations

import json
import logging
import tomllib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import ulam
from ulam.core.errors import ContextOverflow, EmptyPrompt, EmptySupport, ModelError, UnknownMethod, UsageError
from ulam.core.noise import Address, PhiloxNoise
from ulam.models.builtin import Llama

torch = pytest.importorskip("torch")
vllm = pytest.importorskip("vllm")
pytestmark = pytest.mark.filterwarnings("default")

NEAR = 2e-5
RECIPES = (
    "",
    "temperature=0.7",
    "temperature=0",
    "temperature=1.3 top_k=20",
    "top_p=0.8",
    "min_p=0.1 temperature=1.5",
    "temperature=1.6 top_k=40 top_p=0.9 min_p=0.02",
    "typical_p=0.7",
    "top_n_sigma=1.5",
    "xtc=0.5 temperature=1.2",
    "skew=1.5",
    "smoothing=0.3",
    "top_h=0.8",
    "dry(0.8, breakers=[]) temperature=0.9",
    "repetition_penalty=1.4 temperature=0.8",
    "repetition_penalty(1.4, window=8, scope=generated) top_p=0.95",
    "presence_penalty=0.7 frequency_penalty=0.3",
    "no_repeat_ngram=2 temperature=0.5",
    "logit_bias={5: 3.0, 17: -100.0} temperature=0.9",
    "ban_tokens=[0, 1, 2, 3] temperature=1.1",
    "min_tokens=30 temperature=1.4",
    "mirostat_v2=3",
    "temperature=0.9 gumbel_max",
    "length_decay(1.02, start=5)",
)
PROMPTS = ("The cat", "One day a small fox found a red ball near the river.")


def differing(found: ulam.Samples, expected: ulam.Samples, model: Llama) -> int:
    """How many samples differ; asserts that each of them may."""
    count = 0
    for a, b in zip(found, expected, strict=True):
        assert (a.prompt, a.prompt_tokens, a.index, a.sequence, a.recipe) == (b.prompt, b.prompt_tokens, b.index, b.sequence, b.recipe)
        if a.tokens == b.tokens:
            assert (a.text, a.finish_reason, a.stopped_by) == (b.text, b.finish_reason, b.stopped_by)
            assert type(a.error) is type(b.error)
            np.testing.assert_allclose(a.model_log_probs, b.model_log_probs, atol=2e-4)
            np.testing.assert_allclose(a.recipe_log_probs, b.recipe_log_probs, atol=2e-3)
        else:
            count += 1
            assert near_a_border(a, b, model, found.seed or 0)
    return count


def near_a_border(a: ulam.Sample, b: ulam.Sample, model: Llama, seed: int) -> bool:
    """Whether the first token that differs was drawn within rounding of a border."""
    place = next(i for i, (x, y) in enumerate(zip(a.tokens, b.tokens, strict=False)) if x != y)
    _, logits = model.prefill([(*a.prompt_tokens, *a.tokens[:place])])
    recipe, u = a.recipe.bind(model.vocabulary), float(PhiloxNoise(seed).uniform(Address(a.sequence, place)))
    for shift in np.random.default_rng(0).normal(0, NEAR, (50, logits.shape[-1])):
        probs = recipe.distribution(logits[0] + shift, a.prompt_tokens, a.tokens[:place]).probs
        edges = np.cumsum(probs)
        if np.abs(edges - u).min() < NEAR or int(np.argmax(edges > u)) == a.tokens[place]:
            return True
    return False


def test_every_recipe_draws_the_tokens_of_numpy(engine: Any, model: Llama) -> None:
    prompts = [prompt for prompt in PROMPTS for _ in RECIPES]
    recipes = list(RECIPES) * len(PROMPTS)
    rows = tokens = different = 0
    worst = [0.0, 0.0]
    for seed in (7, 2**64 - 1):
        found = ulam.sample(engine, prompts, recipes, n=3, max_tokens=48, seed=seed)
        expected = ulam.sample(model, prompts, recipes, n=3, max_tokens=48, seed=seed)
        different += differing(found, expected, model)
        rows += len(found)
        tokens += sum(len(sample.tokens) for sample in found)
        for a, b in zip(found, expected, strict=True):
            if a.tokens == b.tokens:
                gaps = [np.abs(x - y).max() for x, y in ((a.model_log_probs, b.model_log_probs), (a.recipe_log_probs, b.recipe_log_probs))]
                worst = np.maximum(worst, gaps).tolist()
    print(f"\n{rows} rows, {tokens} tokens, {len(RECIPES)} recipes: {different} rows differ within rounding")
    print(f"log-probs of drawn tokens: model {worst[0]:.1e} and recipe {worst[1]:.1e} from NumPy's at most")
    assert different <= rows // 50


def test_a_row_draws_the_same_alone_in_a_batch_and_again(engine: Any) -> None:
    together = ulam.sample(engine, PROMPTS, "temperature=0.9 top_p=0.95", n=4, max_tokens=24, seed=3)
    again = ulam.sample(engine, PROMPTS, "temperature=0.9 top_p=0.95", n=4, max_tokens=24, seed=3)
    alone = ulam.sample(engine, PROMPTS[1], "temperature=0.9 top_p=0.95", n=4, max_tokens=24, seed=3, sequence=1 << 32)
    assert [s.tokens for s in together] == [s.tokens for s in again]
    assert [s.tokens for s in together[4:]] == [s.tokens for s in alone]
    assert len({s.tokens for s in together}) == 8


def test_stop_strings_cut_as_our_loop_cuts(engine: Any, model: Llama) -> None:
    stopped: set[str | None] = set()
    for stop in (["a"], [" ", "th"], ["é", "\n", "on"], ["ing", "e a"]):
        found = ulam.sample(engine, PROMPTS, "temperature=0.9", n=12, max_tokens=40, seed=11, stop=stop)
        assert differing(found, ulam.sample(model, PROMPTS, "temperature=0.9", n=12, max_tokens=40, seed=11, stop=stop), model) <= 1
        stopped |= {sample.stopped_by for sample in found} & {*stop}
        assert not any(word in sample.text for sample in found for word in stop)
    assert len(stopped) > 2


def test_the_end_token_and_both_limits_end_a_row(engine: Any, model: Llama) -> None:
    ended = ulam.sample(engine, PROMPTS, "logit_bias={0: 4.0}", n=8, max_tokens=60, seed=1)
    assert differing(ended, ulam.sample(model, PROMPTS, "logit_bias={0: 4.0}", n=8, max_tokens=60, seed=1), model) <= 1
    assert {"stop", "length"} >= {s.finish_reason for s in ended}
    assert any(s.tokens[-1] == 0 and s.stopped_by == "<|endoftext|>" for s in ended)
    long = [[0, *range(20, 20 + 249)]]
    full = ulam.sample(engine, long, "ban_tokens=[end]", n=2, max_tokens=60, seed=1)
    assert [(len(s.tokens), s.finish_reason) for s in full] == [(6, "length")] * 2
    assert differing(full, ulam.sample(model, long, "ban_tokens=[end]", n=2, max_tokens=60, seed=1), model) == 0
    assert [s.finish_reason for s in ulam.sample(engine, PROMPTS, max_tokens=0)] == ["length", "length"]
    assert [len(s.tokens) for s in ulam.sample(engine, PROMPTS, "ban_tokens=[end]", max_tokens=1)] == [1, 1]


def test_a_row_that_fails_does_so_alone(engine: Any, model: Llama) -> None:
    recipes = ["temperature=0.9", "allow_tokens=[5] no_repeat_ngram=1", "temperature=0.9"]
    prompts = [PROMPTS[0]] * 3
    found = ulam.sample(engine, prompts, recipes, n=2, max_tokens=12, seed=5)
    assert differing(found, ulam.sample(model, prompts, recipes, n=2, max_tokens=12, seed=5), model) == 0
    for sample in found[2:4]:
        assert (sample.finish_reason, sample.tokens) == ("constraint", (5,))
        assert isinstance(sample.error, EmptySupport)
        assert (sample.error.row, sample.error.position) == (sample.index, 1)


def test_wrong_requests_are_refused_before_anything_is_drawn(engine: Any, folder: Path) -> None:
    for arguments, error in (
        (("The cat", "temprature=1"), UnknownMethod),
        (("The cat", "", -1), UsageError),
        (([], ""), UsageError),
        (([[]], ""), EmptyPrompt),
        (([[1] * 256], ""), ContextOverflow),
        (([[320]], ""), UsageError),
    ):
        with pytest.raises(error):
            engine.generate(*arguments)
    with pytest.raises(UsageError):
        ulam.stream(engine, "The cat", noise=PhiloxNoise(7))
    with pytest.raises(UsageError):
        ulam.law(engine, "")
    from ulam.adapters.vllm_engine import open_engine

    with pytest.raises(ModelError):
        open_engine(folder / "no", "no")


def test_a_run_can_be_watched_and_cancelled(engine: Any) -> None:
    run = ulam.stream(engine, PROMPTS, "ban_tokens=[end]", n=2, max_tokens=200, seed=2)
    tokens = 0
    for event in run:
        tokens += hasattr(event, "token")
        if tokens == 10:
            run.cancel()
    assert [s.finish_reason for s in run.samples] == ["cancelled"] * 4
    assert 10 <= sum(len(s.tokens) for s in run.samples) < 60
    assert not engine.llm.llm_engine.has_unfinished_requests()
    assert not __import__("ulam.adapters.vllm_plugin", fromlist=["HELD"]).HELD


# the plugin in an engine that somebody else runs


def requests(engine: Any, prompts: list[tuple[int, ...]], params: list[Any]) -> list[Any]:
    return engine.llm.generate([{"prompt_token_ids": list(ids)} for ids in prompts], params, use_tqdm=False)


def test_requests_with_and_without_recipes_share_a_batch(engine: Any, model: Llama) -> None:
    from vllm import SamplingParams

    from ulam.adapters.vllm_plugin import sampling_params

    ids = [(0, *model.vocabulary.encode(prompt)) for prompt in PROMPTS]
    plain = [SamplingParams(temperature=0.0, max_tokens=7), SamplingParams(temperature=0.9, top_p=0.9, seed=4, max_tokens=25)]
    expected = [out.outputs[0].token_ids for out in requests(engine, ids, plain)]
    asked = [(RECIPES[i], i % 5, 1000 + i, 10 + i % 13, ids[i % 2]) for i in range(24)]
    mixed, prompts = [], []
    for i, (recipe, seed, sequence, length, prompt) in enumerate(asked):
        mixed += [sampling_params(recipe, seed, sequence, max_tokens=length, logprobs=0), plain[i % 2]]
        prompts += [prompt, ids[i % 2]]
    found = requests(engine, prompts, mixed)
    assert all(list(out.outputs[0].token_ids) == list(expected[i % 2]) for i, out in enumerate(found[1::2]))
    different = 0
    for (recipe, seed, sequence, length, prompt), out in zip(asked, found[::2], strict=True):
        (sample,) = ulam.sample(model, [prompt], recipe, seed=seed, sequence=sequence, max_tokens=length)
        different += tuple(out.outputs[0].token_ids) != sample.tokens
        if tuple(out.outputs[0].token_ids) == sample.tokens:  # vLLM's own log-probabilities, of raw logits, are the model's
            shown = [entry[token].logprob for entry, token in zip(out.outputs[0].logprobs, sample.tokens, strict=True)]
            np.testing.assert_allclose(shown, sample.model_log_probs, atol=2e-4)
    assert different <= 1


def test_the_logits_of_vllm_are_those_of_numpy(tight: Any, model: Llama) -> None:
    from vllm import SamplingParams

    prompt = (0, *model.vocabulary.encode(PROMPTS[1]))
    (out,) = requests(tight, [prompt], [SamplingParams(temperature=1.0, seed=1, max_tokens=20, logprobs=-1)])
    worst = 0.0
    for place, shown in enumerate(out.outputs[0].logprobs):
        _, logits = model.prefill([(*prompt, *out.outputs[0].token_ids[:place])])
        expected = ulam.Recipe("").distribution(logits[0]).log_probs
        worst = max(worst, np.abs(np.array([shown[token].logprob for token in range(len(expected))]) - expected).max())
    print(f"\nlog-probs of all {len(expected)} tokens at 20 positions: {worst:.1e} from NumPy's at most")
    assert worst < 2e-4


def test_prompts_read_in_pieces_and_rows_that_had_to_wait(tight: Any, model: Llama) -> None:
    prompts = [[0, *np.random.default_rng(i).integers(1, 320, 100 + i).tolist()] for i in range(6)]
    recipes = [f"{recipe} ban_tokens=[end]" for recipe in ("temperature=0.9", "repetition_penalty=1.2", "no_repeat_ngram=3 top_p=0.9")]
    recipes = [*recipes, "ban_tokens=[end] mirostat_v2=3", "dry(0.8, breakers=[]) ban_tokens=[end]", "ban_tokens=[end] gumbel_max"]
    found = ulam.sample(tight, prompts, recipes, max_tokens=80, seed=9)
    assert differing(found, ulam.sample(model, prompts, recipes, max_tokens=80, seed=9), model) <= 1
    (preempted,) = [metric.value for metric in tight.llm.get_metrics() if metric.name == "vllm:num_preemptions"]
    print(f"\n{preempted:.0f} preemptions")
    assert preempted > 0


def test_a_request_that_fails_ends_with_the_end_token_and_is_logged(engine: Any, model: Llama, caplog: pytest.LogCaptureFixture) -> None:
    from ulam.adapters.vllm_plugin import sampling_params

    prompt = (0, *model.vocabulary.encode("The cat"))
    params = [sampling_params(recipe, 7, max_tokens=9) for recipe in ("allow_tokens=[5] no_repeat_ngram=1", "temperature=0.9", 'ban_tokens=["no token"]')]
    with caplog.at_level(logging.WARNING, "ulam"):
        out = requests(engine, [prompt] * 3, params)
    assert [list(each.outputs[0].token_ids) for each in out[::2]] == [[5, 0], [0]]
    assert [each.outputs[0].finish_reason for each in out[::2]] == ["stop", "stop"]
    (sample,) = ulam.sample(model, [prompt], "temperature=0.9", seed=7, max_tokens=9)
    assert tuple(out[1].outputs[0].token_ids) == sample.tokens
    said = " ".join(record.getMessage() for record in caplog.records)
    assert "no_repeat_ngram left no token" in said
    assert "no token" in said


def test_broken_requests_are_refused_when_they_are_made(engine: Any) -> None:
    from vllm import SamplingParams
    from vllm.exceptions import VLLMValidationError

    words = {"recipe": "temperature=0.9", "seed": 7}
    for extra, fields, said in (
        ({"recipe": "temprature=0.9", "seed": 7}, {}, "Did you mean temperature"),
        ({"recipe": "temperature=0.9"}, {}, "a row needs a seed"),
        ("temperature=0.9", {}, "JSON"),
        (words, {"n": 2}, "n=2"),
        (words, {"logit_bias": {5: 1.0}}, "logit_bias"),
        (words, {"allowed_token_ids": [5]}, "allowed_token_ids"),
        (words, {"bad_words": ["cat"]}, "bad_words"),
        (words, {"min_tokens": 2}, "min_tokens"),
        (words, {"presence_penalty": 0.5}, "presence_penalty"),
        (words, {"repetition_penalty": 1.1}, "repetition_penalty"),
    ):
        with pytest.raises(VLLMValidationError, match=said):
            engine.llm.generate("The cat", SamplingParams(extra_args={"ulam": extra}, **fields), use_tqdm=False)
    out = engine.llm.generate("The cat", SamplingParams(temperature=1.7, top_k=3, max_tokens=4, extra_args={"ulam": json.dumps(words)}), use_tqdm=False)
    again = engine.llm.generate("The cat", SamplingParams(temperature=0.0, max_tokens=4, extra_args={"ulam": words}), use_tqdm=False)
    assert out[0].outputs[0].token_ids == again[0].outputs[0].token_ids


def test_vllm_finds_the_plugin_by_its_entry_point(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from vllm.v1.sample.logits_processor import LOGITSPROCS_GROUP, _load_logitsprocs_plugins
    from vllm.v1.worker.gpu.sample.logits_processor.loader import _load_v2_logitsprocs_plugins

    from ulam.adapters.vllm_plugin import RecipeProcessor

    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    (line,) = project["entry-points"][LOGITSPROCS_GROUP].items()
    about = tmp_path / "ulam_entry-0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: ulam-entry\nVersion: 0\n")
    (about / "entry_points.txt").write_text(f"[{LOGITSPROCS_GROUP}]\n{line[0]} = {line[1]}\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert RecipeProcessor in _load_logitsprocs_plugins()
    assert RecipeProcessor in _load_v2_logitsprocs_plugins()


def test_an_engine_with_the_plugin_twice_does_not_start(engine: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from ulam.adapters import vllm_plugin

    config = SimpleNamespace(speculative_config=None, model_config=SimpleNamespace(logits_processors=[vllm_plugin.PLACE]))
    for found in (False, True):
        monkeypatch.setattr(vllm_plugin, "installed", lambda found=found: found)
        if found:
            with pytest.raises(UsageError, match="twice"):
                vllm_plugin.RecipeProcessor(config, torch.device("cpu"), False)
        else:
            vllm_plugin.RecipeProcessor(config, torch.device("cpu"), False)


# the second runner, whose batch is simulated: it needs a GPU


def test_the_interface_of_the_second_runner_draws_the_same_tokens(engine: Any, model: Llama) -> None:
    from vllm import SamplingParams

    from ulam.adapters.vllm_plugin import RecipeProcessor, sampling_params

    places, width = 9, 256
    states = SimpleNamespace(
        prompt_len=SimpleNamespace(np=np.zeros(places, np.int32)),
        prefill_len=SimpleNamespace(np=np.zeros(places, np.int32)),
        all_token_ids=SimpleNamespace(gpu=torch.zeros((places, width), dtype=torch.int32)),
    )
    processor = RecipeProcessor(engine.llm.llm_engine.vllm_config, states)
    shuffle = np.random.default_rng(0)
    ids = [(0, *model.vocabulary.encode(prompt)) for prompt in PROMPTS]
    texts: dict[int, list[int]] = {}
    read: dict[int, int] = {}
    slots = [4, 0, 7, 2, 8]
    for i, slot in enumerate(slots):
        texts[slot], prompt = list(ids[i % 2]), ids[i % 2]
        states.prompt_len.np[slot] = states.prefill_len.np[slot] = len(prompt)
        states.all_token_ids.gpu[slot, : len(prompt)] = torch.tensor(prompt)
        params = SamplingParams(temperature=0.0) if slot == 7 else sampling_params(RECIPES[9 + i], 7 + i % 2, 40 + i)
        assert processor.add_request(slot, params) is (slot != 7)
        read[slot] = 2  # a prompt is read in pieces
    for _ in range(24):
        now = shuffle.permutation(slots)[: shuffle.integers(1, 6)].tolist()
        lengths = [min(read[slot], len(texts[slot])) for slot in now]
        logits = torch.tensor(np.stack([model.prefill([tuple(texts[slot][:length])])[1][0] for slot, length in zip(now, lengths, strict=True)]))
        context = SimpleNamespace(idx_mapping_np=np.array(now), seq_lens_upper_bound_np=np.array(lengths), expanded_idx_mapping=torch.tensor(now))
        out = processor.apply(logits.float().clone(), context)
        for row, (slot, length) in enumerate(zip(now, lengths, strict=True)):
            read[slot] = length + 5
            if slot == 7 or length < states.prefill_len.np[slot]:
                assert torch.equal(out[row], logits[row].float())
            else:
                assert int(torch.isfinite(out[row]).sum()) == 1
            if length == len(texts[slot]):
                token = int(out[row].argmax())
                states.all_token_ids.gpu[slot, length] = token
                texts[slot].append(token)
    for i, slot in enumerate(slots):
        drawn = texts[slot][len(ids[i % 2]) :]
        assert len(drawn) > 3
        if slot != 7:
            (sample,) = ulam.sample(model, [ids[i % 2]], RECIPES[9 + i], seed=7 + i % 2, sequence=40 + i, max_tokens=len(drawn))
            assert tuple(drawn) == sample.tokens
    assert processor.add_request(4, SamplingParams()) is False


def test_an_engine_that_speculates_fails_its_rows(engine: Any) -> None:
    from ulam.adapters.vllm_plugin import FAILED, RecipeProcessor, sampling_params

    config = SimpleNamespace(speculative_config=object(), model_config=engine.llm.llm_engine.vllm_config.model_config)
    processor = RecipeProcessor(config, SimpleNamespace())
    processor.add_request(3, sampling_params("", 7))
    out = processor.apply(torch.zeros((3, 320)), SimpleNamespace(expanded_idx_mapping=torch.tensor([1, 3, 3])))
    assert torch.equal(out[0], torch.zeros(320))
    assert (out[1:, 0] == FAILED).all()
    assert not torch.isfinite(out[1:, 1:]).any()
