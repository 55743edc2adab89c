"""Tables in JSON files: what is read, exactly, and one line for everything that is wrong."""

from __future__ import annotations

import json
import pickle
import re
from fractions import Fraction as F
from math import log
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ulam
from ulam.core.errors import ModelError, UsageError
from ulam.models import LanguageModel, Markov, Tree, load, table_file

WEATHER = """{
  "schema": "ulam.table/1",
  "tokens": ["s", "r", "$"],
  "end": "$",
  "order": 1,
  "rows": {
    "": {"s": "2/3", "r": "1/3"},
    "s": {"s": 0.9, "r": "0.05", "$": 5e-2},
    "r": {"s": 1}
  },
  "otherwise": {"$": 1}
}"""


def written(folder: Path, text: str | bytes | dict[str, Any], name: str = "weather.json") -> Path:
    path = folder / name
    raw = json.dumps(text) if isinstance(text, dict) else text
    path.write_bytes(raw.encode() if isinstance(raw, str) else raw)
    return path


def table(**fields: Any) -> dict[str, Any]:
    """A right table with some fields changed; None leaves one out."""
    whole = {"schema": "ulam.table/1", "tokens": ["a", "b", "$"], "end": "$", "rows": {"": {"a": "1/2", "b": "1/2"}}, "otherwise": {"$": 1}} | fields
    return {name: value for name, value in whole.items() if value is not None}


def test_weather(tmp_path: Path) -> None:
    model = load(written(tmp_path, WEATHER))
    assert isinstance(model, Markov)
    assert isinstance(model, LanguageModel)
    assert (model.name, model.order, model.vocabulary.ends, model.vocabulary.names) == ("weather", 1, (2,), {2: "$"})
    assert model.vocabulary.tokens == (b"s", b"r", b"")
    assert model.probs([]) == (F(2, 3), F(1, 3), 0)
    assert model.probs([1, 0]) == (F(9, 10), F(1, 20), F(1, 20))
    assert model.probs([0, 1]) == (1, 0, 0)
    assert all(isinstance(p, F) for prefix in ((), (0,), (1,)) for p in model.probs(prefix))
    _, logits = model.prefill([[1, 0]])
    assert logits.tolist() == [[log(0.9), log(0.05), log(0.05)]]


def test_the_running_example(tmp_path: Path) -> None:
    rows = {"": {"x": 0.5, "y": 0.4, "$": 0.1}, "x": {"y": 0.5, "$": 0.5}}
    path = written(tmp_path, table(name="D", tokens=["x", "y", "$"], rows=rows))
    model = load(str(path))
    assert isinstance(model, Tree)
    assert (model.name, repr(model)) == ("D", "Tree(D: 3 tokens)")
    D = Tree({"": (F(1, 2), F(2, 5), F(1, 10)), "x": (0, F(1, 2), F(1, 2))}, model.vocabulary, otherwise=(0, 0, 1))
    for prefix in ((), (0,), (1,), (0, 1)):
        assert model.probs(prefix) == D.probs(prefix)
    assert model.fingerprint == D.fingerprint
    sample = ulam.sample(model, "", seed=7, n=20)
    assert {each.text for each in sample} == {"", "x", "xy", "y"}
    assert {each.stopped_by for each in sample} == {"$"}


def test_decimals_are_read_as_they_are_written(tmp_path: Path) -> None:
    """0.1 + 0.2 + 0.7 is 1, which in floats it is not; thirds in decimals are floats."""
    rows = {"": {"a": 0.1, "b": 0.2, "$": 0.7}, "a": {"a": 0.333333333333, "b": "0.333333333333", "$": "1/3"}, "b": {"a": "2/4", "b": "1e-1", "$": "4/10"}}
    model = load(written(tmp_path, table(rows=rows)))
    assert isinstance(model, Tree)
    assert model.probs([]) == (F(1, 10), F(1, 5), F(7, 10))
    assert model.probs([0]) == (0.333333333333, 0.333333333333, 1 / 3)
    assert all(type(p) is float for p in model.probs([0]))
    assert model.probs([1]) == (F(1, 2), F(1, 10), F(2, 5))


