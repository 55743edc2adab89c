"""Guidance: move away from what the model says after another prompt.

Math      z = l + (s - 1)(l - n) = n + s (l - n), where l are the model's log-probabilities after its prompt and n those after the
          negative one: p^s n^(1-s) up to a constant. s = 0 is the negative prompt, between 0 and 1 a geometric mean of both.
Shapes    logits [B, V] nats; s a number, [0, inf). `prompt` and `negative` are texts or token ids, encoded each on its own; they stand
          before the text, after the start token, so that both sides share every token of the row: what is generated, and what
          is given to `ulam.sample` as a prompt. `ulam.sample(guidance(model, 3, "Sad.", prompt="Happy."), "")` begins after
          either. One combination is for one negative prompt; the empty one is the start token.
Neutral   s = 1: the logits after the prompt, bit for bit
Edges     a token masked after the prompt stays masked. After the negative prompt, if s > 1, it has the least finite value of its row;
          if s < 1 it is masked. A row that has no token then fails where it is drawn from.
Errors    OutOfRange outside [0, inf); UsageError if both prompts are equal; EmptyPrompt for a row without the start token of a model
          that has one; ContextOverflow if a prompt fills the context; NeedsTokenizer for a text where there is no tokenizer.
Cost      two rows of the model for one. The context is shorter by the longer of the prompts.
Source    Sanchez, Fan, Spangher, Levi, Ammanamanchi, Biderman 2023, "Stay on topic with classifier-free guidance", arXiv 2306.17806;
          Ho, Salimans 2022, arXiv 2207.12598, for images.
Elsewhere `guidance_scale` of transformers: the same, with the last token of the prompt as negative prompt if there is none; `cfg_scale` of
          exllamav2 mixes log-softmax rows, koboldcpp has it, llama.cpp has dropped it. There the negative prompt stands in the
          place of the whole prompt; here that is `prompt` in the combination and nothing in `ulam.sample`.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction as F

from ...core.arrays import Array
from ...core.errors import UsageError
from ..combination import Combination, Part, PartsCase, number, tokens_before
from ..log_ratios import log_probs, moved
from ..protocol import LanguageModel

SCALE = number("scale", "[0, inf)", default=1.5, neutral=1, help="how far from the negative prompt: 1 is the prompt alone")
PARAMETERS = (SCALE,)


def guidance(model: LanguageModel, scale: float = SCALE.default, negative: str | Sequence[int] = "", *, prompt: str | Sequence[int] = "") -> Combination:
    """A model that goes from what `model` says after `negative` towards what it says after `prompt`, and beyond if `scale` > 1."""
    scale = SCALE.check(scale, "guidance")
    main, other = (tokens_before(model, words, f"guidance: {place}") for place, words in (("prompt", prompt), ("negative", negative)))
    if main == other:
        raise UsageError("guidance: prompt and negative are equal, so there is nothing to move away from", fix='guidance(model, 1.5, negative="A sad story.")')

    def rule(rows: Sequence[Array]) -> Array:
        if scale == 1:
            return rows[0]
        positive, away = log_probs(rows)
        return moved(positive, positive, away, scale - 1)

    return Combination("guidance", [Part(model, main), Part(model, other)], rule, {"scale": scale})


ROWS = ((F(1, 2), F(3, 10), F(3, 20), F(1, 20)), (F(2, 5), F(2, 5), F(1, 10), F(1, 10)))

CASES = (
    PartsCase(ROWS, {"scale": 1.5}, (0.53860822117004, 0.25032248048664, 0.17700472343554, 0.03406457490778), "probabilities mixed, not logarithms"),
    PartsCase(ROWS, {"scale": 3}, (F(125, 208), F(27, 208), F(54, 208), F(2, 208)), "l + s (l - n): one scale too many"),
    PartsCase(ROWS, {"scale": 0}, (F(2, 5), F(2, 5), F(1, 10), F(1, 10)), "scale 0 is the prompt alone"),
    PartsCase(
        ((F(1, 2), F(1, 4), F(1, 8), F(1, 8)), (F(1, 2), F(1, 4), F(1, 4), 0)),
        {"scale": 2},
        (F(4, 7), F(2, 7), F(1, 14), F(1, 14)),
        "a token that is impossible after the negative prompt gets everything, or goes",
    ),
    PartsCase(((F(1, 2), 0, F(1, 2)), (F(1, 4), F(1, 2), F(1, 4))), {"scale": 0}, (F(1, 2), 0, F(1, 2)), "a token masked after the prompt comes back"),
)
