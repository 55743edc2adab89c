"""Two laws side by side: distances against formulas, with and without the list of what is removed; ties; lines and pages."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction as F
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import ulam
from tests.tiny import SIZE, open_llama, write_tiny
from ulam.core.errors import BudgetExceeded, UsageError
from ulam.core.method import Constraint, Transform
from ulam.core.vocabulary import Vocabulary
from ulam.decode.recipe_model import RecipeModel
from ulam.exact import Interval, Law, Outcome
from ulam.exact.comparison import Comparison, compare
from ulam.exact.texts import text_log_probs
from ulam.exact.ties import Tie, blind, ties
from ulam.models import IID, Table, abc, alphabet

LN2 = math.log(2)


def normal(weights: list[int], names: str) -> dict[str, float]:
    return {name: weight / sum(weights) for name, weight in zip(names, weights, strict=True)}


WEIGHTS = st.lists(st.integers(1, 20), min_size=6, max_size=6)


@given(WEIGHTS, WEIGHTS, st.integers(1, 6))
def test_what_is_removed_need_not_be_listed(first: list[int], second: list[int], kept: int) -> None:
    """`law` has some of the other's outcomes; the distances are the same with the other law, and with its probabilities of these alone."""
    p, q = normal(first[:kept], "abcdef"[:kept]), normal(second, "abcdef")
    whole, part = Comparison(Law(p), Law(q)), Comparison(Law(p), {name: math.log(q[name]) for name in p})
    variation = sum(abs(p.get(name, 0) - q[name]) for name in q) / 2
    divergence = sum(p[name] * math.log(p[name] / q[name]) for name in p)
    for each in (whole, part):
        assert each.total_variation == pytest.approx(variation, abs=1e-14)
        assert each.kl == pytest.approx(divergence, abs=1e-14)
        assert each.rest == pytest.approx(sum(q[name] for name in q if name not in p), abs=1e-14)
    assert whole.removed == 6 - kept
    assert whole.entropy == pytest.approx(-sum(x * math.log(x) for x in q.values()))
    assert (part.removed, part.entropy) == (None, None)
    assert whole.total_variation == pytest.approx(Law(p).total_variation(Law(q)), abs=1e-14)
    if kept < 6:
        assert whole.reverse_kl == part.reverse_kl == math.inf
    else:
        assert whole.reverse_kl == pytest.approx(sum(q[name] * math.log(q[name] / p[name]) for name in q), abs=1e-14)
        assert part.reverse_kl is None  # nothing shows whether there is more


def test_a_mass_has_bounds_where_outcomes_are_not_listed() -> None:
    law = Law({"a": 0.5, "b": 0.5})
    assert Comparison(law, Law({"a": 0.25, "c": 0.75})).mass(lambda o: o in "ac") == 1
    assert Comparison(law, {"a": math.log(0.25), "b": math.log(0.125)}).mass(lambda o: o == "a") == pytest.approx(Interval(0.25, 0.875))


def test_laws_that_cannot_be_compared() -> None:
    with pytest.raises(UsageError, match="not covered"):
        Comparison(Law({"a": 0.5}, uncovered=0.5), {})
    with pytest.raises(UsageError, match="one law is of str and the other of int"):
        Comparison(Law({"a": 1.0}), Law({1: 1.0}))


def test_a_recipe_beside_the_model_and_beside_another() -> None:
    """Three letters: top_k=2 is (2/3, 1/3), T = 1/2 is (4, 1, 1)/6, which keeps (5/6)^3 of its mass there."""
    model = abc()
    for budget in (27, 8):  # 8 paths suffice for the recipe alone
        beside = compare(model, "top_k=2", max_paths=budget)
        assert beside.total_variation == pytest.approx(37 / 64)
        assert beside.kl == pytest.approx(3 * math.log(4 / 3))
        assert (beside.removed, beside.unlisted is None) == ((19, True) if budget == 27 else (None, False))
        other = compare(model, "top_k=2", "temperature=0.5", max_paths=budget)
        assert other.rest == pytest.approx(1 - (5 / 6) ** 3)
        assert dict(zip(other.law.outcomes, other.probs, strict=True))[Outcome((0, 0, 1), "length")] == pytest.approx(2 / 3 * 2 / 3 / 6)
    with pytest.raises(BudgetExceeded):
        compare(model, "top_k=2", max_paths=7)


