"""Networks of transformers behind the protocol: every kind of cache keeps the rules, logits are the network's own, padding does not leak, forks do not meet."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import ulam
from tests.models.networks import network, tokenizer, wrapped
from tests.tiny import END, SIZE, open_llama, write_tiny
from ulam.core.errors import ContextOverflow, EmptyPrompt, ModelError, UsageError
from ulam.models import load
from ulam.models.transformers import TransformersModel
from ulam.testing import ConformanceError, check_model

CLOSE = 1e-4
PROMPTS = [np.random.default_rng(length).integers(1, SIZE, length).tolist() for length in (1, 3, 9, 14)]


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize("kind", ["llama", "gpt2", "mistral", "gemma2", "bloom"])
def test_every_rule_of_the_protocol(kind: str) -> None:
    report = check_model(wrapped(kind), prompts=[[0], PROMPTS[1]])
    assert report.asserted["batch"]
    assert report.asserted["forks"]


@pytest.mark.parametrize("kind", ["llama", "gpt2", "mistral", "gemma2", "bloom", "opt", "gemma3n_text"])
def test_logits_are_those_of_the_whole_text(kind: str) -> None:
    """Without cache, mask or batch, after every token: of prompts read together, stepped, forked and extended."""
    model = wrapped(kind)
    texts = [(ids * 20)[:20] for ids in PROMPTS]
    with torch.inference_mode():
        whole = [model.network(torch.tensor([text])).logits[0] for text in texts]
    lengths = [len(ids) for ids in PROMPTS]
    state, logits = model.prefill(PROMPTS)
    for row, at in enumerate(lengths):
        assert torch.allclose(logits[row], whole[row][at - 1], atol=CLOSE)
    state = model.select(state, [2, 0, 0, 1])
    rows = [2, 0, 0, 1]
    state, logits = model.step(state, [texts[i][lengths[i]] for i in rows])
    state, more = model.extend(state, [texts[i][lengths[i] + 1 : lengths[i] + 4] for i in rows])
    for place, i in enumerate(rows):
        assert torch.allclose(logits[place], whole[i][lengths[i]], atol=CLOSE)
        assert torch.allclose(more[place], whole[i][lengths[i] + 1 : lengths[i] + 4], atol=CLOSE)


def positions_of_columns(model: TransformersModel, patch: pytest.MonkeyPatch) -> None:
    """positions count from the padding"""
    forward = model.network.forward
    patch.setattr(model.network, "forward", lambda position_ids, **rest: forward(position_ids=None, **rest))


def no_mask(model: TransformersModel, patch: pytest.MonkeyPatch) -> None:
    """the padding is read as text"""
    forward = model.network.forward
    patch.setattr(model.network, "forward", lambda attention_mask=None, **rest: forward(**rest))


def shared_layers(model: TransformersModel, patch: pytest.MonkeyPatch) -> None:
    """forks grow one cache"""
    import copy

    patch.setattr("ulam.models.transformers.copied", lambda cache, rows: copy.copy(cache) if len(rows) == 1 else COPIED(cache, rows))


def stale_mask(model: TransformersModel, patch: pytest.MonkeyPatch) -> None:
    """select keeps the lengths of the rows as they stood"""
    select = model.select

    def wrong(state: Any, rows: Any) -> Any:
        fork = select(state, rows)
        fork.lengths = np.resize(state.lengths, len(fork.lengths))
        return fork

    patch.setattr(model, "select", wrong)


COPIED = ulam.models.transformers.copied


@pytest.mark.parametrize("mutant", [positions_of_columns, no_mask, shared_layers, stale_mask], ids=lambda mutant: mutant.__doc__)
def test_planted_faults_are_seen(mutant: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    model = wrapped("gpt2")
    mutant(model, monkeypatch)
    with pytest.raises(ConformanceError):
        check_model(model, prompts=[[0], PROMPTS[1]])


def test_the_built_in_forward_agrees(tmp_path: Path) -> None:
    """The same directory by both backends: logits, tokens, ids, texts."""
    folder = write_tiny(tmp_path / "tiny", 7)
    here, there = open_llama(folder), load(folder, backend="transformers")
    assert isinstance(there, TransformersModel)
    prompts = [[0, *ids] for ids in PROMPTS]
    _, expected = here.prefill(prompts)
    _, logits = there.prefill(prompts)
    assert np.abs(logits.numpy() - expected).max() < CLOSE
    assert there.vocabulary.tokens == here.vocabulary.tokens
    assert (there.vocabulary.start, there.vocabulary.ends, there.context_limit) == (0, (0,), 256)
    options: dict[str, Any] = {"n": 3, "max_tokens": 24, "seed": 11}
    first, second = (ulam.sample(model, ["The cat", "One day a small fox"], "temperature=0.7 top_p=0.9", **options) for model in (here, there))
    assert [sample.tokens for sample in first] == [sample.tokens for sample in second]
    for one, two in zip(first, second, strict=True):
        assert np.abs(one.model_log_probs - two.model_log_probs).max() < CLOSE


def test_a_row_draws_the_same_alone_and_in_a_batch() -> None:
    model = wrapped("mistral")
    together = ulam.sample(model, PROMPTS[:3], "temperature=0.8", max_tokens=8, seed=5)
    for number, prompt in enumerate(PROMPTS[:3]):
        alone = ulam.sample(model, prompt, "temperature=0.8", max_tokens=8, seed=5, sequence=number << 32)
        assert alone[0].tokens == together[number].tokens


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_types(dtype: torch.dtype) -> None:
    """Logits come in the network's type; log-probabilities are worked out in float32 at least."""
    model = TransformersModel(network("llama").to(dtype), tokenizer())
    _, logits = model.prefill([[0, 5], [0]])
    assert logits.dtype == dtype
    assert not logits.is_inference()
    assert ulam.sample(model, [[0, 5]], max_tokens=4, seed=1)[0].model_log_probs.dtype == np.float64


