"""ollama by hand: one set of options, two laws."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ulam.core.errors import Inexact, OutOfRange, UlamError, UnknownParameter, Unsupported
from ulam.recipe import Recipe
from ulam.recipe.dialects import Verdict, export, find

ROW = np.log([0.30, 0.20, 0.15, 0.10, 0.08, 0.06, 0.05, 0.03, 0.02, 0.01])
WORKED = {"temperature": 1.6, "top_k": 5, "top_p": 0.75, "min_p": 0.25}


def test_the_worked_row() -> None:
    """llama-server cuts (0.30, 0.20, 0.15, 0.10, 0.08) at 0.75 of their mass and then heats; MLX heats first, and the fourth stays."""
    law = {name: np.round(find(name).read(WORKED).recipe.distribution(ROW).probs, 6).tolist() for name in ("ollama-llama-server", "ollama-mlx")}
    assert law["ollama-llama-server"][:4] == [0.412445, 0.320117, 0.267438, 0]
    assert law["ollama-mlx"][:4] == [0.34155, 0.265092, 0.221467, 0.171891]


@pytest.mark.parametrize(
    ("engine", "recipe"),
    [
        ("ollama", "top_k=40 top_p=0.9 temperature=0.8"),
        ("ollama-llama-server", "top_k=40 top_p=0.9 temperature=0.8"),
        ("ollama-mlx", "top_k=40 temperature=0.8 top_p=0.9"),
    ],
)
def test_what_nobody_asked_for(engine: str, recipe: str) -> None:
    assert str(find(engine).read({}).recipe) == recipe


def test_a_note_where_the_backends_differ() -> None:
    assert find("ollama").read({}).notes == ("this is llama-server; the MLX backend makes of it: top_k=40 temperature=0.8 top_p=0.9",)
    assert find("ollama").read({"top_p": 1}).notes == ()


@pytest.mark.parametrize(
    ("given", "recipe"),
    [
        ({"repeat_penalty": 1.1}, "repetition_penalty(1.1, window=64)"),
        ({"repeat_penalty": 1.1, "repeat_last_n": -1}, "repetition_penalty=1.1"),
        ({"repeat_penalty": 1.1, "repeat_last_n": 0}, "categorical"),
        ({"presence_penalty": 0.5, "frequency_penalty": 0.2}, "frequency_penalty(0.2, window=64, scope=all) presence_penalty(0.5, window=64, scope=all)"),
        ({"temperature": 0}, "temperature=0"),
        ({"min_p": 0.1, "num_ctx": 4096, "stop": ["x"], "seed": 1}, "min_p=0.1"),
    ],
)
def test_options_become_stages(given: dict[str, Any], recipe: str) -> None:
    for engine in ("ollama", "ollama-mlx", "ollama-llama-server"):
        assert str(find(engine).read({"temperature": 1, "top_k": 0, "top_p": 1, **given}).recipe) == recipe


@pytest.mark.parametrize(
    ("given", "error", "what"),
    [
        ({"mirostat": 2}, Unsupported, "silence"),
        ({"tfs_z": 0.5}, Unsupported, "silence"),
        ({"dry_multiplier": 0.8}, UnknownParameter, "no parameter dry_multiplier"),
        ({"top_p": 1.5}, OutOfRange, "top_p"),
    ],
)
def test_refusals(given: dict[str, Any], error: type[UlamError], what: str) -> None:
    with pytest.raises(error, match=what) as refused:
        find("ollama").read(given)
    assert refused.value.what.startswith("ollama")


@pytest.mark.parametrize(
    ("recipe", "llama_server", "mlx", "both"),
    [
        ("top_k=5 temperature=0.7", Verdict.EXACT, Verdict.EXACT, Verdict.EXACT),
        ("top_k=5 top_p=0.9", Verdict.EXACT, Verdict.EXACT, Verdict.EXACT),
        ("top_p=0.9 temperature=0.7", Verdict.EXACT, Verdict.REORDERED, Verdict.REORDERED),
        ("temperature=0.7 top_p=0.9", Verdict.REORDERED, Verdict.EXACT, Verdict.REORDERED),
        ("min_p=0.1 temperature=0.5", Verdict.EXACT, Verdict.EXACT, Verdict.REORDERED),  # 0.1 before is 0.01 after: one number cannot be both
        ("typical_p=0.9", Verdict.EXACT, Verdict.UNSUPPORTED, Verdict.UNSUPPORTED),
        ("repetition_penalty(1.1, window=64)", Verdict.EXACT, Verdict.EXACT, Verdict.EXACT),
        ("frequency_penalty=0.5", Verdict.APPROXIMATE, Verdict.APPROXIMATE, Verdict.APPROXIMATE),
        ("top_p=0.9 temperature=0.7 greedy", Verdict.EXACT_BECAUSE_NEUTRAL, Verdict.EXACT_BECAUSE_NEUTRAL, Verdict.EXACT_BECAUSE_NEUTRAL),
        ("xtc(0.5)", Verdict.UNSUPPORTED, Verdict.UNSUPPORTED, Verdict.UNSUPPORTED),
        ("", Verdict.EXACT, Verdict.EXACT, Verdict.EXACT),
    ],
)
def test_verdicts(recipe: str, llama_server: Verdict, mlx: Verdict, both: Verdict) -> None:
    assert export(find("ollama-llama-server"), Recipe(recipe)).verdict == llama_server
    assert export(find("ollama-mlx"), Recipe(recipe)).verdict == mlx
    assert export(find("ollama"), Recipe(recipe)).verdict == both


def test_the_worse_backend_is_named() -> None:
    with pytest.raises(Inexact, match=r"ollama: top_p=0\.9 is reordered: ollama-mlx: ollama-mlx takes temperature before top_p"):
        Recipe("top_p=0.9 temperature=0.7").to("ollama")


def test_every_default_is_written() -> None:
    off = {"temperature": 1, "top_k": 0, "top_p": 1, "min_p": 0, "typical_p": 1, "repeat_penalty": 1, "presence_penalty": 0, "frequency_penalty": 0}
    assert Recipe("").to("ollama").parameters == off
    assert Recipe("min_p=0.1 temperature=0.5").to("ollama-mlx").parameters["min_p"] == pytest.approx(0.01)
