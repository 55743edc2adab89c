"""The same directory in transformers and here: the same ids, the same logits; planted wrong forwards are rejected."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.numpy import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from tests.tiny import SIZE, TEXT, open_llama, save_tensors, tiny_config, tiny_tensors, write_tiny
from ulam.models import builtin
from ulam.models.builtin import Layer, Llama
from ulam.models.checkpoint import Checkpoint

CLOSE = 1e-4  # float32 sums of a few hundred terms, logits of size up to 10; seen: 5e-6
PROMPTS = [np.random.default_rng(length).integers(0, SIZE, length).tolist() for length in (1, 2, 3, 40, 64, 65, 150)]

SHAPES: dict[str, dict[str, Any]] = {
    "tiny": {},
    "a head of its own": {"tie_word_embeddings": False},
    "two queries a key": {"hidden_size": 96, "num_attention_heads": 6, "num_key_value_heads": 3, "head_dim": 16},
    "every query its key": {"num_attention_heads": 4, "num_key_value_heads": 4, "head_dim": 32, "num_hidden_layers": 3},
    "heads wider than the hidden size": {"hidden_size": 64, "num_attention_heads": 4, "num_key_value_heads": 1, "head_dim": 32},
    "another base and eps": {"rope_parameters": {"rope_theta": 500000.0, "rope_type": "default"}, "rms_norm_eps": 0.1},
    "the base at the top": {"rope_parameters": None, "rope_theta": 100.0, "rope_scaling": None},
}


pytestmark = pytest.mark.usefixtures("one_thread")


def reference(folder: Path) -> Callable[[list[int]], NDArray[np.float32]]:
    """Logits [T, V] of transformers after every token of a text."""
    network = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()

    def logits(text: list[int]) -> NDArray[np.float32]:
        with torch.inference_mode():
            return network(torch.tensor([text])).logits[0].numpy()

    return logits


def worst(model: Llama, expected: Callable[[list[int]], NDArray[np.float32]]) -> float:
    """Largest difference of a logit: every prompt prefilled, and one read in parts, beside another, with a fork."""
    found = [np.abs(model.prefill([prompt])[1][0] - expected(prompt)[-1]).max() for prompt in PROMPTS]
    text, mate = PROMPTS[-1][:100], PROMPTS[-2]
    whole, other = expected(text), expected(mate)
    state, logits = model.prefill([text[:50], mate[:10]])
    for t in range(50, 80):
        found += [np.abs(logits[0] - whole[t - 1]).max(), np.abs(logits[1] - other[t - 41]).max()]
        if t == 60:
            state = model.select(state, [1, 0, 0])
            state, logits = model.step(state, [mate[t - 40], text[t], text[t] ^ 1])
            state, logits = model.select(state, [1, 0]), logits[[1, 0]]
        else:
            state, logits = model.step(state, [text[t], mate[t - 40]])
    return float(max(found))


@pytest.mark.parametrize("shape", ["tiny", "a head of its own", "every query its key"])
def test_layer_logits(shape: str, tmp_path: Path) -> None:
    """The hidden states of transformers, through its last norm and its output matrix."""
    folder = write_tiny(tmp_path, 7, **SHAPES[shape])
    network = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    model = open_llama(folder)
    state, _ = model.prefill(PROMPTS)
    found = model.layer_logits(state, range(model.layers))
    for row, prompt in enumerate(PROMPTS):
        with torch.inference_mode():
            hidden = network(torch.tensor([prompt]), output_hidden_states=True).hidden_states
            expected = [network.lm_head(network.model.norm(hidden[layer][0, -1])).numpy() for layer in range(model.layers)]
        assert np.abs(found[:, row] - expected).max() < CLOSE


@pytest.mark.parametrize("shape", SHAPES)
def test_logits(shape: str, tmp_path: Path) -> None:
    folder = write_tiny(tmp_path, 7, **SHAPES[shape])
    expected = reference(folder)
    assert np.ptp(expected(PROMPTS[-1])) > 5  # the network has something to say
    assert worst(open_llama(folder), expected) < CLOSE


@pytest.mark.parametrize("dtype", ["F16", "BF16"])
def test_half_precision_files_are_read_exactly(dtype: str, tmp_path: Path) -> None:
    folder = write_tiny(tmp_path, dtype=dtype)
    assert worst(open_llama(folder), reference(folder)) < CLOSE


def test_a_head_in_the_file_wins_over_a_tie(tmp_path: Path) -> None:
    """transformers does not tie what is there twice and differs; with equal values both readings agree."""
    folder = write_tiny(tmp_path, tie_word_embeddings=False)
    (folder / "config.json").write_text((folder / "config.json").read_text().replace('"tie_word_embeddings": false', '"tie_word_embeddings": true'))
    assert worst(open_llama(folder), reference(folder)) < CLOSE


def test_saved_by_transformers_loads_here(tmp_path: Path) -> None:
    """What `save_pretrained` writes, in its words of today."""
    torch.manual_seed(0)
    network = AutoModelForCausalLM.from_pretrained(write_tiny(tmp_path / "first"), dtype=torch.float32)
    with torch.no_grad():
        for weight in network.parameters():
            weight.mul_(1 + 0.1 * torch.randn_like(weight))
    network.save_pretrained(tmp_path / "second")
    assert "lm_head.weight" not in load_file(tmp_path / "second" / "model.safetensors")  # tied, as config.json says
    (tmp_path / "second" / "tokenizer.json").write_bytes((tmp_path / "first" / "tokenizer.json").read_bytes())
    assert worst(open_llama(tmp_path / "second"), reference(tmp_path / "second")) < CLOSE


@pytest.mark.parametrize("text", [*TEXT, "", " ", "a  b\r\n\tc", "\x00\x7f\xad", "🙂🙂 über", "before<|endoftext|>after"])
def test_ids_and_text(tiny: Llama, tiny_folder: Path, text: str) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny_folder)
    ids = tiny.vocabulary.encode(text)
    assert ids == tokenizer.encode(text, add_special_tokens=False)
    assert [tiny.vocabulary.start, *ids] == tokenizer.encode(text)
    assert tiny.vocabulary.decode(ids) == tokenizer.decode(ids, skip_special_tokens=True)


# ---------------------------------------------------------------------------------------------------------------------
# planted wrong forwards: each runs, gives finite logits, and is another model


def turn_the_other_way(model: Llama, patch: pytest.MonkeyPatch) -> None:
    """rotary positions with the sign of the sine turned"""
    model._angles = -model._angles


def turn_neighbours(model: Llama, patch: pytest.MonkeyPatch) -> None:
    """rotary positions pair numbers 2i and 2i + 1 instead of i and i + D/2"""
    patch.setattr(builtin, "side_by_side", lambda matrix, heads: matrix)
    model.__init__(Checkpoint(Path(model.name), model.name))


def one_position_late(model: Llama, patch: pytest.MonkeyPatch) -> None:
    """a step takes the position of the token before it for its own, so the two stand at one place"""
    forward = Llama._forward
    patch.setattr(
        Llama, "_forward", lambda self, ids, at, longest, cache, hidden: forward(self, ids, at - (len(at) == cache.shape[1]) * (at > 0), longest, cache, hidden)
    )


def last_token_twice(model: Llama, patch: pytest.MonkeyPatch) -> None:
    """the last token of a prompt is read again"""
    prefill = Llama.prefill
    patch.setattr(Llama, "prefill", lambda self, prompts: prefill(self, [[*prompt, prompt[-1]] for prompt in prompts]))


def keys_dealt_round(model: Llama, patch: pytest.MonkeyPatch) -> None:
    """query head h reads key head h mod G instead of h div (H / G)"""
    c = model.config
    order = np.arange(c.heads).reshape(c.heads // c.groups, c.groups).T.ravel()

    def dealt(layer: Layer) -> Layer:
        columns = np.concatenate([(order[:, None] * c.head + np.arange(c.head)).ravel(), np.arange(c.heads * c.head, layer.qkv.shape[1])])
        return layer._replace(qkv=layer.qkv[:, columns], out=layer.out[columns[: c.heads * c.head]])

    model._layers = [dealt(layer) for layer in model._layers]


def gate_and_up_exchanged(model: Llama, patch: pytest.MonkeyPatch) -> None:
    """silu of up times gate"""
    model._layers = [layer._replace(gate_up=np.roll(layer.gate_up, model.config.inner, 1)) for layer in model._layers]


def no_eps(model: Llama, patch: pytest.MonkeyPatch) -> None:
    """the norm without its eps"""
    model._eps = np.float32(0)


def fork_by_reference(model: Llama, patch: pytest.MonkeyPatch) -> None:
    """forks share one cache and overwrite each other"""
    select = Llama.select

    def shared(self: Llama, state: builtin.LlamaState, rows: list[int]) -> builtin.LlamaState:
        copy = select(self, state, rows)
        first = {row: place for place, row in reversed(list(enumerate(rows)))}
        step = Llama.step

        def mixed(self: Llama, state: builtin.LlamaState, tokens: Any) -> Any:
            after, logits = step(self, state, tokens)
            if state is copy:
                for place, row in enumerate(rows):
                    after.cache[:, first[row]] = after.cache[:, place]
            return after, logits

        patch.setattr(Llama, "step", mixed)
        return copy

    patch.setattr(Llama, "select", shared)


MUTANTS = (turn_the_other_way, turn_neighbours, one_position_late, last_token_twice, keys_dealt_round, gate_and_up_exchanged, no_eps, fork_by_reference)


@pytest.fixture(scope="module")
def grouped(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Callable[[list[int]], NDArray[np.float32]]]:
    """Two queries a key, and an embedding so small that eps matters."""
    folder = write_tiny(tmp_path_factory.mktemp("mutants"), 7, **SHAPES["two queries a key"])
    tensors = tiny_tensors(tiny_config(**SHAPES["two queries a key"]), 7)
    tensors["model.embed_tokens.weight"] *= np.float32(0.05)
    tensors["model.norm.weight"] *= np.float32(20)
    save_tensors(folder / "model.safetensors", tensors)
    return folder, reference(folder)


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.__doc__)
def test_planted_wrong_forwards_are_rejected(mutant: Callable[[Llama, pytest.MonkeyPatch], None], grouped: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, expected = grouped
    model = open_llama(folder)
    assert worst(model, expected) < CLOSE
    mutant(model, monkeypatch)
    found = worst(model, expected)
    assert np.isfinite(found)
    assert found > 10 * CLOSE