D = Table({"": {"x": 0.5, "y": 0.4, "$": 0.1}, "x": {"y": 0.5, "$": 0.5}}, alphabet("xy", end="$"), otherwise={"$": 1}, name="D")


def exponentials(log_probs: Mapping[Any, float]) -> dict[Any, float]:
    return {outcome: math.exp(log_prob) for outcome, log_prob in log_probs.items()}


@pytest.mark.parametrize("recipe", ["", "temperature=0.5", "top_k=2 temperature=2", "repetition_penalty(1.5)"])
def test_texts_have_the_probability_that_the_loop_gives_them(recipe: str) -> None:
    law = ulam.law(D, recipe)
    probs = exponentials(text_log_probs(RecipeModel(D, recipe), (), law.outcomes))
    assert probs == {outcome: pytest.approx(float(p), abs=1e-15) for outcome, p in law}
    assert exponentials(text_log_probs(RecipeModel(D, "greedy"), (), [Outcome((1, 2), "stop"), Outcome((0, 1, 2), "stop")])) == {
        Outcome((1, 2), "stop"): 0.0,
        Outcome((0, 1, 2), "stop"): 1.0,
    }


def test_a_model_that_is_a_product_itself_is_compared_by_what_was_generated() -> None:
    """With the budget for one law alone the texts are evaluated under the other, and all of them after "a" are generated."""
    model = RecipeModel(IID((0.5, 0.3, 0.2)), "presence_penalty=1")
    whole, part = (compare(model, "top_k=2", "temperature=0.7", "a", 3, max_paths=paths) for paths in (27, 26))
    assert (whole.unlisted is None, part.unlisted is None) == (True, False)
    assert part.probs == pytest.approx(whole.probs, abs=1e-15)
    assert part.total_variation == pytest.approx(whole.total_variation, abs=1e-14)


def test_probabilities_of_texts_add_to_one_in_double_precision() -> None:
    """A model on torch speaks float32; nothing is removed here, so rounding must not look as if something were."""
    torch = pytest.importorskip("torch")

    class Torch(Table):
        probs = None  # type: ignore[assignment]

        def _read(self, prefixes: Any) -> Any:
            return torch.asarray(super()._read(prefixes), dtype=torch.float32)

    def row(prefix: tuple[int, ...]) -> Any:
        weight = np.random.default_rng([len(prefix), *prefix]).exponential(size=3)
        return weight / weight.sum()

    model = Torch({}, alphabet("abc"), otherwise=row, name="torch")
    law = ulam.law(model, "", max_tokens=3)
    for recipe in ("temperature=0.7", "temperature=1.5", "temperature=0.9"):
        log_probs = text_log_probs(RecipeModel(model, recipe), (), law.outcomes)
        assert math.fsum(exponentials(log_probs).values()) == pytest.approx(1, abs=1e-14)
        assert (Comparison(law, log_probs).rest, Comparison(law, log_probs).reverse_kl) == (0, None)


def in_float32(model: Table, module: Any) -> Table:
    """The same logits as float32 of a library."""

    class Single(type(model)):  # type: ignore[misc]
        probs = None  # type: ignore[assignment]

        def _read(self, prefixes: Any) -> Any:
            return module.asarray(super()._read(prefixes), dtype=module.float32)

    single = object.__new__(Single)
    single.__dict__.update(model.__dict__)
    return single