def test_an_object_in_memory() -> None:
    model = load(network("gpt2"), tokenizer())
    assert isinstance(model, TransformersModel)
    assert model.name == "GPT2LMHeadModel"
    assert repr(model) == f"TransformersModel(GPT2LMHeadModel: GPT2LMHeadModel, {SIZE} tokens, torch.float32 on cpu)"
    assert load(model) is model
    with pytest.raises(UsageError, match="needs its tokenizer"):
        load(network("gpt2"))
    with pytest.raises(UsageError, match="is in training mode"):
        load(network("gpt2").train(), tokenizer())


def test_the_fingerprint_follows_weights_and_tokenizer() -> None:
    first = wrapped("llama").fingerprint
    assert wrapped("llama").fingerprint == first
    assert wrapped("llama", seed=1).fingerprint != first
    other = network("llama")
    with torch.no_grad():
        other.model.layers[1].mlp.up_proj.weight[17, 3] += 1e-6
    assert TransformersModel(other, tokenizer()).fingerprint != first
    more = tokenizer()
    more.add_tokens(["<more>"])
    assert TransformersModel(network("llama", vocab_size=SIZE + 1), more).fingerprint != first


def test_rows_that_the_tokenizer_lacks_can_be_drawn() -> None:
    model = wrapped("gpt2", vocab_size=SIZE + 3)
    _, logits = model.prefill([[0]])
    assert logits.shape == (1, SIZE + 3)
    assert model.vocabulary.show(SIZE + 2) == f"<unused {SIZE + 2}>"
    assert ulam.sample(model, [[0]], f"force_tokens([{SIZE + 1}])", max_tokens=1, seed=0)[0].text == ""
    with pytest.raises(ModelError, match="has 320 tokens with ids up to 319, the model has 300 rows"):
        wrapped("gpt2", vocab_size=300)


def test_refusals() -> None:
    model = wrapped("llama")
    with pytest.raises(EmptyPrompt, match=r"begin with the start token: \[0\]"):
        model.prefill([[1], []])
    with pytest.raises(ContextOverflow, match="a prompt of 25 tokens; llama holds 24"):
        model.prefill([[1] * 25])
    state, _ = model.prefill([[1] * 24])
    with pytest.raises(ContextOverflow, match="a row has 24 tokens and llama holds 24, which leaves no room for 1 more"):
        model.step(state, [1])
    for kind in ("mamba", "qwen3_next"):
        with pytest.raises(ModelError, match=r"(takes no past_key_values|carries a recurrent state).*: its rows cannot be read together"):
            wrapped(kind)
    with pytest.raises(ModelError, match="minimax keeps a MiniMaxCache of a text, which cannot be forked row by row"):
        wrapped("minimax").prefill([[1, 2]])  # states of its own beside the layers, which a fork would share


def test_ids_and_rows_may_be_tensors() -> None:
    model = wrapped("gpt2")
    state, _ = model.prefill(PROMPTS[:2])
    state, logits = model.step(model.select(state, torch.tensor([1, 0])), torch.tensor([4, 5]))
    assert torch.equal(logits, model.step(model.select(model.prefill(PROMPTS[:2])[0], [1, 0]), [4, 5])[1])
    _, more = model.extend(state, torch.tensor([[1, 2], [3, 4]]))
    assert more.shape == (2, 2, SIZE)


def test_no_rows_at_all() -> None:
    model = wrapped("llama")
    state, logits = model.prefill([])
    assert logits.shape == (0, SIZE)
    kept, _ = model.prefill([[0, 1], [2]])
    for empty in (state, model.select(kept, [])):
        _, logits = model.step(empty, [])
        assert logits.shape == (0, SIZE)


def test_start_and_ends() -> None:
    """The start token if the tokenizer puts it; the ends of the generation settings before those of the config."""
    assert wrapped("llama").vocabulary.start == 0
    bare = tokenizer()
    bare.backend_tokenizer.post_processor = None  # type: ignore[assignment]
    made = network("llama")
    made.generation_config.eos_token_id = [0, 7]
    model = TransformersModel(made, bare)
    assert (model.vocabulary.start, model.vocabulary.ends) == (None, (0, 7))
    assert model.vocabulary.names[0] == END
    made.generation_config.eos_token_id = [SIZE]
    with pytest.raises(ModelError, match=f"the end token of .* is {SIZE}, and its ids are 0 to {SIZE - 1}"):
        TransformersModel(made, bare)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_a_device() -> None:
    model = TransformersModel(network("llama").to("cuda"), tokenizer())
    _, logits = model.prefill(PROMPTS)
    assert logits.device.type == "cuda"
    check_model(model, prompts=[[0], PROMPTS[1]], tolerance=1e-2)
