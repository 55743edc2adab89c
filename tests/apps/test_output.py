"""Standard output carries the text, exactly; standard error the talk, with the receipt last."""

from __future__ import annotations

import base64
import json
import math
import os
import re
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import ulam as library
from ulam.apps.cli.summary import is_argmax
from ulam.methods import catalogue

from .conftest import Broken, Pieces, Stream, Ulam

HALVES = {"a": 0.5, "b": 0.25, "c": 0.25}


def expected(seed: int, recipe: str = "", n: int = 1, max_tokens: int = 5, prompt: str = "abc") -> list[str]:
    return [each.text for each in library.sample(library.load("abc"), prompt, recipe, n=n, max_tokens=max_tokens, seed=seed)]


def test_one_sample_is_the_text_and_one_line_end(ulam: Ulam) -> None:
    result = ulam("abc", "-m", "abc", "--max-tokens", "5", "--seed", "7")
    assert result.code == 0
    assert result.stdout == (expected(7)[0] + "\n").encode()


def test_the_same_command_writes_the_same_text(ulam: Ulam) -> None:
    runs = {
        ulam("abc", "temperature=2", "-m", "abc", "--seed", "11", "--max-tokens", "60", *more).stdout for more in ([], ["--stream"], ["--no-stream"], ["-q"])
    }
    assert runs == {(expected(11, "temperature=2", max_tokens=60)[0] + "\n").encode()}


def test_samples_are_apart_by_a_line(ulam: Ulam) -> None:
    result = ulam("abc", "-m", "abc", "-n", "3", "--max-tokens", "5", "--seed", "7")
    assert result.out == "\n---\n".join(expected(7, n=3)) + "\n"


def test_samples_end_with_nul(ulam: Ulam) -> None:
    result = ulam("abc", "-m", "abc", "-n", "3", "-0", "--max-tokens", "5", "--seed", "7")
    assert result.out == "".join(text + "\0" for text in expected(7, n=3))
    assert ulam("abc", "-m", "abc", "-0", "--max-tokens", "5", "--seed", "7").out == expected(7)[0] + "\0"


def test_samples_on_a_terminal_have_headers_and_follow_the_prompt(ulam: Ulam) -> None:
    result = ulam("abc", "-m", "abc", "-n", "2", "--max-tokens", "5", "--seed", "7", terminal=True)
    one, two = expected(7, n=2)
    assert result.out == f"── 1/2 ──\n{one}\n── 2/2 ──\n{two}\n"
    assert result.stderr.startswith("\x1b[2mabc\x1b[22m\n")


def test_the_prompt_stands_before_the_text_of_a_terminal_and_nowhere_else(ulam: Ulam, monkeypatch: pytest.MonkeyPatch) -> None:
    words = ("cab", "-m", "abc", "greedy", "--max-tokens", "2")
    shown = ulam(*words, terminal=True)
    assert shown.out == "aa\n"
    assert shown.stderr.startswith("\x1b[2mcab\x1b[22m")
    assert "cab" not in ulam(*words).stderr
    assert "cab" not in ulam(*words, stdout=Stream(terminal=True)).stderr  # 2> log
    assert "cab" not in ulam(*words, "--json", terminal=True).stderr
    assert ulam(*words, "-q", terminal=True).stderr == ""
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b" not in ulam(*words, terminal=True).stderr


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=15)
@given(seed=st.integers(0, 2**64 - 1), n=st.integers(1, 3), stop=st.lists(st.sampled_from(["\\n", "aa", "€a", "€€"]), max_size=2))
def test_streamed_text_is_unstreamed_text(ulam: Ulam, models: Callable[..., None], seed: int, n: int, stop: list[str]) -> None:
    models(pieces=Pieces())
    words = ["a", "-m", "pieces", "-n", str(n), "--max-tokens", "40", "--seed", str(seed), *(word for each in stop for word in ("--stop", each))]
    streamed, whole = ulam(*words, "--stream"), ulam(*words, "--no-stream")
    assert streamed.stdout == whole.stdout
    run = library.sample(Pieces(), "a", n=n, max_tokens=40, seed=seed, stop=[each.replace("\\n", "\n") for each in stop])
    assert whole.out == "\n---\n".join(each.text for each in run) + "\n"


