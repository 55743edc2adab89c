"""The law of a row and a draw from it, with no model: hand-made rows, and Philox worked out again from its definition."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction as F
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, reject
from hypothesis import strategies as st

from ulam.core.arrays import Array, like
from ulam.core.context import Context, History
from ulam.core.errors import EmptySupport, InvalidLogits, OutOfRange, UsageError
from ulam.core.method import Transform
from ulam.core.noise import Address, PhiloxNoise
from ulam.methods.transforms.temperature import Temperature
from ulam.models import alphabet
from ulam.recipe import Choice, Recipe
from ulam.recipe.draw import draw

from .strategies import recipes

ROW = (F(3, 20), F(1, 2), F(1, 20), F(3, 10))


def logits(probs: tuple[Any, ...], shift: float = 0.0) -> np.ndarray[Any, Any]:
    return np.array([math.log(p) + shift if p else -math.inf for p in probs])


# the law of a row, in fractions worked out by hand

LAWS = [
    ("", ROW, ROW),
    ("gumbel_max", ROW, ROW),
    ("greedy", ROW, (0, 1, 0, 0)),
    ("greedy", (F(1, 5), F(2, 5), F(2, 5)), (0, 1, 0)),
    ("temperature=0 gumbel_max", ROW, (0, 1, 0, 0)),
    ("top_p=0.8", ROW, (0, F(5, 8), 0, F(3, 8))),
    ("top_k=3", ROW, (F(3, 19), F(10, 19), 0, F(6, 19))),
    # order is data: squares of (1/2, 1/4, 1/4) are (4, 1, 1)/6, of which the first reaches 0.6 alone; cut first, (2/3, 1/3) becomes (4, 1)/5
    ("temperature=0.5 top_p=0.6", (F(1, 2), F(1, 4), F(1, 4)), (1, 0, 0)),
    ("top_p=0.6 temperature=0.5", (F(1, 2), F(1, 4), F(1, 4)), (F(4, 5), F(1, 5), 0)),
    # ... and the mass of a second cut is that of what the first one left
    ("top_k=2 top_p=0.6", (F(4, 10), F(3, 10), F(2, 10), F(1, 10)), (F(4, 7), F(3, 7), 0, 0)),
    ("top_p=0.5 top_k=1", (F(4, 10), F(3, 10), F(2, 10), F(1, 10)), (1, 0, 0, 0)),
    ("top_k=3 min_p=0.5 temperature=0.5", (F(4, 10), F(3, 10), F(1, 10), F(2, 10)), (F(16, 29), F(9, 29), 0, F(4, 29))),
    ("logit_bias={2: 2.302585092994046} top_k=2", ROW, (0, F(1, 2), F(1, 2), 0)),
]


@pytest.mark.parametrize(("text", "given_", "expect"), LAWS, ids=[f"{text}-{i}" for i, (text, _, _) in enumerate(LAWS)])
@pytest.mark.parametrize("shift", [0.0, -700.0, 40.0])
def test_the_law_of_a_row(text: str, given_: tuple[Any, ...], expect: tuple[Any, ...], shift: float) -> None:
    law = Recipe(text).distribution(logits(given_, shift))
    # 1e-12: a shift of 700 costs 700 ulp of the logarithm, 1e-13
    assert np.abs(law.probs - np.array([float(p) for p in expect])).max() < 1e-12
    assert law.support.tolist() == [p > 0 for p in expect]
    assert law.entropy == pytest.approx(-math.fsum(p * math.log(p) for p in expect if p), abs=1e-11)


def test_a_greedy_law_is_a_point_mass_to_the_bit() -> None:
    law = Recipe("temperature=0.7 greedy").distribution(logits(ROW))
    assert law.log_probs.tolist() == [-math.inf, 0.0, -math.inf, -math.inf]
    assert law.probs.tolist() == [0, 1, 0, 0]
    assert law.entropy == 0


def test_history_reaches_the_stages() -> None:
    """A token that occurred loses ln 2: (1, 1/2, 1)/2.5; a prompt counts where the scope says so."""
    text = "presence_penalty(0.6931471805599453, scope={})"
    z = np.zeros(3)
    halved = np.array([0.4, 0.2, 0.4])
    assert np.allclose(Recipe(text.format("generated")).distribution(z, prompt=[0], generated=[1]).probs, halved, rtol=0, atol=1e-15)
    assert np.allclose(Recipe(text.format("prompt")).distribution(z, prompt=[1], generated=[0]).probs, halved, rtol=0, atol=1e-15)
    assert np.allclose(Recipe(text.format("all")).distribution(z, prompt=[0, 2], generated=[0]).probs, [0.25, 0.5, 0.25], rtol=0, atol=1e-15)
    assert np.allclose(Recipe(text.format("all")).distribution(z).probs, [1 / 3] * 3, rtol=0, atol=1e-15)


def test_rows_of_a_batch_are_the_rows_alone() -> None:
    rows = np.stack([logits(ROW), logits(ROW[::-1]), np.zeros(4), logits((0, F(1, 2), 0, F(1, 2)))])
    recipe = Recipe("temperature=0.9 top_p=0.8 typical_p=0.95")
    law = recipe.distribution(rows)
    for b, row in enumerate(rows):
        assert recipe.distribution(row).log_probs.tobytes() == law.log_probs[b].tobytes()
        assert recipe.distribution(row).entropy == law.entropy[b]
    assert recipe.distribution(np.zeros((0, 4))).log_probs.shape == (0, 4)


@pytest.mark.parametrize(
    "z",
    [
        [0.0, 1.0, -2.0, 3.0],
        (0, 1, -2, 3),
        [F(0), F(1), F(-2), F(3)],
        np.array([0, 1, -2, 3]),
        np.array([0, 1, -2, 3], dtype=np.int8),
        np.array([0, 1, -2, 3], dtype=np.float16),
        np.array([9, 0, 9, 1, 9, -2, 9, 3], dtype=np.float64)[1::2],
        np.array([0, 1, -2, 3], dtype=">f8"),
    ],
    ids=["floats", "tuple", "fractions", "int64", "int8", "float16", "strided", "big-endian"],
)
def test_logits_of_any_kind(z: Any) -> None:
    weight = [math.exp(x) for x in (0, 1, -2, 3)]
    law = Recipe("").distribution(z)
    # these values are whole in every type; half precision is computed in float32: absolute 2e-7
    assert np.abs(np.asarray(law.probs) - np.array(weight) / math.fsum(weight)).max() < (2e-7 if getattr(z, "dtype", None) == np.float16 else 1e-15)
    assert Recipe("greedy").choose(z, seed=0).token == 3


def test_tensors_of_torch() -> None:
    torch = pytest.importorskip("torch")
    torch.set_num_threads(1)
    weight = [math.exp(x) for x in (1, 0, -2, 3)]
    kept = [weight[0], 0, 0, weight[3]]  # 0.965 of the mass
    for dtype, bound in ((torch.float64, 1e-15), (torch.float32, 2e-7), (torch.bfloat16, 2e-7), (torch.float16, 2e-7)):
        z = torch.tensor([[1, 0, -2, 3], [3, -2, 0, 1]], dtype=dtype, requires_grad=True)
        law = Recipe("top_p=0.9").distribution(z)
        assert law.log_probs.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
        expect = torch.tensor([kept, kept[::-1]], dtype=torch.float64) / math.fsum(kept)
        assert float((law.probs.detach().double() - expect).abs().max()) < bound
        for b in range(2):
            for sequence in range(20):
                tensor = Recipe("top_p=0.9").choose(z[b], seed=7, sequence=sequence)
                array = Recipe("top_p=0.9").choose(np.asarray(z[b].detach().double()), seed=7, sequence=sequence)
                assert tensor.token == array.token
                assert tensor.recipe_log_prob == pytest.approx(array.recipe_log_prob, abs=1e-6)


def test_nothing_is_written_to_the_logits() -> None:
    z = logits(ROW)
    before = z.copy()
    recipe = Recipe("repetition_penalty=1.2 temperature=0.5 top_k=2 greedy")
    recipe.distribution(z, generated=[1])
    recipe.choose(z, seed=1, generated=[1])
    assert z.tobytes() == before.tobytes()


# a draw, worked out again from the definition of Philox4x32-10


def philox(counter: tuple[int, int, int, int], key: tuple[int, int]) -> tuple[int, int, int, int]:
    """Ten rounds of two 32 x 32 multiplications, in whole numbers."""
    c, k = list(counter), list(key)
    for _ in range(10):
        first, second = c[0] * 0xD2511F53, c[2] * 0xCD9E8D57
        c = [(second >> 32) ^ c[1] ^ k[0], second % 2**32, (first >> 32) ^ c[3] ^ k[1], first % 2**32]
        k = [(k[0] + 0x9E3779B9) % 2**32, (k[1] + 0xBB67AE85) % 2**32]
    return c[0], c[1], c[2], c[3]


def bits(seed: int, sequence: int, position: int, lane: int = 0) -> int:
    counter = (position, lane, sequence % 2**32, sequence >> 32)  # purpose 0 above the lane
    first, second, _, _ = philox(counter, (seed % 2**32, seed >> 32))
    return first << 32 | second


def test_philox_of_this_file_has_the_published_values() -> None:
    """Known answers of Random123 (Salmon et al. 2011): all zeros, all ones, digits of pi."""
    assert philox((0, 0, 0, 0), (0, 0)) == (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)
    ones = 0xFFFFFFFF
    assert philox((ones,) * 4, (ones,) * 2) == (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)
    pi = (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344)
    assert philox(pi, (0xA4093822, 0x299F31D0)) == (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1)


def by_inverse_cdf(probs: list[float], word: int) -> int:
    """The first token whose running sum exceeds u, u the top 53 bits of the word."""
    u, total = F(word >> 11, 2**53), F(0)
    for token, p in enumerate(probs):
        total += F(p)
        if total > u * sum(map(F, probs)):
            return token
    raise AssertionError("the sum never exceeds u < 1")


ADDRESSES = [
    (seed, sequence, position)
    for seed in (0, 7, 2**32 + 7, 2**64 - 1)
    for sequence in (0, 1, 2**32, (5 << 32) + 3, 2**64 - 1)
    for position in (0, 1, 255, 2**32 - 1)
]


def test_choose_is_the_draw_of_its_address() -> None:
    probs = [float(p) for p in ROW]
    seen = set()
    for seed, sequence, position in ADDRESSES:
        choice = Recipe("categorical").choose(logits(ROW), seed, sequence, position)
        assert choice.token == by_inverse_cdf(probs, bits(seed, sequence, position))
        assert choice.recipe_log_prob == pytest.approx(math.log(ROW[choice.token]), abs=1e-14)
        assert choice.model_log_prob == pytest.approx(math.log(ROW[choice.token]), abs=1e-14)
        seen.add(choice.token)
    assert seen == {0, 1, 2, 3}


def test_choose_draws_from_what_the_stages_left() -> None:
    """top_p=0.8 leaves 5/8 and 3/8; the model's log-probability is that of the whole row."""
    kept = {1: F(5, 8), 3: F(3, 8)}
    seen = set()
    for seed, sequence, position in ADDRESSES:
        choice = Recipe("top_p=0.8").choose(logits(ROW), seed, sequence, position)
        assert choice.token == by_inverse_cdf([0, 0.625, 0, 0.375], bits(seed, sequence, position))
        assert choice.recipe_log_prob == pytest.approx(math.log(kept[choice.token]), abs=1e-14)
        assert choice.model_log_prob == pytest.approx(math.log(ROW[choice.token]), abs=1e-14)
        seen.add(choice.token)
    assert seen == {1, 3}


