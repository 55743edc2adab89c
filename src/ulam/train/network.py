"""The network and its optimizers: a plain Llama of `transformers`, Muon on its matrices."""

from __future__ import annotations

import math

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from .settings import Settings


def new_network(settings: Settings, vocabulary: int) -> LlamaForCausalLM:
    """A Llama with tied embeddings; matrices start at 0.02, those that end a residual branch smaller by sqrt(2 layers)."""
    torch.manual_seed(settings.seed)
    network = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=vocabulary,
            hidden_size=settings.hidden,
            intermediate_size=settings.inner,
            num_hidden_layers=settings.layers,
            num_attention_heads=settings.heads,
            num_key_value_heads=settings.kv_heads,
            max_position_embeddings=settings.context,
            rms_norm_eps=1e-5,
            tie_word_embeddings=True,
            bos_token_id=0,
            eos_token_id=0,
            pad_token_id=None,
            attn_implementation="sdpa",
        )
    )
    with torch.no_grad():
        for layer in network.model.layers:
            for last in (layer.self_attn.o_proj, layer.mlp.down_proj):
                last.weight.div_(math.sqrt(2 * settings.layers))
    return network


def add_dropout(network: LlamaForCausalLM, rate: float) -> None:
    """Drop elements of both residual branches while training. Hooks, so that the saved model stays a plain Llama."""

    def hook(module: torch.nn.Module, _inputs: object, output: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.dropout(output, rate, module.training)

    for layer in network.model.layers:
        layer.self_attn.o_proj.register_forward_hook(hook)
        layer.mlp.down_proj.register_forward_hook(hook)


def has_bfloat16(device: torch.device) -> bool:
    """Whether the device multiplies bfloat16 in hardware. Without that it is many times slower than float32."""
    if device.type != "cpu":
        return True
    able = torch.cpu.get_capabilities()
    return bool(able.get("avx512_bf16") or able.get("amx_bf16"))


def optimizers(network: LlamaForCausalLM, settings: Settings, muon: bool) -> list[torch.optim.Optimizer]:
    """Muon (Jordan 2024) on the matrices of the layers, AdamW on embedding and norms.

    Torch's Muon orthogonalises in bfloat16; where that is slow AdamW takes the matrices too.
    """
    matrices = [p for name, p in network.model.named_parameters() if p.ndim == 2 and name.startswith("layers.")]
    norms = [p for p in network.parameters() if p.ndim < 2]
    embedding = network.model.embed_tokens.weight
    small = settings.rate / 4
    groups = [{"params": [embedding], "weight_decay": settings.weight_decay}, {"params": norms, "weight_decay": 0.0}]
    if muon:
        first: list[torch.optim.Optimizer] = [torch.optim.Muon(matrices, lr=settings.rate, weight_decay=settings.weight_decay)]
    else:
        first = []
        groups.append({"params": matrices, "weight_decay": settings.weight_decay, "lr": settings.rate / 7})
    return [*first, torch.optim.AdamW(groups, lr=small, betas=(0.9, 0.95))]


def rate_factor(step: int, settings: Settings) -> float:
    """Straight up over the warm-up, straight down to zero at the end."""
    warm = min(settings.warm_up, settings.steps // 10)
    return min((step + 1) / (warm + 1), (settings.steps - step) / max(1, settings.steps - warm))
