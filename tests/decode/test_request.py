"""What a run is asked for: every form that is meant is taken, and what cannot be meant is refused before any work."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import ulam
from ulam.core.errors import ContextOverflow, NeedsTokenizer, OutOfRange, RecipeError, TokenOutOfRange, UnknownMethod, UsageError
from ulam.core.vocabulary import Vocabulary
from ulam.methods.transforms.temperature import Temperature
from ulam.recipe import Recipe

from .checks import exact, large
from .conftest import Tree


def model(**settings: Any) -> Tree:
    return Tree({}, [b"a", b"b", b"c", b""], ends=[3], **settings)


def prompts_of(prompts: Any) -> list[tuple[int, ...]]:
    return [sample.prompt_tokens for sample in ulam.sample(model(), prompts, "", max_tokens=1, seed=1)]


@pytest.mark.parametrize(
    ("prompts", "ids"),
    [
        ("abc", [(0, 1, 2)]),
        ("", [()]),
        (["ab"], [(0, 1)]),
        (("ab", "c"), [(0, 1), (2,)]),
        ([0, 1], [(0, 1)]),
        ((0, 1), [(0, 1)]),
        (range(3), [(0, 1, 2)]),
        (np.array([0, 1]), [(0, 1)]),
        (np.array([0, 1], dtype=np.uint8), [(0, 1)]),
        (list(np.array([0, 1])), [(0, 1)]),
        (np.array([[0, 1], [2, 2]]), [(0, 1), (2, 2)]),
        ([[0], []], [(0,), ()]),
        ([[]], [()]),
        (["ab", [2], np.array([0]), (1,)], [(0, 1), (2,), (0,), (1,)]),
        (iter(["ab", "c"]), [(0, 1), (2,)]),
        ((text for text in ("ab", "c")), [(0, 1), (2,)]),
        ((i for i in (0, 1)), [(0, 1)]),
        ([iter([0, 1])], [(0, 1)]),
    ],
    ids=lambda value: type(value).__name__,
)
def test_prompts(prompts: Any, ids: list[tuple[int, ...]]) -> None:
    assert prompts_of(prompts) == ids


def test_prompts_of_torch() -> None:
    torch = pytest.importorskip("torch")
    assert prompts_of(torch.tensor([0, 1])) == [(0, 1)]
    assert prompts_of(torch.tensor([[0, 1], [1, 2]])) == [(0, 1), (1, 2)]
    assert prompts_of([torch.tensor([0, 1]), "c"]) == [(0, 1), (2,)]


@pytest.mark.parametrize(
    ("prompts", "kind", "part"),
    [
        ([], UsageError, "there is no prompt"),
        (iter([]), UsageError, "there is no prompt"),
        (np.array([]), UsageError, "there is no prompt"),
        (None, UsageError, "prompts: None is not a list"),
        (5, UsageError, "prompts: 5 is not a list"),
        (b"abc", UsageError, "prompts: b'abc' is not a list"),
        ([b"abc"], UsageError, "the prompt: b'abc' is not a list"),
        (["ab", None], UsageError, "prompt 2: None is not a list"),
        (["ab", 3], UsageError, "prompt 2: 3 is not a list"),
        ([0, 4], TokenOutOfRange, "token id 4 is outside 0 to 3"),
        ([0, -1], TokenOutOfRange, "token id -1 is outside 0 to 3"),
        ([0, 2**70], TokenOutOfRange, "is outside 0 to 3"),
        ([[0, 1.0]], TokenOutOfRange, "token id 1.0 is outside 0 to 3"),
        ([["a", "b"]], TokenOutOfRange, "token id 'a' is outside 0 to 3"),
        ([[None]], TokenOutOfRange, "token id None is outside 0 to 3"),
        ([[float("nan")]], TokenOutOfRange, "token id nan is outside 0 to 3"),
        ([True, False], TokenOutOfRange, "token id True is outside 0 to 3"),
        (np.array([[0.5]]), TokenOutOfRange, "token id 0.5 is outside 0 to 3"),
        (["ab", "a\ud800"], UsageError, "prompt 2 holds half of a surrogate pair"),
        ("a\udcff", UsageError, "the prompt holds half of a surrogate pair"),
    ],
)
def test_prompts_that_are_none(prompts: Any, kind: type[Exception], part: str) -> None:
    with pytest.raises(UsageError) as caught:
        ulam.stream(model(), prompts, "")
    assert type(caught.value) is kind
    assert part in str(caught.value)
    assert "fix:" in str(caught.value)


def test_text_needs_a_tokenizer() -> None:
    bare = model()
    bare.vocabulary = Vocabulary([b"a", b"b", b"c", b""], ends=[3])
    with pytest.raises(NeedsTokenizer, match="no tokenizer"):
        ulam.stream(bare, "ab", "")
    assert ulam.sample(bare, [0, 1], "", max_tokens=1, seed=1)[0].prompt == "ab"


def test_a_prompt_longer_than_the_context() -> None:
    for length in (4, 5, 100):
        with pytest.raises(ContextOverflow, match=rf"the prompt has {length} tokens; the context of tree holds 4, one of them to draw") as caught:
            ulam.stream(model(context_limit=4), [0] * length, "")
        assert caught.value.fix == "a shorter prompt"


@pytest.mark.parametrize("thing", ["stories", None, 5, object()])
def test_what_is_no_model(thing: Any) -> None:
    with pytest.raises(UsageError, match=r"is not a model[\s\S]*ulam\.load\(\)"):
        ulam.stream(thing, "ab", "")


def test_recipes_one_for_all_or_one_for_each() -> None:
    def used(prompts: list[str], recipe: Any) -> list[str]:
        return [str(sample.recipe) for sample in ulam.sample(model(), prompts, recipe, max_tokens=1, seed=1)]

    assert used(["a", "b"], "greedy") == ["greedy", "greedy"]
    assert used(["a", "b"], Recipe("greedy")) == ["greedy", "greedy"]
    assert used(["a", "b"], ["greedy", Recipe("top_k=1")]) == ["greedy", "top_k=1"]
    assert used(["a"], ["greedy"]) == ["greedy"]
    assert used(["a", "b"], (text for text in ("greedy", ""))) == ["greedy", "categorical"]
    assert used(["a"], ["greedy"] * 1) == used(["a"], "greedy")


@pytest.mark.parametrize(
    ("recipe", "kind", "part"),
    [
        (["greedy", "greedy", "greedy"], UsageError, "3 recipes for 2 prompts"),
        ([], UsageError, "0 recipes for 2 prompts"),
        ([Temperature(0.5), Temperature(0.6)], RecipeError, "is not a recipe"),
        (Temperature(0.5), UsageError, "recipe: Temperature(T=0.5) is not a list"),
        (None, UsageError, "recipe: None is not a list"),
        ("topp=0.5", UnknownMethod, "Did you mean top_p?"),
        (["greedy", "top_p=2"], OutOfRange, "top_p=2 is outside [0, 1]"),
        ("greedy gumbel_max", RecipeError, "a recipe has one chooser"),
        ("temperature=nan", OutOfRange, "temperature=nan is not a number"),
        ('logit_bias={"ab": 1}', NeedsTokenizer, "2 tokens here"),
        ("logit_bias={4: 1}", TokenOutOfRange, "token id 4 is outside 0 to 3"),
    ],
)
def test_recipes_that_are_none(recipe: Any, kind: type[Exception], part: str) -> None:
    with pytest.raises(UsageError) as caught:
        ulam.stream(model(), ["a", "b"], recipe)
    assert type(caught.value) is kind
    assert part in str(caught.value)


def test_a_list_of_recipes_for_one_prompt_is_not_a_list_of_stages() -> None:
    with pytest.raises(UsageError, match="2 recipes for 1 prompt\n"):
        ulam.stream(model(), "ab", ["temperature=0.5", "top_p=0.5"])


@pytest.mark.parametrize(
    ("settings", "part"),
    [
        ({"n": 0}, "n=0 is not a whole number from 1 to 2^32 - 1"),
        ({"n": -1}, "n=-1"),
        ({"n": 1.0}, "n=1.0"),
        ({"n": True}, "n=True"),
        ({"n": "2"}, "n=2"),
        ({"n": None}, "n=None"),
        ({"n": 2**32}, "n=4294967296"),
        ({"max_tokens": -1}, "max_tokens=-1 is not a whole number from 0 to 2^32 - 1"),
        ({"max_tokens": 1.5}, "max_tokens=1.5"),
        ({"max_tokens": None}, "max_tokens=None"),
        ({"max_tokens": 2**40}, "max_tokens=1099511627776"),
        ({"seed": -1}, "seed=-1 is not a whole number from 0 to 2^64 - 1"),
        ({"seed": 2**64}, "seed=18446744073709551616"),
        ({"seed": 1.0}, "seed=1.0"),
        ({"seed": "7"}, "seed=7"),
        ({"stop": ""}, "a stop string is empty"),
        ({"stop": ["a", ""]}, "a stop string is empty"),
        ({"stop": None}, "stop: None is not a list"),
        ({"stop": 5}, "stop: 5 is not a list"),
        ({"stop": ["a", 5]}, "stop: 5 is not a text"),
        ({"stop": [b"a"]}, "stop: b'a' is not a text"),
        ({"stop": b"a"}, "stop: b'a' is not a list"),
        ({"stop": ["\ud800"]}, 'stop: "\\ud800" is not a text'),
        ({"sequence": -1}, "sequence=-1 is not a whole number from 0 to 2^64 - 1"),
        ({"sequence": 2**64}, "sequence=18446744073709551616"),
        ({"sequence": 0.5}, "sequence: 0.5 is not a list"),
        ({"sequence": [0.5]}, "sequence=0.5"),
        ({"sequence": [True]}, "sequence=True"),
        ({"sequence": [0, 1]}, "2 sequence numbers for 1 prompt"),
        ({"sequence": 2**64 - 1, "n": 2}, "sequence number 18446744073709551615 and its 2 samples end beyond 2^64 - 1"),
    ],
)
def test_settings_that_cannot_be_meant(settings: dict[str, Any], part: str) -> None:
    asked = model()
    with pytest.raises(UsageError) as caught:
        ulam.stream(asked, "ab", "", **settings)
    assert part in str(caught.value)
    assert caught.value.exit_code == 2
    assert asked.calls == []


def test_an_unknown_setting_is_an_error_of_python() -> None:
    with pytest.raises(TypeError, match="max_token"):
        ulam.stream(model(), "ab", "", max_token=5)


def test_rows_never_share_a_part_of_their_noise() -> None:
    """Numbers nearer than n would give sample 1 of one prompt the dice of sample 0 of another; equal ones share all, on purpose."""
    for numbers, n in (([0, 1], 2), ([7, 4], 4), ([0, 100, 99], 2), ([0, 2**64 - 3], 4), ([5, 5, 6], 2)):
        with pytest.raises(UsageError, match=f"numbers at least {n} apart"):
            ulam.stream(model(), ["a"] * len(numbers), "", n=n, sequence=numbers)
    for numbers, n in (([0, 2], 2), ([4, 0], 4), ([5, 5, 7], 2), ([0, 1], 1), ([2**64 - 4, 0], 4)):
        samples = ulam.sample(model(), ["a"] * len(numbers), "", n=n, sequence=numbers, max_tokens=1, seed=1)
        assert [sample.sequence for sample in samples] == [number + j for number in numbers for j in range(n)]


def test_numbers_of_numpy_are_numbers() -> None:
    plain = ulam.sample(large(), [[1], [2]], "", n=2, max_tokens=5, seed=7, sequence=[3, 9])
    numpy = ulam.sample(large(), np.array([[1], [2]]), "", n=np.int8(2), max_tokens=np.uint8(5), seed=np.int16(7), sequence=np.array([3, 9], dtype=np.uint64))
    assert [exact(sample) for sample in numpy] == [exact(sample) for sample in plain]
    assert exact(ulam.sample(large(), [1], "", max_tokens=5, seed=7, sequence=np.int64(3))[0]) == exact(plain[0])
    assert type(numpy[0].sequence) is int
    assert type(numpy.seed) is int
