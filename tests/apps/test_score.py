"""`ulam score`: the text with its peaks, tables, JSON, the receipt, and everything that cannot be meant."""

from __future__ import annotations

import json
import math
import os
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import ulam as library
from tests.tiny import write_tiny
from ulam.apps.cli.surprise import Run, Unit, characters, marked, table, units
from ulam.core.vocabulary import Vocabulary
from ulam.models.table import Table, abc

from .conftest import Broken, Pieces, Ulam, lines

RECEIPT = "── abc · 3 tokens · model: 1.67 bits per token, 1.67 per byte, perplexity 3.17 · peaks: "


def test_the_text_is_the_data_and_the_receipt_is_talk(ulam: Ulam) -> None:
    result = ulam("score", "abc", "-m", "abc", "--peaks", "2")
    assert result.code == 0
    assert result.out == "a[b 2.0][c 2.0]\n"
    assert result.stderr == RECEIPT + "b 2.0, c 2.0\n"
    assert ulam("score", "abc", "-m", "abc").out == "[a 1.0][b 2.0][c 2.0]\n"
    assert ulam("score", "abc", "-m", "abc", "-q").stderr == ""


def test_with_a_recipe(ulam: Ulam) -> None:
    result = ulam("score", "aac", "top_k=2", "greedy", "-m", "abc")
    told = result.stderr.splitlines()[1]
    assert told.startswith("   recipe top_k=2 greedy (r-")
    assert told.endswith("): could produce 2 of 3 tokens · impossible: c (position 2, rank 3, removed by top_k=2)")
    result = ulam("score", "aab", "-m", "abc", "-r", "temperature=0.5")  # a 2/3, b 1/6: 2 log2(3/2) + log2(6) bits
    each = (2 * math.log2(1.5) + math.log2(6)) / 3
    assert result.stderr.splitlines()[1].endswith(f"): {each:.3g} bits per token, could produce all 3 tokens")
    result = ulam("score", "b" * 9, "greedy", "-m", "abc")
    assert result.stderr.endswith("b (position 2, rank 2, removed by greedy) and 6 more\n")


def test_what_the_model_never_says(ulam: Ulam, models: Callable[..., None]) -> None:
    models(never=Table({}, abc().vocabulary, otherwise=(0.5, 0.5, 0), name="never"))
    result = ulam("score", "abc", "-m", "never")
    assert result.out == "[a 1.0][b 1.0][c inf]\n"
    assert result.stderr.splitlines() == [
        "── never · 3 tokens · model: inf bits per token, inf per byte, perplexity inf · peaks: c inf, a 1.0, b 1.0",
        "   impossible: c (position 2, rank 3, the model gives it probability 0)",
    ]


def test_a_line_for_every_token(ulam: Ulam) -> None:
    assert lines(ulam("score", "acb", "-m", "abc", "--per", "token")) == [
        "position  token  id  model_bits  rank",
        "0         a      0   1.00        1",
        "1         c      2   2.00        3",
        "2         b      1   2.00        2",
    ]
    under = lines(ulam("score", "acb", "top_k=2", "-m", "abc", "--per", "token"))
    assert under[0].split() == ["position", "token", "id", "model_bits", "rank", "recipe_bits"]
    assert [line.split("  ")[-1].strip() for line in under[1:]] == [f"{math.log2(1.5):.2f}", "removed by top_k=2", f"{math.log2(3):.2f}"]


def letters(text: str) -> Table:
    """A model of these letters alone, all of them equally likely."""
    kinds = sorted({*text})
    vocabulary = Vocabulary([kind.encode() for kind in kinds], encode=lambda text: [kinds.index(letter) for letter in text])
    return Table({}, vocabulary, otherwise=[1 / len(kinds)] * len(kinds), name="letters")


