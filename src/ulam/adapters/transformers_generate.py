"""A recipe inside `model.generate` of transformers, and a processor of transformers inside a recipe.

    network, tokenizer = AutoModelForCausalLM.from_pretrained(...), AutoTokenizer.from_pretrained(..., padding_side="left")
    batch = tokenizer(["Once upon a time", "The fox"], return_tensors="pt", padding=True)
    model = ulam.load(network, tokenizer)
    out = network.generate(**batch, **generate_arguments(model, "temperature=0.8 top_p=0.95", seed=7, **batch), max_new_tokens=64)

The processor draws the token itself, by the whole recipe and from the noise of the seed, and leaves no other token possible: so what
generate chooses then is the token, and the tokens are those of `ulam.sample(model, ..., seed=7)`. Everything else in
generate that would change the law is switched off, whatever generation_config.json says.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from transformers import GenerationConfig, LogitsProcessor, LogitsProcessorList

from ..core.arrays import Array, is_numpy_array
from ..core.context import Context, History
from ..core.errors import UsageError
from ..core.method import Transform
from ..decode.loop import reference
from ..decode.plan import Plan
from ..decode.request import read_count, read_noise, read_sequences
from ..models.transformers import TransformersModel
from ..recipe import Recipe
from ..recipe.recipe import raise_first

ACTING = (
    *("sequence_bias", "repetition_penalty", "encoder_repetition_penalty", "no_repeat_ngram_size", "encoder_no_repeat_ngram_size", "bad_words_ids"),
    *("min_length", "min_new_tokens", "forced_bos_token_id", "forced_eos_token_id", "remove_invalid_values", "exponential_decay_length_penalty"),
    *("suppress_tokens", "begin_suppress_tokens", "guidance_scale", "watermarking_config", "renormalize_logits", "assistant_early_exit"),
    *("temperature", "top_h", "top_k", "top_p", "min_p", "typical_p", "epsilon_cutoff", "eta_cutoff"),
    *("penalty_alpha", "dola_layers", "prompt_lookup_num_tokens", "constraints", "force_words_ids", "stop_strings", "max_time", "token_healing"),
)
"""The settings of generate that change which tokens come, all of them off at None."""


class RecipeProcessor(LogitsProcessor):
    """Draws the next token of every row by a recipe, and leaves only that one possible.

    model      whose vocabulary the recipe is bound to
    recipe     text or `Recipe`
    seed       0 to 2^64 - 1; a fresh one if left out, in `.seed`
    mask       [prompts, T], 0 where a prompt is padded on the left; None if none is
    n          rows of each prompt, next to each other
    sequence   number of each prompt's first row in the address of its noise, as in `ulam.sample`

    Afterwards `tokens`, `model_log_probs` and `recipe_log_probs` hold, for every row, what was drawn and its log-probabilities in nats. It
    serves one call of generate. A row that fails ends the call with its error (`EmptySupport`, `InvalidLogits`).
    """

    def __init__(self, model: TransformersModel, recipe: str | Recipe, *, seed: int | None = None, mask: Any = None, n: int = 1, sequence: Any = None):
        self.vocabulary, self.recipe = model.vocabulary, Recipe(recipe).bind(model.vocabulary)
        self.seed, self.noise = read_noise(seed, None)
        self.n, self.mask, self.sequence = read_count(n, "n", 1), mask, sequence
        self.histories: list[History] = []
        self.tokens: list[list[int]] = []
        self.model_log_probs: list[list[float]] = []
        self.recipe_log_probs: list[list[float]] = []

    def __repr__(self) -> str:
        return f"RecipeProcessor({str(self.recipe)!r}, seed {self.seed})"

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        if not self.histories:
            self.begin(input_ids.cpu().numpy())
        ended = self.check(input_ids[:, -1].tolist(), input_ids.shape)
        live = np.array([row for row in range(len(ended)) if not ended[row]], np.int64)
        after = torch.full_like(scores, -torch.inf)
        after[:, 0] = 0.0  # rows that have ended are padded, whatever is chosen
        if len(live):
            z = reference(scores, len(ended), len(self.vocabulary))[torch.as_tensor(live, device=scores.device)]
            states = [self.states[row] for row in live]
            context = Context([self.histories[row] for row in live], self.vocabulary, states if any(states) else ())
            positions = np.array([len(self.tokens[row]) for row in live])
            drawn = self.plan.draw(live, z, context, self.noise, self.sequences[live], positions)
            raise_first(drawn.failures)
            for place, row in enumerate(live):
                self.tokens[row].append(int(drawn.tokens[place]))
                self.model_log_probs[row].append(float(drawn.model_log_probs[place]))
                self.recipe_log_probs[row].append(float(drawn.recipe_log_probs[place]))
            rows, tokens = (torch.as_tensor(each, device=scores.device) for each in (live, drawn.tokens))
            after[rows, 0] = -torch.inf
            after[rows, tokens] = 0.0
        return after

    def begin(self, ids: np.ndarray[Any, Any]) -> None:
        """Take the prompts: what stands in the first call, without its padding."""
        rows, width = ids.shape
        mask = np.ones((rows // self.n, width), np.int64) if self.mask is None else np.asarray(torch.as_tensor(self.mask).cpu())
        if rows != len(mask) * self.n or mask.shape[1] != width:
            what = f"generate has {rows} rows of {width} tokens; the mask has {list(mask.shape)} and n is {self.n}"
            raise UsageError(what, fix="the attention_mask that generate gets, and n = num_return_sequences")
        if (np.diff(mask, axis=1) < 0).any():
            raise UsageError("the prompts are padded on the right, so generate would go on after the padding", fix='tokenizer.padding_side = "left"')
        prompts = [tuple(row[kept > 0].tolist()) for row, kept in zip(ids, np.repeat(mask, self.n, axis=0), strict=True)]
        firsts = read_sequences(self.sequence, len(mask), self.n)
        self.sequences = np.array([firsts[row // self.n] + row % self.n for row in range(rows)], np.uint64)
        self.histories = [History(prompt, []) for prompt in prompts]
        self.tokens = [cast("list[int]", history.generated) for history in self.histories]
        self.model_log_probs, self.recipe_log_probs = [[] for _ in prompts], [[] for _ in prompts]
        self.states = [self.recipe.init(prompt) for prompt in prompts]
        self.plan = Plan([self.recipe] * rows)
        self.width = width

    def check(self, last: list[int], shape: Sequence[int]) -> list[bool]:
        """Which rows have ended. Raises `UsageError` if the tokens are not those that were drawn: another processor or a beam came between."""
        ended = [bool(drawn) and drawn[-1] in self.vocabulary.ends for drawn in self.tokens]
        longest = max(map(len, self.tokens))
        if (
            len(last) != len(self.tokens)
            or shape[1] != self.width + longest
            or any(drawn and not done and drawn[-1] != token for drawn, done, token in zip(self.tokens, ended, last, strict=True))
        ):
            raise UsageError("generate took other tokens than the recipe drew", fix="generate_arguments(...), one call of generate for each, no beams")
        return ended


def generate_arguments(
    model: TransformersModel,
    recipe: str | Recipe = "",
    *,
    seed: int | None = None,
    attention_mask: Any = None,
    n: int = 1,
    sequence: int | Sequence[int] | None = None,
    **others: Any,
) -> dict[str, Any]:
    """The keyword arguments with which `model.network.generate` draws by a recipe; lengths are yours to add.

    attention_mask  of the prompts, padded on the left; left out if they are of one length
    n, sequence     as in `ulam.sample`
    others          the rest of what a tokenizer returns, which is ignored: `**batch` may be given whole

    Raises `UsageError` and its kinds for what `ulam.sample` would refuse.
    """
    processor = RecipeProcessor(model, recipe, seed=seed, mask=attention_mask, n=n, sequence=sequence)
    settings, ends = GenerationConfig(), list(model.vocabulary.ends)
    pad = getattr(model.tokenizer, "pad_token_id", None)
    return {
        **{name: None for name in ACTING if hasattr(settings, name)},
        "do_sample": n > 1,  # several rows of a prompt are not had otherwise; a draw from one possible token is that token
        "num_beams": 1,
        "num_return_sequences": n,
        "eos_token_id": ends or None,
        "pad_token_id": pad if pad is not None else ends[0] if ends else 0,
        "logits_processor": LogitsProcessorList([processor]),
    }


@dataclass(frozen=True, eq=False)
class FromProcessor(Transform):
    """A processor of transformers as a stage. Make one with `from_processor`; it has no text that could be read back."""

    def __str__(self) -> str:
        return f"<{type(self).name}>"

    def apply(self, z: Array, context: Context) -> Array:
        """Row by row, with the row's own tokens and no padding, so that a row cannot see its mates."""
        rows = context.rows or [History()] * int(z.shape[0])
        found: list[torch.Tensor] = []
        for row, history in enumerate(rows):
            scores = torch.as_tensor(z[row : row + 1]).clone()  # some processors write to what they get
            ids = torch.as_tensor(history.tokens()[None, :], device=scores.device)
            found.append(cast(Any, type(self)).processor(ids, scores).to(scores.dtype))
        after = torch.cat(found)
        return after.numpy() if is_numpy_array(z) else after