def test_a_row_without_a_common_denominator_is_kept_as_floats(tmp_path: Path) -> None:
    """1/2 - 1/d and 1/d for 200 numbers d of 60 digits, none of which share much: exact sums of such rows take hours where they are long."""
    parts = [F(1, 10**60 + 2 * i + 1) for i in range(200)]
    tokens = [f"t{i}" for i in range(401)]
    row = {f"t{i}": str(p) for i, p in enumerate([*parts, *(F(1, 400) - p for p in parts)])} | {"t400": "1/2"}
    model = load(written(tmp_path, {"schema": "ulam.table/1", "tokens": tokens, "otherwise": row}))
    assert isinstance(model, Tree)
    assert all(type(p) is float for p in model.probs([]))
    assert model.probs([])[:2] == (1e-60, 1e-60)
    third = F(1, int("3" * 150))
    few = {"schema": "ulam.table/1", "tokens": ["a", "b"], "otherwise": {"a": str(third), "b": str(1 - third)}}
    model = load(written(tmp_path, few))
    assert isinstance(model, Tree)
    assert model.probs([]) == (third, 1 - third)


def test_keys_of_rows(tmp_path: Path) -> None:
    rows = {"the": {" cat": 1}, "the ␣cat": {"␣cat": "1/2", "<end>": "1/2"}}
    model = load(written(tmp_path, table(tokens=["the", " cat", "<end>"], end=["<end>"], rows=rows, otherwise={"the": 1})))
    assert isinstance(model, Tree)
    assert [model.probs(prefix) for prefix in ([], [0], [0, 1])] == [(1, 0, 0), (0, 1, 0), (0, F(1, 2), F(1, 2))]
    assert model.vocabulary.encode("the cat cat") == [0, 1, 1]
    joined = load(written(tmp_path, table(rows={"ab": {"a": 1}, "b a": {"b": 1}})))
    assert isinstance(joined, Tree)
    assert [joined.probs(prefix) for prefix in ([0, 1], [1, 0], [1])] == [(1, 0, 0), (0, 1, 0), (0, 0, 1)]


def test_without_an_end_and_with_several(tmp_path: Path) -> None:
    assert load(written(tmp_path, table(end=None))).vocabulary.ends == ()
    assert load(written(tmp_path, table(end=[]))).vocabulary.ends == ()
    assert load(written(tmp_path, table(end=["$", "b"], otherwise={"$": 1}))).vocabulary.ends == (1, 2)


def test_other_names_of_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(tmp_path, "\ufeff" + WEATHER, "my.table.json")  # with the mark that some editors put first
    monkeypatch.chdir(tmp_path)
    assert load("my.table.json").name == "my.table"
    assert load(Path("my.table.json")).name == "my.table"
    with pytest.raises(ModelError, match=r"there is no wether\.json; nothing is downloaded"):
        load("wether.json")
    with pytest.raises(UsageError, match="brings its own tokenizer"):
        load("my.table.json", "ab")


def test_a_row_that_is_missing_is_named_by_the_model(tmp_path: Path) -> None:
    model = load(written(tmp_path, table(otherwise=None)))
    with pytest.raises(ModelError, match='weather has no probabilities after "ab"') as error:
        model.prefill([[0, 1]])
    assert error.value.fix == 'add a row "ab", or one for all others: otherwise'


deep = '{"schema": ' + "[" * 100_000

