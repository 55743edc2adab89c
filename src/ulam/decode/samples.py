"""What a run gives back: samples, each with its text, its tokens and the probability of every one of them."""

from __future__ import annotations

import base64
import json
import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias, overload

import numpy as np
from numpy.typing import NDArray

from ..core.errors import EmptySupport, UlamError, UsageError
from ..core.vocabulary import Vocabulary
from ..models.protocol import LanguageModel
from ..recipe import Recipe

FinishReason: TypeAlias = Literal["stop", "length", "constraint", "error", "cancelled"]


def failing(error: UlamError) -> FinishReason:
    """How a row ends that has no next token: `constraint` if a constraint allowed none, else `error`."""
    return "constraint" if isinstance(error, EmptySupport) and error.constraint else "error"


@dataclass(frozen=True, eq=False)
class Sample:
    """One drawn text.

    text                the continuation, without the prompt, the end token and the stop string
    tokens              ids, the end token and the tokens of a stop string included
    model_log_probs     nats, a token each, under the bare model
    recipe_log_probs    nats, a token each, under the recipe it was drawn from
    finish_reason       stop (end token or stop string), length, constraint, error, cancelled
    stopped_by          the stop string or the end token's name, or None
    index, sequence     place in the run, and the row's number in the address of its noise
    """

    prompt: str
    prompt_tokens: tuple[int, ...]
    text: str
    tokens: tuple[int, ...]
    model_log_probs: NDArray[np.float64]
    recipe_log_probs: NDArray[np.float64]
    finish_reason: FinishReason
    stopped_by: str | None
    index: int
    sequence: int
    recipe: Recipe
    error: UlamError | None = None

    @property
    def model_log_prob(self) -> float:
        """Nats of the whole continuation under the bare model."""
        return math.fsum(self.model_log_probs)

    @property
    def recipe_log_prob(self) -> float:
        """Nats of the whole continuation under the recipe."""
        return math.fsum(self.recipe_log_probs)

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        return (
            f"Sample({self.text!r}, {len(self.tokens)} tokens, {self.finish_reason}, "
            f"model_log_prob={self.model_log_prob:.3f}, recipe_log_prob={self.recipe_log_prob:.3f})"
        )

    def to_dict(self, vocabulary: Vocabulary) -> dict[str, Any]:
        """Plain numbers and strings; log-probabilities in nats, minus infinity as null."""
        return {
            "index": self.index,
            "sequence": self.sequence,
            "prompt": {"text": self.prompt, "tokens": len(self.prompt_tokens)},
            "recipe": str(self.recipe),
            "recipe_id": self.recipe.id,
            "text": self.text,
            "finish_reason": self.finish_reason,
            "stopped_by": self.stopped_by,
            "error": str(self.error) if self.error else None,
            "tokens": len(self.tokens),
            "model_log_prob": finite(self.model_log_prob),
            "recipe_log_prob": finite(self.recipe_log_prob),
            "steps": [
                {
                    "position": position,
                    "token": token_entry(token, vocabulary),
                    "model_log_prob": finite(model),
                    "recipe_log_prob": finite(recipe),
                }
                for position, (token, model, recipe) in enumerate(zip(self.tokens, self.model_log_probs, self.recipe_log_probs, strict=True))
            ],
        }


def finite(x: float | None) -> float | None:
    return float(x) if x is not None and math.isfinite(x) else None


def model_entry(model: LanguageModel) -> dict[str, Any]:
    """Which model it was: its name, its fingerprint, the kind of model it is, what computes it, and what is to be known of it."""
    more = {"runs": getattr(model, "runs", ""), "notes": list(getattr(model, "notes", ()))}
    known = {key: value for key, value in more.items() if value}
    return {"name": model.name, "id": model.fingerprint, "backend": type(model).__module__.rpartition(".")[2], **known}


def token_entry(token: int, vocabulary: Vocabulary) -> dict[str, Any]:
    """A token by id, text and exact bytes (base64); a special token has its name as text and no bytes."""
    raw = vocabulary.tokens[token]
    return {"id": token, "text": vocabulary.names.get(token, raw.decode("utf-8", "replace")), "bytes": base64.b64encode(raw).decode()}


@dataclass(frozen=True, eq=False)
class Samples(Sequence[Sample]):
    """The samples of one run, in order: all of the first prompt, then all of the second, ...

    seed   the run's seed; with model, prompt and recipe it gives the same samples again. None if it was given a noise
    meta   model, its fingerprint, whether its bits depend on the batch, limits, versions, seconds
    """

    items: tuple[Sample, ...]
    seed: int | None
    vocabulary: Vocabulary
    meta: dict[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.items)

    @overload
    def __getitem__(self, index: int) -> Sample: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Sample, ...]: ...
    def __getitem__(self, index: int | slice) -> Sample | tuple[Sample, ...]:
        return self.items[index]

    def __iter__(self) -> Iterator[Sample]:
        return iter(self.items)

    def __repr__(self) -> str:
        model = self.meta.get("model", {}).get("name", "a model")
        lines = [f"Samples({len(self)} from {model}" + (")" if self.seed is None else f", seed {self.seed})")]
        lines += [f"  [{s.index}] {s.text[:70]!r}{'...' if len(s.text) > 70 else ''} ({len(s.tokens)} tokens, {s.finish_reason})" for s in self.items[:20]]
        return "\n".join(lines + ([f"  ... and {len(self) - 20} more"] if len(self) > 20 else []))

    def to_dicts(self) -> list[dict[str, Any]]:
        """One plain dictionary a sample."""
        return [sample.to_dict(self.vocabulary) for sample in self.items]

    def to_document(self) -> dict[str, Any]:
        """The whole run in the shape `ulam.samples/1`. A prompt and a recipe that all samples share stand once, at the top."""
        samples = self.to_dicts()
        shared = {key: samples[0][key] for key in ("recipe", "recipe_id", "prompt") if samples and all(each[key] == samples[0][key] for each in samples)}
        rest = [{key: value for key, value in each.items() if key not in shared} for each in samples]
        return {"schema": "ulam.samples/1", **self.meta, **shared, "seed": self.seed, "samples": rest}

    def save(self, path: str | os.PathLike[str], *, force: bool = False) -> None:
        """Write `to_document` as JSON. Raises `UsageError` if the file exists, unless `force`."""
        document = json.dumps(self.to_document(), ensure_ascii=False, indent=1, allow_nan=False) + "\n"
        try:
            with Path(path).open("w" if force else "x", encoding="utf-8", newline="\n") as file:
                file.write(document)
        except FileExistsError:
            raise UsageError(f"{path} exists", fix="another path, or force=True") from None
        except OSError as error:
            raise UsageError(f"cannot write {path}: {(error.strerror or 'not a file').lower()}", fix="a path in a folder that is there") from None
