"""vLLM as an engine of `ulam.sample`: its forward passes, our tokens.

    engine = ulam.load("my-model", backend="vllm")          # or VLLMEngine(LLM(...), "my-model")
    ulam.sample(engine, prompts, "temperature=0.8 top_p=0.95", n=8, seed=7)

All samples of a run are requests of one batch, and every token is drawn by `vllm_plugin.RecipeProcessor` in this process: with the same
seed, sequence numbers and recipe as `ulam.sample` on any other backend, they are the same tokens, except where a uniform lies within
the rounding of the forward pass of the border between two tokens. Both log-probabilities come with every token, of all recipes. Stop
strings cut as our loop cuts them; a row that fails does so alone.

The engine must run in this process, on one device: what is drawn in other processes does not come back. On a server, and with several
devices, the plugin draws the same tokens, and vLLM's `logprobs` tell the log-probabilities.
"""

# pyright: reportMissingImports=false

from __future__ import annotations

import hashlib
import os
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
import vllm
from vllm import LLM

from ..core.arrays import to_numpy
from ..core.context import History
from ..core.errors import ContextOverflow, EmptyPrompt, ModelError, UsageError
from ..decode.engine import EngineRun
from ..decode.loop import Event, SampleEvent
from ..decode.loop import Row as Sampled
from ..decode.request import Prompt, read_prompt
from ..decode.samples import failing
from ..recipe import Recipe
from . import vllm_plugin
from .rows import Row

IN_PROCESS = "VLLM_ENABLE_V1_MULTIPROCESSING"
SEEN = 1024  # numbers of a tensor that enter the fingerprint
DTYPES = ("auto", "float32", "bfloat16", "float16")


def open_engine(
    path: Path,
    name: str,
    dtype: str = "auto",
    max_model_len: int | None = None,
    max_num_seqs: int | None = None,
    kv_cache_memory_bytes: int | None = None,
    gpu_memory_utilization: float | None = None,
    enforce_eager: bool = False,
    quantization: str | None = None,
) -> VLLMEngine:
    """The model in a directory, opened by vLLM in this process; the options are vLLM's own, and what is left out is its default.

    dtype  auto, float32, bfloat16, float16

    Raises `ModelError` for what vLLM does not open, with its reason.
    """
    if dtype not in DTYPES:
        raise UsageError(f"unknown dtype {dtype}", fix=f"dtype: {', '.join(DTYPES)}")
    if not os.path.isdir(path):
        raise ModelError(f"there is no directory {name}; nothing is downloaded", fix="a checkpoint directory, or VLLMEngine(LLM(...), name)")
    asked = {
        "max_model_len": max_model_len,
        "max_num_seqs": max_num_seqs,
        "kv_cache_memory_bytes": kv_cache_memory_bytes,
        "gpu_memory_utilization": gpu_memory_utilization,
        "quantization": quantization,
    }
    given: dict[str, Any] = {key: value for key, value in asked.items() if value is not None}
    if not vllm_plugin.installed():
        given["logits_processors"] = [vllm_plugin.RecipeProcessor]
    with in_process():
        try:
            llm = LLM(str(path), dtype=dtype, enforce_eager=enforce_eager, **given)
        except (ValueError, RuntimeError, OSError, NotImplementedError) as error:
            told = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise ModelError(f"vLLM does not open {name}: {told}", fix="look at vLLM's log above") from error
    return VLLMEngine(llm, name)


@contextmanager
def in_process() -> Iterator[None]:
    """Inside, vLLM makes engines in this process; it takes that from the environment only, which is as it was afterwards."""
    before = os.environ.get(IN_PROCESS)
    os.environ[IN_PROCESS] = "0"
    try:
        yield
    finally:
        if before is None:
            del os.environ[IN_PROCESS]
        else:
            os.environ[IN_PROCESS] = before