WRONG: list[tuple[Any, str]] = [
    # the file
    ("", r"is not JSON: line 1, column 1: Expecting value"),
    ('{"schema": "ulam.table/1",\n "tokens": ["a"', r"is not JSON: line 2, column 16: "),
    (b"\xff\xfe{", r"is not UTF-8: byte 0xff at offset 0"),
    (pickle.dumps({"schema": "ulam.table/1"}), r"is not UTF-8"),
    (deep, r"is nested too deep"),
    ("[1]", r"weather\.json is not a JSON object"),
    ("3", r"is not a JSON object"),
    ('{"schema": "ulam.table/1", "schema": "ulam.table/1"}', r'weather\.json has "schema" twice'),
    # its fields
    ({"architectures": ["LlamaForCausalLM"]}, r'is not a table: its "schema" says nothing$'),
    (table(extra={}), r'has the unknown field "extra"\.$'),
    (table(row={}), r'has the unknown field "row"\. Did you mean rows\?'),
    (table(schema=None), r'is not a table: its "schema" says nothing'),
    (table(schema="ulam.table/2"), r'is not a table: its "schema" says "ulam\.table/2"'),
    (table(schema=1), r'is not a table: its "schema" says something else'),
    (table(name=""), r'"name" of .*weather\.json is not a name'),
    (table(name="a\u001bb"), r'"name" of .* is not a name'),
    (table(name=7), r'"name" of .* is not a name'),
    (table(tokens=None), r'"tokens" of .*weather\.json is not a list of texts'),
    (table(tokens=[]), r'"tokens" of .* is not a list of texts'),
    (table(tokens={"a": 1}), r'"tokens" of .* is not a list of texts'),
    (table(tokens=["a", 1, "$"]), r'"tokens" of .* is not a list of texts'),
    (table(tokens=["a", "", "$"]), r'"tokens" of .* is not a list of texts'),
    (table(tokens=["a", "b", "$", "\ud800"]), r'"tokens" of .* is not a list of texts'),
    (table(tokens=["a", "b", "$", "b"]), r'"tokens" of .*weather\.json has "b" twice'),
    (table(end="§"), r'"end" of .*weather\.json names "§", which is not a token'),
    (table(tokens=["a", "b", "<end>"], end="end"), r'"end" of .* names "end", which is not a token\. Did you mean <end>\?'),
    (table(end=2), r'"end" of .* names something that is not a token'),
    (table(end={"$": 1}), r'"end" of .* names something that is not a token'),
    (table(order=-1), r'"order" of .*weather\.json is not a number of tokens'),
    (table(order=1.0), r'"order" of .* is not a number of tokens'),
    (table(order="1"), r'"order" of .* is not a number of tokens'),
    (table(order=True), r'"order" of .* is not a number of tokens'),
    (table(rows=None, otherwise=None), r"weather\.json has no rows"),
    (table(rows=[1]), r'"rows" of .*weather\.json is not a JSON object'),
    (json.dumps(table()).replace('"rows": {', '"rows": {"a": {"a": 1}, "a": {"b": 1}, '), r'"rows" of .*weather\.json has "a" twice'),
    # its rows
    (table(rows={"az": {"a": 1}}), r'the row "az" of .*weather\.json names "z", which is not a token'),
    (table(rows={"a  b": {"a": 1}}), r'the row "a  b" of .* names "", which is not a token'),
    (table(tokens=["sun", "rain", "$"], rows={"sunrain": {"sun": 1}}), r'names "sunrain", which is not a token\. Did you mean rain'),
    (table(rows={"ab": {"a": 1}, "a b": {"a": 1}}), r'the row "a b" of .* stands twice, in another writing'),
    (table(rows={"a$": {"a": 1}}), r'the row "a\$" of .*weather\.json comes after the end: \$ ends a text'),
    (table(order=1, rows={"ab": {"a": 1}}), r'the row "ab" of .*weather\.json has 2 tokens, and only the last 1 matter'),
    (table(rows={"b": [0.5, 0.5, 0]}), r'the row "b" of .*weather\.json is not a JSON object'),
    (table(rows={"b": {"c": 1}}), r'the row "b" of .*weather\.json names "c", which is not a token'),
    ('{"schema": "ulam.table/1", "tokens": ["a"], "rows": {"": {"a": 0.5, "a": 0.5}}}', r'the row "" of .*weather\.json has "a" twice'),
    (table(tokens=["a", " "], end=None, rows={"": {" ": 0.5, "␣": 0.5}}, otherwise=None), r'the row "" of .*weather\.json names "␣" twice'),
    (table(rows={"b": {"a": 0.5, "b": 0.25}}), r'the row "b" of .*weather\.json adds to 3/4, not to 1'),
    (table(rows={"b": {"a": 0.5, "b": 0.500000002}}), r'the row "b" of .*weather\.json adds to 500000001/500000000, not to 1'),
    (table(rows={"b": {}}), r'the row "b" of .*weather\.json adds to 0, not to 1'),
    (table(rows={"b": {"a": 1.5, "b": -0.5}}), r'the row "b" of .*weather\.json holds -1/2 for "b"'),
    (table(rows={"b": {"a": "-1/2", "b": "3/2"}}), r'holds -1/2 for "a"'),
    (table(rows={"b": {"a": float("nan"), "b": 1}}), r'the row "b" of .*weather\.json gives "a" NaN, which is not a probability'),
    (table(rows={"b": {"a": float("-inf"), "b": 1}}), r'gives "a" -Infinity, which is not a probability'),
    (table(rows={"b": {"a": "half", "b": "1/2"}}), r'gives "a" "half", which is not a probability'),
    (table(rows={"b": {"a": "1/0", "b": "1/2"}}), r'gives "a" "1/0", which is not a probability'),
    (table(rows={"b": {"a": "0.5/1", "b": "1/2"}}), r'gives "a" "0.5/1", which is not a probability'),
    (table(rows={"b": {"a": "٠.٥", "b": "1/2"}}), r'gives "a" "٠.٥", which is not a probability'),
    (table(rows={"b": {"a": True}}), r'gives "a" something else, which is not a probability'),
    (table(rows={"b": {"a": None}}), r'gives "a" something else, which is not a probability'),
    (table(rows={"b": {"a": {"b": 1}}}), r'gives "a" something else, which is not a probability'),
    (json.dumps(table()).replace('"1/2"', "1e999999999", 1), r'the row "" of .*weather\.json gives "a" 1e999999999, which is not a probability'),
    (table(rows={"b": {"a": "1" * 401}}), r'gives "a" "1{40}", which is not a probability'),
    (table(otherwise={"$": 0.5}), r'the row "otherwise" of .*weather\.json adds to 1/2, not to 1'),
    (table(otherwise={"§": 1}), r'the row "otherwise" of .*weather\.json names "§", which is not a token'),
    (table(otherwise=1), r'the row "otherwise" of .*weather\.json is not a JSON object'),
]


