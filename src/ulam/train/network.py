"""The network and its optimizers: a plain Llama of `transformers`, Muon on its matrices."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from .settings import Settings


def new_network(settings: Settings, vocabulary: int) -> LlamaForCausalLM:
    """A Llama with tied embeddings; matrices start at 0.02, those that end a residual branch smaller by sqrt(2 layers)."""
    config = LlamaConfig(
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
        attn_implementation="sdpa",  # type: ignore[call-arg]
    )
    with torch.random.fork_rng(devices=[]), torch.no_grad():  # the caller's random state is not ours
        torch.default_generator.manual_seed(settings.seed)
        network = LlamaForCausalLM(config)
        for last in branch_ends(network):
            last.weight.div_(math.sqrt(2 * settings.layers))
    return network


def branch_ends(network: LlamaForCausalLM) -> list[torch.nn.Linear]:
    """The matrices that end the two residual branches of every layer."""
    layers: list[Any] = list(network.model.layers)
    return [last for layer in layers for last in (layer.self_attn.o_proj, layer.mlp.down_proj)]


def add_dropout(network: LlamaForCausalLM, rate: float, generator: torch.Generator) -> None:
    """Drop elements of both residual branches while training. Hooks, so that the saved model stays a plain Llama."""

    def hook(module: torch.nn.Module, _inputs: object, output: torch.Tensor) -> torch.Tensor:
        if not module.training:
            return output
        return output * torch.empty_like(output).bernoulli_(1 - rate, generator=generator) / (1 - rate)

    for last in branch_ends(network):
        last.register_forward_hook(hook)


def step_seed(seed: int, step: int) -> int:
    """The seed of the dropout of one step, 64 bits: the same however often the run was interrupted."""
    return int(np.random.SeedSequence([seed, step]).generate_state(1, np.uint64)[0])


def has_bfloat16(device: torch.device) -> bool:
    """Whether the device multiplies bfloat16 in hardware. Without that it is many times slower than float32."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    known = getattr(torch.cpu, "get_capabilities", dict)()  # torch before 2.11 does not say
    return device.type == "cpu" and bool(known.get("avx512_bf16") or known.get("amx_bf16"))


def optimizers(network: LlamaForCausalLM, settings: Settings, muon: bool) -> list[torch.optim.Optimizer]:
    """Muon (Jordan 2024, "Muon: an optimizer for hidden layers in neural networks") on the matrices of the layers,
    AdamW (Loshchilov and Hutter 2019, arXiv 1711.05101) on embedding and norms.

    Torch's Muon orthogonalises in bfloat16; where that is slow AdamW takes the matrices too.
    """
    matrices = [p for name, p in network.model.named_parameters() if p.ndim == 2 and name.startswith("layers.")]
    norms = [p for p in network.parameters() if p.ndim < 2]
    embedding = network.model.embed_tokens.weight
    groups = [{"params": [embedding], "weight_decay": settings.weight_decay}, {"params": norms, "weight_decay": 0.0}]
    if not muon:
        groups.append({"params": matrices, "weight_decay": settings.weight_decay, "lr": settings.rate / 7})
    adamw = torch.optim.AdamW(groups, lr=settings.rate / 4, betas=(0.9, 0.95))
    both: list[torch.optim.Optimizer] = [torch.optim.Muon(matrices, lr=settings.rate, weight_decay=settings.weight_decay), adamw] if muon else [adamw]
    for optimizer in both:
        for group in optimizer.param_groups:
            group["initial_lr"] = group["lr"]
    return both


def rate_factor(step: int, settings: Settings) -> float:
    """Straight up over the warm-up, straight down to zero at the end."""
    warm = min(settings.warm_up, settings.steps // 10)
    return min((step + 1) / (warm + 1), (settings.steps - step) / max(1, settings.steps - warm))