STREAMS = [
    ([], False, False),
    ([], True, True),
    (["--stream"], False, True),
    (["--no-stream"], True, False),
    (["-n", "2"], True, False),
    (["-n", "2", "--stream"], False, True),
]


@pytest.mark.parametrize(("more", "terminal", "streams"), STREAMS)
def test_streaming_writes_while_it_draws(ulam: Ulam, models: Callable[..., None], more: list[str], terminal: bool, streams: bool) -> None:
    seen: list[bytes] = []

    class Watched(Pieces):
        def step(self, state, tokens):  # type: ignore[no-untyped-def]
            seen.append(sys.stdout.written())  # type: ignore[attr-defined]
            return super().step(state, tokens)

    models(watched=Watched())
    whole = ulam("a", "-m", "watched", "--max-tokens", "30", "--seed", "1", *more, terminal=terminal).stdout
    assert all(whole.startswith(part) for part in seen)
    assert len(set(seen[:12])) > 4 if streams else set(seen[:12]) == {b""}


def test_control_characters_are_signs_on_a_terminal_only(ulam: Ulam, models: Callable[..., None]) -> None:
    models(pieces=Pieces())
    words = ("a", "-m", "pieces", "--max-tokens", "60", "--seed", "3")
    piped = ulam(*words)
    assert "\x1b[2J" in piped.out
    shown = ulam(*words, terminal=True)
    assert shown.out == piped.out.replace("\x1b", "␛")
    assert "\x1b" not in ulam(*words, "--json", terminal=True).out
    turned = ("a\u202eb", "-m", "pieces", "--max-tokens", "1", "--json")
    assert "\u202e" in ulam(*turned).out
    assert "\u202e" not in ulam(*turned, terminal=True).out
    assert json.loads(ulam(*turned, terminal=True).out)["prompt"]["text"] == "a\u202eb"


def test_stop_strings_are_cut_off(ulam: Ulam) -> None:
    whole = expected(5, max_tokens=256)[0]
    result = ulam("abc", "-m", "abc", "--seed", "5", "--stop", "cc", "--stop", "bb")
    assert result.out == re.split("cc|bb", whole)[0] + "\n"
    assert re.search(r'stopped: stop "(cc|bb)"$', result.receipt)


def test_a_line_end_as_a_stop_string(ulam: Ulam, models: Callable[..., None]) -> None:
    models(pieces=Pieces())
    document = json.loads(ulam("a", "-m", "pieces", "--stop", r"\n", "--stop", r"\\n", "--max-tokens", "200", "--seed", "1", "--json").out)
    assert document["limits"]["stop"] == ["\n", "\\n"]
    assert "\n" not in document["samples"][0]["text"]


# --- the receipt


def test_the_receipt(ulam: Ulam) -> None:
    result = ulam("abc", "temperature=0.5", "-m", "abc", "--max-tokens", "2", "--seed", "7")
    model = sum(math.log(HALVES[letter]) for letter in result.out.strip())
    cold = {"a": 4 / 6, "b": 1 / 6, "c": 1 / 6}
    recipe = sum(math.log(cold[letter]) for letter in result.out.strip())
    assert re.fullmatch(
        r"── abc · 2 tokens · [\d.]+ tok/s · seed 7 · temperature=0\.5 \(r-[0-9a-f]{8}\)"
        rf" · log-prob: model {model:.3g}, recipe {recipe:.3g} nats · stopped: length\n",
        result.stderr,
    )


def test_the_receipt_names_a_fresh_seed_that_draws_the_text_again(ulam: Ulam) -> None:
    first = ulam("abc", "-m", "abc")
    found = re.search(r"seed (\d+)", first.receipt)
    assert found
    assert ulam("abc", "-m", "abc", "--seed", found[1]).stdout == first.stdout
    assert ulam("abc", "-m", "abc").stdout != first.stdout


@pytest.mark.parametrize("recipe", ["temperature=0", "greedy", "top_k=2 greedy", "temperature=0 gumbel_max"])
def test_where_nothing_is_left_to_chance_there_is_no_seed(ulam: Ulam, recipe: str) -> None:
    receipt = ulam("abc", recipe, "-m", "abc", "--max-tokens", "3").receipt
    assert "argmax; the seed has no effect" in receipt
    assert "seed " not in receipt.replace("the seed has", "")


