"""Sample text from a trained language model, and know exactly what you sampled.

    import ulam
    model = ulam.load()                                                       # the built-in model "stories"
    out = ulam.sample(model, "Once upon a time", "temperature=0.8 top_p=0.95", n=4, max_tokens=64, seed=7)
    out[0].text, out[0].model_log_prob, out[0].recipe_log_prob

The public names are those of `__all__`; each is loaded when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from .adapters.load import load
    from .core.categorical import Categorical
    from .core.errors import UlamError
    from .core.vocabulary import Vocabulary
    from .decode import Engine, Sample, Samples, Score, sample, score, stream
    from .exact import Law, law
    from .methods import register
    from .models.protocol import LanguageModel
    from .recipe import Choice, Recipe

WHERE = {
    "Categorical": "core.categorical",
    "Choice": "recipe",
    "Engine": "decode",
    "LanguageModel": "models.protocol",
    "Law": "exact",
    "Recipe": "recipe",
    "Sample": "decode",
    "Samples": "decode",
    "Score": "decode",
    "UlamError": "core.errors",
    "Vocabulary": "core.vocabulary",
    "law": "exact",
    "load": "adapters.load",
    "register": "methods",
    "sample": "decode",
    "score": "decode",
    "stream": "decode",
}

__all__ = [
    "Categorical",
    "Choice",
    "Engine",
    "LanguageModel",
    "Law",
    "Recipe",
    "Sample",
    "Samples",
    "Score",
    "UlamError",
    "Vocabulary",
    "law",
    "load",
    "register",
    "sample",
    "score",
    "stream",
]


def __getattr__(name: str) -> Any:
    if name not in WHERE:
        raise AttributeError(f"module ulam has no {name}")
    value = getattr(importlib.import_module(f".{WHERE[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
