"""Tiny networks of transformers with random weights, made here: one a kind of cache."""

from __future__ import annotations

from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerFast

from tests.tiny import END, SIZE, tiny_tokenizer
from ulam.models.transformers import TransformersModel

SMALL = {"vocab_size": SIZE, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2}
SMALL |= {"num_key_value_heads": 1, "head_dim": 16, "max_position_embeddings": 24, "bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 0}

NETWORKS: dict[str, dict[str, Any]] = {
    "llama": SMALL,
    "gpt2": {"vocab_size": SIZE, "n_embd": 32, "n_layer": 2, "n_head": 2, "n_positions": 24, "bos_token_id": 0, "eos_token_id": 0},
    "mistral": SMALL | {"sliding_window": 5},
    "gemma2": SMALL | {"sliding_window": 5, "query_pre_attn_scalar": 16},  # every other layer has a window
    "bloom": {"vocab_size": SIZE, "hidden_size": 32, "n_layer": 2, "n_head": 2, "bos_token_id": 0, "eos_token_id": 0},  # no position ids
    "opt": {"vocab_size": SIZE, "hidden_size": 32, "ffn_dim": 48, "num_hidden_layers": 2, "num_attention_heads": 2, "word_embed_proj_dim": 32}
    | {"max_position_embeddings": 24, "bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 1},  # positions that begin at 2
    "gemma3n_text": SMALL
    | {"num_hidden_layers": 3, "num_kv_shared_layers": 1, "layer_types": ["full_attention"] * 3, "intermediate_size": [48] * 3, "laurel_rank": 4}
    | {"vocab_size_per_layer_input": SIZE, "hidden_size_per_layer_input": 8, "altup_num_inputs": 2, "activation_sparsity_pattern": [0.0] * 3},  # a shared cache
    "qwen3_next": SMALL | {"layer_types": ["linear_attention", "full_attention"], "linear_num_value_heads": 2, "linear_num_key_heads": 2},  # half recurrent
    "minimax": SMALL | {"num_local_experts": 2, "layer_types": ["linear_attention", "full_attention"]},  # half of its cache is beside the layers
    "mamba": {"vocab_size": SIZE, "hidden_size": 32, "num_hidden_layers": 2, "bos_token_id": 0, "eos_token_id": 0},  # a recurrent state
}


def network(kind: str, seed: int = 0, **changes: Any) -> Any:
    """A network in evaluation mode whose logits have some spread."""
    torch.manual_seed(seed)
    made = AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, **NETWORKS[kind] | changes), dtype=torch.float32).eval()
    with torch.no_grad():
        for weight in made.parameters():
            if weight.ndim == 2:
                weight.normal_(0, 1.5 / weight.shape[1] ** 0.5)
    return made


def tokenizer() -> PreTrainedTokenizerFast:
    return PreTrainedTokenizerFast(tokenizer_object=tiny_tokenizer(), bos_token=END, eos_token=END, pad_token=END, padding_side="left")


def wrapped(kind: str, seed: int = 0, **changes: Any) -> TransformersModel:
    return TransformersModel(network(kind, seed, **changes), tokenizer(), kind)
