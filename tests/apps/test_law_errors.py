"""`ulam law`: ties and errors, what it takes too long for, and planted faults that its tests see."""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import Any

import pytest

from ulam.exact import lines, ties
from ulam.exact.comparison import Comparison
from ulam.exact.distances import kl
from ulam.models import IID, Markov, Table, alphabet
from ulam.render import bars

from .conftest import Ulam
from .test_law import GREEDY, TOP_K, fails

# ties


def note(ulam: Ulam, *words: str) -> list[str]:
    return [line.removeprefix(" note: ") for line in ulam("law", *words).out.splitlines() if line.startswith(" note: ")]


def test_a_tie_that_happens_after_one_letter(ulam: Ulam, models: Callable[..., None]) -> None:
    rows = {"": (0.4, 0.6, 0), "a": (0.5, 0.25, 0.25), "b": (0.2, 0.3, 0.5)}
    models(chain=Markov(1, {key: dict(zip("abc", row, strict=True)) for key, row in rows.items()}, alphabet("abc"), name="chain"))
    assert note(ulam, "top_k=2", "-m", "chain", "--length", "2") == ["b and c tie at the boundary after a; the lower token id stays, so c is not said there"]


def test_a_tie_of_the_first_token(ulam: Ulam, models: Callable[..., None]) -> None:
    models(chain=Markov(1, {"": {"a": 0.5, "b": 0.5}}, alphabet("ab"), otherwise={"b": 1}, name="chain"))
    assert note(ulam, "greedy", "-m", "chain") == ["a and b tie at the boundary for the first token; the lower token id stays, so b is not said there"]


def test_ties_at_several_places(ulam: Ulam, models: Callable[..., None]) -> None:
    """After a letter that is no c, b and c are tied for the second place: after a, after b, and after the four texts of these two."""
    rows = {"": (0.5, 0.3, 0.2), "a": (0.5, 0.25, 0.25), "b": (0.5, 0.25, 0.25), "c": (1, 0, 0)}
    models(chain=Markov(1, {key: dict(zip("abc", row, strict=True)) for key, row in rows.items()}, alphabet("abc"), name="chain"))
    assert note(ulam, "top_k=2", "-m", "chain") == [
        "b and c tie at the boundary after a and at 5 other places; the lower token id stays, so c is not said there"
    ]


def test_ties_of_many(ulam: Ulam, models: Callable[..., None]) -> None:
    models(even=IID([0.125] * 8, alphabet("abcd,fgh"), name="even"))
    assert note(ulam, "top_k=2", "-m", "even") == [
        "a, b, c, d and 4 others tie at the boundary; the lower token ids stay, so c, d, “,”, f and 2 others are never said"
    ]
    (greedy,) = note(ulam, "greedy", "-m", "even", "--length", "1")
    assert greedy.startswith("a, b, c, d and 4 others tie at the boundary; the lower token id stays, so b, c, d")


@pytest.mark.parametrize("recipe", ["greedy", "top_k=1", "", "min_p=0.5", "temperature=2", "top_p=0.5 top_k=1"])
def test_no_tie_where_no_equal_token_goes(ulam: Ulam, recipe: str) -> None:
    assert note(ulam, *recipe.split(), "-m", "abc") == []


# errors


@pytest.mark.parametrize(
    ("words", "lines"),
    [
        (["--budget", "0"], ["error: --budget 0 is less than 1", "  fix: --budget 1000000"]),
        (["--budget", "-5"], ["error: --budget -5 is less than 1", "  fix: --budget 1000000"]),
        (["--length", "-1"], ["error: --length -1 is less than 0", "  fix: --length 3"]),
        (["--top", "0"], ["error: --top 0 is less than 1", "  fix: --top 12"]),
        (
            ["--event", "a(b"],
            ['error: --event "a(b" is no regular expression: missing ), unterminated subpattern at position 1', "  fix: --event 'a\\(b', for this text itself"],
        ),
        (
            ["--length", "14", "-p", "ab", "--top-k", "3"],
            [
                "error: the law of 14 tokens under top_k=3 has 4 782 969 paths, and --budget allows 1 000 000",
                "  fix: --length 12, or --budget 4782969, or draw some: ulam sample -p ab top_k=3 -m abc -n 1000 --max-tokens 14 --jsonl",
            ],
        ),
        (
            ["--length", "3", "--budget", "2", "-r", "repetition_penalty(1.1, window=4)"],
            [
                "error: the law of 3 tokens under repetition_penalty(1.1, window=4) has 27 paths, and --budget allows 2",
                '  fix: --budget 27, or draw some: ulam sample -p "" "repetition_penalty(1.1, window=4)" -m abc -n 1000 --max-tokens 3 --jsonl',
            ],
        ),
        (
            ["--length", "30", "top_k=2"],
            [
                "error: the law of 30 tokens under top_k=2 has 1.1e+09 paths, and --budget allows 1 000 000",
                '  fix: --length 19, or a recipe that keeps fewer tokens, or draw some: ulam sample -p "" top_k=2 -m abc -n 1000 --max-tokens 30 --jsonl',
            ],
        ),
        (["topp=0.9"], ['error: unknown stage "topp" (stage 1). Did you mean top_p?', "  fix: ulam law top_p=0.9 --model abc"]),
        (["--against", "topp=1"], ['error: --against: unknown stage "topp" (stage 1). Did you mean top_p?']),
        (["--against", "no/x.toml"], ["error: cannot read no/x.toml: no such file or directory"]),
        (
            ["top_k=2", "--temp", "2"],
            [
                "error: the recipe is given twice: as words (top_k=2) and as flags (temperature=2)",
                "  fix: ulam law temperature=2 top_k=2 --model abc",
            ],
        ),
        (["--jsonl"], ["error: unknown flag --jsonl. Did you mean --json?"]),
    ],
)
def test_errors(ulam: Ulam, words: list[str], lines: list[str]) -> None:
    assert fails(ulam, *words, "-m", "abc") == lines


