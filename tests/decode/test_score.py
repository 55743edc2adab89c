"""The surprise of a text: by hand, against arithmetic, against what the loop says."""

from __future__ import annotations

import json
import math
import sys
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ulam
from tests.tiny import open_llama, write_tiny
from ulam.core.context import Context
from ulam.core.errors import EmptyPrompt, EmptySupport, InvalidLogits, UsageError
from ulam.core.method import Transform
from ulam.core.vocabulary import Vocabulary
from ulam.models.builtin import Llama
from ulam.models.table import Table, abc
from ulam.recipe import Recipe

from .conftest import Tree, assert_given_back
from .score_checks import D, assert_near, check_arithmetic, check_removed, check_samples, check_windows, seen, texts, tree

score_module: Any = sys.modules["ulam.decode.score"]  # the package has a function of this name
LN2 = math.log(2)


@pytest.mark.parametrize("check", [check_arithmetic, check_samples, check_windows, check_removed])
def test_checks(check: Any) -> None:
    check()


# by hand


def test_the_lectures_model() -> None:
    found = ulam.score(abc(), "aaa")
    assert (found.bits, found.bits_per_token, found.bits_per_byte, found.perplexity) == (3, 1, 1, 2)
    assert (found.text, found.tokens, found.scored, found.unscored, found.windows) == ("aaa", (0, 0, 0), 3, 0, 1)
    assert (found.recipe, found.recipe_log_probs, found.recipe_log_prob, found.log_distortion, found.coverage) == (None,) * 5
    found = ulam.score(abc(), "abc", "", prompt="cab")
    assert found.bits == 5
    assert found.ranks.tolist() == [1, 2, 3]  # b and c tie: by id
    assert_near([found.perplexity], [2 ** (5 / 3)])
    assert found.recipe_log_prob == found.model_log_prob == -5 * LN2
    assert found.log_distortion == 0
    assert (found.prompt, found.prompt_tokens) == ("cab", (2, 0, 1))


def test_the_running_example() -> None:
    """Temperature 0.5 on D: N(root) = .42, N(x) = .5, N(y) = N(xy) = 1; the local law of y$ is .16/.42."""
    found = ulam.score(D, [1, 2], "temperature=0.5")
    assert_near(found.log_normalizers, [math.log(0.42), 0.0])
    assert_near([found.recipe_log_prob], [math.log(0.16 / 0.42)])
    assert_near([found.model_log_prob], [math.log(0.4)])
    found = ulam.score(D, [0, 1, 2], "temperature=0.5")
    assert_near(found.log_normalizers, [math.log(0.42), math.log(0.5), 0.0])
    assert_near([found.log_distortion], [math.log(0.21)])
    found = ulam.score(D, [0, 1, 2], "top_p=0.9")
    assert_near(found.log_normalizers, [math.log(0.9), 0.0, 0.0])
    found = ulam.score(D, [2], "logit_bias({0: 0.6931471805599453})")
    assert_near(found.log_normalizers, [math.log(0.5 * 2 + 0.4 + 0.1)])
    found = ulam.score(D, [0, 2], "greedy")
    assert_near(found.recipe_log_probs, [0.0, -math.inf])
    assert_near(found.log_normalizers, [math.log(0.5), math.log(0.5)])


def test_an_end_token_has_no_bytes_and_counts() -> None:
    found = ulam.score(D, [0, 1, 2])
    assert (found.text, found.byte_counts.tolist(), found.bits, found.bits_per_byte) == ("xy", [1, 1, 0], 2, 1)
    assert found.bits_per_token == 2 / 3
    assert math.isnan(ulam.score(D, [2]).bits_per_byte)