@pytest.mark.parametrize("library", ["numpy", "torch"])
def test_the_law_of_a_float32_model_is_normalised_in_float64(library: str) -> None:
    """Thirds have no sum of one in float32; a recipe that removes nothing must not look as if it did, and one that does must."""
    module = pytest.importorskip(library)
    row = tuple(float(x) for x in np.random.default_rng(3).dirichlet(np.ones(7)))
    model = in_float32(IID(row), module)
    for recipe, kept in (("temperature=0.7", 7**3), ("top_k=6", 6**3)):
        law = ulam.law(model, recipe, max_tokens=3)
        assert law.model_log_probs is not None
        beside = Comparison(law, law.model_log_probs)
        single = np.log(np.array(row)).astype(np.float32).astype(np.float64)
        mass = math.fsum(np.sort(np.exp(single))[-6:]) / math.fsum(np.exp(single)) if kept < 7**3 else 1.0
        assert len(law) == kept
        assert math.fsum(beside.probs) == pytest.approx(mass**3, abs=1e-13)
        assert (beside.rest == 0, beside.reverse_kl) == ((True, None) if kept == 7**3 else (False, math.inf))


@pytest.mark.parametrize("backend", ["builtin", "transformers"])
def test_a_network_in_float32_and_its_law(backend: str, tmp_path: Path) -> None:
    model: Any = open_llama(write_tiny(tmp_path))
    if backend == "transformers":
        torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
        torch.set_num_threads(1)
        network = transformers.AutoModelForCausalLM.from_pretrained(tmp_path).eval()
        model = ulam.load(lambda tokens: network(torch.tensor([list(tokens)])).logits[0, -1].detach(), model.vocabulary)
    law = ulam.law(model, "", prompt=[3], max_tokens=1)
    assert law.model_log_probs is not None
    beside = Comparison(law, law.model_log_probs)
    assert (len(law), beside.rest, beside.reverse_kl) == (SIZE, 0, None)
    assert beside.total_variation < 1e-14
    assert dict(law) == pytest.approx(dict(ulam.law(model, None, prompt=[3], max_tokens=1)), abs=1e-14)


def test_texts_too_rare_for_a_float_are_no_texts_that_are_removed() -> None:
    """Greedy says b 400 times, which the model says with probability 0.1^400: 400 ln 10 nats apart, and not infinitely far."""
    model = Table({}, alphabet("ab$"), otherwise=lambda prefix: (0.9, 0.1, 0.0), name="rare", fingerprint="rare")
    law = ulam.law(model, "ban_tokens=[0] greedy", max_tokens=400)
    assert law.model_log_probs is not None
    assert law.model_log_probs == {law.mode(): pytest.approx(400 * math.log(0.1))}
    assert Comparison(law, law.model_log_probs).kl == pytest.approx(400 * math.log(10))
    far = compare(model, "ban_tokens=[0] greedy", None, max_tokens=400, max_paths=3)
    assert far.unlisted is not None
    assert far.kl == pytest.approx(400 * math.log(10))
    small = Law({"a": F(1, 10**400), "b": 1 - F(1, 10**400)})
    assert Comparison(Law({"a": 1.0}), small).kl == pytest.approx(400 * math.log(10))
    assert Comparison(Law({"b": 1.0}), small).removed == 1


def test_a_text_that_ended_in_error_has_a_probability_only_where_the_model_fails() -> None:
    class Failing(Table):
        probs = None  # type: ignore[assignment]

        def _read(self, prefixes: Any) -> Any:
            z = super()._read(prefixes)
            z[[1 in prefix for prefix in prefixes]] = np.nan
            return z

    model = Failing({}, alphabet("ab"), otherwise=lambda prefix: (0.75, 0.25), name="failing")
    failed, ended = Outcome((1,), "error"), Outcome((0,), "error")
    assert exponentials(text_log_probs(RecipeModel(model, ""), (), [failed, ended])) == {failed: pytest.approx(0.25), ended: 0.0}
    assert compare(model, "", max_tokens=2).total_variation == pytest.approx(0, abs=1e-15)


@dataclass(frozen=True)
class NothingAfterB(Transform):
    """Forbids every token after a b."""

    def apply(self, z: Any, context: Any) -> Any:
        return np.where([[1 in row.generated] for row in context.rows], -np.inf, z)