def test_a_line_for_every_word_and_line(ulam: Ulam, models: Callable[..., None]) -> None:
    text = "b cb\n  a\nc "  # five letters: log2(5) bits each
    models(letters=letters(text))
    found = [line.split() for line in lines(ulam("score", text, "-m", "letters", "--per", "word"))]
    assert found[0] == ["position", "tokens", "model_bits", "word"]
    assert [(row[0], row[1], row[3]) for row in found[1:]] == [("0", "1", "b"), ("1", "3", "␣cb"), ("4", "4", "⏎␣␣a"), ("8", "2", "⏎c"), ("10", "1", "␣")]
    assert [row[2] for row in found[1:]] == [f"{int(row[1]) * math.log2(5):.2f}" for row in found[1:]]
    found = [line.split() for line in lines(ulam("score", text, "top_k=4", "-m", "letters", "--per", "line"))]
    assert found[0] == ["position", "tokens", "model_bits", "recipe_bits", "line"]
    assert [(row[0], row[1], row[3], row[4]) for row in found[1:]] == [("0", "5", "inf", "b␣cb⏎"), ("5", "4", "8.00", "␣␣a⏎"), ("9", "2", "inf", "c␣")]


def test_sums_over_words_are_the_whole(ulam: Ulam) -> None:
    text = "Once upon a time, there was a dragon.\nIt was red."
    document = json.loads(ulam("score", text, "--json").out)
    whole, tokens = document["model_bits"], document["tokens"]
    for unit in ("token", "word", "line"):
        rows = [line.split() for line in lines(ulam("score", text, "--per", unit))]
        column = rows[0].index("model_bits")
        assert sum(float(row[column]) for row in rows[1:]) == pytest.approx(whole, abs=0.01 * len(rows))
        assert len(rows) == {"token": tokens, "word": 11, "line": 2}[unit] + 1


def test_the_marks_stand_in_the_text_itself(ulam: Ulam) -> None:
    result = ulam("score", "Once upon a time there was a dragon.", "--peaks", "1")
    assert result.out == "Once upon a time there was a [dragon 11.3].\n"  # as the help says
    assert "[dragon 11.3]" in ulam("score", "--help").out


def of(vocabulary: Vocabulary, tokens: list[int], bits: list[int]) -> Any:
    """The score of tokens that have these bits in this order, one after the other."""
    table = Table({}, vocabulary, otherwise=lambda prefix: rows(bits[len(prefix)], tokens[len(prefix)], len(vocabulary)))
    return library.score(table, tokens, prompt=[])


def rows(bits: int, token: int, size: int) -> list[float]:
    p = 2.0**-bits
    return [p if i == token else (1 - p) / (size - 1) for i in range(size)]


def test_characters_that_are_spread_over_tokens_stay_whole() -> None:
    vocabulary = Vocabulary([b"\xe2", b"\x82", b"\xac", b" a", b"\n", b"", b"b\xff"], names={5: "<end>"}, ends=[5])
    assert [*characters([3, 0, 1, 2, 4, 5], vocabulary)] == [Run(0, 1, " a"), Run(1, 4, "€"), Run(4, 5, "\n"), Run(5, 6, "<end>")]
    assert [*characters([0, 1], vocabulary)] == [Run(0, 2, "�")]
    assert [*characters([6, 3], vocabulary)] == [Run(0, 1, "b�"), Run(1, 2, " a")]
    assert units(Unit.word, [3, 0, 1, 2, 4, 3, 5], vocabulary) == [Run(0, 4, " a€"), Run(4, 6, "\n a"), Run(6, 7, "<end>")]
    found = of(vocabulary, [3, 0, 1, 2, 4, 5], [9, 7, 1, 8, 3, 6])
    assert marked(found, vocabulary, 9) == " [a 9.0][€ 7.0 + 1.0 + 8.0][⏎ 3.0]\n[<end> 6.0]"
    assert marked(found, vocabulary, 2) == " [a 9.0][€ 8.0]\n<end>"
    assert table(found, vocabulary, Unit.token)[2].split() == ["1", "⟨E2⟩", "0", "7.00", "7"]
    plain = [line.split()[-1] for line in table(found, vocabulary, Unit.word)]
    assert plain == ["word", "␣a€", "⏎", "<end>"]


def test_wide_characters_keep_the_columns(ulam: Ulam, models: Callable[..., None]) -> None:
    models(letters=letters("日本a"))
    rows = lines(ulam("score", "日a", "-m", "letters", "--per", "token"))
    assert rows[1].startswith("0         日     ")
    assert rows[2].startswith("1         a      ")


