"""The tiny checkpoint of `tests/tiny.py` as a GGUF file, written with the `gguf` package."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from tests.tiny import SIZE, Tensors, tiny_config, tiny_tensors, tiny_tokenizer

NORMAL, UNKNOWN, CONTROL, USER, BYTE = 1, 2, 3, 4, 6  # types of a token
LAYER = {
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
TOP = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output"}

Array = np.ndarray[Any, Any]


def in_pairs(matrix: Array, heads: int) -> Array:
    """Rows d and d + D/2 of every head, which rotary positions turn together, as neighbours: the order of llama.cpp."""
    return matrix.reshape(heads, 2, matrix.shape[0] // heads // 2, -1).swapaxes(1, 2).reshape(matrix.shape)


def gguf_tensors(tensors: Tensors, config: dict[str, Any]) -> Tensors:
    """The tensors of a Llama under their names in GGUF."""
    found: Tensors = {}
    for name, values in tensors.items():
        part = name.removesuffix(".weight")
        if part in TOP:
            found[f"{TOP[part]}.weight"] = values
            continue
        number, _, part = part.removeprefix("model.layers.").partition(".")
        heads = {"self_attn.q_proj": "num_attention_heads", "self_attn.k_proj": "num_key_value_heads"}.get(part)
        found[f"blk.{number}.{LAYER[part]}.weight"] = in_pairs(values, config[heads]) if heads else values
    return found


def byte_level(writer: Any) -> None:
    """The byte-level BPE of `tiny_tokenizer`; its only special token is start and end."""
    description = json.loads(tiny_tokenizer().to_str())
    vocabulary = description["model"]["vocab"]
    special = {token["id"] for token in description["added_tokens"]}
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(sorted(vocabulary, key=vocabulary.__getitem__))
    writer.add_token_types([CONTROL if i in special else NORMAL for i in range(len(vocabulary))])
    writer.add_token_merges([" ".join(pair) for pair in description["model"]["merges"]])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(0)
    writer.add_add_bos_token(True)


PIECES = ("▁", "▁t", "he", "▁the", "▁c", "at", "▁cat", "a", "c", "e", "h", "n", "o", "t")


def sentencepiece(writer: Any) -> None:
    """A SentencePiece BPE with bytes, few pieces, an added token, and a space before every text; ids 1 and 2 are start and end."""
    tokens = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), *PIECES, "<tool>"]
    types = [UNKNOWN, CONTROL, CONTROL, *[BYTE] * 256, *[NORMAL] * len(PIECES), USER]
    fill = SIZE - len(tokens)
    writer.add_tokenizer_model("llama")
    writer.add_token_list([*tokens, *(f"<fill {i}>" for i in range(fill))])
    writer.add_token_types([*types, *[CONTROL] * fill])
    writer.add_token_scores([0.0] * 259 + [float(len(piece)) for piece in PIECES] + [0.0] * (1 + fill))
    writer.add_unk_token_id(0)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)


def write_gguf(path: Path, seed: int = 0, *, tokenizer: Any = byte_level, settings: dict[str, Any] | None = None, split: int = 0, **changes: Any) -> Path:
    """The model that `write_tiny` writes with the same seed and changes, as float32. Returns `path`.

    tokenizer  what adds the tokenizer to the writer: `byte_level`, `sentencepiece`
    settings   more keys of the file, texts and numbers
    split      so many tensors a file, called `x-00001-of-00003.gguf` for `x.gguf`; 0 for one file
    """
    import gguf

    config = tiny_config(**changes)
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = gguf.GGUFWriter(str(path), "llama", split_max_tensors=split)
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_key_length(config["head_dim"])
    writer.add_value_length(config["head_dim"])
    writer.add_rope_dimension_count(config["head_dim"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_rope_freq_base(config["rope_parameters"]["rope_theta"])
    tokenizer(writer)
    for key, value in (settings or {}).items():
        add = {str: writer.add_string, int: writer.add_uint32, float: writer.add_float32}[type(value)]
        add(key, value)
    for name, values in gguf_tensors(tiny_tensors(config, seed), config).items():
        writer.add_tensor(name, values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