def test_gumbel_max_takes_the_largest_key() -> None:
    """Every token has a word of its own, lane = id; u = (2k + 1) 2^-53, k the top 52 bits."""
    seen = set()
    for seed, sequence, position in ADDRESSES:
        keys = [-math.inf] * 4
        for token in (1, 3):
            u = (2 * (bits(seed, sequence, position, token) >> 12) + 1) / 2**53
            keys[token] = math.log(ROW[token]) - math.log(-math.log(u))
        choice = Recipe("top_p=0.8 gumbel_max").choose(logits(ROW), seed, sequence, position)
        assert choice.token == keys.index(max(keys))
        assert choice.recipe_log_prob == pytest.approx(math.log(F(5, 8) if choice.token == 1 else F(3, 8)), abs=1e-14)
        seen.add(choice.token)
    assert seen == {1, 3}


def test_greedy_asks_no_noise_and_has_probability_one() -> None:
    choices = {Recipe("greedy").choose(logits(ROW), *address) for address in ADDRESSES}
    (choice,) = choices
    assert (choice.token, choice.recipe_log_prob) == (1, 0.0)
    assert choice.model_log_prob == pytest.approx(math.log(F(1, 2)), abs=1e-15)


def test_the_position_is_the_number_of_generated_tokens_unless_given() -> None:
    recipe, z = Recipe(""), np.zeros(1000)
    assert recipe.choose(z, 7, generated=[1, 2, 3]) == recipe.choose(z, 7, position=3)
    assert recipe.choose(z, 7, generated=[1, 2, 3], position=5) == recipe.choose(z, 7, position=5)
    assert recipe.choose(z, 7, position=3) != recipe.choose(z, 7, position=5)
    assert isinstance(recipe.choose(z, 7), Choice)