def test_a_stage_that_draws_needs_the_seed_even_under_greedy(monkeypatch: pytest.MonkeyPatch) -> None:
    method = catalogue()["top_k"]
    without = replace(method, claims=tuple(claim for claim in method.claims if claim != "deterministic"))
    assert is_argmax(library.Recipe("top_k=2 greedy"))
    monkeypatch.setitem(catalogue(), "top_k", without)
    assert not is_argmax(library.Recipe("top_k=2 greedy"))


def test_a_recipe_that_draws_shows_its_seed(ulam: Ulam) -> None:
    assert "· seed 3 ·" in ulam("abc", "temperature=0.01", "-m", "abc", "--seed", "3").receipt


def test_without_a_recipe_the_model_is_as_it_is(ulam: Ulam) -> None:
    result = ulam("abc", "-m", "abc", "--max-tokens", "3")
    assert "categorical, the model as it is (r-" in result.receipt
    found = re.search(r"model (\S+), recipe (\S+) nats", result.receipt)
    assert found
    assert found[1] == found[2]


def test_the_receipt_of_many_counts_endings(ulam: Ulam) -> None:
    receipt = ulam("abc", "-m", "abc", "-n", "20", "--max-tokens", "4", "--stop", "b", "--seed", "1").receipt
    ended = sum("b" in text for text in expected(1, n=20, max_tokens=4))
    assert 0 < ended < 20
    assert f'{ended} stop "b"' in receipt
    assert f"{20 - ended} length" in receipt
    assert "20 samples" in receipt