def test_per_step_the_distances_of_a_truncation_are_its_mass() -> None:
    """KL(q || p) = -log p(S) = -log N and TV(q, p) = 1 - p(S)."""
    for seed in range(10):
        model = tree(seed)
        for recipe in ("top_p=0.7", "top_k=2", "min_p=0.3", "typical_p=0.6", "greedy", "top_k=3 top_p=0.8"):
            (_, (prompt, text), _) = texts(seed)
            found = ulam.score(model, text, recipe, prompt=prompt)
            assert found.log_normalizers is not None
            for t, log_n in enumerate(found.log_normalizers):
                p = np.array(model.after((*prompt, *text[:t])))
                q = np.asarray(ulam.Recipe(recipe).distribution(np.log(p), prompt, text[:t]).probs)
                kept = q > 0
                assert abs((q[kept] * np.log(q[kept] / p[kept])).sum() + log_n) < 1e-12
                assert abs(abs(q - p).sum() / 2 - (1 - math.exp(log_n))) < 1e-12


def test_a_recipe_without_a_global_form_has_no_normalizers() -> None:
    found = ulam.score(D, [0, 1, 2], "repetition_penalty=1.2 temperature=0.5")
    assert (found.log_normalizers, found.log_distortion) == (None, None)
    assert found.recipe_log_prob is not None


def test_the_probabilities_of_a_law_are_the_scores_of_its_texts() -> None:
    for recipe in ("temperature=0.6 top_p=0.9", "presence_penalty=1.5 top_k=3", "presence_penalty=1 greedy"):
        model = tree(4, size=4)
        law = ulam.law(model, recipe, [0], 4)
        scores = [(ulam.score(model, outcome.tokens, recipe, prompt=[0]).recipe_log_prob, p) for outcome, p in law]
        assert all(abs(math.exp(found or 0.0) - p) < 1e-12 for found, p in scores)
        assert abs(math.fsum(math.exp(found or 0.0) for found, _ in scores) - 1) < 1e-12


# a stage that empties a row, and one that tosses a coin


class OnlyTheFirst(Transform):
    """Allows nothing after two tokens."""

    def apply(self, z: Any, context: Context) -> Any:
        empty = np.array([[history.position == 2] for history in context.rows])
        return np.where(empty, -np.inf, z)


class Sometimes(OnlyTheFirst):
    """Two tokens in three times: only the first token."""

    coin: Any = 9

    def chance(self, rows: int) -> Any:
        return np.full(rows, 2 / 3)

    def apply(self, z: Any, context: Context) -> Any:
        return np.where(np.arange(z.shape[-1]) == 0, z, -np.inf)


CLAIMS = ("shift",)  # of both


def test_a_stage_that_leaves_no_token() -> None:
    found = ulam.score(tree(2), [0, 1, 2, 3], ulam.Recipe([OnlyTheFirst(), *ulam.Recipe("top_k=4 greedy").stages]))
    assert found.recipe_log_probs is not None
    assert found.log_normalizers is not None
    assert found.removed_by[2] == "only_the_first"
    assert found.recipe_log_probs[2] == found.log_normalizers[2] == found.log_distortion == -math.inf
    assert found.recipe_log_probs[3] == (0.0 if found.removed_by[3] is None else -math.inf)
    assert np.isfinite(found.model_log_probs).all()


def test_a_coin_gives_the_mixture() -> None:
    found = ulam.score(abc(), "ab", ulam.Recipe([Sometimes()]))
    assert_near(found.recipe_log_probs, [math.log(2 / 3 + 1 / 3 / 2), math.log(1 / 3 / 4)])
    assert (found.removed_by, found.log_normalizers) == ((None, None), None)
    found = ulam.score(abc(), "ac", ulam.Recipe([*ulam.Recipe("top_k=2").stages, Sometimes()]))
    assert (found.recipe_log_prob, found.removed_by) == (-math.inf, (None, "top_k=2"))


# texts, prompts and what cannot be scored


def test_a_text_and_its_ids_are_the_same(tmp_path: Path) -> None:
    model = open_llama(write_tiny(tmp_path))
    ids = model.vocabulary.encode("on the mat")
    one, other = ulam.score(model, "on the mat", prompt="The cat"), ulam.score(model, ids, prompt=[0, *model.vocabulary.encode("The cat")])
    assert one.model_log_probs.tobytes() == other.model_log_probs.tobytes()
    assert one.prompt_tokens == other.prompt_tokens
    assert (one.text, other.prompt) == ("on the mat", "The cat")
    assert ulam.score(model, "on the mat", "").model_log_prob == ulam.score(model, ids, prompt=[0]).model_log_prob
    assert ulam.score(model, [*ids, 0]).text == "on the mat"
    assert ulam.score(model, "on the mat<|endoftext|>").tokens == (*ids, 0)


