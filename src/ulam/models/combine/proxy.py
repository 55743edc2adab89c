"""Proxy: move a model by the difference that tuning made to smaller ones.

Math      z = l + a (e - n), where l, e, n are the log-probabilities of the base, the expert and the anti-expert: of the logits, the same up
          to a constant of the row.
Shapes    logits [B, V] nats; a a number, (-inf, inf). All models read the same text.
Neutral   a = 0: the base's logits, bit for bit
Edges     a token masked in the base stays masked. One masked in the anti-expert has the anti-expert's least finite value; one masked in
          the expert is masked. With a < 0 the two change places. A row that has no token then fails where it is drawn from.
Errors    OutOfRange for a number that is not finite; VocabularyMismatch.
Cost      a row of each model. The context is the shortest one.
Source    Liu, Sap, Lu, Swayamdipta, Bhagavatula, Smith, Choi 2021, "DExperts", arXiv 2105.03023; Liu, Han, Wang, Tsvetkov, Choi, Smith
          2024, "Tuning language models by proxy", arXiv 2401.08565.
Elsewhere no engine.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction as F

from ...core.arrays import Array
from ..combination import Combination, Part, PartsCase, number
from ..log_ratios import log_probs, moved
from ..protocol import LanguageModel

ALPHA = number("alpha", "(-inf, inf)", default=1.0, neutral=0, help="how much of the difference is added")
PARAMETERS = (ALPHA,)


def proxy(base: LanguageModel, expert: LanguageModel, anti: LanguageModel, alpha: float = ALPHA.default) -> Combination:
    """A model that differs from `base` as `expert` differs from `anti`."""
    alpha = ALPHA.check(alpha, "proxy")

    def rule(rows: Sequence[Array]) -> Array:
        if alpha == 0:
            return rows[0]
        main, tuned, plain = log_probs(rows)
        return moved(main, tuned, plain, alpha)

    return Combination("proxy", [Part(base), Part(expert), Part(anti)], rule, {"alpha": alpha})


ROWS = (
    (F(1, 2), F(3, 10), F(3, 20), F(1, 20)),
    (F(7, 10), F(1, 10), F(1, 10), F(1, 10)),
    (F(1, 10), F(7, 10), F(1, 10), F(1, 10)),
)

CASES = (
    PartsCase(ROWS, {"alpha": 0.5}, (0.80847274592195, 0.06929766393617, 0.09167219260641, 0.03055739753547), "the whole difference, whatever alpha is"),
    PartsCase(ROWS, {"alpha": 1}, (F(245, 262), F(3, 262), F(21, 524), F(7, 524)), "expert and anti-expert are exchanged"),
    PartsCase(
        ((F(1, 2), F(1, 4), F(1, 4), 0), (F(1, 4), F(1, 4), 0, F(1, 2)), (F(1, 2), 0, F(1, 4), F(1, 4))),
        {"alpha": 1},
        (F(1, 2), F(1, 2), 0, 0),
        "a token masked in base or expert comes back, or one masked in the anti-expert gets everything",
    ),
    PartsCase(
        ((F(1, 2), F(1, 4), F(1, 4)), (F(1, 2), F(1, 2), 0), (F(1, 2), F(1, 4), F(1, 4))),
        {"alpha": -1},
        (F(2, 3), F(1, 6), F(1, 6)),
        "with a negative alpha the anti-expert is the one whose masked tokens are read at its least value",
    ),
)
