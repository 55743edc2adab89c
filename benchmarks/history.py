"""What a stage that looks back costs at a step, with what it carries from token to token and with a recount.

    python benchmarks/history.py [--length 8192] [--vocabulary 4096] [--steps 100]

Every line is one method on one row, after a text of that many tokens in which some are frequent and runs come again. `carried`
is what a step of a run costs: the stage on the row, and its state advanced by the token. `recounted` is the stage on the same
row, its state made anew from the history, as before there was one. `stage alone` is the same stage after no token at all: what
the row itself costs. Medians of the same process, the two kinds of steps taken in turn. Then `ulam.score` of texts as long, under
a model that costs next to nothing.
"""

from __future__ import annotations

import argparse
import statistics
import time
from typing import Any

import numpy as np

import ulam
from ulam.core.context import Context, History
from ulam.core.noise import Address, PhiloxNoise
from ulam.methods import find
from ulam.models.alphabet import alphabet
from ulam.models.table import IID

STAGES: dict[str, tuple[str, dict[str, Any]]] = {
    "presence_penalty": ("presence_penalty", {"a": 0.5, "scope": "all"}),
    "frequency_penalty": ("frequency_penalty", {"a": 0.5, "scope": "all"}),
    "repetition_penalty": ("repetition_penalty", {"r": 1.1}),
    "repetition_penalty, slope": ("repetition_penalty", {"r": 1.1, "slope": 0.5}),
    "repetition_penalty, window 64": ("repetition_penalty", {"r": 1.1, "window": 64}),
    "dry": ("dry", {"multiplier": 0.8, "breakers": [[13]]}),
    "dry, allowed_length 1": ("dry", {"multiplier": 0.8, "breakers": [[13]], "allowed_length": 1}),
    "dry, window 64": ("dry", {"multiplier": 0.8, "breakers": [[13]], "window": 64}),
    "top_p_decay": ("top_p_decay", {"p": 0.9, "reset": [13]}),
    "sequence_bias": ("sequence_bias", {"map": {(1, 2, 3): -1.0, (4,): 0.5}}),
    "no_repeat_ngram": ("no_repeat_ngram", {"n": 4}),
}


def text(length: int, vocabulary: int) -> list[int]:
    """Tokens whose frequencies fall as 1 / rank, with runs of 12 copied from earlier."""
    u = PhiloxNoise(0).uniform(Address(sequence=0, position=np.arange(2 * length))).values
    tokens = np.minimum(vocabulary ** u[:length] - 1, vocabulary - 1).astype(int).tolist()
    for at in range(100, length - 12, 40):
        start = int(u[length + at] * (at - 12))
        tokens[at : at + 12] = tokens[start : start + 12]
    return tokens


def microseconds(times: list[float]) -> float:
    return 1e6 * statistics.median(times)


def measure(stage: Any, tokens: list[int], steps: int, row: np.ndarray[Any, Any]) -> tuple[float, float, float]:
    """Microseconds a step: carried, recounted, alone. Asserts that the bits are the same."""
    history, state = History(tokens[:64], tokens[64:-steps]), stage.init(History(tokens[:64], tokens[64:-steps]))
    generated: Any = history.generated
    nothing = Context([History()], None, [[stage.init(History())]])
    carried, recounted, alone = [], [], []
    for token in tokens[-steps:]:
        began = time.perf_counter()
        found = stage(row, Context([history], None, [[state]]))
        if state is not None:
            state = stage.advance(state, token, row[0])
        carried.append(time.perf_counter() - began)
        began = time.perf_counter()
        again = stage(row, Context([history]))
        recounted.append(time.perf_counter() - began)
        assert found.tobytes() == again.tobytes()
        began = time.perf_counter()
        stage(row, nothing)
        alone.append(time.perf_counter() - began)
        generated.append(token)
    return microseconds(carried), microseconds(recounted), microseconds(alone)


def seconds(model: IID, tokens: list[int], recipe: str) -> float:
    """What `ulam.score` takes: a text of the same token over and over is the worst case of what looks for repetitions."""
    began = time.perf_counter()
    ulam.score(model, tokens, recipe)
    return time.perf_counter() - began


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--length", type=int, default=8192)
    arguments.add_argument("--vocabulary", type=int, default=4096)
    arguments.add_argument("--steps", type=int, default=100)
    given = arguments.parse_args()
    tokens = text(given.length, given.vocabulary)
    row = np.log(PhiloxNoise(1).uniform(Address(sequence=0, position=np.arange(given.vocabulary))).values + 2.0**-54)[None, :]
    print(f"T = {given.length}, V = {given.vocabulary}, {len(set(tokens))} different tokens; microseconds a step")
    print(f"{'':<30} {'carried':>9} {'recounted':>10} {'ratio':>7} {'stage alone':>12}")
    for label, (name, values) in STAGES.items():
        carried, recounted, alone = measure(find(name).stage(**values), tokens, given.steps, row)
        print(f"{label:<30} {carried:>9.0f} {recounted:>10.0f} {recounted / carried:>7.1f} {alone:>12.0f}")
    print(f"\n{'a text of that length, scored':<30} {'of runs':>9} {'one token':>10}   seconds")
    model = IID([2.0**-8] * 256, alphabet("".join(chr(0x4E00 + i) for i in range(256))))
    for recipe in ("temperature=0.9", "presence_penalty=0.5", "dry(0.8, breakers=[])", "no_repeat_ngram=4"):
        spent = [seconds(model, each, recipe) for each in (text(given.length, 256), [1] * given.length)]
        print(f"{recipe:<30} {spent[0]:>9.2f} {spent[1]:>10.2f}")


if __name__ == "__main__":
    main()