def test_a_model_that_cannot_begin_leaves_the_first_token_unscored(tmp_path: Path) -> None:
    model = open_llama(write_tiny(tmp_path, bos_token_id=None))
    with pytest.raises(EmptyPrompt):
        model.prefill([()])
    found, rest = ulam.score(model, [5, 6, 7], "top_p=0.9"), ulam.score(model, [6, 7], "top_p=0.9", prompt=[5])
    assert (found.scored, found.unscored, found.ranks[0], found.windows) == (2, 1, 0, 1)
    assert np.isnan(found.model_log_probs[0])
    assert np.isnan(found.recipe_log_probs[0])  # type: ignore[index]
    assert found.model_log_probs[1:].tolist() == rest.model_log_probs.tolist()
    assert (found.bits, found.bits_per_token, found.coverage) == (rest.bits, rest.bits / 2, rest.coverage)
    assert 0 not in {peak.position for peak in found.peaks(9)}
    alone = ulam.score(model, [5], "top_p=0.9")
    assert (alone.scored, alone.unscored, alone.bits, alone.coverage) == (0, 1, 0, 0)
    assert math.isnan(alone.perplexity)
    assert json.dumps(alone.to_dict(model.vocabulary), allow_nan=False)


CARRYING = (
    "presence_penalty=0.5 temperature=0.8",
    "frequency_penalty(0.3, scope=all) top_p=0.9",
    "dry(0.8, breakers=[2]) no_repeat_ngram=3 min_p=0.02",
    "no_repeat_ngram(2, window=9) xtc(0.1, 0.5)",
    "dry(1, window=7, breakers=[]) top_p_decay(0.9, reset=[]) gumbel_max",
)


