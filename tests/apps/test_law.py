"""`ulam law`: the design's transcripts, numbers worked out by hand, and an independent computation on the built-in model."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import ulam as library
from ulam.models import IID, Table, alphabet

from .conftest import Pieces, Ulam

GREEDY = """\
 law of 3 tokens · model abc · recipe greedy · exact (1 path)
 text   recipe   model
 aaa    1        0.125
 26 other texts of the model have probability 0 under the recipe (0.875 of the model's mass)
 entropy 0 bits (model 4.5) · total variation 0.875 · KL(recipe‖model) 3 bits · KL(model‖recipe) infinite
"""

TOP_K = """\
 law of 3 tokens · model abc · recipe top_k=2 · exact (8 paths)
 text   recipe   model
 aaa    0.296    0.125    ██████████████▊
 aab    0.148    0.0625   ███████▍
 aba    0.148    0.0625   ███████▍
 baa    0.148    0.0625   ███████▍
 rest   0.259 in 4 texts; 19 texts removed (0.578 of the model's mass)
 entropy 2.755 bits (model 4.5) · total variation 0.578 · KL(recipe‖model) 1.245 bits
 note: b and c tie at the boundary; the lower token id stays, so c is never said
"""


def data(ulam: Ulam, *words: str) -> dict[str, Any]:
    result = ulam("law", *words, "--json")
    assert result.code == 0, result.stderr
    assert result.stderr == ""
    return json.loads(result.out)


def fails(ulam: Ulam, *words: str, code: int = 2) -> list[str]:
    result = ulam("law", *words)
    assert (result.code, result.stdout) == (code, b"")
    return result.stderr.splitlines()


# what it prints


def test_greedy_says_one_text_of_27(ulam: Ulam) -> None:
    result = ulam("law", "-m", "abc", "--length", "3", "greedy")
    assert (result.code, result.out, result.stderr) == (0, GREEDY, "")


def test_two_of_three_letters(ulam: Ulam) -> None:
    result = ulam("law", "-m", "abc", "--length", "3", "top_k=2", "--top", "4")
    assert (result.code, result.out, result.stderr) == (0, TOP_K, "")


@pytest.mark.parametrize(
    "words",
    [
        ["top_k=2", "--top", "4", "-m", "abc"],
        ["--max-tokens", "3", "-r", "top_k=2", "--top", "4", "-m", "abc"],
        ["--top-k", "2", "--top", "4", "-m", "abc", "-p", ""],
        ["top_k=2", "--against", "model", "--top=4", "--model", "abc", "-q", "--budget", "27"],
    ],
)
def test_the_same_question_in_other_words(ulam: Ulam, words: list[str]) -> None:
    assert ulam("law", *words).out == TOP_K


def test_a_temperature(ulam: Ulam) -> None:
    """T = 1/2 squares: (4, 1, 1)/6 beside (2, 1, 1)/4. Entropy log2 3 - 1/3; TV 1/6; KL (2/3) log2(4/3) - (1/3) log2(3/2), back log2(9/8)/2."""
    assert ulam("law", "temperature=0.5", "-m", "abc", "--length", "1").out.splitlines() == [
        " law of 1 token · model abc · recipe temperature=0.5 · exact (3 paths)",
        " text   recipe   model",
        " a      0.667    0.5     █████████████████████████████████▎",
        " b      0.167    0.25    ████████▎",
        " c      0.167    0.25    ████████▎",
        " entropy 1.252 bits (model 1.5) · total variation 0.167 · KL(recipe‖model) 0.0817 bits · KL(model‖recipe) 0.08496 bits",
    ]


def test_the_empty_recipe_is_the_model(ulam: Ulam) -> None:
    lines = ulam("law", "-m", "abc", "--top", "2").out.splitlines()
    assert lines[0] == " law of 3 tokens · model abc · recipe categorical · exact (27 paths)"
    assert lines[-2:] == [
        " rest   0.812 in 25 texts",  # 13/16
        " entropy 4.5 bits (model 4.5) · total variation 0 · KL(recipe‖model) 0 bits · KL(model‖recipe) 0 bits",
    ]


def test_small_probabilities_have_a_scale_of_their_own(ulam: Ulam) -> None:
    """The most probable text of six letters has 1/64; fifty columns are then 0.1, and its bar 7.8 columns, rounded down to eighths."""
    lines = ulam("law", "-m", "abc", "--length", "6", "--top", "2").out.splitlines()
    assert lines[1:3] == [" text     recipe    model     50 columns = 0.1", " aaaaaa   0.0156    0.0156    ███████▊"]


def test_against_another_recipe(ulam: Ulam) -> None:
    """top_k=2 is (2/3, 1/3); T = 1/2 is (4, 1, 1)/6: TV 1/6, KL (1/3) log2 2 = 1/3; c, 1/6 of it, is gone."""
    assert ulam("law", "top_k=2", "--against", "temperature=0.5", "-m", "abc", "--length", "1").out.splitlines() == [
        " law of 1 token · model abc · recipe top_k=2 · against temperature=0.5 · exact (2 paths)",
        " text   recipe   against",
        " a      0.667    0.667     █████████████████████████████████▎",
        " b      0.333    0.167     ████████████████▋",
        " 1 other text of temperature=0.5 has probability 0 under the recipe (0.167 of the mass of temperature=0.5)",
        " entropy 0.9183 bits (against 1.252) · total variation 0.167 · KL(recipe‖against) 0.3333 bits · KL(against‖recipe) infinite",
        " note: b and c tie at the boundary; the lower token id stays, so c is never said",
    ]


def test_against_a_recipe_that_says_less(ulam: Ulam) -> None:
    found = data(ulam, "temperature=0.5", "--against", "greedy", "-m", "abc", "--length", "1")
    assert found["removed"] == {"texts": 0, "against_prob": 0}
    assert found["tv"] == pytest.approx(1 / 3)
    assert found["kl_bits"]["recipe_from_against"] is None
    assert found["kl_bits"]["against_from_recipe"] == pytest.approx(math.log2(1.5))
    assert found["against"] == "greedy"


def test_an_event(ulam: Ulam) -> None:
    """`ba` is in aba, baa, bab, bba: (4 + 4 + 2 + 2)/27. Under the model it is in the first two letters or in the last two: 1/8 + 1/8."""
    assert ulam("law", "top_k=2", "-m", "abc", "--event", "ba", "--top", "1").out.splitlines()[-3:-1] == [
        " event ba: 0.444 under the recipe",
        " event ba: 0.25 under the model",
    ]
    assert data(ulam, "top_k=2", "-m", "abc", "--event", "ba")["event"] == {"regex": "ba", "recipe_prob": pytest.approx(12 / 27), "model_prob": 0.25}


@pytest.mark.parametrize(("event", "told"), [("a.b", "a.b"), ("^a b$", "^a b$"), (" a", '" a"'), ("a ", '"a "'), ("", '""'), ("a\nb", '"a\\nb"')])
def test_the_borders_of_an_event_can_be_seen(ulam: Ulam, event: str, told: str) -> None:
    assert f" event {told}: 0" in ulam("law", "-m", "abc", "--length", "1", "--event", event).out.replace(": 1 ", ": 0 ")


def test_an_event_that_is_not_wholly_known(ulam: Ulam) -> None:
    """With a budget of one path the model's other texts are not listed: b may be in any of them, aaa in none."""
    lines = ulam("law", "greedy", "-m", "abc", "--budget", "1", "--event", "b").out.splitlines()
    assert " event b: 0 under the recipe" in lines
    assert " event b: 0 to 0.875 under the model" in lines
    event = data(ulam, "greedy", "-m", "abc", "--budget", "1", "--event", "a")["event"]
    assert event == pytest.approx({"regex": "a", "recipe_prob": 1, "model_low_prob": 0.125, "model_high_prob": 1})


def test_where_the_model_is_too_large_the_rest_is_exact(ulam: Ulam) -> None:
    within, beyond = (ulam("law", "top_k=2", "-m", "abc", "--top", "4", "--budget", budget).out.splitlines() for budget in ("27", "26"))
    assert within == TOP_K.splitlines()
    assert beyond[:6] == within[:6]
    assert beyond[6:] == [
        " rest   0.259 in 4 texts; all other texts removed (0.578 of the model's mass)",
        " entropy 2.755 bits · total variation 0.578 · KL(recipe‖model) 1.245 bits",
        " note: the model's own law has 27 paths, and --budget allows 26; its entropy and the number of texts removed are left out",
        within[-1],
    ]
    lines = ulam("law", "greedy", "-m", "abc", "--budget", "1", "--against", "top_k=2").out.splitlines()
    assert lines[3] == " all other texts of top_k=2 have probability 0 under the recipe (0.704 of the mass of top_k=2)"  # 19/27
    assert lines[-1].startswith(" note: the law of top_k=2 has 8 paths, and --budget allows 1;")


def test_a_prompt(ulam: Ulam) -> None:
    assert ulam("law", "greedy", "-m", "abc", "-p", "ab").out.startswith(' law of 3 tokens after "ab" · model abc')
    assert data(ulam, "greedy", "-m", "abc", "-p", "ab")["prompt"] == {"text": "ab", "tokens": 2}
    assert ulam("law", "greedy", "-m", "abc", "-p", "ab" * 40).out.startswith(f' law of 3 tokens after "…{"ab" * 20}" · model abc')


def test_neutral_flags_are_told(ulam: Ulam) -> None:
    lines = ulam("law", "--top-k", "2", "--temp", "1", "-m", "abc", "--top", "4").out.splitlines()
    assert [*lines[:-2], lines[-1]] == TOP_K.splitlines()
    assert lines[-2] == " note: temperature=1 is neutral and left out of the recipe"


def test_no_token_at_all(ulam: Ulam) -> None:
    assert ulam("law", "-m", "abc", "--length", "0").out.splitlines()[2] == " (empty)   1        1"


# special tokens, failures, wide and long texts


def test_tokens_are_visible(ulam: Ulam, models: Callable[..., None]) -> None:
    models(pieces=Pieces())
    shown = {line.split("   ")[0].strip() for line in ulam("law", "-m", "pieces", "--length", "1", "-p", "").out.splitlines()[2:9]}
    assert shown == {"⟨E2⟩", "⟨82⟩", "⟨AC⟩", "␛[2J", "a", "⏎", "<end>"}
    found = data(ulam, "-m", "pieces", "--length", "2")["outcomes"]
    assert {"text": "", "tokens": [6], "finish_reason": "stop", "recipe_prob": pytest.approx(1 / 16), "model_prob": 1 / 16} in found
    assert not any("\x1b" in line for line in ulam("law", "-m", "pieces", "--json", terminal=True).out)


def test_texts_that_look_alike_show_their_tokens(ulam: Ulam, models: Callable[..., None]) -> None:
    vocabulary = library.Vocabulary([b"a", b"aa"], encode=lambda text: [])
    models(twice=IID((0.5, 0.5), vocabulary, name="twice"))
    lines = ulam("law", "-m", "twice", "--length", "2").out.splitlines()
    assert [line.split()[0] for line in lines[2:6]] == ["aa", "a|aa", "aa|a", "aaaa"]


def test_a_row_that_fails_is_an_outcome(ulam: Ulam, models: Callable[..., None]) -> None:
    """The model has NaN after a b, so `b` fails there under both laws: aa, b 1/4; ab, ac, ca 1/8; cb, cc 1/16."""
    models(broken=Failing())
    lines = ulam("law", "-m", "broken", "--length", "2", "temperature=1").out.splitlines()
    assert " b (error)   0.25     0.25     ████████████▌" in lines
    assert lines[-1] == " entropy 2.625 bits (model 2.625) · total variation 0 · KL(recipe‖model) 0 bits · KL(model‖recipe) 0 bits"  # 1 + 9/8 + 1/2


class Failing(Table):
    """`abc`, with NaN after every b."""

    def __init__(self) -> None:
        super().__init__({}, alphabet("abc"), otherwise=lambda prefix: (0.5, 0.25, 0.25), name="broken")

    def _read(self, prefixes: Any) -> Any:
        z = super()._read(prefixes)
        z[[1 in prefix for prefix in prefixes]] = np.nan
        return z

    @property
    def probs(self) -> Any:
        return None


@pytest.mark.parametrize("columns", [60, 80, 100])
def test_nothing_is_wider_than_the_terminal(ulam: Ulam, models: Callable[..., None], monkeypatch: pytest.MonkeyPatch, columns: int) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    words = [f"{word}{'e' * 20}".encode() for word in "abc"] + ["漢".encode() * 12]
    models(long=IID((0.7, 0.1, 0.1, 0.1), library.Vocabulary(words, encode=lambda text: []), name="long"))
    from rich.cells import cell_len

    asked = {
        " 0.296 ": ["top_k=2", "-m", "abc", "--top", "4"],
        " 1 ": ["greedy", "--against", "temperature=1e9", "-m", "abc"],
        " 0.343 ": ["-m", "long"],
        " 0.67 ": ["top_k=2", "-m", "long"],  # (7/8)^3
    }
    for number, words in asked.items():
        lines = ulam("law", *words, terminal=True).out.splitlines()
        assert max(map(cell_len, lines)) <= columns
        at = next(i for i, line in enumerate(lines) if line.startswith(" text"))
        first = lines[at + 1]
        assert cell_len(first[: first.index(number)]) == lines[at].index(" recipe")
        assert ("…" in first) == (words[-1] == "long" and columns < 100)
        if words[-1] == "long" and len(words) == 2:
            assert "漢" in "".join(lines)


def test_bars_are_shorter_where_texts_are_long(ulam: Ulam, models: Callable[..., None]) -> None:
    models(long=IID((0.75, 0.25), library.Vocabulary([b"a" * 28, b"b" * 28], encode=lambda text: []), name="long"))
    lines = ulam("law", "-m", "long", "--length", "2").out.splitlines()
    assert lines[1].endswith("recipe   model    25 columns = 1")
    assert lines[2] == f" {'a' * 56}   0.562    0.562    ██████████████"  # 9/16 of 25 is 14.06


# data


def test_the_document(ulam: Ulam) -> None:
    """Two letters of top_k=2: 4/9, 2/9, 2/9, 1/9 beside 1/4, 1/8, 1/8, 1/16; 5 of 9 texts and 7/16 removed; every ratio is 16/9."""
    found = data(ulam, "top_k=2", "-m", "abc", "--length", "2", "--top", "1")
    assert found["schema"] == "ulam.law/1"
    assert (found["recipe"], found["recipe_from"], found["against"], found["max_tokens"]) == ("top_k=2", "words", "model", 2)
    assert found["recipe_id"] == library.Recipe("top_k=2").id
    assert found["model"]["name"] == "abc"
    assert found["outcomes"] == [{"text": "aa", "tokens": [0, 0], "finish_reason": "length", "recipe_prob": pytest.approx(4 / 9), "model_prob": 0.25}]
    assert found["rest"] == {"texts": 3, "recipe_prob": pytest.approx(5 / 9), "model_prob": pytest.approx(5 / 16)}
    assert found["removed"] == {"texts": 5, "model_prob": 7 / 16}
    assert found["entropy_bits"] == {"recipe": pytest.approx(2 * (math.log2(3) - 2 / 3)), "model": pytest.approx(3)}
    assert found["tv"] == pytest.approx(7 / 16)
    assert found["kl_bits"] == {"recipe_from_model": pytest.approx(math.log2(16 / 9)), "model_from_recipe": None}
    assert found["ties"] == [{"stage": "top_k=2", "kept": [1], "removed": [2], "after": [], "prefixes": 3, "always": True}]
    assert found["paths"] == {"recipe": 4, "model": 9}
    assert found["exactness"] == {"recipe": "all texts", "model": "all texts"}
    assert "event" not in found
    assert found["warnings"] == []


def test_the_document_lists_all_texts_unless_told(ulam: Ulam) -> None:
    found = data(ulam, "-m", "abc")
    assert len(found["outcomes"]) == 27
    assert found["rest"] == {"texts": 0, "recipe_prob": 0, "model_prob": 0}
    assert math.fsum(each["recipe_prob"] for each in found["outcomes"]) == pytest.approx(1)


def test_what_is_not_known_is_null_or_absent(ulam: Ulam) -> None:
    found = data(ulam, "top_k=2", "-m", "abc", "--budget", "8")
    assert found["entropy_bits"]["model"] is None
    assert found["removed"] == {"texts": None, "model_prob": pytest.approx(37 / 64)}
    assert found["paths"] == {"recipe": 8, "model": None}
    assert found["exactness"]["model"] == "the recipe's texts"
    assert found["tv"] == pytest.approx(37 / 64)
    assert "has 27 paths" in found["warnings"][0]


# the model inside


def law_of_stories(prompt: str, k: int, length: int) -> tuple[dict[tuple[int, ...], float], dict[tuple[int, ...], float]]:
    """Texts of `length` tokens, each among the k most likely ones: probability under top_k=k and under the model, by plain products."""
    model = library.load()
    start = (model.vocabulary.start, *model.vocabulary.encode(prompt))
    recipe: dict[tuple[int, ...], float] = {}
    bare: dict[tuple[int, ...], float] = {}
    todo = [((), 1.0, 1.0)]
    while todo:
        tokens, q, p = todo.pop()
        if len(tokens) == length or (tokens and tokens[-1] in model.vocabulary.ends):
            recipe[tokens], bare[tokens] = q, p
            continue
        z = np.asarray(model.prefill([(*start, *tokens)])[1][0], dtype=np.longdouble)
        weight = np.exp(z - z.max())
        kept = sorted(range(len(z)), key=lambda i: (-z[i], i))[:k]
        for token in kept:
            todo.append(((*tokens, token), q * float(weight[token] / weight[kept].sum()), p * float(weight[token] / weight.sum())))
    return recipe, bare


def test_the_model_inside(ulam: Ulam) -> None:
    recipe, bare = law_of_stories("Once upon a time", 2, 3)
    found = data(ulam, "top_k=2", "--length", "3", "-p", "Once upon a time", "--event", "there")
    assert {tuple(each["tokens"]): each["recipe_prob"] for each in found["outcomes"]} == pytest.approx(recipe, rel=1e-5)
    assert {tuple(each["tokens"]): each["model_prob"] for each in found["outcomes"]} == pytest.approx(bare, rel=1e-5)
    gone = 1 - sum(bare.values())
    assert found["removed"] == {"texts": None, "model_prob": pytest.approx(gone, rel=1e-4)}
    assert found["tv"] == pytest.approx((sum(abs(recipe[text] - bare[text]) for text in recipe) + gone) / 2, rel=1e-4)
    kl = sum(q * math.log2(q / bare[text]) for text, q in recipe.items())
    assert found["kl_bits"] == {"recipe_from_model": pytest.approx(kl, rel=1e-4), "model_from_recipe": None}
    decode = library.load().vocabulary.decode
    assert found["event"]["recipe_prob"] == pytest.approx(sum(q for text, q in recipe.items() if "there" in decode(text)), rel=1e-5)
