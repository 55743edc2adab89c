"""A resumable run and a finished model, both without pickles: safetensors and JSON."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from transformers import LlamaForCausalLM

from .corpus import END
from .settings import Settings

RUN = "run"  # the folder inside the output that holds what a resume needs


def save_run(folder: Path, network: LlamaForCausalLM, optimizers: list[torch.optim.Optimizer], state: dict[str, Any]) -> None:
    """Weights, optimizer state and counters; replaces the files in one step each, so a kill leaves the old ones."""
    tensors = {f"network.{name}": value.contiguous() for name, value in network.model.state_dict().items()}
    for number, optimizer in enumerate(optimizers):
        for index, values in optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{number}.{index}.{name}": value.contiguous() for name, value in values.items()}
    run = folder / RUN
    run.mkdir(parents=True, exist_ok=True)
    save_file(tensors, run / "new.safetensors", metadata={"state": json.dumps(state)})
    os.replace(run / "new.safetensors", run / "state.safetensors")


def load_run(folder: Path, network: LlamaForCausalLM, optimizers: list[torch.optim.Optimizer]) -> dict[str, Any]:
    """Put a saved run back into `network` and `optimizers`; returns its counters."""
    from safetensors import safe_open

    path = folder / RUN / "state.safetensors"
    tensors = load_file(path)
    network.model.load_state_dict({name[8:]: value for name, value in tensors.items() if name.startswith("network.")})
    for number, optimizer in enumerate(optimizers):
        state: dict[int, dict[str, torch.Tensor]] = {}
        for name, value in tensors.items():
            if name.startswith(f"optimizer.{number}."):
                _, _, index, field = name.split(".", 3)
                state.setdefault(int(index), {})[field] = value
        optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
    with safe_open(path, "pt") as file:
        return json.loads(file.metadata()["state"])


def save_model(folder: Path, network: LlamaForCausalLM, tokenizer: Tokenizer, settings: Settings) -> None:
    """The model in the ordinary `transformers` format: config.json, tokenizer.json, model.safetensors in float16."""
    folder.mkdir(parents=True, exist_ok=True)
    half = LlamaForCausalLM(network.config)
    half.load_state_dict(network.state_dict())
    half.to(torch.float16).save_pretrained(folder)
    network.config.dtype = torch.float32
    tokenizer.save(str(folder / "tokenizer.json"))
    words = {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": END, "eos_token": END, "clean_up_tokenization_spaces": False, "model_max_length": settings.context}
    (folder / "tokenizer_config.json").write_text(json.dumps(words, indent=2) + "\n")


def save_settings(folder: Path, settings: Settings) -> None:
    (folder / RUN).mkdir(parents=True, exist_ok=True)
    (folder / RUN / "settings.json").write_text(json.dumps(asdict(settings), indent=2) + "\n")
