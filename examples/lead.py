"""Lead: take h nats from every token but the most likely ones.

A method of one's own. `python examples/lead.py` registers it and uses it like any other; from this folder, `ulam audit lead:Lead`
checks what it claims.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction as F

import ulam
from ulam.core.arrays import Array, namespace, row_max
from ulam.core.context import Context
from ulam.methods import Case, Transform, parameter


@dataclass(frozen=True)
class Lead(Transform):
    h: float = parameter(float, "[0, inf)", neutral=0, fixed=True, help="nats that every token but the most likely ones loses")

    def apply(self, z: Array, context: Context) -> Array:
        return namespace(z).where(z < row_max(z), z - self.h, z)


CLAIMS = ("identity", "shift", "shrinks", "order", "argmax", "nonempty", "relabel", "batch", "history", "fork", "deterministic")

LN2 = 0.693147180559945309
CASES = (
    Case((F(1, 4), F(1, 2), F(1, 4)), {"h": LN2}, (F(1, 6), F(2, 3), F(1, 6)), "the probabilities lose h, not the logits"),
    Case((F(2, 5), F(1, 5), F(2, 5)), {"h": LN2}, (F(4, 9), F(1, 9), F(4, 9)), "one of two tied maxima loses too"),
    Case((F(1, 8), F(3, 4), F(1, 8)), {"h": 0}, (F(1, 8), F(3, 4), F(1, 8)), "the neutral value does something"),
)

if __name__ == "__main__":
    ulam.register(Lead)
    recipe = ulam.Recipe("lead=0.7 top_p=0.9")
    print(recipe, recipe.id)
    print(recipe.distribution([2.0, 1.0, 0.0]))
    print(ulam.law(ulam.load("abc"), recipe, max_tokens=3))
