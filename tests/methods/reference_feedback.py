"""The choosers with feedback once more, token by token, in plain Python and as their definitions read: laws, and what is carried."""

from __future__ import annotations

import math
from typing import Any

from .reference import INF, SLACK, Row, kept, order, probabilities


def log_probs(z: Row) -> Row:
    log_total = max(z) + math.log(math.fsum(math.exp(x - max(z)) for x in z))
    return [x - log_total for x in z]


def zipf(z: Row, m: int) -> float:
    """The exponent of the power law through the first m tokens in order, or all that are possible."""
    ranked = [z[i] for i in order(z)[:m]]
    t = [math.log((i + 1) / i) for i in range(1, len(ranked))]
    return math.fsum(x * (a - b) for x, a, b in zip(t, ranked, ranked[1:], strict=False)) / math.fsum(x * x for x in t)


def mirostat_size(z: Row, mu: float, m: int) -> int:
    n = len(order(z))
    if n == 1:
        return 1
    s = zipf(z, m)
    if s <= 0:
        return n
    e = s - 1
    r = 1 / math.log(len(z)) if abs(e) < 1e-9 else e / (1 - len(z) ** -e)
    try:
        k = (r * 2**mu) ** (1 / s) * (1 + SLACK)
    except OverflowError:
        return n
    return n if k >= n else max(1, math.floor(k))


def mirostat(z: Row, mu: float, m: int = 100, **_: Any) -> Row:
    return kept(z, order(z)[: mirostat_size(z, mu, m)])


def mirostat_v2(z: Row, mu: float, **_: Any) -> Row:
    few = [i for i, x in enumerate(log_probs(z)) if x > -INF and -x <= mu * math.log(2) + SLACK]
    return kept(z, [*few, order(z)[0]])


def mu_after(z: Row, mu: float, token: int, cut: Any, tau: float, eta: float = 0.1, observed: str = "input", **rest: Any) -> float:
    surprise = -log_probs(cut(z, mu, **rest) if observed == "kept" else z)[token] / math.log(2)
    return mu if surprise == INF else mu - eta * (surprise - tau)


def adaptive_p(z: Row, state: tuple[float, float], target: float, decay: float = 0.9) -> Row:
    total, weight = state
    a = min(max(2 * target - total / weight, 0.0), 1.0)
    distances = [abs(p - a) / 0.3 for p in probabilities(z)]
    return [5 - 10 * d * d / (1 + d) if x > -INF else -INF for x, d in zip(z, distances, strict=True)]


class Reference:
    """One of the choosers by name: `begin()`, `law(z, state)`, `after(z, state, token)`."""

    def __init__(self, name: str, **parameters: Any):
        self.name, self.parameters = name, parameters
        self.cut = {"mirostat": mirostat, "mirostat_v2": mirostat_v2}.get(name)

    def begin(self) -> Any:
        if self.cut is not None:
            return 2 * self.parameters["tau"]
        return tuple(x / (1 - self.parameters.get("decay", 0.9)) for x in (self.parameters["target"], 1.0))

    def law(self, z: Row, state: Any) -> Row:
        return probabilities((self.cut or adaptive_p)(z, state, **self.choices))

    @property
    def choices(self) -> dict[str, Any]:
        """The parameters that the law depends on, apart from what is carried."""
        return {name: x for name, x in self.parameters.items() if name in (("m",) if self.cut else ("target", "decay"))}

    def after(self, z: Row, state: Any, token: int) -> Any:
        if self.cut is not None:
            return mu_after(z, state, token, self.cut, **self.parameters)
        decay = self.parameters.get("decay", 0.9)
        return probabilities(z)[token] + decay * state[0], 1 + decay * state[1]
