"""Contrastive: prefer what an expert finds likelier than an amateur does.

Math      S = {i : e_i >= a max e} for the expert's probabilities e; z_i = ln e_i - w ln q_i on S, masked elsewhere, where q is the amateur's
          softmax at temperature T. The form (1 + b) ln e - b ln q of O'Brien and Lewis is w = b / (1 + b), followed by temperature
          1 / (1 + b) in the recipe.
Shapes    logits [B, V] nats; a a ratio of probabilities, [0, 1]; w, [0, inf); T, (0, inf); numbers. Both models read the same text.
Neutral   w = 0 with a = 0: the expert's logits, bit for bit
Edges     all tokens at the threshold stay (slack 2^-40 nats, float32 2^-20), and the expert's most likely one always does. A token masked
          in the expert stays masked; one masked in the amateur has the amateur's least finite value.
Errors    OutOfRange outside the ranges; VocabularyMismatch.
Cost      a row of either model. The context is the shorter one.
Source    Li, Holtzman, Fried, Liang, Eisner, Hashimoto, Zettlemoyer, Lewis 2022, "Contrastive decoding: open-ended text generation as
          optimization", arXiv 2210.15097 (a = 0.1, w = 1, with T = 0.5 in places); O'Brien, Lewis 2023, arXiv 2309.09117.
Elsewhere no engine. The paper searches with a beam for the largest sum of z; here z is a model, to sample from or to search in.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction as F

from ...core.arrays import Array
from ..combination import Combination, Part, PartsCase, number
from ..log_ratios import contrast, log_probs
from ..protocol import LanguageModel

ALPHA = number("alpha", "[0, 1]", default=0.1, help="least probability that stays, as a fraction of the expert's largest")
WEIGHT = number("weight", "[0, inf)", default=1.0, help="how much of the amateur is taken away")
TEMPERATURE = number("amateur_temperature", "(0, inf)", default=1.0, neutral=1, help="divides the amateur's logits")
PARAMETERS = (ALPHA, WEIGHT, TEMPERATURE)


def contrastive(
    expert: LanguageModel,
    amateur: LanguageModel,
    alpha: float = ALPHA.default,
    weight: float = WEIGHT.default,
    amateur_temperature: float = TEMPERATURE.default,
) -> Combination:
    """A model that says what the expert says, less what the amateur would say as well."""
    given = zip(PARAMETERS, (alpha, weight, amateur_temperature), strict=True)
    values = {parameter.name: parameter.check(value, "contrastive") for parameter, value in given}
    alpha, weight, amateur_temperature = values.values()

    def rule(rows: Sequence[Array]) -> Array:
        if weight == 0 and alpha == 0:
            return rows[0]
        says, would = log_probs(rows, [1, amateur_temperature])
        return contrast(says, would, alpha, weight)

    return Combination("contrastive", [Part(expert), Part(amateur)], rule, values)


ROWS = ((F(1, 2), F(3, 10), F(3, 20), F(1, 20)), (F(2, 5), F(1, 10), F(2, 5), F(1, 10)))

CASES = (
    PartsCase(ROWS, {"alpha": 0.1, "weight": 1}, (F(10, 41), F(24, 41), F(3, 41), F(4, 41)), "the amateur is added; the token at the threshold goes"),
    PartsCase(ROWS, {"alpha": 0.1, "weight": 0.5}, (F(10, 27), F(12, 27), F(3, 27), F(2, 27)), "(1 + w) ln e - w ln q"),
    PartsCase(ROWS, {"alpha": 0.5, "weight": 1}, (F(5, 17), F(12, 17), 0, 0), "the threshold is taken of the difference, or of the amateur"),
    PartsCase(ROWS, {"alpha": 0, "weight": 1, "amateur_temperature": 0.5}, (F(10, 125), F(96, 125), F(3, 125), F(16, 125)), "the expert is cooled"),
    PartsCase(((F(1, 2), F(1, 4), F(1, 4), 0), (F(3, 4), F(1, 4), 0, 0)), {}, (F(1, 4), F(3, 8), F(3, 8), 0), "what the amateur cannot say gets everything"),
)