SIX = alphabet("abcde", end="$")


def bound(recipe: Recipe) -> Recipe:
    """The recipe for six tokens; a word to ban may be the end alone, which no vocabulary takes."""
    try:
        return recipe.bind(SIX)
    except OutOfRange:
        reject()


@given(recipes(st.integers(0, 5)), st.lists(st.sampled_from([-math.inf, -3.0, -0.5, 0.0, 0.25, 2.0]), min_size=6, max_size=6), st.integers(0, 2**64 - 1))
@example(Recipe("temperature=1.0000001 top_k=0"), [-3.0, -0.5, 0.0, 0.25, 2.0, 2.0], 0)  # nearly neutral, and neutral
def test_simplified_keeps_the_law_and_the_draw_bitwise(recipe: Recipe, row: list[float], sequence: int) -> None:
    z = np.array([*row[:5], 1.0])
    recipe = bound(recipe)
    simple = recipe.simplified().bind(SIX)
    history = {"prompt": [0, 1, 1], "generated": [5, 2]}
    assert len(simple.stages) <= len(recipe.stages)

    def said(recipe: Recipe) -> Any:
        try:
            return recipe.distribution(z, **history).log_probs.tobytes(), recipe.choose(z, 7, sequence, **history)
        except EmptySupport as empty:
            return empty.what

    assert said(simple) == said(recipe)