# JSON


def test_json(ulam: Ulam) -> None:
    result = ulam("score", "ac", "top_k=1", "-m", "abc", "--prompt", "b", "--json")
    data = json.loads(result.out)
    assert result.out.count("\n") == 1
    assert data["schema"] == "ulam.score/1"
    assert data["model"] == {"name": "abc", "id": abc().fingerprint, "backend": "table"}
    assert (data["recipe"], data["recipe_id"], data["recipe_from"]) == ("top_k=1", library.Recipe("top_k=1").id, "words")
    assert data["prompt"] == {"text": "b", "tokens": 1}
    assert (data["tokens"], data["scored"], data["unscored"], data["windows"], data["coverage"]) == (2, 2, 0, 1, 1)
    assert (data["model_bits"], data["model_bits_per_token"], data["model_bits_per_byte"]) == (3, 1.5, 1.5)
    assert (data["recipe_log_prob"], data["removed_at"], data["removed_by"]) == (None, 1, "top_k=1")
    assert data["warnings"] == []
    assert {*data["versions"]} == {"ulam", "numpy"}
    steps = data["steps"]
    assert steps[0]["token"] == {"id": 0, "text": "a", "bytes": "YQ=="}
    assert [step["position"] for step in steps] == [0, 1]
    assert [step["model_log_prob"] for step in steps] == [math.log(0.5), math.log(0.25)]
    assert [step["model_rank"] for step in steps] == [1, 3]
    assert [step["recipe_log_prob"] for step in steps] == [0, None]
    assert [step["removed_by"] for step in steps] == [None, "top_k=1"]


def test_json_without_a_recipe_has_no_field_about_one(ulam: Ulam) -> None:
    assert '"recipe' not in ulam("score", "ac", "-m", "abc", "--json").out
    assert "NaN" not in ulam("score", "ac", "-m", "abc", "--json").out


def test_json_labels_every_probability(ulam: Ulam) -> None:
    def keys(value: Any) -> set[str]:
        inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else []
        return {*(value if isinstance(value, dict) else ()), *(key for each in inner for key in keys(each))}

    found = {key for key in keys(json.loads(ulam("score", "ac", "top_k=2", "-m", "abc", "--json").out)) if "prob" in key or "bits" in key}
    assert all(key.startswith(("model_", "recipe_")) for key in found)


def test_a_neutral_flag_is_told(ulam: Ulam) -> None:
    words = ("score", "ac", "--temp", "1", "--top-k", "2", "-m", "abc")
    assert json.loads(ulam(*words, "--json").out)["warnings"] == ["temperature=1 is neutral and left out of the recipe"]
    assert "temperature=1 is neutral" in ulam(*words).receipt


# where the text comes from


def test_a_file_a_pipe_and_both(ulam: Ulam, tmp_path: Path) -> None:
    path = tmp_path / "essay.txt"
    path.write_bytes(b"aba\n")
    wanted = ulam("score", "aba", "-m", "abc", "greedy").stdout
    assert ulam("score", "-f", str(path), "greedy", "-m", "abc").stdout == wanted
    assert ulam("score", "-m", "abc", piped=b"aba\n").stdout == wanted
    assert ulam("score", "-", "greedy", "-m", "abc", piped=b"aba").stdout == wanted
    joined = ulam("score", "It was red.", "--json", piped=b"There was a dragon.\n")
    assert json.loads(joined.out)["text"] == "There was a dragon.\n\nIt was red."
    assert "standard input, then the text" in joined.stderr