def test_the_model_never_ends_where_a_stage_fails() -> None:
    """b (error) has 1/4 under the recipe; the model says ba, bb and bc in its place."""
    law = ulam.law(abc(), ulam.Recipe([NothingAfterB()]), max_tokens=2)
    assert law.model_log_probs is not None
    assert law.model_log_probs[Outcome((1,), "error")] == -math.inf
    assert law.prob(Outcome((1,), "error")) == pytest.approx(0.25)
    for other in (ulam.law(abc(), max_tokens=2), law.model_log_probs):
        beside = Comparison(law, other)
        assert beside.total_variation == pytest.approx(0.25)
        assert beside.rest == pytest.approx(0.25)
        assert beside.kl == math.inf


# ties


def of(model: Table, recipe: str, length: int = 2) -> list[Tie]:
    return ties(ulam.law(model, recipe, max_tokens=length), model, ulam.Recipe(recipe), ())


def test_a_tie() -> None:
    assert of(abc(), "temperature=0.7 top_k=2") == [Tie("top_k=2", (1,), (2,), (), 3, True)]
    assert of(IID((0.25,) * 4), "top_k=2 greedy", 1) == [Tie("top_k=2", (0,), (2, 3), (), 1, True), Tie("greedy", (0,), (1,), (), 1, True)]
    assert of(IID((0.125, 0.25, 0.125, 0.25, 0.25)), "top_k=4 top_p=0.9", 1) == [Tie("top_k=4", (0,), (2,), (), 1, True)]
    assert of(IID((0.125, 0.25, 0.125, 0.25, 0.25)), "temperature=0", 1) == [Tie("temperature=0", (1,), (3, 4), (), 1, True)]


def test_a_tie_that_a_later_stage_makes_idle_is_none() -> None:
    """top_k keeps b and drops its equal c; greedy then drops b too, so c would not have been said anyway."""
    assert of(abc(), "top_k=2 greedy") == []
    assert of(abc(), "top_k=2 top_p=0.5") == []


@dataclass(frozen=True)
class NoFirst(Transform):
    """Forbids the first token, whatever its logit: not a tie."""

    def apply(self, z: Any, context: Any) -> Any:
        out = z.copy()
        out[:, 0] = -np.inf
        return out


def test_a_stage_that_may_have_another_reason_is_not_looked_at() -> None:
    assert not blind(NoFirst())
    model, recipe = IID((0.5, 0.5)), ulam.Recipe([NoFirst()])
    assert ties(ulam.law(model, recipe, max_tokens=1), model, recipe, ()) == []


# lines and pages


def test_a_table_of_one_law() -> None:
    assert ulam.law(abc(), "top_k=2").table(top=2).splitlines() == [
        " text   law",
        " aaa    0.296   ██████████████▊",
        " aab    0.148   ███████▍",
        " rest   0.556 in 6 texts",
        " entropy 2.755 bits",
    ]


def test_a_table_of_two_laws_of_anything() -> None:
    assert Law({"x": 0.5, "y": 0.5}).table(Law({"x": 0.25, "y": 0.25, "z": 0.5})).splitlines() == [
        " outcome   law   other",
        f" x         0.5   0.25    {'█' * 25}",
        f" y         0.5   0.25    {'█' * 25}",
        " 1 other outcome of the other law has probability 0 under the law (0.5 of the other law's mass)",
        " entropy 1 bit (other 1.5) · total variation 0.5 · KL(law‖other) 1 bit · KL(other‖law) infinite",
    ]


def test_a_table_of_a_part() -> None:
    assert Law({"x": 0.5}, uncovered=0.5).table().splitlines()[-1] == " 0.5 of the law is not covered"


class Page(HTMLParser):
    """The elements of a page, whether they are closed in order, and the text of each cell."""

    def __init__(self, text: str):
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.cells: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.open.append(tag)
        self.tags.append((tag, dict(attrs)))
        if tag == "td":
            self.cells.append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "td":
            self.cells[-1] += data


