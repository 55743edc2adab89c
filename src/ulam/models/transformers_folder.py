"""A checkpoint directory, or a model on the hub, opened by transformers: safetensors only, no code of the model's unless it is asked for by name."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import transformers
from huggingface_hub import snapshot_download
from huggingface_hub.errors import LocalEntryNotFoundError
from transformers import CONFIG_MAPPING, AutoConfig, AutoModelForCausalLM, AutoTokenizer
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from ..core.errors import ModelError, UlamError, UsageError, did_you_mean
from ..core.values import print_value
from .checkpoint import AGAIN, CONFIG, INDEX, TOKENIZER, WEIGHTS
from .load import HUB_ID, no_model
from .safe_folder import READ, Folder, look_through
from .transformers import TransformersModel

DTYPES = {"auto": "auto", "float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
OFFLINE = ("ULAM_OFFLINE", "HF_HUB_OFFLINE")
ROOM = 4  # times as many numbers as the files hold may the network have: tied and shared ones
MORE = "load it with transformers alone to see more, or save it again"
TOKENS = f"save its tokenizer as {TOKENIZER}, where sentencepiece and tiktoken are installed: AutoTokenizer.from_pretrained(...).save_pretrained(...)"
PACKED = 32  # and if it is quantised, where several stand in one


def open_model(folder: Path, name: str, device: Any = None, dtype: str = "auto", remote_code: bool = False) -> TransformersModel:
    """The causal model in a directory, or on the hub if there is none and `name` is `owner/name`.

    device       "cpu", "cuda:0", or "auto" for all there are; left out: CUDA if there is one, else the CPU
    dtype        float32, bfloat16, float16; auto: what the files have
    remote_code  run the Python files of the model, which can do whatever you can do

    Raises `ModelError` for everything that cannot be loaded safely, before it is loaded; `UsageError` for a device or a type
    that there is not.
    """
    if str(dtype).removeprefix("torch.") not in DTYPES:
        raise UsageError(f"unknown dtype {dtype}.{did_you_mean(str(dtype), DTYPES)}", fix=f"dtype: {', '.join(DTYPES)}")
    where = place(device)
    if not os.path.isdir(folder):
        if not HUB_ID.fullmatch(name) or os.path.exists(folder):
            raise no_model(name, folder)
        folder = from_hub(name, remote_code)
    held = look_through(folder, name)
    check_code(held, name, remote_code)
    options: dict[str, Any] = {"trust_remote_code": remote_code, "local_files_only": True}
    with quiet():
        config = told(f"{name}/{CONFIG}", lambda: AutoConfig.from_pretrained(folder, **options))
        check_size(config, held, name, remote_code)
        kind = DTYPES[str(dtype).removeprefix("torch.")]
        network, report = told(
            name,
            lambda: AutoModelForCausalLM.from_pretrained(
                folder, config=config, dtype=kind, device_map=where, use_safetensors=True, ignore_mismatched_sizes=True, output_loading_info=True, **options
            ),
        )
        for missing in sorted(report["missing_keys"]):
            raise ModelError(f"the weights of {name} have no tensor {print_value(missing)}", fix=AGAIN)
        for misshapen, found, wanted in report["mismatched_keys"]:
            what = f"the tensor {print_value(misshapen)} of {name} has the shape {list(found)}, config.json says {list(wanted)}"
            raise ModelError(what, fix=AGAIN)
        tokenizer = told(f"the tokenizer of {name}", lambda: AutoTokenizer.from_pretrained(folder, **options), TOKENS if no_tokenizer(folder) else MORE)
    return TransformersModel(network.eval(), tokenizer, name, held.proposed, notes=ignored(report["unexpected_keys"]))


def no_tokenizer(folder: Path) -> bool:
    return not os.path.isfile(folder / TOKENIZER)


def ignored(names: Collection[str]) -> list[str]:
    """A note of tensors that transformers has no place for: of another part of a larger model, or of layers that config.json leaves out."""
    some = f"{print_value(min(names)[:80])}{' and others' if len(names) > 1 else ''}" if names else ""
    return [f"{len(names)} of the tensors in its files are not used: {some}"] if names else []


def wrap(model: Any, tokenizer: Any) -> TransformersModel:
    """A model of transformers that is in memory already, with its tokenizer. Raises as `TransformersModel`; `UsageError` without a tokenizer."""
    if tokenizer is None:
        raise UsageError("a model of transformers needs its tokenizer", fix="ulam.load(model, AutoTokenizer.from_pretrained(...))")
    return TransformersModel(model, tokenizer)


def place(device: Any) -> Any:
    """The device, if there is one. Raises `UsageError`."""
    if device == "auto":
        return device
    chosen = ("cuda" if torch.cuda.is_available() else "cpu") if device is None else device
    try:
        torch.zeros(1, device=chosen)
    except (RuntimeError, AssertionError, TypeError) as error:
        raise UsageError(f"device {print_value(str(chosen))}: {line(error)}", fix='device="cpu"') from None
    return chosen


def from_hub(name: str, remote_code: bool) -> Path:
    """The directory of `owner/name` in the local cache; it is downloaded if it is not there, and if that is not forbidden. Raises `ModelError`."""
    what: dict[str, Any] = {"allow_patterns": [f"*{suffix}" for suffix in (*READ, *([".py"] if remote_code else []))], "ignore_patterns": ["*/*"]}
    try:
        folder = Path(snapshot_download(name, local_files_only=True, **what))
        if os.path.isfile(folder / CONFIG) and (os.path.isfile(folder / WEIGHTS) or os.path.isfile(folder / INDEX)):
            return folder
    except (LocalEntryNotFoundError, OSError, ValueError):
        pass
    forbidden = next((each for each in OFFLINE if os.environ.get(each, "") not in ("", "0")), None)
    if forbidden:
        raise ModelError(f"{name} is no directory and is not in the local cache, and {forbidden} forbids to download it", fix=f"unset {forbidden}, or a path")
    try:
        return Path(snapshot_download(name, **what))
    except Exception as error:  # of several libraries
        what_went_wrong = f"{name} is no directory, is not in the local cache, and cannot be downloaded: {line(error)}"
        raise ModelError(what_went_wrong, fix="check the name and the network, or give a path") from None


def check_code(held: Folder, name: str, remote_code: bool) -> None:
    """Raises `ModelError` for a model that transformers does not know, and for code that was not asked for."""
    kind = held.config.get("model_type")
    known = isinstance(kind, str) and kind in CONFIG_MAPPING
    code = held.config.get("auto_map")
    if code and not known and not remote_code:
        raise ModelError(f"{name} brings Python files of its own, which nothing runs unless you ask for it", fix="read them, then: remote_code=True")
    if not known and not code:
        fix = "a newer transformers, or another checkpoint"
        raise ModelError(f"{name}/{CONFIG}: transformers {transformers.__version__} has no model_type {print_value(str(kind)[:80])}", fix=fix)
    if known and kind not in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES and not (code and remote_code):
        raise ModelError(f"{name} is a {kind}, which transformers has no causal language model for", fix="a checkpoint of a causal language model")


def check_size(config: Any, held: Folder, name: str, remote_code: bool) -> None:
    """Raises `ModelError` for a config.json that describes a network much larger than the weights, before memory is taken for it."""

    def numbers() -> int:
        with torch.device("meta"):
            network = AutoModelForCausalLM.from_config(config, trust_remote_code=remote_code)
        return sum(tensor.numel() for tensor in (*network.parameters(), *network.buffers()))

    wanted = told(f"{name}/{CONFIG}", numbers)
    if wanted > 2**20 + held.numbers * (PACKED if "quantization_config" in held.config else ROOM):
        raise ModelError(f"{name}/{CONFIG} describes a network of {wanted:,} numbers, and the weights have {held.numbers:,}", fix=AGAIN)


def told(what: str, call: Callable[[], Any], fix: str = MORE) -> Any:
    """What `call` returns; whatever it raises becomes a `ModelError` of one line."""
    try:
        return call()
    except (UlamError, KeyboardInterrupt, torch.OutOfMemoryError):
        raise
    except Exception as error:  # of transformers, and of all that it calls
        raise ModelError(f"{what} cannot be loaded: {line(error)}", fix=fix) from None


def line(error: BaseException) -> str:
    """The first line of an error, and the next if it only announces that, fit for a terminal."""
    lines = [each.strip() for each in str(error).splitlines() if each.strip()] or [""]
    text = " ".join(lines[:2]) if lines[0].endswith(":") else lines[0]
    return print_value((f"{type(error).__name__} {text}".strip() if isinstance(error, KeyError) or not text else text)[:200])[1:-1]


@contextmanager
def quiet() -> Iterator[None]:
    """Without the progress bars and the load reports of transformers."""
    logs, hub = transformers.utils.logging, transformers.utils.logging.get_verbosity()
    shown = logs.is_progress_bar_enabled()
    logs.set_verbosity_error()
    logs.disable_progress_bar()
    try:
        yield
    finally:
        logs.set_verbosity(hub)
        if shown:
            logs.enable_progress_bar()