def test_the_receipt_fits_a_terminal_and_is_one_line_elsewhere(ulam: Ulam, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    words = ("abc", "temperature=0.5", "top_p=0.9", "min_p=0.1", "-m", "abc", "--max-tokens", "2")
    assert all(len(line) <= 60 for line in ulam(*words, terminal=True).stderr.splitlines())
    assert len(ulam(*words).stderr.splitlines()) == 1


def test_quiet_says_nothing(ulam: Ulam) -> None:
    assert ulam("abc", "-m", "abc", "-q").stderr == ""


def test_the_receipt_advertises_no_other_verb(ulam: Ulam) -> None:
    assert not re.search(r"ulam (why|law|score)", ulam("abc", "-m", "abc").stderr)


def test_many_samples_are_taken_for_a_slip(ulam: Ulam, tmp_path: Path) -> None:
    note = "-n 33 is 33 samples; for 33 tokens: --max-tokens 33"
    assert note in ulam("abc", "-m", "abc", "-n", "33", "--max-tokens", "1").stderr
    assert "is 32 samples" not in ulam("abc", "-m", "abc", "-n", "32", "--max-tokens", "1").stderr
    for more in (["--json"], ["--jsonl"], ["-o", str(tmp_path / "x.txt")], ["-q"]):
        assert note not in ulam("abc", "-m", "abc", "-n", "33", "--max-tokens", "1", *more).stderr


# --- JSON


def test_json_is_one_object_with_every_token(ulam: Ulam) -> None:
    result = ulam("ab", "temperature=0.5", "-m", "abc", "-n", "2", "--max-tokens", "6", "--seed", "9", "--stop", "zz", "--json")
    document = json.loads(result.out)
    assert result.out.count("\n") == 1
    assert {*document} >= {"schema", "model", "recipe", "recipe_id", "recipe_from", "seed", "prompt", "limits", "samples", "versions", "seconds", "warnings"}
    assert document["schema"] == "ulam.samples/1"
    assert document["model"] == {"name": "abc", "id": library.load("abc").fingerprint, "backend": "table"}
    assert document["recipe"] == "temperature=0.5"
    assert document["recipe_id"] == library.Recipe("temperature=0.5").id
    assert document["recipe_from"] == "words"
    assert document["seed"] == 9
    assert document["prompt"] == {"text": "ab", "tokens": 2}
    assert document["limits"]["max_tokens"] == 6
    assert document["limits"]["stop"] == ["zz"]
    assert document["warnings"] == []
    assert [each["index"] for each in document["samples"]] == [0, 1]
    cold = {"a": 4 / 6, "b": 1 / 6, "c": 1 / 6}
    for each in document["samples"]:
        assert {*each} >= {"index", "text", "finish_reason", "tokens", "model_log_prob", "recipe_log_prob", "steps"}
        assert each["tokens"] == 6
        assert each["finish_reason"] == "length"
        assert each["model_log_prob"] == pytest.approx(sum(math.log(HALVES[letter]) for letter in each["text"]), rel=1e-12)
        assert each["recipe_log_prob"] == pytest.approx(sum(math.log(cold[letter]) for letter in each["text"]), rel=1e-9)
        assert b"".join(base64.b64decode(step["token"]["bytes"]) for step in each["steps"]) == each["text"].encode()
        for position, (step, letter) in enumerate(zip(each["steps"], each["text"], strict=True)):
            assert step["position"] == position
            assert step["token"]["id"] == "abc".index(letter)
            assert step["model_log_prob"] == pytest.approx(math.log(HALVES[letter]), rel=1e-12)
            assert step["recipe_log_prob"] == pytest.approx(math.log(cold[letter]), rel=1e-9)


def test_json_has_no_unlabelled_log_prob(ulam: Ulam) -> None:
    keys = re.findall(r'"([^"]*prob[^"]*)":', ulam("ab", "-m", "abc", "--json").out)
    assert {*keys} == {"model_log_prob", "recipe_log_prob"}


def test_jsonl_is_an_object_an_event(ulam: Ulam) -> None:
    words = ("ab", "top_k=2", "-m", "abc", "-n", "2", "--max-tokens", "4", "--seed", "9")
    events = [json.loads(line) for line in ulam(*words, "--jsonl").out.splitlines()]
    document = json.loads(ulam(*words, "--json").out)
    assert events[0]["event"] == "start"
    for key in ("schema", "model", "recipe", "recipe_id", "recipe_from", "seed", "prompt", "limits", "versions", "warnings"):
        assert events[0][key] == document[key]
    assert events[-1]["event"] == "end"
    assert events[-1]["code"] == 0
    assert events[-1]["samples"] == 2
    tokens = [event for event in events if event["event"] == "token"]
    for each in document["samples"]:
        mine = [event for event in tokens if event["index"] == each["index"]]
        assert [{key: event[key] for key in step} for event, step in zip(mine, each["steps"], strict=True)] == each["steps"]
        assert "".join(event["text"] for event in mine) == each["text"]
    finished = [event for event in events if event["event"] == "sample"]
    assert [{key: event[key] for key in ("index", "text", "model_log_prob")} for event in finished] == [
        {key: each[key] for key in ("index", "text", "model_log_prob")} for each in document["samples"]
    ]
    assert len(events) == 2 + 8 + 2


@pytest.mark.parametrize("words", [["--json", "--jsonl"], ["--json", "--stream"], ["--jsonl", "--no-stream"], ["--json", "-0"], ["--force"]])
def test_flags_that_exclude_each_other(ulam: Ulam, words: list[str]) -> None:
    result = ulam("ab", "-m", "abc", *words)
    assert result.code == 2
    assert result.stdout == b""


# --- files


@pytest.mark.parametrize("suffix", ["txt", "json", "jsonl"])
def test_a_file_holds_what_standard_output_would(ulam: Ulam, tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"out.{suffix}"
    words = ("ab", "-m", "abc", "-n", "2", "--max-tokens", "4", "--seed", "9")
    result = ulam(*words, "-o", str(path))
    assert result.stdout == b""
    assert f"saved {path}" in result.receipt
    direct = ulam(*words, *([] if suffix == "txt" else [f"--{suffix}"])).stdout
    timeless = re.compile(rb'"seconds": [\d.]+')
    assert timeless.sub(b"", path.read_bytes()) == timeless.sub(b"", direct)
    assert [each.name for each in tmp_path.iterdir()] == [path.name]


def test_a_file_is_not_overwritten_unless_forced(ulam: Ulam, tmp_path: Path) -> None:
    path = tmp_path / "out.txt"
    path.write_text("mine")
    refused = ulam("ab", "-m", "abc", "-o", str(path))
    assert refused.code == 2
    assert "--force" in refused.stderr
    assert path.read_text() == "mine"
    assert ulam("ab", "-m", "abc", "greedy", "--max-tokens", "3", "-o", str(path), "--force").code == 0
    assert path.read_text() == "aaa\n"


def test_a_run_that_breaks_leaves_the_file_as_it_was(ulam: Ulam, tmp_path: Path, models: Callable[..., None]) -> None:
    class Gone(Broken):
        def step(self, state, tokens):  # type: ignore[no-untyped-def]
            raise OSError(5, "Input/output error")

    models(gone=Gone())
    path = tmp_path / "out.txt"
    path.write_text("mine")
    result = ulam("a", "-m", "gone", "-o", str(path), "--force")
    assert result.code == 1
    assert [each.name for each in tmp_path.iterdir()] == ["out.txt"]
    assert path.read_text() == "mine"


@pytest.mark.parametrize(("path", "says"), [("no/such/folder/x.txt", "no such file or directory"), ("x.html", ".json, .jsonl or .txt")])
def test_a_file_that_cannot_be_written(ulam: Ulam, tmp_path: Path, path: str, says: str) -> None:
    result = ulam("ab", "-m", "abc", "-o", str(tmp_path / path))
    assert result.code == 2
    assert says in result.stderr
    assert not [*tmp_path.iterdir()]


def test_the_suffix_must_fit_the_flag(ulam: Ulam, tmp_path: Path) -> None:
    assert ulam("ab", "-m", "abc", "--json", "-o", str(tmp_path / "x.txt")).code == 2


# --- samples that fail


def test_a_failed_sample_does_not_stop_the_others(ulam: Ulam, models: Callable[..., None]) -> None:
    models(broken=Broken())
    words = ("a", "-m", "broken", "-n", "12", "--max-tokens", "3", "--seed", "2")
    document = json.loads(ulam(*words, "--json").out)
    reasons = [each["finish_reason"] for each in document["samples"]]
    failed = reasons.count("error")
    assert 3 < failed < 12
    result = ulam(*words)
    assert result.code == 3
    assert result.out == "\n---\n".join(each["text"] for each in document["samples"]) + "\n"
    complaints = ulam(*words, "-q").stderr.splitlines()
    assert complaints == result.stderr.splitlines()[:-1]
    first, second = [i + 1 for i, reason in enumerate(reasons) if reason == "error"][:2]
    assert complaints[0].startswith(f"error: sample {first} of 12: ")
    assert complaints[1].startswith(f"error: sample {second} of 12: ")
    assert complaints[2] == f"error: and {failed - 2} more samples"
    assert len(complaints) <= 4
    assert f"{failed} error" in result.receipt
    last = json.loads(ulam(*words, "--jsonl").out.splitlines()[-1])
    assert last["event"] == "error"
    assert last["code"] == 3
    assert last["message"].startswith(f"{failed} of 12 samples ended in error")


def test_a_pipe_is_written_to_and_not_replaced(ulam: Ulam, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        assert ulam("abc", "-m", "abc", "greedy", "--max-tokens", "3", "-o", str(pipe)).code == 0
        assert os.read(reader, 100) == b"aaa\n"
    finally:
        os.close(reader)
    assert pipe.is_fifo()


def test_a_link_stays_a_link_and_a_directory_is_refused(ulam: Ulam, tmp_path: Path) -> None:
    link, real = tmp_path / "link.txt", tmp_path / "real.txt"
    link.symlink_to(real)
    assert ulam("abc", "-m", "abc", "greedy", "--max-tokens", "3", "-o", str(link)).code == 0
    assert link.is_symlink()
    assert real.read_text() == "aaa\n"
    refused = ulam("abc", "-m", "abc", "-o", str(tmp_path))
    assert refused.code == 2
    assert "is a directory" in refused.stderr


def test_help_without_dashes_is_told_apart_from_a_text(ulam: Ulam) -> None:
    refused = ulam("help")
    assert refused.code == 2
    assert "ulam --help; for a text that begins so: ulam sample help" in refused.stderr