@pytest.mark.parametrize("recipe", CARRYING)
def test_what_stages_carry_along_a_text_is_what_they_count_anew(recipe: str, monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[tuple[int, ...]] = []
    init = Recipe.init
    monkeypatch.setattr(Recipe, "init", lambda self, prompt=(), generated=(): (begun.append(tuple(generated)), init(self, prompt, generated))[1])
    model, prompt = tree(3, logits=True), (1, 0, 1)
    text = tuple(np.random.default_rng(1).integers(0, 4, 60).tolist())
    found = ulam.score(model, text, recipe, prompt=prompt)
    assert begun == [()]
    bound, anew = Recipe(recipe).bind(model.vocabulary), []
    for t, token in enumerate(text):
        _, logits = model.prefill([(*prompt, *text[:t])])
        anew.append(bound.distribution(logits[0], prompt, text[:t]).log_probs[token] if allowed(bound, logits[0], prompt, text[:t]) else -np.inf)
    assert found.recipe_log_probs is not None
    assert found.recipe_log_probs.tolist() == [float(x) for x in anew]


def allowed(recipe: Recipe, logits: Any, prompt: tuple[int, ...], generated: tuple[int, ...]) -> bool:
    try:
        recipe.distribution(logits, prompt, generated)
    except EmptySupport:
        return False
    return True


def test_a_first_token_without_a_score_counts_as_said(tmp_path: Path) -> None:
    model = open_llama(write_tiny(tmp_path, bos_token_id=None))
    recipe = "presence_penalty(2, scope=all) no_repeat_ngram(1, scope=all)"
    found, rest = ulam.score(model, [5, 6, 5], recipe), ulam.score(model, [6, 5], recipe, prompt=[5])
    assert found.recipe_log_probs is not None
    assert rest.recipe_log_probs is not None
    assert found.recipe_log_probs[1:].tolist() == rest.recipe_log_probs.tolist()
    assert found.removed_by == (None, None, "no_repeat_ngram=1")


@pytest.mark.parametrize("length", [8, 9, 30])
def test_windows_of_a_network(tmp_path: Path, length: int) -> None:
    """A Llama of context 8 against a loop that reads every prefix anew."""
    model: Llama = open_llama(write_tiny(tmp_path, max_position_embeddings=8))
    ids = np.random.default_rng(length).integers(1, len(model.vocabulary), length).tolist()
    found = ulam.score(model, ids, "presence_penalty=0.4", prompt=[0])
    whole = [0, *ids]
    for place in range(1, len(whole)):
        state, logits = model.prefill([whole[seen(place, 8) : place]])
        model.release(state)
        z = logits[0].astype(np.float64)
        log_probs = z - z.max() - math.log(math.fsum(np.exp(z - z.max())))
        assert abs(found.model_log_probs[place - 1] - log_probs[whole[place]]) < 1e-9
        q = log_probs - 0.4 * np.isin(np.arange(len(z)), whole[1:place])
        assert abs(found.recipe_log_probs[place - 1] - (q[whole[place]] - math.log(math.fsum(np.exp(q))))) < 1e-9  # type: ignore[index]
    assert found.windows == 1 + max(0, -(-(length + 1 - 8) // 4))


def test_samples_of_the_built_in_model() -> None:
    model = ulam.load()
    recipe = "repetition_penalty(1.2, window=64) temperature=0.8 top_p=0.9"
    for sample in ulam.sample(model, "Once upon a time", recipe, n=2, max_tokens=300, seed=4):
        found = ulam.score(model, sample.tokens, recipe, prompt="Once upon a time")
        assert_near(found.model_log_probs, sample.model_log_probs.tolist(), 1e-5)
        assert_near(found.recipe_log_probs, sample.recipe_log_probs.tolist(), 1e-5)


def test_tensors_of_torch() -> None:
    torch = pytest.importorskip("torch")
    torch.set_num_threads(1)

    class Torch(Tree):
        def read(self, rows: Any) -> Any:
            state, logits = super().read(rows)
            return state, torch.tensor(logits, dtype=torch.float32)

    inner = tree(6, logits=True)
    model = Torch(inner.after, inner.vocabulary.tokens, ends=inner.vocabulary.ends, logits=True)
    for recipe in ("presence_penalty=1 temperature=0.7", "top_p=0.5 greedy"):
        found, wanted = (ulam.score(each, [2, 0, 1, 1, 3, 4], recipe, prompt=[1]) for each in (model, inner))
        assert_near(found.model_log_probs, wanted.model_log_probs.tolist(), 1e-5)
        assert_near(found.recipe_log_probs, wanted.recipe_log_probs.tolist(), 1e-5)  # type: ignore[union-attr]
        assert_near(found.log_normalizers, wanted.log_normalizers.tolist(), 1e-5)  # type: ignore[union-attr]
        assert (found.removed_by, found.ranks.tolist()) == (wanted.removed_by, wanted.ranks.tolist())


def test_pieces_are_bounded_and_told(monkeypatch: pytest.MonkeyPatch) -> None:
    whole, told = ulam.score(abc(), "abcabca", "presence_penalty=1"), []
    monkeypatch.setattr(score_module, "ROWS", 3)
    pieces = ulam.score(abc(), "abcabca", "presence_penalty=1", watch=lambda done, of: told.append((done, of)))
    assert told == [(1, 7), (4, 7), (7, 7)]
    assert pieces.recipe_log_probs.tobytes() == whole.recipe_log_probs.tobytes()  # type: ignore[union-attr]
    monkeypatch.setattr(score_module, "LOGITS", 6)
    told.clear()
    ulam.score(abc(), "abcabca", watch=lambda done, of: told.append((done, of)))
    assert [done for done, _ in told] == [1, 3, 5, 7]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"text": ""}, "the text is empty"),
        ({"text": []}, "the text is empty"),
        ({"text": [0, 2, 1]}, "the text goes on after <2>, which ends it (position 1 of 3)"),
        ({"text": [2, 2]}, "(position 0 of 2)\n  fix: score each text by itself"),
        ({"text": [0, 3]}, "token id 3 is outside 0 to 2"),
        ({"text": 7}, "the text: 7 is not a list"),
        ({"text": [0], "prompt": [-1]}, "token id -1"),
        ({"text": "\ud800"}, "half of a surrogate pair"),
        ({"text": [0], "recipe": "topp=0.9"}, "Did you mean top_p?"),
    ],
)
def test_what_cannot_be_scored(arguments: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError) as error:
        ulam.score(D, **arguments)
    assert says in str(error.value)