@pytest.mark.parametrize(("text", "words"), WRONG, ids=[words[:60] for _, words in WRONG])
def test_what_cannot_be_read_is_one_line_and_a_fix(tmp_path: Path, text: Any, words: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(ModelError) as error:
        load(path)
    assert "\n" not in error.value.what
    assert "weather.json" in error.value.what
    assert error.value.fix
    assert error.value.exit_code == 5
    assert re.search(words, error.value.what)


def test_a_table_that_is_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table_file, "LARGEST", 1000)
    with pytest.raises(ModelError, match="has more than 1,000 bytes"):
        load(written(tmp_path, WEATHER + " " * 1000))
    rows = {"a" * length: {"a": 1} for length in range(20)}
    tokens = [chr(ord("a") + i) for i in range(50)]
    text = json.dumps(table(tokens=tokens, end=None, rows=rows, otherwise=None), separators=(",", ":"))
    assert len(text) < 1000
    assert load(written(tmp_path, text)).vocabulary.ends == ()
    rows |= {"b": {"a": 1}}
    with pytest.raises(ModelError, match="has 21 rows of 50 tokens, more than 1,000 numbers"):
        load(written(tmp_path, json.dumps(table(tokens=tokens, end=None, rows=rows, otherwise=None), separators=(",", ":"))))


def test_a_file_that_cannot_be_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path, WEATHER)

    def refuse(*args: Any, **more: Any) -> Any:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(ModelError, match=r"weather\.json cannot be read: Permission denied"):
        load(path)


def test_the_documented_format_is_one(tmp_path: Path) -> None:
    """The example of the docstring, without the words beside it."""
    lines = [line.strip() for line in (table_file.__doc__ or "").splitlines()]
    start, end = lines.index("{"), lines.index("}")
    kept = [line.split("   ")[0].rstrip() if not line.startswith('"":') else line.split("  probabilities")[0] for line in lines[start : end + 1]]
    model = load(written(tmp_path, "\n".join(kept)))
    assert isinstance(model, Markov)
    assert model.vocabulary.encode("sunrainsun") == [0, 1, 0]
    assert model.probs([1, 0]) == (F(9, 10), F(1, 20), F(1, 20))
    assert np.exp(model.prefill([[0, 1]])[1]).tolist() == [[1, 0, 0]]


def test_the_format_in_the_errors_is_one(tmp_path: Path) -> None:
    assert load(written(tmp_path, table_file.FORMAT.removeprefix("a table is "))).name == "weather"
