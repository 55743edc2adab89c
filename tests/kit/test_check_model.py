"""`check_model`: models that keep the rules pass, and every planted fault is rejected by the check that is about it."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction as F
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.kit.model_mutants import WRONG, Apart, Honest, StartsWithAToken, Undeclared
from tests.tiny import open_llama, write_tiny
from ulam.core.errors import UsageError
from ulam.models import IID, CachedModel, FunctionModel, LanguageModel, Markov, Table, Tree, abc, alphabet, load, words
from ulam.testing import ConformanceError, check_model
from ulam.testing.check_model import CHECKS

WEATHER = """{"schema": "ulam.table/1", "tokens": ["sun", " rain", "$"], "end": "$", "order": 1,
              "rows": {"": {"sun": "2/3", " rain": "1/3"}, "sun": {"sun": 0.9, " rain": 0.05, "$": 0.05}}, "otherwise": {"$": 1}}"""


def tree() -> Tree:
    rows = {"": {"x": F(1, 2), "y": F(2, 5), "$": F(1, 10)}, "x": {"y": F(1, 2), "$": F(1, 2)}}
    return Tree(rows, alphabet("xy", end="$"), otherwise={"$": 1}, name="D")


def of_json(folder: Path) -> LanguageModel:
    path = folder / "weather.json"
    path.write_text(WEATHER)
    return load(path)


TABLES: dict[str, Callable[[], LanguageModel]] = {
    "abc": abc,
    "iid": lambda: IID((0.25, 0, 0.75)),
    "one token": lambda: IID((1,)),
    "only an end": lambda: IID((1,), alphabet("", end="$")),
    "table": lambda: Table({(): (0.5, 0.5)}, alphabet("ab"), otherwise=lambda prefix: ((1, 0), (0.25, 0.75))[prefix[-1]]),
    "markov": lambda: Markov(2, {"": (1, 0, 0), "ab": (0, 0, 1)}, alphabet("ab", end="$"), otherwise=(F(1, 3), F(1, 3), F(1, 3))),
    "tree": tree,
    "words": lambda: Tree({}, words(["the", " cat", " ", "$"], ends=[3]), otherwise=(0.25,) * 4),
    "function": lambda: FunctionModel(lambda tokens: [0.1 * len(tokens), 0.2, -0.3, 0.4]),
    "wide": lambda: FunctionModel(lambda tokens: np.cos(np.arange(200) * (1 + len(tokens)))),
    "cached tree": lambda: CachedModel(tree()),
    "cached": lambda: CachedModel(Honest()),
    "cached, forgetful": lambda: CachedModel(Honest(), max_entries=3),
    "starts with a token": StartsWithAToken,
}


@pytest.mark.parametrize("make", TABLES.values(), ids=list(TABLES))
def test_models_that_keep_the_rules(make: Callable[[], LanguageModel]) -> None:
    report = check_model(make())
    assert {*report.asserted, *report.not_applicable} == {"form", "vocabulary", "texts", "logits", *(check.__name__ for check in CHECKS)}
    assert report.asserted["logits"] > 0
    assert report.measured == {}


def test_a_json_table_and_its_cache(tmp_path: Path) -> None:
    check_model(of_json(tmp_path))
    check_model(CachedModel(of_json(tmp_path)))


def test_the_built_in_model_and_its_cache(tmp_path: Path) -> None:
    model = open_llama(write_tiny(tmp_path / "tiny", max_position_embeddings=80))
    report = check_model(model)
    assert report.not_applicable == {}
    assert str(report).startswith(f"{model.name}: ")
    report = check_model(CachedModel(model), prompts=["The cat", [0, 7]])
    assert list(report.not_applicable) == ["extend", "layer_logits"]


def test_an_honest_model_is_checked_in_everything() -> None:
    report = check_model(Honest())
    assert report.not_applicable == {}
    assert min(report.asserted.values()) > 0


def test_what_is_not_applicable_says_why() -> None:
    report = check_model(IID((1,), alphabet("", end="$")))
    assert report.not_applicable["batch"] == report.not_applicable["forks"] == "every text ends with the next token"
    assert report.not_applicable["limit"] == "the model has no context limit"
    assert report.not_applicable["extend"] == 'the model does not declare "extend"'
    assert report.not_applicable["text"] == "no text that the model allows can be encoded"
    assert check_model(FunctionModel(lambda tokens: np.zeros(60))).not_applicable["text"] == "the vocabulary has no text"

    class Long(Honest):
        context_limit = 5000

    assert check_model(Long()).not_applicable["limit"] == "a context of 5000 tokens is longer than the 1024 that are tried"
    assert check_model(CachedModel(tree())).asserted["prefill"] > 0


def test_the_largest_difference_is_reported() -> None:
    """Seven mates move a log-probability by no more than 7e-5, and by more than 1e-6."""
    report = check_model(Undeclared())
    (line,) = [line for line in str(report).splitlines() if "largest difference" in line]
    assert line.endswith(" nats, at most 0.001 allowed")
    assert 1e-6 < float(line.split()[2]) < 1e-4
    with pytest.raises(ConformanceError, match=r"within 1e-06 nats") as caught:
        check_model(Undeclared(), tolerance=1e-6)
    assert caught.value.promise == "batch"


@pytest.mark.parametrize(("promise", "make"), [(promise, make) for promise, makes in WRONG.items() for make in makes], ids=lambda x: getattr(x, "__name__", x))
def test_a_planted_fault_is_rejected_by_its_check(promise: str, make: Callable[[], Any]) -> None:
    with pytest.raises(ConformanceError) as caught:
        check_model(make())
    assert caught.value.promise == promise
    assert str(caught.value).startswith(f"honest breaks {promise}: ")
    assert len(str(caught.value).splitlines()) == 1


def test_every_check_has_a_fault_that_it_rejects() -> None:
    assert set(WRONG) == {"form", "vocabulary", "logits", *(check.__name__ for check in CHECKS)}


def test_the_smallest_text_is_shown() -> None:
    with pytest.raises(ConformanceError) as caught:
        check_model(Apart())
    assert "row 0 of 2, read together: the logits after [] are not, within 0.001 nats, those of the same tokens alone" in str(caught.value)
    with pytest.raises(ConformanceError) as caught:
        check_model(WRONG["prefill"][0]())
    assert "prefill of 1 tokens: the logits after [" in str(caught.value)


def test_prompts_of_ones_own() -> None:
    """A chain without a first row cannot begin with nothing."""
    chain = Markov(1, {"a": (0.5, 0.5), "b": (0.25, 0.75)}, alphabet("ab"))
    with pytest.raises(ConformanceError, match='texts: ModelError: markov has no probabilities after ""'):
        check_model(chain)
    assert check_model(chain, prompts=["a", [1, 0]]).asserted["texts"] == 6
    with pytest.raises(UsageError):
        check_model(chain, prompts=["x"])


def test_what_a_model_raises_unasked_breaks_the_promise_and_is_its_cause() -> None:
    with pytest.raises(ConformanceError, match="honest breaks release: RuntimeError: released already") as caught:
        check_model(WRONG["release"][0]())
    assert isinstance(caught.value.__cause__, RuntimeError)
    with pytest.raises(ConformanceError, match="object breaks form: "):
        check_model(object())  # type: ignore[arg-type]