@given(recipes(st.integers(0, 5)), st.lists(st.floats(-50, 50) | st.just(-math.inf), min_size=5, max_size=5), st.integers(0, 2**64 - 1))
def test_a_draw_is_possible_and_its_log_prob_is_that_of_the_law(recipe: Recipe, row: list[float], sequence: int) -> None:
    z = np.array([*row, 0.5])
    recipe = bound(recipe)
    try:
        law = recipe.distribution(z, prompt=[0, 1, 1], generated=[5, 2])
    except EmptySupport:
        reject()
    choice = recipe.choose(z, 7, sequence, prompt=[0, 1, 1], generated=[5, 2])
    assert abs(math.fsum(law.probs) - 1) < 1e-12
    assert choice.recipe_log_prob == law.log_probs[choice.token] > -math.inf
    assert choice.model_log_prob == Recipe("").distribution(z).log_probs[choice.token]


# rows and arguments that fail


@dataclass(frozen=True)
class Nothing(Transform):
    """Removes every token of a row whose first logit is positive."""

    def apply(self, z: Array, context: Context) -> Array:
        return np.where(z[:, :1] > 0, like(z, -np.inf), z)


@dataclass(frozen=True)
class Broken(Transform):
    def apply(self, z: Array, context: Context) -> Array:
        return np.where(z[:, :1] > 0, like(z, np.nan), z)


@pytest.mark.parametrize("bad", [[math.nan, 1, 2], [0, math.inf, 1], [-math.inf] * 3, [math.inf] * 3, [math.nan] * 3])
def test_a_row_that_is_no_row_of_logits(bad: list[float]) -> None:
    for text in ("", "top_p=0.5 greedy"):
        with pytest.raises(InvalidLogits, match="NaN, \\+inf or no finite entry") as caught:
            Recipe(text).distribution([[0, 1, 2], bad, bad], generated=[0, 1])
        assert (caught.value.row, caught.value.position) == (1, 2)
        with pytest.raises(InvalidLogits):
            Recipe(text).choose(bad, seed=7)


