"""Tokens a second of vLLM on a tiny checkpoint: by its own sampler, by recipes inside it, and by `ulam.sample` on it and on NumPy.

    tests/engines/run --collect-only && OMP_NUM_THREADS=1 PYTHONPATH=src:. .engines/vllm/bin/python benchmarks/engine_vllm.py

`vLLM` is its own sampler with the same temperature and top_p; `plugin` the recipe inside it, requests made by hand; `engine` the recipe
through `ulam.sample`, which also reads every token back. Each number is the best of the rounds, taken in turn.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from tests.tiny import open_llama, write_tiny

import ulam
from ulam.adapters.vllm_engine import open_engine
from ulam.adapters.vllm_plugin import sampling_params

RECIPE = "temperature=0.8 top_p=0.95"
LONG = {"ignore_eos": True, "detokenize": False}


def best(runs: dict[str, Callable[[], int]], rounds: int) -> dict[str, float]:
    """Tokens a second of every run."""
    found = dict.fromkeys(runs, 0.0)
    for _ in range(rounds):
        for name, run in runs.items():
            began = time.perf_counter()
            tokens = run()
            found[name] = max(found[name], tokens / (time.perf_counter() - began))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--vocabulary", type=int, default=320)
    arguments = parser.parse_args()
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
    from vllm import SamplingParams

    with tempfile.TemporaryDirectory() as folder:
        path = write_tiny(Path(folder) / "tiny", vocab_size=arguments.vocabulary)
        engine, model = open_engine(path, "tiny", dtype="float32", enforce_eager=True, kv_cache_memory_bytes=1 << 30), open_llama(path)
        length, prompt = arguments.tokens, [0, *model.vocabulary.encode("The cat sat on the mat")]
        recipe = f"ban_tokens=[end] {RECIPE}"
        print(f"vocabulary {arguments.vocabulary}, {length} tokens a row, best of {arguments.rounds}; tokens a second")
        print("  batch     vLLM   plugin   engine    NumPy   plugin / vLLM")
        for batch in (1, 8, 64):
            own = [SamplingParams(temperature=0.8, top_p=0.95, max_tokens=length, **LONG) for _ in range(batch)]
            ours = [sampling_params(RECIPE, 7, i, max_tokens=length, **LONG) for i in range(batch)]

            def generate(params: list[SamplingParams], batch: int = batch) -> int:
                out = engine.llm.generate([{"prompt_token_ids": prompt}] * batch, params, use_tqdm=False)
                return sum(len(each.outputs[0].token_ids) for each in out)

            def sample(model: object, batch: int = batch) -> int:
                return sum(len(each.tokens) for each in ulam.sample(model, [prompt], recipe, n=batch, max_tokens=length, seed=7))  # type: ignore[arg-type]

            runs: dict[str, Callable[[], int]] = {
                "vLLM": lambda own=own: generate(own),
                "plugin": lambda ours=ours: generate(ours),
                "engine": lambda: sample(engine),
                "NumPy": lambda: sample(model),
            }
            found = best(runs, arguments.rounds)
            print(f"  {batch:5}" + "".join(f"{found[name]:9.0f}" for name in runs) + f"{found['plugin'] / found['vLLM']:16.2f}")


if __name__ == "__main__":
    main()