def test_a_text_that_is_the_name_of_a_file_is_told(ulam: Ulam, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert "name of a file" not in ulam("score", "abc", "-m", "abc").stderr
    (tmp_path / "abc").write_text("b")
    told = "the text is the name of a file; for what is in it: ulam score -f abc"
    assert ulam("score", "abc", "-m", "abc").receipt == f"   {told}"
    assert json.loads(ulam("score", "abc", "-m", "abc", "--json").out)["warnings"] == [told]
    assert "name of a file" not in ulam("score", "-f", "abc", "-m", "abc").stderr


def test_only_blanks_are_a_text(ulam: Ulam, models: Callable[..., None]) -> None:
    models(letters=letters(" a"))
    assert ulam("score", "   ", "-m", "letters", "--peaks", "2").out == "[␣ 1.0] [␣ 1.0]  \n"


def test_a_prompt_is_read_and_not_scored(ulam: Ulam) -> None:
    alone, after = (json.loads(ulam("score", " dragon", *more, "--json").out) for more in ((), ("--prompt", "Once upon a time there was a")))
    assert after["tokens"] == alone["tokens"]
    assert after["prompt"]["text"] == "Once upon a time there was a"
    assert after["model_bits"] != alone["model_bits"]
    sentence = json.loads(ulam("score", "Once upon a time there was a dragon", "--json").out)
    assert sentence["steps"][-1]["model_log_prob"] == pytest.approx(after["steps"][-1]["model_log_prob"], abs=1e-6)


@pytest.mark.parametrize(
    ("words", "more", "says", "fix"),
    [
        ([""], {}, "the text is empty, so there is nothing to score", 'ulam score "Once upon a time"'),
        ([], {}, "there is no text to score", 'ulam score "Once upon a time"'),
        (["-"], {"piped": b"\n"}, "standard input is empty, so there is nothing to score", 'ulam score "Once upon a time"'),
        ([], {"piped": b"ab\xff"}, "standard input is not UTF-8: byte 0xff at offset 2", "iconv"),
        (["-f", "."], {}, "cannot read .: is a directory", None),
        (["-f", "no/such.txt"], {}, "cannot read no/such.txt: no such file or directory", None),
        (["abx"], {}, "'x' is not in the alphabet of this model: a, b, c", "these tokens alone"),
        (["ab", "--prompt", "x"], {}, "'x' is not in the alphabet", None),
        (["ab", "--peaks", "0"], {}, "--peaks 0 is less than 1", "--peaks 3"),
        (["ab", "--peaks", "-2"], {}, "--peaks -2 is less than 1", "--peaks 3"),
        (["ab", "--peaks", "x"], {}, "--peaks: input should be a valid integer", None),
        (["ab", "--peaks", "2", "--json"], {}, "--peaks marks tokens in the text", None),
        (["ab", "--peaks", "2", "--per", "word"], {}, "--peaks marks tokens in the text", None),
        (["ab", "--per", "word", "--json"], {}, "--json has every token", None),
        (["ab", "--per", "sentence"], {}, "--per: 'sentence' is not one of 'token', 'word', 'line'", None),
        (["ab", "topp=0.9"], {}, 'unknown stage "topp" (stage 1). Did you mean top_p?', 'ulam score "ab" top_p=0.9 --model abc'),
        (["ab", "top_p=95"], {}, "top_p=95 is outside [0, 1]", None),
        (["ab", "ca", "b"], {}, 'unknown stage "ca" (stage 1). Words after the text are stages', 'ulam score "ab ca b" --model abc'),
        (["score", "ca"], {}, "unknown stage", 'ulam score "score ca" --model abc'),
        (["ab", "top_p=0.9", "-r", "top_k=2"], {}, "the recipe is given twice", 'ulam score "ab" top_k=2 top_p=0.9 --model abc'),
        (["ab", "top_p=0.9", "--temp", "2"], {}, "the recipe is given twice", 'ulam score "ab" temperature=2 top_p=0.9 --model abc'),
        (["ab", "ca", "--prompt", "b"], {}, "unknown stage", 'ulam score "ab ca" --prompt b --model abc'),
        (["temperature=0.8"], {}, "stands where the text stands", "after a pipe: ulam score - temperature=0.8"),
        (["ab", "--peek", "1"], {}, "unknown flag --peek. Did you mean --peaks", None),
    ],
)
def test_what_cannot_be_meant(ulam: Ulam, words: list[str], more: dict[str, bytes], says: str, fix: str | None) -> None:
    result = ulam("score", *words, "-m", "abc", **more)
    assert result.code == 2
    assert result.stdout == b""
    first, *rest = result.stderr.splitlines()
    assert says in first
    assert len(rest) <= 1
    assert fix is None or fix in rest[0]


def test_a_fix_for_a_text_that_begins_with_a_dash_runs(ulam: Ulam) -> None:
    fix = ulam("score", "-m", "stories", "--", "-5 degrees", "gredy").stderr.partition("fix: ulam ")[2]
    assert fix.strip() == 'score --model stories -- "-5 degrees" greedy'
    assert ulam(*shlex.split(fix)).code == 0


def test_logits_that_are_none(ulam: Ulam, models: Callable[..., None]) -> None:
    models(broken=Broken())
    result = ulam("score", "aaba", "-m", "broken")
    assert result.code == 1
    assert "NaN" in result.stderr
    assert "(position 3)" in result.stderr


def test_a_text_that_goes_on_after_its_end(ulam: Ulam) -> None:
    result = ulam("score", "Once<|endoftext|> upon")
    assert result.code == 2
    assert "goes on after <|endoftext|>" in result.stderr
    assert ulam("score", "Once<|endoftext|>").code == 0


# the terminal, long texts, and models that cannot begin


def test_nothing_in_a_text_acts_on_the_terminal(ulam: Ulam, models: Callable[..., None]) -> None:
    model = Pieces()
    model.vocabulary._encode = model.vocabulary._encode_prompt = lambda text: [model.vocabulary.tokens.index(b"\x1b[2J")] * len(text)
    models(pieces=model)
    for more in ((), ("--per", "token"), ("--per", "word")):
        result = ulam("score", "aa", "-m", "pieces", *more, terminal=True)
        assert "␛[2J" in result.out
        assert "\x1b[2J" not in result.out + result.stderr
    assert "\x1b[2J" in ulam("score", "aa", "-m", "pieces").out


@pytest.mark.parametrize("columns", [40, 60])
def test_the_receipt_is_no_wider_than_the_terminal(ulam: Ulam, monkeypatch: pytest.MonkeyPatch, columns: int) -> None:
    monkeypatch.setattr("shutil.get_terminal_size", lambda *_: os.terminal_size((columns, 24)))
    words = ("score", "b" * 9, "greedy", "-m", "abc")
    narrow, wide = ulam(*words, terminal=True).stderr, ulam(*words).stderr
    assert max(map(len, narrow.splitlines())) <= columns
    assert "b (position 2, rank 2, removed by greedy) and 6 more" in wide
    assert narrow.replace(" · ", " ").split() == wide.replace(" · ", " ").split()


def test_tokens_that_spell_another_text_are_told(ulam: Ulam, models: Callable[..., None]) -> None:
    models(pieces=Pieces())  # which reads every letter as an a
    told = "the tokens spell another text than the one given, from character 1 on"
    assert told in ulam("score", "abc", "-m", "pieces").receipt
    assert json.loads(ulam("score", "abc", "-m", "pieces", "--json").out)["warnings"] == [told]
    assert "spell" not in ulam("score", "aa", "-m", "pieces").stderr


def test_windows_are_told(ulam: Ulam, tmp_path: Path) -> None:
    folder = write_tiny(tmp_path, max_position_embeddings=8)
    result = ulam("score", "The cat sat on the mat, and the dog sat on the log.", "-m", str(folder), "--json")
    document = json.loads(result.out)
    assert document["windows"] == 1 + math.ceil((1 + document["tokens"] - 8) / 4) > 3
    assert f"{document['tokens']} tokens · {document['windows']} windows of 8 tokens · model: " in result.stderr


def test_a_token_that_nothing_stands_before(ulam: Ulam, tmp_path: Path) -> None:
    folder = str(write_tiny(tmp_path, bos_token_id=None))
    assert " tokens (" in ulam("score", "The cat", "-m", folder).stderr
    first = lines(ulam("score", "The cat", "greedy", "-m", folder, "--per", "token"))[1].split()
    assert first[3:] == ["-", "-", "-"]
    alone = ulam("score", "a", "greedy", "-m", folder)
    assert alone.out == "a\n"
    assert alone.stderr.endswith("1 token (0 scored)\n")
    step = json.loads(ulam("score", "a", "-m", folder, "--json").out)["steps"][0]
    assert (step["model_log_prob"], step["model_bits"], step["model_rank"], step["removed_by"]) == (None,) * 4
