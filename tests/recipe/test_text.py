"""The text of a recipe: printing and parsing are inverse, and what cannot be meant is refused in words."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ulam.core.errors import OutOfRange, RecipeError, UlamError, UnknownMethod, UnknownParameter, UsageError
from ulam.core.method import Stage
from ulam.core.parameter import parameters
from ulam.core.values import Word
from ulam.methods import catalogue
from ulam.methods.choosers.categorical import CategoricalChooser
from ulam.methods.choosers.greedy import Greedy
from ulam.methods.transforms.logit_bias import LogitBias
from ulam.methods.transforms.repetition_penalty import RepetitionPenalty
from ulam.methods.transforms.temperature import Temperature
from ulam.methods.transforms.top_k import TopK
from ulam.methods.transforms.top_p import TopP
from ulam.recipe import Recipe

from .strategies import numbers, recipes


@given(recipes())
def test_parsing_is_the_inverse_of_printing(recipe: Recipe) -> None:
    text = str(recipe)
    try:
        again = Recipe(text)
    except UlamError:
        again = None
    assert again == recipe
    assert again is not None
    assert str(again) == text
    assert [repr(stage) for stage in again.written] == [repr(stage) for stage in recipe.written]  # the same bits, -0.0 included


@given(recipes())
def test_a_printed_recipe_is_one_line_that_a_terminal_can_show(recipe: Recipe) -> None:
    assert str(recipe).isprintable()


@given(recipes(), st.lists(st.sampled_from([" ", "\n", "\t", "  ", "\r\n", "\u00a0", "\u2003"]), min_size=6, max_size=6))
def test_blanks_between_stages_mean_nothing(recipe: Recipe, blanks: list[str]) -> None:
    texts = [str(stage) for stage in recipe.stages]
    joined = blanks[-1] + "".join(text + blank for text, blank in zip(texts, blanks, strict=False))
    assert Recipe(joined) == recipe


@given(recipes())
def test_a_recipe_of_a_recipe_is_the_same(recipe: Recipe) -> None:
    assert Recipe(recipe) == recipe
    assert Recipe(list(recipe.stages)) == recipe
    assert Recipe(stage for stage in recipe.stages) == recipe


@pytest.mark.parametrize(
    ("text", "stages", "printed"),
    [
        ("", [], "categorical"),
        (" \n ", [], "categorical"),
        ("categorical", [CategoricalChooser()], "categorical"),
        ("temperature=0.80 top_p=.95", [Temperature(0.8), TopP(0.95)], "temperature=0.8 top_p=0.95"),
        ("temperature( 0.8 )", [Temperature(0.8)], "temperature=0.8"),
        ("temperature(T=0.8)", [Temperature(0.8)], "temperature=0.8"),
        ("temperature=+1e-1", [Temperature(0.1)], "temperature=0.1"),
        ("temperature=-0.0", [Temperature(0)], "temperature=0"),
        ("temperature=1e22", [Temperature(1e22)], "temperature=1e22"),
        ("temperature=0.00001", [Temperature(0.00001)], "temperature=1e-5"),
        ("top_k=40.0 top_k=1e2", [TopK(40), TopK(100)], "top_k=40 top_k=100"),
        ("top_k=9007199254740993", [TopK(2**53 + 1)], "top_k=9007199254740993"),
        ("greedy()", [Greedy()], "greedy"),
        (
            "repetition_penalty(1.1,window=256,\n scope = generated)",
            [RepetitionPenalty(1.1, window=256, scope="generated")],
            "repetition_penalty(1.1, window=256, scope=generated)",
        ),
        ('repetition_penalty(r=1.1, scope="all", window=all)', [RepetitionPenalty(1.1)], "repetition_penalty=1.1"),
        ("logit_bias={}", [LogitBias({})], "logit_bias={}"),
        (
            'logit_bias={end: 1, "end": 0, " cat": 2.50, 7: -5}',
            [LogitBias({Word("end"): 1, "end": 0, " cat": 2.5, 7: -5})],
            'logit_bias={7: -5, " cat": 2.5, "end": 0, end: 1}',
        ),
        ('logit_bias={"a\\"\\\\\\u00e9\\n": 1}', [LogitBias({'a"\\é\n': 1})], 'logit_bias={"a\\"\\\\é\\n": 1}'),
    ],
)
def test_what_a_text_means(text: str, stages: list[Stage], printed: str) -> None:
    assert Recipe(text) == Recipe(stages)
    assert list(Recipe(text).stages) == stages
    assert str(Recipe(text)) == printed


def test_quotes_tell_text_from_words() -> None:
    assert Recipe("logit_bias={end: 1}") != Recipe('logit_bias={"end": 1}')
    assert Recipe("logit_bias={1: 1}") != Recipe('logit_bias={"1": 1}')


# what is wrong, the error, and what its text must hold: the value, the place, the way out
ERRORS = [
    ("topp=0.9", UnknownMethod, ['unknown stage "topp"', "stage 1", "Did you mean top_p?"]),
    ("temperature=1 temp=0.9", UnknownMethod, ['unknown stage "temp"', "stage 2", "Did you mean temperature?"]),
    ("repeat_penalty=1.1", UnknownMethod, ["Did you mean repetition_penalty?"]),
    ("top-k=4", UnknownMethod, ['unknown stage "top-k"', "top_k"]),
    ("Top_p=0.5", UnknownMethod, ['"Top_p"', "top_p"]),
    ("upon", UnknownMethod, ['unknown stage "upon"', "Stages:", "temperature", "greedy"]),
    ("top_p=95", OutOfRange, ["top_p=95 is outside [0, 1]", "Nearest allowed value: 1", "write top_p=0.95"]),
    ("top_p=-0.1", OutOfRange, ["top_p=-0.1 is outside [0, 1]", "Nearest allowed value: 0"]),
    ("top_k=-1", OutOfRange, ["top_k=-1 is outside [0, inf)", "0", "the stage does nothing"]),
    ("top_k=2.5", OutOfRange, ["top_k=2.5 is not an integer"]),
    ("top_k=1" + "0" * 400, OutOfRange, ["top_k=inf is outside [0, inf)"]),
    ("top_k=9223372036854775808", OutOfRange, ["top_k=inf is outside [0, inf)"]),
    ("temperature=-1", OutOfRange, ["temperature=-1 is outside [0, inf)", "Nearest allowed value: 0", "switch it off: 1"]),
    ("temperature=inf", OutOfRange, ["temperature=inf is outside [0, inf)"]),
    ("temperature=1e400", OutOfRange, ["temperature=inf is outside [0, inf)"]),
    ("temperature=1" + "0" * 400, OutOfRange, ["temperature=inf is outside [0, inf)"]),
    ("temperature=" + "9" * 5000, OutOfRange, ["temperature=inf is outside [0, inf)"]),
    ("temperature=nan", OutOfRange, ["temperature=nan is not a number"]),
    ("temperature=true", OutOfRange, ["temperature=true is not a number"]),
    ('temperature="1"', OutOfRange, ['temperature="1" is not a number']),
    ("temperature=[1]", OutOfRange, ["temperature=list is not a number"]),
    ("repetition_penalty(1.1, window=some)", OutOfRange, ["repetition_penalty: window=some is not one of all"]),
    ("repetition_penalty(1.1, scope=prmpt)", OutOfRange, ["repetition_penalty: scope=prmpt is not one of prompt, generated, all", "Did you mean prompt?"]),
    ("repetition_penalty(1.1, scope=7)", OutOfRange, ["scope=7 is not one of prompt, generated, all"]),
    ("temperature", UnknownParameter, ["temperature needs a value for T", "[0, inf)", "stage 1", "fix: temperature=..."]),
    ("greedy=1", UnknownParameter, ["greedy has no parameters", "1 value", "stage 1"]),
    ("top_p(0.5, 0.6)", UnknownParameter, ["top_p takes p", "2 values", "stage 1"]),
    ("greedy(k=1)", UnknownParameter, ['greedy has no parameter "k"', "It has no parameters."]),
    ("repetition_penalty(1.1, windw=3)", UnknownParameter, ['repetition_penalty has no parameter "windw"', "stage 1", "Did you mean window?"]),
    ("top_p(0.5, q=3)", UnknownParameter, ['top_p has no parameter "q"', "It takes p."]),
    ("top_p(0.5, p=0.6)", UnknownParameter, ["top_p: p is given twice", "stage 1"]),
    ("top_p(p=0.5, p=0.6)", UnknownParameter, ["top_p: p is given twice", "stage 1"]),
    ("repetition_penalty(window=3, 1.1)", RecipeError, ["positional values before named ones"]),
    ("logit_bias={1: inf}", OutOfRange, ["logit_bias: map[1]=inf is not finite"]),
    ("logit_bias={1: 1" + "0" * 400 + "}", OutOfRange, ["map[1]=inf is not finite"]),
    ("logit_bias={1: true}", OutOfRange, ["logit_bias=true is not a number for every token"]),
    ("logit_bias={-1: 2}", OutOfRange, ["logit_bias=-1 is not a token"]),
    ("logit_bias={1.5: 2}", OutOfRange, ["logit_bias=1.5 is not a token"]),
    ("logit_bias={ned: 2}", OutOfRange, ["ned is not a token", "end or bos"]),
    ("logit_bias={ends: 2}", OutOfRange, ["ends is not a token", "end or bos", "Did you mean end?"]),
    ('logit_bias={"\\ud800": 2}', OutOfRange, ['"\\ud800"', "surrogate"]),
    ("logit_bias={1: 2, 1: 3}", RecipeError, ["every key of the map once"]),
    ("logit_bias={1: 2, 1.0: 3}", RecipeError, ["every key of the map once"]),
    ("logit_bias={[1]: 2}", OutOfRange, ["logit_bias", "a token: an id, a text, or the word end"]),
    ("logit_bias={[{1: 2}]: 2}", RecipeError, ["a number, a string, a word or a list of ids as the key"]),
    ("logit_bias={1: 2", RecipeError, ['expected ","', "the end"]),
    ("logit_bias={1 2}", RecipeError, ['expected ":"', "character 15"]),
    ("logit_bias=5", OutOfRange, ["a map from tokens to numbers"]),
    ('logit_bias={"a: 1}', RecipeError, ["expected a value", "character 13"]),
    ('logit_bias={"\\q": 1}', RecipeError, ["JSON escapes"]),
    ("top_p=", RecipeError, ["expected a value", "the end", "character 7"]),
    ("top_p=0.5top_k=4", RecipeError, ["a space between stages", "character 10"]),
    ("top_k=1_000", RecipeError, ["a space between stages", '"_000"']),
    ("top_p=0.5, top_k=4", RecipeError, ["a space between stages", '", top_k=4"']),
    ("=3", RecipeError, ["the name of a stage", "character 1"]),
    ("\ufefftop_p=0.5", RecipeError, ["the name of a stage", "character 1"]),
    ("temperature=\u0661", RecipeError, ["expected a value"]),
    ("top_p=" + "[" * 100_000, RecipeError, ["brackets inside brackets"]),
    ("greedy gumbel_max", RecipeError, ["a recipe has one chooser", "greedy and gumbel_max", "fix: gumbel_max"]),
    ("greedy top_p=0.5", RecipeError, ["the chooser greedy draws the token, so it stands last", "fix: top_p=0.5 greedy"]),
    ("greedy top_p=0.5 greedy", RecipeError, ["one chooser", "fix: top_p=0.5 greedy"]),
]


@pytest.mark.parametrize(("text", "kind", "parts"), ERRORS, ids=[text[:30].encode("ascii", "backslashreplace").decode() for text, _, _ in ERRORS])
def test_what_cannot_be_meant_is_an_error_that_says_why(text: str, kind: type[UlamError], parts: list[str]) -> None:
    with pytest.raises(UsageError) as caught:
        Recipe(text)
    assert type(caught.value) is kind
    said = str(caught.value)
    assert [part for part in parts if part not in said] == []
    assert len(said.splitlines()) <= 4
    assert all(line.isprintable() for line in said.splitlines())
    assert caught.value.exit_code == 2


def test_the_caret_stands_under_the_fault() -> None:
    text = "temperature=0.8\n\ttop_p=?" + " min_p=0.1" * 30
    with pytest.raises(RecipeError) as caught:
        Recipe(text)
    _, shown, caret = str(caught.value).splitlines()
    assert shown[caret.index("^")] == "?"
    assert len(shown) < 110


@pytest.mark.parametrize("number", range(1, 6))
def test_an_error_names_the_stage_by_number(number: int) -> None:
    text = " ".join(["top_p=0.5"] * (number - 1) + ["min_pp=0.1"] + ["top_k=3"] * (5 - number))
    with pytest.raises(UnknownMethod) as caught:
        Recipe(text)
    assert f"(stage {number})" in str(caught.value)
    assert caught.value.stage == "min_pp"


@pytest.mark.parametrize("kind", [m.stage for m in catalogue().values()], ids=list(catalogue()))
def test_every_number_refuses_what_lies_outside_its_range(kind: type[Stage]) -> None:
    """Just outside both ends, NaN, a bool and a text, for every parameter of every method; the declaration says where the ends are."""
    required = {p.name: [1] if p.kind is list else 1 for p in parameters(kind) if p.required and p.kind is not dict}
    tried = 0
    for p in parameters(kind):
        if p.range is None or p.kind is dict:
            continue
        below = p.range.low if not p.range.low_in else math.nextafter(p.range.low, -math.inf) if p.kind is float else p.range.low - 1
        above = p.range.high if not p.range.high_in else math.nextafter(p.range.high, math.inf) if p.kind is float else p.range.high + 1
        ends = [below] + ([] if p.range.high_in and math.isinf(p.range.high) else [above])  # nothing lies above inf
        for wrong in (*ends, math.nan, True, np.bool_(True), "much", None, 1j, [1]):
            with pytest.raises(OutOfRange) as caught:
                kind(**(required | {p.name: wrong}))
            assert (caught.value.stage, caught.value.parameter) == (kind.name, p.name)
            assert p.at(kind.name) in str(caught.value)
            tried += 1
    numeric = [p for p in parameters(kind) if p.range is not None and p.kind is not dict]
    assert tried >= 8 * len(numeric)


@given(st.data())
def test_numbers_of_numpy_are_numbers(data: st.DataObject) -> None:
    for kind in (Temperature, TopK):
        (p,) = parameters(kind)
        value = data.draw(numbers(p).filter(lambda x: x < 2**31))
        wrapped = np.int64(value) if p.kind is int else np.float64(value)
        stage = kind(wrapped)
        assert stage == kind(value)
        assert type(getattr(stage, p.name)) is p.kind


@pytest.mark.parametrize("thing", [None, 5, 1.5, Temperature(0.8), object()])
def test_what_is_no_recipe_is_refused(thing: object) -> None:
    with pytest.raises(RecipeError, match="is not a recipe"):
        Recipe(thing)  # type: ignore[arg-type]


@pytest.mark.parametrize("items", [["top_p=0.5"], [Temperature], [Temperature(0.8), None], b"top_p"])
def test_what_is_no_stage_is_refused(items: object) -> None:
    with pytest.raises(RecipeError, match="is not a stage"):
        Recipe(items)  # type: ignore[arg-type]


def test_a_recipe_holds_no_arrays() -> None:
    with pytest.raises(RecipeError, match="single values"):
        Recipe([Temperature(np.asarray([0.5, 0.8]))])  # type: ignore[arg-type]