def test_a_prompt_is_no_word(ulam: Ulam) -> None:
    what = 'error: unknown stage "Once" (stage 1). The words of this command are stages; a prompt is -p TEXT.'
    assert fails(ulam, "Once", "upon", "a", "time") == [what, '  fix: ulam law -p "Once upon a time"']
    assert fails(ulam, "Once upon", "top_k=2", "-m", "abc") == [what, '  fix: ulam law -p "Once upon" top_k=2 --model abc']
    assert fails(ulam, "Once", "-p", "a b") == [what, '  fix: ulam law --prompt "a b Once"']


def test_other_errors(ulam: Ulam) -> None:
    assert fails(ulam, "-m", "nothing", code=5)[0].startswith('error: unknown model "nothing".')
    assert "is not in the alphabet" in fails(ulam, "-m", "abc", "-p", "xyz")[0]
    assert "the repetition number is too large" in fails(ulam, "-m", "abc", "--event", "a{99999999999}")[0]


def test_a_regular_expression_of_the_future_is_no_warning(ulam: Ulam) -> None:
    lines = ulam("law", "-m", "abc", "greedy", "--event", "[[a]").out.splitlines()
    assert lines[-2:] == [" event [[a]: 1 under the recipe", " event [[a]: 0.875 under the model"]


# time


class Interrupted(Table):
    """Somebody presses Ctrl-C when it reads its k-th batch of prefixes."""

    def __init__(self, k: int) -> None:
        super().__init__({}, alphabet("abc"), otherwise=lambda prefix: (0.5, 0.25, 0.25), name="slow")
        self.left = k

    def _read(self, prefixes: Any) -> Any:
        self.left -= 1
        if self.left == 0:
            signal.raise_signal(signal.SIGINT)
        return super()._read(prefixes)


@pytest.mark.parametrize(("k", "said"), [(1, ""), (30, " · recipe · ")])
def test_an_interrupt_is_one_line(ulam: Ulam, models: Callable[..., None], k: int, said: str) -> None:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        models(slow=Interrupted(k))
        result = ulam("law", "-m", "slow", "--length", "7")
    finally:
        signal.signal(signal.SIGINT, before)
    assert (result.code, result.stdout) == (130, b"")
    assert result.stderr.startswith(f"── interrupted{said}")
    assert len(result.stderr.splitlines()) == 1


# planted faults


def right(ulam: Ulam) -> bool:
    """The transcripts, a divergence that differs in the two directions, and ties that a bias makes and breaks."""
    return (
        ulam("law", "-m", "abc", "--length", "3", "greedy").out == GREEDY
        and ulam("law", "-m", "abc", "--length", "3", "top_k=2", "--top", "4").out == TOP_K
        and "KL(recipe‖model) 0.0817 bits" in ulam("law", "temperature=0.5", "-m", "abc", "--length", "1").out
        and note(ulam, "logit_bias({1: 1})", "top_k=2", "-m", "abc") == []
        and note(ulam, "logit_bias({1: 0.6931471805599453})", "top_k=1", "-m", "abc")
        == ["a and b tie at the boundary; the lower token id stays, so b is never said"]
    )


def other_scale(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(bars, "COLUMNS", (40, 20, 10))


def rounded_up(patch: pytest.MonkeyPatch) -> None:
    real = bars.bar
    patch.setattr(bars, "bar", lambda length: real(length + 0.124))


def without_the_rest(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Comparison, "total_variation", property(lambda self: sum(abs(p - q) for p, q in self.pairs) / 2))


def the_wrong_way(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Comparison, "kl", property(lambda self: kl([(q, p) for p, q in self.pairs])))


def in_nats(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(lines, "LN2", 1.0)


def ties_of_the_models_logits(patch: pytest.MonkeyPatch) -> None:
    real = ties.passes
    patch.setattr(ties, "passes", lambda recipe, z, context: [(stage, z, after) for stage, _, after in real(recipe, z, context)])


def ties_of_what_stays(patch: pytest.MonkeyPatch) -> None:
    real = ties.passes
    patch.setattr(ties, "passes", lambda recipe, z, context: [(stage, after, after) for stage, _, after in real(recipe, z, context)])


def all_that_goes_is_a_tie(patch: pytest.MonkeyPatch) -> None:
    real = ties.passes
    patch.setattr(ties, "passes", lambda recipe, z, context: [(stage, 0 * before, after) for stage, before, after in real(recipe, z, context)])


FAULTS = (other_scale, rounded_up, without_the_rest, the_wrong_way, in_nats, ties_of_the_models_logits, ties_of_what_stays, all_that_goes_is_a_tie)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_a_planted_fault_is_seen(ulam: Ulam, monkeypatch: pytest.MonkeyPatch, fault: Callable[[pytest.MonkeyPatch], None]) -> None:
    assert right(ulam)
    fault(monkeypatch)
    assert not right(ulam)
