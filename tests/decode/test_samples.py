"""What a run gives back: a list of samples, its probabilities, and its file."""

from __future__ import annotations

import base64
import json
import math
from pathlib import Path

import numpy as np
import pytest

import ulam
from ulam.core.errors import UsageError
from ulam.decode import Sample, Samples

from .conftest import Tree


def model() -> Tree:
    """a, then half an e with an accent, then the end: probabilities 1/2, 1/4, 1."""
    rows = {(0,): (0.5, 0.5, 0.0, 0.0), (0, 0): (0.25, 0.5, 0.25, 0.0), (0, 0, 2): (0.0, 0.0, 0.0, 1.0)}
    return Tree(rows, [b"a", b"b", b"\xc3", b""], ends=[3])


@pytest.fixture(scope="module")
def samples() -> Samples:
    return ulam.sample(model(), [[0], [1]], ["", "greedy"], n=200, max_tokens=3, seed=7, stop=["bb"])


@pytest.fixture(scope="module")
def known(samples: Samples) -> Sample:
    return next(sample for sample in samples if sample.tokens == (0, 2, 3))


def test_they_are_a_list(samples: Samples) -> None:
    assert len(samples) == 400
    assert [sample.index for sample in samples] == list(range(400))
    assert samples[-1] is samples[399] is samples[np.int64(399)]
    assert [sample.index for sample in samples[1:7:2]] == [1, 3, 5]
    assert samples[500:] == ()
    assert samples[3] in samples
    assert samples.index(samples[5]) == 5
    assert next(reversed(samples)).index == 399
    with pytest.raises(IndexError):
        samples[400]
    assert {sample.prompt_tokens for sample in samples[:200]} == {(0,)}
    assert {str(sample.recipe) for sample in samples[200:]} == {"greedy"}


def test_the_log_prob_of_a_sample_is_the_sum_of_its_tokens(known: Sample) -> None:
    assert known.model_log_probs == pytest.approx([math.log(0.5), math.log(0.25), 0.0], abs=1e-15)
    assert known.model_log_prob == pytest.approx(math.log(0.125), abs=1e-15)
    assert known.recipe_log_prob == known.model_log_prob
    assert str(known) == known.text == "a\ufffd"


def test_greedy_has_recipe_log_prob_zero(samples: Samples) -> None:
    assert {sample.recipe_log_prob for sample in samples[200:]} == {0.0}
    assert all(sample.model_log_prob < 0 for sample in samples[200:])


def test_a_sample_as_data(samples: Samples, known: Sample) -> None:
    data = known.to_dict(samples.vocabulary)
    steps = data.pop("steps")
    assert data.pop("model_log_prob") == pytest.approx(math.log(0.125), abs=1e-15)
    assert data.pop("recipe_log_prob") == pytest.approx(math.log(0.125), abs=1e-15)
    assert data == {
        "index": known.index,
        "sequence": known.index,
        "prompt": {"text": "a", "tokens": 1},
        "recipe": "categorical",
        "recipe_id": ulam.Recipe("").id,
        "text": "a\ufffd",
        "finish_reason": "stop",
        "stopped_by": "<3>",
        "error": None,
        "tokens": 3,
    }
    assert [step["position"] for step in steps] == [0, 1, 2]
    assert [step["token"] for step in steps] == [
        {"id": 0, "text": "a", "bytes": "YQ=="},
        {"id": 2, "text": "\ufffd", "bytes": base64.b64encode(b"\xc3").decode()},
        {"id": 3, "text": "<3>", "bytes": ""},
    ]
    assert steps[1]["model_log_prob"] == pytest.approx(math.log(0.25), abs=1e-15)


def test_an_impossible_token_of_the_model_is_null() -> None:
    """A bias makes nothing possible, but probability 0 up to rounding is -inf in neither law; a failed row shows its error."""
    broken = Tree(lambda prefix: [math.nan] * 2, [b"a", b"b"], logits=True)
    (sample,) = ulam.sample(broken, [[0]], "", seed=1)
    data = sample.to_dict(broken.vocabulary)
    assert data["error"].splitlines()[0] == "the logits hold NaN, +inf or no finite entry (row 0, position 0)"
    assert (data["finish_reason"], data["steps"], data["model_log_prob"]) == ("error", [], 0.0)


def test_the_document_is_strict_json(samples: Samples, tmp_path: Path) -> None:
    file = tmp_path / "run é.json"
    samples.save(file)
    text = file.read_bytes().decode("utf-8")
    data = json.loads(text, parse_constant=lambda constant: pytest.fail(constant))
    assert text.endswith("}\n")
    assert data["schema"] == "ulam.samples/1"
    assert data["seed"] == 7
    assert (data["model"]["name"], data["model"]["id"]) == ("tree", "tree-1")
    assert data["limits"] == {"max_tokens": 3, "stop": ["bb"], "context": None}
    assert data["batch_invariant"] is True
    assert data["versions"]["ulam"] == ulam.__version__
    assert data["samples"] == samples.to_dicts()


def test_what_all_samples_share_stands_once(samples: Samples) -> None:
    data = ulam.sample(model(), [[0]], "greedy", n=3, max_tokens=2, seed=7).to_document()
    assert (data["recipe"], data["recipe_id"], data["prompt"]) == ("greedy", ulam.Recipe("greedy").id, {"text": "a", "tokens": 1})
    assert [{"recipe", "recipe_id", "prompt"} & set(each) for each in data["samples"]] == [set()] * 3
    assert [each["index"] for each in data["samples"]] == [0, 1, 2]
    assert "recipe" not in samples.to_document()


def test_a_file_is_not_overwritten_by_accident(samples: Samples, tmp_path: Path) -> None:
    file = tmp_path / "run.json"
    file.write_text("mine")
    with pytest.raises(UsageError, match=r"run\.json exists[\s\S]*force=True"):
        samples.save(file)
    with pytest.raises(UsageError, match="exists"):
        samples.save(str(file))
    assert file.read_text() == "mine"
    samples.save(file, force=True)
    assert json.loads(file.read_text(encoding="utf-8"))["seed"] == 7


def test_they_print(samples: Samples, known: Sample) -> None:
    lines = repr(samples).splitlines()
    assert lines[0].startswith("Samples(400 from ")
    assert lines[0].endswith("seed 7)")
    assert len(lines) == 22
    assert lines[-1] == "  ... and 380 more"
    assert repr(known) == "Sample('a\ufffd', 3 tokens, stop, model_log_prob=-2.079, recipe_log_prob=-2.079)"


def test_a_run_shows_what_is_finished_so_far() -> None:
    run = ulam.stream(model(), [[0]], "", n=8, max_tokens=3, seed=7)
    seen = 0
    for event in run:
        seen += hasattr(event, "sample")
        assert len(run.samples) == seen
    assert seen == 8
    assert run.samples.meta["seconds"] >= 0