def from_processor(processor: Any) -> Transform:
    """A `LogitsProcessor` of transformers as a stage of a recipe: `Recipe([Temperature(0.8), from_processor(p)])`.

    It is called with one row's tokens, prompt included, and that row's logits [1, V]. The recipe then has no text, and what it claims
    nobody has checked. Raises `UsageError` for what cannot be called.
    """
    if not callable(processor):
        raise UsageError(f"{processor!r} is no processor", fix="a LogitsProcessor of transformers")
    name = repr(processor) if type(processor).__repr__ is not object.__repr__ else type(processor).__name__
    kind = type("FromProcessor", (FromProcessor,), {"name": name, "processor": staticmethod(processor)})  # of its own: two processors are two methods
    return dataclass(frozen=True, eq=False)(kind)()


CODE = '''"""Draws by the recipe {recipe}, with the noise of a seed: the tokens are those of ulam.sample."""

RECIPE = {recipe!r}


def generate(model, inputs=None, input_ids=None, attention_mask=None, tokenizer=None, seed=None, num_return_sequences=1, **others):
    import ulam
    from ulam.adapters.transformers_generate import generate_arguments

    ids = inputs if input_ids is None else input_ids
    given = generate_arguments(ulam.load(model, tokenizer), RECIPE, seed=seed, attention_mask=attention_mask, n=num_return_sequences)
    kept = {{name: value for name, value in others.items() if value is not None and name not in given}}
    return model.generate(ids, attention_mask=attention_mask, **given, **kept)
'''


def write_custom_generate(folder: str | Path, recipe: str | Recipe) -> Path:
    """Write `custom_generate/generate.py` into a model's directory, for `model.generate(..., custom_generate=folder, trust_remote_code=True)`.

    Those who call it give `tokenizer` and may give `seed`, and need ulam installed. Returns the file. Raises `UsageError` for a recipe
    without text, and if there is such a file already.
    """
    text = str(Recipe(recipe))
    try:
        same = Recipe(text) == Recipe(recipe)
    except UsageError:
        same = False
    if not same:
        raise UsageError(f"the recipe {text} has no text that could be read back", fix="stages of the catalogue")
    path = Path(folder) / "custom_generate" / "generate.py"
    if path.exists():
        raise UsageError(f"{path} is there already", fix="delete it, or another folder")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(CODE.format(recipe=text), encoding="utf-8")
    return path
