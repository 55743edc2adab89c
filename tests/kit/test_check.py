"""What the checks themselves promise: an error that says what broke on the smallest input, a report that says what was asserted."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from tests.kit.twins import PunishesTheTop, Sharpens, method
from ulam.core.arrays import Array
from ulam.core.claims import BASE, Case
from ulam.core.context import Context, History
from ulam.core.errors import UsageError
from ulam.core.method import Chooser, Transform
from ulam.core.noise import Address, Noise
from ulam.core.parameter import parameter, parameters
from ulam.methods import Method, find
from ulam.methods.choosers.categorical import CategoricalChooser
from ulam.methods.transforms.min_p import MinP
from ulam.testing import ConformanceError, Report, check_chooser, check_claim, check_transform
from ulam.testing.cases import assert_half
from ulam.testing.inputs import Probe, candidates, probes, settings
from ulam.testing.promises import agrees_with, edges
from ulam.testing.subject import Subject, differ, probabilities


@dataclass(frozen=True)
class Shift(Transform):
    """Adds x to every logit: the same distribution."""

    x: float = parameter(float, "[-3, 3]", neutral=0, help="what is added")

    def apply(self, z: Array, context: Context) -> Array:
        return z + np.reshape(self.x, (-1, 1)).astype(z.dtype)


CASES = tuple(Case((0.25, 0.5, 0.25), {"x": x}, (0.25, 0.5, 0.25), "nothing") for x in (-1, 0, 2.5))
HONEST = Method("shift", Shift, (*BASE, "order", "argmax", "relabel", "monotone", "idempotent", "scale_free"), CASES, "Shift: adds x to every logit.")


def test_a_report_says_what_was_asserted_and_what_was_not() -> None:
    report = check_transform(replace(HONEST, claims=tuple(c for c in HONEST.claims if c not in ("monotone", "order", "scale_free"))), inputs=75)
    assert report.asserted["cases"] == 6
    assert report.asserted["identity"] >= 70
    assert report.asserted["relabel"] < report.asserted["identity"]  # rows with ties say nothing
    assert report.not_applicable == {"bfloat16": "the library has no bfloat16", "remade": "it carries nothing that the history tells"}
    assert check_transform(find("logit_bias"), inputs=75).not_applicable["arrays"] == "no parameter is a number"
    assert report.understated == ("order", "scale_free")
    assert "order" in str(report)
    assert "is not claimed" in str(report)


def test_a_claim_without_anything_to_test_is_an_error() -> None:
    with pytest.raises(ConformanceError, match=r"shift breaks monotone: there is nothing to test it on \(nothing changes along the first parameter\)"):
        check_transform(HONEST, inputs=75)
    with pytest.raises(ConformanceError, match=r"law: there is nothing to test it on \(a transform draws nothing\)"):
        check_claim(HONEST, "law")
    with pytest.raises(ConformanceError, match="no parameter has a neutral value"):
        check_claim(find("greedy"), "identity")


def test_a_word_that_is_no_claim_is_an_error() -> None:
    with pytest.raises(ConformanceError, match="shift breaks best: it is not one of the claims"):
        check_transform(replace(HONEST, claims=("best",)), inputs=75)


def test_an_empty_report_is_an_error() -> None:
    with pytest.raises(ConformanceError, match="nothing was asserted"):
        Report("nobody", {"identity": 0}).closed()


@pytest.mark.parametrize("count", [0, 2, 7])
def test_there_are_three_to_six_cases(count: int) -> None:
    with pytest.raises(ConformanceError, match=f"it has {count} and not three to six"):
        check_transform(replace(HONEST, cases=(CASES * 3)[:count]))


def test_a_wrong_case_is_named_with_what_it_excludes() -> None:
    wrong = replace(CASES[2], expect=(0.25, 0.25, 0.5), excludes="ids turned round")
    with pytest.raises(ConformanceError, match=r"token 1 gets 0\.5 and not 0\.25; the row excludes: ids turned round"):
        check_transform(replace(HONEST, cases=(*CASES[:2], wrong)))


def test_a_failure_is_as_small_as_it_goes() -> None:
    with pytest.raises(ConformanceError) as caught:
        check_claim(method(PunishesTheTop), "order")
    probe = caught.value.probe
    assert probe is not None
    assert len(probe.row) == 2
    assert len(probe.history.tokens()) == 0
    assert str(caught.value).splitlines()[0].startswith("punishes_the_top breaks order: ")


def test_a_crash_is_no_verdict_and_names_its_input() -> None:
    class Crashes(Shift):
        def apply(self, z: Array, context: Context) -> Array:
            raise ZeroDivisionError("inside the method")

    with pytest.raises(ZeroDivisionError, match="inside the method") as caught:
        check_claim(replace(HONEST, stage=Crashes), "order")
    assert "while checking order of shift on logits [" in caught.value.__notes__[0]


class WritesToItsInput(Shift):
    def apply(self, z: Array, context: Context) -> Array:
        z += np.reshape(self.x, (-1, 1)).astype(z.dtype)
        return z


class Widens(Shift):
    def apply(self, z: Array, context: Context) -> Array:
        return super().apply(z, context).astype(np.float64)


class NeedsANumber(Shift):
    def apply(self, z: Array, context: Context) -> Array:
        return z + np.max(self.x).astype(z.dtype) * (1 + np.ndim(self.x))


class TakesAnything(Shift):
    def __post_init__(self) -> None:
        """Nothing is checked."""


@pytest.mark.parametrize(("stage", "promise"), [(WritesToItsInput, "untouched"), (Widens, "form"), (NeedsANumber, "arrays"), (TakesAnything, "ranges")])
def test_what_every_transform_promises(stage: type[Shift], promise: str) -> None:
    with pytest.raises(ConformanceError) as caught:
        check_transform(replace(HONEST, stage=stage), inputs=75)
    assert caught.value.promise == promise


def test_another_library_must_agree_with_numpy() -> None:
    def other(x: NDArray[Any]) -> NDArray[Any]:  # a library that is off by a millionth
        return x * (1 + 1e-6)

    probe = Probe(np.array([0.0, 2.0, 3.0]), {"x": 1.0})
    library = agrees_with(Subject(HONEST))
    assert library(Subject(HONEST), probe) is None
    assert "here and" in str(library(Subject(HONEST, other), probe))


class LastFirst(CategoricalChooser):
    """On torch the running sum goes from the last token to the first: the same law, and other tokens."""

    def choose(self, z: Array, noise: Noise, address: Address, context: Context) -> NDArray[np.int64]:
        if isinstance(z, np.ndarray):
            return super().choose(z, noise, address, context)
        return z.shape[-1] - 1 - super().choose(z.flip(-1), noise, address, context)


class HalfAsItCame(MinP):
    """What comes in half precision is worked on in half precision."""

    def __call__(self, logits: Array, context: Context | None = None) -> Array:
        if str(logits.dtype) != "torch.bfloat16":
            return super().__call__(logits, context)
        kept = logits - logits.max() >= np.log(self.a)
        return torch.where(kept, logits - logits.max(), -torch.inf).float()


def test_a_chooser_draws_on_torch_what_it_draws_on_numpy() -> None:
    row = Probe(np.array([0.0, 2.0, 1.0]))
    library = agrees_with(Subject(find("categorical")))
    twin = replace(find("categorical"), stage=LastFirst)
    assert library(Subject(twin, torch.asarray), row) == "the same uniforms draw token 2 here and 0 there"
    assert library(Subject(twin), row) is None
    assert library(Subject(find("categorical"), torch.asarray), row) is None
    apart = agrees_with(Subject(find("gumbel_max")))
    assert apart(Subject(find("gumbel_max"), torch.asarray), row) is None


def test_cases_are_checked_in_bfloat16_where_the_library_has_it() -> None:
    assert assert_half(Subject(find("min_p"))) == (0, "the library has no bfloat16")
    assert assert_half(Subject(find("min_p"), torch.asarray)) == (len(find("min_p").cases), "")
    assert check_transform(replace(find("min_p"), stage=HalfAsItCame), inputs=75).asserted["cases"] == 10
    with pytest.raises(ConformanceError, match="a row in bfloat16 gives other bits than the same numbers in float32") as caught:
        check_transform(replace(find("min_p"), stage=HalfAsItCame), array=torch.asarray, inputs=75)
    assert caught.value.promise == "bfloat16"


def test_a_row_that_bfloat16_holds_must_give_the_numbers_of_the_case() -> None:
    wrong = tuple(replace(case, given=(1, 2, 0), expect=(1.0, 2.0, 2.0**-8), logits=True) for case in CASES)
    with pytest.raises(ConformanceError, match=r"token 2 gets 0 and not 0\.00390625"):
        assert_half(Subject(replace(HONEST, cases=tuple(replace(case, parameters={"x": 0}) for case in wrong)), torch.asarray))


class StatesAnotherLaw(Sharpens):
    pass


class AsksTwice(Chooser):
    """Throws a draw away for every row after the first."""

    def choose(self, z: Array, noise: Noise, address: Address, context: Context) -> NDArray[np.int64]:
        for _ in range(1, len(z)):
            noise.uniform(address)
        return noise.categorical(np.asarray(z, np.float64), address)


class ForgetsTheAddress(Chooser):
    """Asks at the address of another text."""

    def choose(self, z: Array, noise: Noise, address: Address, context: Context) -> NDArray[np.int64]:
        return noise.categorical(np.asarray(z, np.float64), Address(np.asarray(address.sequence) * 0, address.position))


class LastIfNone(Chooser):
    """Takes the last token where the uniform is close to 1, possible or not."""

    def choose(self, z: Array, noise: Noise, address: Address, context: Context) -> NDArray[np.int64]:
        weights = np.exp(np.asarray(z, np.float64) - z.max(axis=-1, keepdims=True))
        reached = noise.uniform(address).values * weights.sum(axis=-1) * (1 + 1e-15)
        return (np.cumsum(weights, axis=-1) <= reached[:, None]).sum(axis=-1).clip(max=z.shape[-1] - 1)


class ByUniform(Chooser):
    def choose(self, z: Array, noise: Noise, address: Address, context: Context) -> NDArray[np.int64]:
        return noise.categorical(np.asarray(z, np.float64), address)


DRAWS = tuple(Case((0.25, 0.5, 0.25), {}, token, "nothing", u=u) for token, u in ((0, 0.1), (1, 0.5), (2, 0.9)))


@pytest.mark.parametrize(("stage", "promise"), [(StatesAnotherLaw, "stated law"), (AsksTwice, "questions"), (ForgetsTheAddress, "questions")])
def test_what_every_chooser_promises(stage: type[Chooser], promise: str) -> None:
    cases = DRAWS if stage is not StatesAnotherLaw else tuple(replace(case, given=(0.5, 0.5, 0)) for case in DRAWS[:1]) * 3
    with pytest.raises(ConformanceError) as caught:
        check_chooser(Method("twin", stage, ("fork",), cases, ""), inputs=75)
    assert caught.value.promise == promise


def test_a_chooser_is_asked_at_the_edges() -> None:
    last_is_impossible = Probe(np.array([0.0, 0.0, -np.inf]))
    assert edges(Subject(Method("twin", LastIfNone, (), (), "")), last_is_impossible) is not None
    assert edges(Subject(Method("twin", ByUniform, (), (), "")), last_is_impossible) is None


def test_settings_hold_every_candidate_of_every_parameter() -> None:
    for name in ("top_k", "top_p", "temperature", "repetition_penalty", "logit_bias"):
        stage = find(name).stage
        chosen = settings(stage, 8)
        for p in parameters(stage):
            missing = [value for value in candidates(p, 8) if value not in [setting[p.name] for setting in chosen]]
            assert missing == [], f"{name}: {p.name} is never {missing}"


def test_probes_go_from_small_to_large_and_are_the_same_every_time() -> None:
    stage = find("min_p").stage
    first, second = probes(stage, 200), probes(stage, 200)
    assert [str(probe) for probe in first] == [str(probe) for probe in second]
    assert [len(probe.row) for probe in first] == sorted(len(probe.row) for probe in first)
    assert {len(probe.row) for probe in first} == {1, 2, 3, 8, 64, 1000, 4096, 32768, 262144}


def test_renumbering_carries_history_and_token_maps() -> None:
    probe = Probe(np.array([0.0, 1.0, 2.0, 3.0]), {"map": {1: 5.0, 3: 7.0}, "k": 2}, History([0, 3], [1, 1, 2]))
    turned = probe.renumbered(np.array([3, 1, 0]))
    assert turned.row.tolist() == [3.0, 1.0, 0.0]
    assert turned.parameters == {"map": {1: 5.0, 0: 7.0}, "k": 2}
    assert (turned.history.prompt, turned.history.generated) == ([2, 0], [1, 1])
    assert str(turned) == "logits [3, 1, 0] float64, map={1: 5, 0: 7}, k=2, prompt [2, 0], generated [1, 1]"


def test_probabilities_and_their_comparison() -> None:
    row = np.log(np.array([0.25, 0.5, 0.25]))
    assert probabilities(row) == pytest.approx([0.25, 0.5, 0.25], abs=1e-16)
    assert probabilities(np.array([-np.inf, -np.inf])).tolist() == [0.0, 0.0]
    assert differ(row, row + 3, 1e-12) is None
    assert "keeps [0, 1, 2] here and [0, 1] there" in str(differ(row, np.array([0.0, 0.0, -np.inf]), 1e-12))
    assert "token 1 has probability 0.5 here" in str(differ(row, np.zeros(3), 1e-12))
    assert differ(row, np.array([0.0, np.nan, 0.0]), 1.0) is not None


def test_histories_must_match_the_rows() -> None:
    with pytest.raises(UsageError, match="shift: 2 rows of logits and 1 histories"):
        Shift(1.0)(np.zeros((2, 3)), Context([History()]))
