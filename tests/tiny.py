"""A tiny checkpoint for tests: random weights in the ordinary format, written without torch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

from ulam.models import load
from ulam.models.builtin import Llama

END = "<|endoftext|>"
TEXT = (
    "The cat sat on the mat, and the dog sat on the log. It was a warm day in the garden; nobody was in a hurry.",
    "One day a small fox found a red ball near the river. The ball was not hers, so she asked the otter whose it was.",
    "Numbers 0 1 2 3 4 5 6 7 8 9, tabs\tand\nnew lines, and other letters: naïve, Größe, 日本語, 🙂.",
)
SIZE = 320  # 256 bytes, the end token, 63 merges

Tensors = dict[str, np.ndarray[Any, Any]]


def tiny_tokenizer() -> Tokenizer:
    """Byte-level BPE of `SIZE` tokens; id 0 is start and end."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=SIZE, special_tokens=[END], initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False)
    tokenizer.train_from_iterator(TEXT * 3, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(single=f"{END} $A", special_tokens=[(END, 0)])
    return tokenizer


def tiny_config(**changes: Any) -> dict[str, Any]:
    """config.json as transformers writes it: 2 layers, hidden 128, two heads of 64 that share one key-value head."""
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": SIZE,
        "hidden_size": 128,
        "intermediate_size": 192,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "head_dim": 64,
        "hidden_act": "silu",
        "max_position_embeddings": 256,
        "rms_norm_eps": 1e-5,
        "rope_parameters": {"rope_theta": 10000.0, "rope_type": "default"},
        "attention_bias": False,
        "mlp_bias": False,
        "tie_word_embeddings": True,
        "bos_token_id": 0,
        "eos_token_id": 0,
        "dtype": "float32",
    }
    return config | changes


def tiny_tensors(config: dict[str, Any], seed: int = 0) -> Tensors:
    """Weights large enough that attention and logits have some spread."""
    draw = np.random.default_rng(seed)
    hidden, inner, head = config["hidden_size"], config["intermediate_size"], config["head_dim"]
    queries, keys = config["num_attention_heads"] * head, config["num_key_value_heads"] * head

    def matrix(rows: int, columns: int) -> np.ndarray[Any, Any]:
        return (draw.standard_normal((rows, columns)) * 1.5 / columns**0.5).astype(np.float32)

    def norm() -> np.ndarray[Any, Any]:
        return draw.uniform(0.5, 1.5, hidden).astype(np.float32)

    tensors = {"model.embed_tokens.weight": matrix(config["vocab_size"], hidden), "model.norm.weight": norm()}
    for number in range(config["num_hidden_layers"]):
        here = f"model.layers.{number}."
        tensors |= {
            here + "input_layernorm.weight": norm(),
            here + "self_attn.q_proj.weight": matrix(queries, hidden),
            here + "self_attn.k_proj.weight": matrix(keys, hidden),
            here + "self_attn.v_proj.weight": matrix(keys, hidden),
            here + "self_attn.o_proj.weight": matrix(hidden, queries),
            here + "post_attention_layernorm.weight": norm(),
            here + "mlp.gate_proj.weight": matrix(inner, hidden),
            here + "mlp.up_proj.weight": matrix(inner, hidden),
            here + "mlp.down_proj.weight": matrix(hidden, inner),
        }
    if not config["tie_word_embeddings"]:
        tensors["lm_head.weight"] = matrix(config["vocab_size"], hidden)
    return tensors


def save_tensors(path: Path, tensors: Tensors, dtype: str = "F32") -> None:
    """A safetensors file, written by hand: length of the header, header, numbers. `dtype` F32, F16 or BF16 (a float32 cut to its upper half)."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    data = b""
    for name, values in tensors.items():
        if dtype == "BF16":
            values = (values.view(np.uint32) >> 16).astype("<u2")
        raw = values.astype({"F32": "<f4", "F16": "<f2", "BF16": "<u2"}[dtype]).tobytes()
        header[name] = {"dtype": dtype, "shape": list(values.shape), "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)


def write_tiny(folder: Path, seed: int = 0, *, dtype: str = "F32", **changes: Any) -> Path:
    """A checkpoint that ulam and transformers load alike; `changes` go into config.json. Returns `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    config = tiny_config(**changes)
    (folder / "config.json").write_text(json.dumps(config))
    save_tensors(folder / "model.safetensors", tiny_tensors(config, seed), dtype)
    tiny_tokenizer().save(str(folder / "tokenizer.json"))
    words = {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": END, "eos_token": END, "clean_up_tokenization_spaces": False}
    (folder / "tokenizer_config.json").write_text(json.dumps(words))
    return folder


def open_llama(folder: Path) -> Llama:
    """The model in a checkpoint directory."""
    model = load(folder)
    assert isinstance(model, Llama)
    return model
