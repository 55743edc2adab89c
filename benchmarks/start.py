"""How long a cold command takes, and how fast the built-in model writes.

    python benchmarks/start.py [--repeats 7]

Every line is a median of fresh processes, beside a bare `python -c pass` and `import numpy` from the same minutes, since
wall times on a shared machine move. The last part runs in this process: tokens per second for 1, 8 and 64 rows, and what
part of a step is the recipe (stages, draw, log-probs) rather than the model.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import ulam

ULAM = str(Path(sys.executable).parent / "ulam")
COMMANDS = {
    "python -c pass": [sys.executable, "-c", "pass"],
    "import numpy": [sys.executable, "-c", "import numpy"],
    "import ulam": [sys.executable, "-c", "import ulam; ulam.sample"],
    "ulam --help": [ULAM, "--help"],
    "ulam story, 100 tokens": [ULAM, "Once upon a time", "temperature=0.8", "top_p=0.95", "--max-tokens", "100", "--seed", "3"],
}


def wall(command: list[str]) -> float:
    began = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - began


def processes(repeats: int) -> None:
    times: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(repeats + 1):  # the first round warms the disk and is dropped
        for name, command in COMMANDS.items():
            times[name].append(wall(command))
    base = statistics.median(times["import numpy"][1:])
    print(f"{'cold process':<24} {'median s':>9} {'lowest s':>9} {'/ import numpy':>15}")
    for name, each in times.items():
        print(f"{name:<24} {statistics.median(each[1:]):>9.3f} {min(each[1:]):>9.3f} {statistics.median(each[1:]) / base:>15.1f}")


def speed(repeats: int) -> None:
    """Tokens per second of the loop on the built-in model, and the recipe's part of a step."""
    import ulam

    model, recipe = ulam.load(), ulam.Recipe("temperature=0.8 top_p=0.95")
    print(f"\n{f'stories, {recipe}':<36} {'tok/s':>7} {'ms a step':>10} {'recipe part':>12}")
    for rows in (1, 8, 64):
        rates = []
        for seed in range(repeats):
            began = time.perf_counter()
            out = ulam.sample(model, ["Once upon a time"] * rows, recipe, max_tokens=100, seed=seed)
            rates.append(sum(len(sample.tokens) for sample in out) / (time.perf_counter() - began))
        step = rows / statistics.median(rates)
        print(f"{f'{rows} rows':<36} {rows / step:>7.0f} {1e3 * step:>10.2f} {pick(model, recipe, rows) / step:>12.0%}")


def pick(model: ulam.LanguageModel, recipe: ulam.Recipe, rows: int) -> float:
    """Median seconds of stages, draw and log-probs for one step."""
    from ulam.core.context import Context, History
    from ulam.core.noise import Address, PhiloxNoise
    from ulam.recipe.draw import draw

    _, logits = model.prefill([[0, 5]] * rows)
    z, context, noise = logits.astype("float64"), Context([History()] * rows), PhiloxNoise(0)
    times = []
    for position in range(50):
        began = time.perf_counter()
        draw(recipe.transforms, recipe.chooser, z, context, noise, Address(range(rows), [position] * rows))
        times.append(time.perf_counter() - began)
    return statistics.median(times)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--repeats", type=int, default=7)
    repeats = arguments.parse_args().repeats
    processes(repeats)
    speed(repeats)


if __name__ == "__main__":
    main()
