"""A resumable run and a finished model, both without pickles: safetensors and JSON.

Every file is replaced in one step: the log, then the state, then, if they are the best so far, the weights. So a kill at
any moment leaves a state from which the same steps are taken again, and a whole model: that of the best step of the state,
or the one before it, and then the best weights are those in the state.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from copy import copy
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from tokenizers import Tokenizer
from transformers import LlamaForCausalLM

from ..core.errors import UsageError
from .corpus import END
from .settings import Loss, Progress, Settings

RUN = "run"  # the folder inside the output that holds what a resume needs
PLAN, STATE, LOG = f"{RUN}/settings.json", f"{RUN}/state.safetensors", f"{RUN}/log.jsonl"
WEIGHTS, TOKENIZER = "model.safetensors", "tokenizer.json"


@dataclass(frozen=True)
class Plan:
    """What a run is, fixed at its start: its settings, the hash of its documents, whether Muon moves the matrices."""

    settings: Settings
    text: str
    muon: bool


@dataclass
class State:
    """Where a run stands. `nats` and `counted` sum the training loss and its tokens since the last measurement."""

    step: int = 0
    epoch: int = 0
    batch: int = 0
    tokens: int = 0
    seconds: float = 0.0
    nats: float = 0.0
    counted: int = 0


def replace(path: Path, data: bytes) -> None:
    """Write a file so that its name means the old or the new content at any moment, even after a power cut."""
    new = path.with_name(f"{path.name}.new")
    with new.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    os.replace(new, path)


def as_json(value: object) -> bytes:
    return (json.dumps(value, indent=2) + "\n").encode()


def save_start(folder: Path, network: LlamaForCausalLM, tokenizer: Tokenizer, plan: Plan) -> None:
    """What does not change during a run: the model's configuration and tokenizer, then the plan."""
    (folder / RUN).mkdir(parents=True, exist_ok=True)
    config = copy(network.config)
    config.dtype, config.architectures = torch.float16, [type(network).__name__]
    config.save_pretrained(folder)
    network.generation_config.save_pretrained(folder)
    replace(folder / TOKENIZER, tokenizer.to_str(pretty=True).encode())
    words = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": END,
        "eos_token": END,
        "clean_up_tokenization_spaces": False,
        "model_max_length": plan.settings.context,
    }
    replace(folder / "tokenizer_config.json", as_json(words))
    replace(folder / PLAN, as_json(asdict(plan)))


def load_plan(folder: Path) -> Plan:
    """The plan of the run in `folder`. Raises `UsageError`."""
    try:
        read = json.loads((folder / PLAN).read_bytes())
        return Plan(Settings(**read["settings"]), read["text"], read["muon"])
    except OSError:
        raise UsageError(f"{folder} holds no training run to resume", fix="leave out --resume, or name the folder of the run") from None
    except (ValueError, KeyError, TypeError):
        raise UsageError(f"the run in {folder} was not written by this version and cannot be resumed", fix="train into another folder") from None


@contextmanager
def undamaged(path: Path) -> Iterator[None]:
    """Whatever a broken file makes of reading it is a `UsageError`."""
    try:
        yield
    except (SafetensorError, ValueError, KeyError, TypeError, ArithmeticError, RecursionError):
        raise UsageError(f"{path} is damaged, so the run cannot be resumed", fix="train into another folder") from None


def load_tokenizer(folder: Path) -> Tokenizer:
    return Tokenizer.from_file(str(folder / TOKENIZER))


def save_weights(folder: Path, network: LlamaForCausalLM) -> None:
    """The weights as `transformers` names them, in float16; the output layer is the embedding and is not written twice."""
    tensors = {f"model.{name}": value.to("cpu", torch.float16).contiguous() for name, value in network.model.state_dict().items()}
    replace(folder / WEIGHTS, save(tensors, {"format": "pt"}))


def load_weights(folder: Path, network: LlamaForCausalLM) -> None:
    """Put the saved model into `network`, which keeps its precision."""
    network.model.load_state_dict({name.removeprefix("model."): value for name, value in load_file(folder / WEIGHTS).items()})


def save_state(folder: Path, network: LlamaForCausalLM, optimizers: list[torch.optim.Optimizer], state: State) -> None:
    """Weights, optimizer state and counters in one file."""
    tensors = {f"network.{name}": value.cpu().contiguous() for name, value in network.model.state_dict().items()}
    for number, optimizer in enumerate(optimizers):
        for index, values in optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{number}.{index}.{name}": value.cpu().contiguous() for name, value in values.items()}
    replace(folder / STATE, save(tensors, {"state": json.dumps(asdict(state))}))


def load_state(folder: Path, network: LlamaForCausalLM, optimizers: list[torch.optim.Optimizer]) -> State:
    """Put a saved state back into `network` and `optimizers`; a run that was killed before its first one is at its start. Raises `UsageError`."""
    path = folder / STATE
    if not path.exists():
        return State()
    with undamaged(path):
        tensors = load_file(path)
        network.model.load_state_dict({name.removeprefix("network."): value for name, value in tensors.items() if name.startswith("network.")})
        for number, optimizer in enumerate(optimizers):
            state: dict[int, dict[str, torch.Tensor]] = {}
            for name, value in tensors.items():
                if name.startswith(f"optimizer.{number}."):
                    _, _, index, field = name.split(".", 3)
                    state.setdefault(int(index), {})[field] = value
            optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
        with safe_open(path, "pt") as file:
            return State(**json.loads(file.metadata()["state"]))


def save_log(folder: Path, history: list[Progress]) -> None:
    """One line a report that has a `valid`."""
    replace(folder / LOG, "".join(json.dumps(asdict(report)) + "\n" for report in history).encode())


def load_log(folder: Path, step: int) -> list[Progress]:
    """The reports of steps 0 to `step`, both among them; later ones belong to steps that will be taken again. None of a run without a log at step 0.

    Raises `UsageError`.
    """
    path = folder / LOG
    if not path.exists() and step == 0:
        return []
    with undamaged(path):
        lines = [json.loads(line) for line in path.read_text("utf-8").splitlines()] if path.exists() else []
        history = [Progress(**line | {"valid": Loss(**line["valid"])}) for line in lines if line["step"] <= step]
        losses = [report.valid.per_token for report in history if report.valid]
        if not losses or history[0].step != 0 or history[-1].step != step or not history[losses.index(min(losses))].best:
            raise ValueError
        return history