class VLLMEngine:
    """An `LLM` of vLLM that has the plugin and runs in this process, on one device. Raises `ModelError` for another one."""

    capabilities = frozenset({"token_ids"})

    def __init__(self, llm: LLM, name: str):
        self.llm, self.name = llm, name
        config = llm.llm_engine.vllm_config
        if not hasattr(llm.llm_engine, "model_executor"):
            raise ModelError("this vLLM engine runs in another process, which keeps its draws", fix=f'ulam.load(..., backend="vllm"), or {IN_PROCESS}=0')
        if config.parallel_config.world_size > 1:
            raise ModelError(f"this vLLM engine runs in {config.parallel_config.world_size} processes", fix="one device; or a server, with the plugin")
        if config.speculative_config is not None:
            raise ModelError("this vLLM engine speculates, and then it runs no recipes", fix="an LLM without a speculative config")
        self.context_limit = int(config.model_config.max_model_len)
        self.vocabulary = vllm_plugin.vocabulary_in(config)

    def __repr__(self) -> str:
        return f"VLLMEngine({self.name}: {len(self.vocabulary)} tokens, context {self.context_limit}, vLLM {vllm.__version__})"

    @property
    def fingerprint(self) -> str:
        """Of the names, shapes, types and 1024 numbers of every tensor, and of the tokens. vLLM fuses tensors, so other backends have another one."""
        return self._fingerprint

    @cached_property
    def _fingerprint(self) -> str:
        digest = hashlib.sha256(b"\0".join(self.vocabulary.tokens))

        def look(network: torch.nn.Module) -> None:
            for name, tensor in sorted(network.state_dict().items()):
                flat = tensor.detach().reshape(-1)
                digest.update(f"{name} {list(tensor.shape)} {tensor.dtype} ".encode())
                places = torch.linspace(0, max(len(flat) - 1, 0), min(SEEN, len(flat)), dtype=torch.float64).round().long()
                digest.update(to_numpy(flat[places.to(flat.device)].float()).tobytes())

        self.llm.apply_model(look)
        return f"sha256:{digest.hexdigest()[:16]}"

    def generate(
        self,
        prompts: Prompt | Sequence[Prompt],
        recipe: str | Recipe | Sequence[str | Recipe] = "",
        seed: int | None = None,
        *,
        n: int = 1,
        max_tokens: int = 256,
        stop: str | Sequence[str] = (),
        sequence: int | Sequence[int] | None = None,
    ) -> EngineRun:
        """A run whose samples are the requests of one batch; arguments and errors as `ulam.stream`. One run at a time."""
        facts = {"engine": {"name": "vllm", "version": vllm.__version__}}
        run = EngineRun(
            self, self.steps, prompts, recipe, seed, n=n, max_tokens=max_tokens, stop=stop, sequence=sequence, facts=facts, told=(), interrupt=lambda: None
        )
        for row in run.rows:
            which = f"prompt {row.index // n + 1}" if len(run.rows) > n else "the prompt"
            row.prompt, ids = read_prompt(self.vocabulary, row.prompt or row.history.prompt, which)
            if not ids:
                raise EmptyPrompt(f"{which} is empty, and {self.name} has no start token", fix="at least one token")
            if len(ids) >= self.context_limit:
                what = f"{which} has {len(ids)} tokens; the context of {self.name} holds {self.context_limit}, one of them to draw"
                raise ContextOverflow(what, fix="a shorter prompt")
            row.history, row.prompt_size = History(ids, row.tokens), len(ids)
            row.recipe.bind(self.vocabulary)
        return run

    def steps(self, run: EngineRun) -> Iterator[Event]:
        """The events of a run: all its rows at once, as vLLM schedules them."""
        engine, started = self.llm.llm_engine, uuid.uuid4().hex
        names = {f"{started}-{row.index}": row for row in run.rows}
        bound = {recipe: recipe.bind(self.vocabulary) for recipe in {row.recipe for row in run.rows}}
        drawn = {name: Row(bound[row.recipe], run.seed or 0, row.sequence, row.history.prompt) for name, row in names.items()}
        waiting = set(names)
        try:
            with vllm_plugin.hold(drawn):
                for name, row in names.items():
                    params = vllm_plugin.sampling_params(
                        row.recipe, run.seed or 0, row.sequence, max_tokens=run.max_tokens, ends=self.vocabulary.ends, row=name, detokenize=False
                    )
                    engine.add_request(name, {"prompt_token_ids": list(row.history.prompt)}, params)
                while waiting and not run.cancelled:
                    for output in engine.step():
                        if output.request_id not in waiting:
                            continue
                        for event in self.told(run, names[output.request_id], drawn[output.request_id], output.outputs[0].token_ids):
                            if isinstance(event, SampleEvent):
                                waiting.remove(output.request_id)
                                if not output.finished:
                                    engine.abort_request([output.request_id])
                            yield event
                        if output.finished and output.request_id in waiting:
                            raise ModelError(f"vLLM ended a request that has not ended: {output.outputs[0].finish_reason}", fix="look at vLLM's log")
        finally:
            if waiting:
                engine.abort_request(list(waiting))

    def told(self, run: EngineRun, row: Sampled, drawn: Row, tokens: Sequence[int]) -> Iterator[Event]:
        """The events of the tokens that vLLM has and `row` has not yet; their log-probabilities are where they were drawn."""
        for position in range(len(row.tokens), len(tokens)):
            if position == drawn.failed_at:
                error = drawn.error
                assert error is not None
                error.row = row.index
                yield row.finish(failing(error), error=error)
                return
            token = drawn.tokens[position] if position < len(drawn.tokens) else None
            if token != tokens[position] or token is None:
                what = f"vLLM has token {tokens[position]} where {token} was drawn"
                raise ModelError(what, fix="LLM(..., logits_processors=[RecipeProcessor]), and nothing that changes tokens after the draw")
            end = token in self.vocabulary.ends
            raw = b"" if end else self.vocabulary.tokens[token]
            yield row.add(token, drawn.model_log_probs[position], drawn.recipe_log_probs[position], raw)
            if end:
                yield row.finish("stop", self.vocabulary.names.get(token, "end"))
            elif row.stream.stopped_by is not None:
                yield row.finish("stop")
            elif len(row.tokens) == run.max_tokens or len(row.history.prompt) + len(row.tokens) >= self.context_limit:
                yield row.finish("length")
            else:
                continue
            return
