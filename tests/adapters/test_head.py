"""What a few shown tokens decide, against the law of the full row."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from ulam import Recipe
from ulam.adapters.head import CHOOSERS, CUTS, RULES, Head, Look, bounds, check, cut
from ulam.core.context import History
from ulam.core.errors import Inexact
from ulam.core.parameter import parameters
from ulam.methods import catalogue

Row = NDArray[np.float64]


def log_softmax(z: Row) -> Row:
    return z - np.logaddexp.reduce(z)


@st.composite
def rows(draw: st.DrawFn) -> tuple[Row, int]:
    """A full row of log-probabilities, most likely first, without ties, and how many of them are shown."""
    size = draw(st.integers(2, 12))
    steps = draw(st.lists(st.floats(0.01, 2.0), min_size=size, max_size=size))
    return log_softmax(-np.cumsum(steps)), draw(st.integers(1, size))


STAGES = st.one_of(
    st.sampled_from([0.3, 0.7, 1.5, 3.0]).map(lambda x: f"temperature={x}"),
    st.integers(1, 5).map(lambda x: f"top_k={x}"),
    st.sampled_from([0.2, 0.5, 0.8, 0.95]).map(lambda x: f"top_p={x}"),
    st.sampled_from([0.05, 0.2, 0.5]).map(lambda x: f"min_p={x}"),
    st.tuples(st.integers(0, 11), st.sampled_from([-2.0, -0.5, 0.5, 2.0])).map(lambda x: f"logit_bias({{{x[0]}: {x[1]}}})"),
    st.integers(1, 11).map(lambda x: f"ban_tokens=[{x}]"),
    st.lists(st.integers(0, 11), min_size=1, max_size=4, unique=True).map(lambda x: f"allow_tokens={sorted(x)}"),
    st.sampled_from([0.5, 2.0]).map(lambda x: f"presence_penalty={x}"),
    st.sampled_from([0.3, 1.0]).map(lambda x: f"frequency_penalty({x}, window=3)"),
)


def inside(size: int, shown: int, generated: tuple[int, ...] = ()) -> Look:
    """Columns are the ids of the shown tokens; those of the history that are not shown have columns of their own."""
    spare = {token: shown + at for at, token in enumerate(dict.fromkeys(t for t in generated if t >= shown))}
    places = [spare.get(token, token) for token in generated]
    return Look(History((), places), len(spare), lambda item: item if isinstance(item, int) and item < shown else None)


@given(rows(), st.lists(STAGES, max_size=4), st.lists(st.integers(0, 11), max_size=5), st.sampled_from(["", "greedy"]))
def test_bounds_contain_the_law_and_a_cut_row_has_it(found: tuple[Row, int], stages: list[str], history: list[int], chooser: str) -> None:
    full, shown = found
    size = len(full)
    generated = tuple(token for token in history if token < size)
    text = " ".join([*stages, chooser])
    if any(int(token) >= size for token in numbers(text)):
        return
    recipe, look = Recipe(text), inside(size, shown, generated)
    head = Head.of(full[:shown], shown)
    try:
        low, high = bounds(head, recipe, look)
    except Inexact:
        return
    except Exception as error:  # a row that a constraint empties is empty in full too
        with pytest.raises(type(error)):
            recipe.distribution(full, generated=generated)
        return
    law = np.exp(recipe.distribution(full, generated=generated).log_probs)
    assert (low <= law[:shown] * (1 + 1e-9) + 1e-12).all()
    assert (law[:shown] <= high * (1 + 1e-9) + 1e-12).all()
    if (low == high).all() and head.missing > 0:
        np.testing.assert_allclose(low, law[:shown], rtol=1e-9, atol=1e-12)
        z, rest = cut(head, recipe, look)
        np.testing.assert_allclose(np.exp(rest.distribution(z, generated=look.history.generated).log_probs[:shown]), law[:shown], rtol=1e-9, atol=1e-12)
        assert law[shown:].sum() <= 1e-9


def numbers(text: str) -> list[str]:
    """The token ids that a text of the stages above names."""
    found: list[str] = []
    for word in text.split(" "):
        if "tokens" in word or word[:1].isdigit():
            found += [each for each in word.replace("[", ",").replace("]", ",").split(",") if each.isdigit()]
        if "logit_bias" in word:
            found.append(word.partition("{")[2].partition(":")[0])
    return found


def exact(head: Head, recipe: str) -> list[float]:
    low, high = bounds(head, recipe)
    assert (low == high).all()
    return low.tolist()


def test_what_cuts_inside_the_head_is_exact() -> None:
    """0.4 0.2 0.1 0.08 0.05 are shown and 0.17 is missing; the numbers are worked out by hand."""
    head = Head.of(np.log([0.4, 0.2, 0.1, 0.08, 0.05]), 5)
    assert head.missing == pytest.approx(0.17)
    assert math.exp(head.ceiling) == pytest.approx(0.05)
    assert exact(head, "top_k=3") == pytest.approx([4 / 7, 2 / 7, 1 / 7, 0, 0])
    assert exact(head, "top_k=5") == pytest.approx([40 / 83, 20 / 83, 10 / 83, 8 / 83, 5 / 83])
    assert exact(head, "top_p=0.5") == pytest.approx([2 / 3, 1 / 3, 0, 0, 0])
    assert exact(head, "top_p=0.83") == pytest.approx([40 / 83, 20 / 83, 10 / 83, 8 / 83, 5 / 83])
    assert exact(head, "min_p=0.2") == pytest.approx([40 / 78, 20 / 78, 10 / 78, 8 / 78, 0])
    assert exact(head, "temperature=0.5 top_k=2") == pytest.approx([16 / 20, 4 / 20, 0, 0, 0])
    assert exact(head, "top_k=2 temperature=0.5 top_p=0.7") == pytest.approx([1, 0, 0, 0, 0])
    assert exact(head, "temperature=2 greedy") == pytest.approx([1, 0, 0, 0, 0])


def test_what_does_not_cut_has_bounds() -> None:
    head = Head.of(np.log([0.4, 0.2, 0.1, 0.08, 0.05]), 5)
    for bound in bounds(head, ""):
        assert bound.tolist() == pytest.approx([0.4, 0.2, 0.1, 0.08, 0.05])
    low, high = bounds(head, "temperature=0.5")
    # 0.17 as 3 tokens of 0.05 and one of 0.02 has squares that add to 0.0079, and as dust to nothing; those shown add to 0.2189
    assert low[0] == pytest.approx(0.16 / (0.2189 + 0.0079))
    assert high[0] == pytest.approx(0.16 / 0.2189)
    low, high = bounds(head, "temperature=2")
    roots = math.sqrt(0.4) + math.sqrt(0.2) + math.sqrt(0.1) + math.sqrt(0.08) + math.sqrt(0.05)
    assert low.tolist() == [0] * 5
    assert high[0] == pytest.approx(math.sqrt(0.4) / (roots + 3 * math.sqrt(0.05) + math.sqrt(0.02)))


@pytest.mark.parametrize(
    ("recipe", "generated", "least", "most"),
    [
        ("ban_tokens=[7]", (), 0.17 - 0.05, 0.17),
        ("logit_bias({7: 1})", (), 0.17, 0.17 + (math.e - 1) * 0.05),
        ("logit_bias({7: -1})", (), 0.17 - 0.05, 0.17),
        ("presence_penalty=1", (7,), 0.17 - 0.05, 0.17),
        ("frequency_penalty=1", (7, 8, 7), 0.17 - 0.1, 0.17),
        ("allow_tokens=[0, 1, 2, 3, 4, 6, 8]", (), 0.0, 0.1),
    ],
)
def test_what_happens_to_tokens_that_are_not_shown_widens_the_bounds(recipe: str, generated: tuple[int, ...], least: float, most: float) -> None:
    """The others have mass 0.17, and each of them 0.05 at most."""
    low, high = bounds(Head.of(np.log([0.4, 0.2, 0.1, 0.08, 0.05]), 5), recipe, inside(9, 5, generated))
    assert low[0] == pytest.approx(0.4 / (0.83 + most))
    assert high[0] == pytest.approx(0.4 / (0.83 + least))


@pytest.mark.parametrize(
    ("recipe", "why"),
    [
        ("top_p=0.9", "top_p needs tokens of mass 0.9, and those that this server shows may hold 0.83"),
        ("min_p=0.1", "min_p cuts among tokens that this server does not show"),
        ("temperature=0.5 top_p=0.72", "top_p cuts among"),  # 0.16 is 0.7055 of the largest total and 0.7309 of the least
        ("logit_bias({0: -5}) top_p=0.715", "top_p needs tokens of mass 0.715"),  # the fifth is then less likely than others may be
        ("logit_bias({7: 1}) top_k=3", "top_k cuts among"),  # an other token may weigh 0.05 e
        ("top_k=6", "top_k keeps 6 tokens, and this server shows 5"),
        ("top_a=0.1", "top_a needs the whole row, and this server shows 5 tokens of it"),
        ("typical_p=0.5 top_k=2", "typical_p needs the whole row"),
        ("temperature=3 top_p=0.9", "top_p needs tokens of mass 0.9"),
        ("presence_penalty=-1 top_k=2", "presence_penalty with a negative value may lift"),
        ("repetition_penalty=1.2 top_k=2", "repetition_penalty depends on the logits as they are"),
        ("top_k=2 green_list=7", "green_list depends on how the tokens are numbered"),
        ("", "the model as it is leaves tokens that this server does not show, of mass 0.17"),
        ("temperature=0.8", "temperature=0.8 leaves tokens that this server does not show, of mass 0.17"),
        ("ban_tokens=[0, 1, 2, 3, 4] top_k=1", "ban_tokens leaves none of the tokens that this server shows"),
    ],
)
def test_what_is_not_decided_is_refused_by_name(recipe: str, why: str) -> None:
    head = Head.of(np.log([0.4, 0.2, 0.1, 0.08, 0.05]), 5)
    with pytest.raises(Inexact) as error:
        cut(head, Recipe(recipe), inside(9, 5))
    assert error.value.what.startswith(why)
    assert "\n" not in error.value.what
    assert error.value.exit_code == 6


def test_a_short_list_says_nothing_about_its_last_token() -> None:
    """Four of five that were asked for came: the fifth may be anything up to the missing mass."""
    head = Head.of(np.log([0.5, 0.2, 0.1, 0.05]), 5)
    assert math.exp(head.ceiling) == pytest.approx(0.15)
    assert exact(head, "top_k=2") == pytest.approx([5 / 7, 2 / 7, 0, 0])
    with pytest.raises(Inexact, match="top_k cuts among tokens that this server does not show"):
        bounds(head, "top_k=3")


def test_a_temperature_leaves_a_tie_with_the_last_token_shown() -> None:
    """All shown tokens are kept whatever the temperature, and rounding makes none of them less likely than the ceiling."""
    for seed in range(40):
        log_probs = log_softmax(np.random.default_rng(seed).normal(0, 2, 60))
        head = Head.of(np.sort(log_probs)[:-21:-1], 20)
        for T in (0.7, 0.9, 1.3):
            assert exact(head, f"temperature={T} top_k=20") == pytest.approx(
                np.sort(Recipe(f"temperature={T} top_k=20").distribution(log_probs).probs)[:-21:-1]
            )


def test_a_whole_row_needs_no_cut() -> None:
    head = Head.of(np.log([0.5, 0.25, 0.25]), 20)
    assert head.missing == 0
    assert exact(head, "temperature=2 typical_p=0.9 top_a=0.1") == pytest.approx(
        np.exp(Recipe("temperature=2 typical_p=0.9 top_a=0.1").distribution(np.log([0.5, 0.25, 0.25])).log_probs)
    )


@pytest.mark.parametrize("name", [name for name, method in catalogue().items() if method.kind != "chooser" and {"shift", "relabel"} <= {*method.claims}])
def test_after_a_cut_every_stage_is_what_it_is_on_the_full_row(name: str) -> None:
    """Tokens beyond the shown ones are impossible after the cut, and no stage may notice how many there are."""
    method = catalogue()[name]
    stage = next(stage for case in method.cases if not (stage := method.stage(**case.parameters)).neutral(1).any())
    if any(p.kind in (list, dict) and getattr(stage, p.name) for p in parameters(stage)) or name in ("min_tokens", "suppress_at_start"):
        pytest.skip("names tokens of a vocabulary")
    full = log_softmax(np.array([2.0, 1.5, 1.2, 0.7, 0.1, -0.4, -1.0, -3.0]))
    generated = (1, 0, 1, 0)
    recipe = Recipe([*Recipe("top_k=4").stages, stage])
    want = np.exp(recipe.distribution(full, generated=generated).log_probs)
    low, _ = bounds(Head.of(full[:5], 5), recipe, inside(8, 5, generated))
    np.testing.assert_allclose(low, want[:5], rtol=1e-12)


def test_what_is_plain_is_refused_before_a_row_is_seen() -> None:
    check(Recipe("temperature=0.5 top_k=20 typical_p=0.9"), 20, prompt=False)
    check(Recipe("temperature=0.5"), 20, prompt=False)  # a row may be shown whole
    for text, why in (
        ("top_a=0.1", "top_a needs"),
        ("top_k=21", "top_k keeps 21 tokens"),
        ("top_k=3 mirostat=5", "mirostat needs the whole row"),
        ("presence_penalty(1, scope=all) top_k=3", "presence_penalty looks at the tokens of the prompt"),
    ):
        with pytest.raises(Inexact, match=why):
            check(Recipe(text), 20, prompt=False)


def test_the_tables_name_methods() -> None:
    assert {*RULES, *CUTS, *CHOOSERS} <= {*catalogue()}
    assert {*CUTS} <= {*RULES}


def wrong(change: Any) -> bool:
    """Whether the hand-worked rows notice a head whose numbers are changed."""
    head = change(Head.of(np.log([0.4, 0.2, 0.1, 0.08, 0.05]), 5))
    try:
        low, high = bounds(head, "temperature=0.5")
    except Inexact:
        return True
    return not (low[0] == pytest.approx(0.16 / 0.2268) and high[0] == pytest.approx(0.16 / 0.2189))


def test_a_head_that_forgets_the_others_is_noticed() -> None:
    assert not wrong(lambda head: head)
    assert wrong(lambda head: Head(head.log_probs, 0.0, -math.inf))
    assert wrong(lambda head: Head(head.log_probs, head.missing, head.ceiling - 1))
    assert wrong(lambda head: Head(head.log_probs, head.missing / 2, head.ceiling))
