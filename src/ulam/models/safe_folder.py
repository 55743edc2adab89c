"""A checkpoint directory of any architecture, looked through before a library opens it: nothing in it may run, lie about its size or point elsewhere.

What is read here is config.json, the index of the weights if they are in several files, the first bytes of every file, and the
headers of the weights. The weights themselves are not.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from ..core.errors import ModelError
from ..core.values import print_value
from .checkpoint import AGAIN, CONFIG, INDEX, JSON_LIMIT, PICKLES, WEIGHTS, Fields, broken, opened, read_proposed, read_small, refuse_pickle

ADAPTER = "adapter_config.json"
READ = (".json", ".safetensors", ".model", ".txt", ".jinja")  # what a library may open, by its suffix
COUNTS, REPEATED = ("layers", "layer"), ("attention_types",)  # names of numbers of layers, and of lists that are repeated for layers
FEW = 256  # layers that are built in a second, whatever the weights have: some numbers of layers are only a bound


@dataclass(frozen=True)
class Folder:
    """What the files of a directory say. `tensors` and `numbers` are how many the weights have."""

    config: dict[str, Any]
    proposed: dict[str, Any]
    tensors: int
    numbers: int


def look_through(folder: Path, name: str) -> Folder:
    """The directory, which errors call `name`. Raises `ModelError` for pickles, for what is missing, broken or cut short, and for an index
    that leads elsewhere.
    """
    if os.path.isfile(folder / ADAPTER):  # transformers would open the other model, wherever it is
        what = f"{name} is an adapter, which changes the weights of another model ({ADAPTER})"
        raise ModelError(what, fix="merge it with that model by merge_and_unload() of peft, and save the whole")
    config = Fields(read_small(folder / CONFIG, f"{name}/{CONFIG}"), f"{name}/{CONFIG}").values
    for path in sorted(folder.iterdir()):
        if path.suffix in READ and os.path.isfile(path):
            refuse_pickle(path, shown(name, path.name))
            if path.suffix != ".safetensors" and (size := os.path.getsize(path)) > JSON_LIMIT:
                raise ModelError(f"{shown(name, path.name)} has {size:,} bytes; at most {JSON_LIMIT:,} are read", fix=AGAIN)
    tensors = numbers = 0
    for file in weight_files(folder, name):
        for size in tensor_sizes(folder / file, shown(name, file)):
            tensors, numbers = tensors + 1, numbers + size
    found = Folder(config, read_proposed(folder, name), tensors, numbers)
    check_layers(found, f"{name}/{CONFIG}")
    return found


def shown(name: str, file: str) -> str:
    return f"{name}/{print_value(file)[1:-1]}"


def weight_files(folder: Path, name: str) -> list[str]:
    """The names of the files with the weights. Raises `ModelError` if there are none, or if the index names something outside the directory."""
    if os.path.isfile(folder / WEIGHTS):
        return [WEIGHTS]
    if not os.path.isfile(folder / INDEX):
        for path in sorted(folder.iterdir()):
            if path.suffix in PICKLES and os.path.isfile(path):
                refuse_pickle(path, shown(name, path.name))
        raise ModelError(f"there is no {name}/{WEIGHTS}", fix=AGAIN)
    index = Fields(read_small(folder / INDEX, f"{name}/{INDEX}"), f"{name}/{INDEX}")
    places = index.values.get("weight_map")
    if not isinstance(places, dict) or not places or not all(isinstance(file, str) for file in places.values()):
        raise ModelError(f"{name}/{INDEX} has no weight_map from tensors to files", fix=AGAIN)
    files = sorted(set(places.values()))
    for file in files:
        if file != os.path.basename(file) or "\\" in file or not file.endswith(".safetensors"):
            raise ModelError(f"{name}/{INDEX} names the file {print_value(file[:80])}, which is no .safetensors file of this directory", fix=AGAIN)
        if not os.path.isfile(folder / file):
            raise ModelError(f"there is no {shown(name, file)}, which {INDEX} names", fix="copy or download it again")
    return files


def tensor_sizes(path: Path, shown: str) -> list[int]:
    """How many numbers every tensor of a file has, from its header, which must add up to the size of the file."""
    with opened(path, shown):
        try:
            with safe_open(path, "numpy") as file:
                return [math.prod(file.get_slice(name).get_shape()) for name in file.keys()]  # noqa: SIM118
        except SafetensorError as error:
            raise broken(shown, error) from None


def check_layers(folder: Folder, shown: str) -> None:
    """Raises `ModelError` for more layers than there are tensors, or more labels and experts than any network has.

    They would be built one by one before anybody looks.
    """
    for name, value in fields_of(folder.config):
        layers = max(folder.tensors, FEW) if name in REPEATED or (name.endswith(COUNTS) and "per_layer" not in name) else None
        most = layers or (2**16 if "expert" in name or name == "num_labels" else None)
        if most is not None and not (found := largest(value)) <= most:
            raise ModelError(f"{shown}: {name} is {str(found)[:20]}, and the weights have {folder.tensors} tensors", fix=AGAIN)


def fields_of(held: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Names and values of an object, and of the objects in it."""
    for name, value in held.items():
        yield name, value
        if isinstance(value, dict):
            yield from fields_of(value)


def largest(value: Any) -> float:
    """The largest number in a value of JSON and in its lists, 0 if there is none."""
    if isinstance(value, list):
        return max(map(largest, value), default=0)
    return value if isinstance(value, (int, float)) else 0
