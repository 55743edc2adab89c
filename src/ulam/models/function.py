"""Any Python function as a model."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from string import ascii_letters
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ..core.arrays import as_logits, to_numpy
from ..core.errors import InvalidLogits, ModelError, UsageError
from ..core.vocabulary import Vocabulary
from .alphabet import alphabet
from .prefixes import Prefix, PrefixModel

Function: TypeAlias = Callable[[list[int]], Any]


class FunctionModel(PrefixModel):
    """A model from a function: the ids of all tokens so far, the prompt included, to logits [V] of the next one.

    function     returns V numbers, nats up to a constant (a list, a NumPy array, a torch tensor): `-inf` for impossible, not
                 NaN or +inf, and not all `-inf`. It must be one, of the tokens alone: equal tokens, equal logits
    vocabulary   the V tokens, or their letters (`"abc"`). Without it the function is called once, with no tokens, to see how
                 many numbers come; up to 52 tokens are then the letters a to z and A to Z, more have no text
    fingerprint  what stands for the function in a record; without it a random one that this object alone has

    Logits are float64 on the host. Raises `InvalidLogits` for another shape, and `ModelError` if the function fails; both say
    how long the prefix was.
    """

    def __init__(self, function: Function, vocabulary: Vocabulary | str | None = None, *, name: str | None = None, fingerprint: str | None = None):
        called = str(getattr(function, "__name__", type(function).__name__))
        self.name = name or (called if called.isidentifier() else "function")
        self.fingerprint = fingerprint or f"object:{os.urandom(8).hex()}"
        self._function = function
        if isinstance(vocabulary, str):
            vocabulary = alphabet(vocabulary)
        elif vocabulary is None:
            size = len(self._called(()))
            vocabulary = alphabet(ascii_letters[:size]) if size <= len(ascii_letters) else Vocabulary([b""] * size)
        elif not isinstance(vocabulary, Vocabulary):
            raise UsageError(f"the vocabulary of a function is a Vocabulary or its letters, not {type(vocabulary).__name__}", fix='"abc"')
        if len(vocabulary) == 0:
            raise UsageError("a vocabulary needs a token", fix='"abc"')
        self.vocabulary = vocabulary

    def __repr__(self) -> str:
        return f"FunctionModel({self.name}: {len(self.vocabulary)} tokens)"

    def _read(self, prefixes: Sequence[Prefix]) -> NDArray[np.float64]:
        out = np.zeros((len(prefixes), len(self.vocabulary)))
        for row, prefix in zip(out, prefixes, strict=True):
            logits = self._called(prefix)
            if logits.shape != row.shape:
                raise self._invalid(prefix, f"{len(logits)} logits for {len(row)} tokens", "return one number a token")
            row[:] = logits
        return out

    def _called(self, prefix: Prefix) -> NDArray[np.float64]:
        """What the function says after a prefix. Whether a token can be drawn from it is the recipe's to see: such a row fails alone."""
        try:
            logits = to_numpy(as_logits(self._function(list(prefix)))).astype(np.float64)
        except Exception as error:
            reason = f"{type(error).__name__}: {error}".splitlines()[0]
            raise ModelError(
                f"{self.name} failed on a prefix of {len(prefix)} tokens: {reason}", fix="a function from a list of token ids to logits [V]"
            ) from error
        if logits.ndim != 1 or len(logits) == 0:
            raise self._invalid(prefix, f"logits of shape {list(logits.shape)}", "return logits [V]")
        return logits

    def _invalid(self, prefix: Prefix, found: str, fix: str) -> InvalidLogits:
        return InvalidLogits(f"{self.name} returned {found} after a prefix of {len(prefix)} tokens", fix=fix)
