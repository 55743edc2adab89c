"""A checkpoint directory of the Llama architecture, read without trusting it.

    config.json         the numbers of the network
    model.safetensors   its weights: float32, float16 or bfloat16
    tokenizer.json      byte-level BPE

Nothing in these files is run: no pickle is opened, under any name. Whatever is missing, broken, of another kind or not
supported is a `ModelError` of one sentence. Files are named as the caller named the directory; what stands in them is
quoted with escapes, for it may be meant for a terminal.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, deserialize, safe_open

from ..core.errors import ModelError
from ..core.values import print_value
from ..core.vocabulary import Vocabulary

CONFIG, WEIGHTS, TOKENIZER = "config.json", "model.safetensors", "tokenizer.json"
INDEX, GENERATION = f"{WEIGHTS}.index.json", "generation_config.json"
PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")
READS = "this version of ulam reads checkpoint directories and GGUF files"
PLAIN = "use a plain Llama checkpoint"
AGAIN = "save the model again with save_pretrained"
JSON_LIMIT = 2**28  # bytes; the largest tokenizers take a tenth of it
SMALL = 2**30  # bytes of weights, beyond which the built-in forward keeps the reader waiting


def is_pickle(head: bytes) -> bool:
    """Whether a file that begins with `head` is a pickle, bare (protocol 2 to 5) or in the zip archive of `torch.save`.

    A safetensors file whose header is 640 bytes long begins like a pickle; its ninth byte tells.
    """
    return head[:4] == b"PK\x03\x04" or (head[:1] == b"\x80" and head[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05") and head[8:9] != b"{")


@contextmanager
def opened(path: Path, shown: str) -> Iterator[tuple[BinaryIO, int]]:
    """A file that is no pickle, at its start, and its size in bytes. Raises `ModelError`."""
    if not os.path.isfile(path):
        raise ModelError(f"there is no {shown}", fix=f"a checkpoint directory has {CONFIG}, {WEIGHTS} and {TOKENIZER}")
    try:
        with path.open("rb") as file:
            if is_pickle(file.read(16)):
                raise ModelError(
                    f"{shown} is a pickle, which can run code when opened; ulam reads safetensors only",
                    fix="convert it once, in an environment you trust, with save_pretrained of transformers",
                )
            file.seek(0)
            yield file, os.fstat(file.fileno()).st_size
    except OSError as error:
        raise ModelError(f"{shown} cannot be read: {error.strerror}", fix="check its permissions") from None


def read_small(path: Path, shown: str) -> bytes:
    """A file of settings or of a tokenizer, whole. Raises `ModelError` if it is missing, a pickle or too large."""
    with opened(path, shown) as (file, size):
        if size > JSON_LIMIT:
            raise ModelError(f"{shown} has {size:,} bytes; at most {JSON_LIMIT:,} are read", fix=AGAIN)
        return file.read(size)


def read_proposed(folder: Path, name: str) -> dict[str, Any]:
    """The fields of generation_config.json, which proposes how to draw from the model; none if there is none. Raises `ModelError`."""
    shown = f"{name}/{GENERATION}"
    return Fields(read_small(folder / GENERATION, shown), shown).values if os.path.isfile(folder / GENERATION) else {}


def refuse_pickle(path: Path, shown: str) -> None:
    """Raises `ModelError` for a pickle, and for a file that cannot be read."""
    with opened(path, shown):
        pass


def broken(shown: str, error: SafetensorError) -> ModelError:
    return ModelError(f"{shown} is broken or cut short: {print_value(str(error).splitlines()[0])}", fix="copy or download it again")


@dataclass(frozen=True)
class Config:
    """The numbers of config.json that decide the forward."""

    vocabulary: int
    hidden: int
    inner: int
    layers: int
    heads: int
    groups: int  # key-value heads
    head: int  # size of one head
    context: int
    eps: float
    theta: float
    tied: bool  # the embedding is the output layer too
    start: int | None
    ends: tuple[int, ...]


class Fields:
    """The object of a config.json, each field checked when it is asked for."""

    def __init__(self, raw: bytes, shown: str):
        try:
            self.values = json.loads(raw)
        except (ValueError, RecursionError):
            raise ModelError(f"{shown} is not JSON", fix=AGAIN) from None
        if not isinstance(self.values, dict):
            raise ModelError(f"{shown} is not a JSON object", fix=AGAIN)
        self.shown = shown

    def wrong(self, name: str, value: Any, wanted: str) -> ModelError:
        return ModelError(f"{self.shown}: {name} is {json.dumps(value)[:80]}, expected {wanted}", fix=PLAIN)

    def whole(self, name: str, default: int | None = None) -> int:
        value = self.values.get(name)
        value = default if value is None else value
        if type(value) is not int or not 1 <= value < 2**63:
            raise self.wrong(name, value, "a whole number from 1 to 2^63 - 1")
        return value

    def number(self, name: str, value: Any, least: float, most: float) -> float:
        if type(value) not in (int, float) or not least <= value <= most:
            raise self.wrong(name, value, f"a number from {least:g} to {most:g}")
        return float(value)

    def flag(self, name: str) -> bool:
        """A field that is false if it is left out."""
        value = self.values.get(name)
        if not (value is None or isinstance(value, bool)):
            raise self.wrong(name, value, "true or false")
        return bool(value)

    def only(self, name: str, *allowed: Any) -> None:
        """A field that may be left out, or have one of these values."""
        if name in self.values and self.values[name] not in allowed:
            raise self.wrong(name, self.values[name], f"{json.dumps(allowed[0])}, the only one supported")

    def theta(self) -> float:
        """The base of the rotary frequencies, in `rope_parameters` since transformers 5. Scaled frequencies are refused by name."""
        rope: dict[str, Any] = {}
        for name in ("rope_parameters", "rope_scaling"):
            held = self.values.get(name)
            if held is None:
                continue
            if not isinstance(held, dict):
                raise self.wrong(name, held, "an object")
            kind = held.get("rope_type", held.get("type", "default"))
            if kind != "default":
                raise self.wrong(f"rope_type of {name}", kind, '"default", the only one supported')
            rope |= held
        if rope.get("partial_rotary_factor", 1) != 1:
            raise self.wrong("partial_rotary_factor", rope["partial_rotary_factor"], "1, the only one supported")
        return self.number("rope_theta", rope.get("rope_theta", self.values.get("rope_theta", 10000.0)), 1, 1e12)

    def tokens(self, name: str, size: int) -> tuple[int, ...]:
        """Token ids: none, one or a list."""
        value = self.values.get(name)
        ids = value if isinstance(value, list) else [] if value is None else [value]
        if not all(type(i) is int and 0 <= i < size for i in ids):
            raise self.wrong(name, value, f"token ids from 0 to {size - 1}")
        return tuple(ids)


def read_config(raw: bytes, shown: str) -> Config:
    """The config of a Llama. Raises `ModelError` for another architecture, a missing number or an unsupported feature."""
    fields = Fields(raw, shown)
    architectures = fields.values.get("architectures")
    if architectures != ["LlamaForCausalLM"]:
        named = json.dumps(architectures)[:80] if architectures else "none"
        raise ModelError(
            f"{shown} names the architectures {named}; this backend reads Llama-architecture checkpoints only",
            fix='backend="transformers", or a checkpoint whose config.json says "architectures": ["LlamaForCausalLM"]',
        )
    fields.only("hidden_act", "silu")
    for name in ("attention_bias", "mlp_bias"):
        fields.only(name, False, None)
    fields.only("quantization_config", None)
    size, hidden, heads = fields.whole("vocab_size"), fields.whole("hidden_size"), fields.whole("num_attention_heads")
    groups, head = fields.whole("num_key_value_heads", heads), fields.whole("head_dim", hidden // heads)
    if heads % groups:
        raise fields.wrong("num_key_value_heads", groups, f"a divisor of the {heads} attention heads")
    if head % 2:
        raise fields.wrong("head_dim", head, "an even number")
    starts = fields.tokens("bos_token_id", size)
    return Config(
        vocabulary=size,
        hidden=hidden,
        inner=fields.whole("intermediate_size"),
        layers=fields.whole("num_hidden_layers"),
        heads=heads,
        groups=groups,
        head=head,
        context=fields.whole("max_position_embeddings"),
        eps=fields.number("rms_norm_eps", fields.values.get("rms_norm_eps", 1e-6), 1e-12, 1),
        theta=fields.theta(),
        tied=fields.flag("tie_word_embeddings"),
        start=starts[0] if starts else None,
        ends=fields.tokens("eos_token_id", size),
    )


def plain_llama(folder: Path, name: str) -> bool:
    """Whether the built-in forward is meant for a directory: a Llama of a kind that it knows, in one file of at most `SMALL` bytes.

    Weights and tokenizer are not looked into. Raises `ModelError` for a config.json that is missing or no JSON object.
    """
    raw, shown = read_small(folder / CONFIG, f"{name}/{CONFIG}"), f"{name}/{CONFIG}"
    Fields(raw, shown)
    try:
        read_config(raw, shown)
    except ModelError:
        return False
    weights = folder / WEIGHTS
    return os.path.getsize(weights) <= SMALL if os.path.isfile(weights) else not (folder / INDEX).exists()


class Weights:
    """The tensors of a safetensors file, each checked when it is taken; `sha256` is of the file."""

    def __init__(self, raw: bytes, shown: str):
        self.shown = shown
        try:
            self._held = dict(deserialize(raw))
        except SafetensorError as error:
            raise broken(shown, error) from None
        self.sha256 = hashlib.sha256(raw)

    def __contains__(self, name: str) -> bool:
        return name in self._held

    def take(self, name: str, *shape: int) -> NDArray[np.float32]:
        """A tensor as float32, removed from the rest. Raises `ModelError` if it is missing, misshapen, of another type or not finite."""
        if name not in self._held:
            raise ModelError(f"{self.shown} has no tensor {name}", fix=AGAIN)
        tensor = self._held.pop(name)
        if tensor["shape"] != list(shape):
            raise ModelError(f"{self.shown}: {name} has the shape {tensor['shape']}, config.json says {list(shape)}", fix=AGAIN)
        data = tensor["data"]
        if tensor["dtype"] == "BF16":  # the upper half of a float32
            values = (np.frombuffer(data, "<u2").astype(np.uint32) << 16).view(np.float32)
        elif tensor["dtype"] in ("F16", "F32"):
            values = np.frombuffer(data, {"F16": "<f2", "F32": "<f4"}[tensor["dtype"]]).astype(np.float32, copy=False)
        else:
            raise ModelError(f"{self.shown}: {name} is of the type {tensor['dtype']}; ulam reads F32, F16 and BF16", fix="save it as float32")
        if not np.isfinite(values).all():
            raise ModelError(f"{self.shown}: {name} holds NaN or infinite weights", fix="the training diverged, or the file is damaged: use an earlier one")
        return values.reshape(shape)

    def finish(self, layers: int) -> None:
        """Raises `ModelError` for a tensor that nobody took: it would have changed the model. Old files store rotary frequencies, which are known."""
        for name in self._held:
            if name.endswith("rotary_emb.inv_freq"):
                continue
            named, layer = print_value(name[:80]), re.match(r"model\.layers\.([0-9]{1,9})\.", name)
            if layer and int(layer[1]) >= layers:
                raise ModelError(f"config.json says {layers} layers, {self.shown} has more: the tensor {named}", fix=AGAIN)
            raise ModelError(f"{self.shown} has the tensor {named}, which no Llama has", fix=PLAIN)


class Checkpoint:
    """A checkpoint directory: `config` is read at once, the weights and the vocabulary when they are asked for.

    folder  the directory
    name    what the caller called it; errors name files by it
    """

    def __init__(self, folder: Path, name: str):
        self.folder, self.name = folder, name
        self._config = self._json(CONFIG)
        self.config = read_config(self._config, self._shown(CONFIG))

    def weights(self) -> Weights:
        """The tensors, whole in memory; nothing is read of a file whose header does not add up to its size."""
        if not os.path.isfile(self.folder / WEIGHTS):
            self._explain_missing_weights()
        path, shown = self.folder / WEIGHTS, self._shown(WEIGHTS)
        with opened(path, shown) as (file, size):
            try:
                with safe_open(path, "numpy"):  # reads the header and compares it with the size of the file
                    pass
            except SafetensorError as error:
                raise broken(shown, error) from None
            raw = file.read(size)
        return Weights(raw, shown)

    @cached_property
    def vocabulary(self) -> Vocabulary:
        from .tokenizer import read_vocabulary

        config = self.config
        return read_vocabulary(self._tokenizer, self._shown(TOKENIZER), size=config.vocabulary, start=config.start, ends=config.ends)

    def fingerprint(self, weights: Weights) -> str:
        """The first 16 digits of `cat model.safetensors config.json tokenizer.json | sha256sum`, of the files as they were read."""
        digest = weights.sha256.copy()
        digest.update(self._config)
        digest.update(self._tokenizer)
        return f"sha256:{digest.hexdigest()[:16]}"

    @cached_property
    def _tokenizer(self) -> bytes:
        return self._json(TOKENIZER)

    def _shown(self, name: str) -> str:
        return f"{self.name}/{name}"

    def _json(self, name: str) -> bytes:
        return read_small(self.folder / name, self._shown(name))

    def _explain_missing_weights(self) -> None:
        """Raises `ModelError` for weights that are there in another form."""
        if (self.folder / INDEX).exists():
            raise ModelError(f"the weights of {self.name} are in several files; this backend reads one {WEIGHTS}", fix='backend="transformers"')
        for path in sorted(self.folder.iterdir()):
            if path.suffix in PICKLES and os.path.isfile(path):
                refuse_pickle(path, self._shown(print_value(path.name)[1:-1]))
