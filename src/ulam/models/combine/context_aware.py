"""Context-aware: weigh what a context changes more than the model does.

Math      z = l + a (l - w) = (1 + a) l - a w, where l are the model's log-probabilities with the context and w those without it:
          guidance with scale 1 + a, whose negative prompt is no context.
Shapes    logits [B, V] nats; a a number, [0, inf). The context is a text or token ids, encoded on its own; it stands before the text, after
          the start token. The text, prompt and all, is shared: `ulam.sample(context_aware(model, article), question)`.
Neutral   a = 0: the logits with the context, bit for bit
Edges     a token masked with the context stays masked; one masked without it has the least finite value of that row.
Errors    OutOfRange outside [0, inf); UsageError for an empty context; EmptyPrompt for a row without the start token of a model that has
          one; ContextOverflow if the context fills that of the model; NeedsTokenizer for a text where there is no tokenizer.
Cost      two rows of the model for one. The context length is shorter by the context.
Source    Shi, Han, Lewis, Tsvetkov, Zettlemoyer, Yih 2023, "Trusting your evidence: hallucinate less with context-aware decoding",
          arXiv 2305.14739.
Elsewhere no engine.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction as F

from ...core.arrays import Array
from ...core.errors import UsageError
from ..combination import Combination, Part, PartsCase, number, tokens_before
from ..log_ratios import log_probs, moved
from ..protocol import LanguageModel

ALPHA = number("alpha", "[0, inf)", default=0.5, neutral=0, help="weight of what the context changes: 0 only reads it")
PARAMETERS = (ALPHA,)


def context_aware(model: LanguageModel, context: str | Sequence[int], alpha: float = ALPHA.default) -> Combination:
    """A model that reads `context` before every text and relies on it more, the larger `alpha` is."""
    alpha = ALPHA.check(alpha, "context_aware")
    before = tokens_before(model, context, "context_aware: the context")
    if not before:
        raise UsageError("context_aware: the context is empty, so it changes nothing", fix='context_aware(model, "The fox is blue.")')

    def rule(rows: Sequence[Array]) -> Array:
        if alpha == 0:
            return rows[0]
        aware, without = log_probs(rows)
        return moved(aware, aware, without, alpha)

    return Combination("context_aware", [Part(model, before), Part(model)], rule, {"alpha": alpha})


ROWS = ((F(1, 2), F(3, 10), F(3, 20), F(1, 20)), (F(2, 5), F(2, 5), F(1, 10), F(1, 10)))

CASES = (
    PartsCase(ROWS, {"alpha": 0.5}, (0.53860822117004, 0.25032248048664, 0.17700472343554, 0.03406457490778), "the two sides are exchanged"),
    PartsCase(ROWS, {"alpha": 1}, (F(25, 44), F(9, 44), F(9, 44), F(1, 44)), "alpha is the scale of guidance, not one less"),
    PartsCase(
        ((F(1, 2), 0, F(1, 4), F(1, 4)), (F(1, 4), F(1, 4), F(1, 2), 0)),
        {"alpha": 1},
        (F(8, 11), 0, F(1, 11), F(2, 11)),
        "a token masked with the context comes back; one that is impossible without it gets everything",
    ),
)
