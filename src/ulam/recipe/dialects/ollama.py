"""ollama of August 2026: the options of its API, which are the PARAMETER lines of a Modelfile.

Order     Two backends take the same options in two orders. llama-server: penalties (repetition, then frequency and presence) > top_k >
          typical_p > top_p > min_p > temperature. MLX: penalties > top_k > temperature > top_p > min_p; typical_p is not read. Which one
          runs depends on the model. `ollama-llama-server` and `ollama-mlx` say it; `ollama` alone is exact where both are.
Defaults  temperature 0.8, top_k 40, top_p 0.9; min_p is 0, also where llama-server would take 0.05. An older release had repeat_penalty 1.1.
          The Modelfile of a model changes them without a word, so all of them are written.
Edges     The penalties share one window, -1 is all of it, and they count prompt and continuation. temperature=0 is the most likely token. MLX: top_p=0
          is off. mirostat, tfs_z, xtc and dry are passed over in silence. There is no logit bias.
Source    api/types.go, llm/llama_server.go, x/mlxrunner/{server.go,sample/sample.go}, docs/modelfile.mdx
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...core.errors import UlamError
from .dialect import Dialect, Reading
from .llama_cpp import penalties
from .slots import number

IGNORED = "is passed over in silence"


class Options(Dialect):
    """What both backends share."""

    version = "August 2026"
    defaults = {
        "temperature": 0.8,
        "top_k": 40,
        "top_p": 0.9,
        "min_p": 0.0,
        "typical_p": 1.0,
        "repeat_penalty": 1.0,
        "presence_penalty": 0.0,
        "frequency_penalty": 0.0,
        "repeat_last_n": 64,
    }
    rest = frozenset(
        {"seed", "stop", "num_predict", "num_keep", "num_ctx", "num_batch", "num_gpu", "main_gpu", "use_mmap", "num_thread", "draft_num_predict"}
        | {"low_vram", "f16_kv", "logits_all", "vocab_only", "use_mlock", "numa", "num_gqa"}
        | {"model", "prompt", "messages", "suffix", "images", "tools", "stream", "think", "keep_alive", "raw", "system", "template", "context"}
        | {"logprobs", "top_logprobs", "truncate", "shift"}
    )
    refused = {
        "mirostat": ((0,), IGNORED),
        "mirostat_tau": ((), IGNORED),
        "mirostat_eta": ((), IGNORED),
        "tfs_z": ((1, 1.0), IGNORED),
        "penalize_newline": ((), IGNORED),
        "format": (("",), "is a grammar, which no stage of this version says"),
    }
    from_model = frozenset(defaults)
    greedy = {"temperature": 0.0}


PENALTIES = penalties("", every=-1)
TOP_K = number("top_k", off=0, also_off=(-1,))
TEMPERATURE = number("temperature", off=1.0)
MIN_P = number("min_p", off=0.0)


class LlamaServer(Options):
    name = "ollama-llama-server"
    slots = (*PENALTIES, TOP_K, number("typical_p", off=1.0), number("top_p", off=1.0), MIN_P, TEMPERATURE)


class MLX(Options):
    name = "ollama-mlx"
    slots = (*PENALTIES, TOP_K, TEMPERATURE, number("top_p", off=1.0, allowed="(0, 1]", also_off=(0.0,)), MIN_P)


class Ollama(Options):
    name = "ollama"
    slots = LlamaServer.slots
    backends = (LlamaServer(), MLX())

    def read(self, parameters: Mapping[str, Any]) -> Reading:
        """As llama-server does it; a note, where MLX does something else."""
        try:
            usual, other = (each.read(parameters) for each in self.backends)
        except UlamError as error:
            error.what = error.what.replace(LLAMA_SERVER.name, self.name)
            raise
        differ = () if usual.recipe == other.recipe else (f"this is llama-server; the MLX backend makes of it: {other.recipe}",)
        return Reading(self.name, usual.recipe, usual.hidden, usual.rest, (*usual.notes, *differ))


LLAMA_SERVER, MLX_RUNNER = Ollama.backends
DIALECT = Ollama()
