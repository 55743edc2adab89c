"""The noises of the kit, and noises that break what `check_noise` checks."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import ArrayLike, NDArray

from ulam.core.noise import Address, Coupling, PhiloxNoise, Purpose, Uniform
from ulam.testing import Asked, ConformanceError, RefusingNoise, ScriptedNoise, check_noise

HERE = Address([0], [0])


def test_scripted_noise_says_what_it_is_told_and_remembers_the_questions() -> None:
    noise = ScriptedNoise([0.25, 0.5, 0.5, [0.1, 0.9]])
    two = Address([4, 5], [0, 1], Purpose.accept)
    assert noise.uniform(two).values.tolist() == [0.25, 0.25]
    assert noise.bernoulli([0.4, 0.6], two).tolist() == [False, True]
    assert noise.categorical(np.log([[0.5, 0.5], [0.25, 0.75]]), two).tolist() == [1, 1]
    assert noise.categorical(np.zeros((2, 2)), two, coupling="gumbel").tolist() == [1, 1]
    assert [kind for kind, _ in noise.questions] == ["uniform", "bernoulli", "inverse_cdf", "gumbel"]
    assert all(address is two for _, address in noise.questions)
    with pytest.raises(Asked, match="question 5"):
        noise.uniform(two)


def test_scripted_noise_does_not_guess_what_an_ill_shaped_answer_means() -> None:
    with pytest.raises(Asked, match="the script has 3 for 1 rows"):
        ScriptedNoise([[0.1, 0.2, 0.3]]).categorical(np.zeros((1, 3)), HERE)


def test_refusing_noise_refuses_every_question() -> None:
    noise = RefusingNoise()
    for ask in (lambda: noise.uniform(HERE), lambda: noise.bernoulli(0.5, HERE), lambda: noise.categorical(np.zeros((1, 2)), HERE)):
        with pytest.raises(Asked):
            ask()


class ByPlace(PhiloxNoise):
    """Gives a row what belongs to its place in the batch."""

    def uniform(self, address: Address) -> Uniform:
        u = super().uniform(address).values
        return Uniform(np.roll(u, 1) if u.ndim else u)


class ForgetsPurpose(PhiloxNoise):
    def uniform(self, address: Address) -> Uniform:
        return super().uniform(Address(address.sequence, address.position, 0, address.lane))


class ShortSequence(PhiloxNoise):
    """Reads 32 bits of the sequence number."""

    def uniform(self, address: Address) -> Uniform:
        return super().uniform(Address(np.asarray(address.sequence, np.uint64) & np.uint64(0xFFFFFFFF), address.position, address.purpose, address.lane))


class Coarse(PhiloxNoise):
    """Uniforms of 32 bits."""

    def uniform(self, address: Address) -> Uniform:
        return Uniform(np.floor(super().uniform(address).values * 2.0**32) * 2.0**-32)


class Reaches(PhiloxNoise):
    """A coin that falls where the uniform is above 1 - p."""

    def bernoulli(self, p: ArrayLike, address: Address) -> NDArray[np.bool_]:
        super().bernoulli(p, address)
        return self.uniform(address).values >= 1 - np.asarray(p)


class FromTheEnd(PhiloxNoise):
    """The inverse CDF from the last token down."""

    def categorical(self, log_probs: NDArray[np.float64], address: Address, coupling: Coupling = "inverse_cdf") -> NDArray[np.int64]:
        if coupling == "gumbel":
            return super().categorical(log_probs, address, coupling)
        return log_probs.shape[-1] - 1 - super().categorical(log_probs[:, ::-1], address)


class Uncoupled(PhiloxNoise):
    """One way of drawing, whatever the coupling."""

    def categorical(self, log_probs: NDArray[np.float64], address: Address, coupling: Coupling = "inverse_cdf") -> NDArray[np.int64]:
        return super().categorical(log_probs, address)


class Lenient(PhiloxNoise):
    """Draws from anything."""

    def categorical(self, log_probs: NDArray[np.float64], address: Address, coupling: Coupling = "inverse_cdf") -> NDArray[np.int64]:
        return super().categorical(np.nan_to_num(log_probs, nan=-np.inf, posinf=0.0), address, coupling)


@pytest.mark.parametrize(
    ("noise", "promise"),
    [
        (ByPlace, "addresses"),
        (ForgetsPurpose, "addresses"),
        (ShortSequence, "addresses"),
        (Coarse, "uniforms"),
        (Reaches, "coins"),
        (FromTheEnd, "tokens"),
        (Uncoupled, "coupled"),
        (Lenient, "refusals"),
    ],
)
def test_a_broken_noise_is_rejected_for_what_it_breaks(noise: type[PhiloxNoise], promise: str) -> None:
    with pytest.raises(ConformanceError) as caught:
        check_noise(noise(7))
    assert caught.value.promise == promise