def test_a_page() -> None:
    text = ulam.law(abc(), "top_k=2")._repr_html_()
    page = Page(text)
    assert {tag for tag, _ in page.tags} == {"div", "style", "p", "table", "tr", "th", "td", "i", "details", "summary"}
    assert page.tags[0] == ("div", {"class": "ulam-law"})
    assert page.cells[:4] == ["aaa", "0.296", "0.125", ""]
    assert 'style="width:29.6%"' in text
    assert "8 texts · entropy 2.755 bits · total variation 0.578 · KL(law‖model) 1.245 bits" in text
    assert "@media (prefers-color-scheme: dark)" in text
    assert not re.search(r"https?:|src=|@import|url\(", text)
    assert "a 0.667 · b 0.333" in page.cells


def test_text_is_escaped() -> None:
    vocabulary = Vocabulary([b"<script>alert(1)</script>", b"&lt;", b'"\x1b[2J', b"\xff"], encode=lambda text: [])
    page = Page(ulam.law(IID((0.4, 0.3, 0.2, 0.1), vocabulary), "", max_tokens=1)._repr_html_())
    assert "script" not in [tag for tag, _ in page.tags]
    assert page.cells[::4][:4] == ["<script>alert(1)</script>", "&lt;", '"␛[2J', "⟨FF⟩"]


def test_a_page_is_bounded_and_says_what_it_leaves_out() -> None:
    vocabulary = Vocabulary([b'"' * 300, "漢".encode() * 400, b"c"], encode=lambda text: [])
    law = ulam.law(IID((0.5, 0.25, 0.25), vocabulary), None, max_tokens=7)
    text = law._repr_html_()
    assert 150_000 < len(text.encode()) <= 200_000
    shown = int(re.search(r"the first (\d+)<", text)[1])  # type: ignore[index]
    assert shown < 500
    assert f"{len(law) - shown:,}".replace(",", " ") + " texts left out here: law.outcomes and law.probs have all" in text
    assert text.count("<tr><td>") == 12 + shown + 7
    short = ulam.law(abc(), None, max_tokens=7)._repr_html_()
    assert "the first 500<" in short
    assert "1 687 texts left out here" in short


def test_a_page_of_anything_and_of_a_part() -> None:
    page = Page(Law({1: 0.5, (2, 3): 0.25}, uncovered=0.25)._repr_html_())
    assert page.cells[:6] == ["1", "0.5", "", "(2, 3)", "0.25", ""]
    assert "0.25 of the law is not covered" in Law({1: 0.75}, uncovered=0.25)._repr_html_()
    assert Page(Law({}, uncovered=1.0)._repr_html_()).cells == []
    assert Law({}, uncovered=1.0).table().splitlines() == [" text   law", " 1 of the law is not covered"]


def test_a_page_of_a_long_text() -> None:
    page = Page(ulam.law(abc(), "greedy", max_tokens=60)._repr_html_())
    assert page.cells[-2:] == ["…", "10 more positions: law.marginal(50)"]
    assert page.cells[-4:-2] == ["49", "a 1"]


@dataclass(frozen=True)
class BarredAfterB(Constraint):
    """The same as a constraint."""

    def allowed(self, z: Any, context: Any) -> Any:
        return np.array([[1 not in row.generated] for row in context.rows])


def test_a_text_that_a_constraint_ends_is_an_outcome_of_its_own() -> None:
    """Loop, walk and the evaluation of single texts agree: b (constraint) has 1/4, b (error) has none."""
    recipe, barred = ulam.Recipe([BarredAfterB()]), Outcome((1,), "constraint")
    drawn, walked = ulam.law(abc(), recipe, max_tokens=2), ulam.law(RecipeModel(abc(), recipe), None, max_tokens=2)
    assert dict(drawn) == pytest.approx(dict(walked))
    assert drawn.prob(barred) == pytest.approx(0.25)
    assert drawn.text(barred) == "b (constraint)"
    assert exponentials(text_log_probs(RecipeModel(abc(), recipe), (), [barred, Outcome((1,), "error")])) == {
        barred: pytest.approx(0.25),
        Outcome((1,), "error"): 0.0,
    }