def test_a_stage_that_empties_a_row_is_named() -> None:
    recipe = Recipe([Temperature(0.5), Nothing(), Nothing()])
    with pytest.raises(EmptySupport, match="nothing left no token of 3: mass 1 removed") as caught:
        recipe.distribution([[-1, 0, 1], [1, 0, 1]], generated=[0])
    assert (caught.value.stage, caught.value.row, caught.value.position) == ("nothing", 1, 1)
    with pytest.raises(InvalidLogits, match="broken made NaN or \\+inf: a fault of the method"):
        Recipe([Broken()]).choose([1, 0, 1], seed=7)


def test_the_first_fault_of_a_row_is_the_one_that_is_told() -> None:
    """The even row that stands in for a failed one may fail again, and says nothing."""

    @dataclass(frozen=True)
    class Zero(Transform):
        def apply(self, z: Array, context: Context) -> Array:
            return np.where(z[:, :1] == 0, like(z, -np.inf), z)

    with pytest.raises(InvalidLogits):
        Recipe([Zero()]).distribution([math.nan, 1, 2])


def test_mates_of_a_failing_row_are_the_same_to_the_bit() -> None:
    rng = np.random.default_rng(5)
    rows = rng.normal(size=(6, 50)) * 4
    bad = {1: np.full(50, np.nan), 3: np.full(50, -np.inf), 4: np.where(np.arange(50) == 9, np.inf, rows[4])}
    mixed = np.stack([bad.get(b, rows[b]) for b in range(6)])
    recipe = Recipe("temperature=0.9 top_p=0.9 typical_p=0.9 gumbel_max")

    def drawn(z: np.ndarray[Any, Any], b: list[int]) -> Any:
        address = Address(np.array(b, dtype=np.uint64), np.full(len(b), 3))
        return draw(recipe.transforms, recipe.chooser, z, Context([History()] * len(b)), PhiloxNoise(7), address)

    together, alone = drawn(mixed, [0, 1, 2, 3, 4, 5]), drawn(rows[[0, 2, 5]], [0, 2, 5])
    assert sorted(together.failures) == [1, 3, 4]
    assert together.tokens[[1, 3, 4]].tolist() == [-1] * 3
    assert np.isnan(together.recipe_log_probs[[1, 3, 4]]).all()
    assert np.isnan(together.model_log_probs[[1, 3, 4]]).all()
    for name in ("tokens", "recipe_log_probs", "model_log_probs"):
        assert getattr(together, name)[[0, 2, 5]].tobytes() == getattr(alone, name).tobytes()


@pytest.mark.parametrize("z", ["abc", [], [[]], [[1, 2], [1]], [["a"]], None, 5, np.zeros((2, 2, 2)), np.zeros((3, 0)), {1: 2}])
def test_what_are_no_logits(z: Any) -> None:
    for call in (lambda: Recipe("").distribution(z), lambda: Recipe("").choose(z, seed=7)):
        with pytest.raises(UsageError, match="logits"):
            call()


def test_choose_takes_one_row() -> None:
    with pytest.raises(UsageError, match=r"one row of logits \[V\], and these have shape \(2, 3\)"):
        Recipe("").choose(np.zeros((2, 3)), seed=7)


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        ({"seed": -1}, "seed=-1 is not a whole number from 0 to 2^64 - 1"),
        ({"seed": 2**64}, "seed=18446744073709551616"),
        ({"seed": 1.5}, "seed=1.5"),
        ({"seed": True}, "seed=True"),
        ({"seed": "7"}, "seed=7"),
        ({"seed": None}, "seed=None"),
        ({"seed": 7, "sequence": -1}, "sequence=-1 is not a whole number from 0 to 2^64 - 1"),
        ({"seed": 7, "sequence": 2**64}, "sequence=18446744073709551616"),
        ({"seed": 7, "position": -1}, "position=-1 is not a whole number from 0 to 2^32 - 1"),
        ({"seed": 7, "position": 2**32}, "position=4294967296"),
    ],
)
def test_an_address_has_its_bits(arguments: dict[str, Any], part: str) -> None:
    with pytest.raises(OutOfRange) as caught:
        Recipe("").choose(np.zeros(3), **arguments)
    assert part in str(caught.value)


@pytest.mark.parametrize("kind", [np.int8, np.int32, np.int64, np.uint8, np.uint64])
def test_numbers_of_numpy_are_addresses(kind: Any) -> None:
    z = np.zeros(1000)
    assert Recipe("").choose(z, kind(7), kind(5), kind(3)) == Recipe("").choose(z, 7, 5, 3)
