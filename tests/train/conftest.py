"""A small text, a small run, and one trained model that several tests look at."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from ulam.train.corpus import END, Corpus, read_corpus
from ulam.train.loop import train
from ulam.train.run import Run, prepare
from ulam.train.settings import Progress, Settings

TINY = Settings(vocabulary=280, context=32, layers=1, hidden=32, heads=2, kv_heads=1, inner=48, steps=20, batch=512, warm_up=2, every=5)
WORDS = ["the", "a", "fox", "ball", "river", "otter", "asked", "found", "gave", "red", "small", "old", "and", "she", "it", "was", "near"]


def stories(count: int, seed: int) -> list[str]:
    """Documents of 5 to 60 words, most of them shorter than the context and some longer."""
    draw = np.random.default_rng(seed)
    return [" ".join(draw.choice(WORDS, draw.integers(5, 60))) + "." for _ in range(count)]


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def corpus() -> Corpus:
    return Corpus(stories(60, seed=1), stories(12, seed=2))


@pytest.fixture(scope="session")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("text") / "little stories.txt"
    path.write_text(f"\n{END}\n".join(stories(80, seed=1)))
    return path


@pytest.fixture(scope="session")
def trained(text: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, list[Progress]]:
    """A finished run on the text file, and all it reported."""
    run = prepare(read_corpus([text]), tmp_path_factory.mktemp("model") / "tiny", TINY)
    return run, list(train(run))