def test_a_start_token_in_the_text_is_told_where_it_belongs(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no part of it: prompt=\[0\]"):
        ulam.score(open_llama(write_tiny(tmp_path)), [0, 5])


def test_what_is_no_model() -> None:
    with pytest.raises(UsageError, match="is not a model"):
        ulam.score("stories", "Once")  # type: ignore[arg-type]


@pytest.mark.parametrize("recipe", [None, "top_p=0.9"])
def test_logits_that_are_none_are_told_with_their_position(recipe: str | None) -> None:
    model = Tree(lambda prefix: [math.nan] * 3 if len(prefix) == 5 else [0.0] * 3, [b"a", b"b", b"c"], logits=True)
    assert ulam.score(model, "abc", recipe, prompt="ab").scored == 3
    with pytest.raises(InvalidLogits, match=r"\(position 3\)"):
        ulam.score(model, "abca", recipe, prompt="ab")
    assert_given_back(model)


def test_peaks() -> None:
    model = Table({}, Vocabulary([b"a", b"b", b"c", b"d"]), otherwise=(Fraction(1, 2), Fraction(1, 8), Fraction(3, 8), 0))
    found = ulam.score(model, [0, 1, 3, 2, 1])
    assert [(peak.position, peak.token) for peak in found.peaks(4)] == [(2, 3), (1, 1), (4, 1), (3, 2)]
    assert [peak.bits for peak in found.peaks(2)] == [math.inf, 3]
    assert len(found.peaks(100)) == 5
    assert (found.perplexity, found.bits, found.removed_at) == (math.inf, math.inf, 2)
    for k in (0, -1, 1.5):
        with pytest.raises(UsageError):
            found.peaks(k)  # type: ignore[arg-type]


def test_as_data() -> None:
    found = ulam.score(D, [1, 0, 2], "top_p=0.4")
    data = found.to_dict(D.vocabulary)
    assert json.loads(json.dumps(data, allow_nan=False)) == data
    assert [data[key] for key in ("text", "tokens", "scored", "recipe", "coverage", "removed_at", "removed_by")] == ["yx", 3, 3, "top_p=0.4", 1, 0, "top_p=0.4"]
    assert [data[key] for key in ("model_log_prob", "model_bits", "model_perplexity", "recipe_log_prob")] == [None] * 4
    first, second, last = data["steps"]
    assert first["token"] == {"id": 1, "text": "y", "bytes": "eQ=="}
    assert (first["model_rank"], first["recipe_log_prob"], first["recipe_bits"], first["removed_by"]) == (2, None, None, "top_p=0.4")
    assert first["model_bits"] == -math.log(0.4) / LN2
    assert (second["model_log_prob"], second["removed_by"]) == (None, "model")
    assert (last["model_log_prob"], last["recipe_log_prob"], last["removed_by"], last["log_normalizer"]) == (0.0, 0.0, None, 0.0)
    assert not {"recipe", "coverage", "log_distortion"} & {*ulam.score(D, [1]).to_dict(D.vocabulary)}


def test_repr() -> None:
    assert repr(ulam.score(abc(), "abc")) == "Score(3 tokens; model 5 bits, 1.67 per token, perplexity 3.17)"
    under = repr(ulam.score(abc(), "abc", "top_k=2"))
    assert under == "Score(3 tokens; model 5 bits, 1.67 per token, perplexity 3.17; top_k=2: -inf nats, could produce 2 of 3)"
