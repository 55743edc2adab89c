"""The samplers of llama.cpp itself, set up as its server does, against the recipe that its settings are read as: whole distributions.

Their logits are float32, and so are their sums. A row may differ by 2e-5 in total variation; where a cut falls otherwise because a number
beside the threshold was rounded, by a token: at most one row of a test may be such a one.
"""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from ulam.core.vocabulary import Vocabulary
from ulam.methods import find as find_method
from ulam.recipe import Recipe
from ulam.recipe.dialects import Verdict, export, find

L: Any = pytest.importorskip("llama_cpp")

WIDTH = 40
ROUNDING = 2e-5
DEFAULTS = find("llama.cpp").defaults


def chain(given: dict[str, Any], coin: float | None = None, vocabulary: Any = None) -> Any:
    """The chain that the server makes of a request; `coin` is how often xtc acts, in place of its probability."""
    p = {**DEFAULTS, **given}
    made: list[Any] = []
    biases = {int(token): -np.inf if value is False else value for token, value in (p["logit_bias"] or {}).items()}
    if biases:
        table = (L.llama_logit_bias * len(biases))(*(L.llama_logit_bias(*each) for each in biases.items()))
        made.append(L.llama_sampler_init_logit_bias(WIDTH, len(biases), table))
    breakers = [each.encode() for each in p["dry_sequence_breakers"]] if vocabulary else []
    build: dict[str, Callable[[], Any]] = {
        "penalties": lambda: L.llama_sampler_init_penalties(WIDTH, p["repeat_last_n"], p["repeat_penalty"], p["frequency_penalty"], p["presence_penalty"]),
        "dry": lambda: L.llama_sampler_init_dry(
            vocabulary,
            p["dry_multiplier"],
            p["dry_base"],
            p["dry_allowed_length"],
            p["dry_penalty_last_n"],
            (ctypes.c_char_p * len(breakers))(*breakers) if breakers else None,
            len(breakers),
        ),
        "top_n_sigma": lambda: L.llama_sampler_init_top_n_sigma(p["top_n_sigma"]),
        "top_k": lambda: L.llama_sampler_init_top_k(p["top_k"]),
        "typ_p": lambda: L.llama_sampler_init_typical(p["typical_p"], 0),
        "top_p": lambda: L.llama_sampler_init_top_p(p["top_p"], 0),
        "min_p": lambda: L.llama_sampler_init_min_p(p["min_p"], 0),
        "xtc": lambda: L.llama_sampler_init_xtc(p["xtc_probability"] if coin is None else coin, p["xtc_threshold"], 0, 1),
        "temperature": lambda: L.llama_sampler_init_temp_ext(p["temperature"], p["dynatemp_range"], p["dynatemp_exponent"]),
    }
    if p["mirostat"]:
        made.append(L.llama_sampler_init_temp(p["temperature"]))
        tau, eta = p["mirostat_tau"], p["mirostat_eta"]
        made.append(L.llama_sampler_init_mirostat(WIDTH, 1, tau, eta, 100) if p["mirostat"] == 1 else L.llama_sampler_init_mirostat_v2(1, tau, eta))
    else:
        made += [build[name]() for name in p["samplers"] if name != "adaptive_p"]
        if "adaptive_p" in p["samplers"]:
            made.append(L.llama_sampler_init_adaptive_p(p["adaptive_target"], p["adaptive_decay"], 1))
    whole = L.llama_sampler_chain_init(L.llama_sampler_chain_default_params())
    for each in made:
        L.llama_sampler_chain_add(whole, each)
    return whole


def apply(sampler: Any, row: NDArray[np.float32]) -> tuple[NDArray[np.float64], int]:
    """The distribution after the samplers, and the token that they chose, if they choose one."""
    data = (L.llama_token_data * WIDTH)(*(L.llama_token_data(i, float(z), 0.0) for i, z in enumerate(row)))
    array = L.llama_token_data_array(data, WIDTH, -1, False)
    L.llama_sampler_apply(sampler, ctypes.byref(array))
    z = np.full(WIDTH, -np.inf)
    for i in range(array.size):  # xtc moves the beginning of the array
        z[array.data[i].id] = array.data[i].logit
    p = np.exp(z - z.max())
    return p / p.sum(), array.data[array.selected].id if array.selected >= 0 else -1


def theirs(given: dict[str, Any], row: NDArray[np.float32], history: list[int], vocabulary: Any = None) -> NDArray[np.float64]:
    """The law of llama.cpp: the mean over the coin of xtc, which falls on heads where it is at most the probability."""
    heads = float({**DEFAULTS, **given}["xtc_probability"])
    laws: list[NDArray[np.float64]] = []
    for coin in (0.0, 1.0) if heads else (0.0,):
        sampler = chain(given, coin, vocabulary)
        for token in history:
            L.llama_sampler_accept(sampler, token)
        laws.append(apply(sampler, row)[0])
        L.llama_sampler_free(sampler)
    return laws[0] if len(laws) == 1 else (1 - heads) * laws[0] + heads * laws[1]


def rows(seed: int, count: int) -> Iterator[tuple[NDArray[np.float32], list[int], list[int]]]:
    """Rows sharp and flat, on both sides of 0, with histories that repeat."""
    rng = np.random.default_rng(seed)
    for _ in range(count):
        z = (rng.standard_normal(WIDTH) * rng.choice([0.3, 1.0, 2.5, 6.0]) + rng.normal()).astype(np.float32)
        kinds = int(rng.integers(2, 8))
        prompt, generated = (rng.integers(0, kinds, int(rng.integers(0, 30))).tolist() for _ in range(2))
        yield z, prompt, generated


def distance(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    return 0.5 * float(np.abs(a - b).sum())


def assert_same(given: dict[str, Any], seed: int, count: int, bind: Vocabulary | None = None, vocabulary: Any = None) -> None:
    recipe = find("llama.cpp").read({"dry_sequence_breakers": [], **given}).recipe
    recipe = recipe.bind(bind) if bind else recipe
    apart = [distance(theirs(given, z, p + g, vocabulary), np.asarray(recipe.distribution(z.astype(np.float64), p, g).probs)) for z, p, g in rows(seed, count)]
    odd = sum(each > ROUNDING for each in apart)
    assert odd <= 1, f"{recipe}: {odd} of {count} rows differ, by up to {max(apart):.2g}"


PENALTIES = {"repeat_penalty": 1.3, "presence_penalty": 0.4, "frequency_penalty": -0.2}
ALONE: list[dict[str, Any]] = [
    *({"samplers": ["temperature"], "temperature": T} for T in (0.0, 0.3, 1.7)),
    *({"samplers": ["temperature"], "temperature": 1.0, "dynatemp_range": d, "dynatemp_exponent": e} for d, e in ((0.5, 1.0), (1.4, 0.7), (0.9, 0.0))),
    *({"samplers": ["top_k"], "top_k": k} for k in (-1, 0, 1, 5, 40, 1000)),
    *({"samplers": ["top_p"], "top_p": p} for p in (0.0, 0.3, 0.9, 0.999, 1.0)),
    *({"samplers": ["min_p"], "min_p": a} for a in (0.0, 0.05, 0.3, 1.0)),
    *({"samplers": ["typ_p"], "typical_p": p} for p in (0.0, 0.2, 0.7, 0.95)),
    *({"samplers": ["top_n_sigma"], "top_n_sigma": n} for n in (-1.0, 0.0, 0.7, 2.0)),
    *({"samplers": ["xtc"], "xtc_probability": p, "xtc_threshold": t} for p, t in ((0.5, 0.1), (1.0, 0.02), (0.3, 0.45), (0.9, 0.6))),
    *({"samplers": ["penalties"], **PENALTIES, "repeat_last_n": n} for n in (0, 1, 16, 64, 2**20)),
    {"samplers": ["penalties"], "repeat_penalty": 0.8, "repeat_last_n": 20},
    {"samplers": ["dry"], "dry_multiplier": 0.8, "dry_penalty_last_n": 2**20},
    {"samplers": ["dry"], "dry_multiplier": 0.5, "dry_base": 1.2, "dry_allowed_length": 1, "dry_penalty_last_n": 12},
    {"samplers": ["dry"], "dry_multiplier": 1.0, "dry_allowed_length": 4},
    {"samplers": ["dry"], "dry_multiplier": 1.0, "dry_penalty_last_n": 0},
    {"samplers": [], "logit_bias": {3: 2.5, 7: -100.0, 11: False}},
]


@pytest.mark.parametrize("given", ALONE, ids=str)
def test_every_sampler_alone(given: dict[str, Any]) -> None:
    assert_same(given, seed=len(str(given)), count=60)


ANY = {**PENALTIES, "repeat_last_n": 24, "dry_multiplier": 0.6, "dry_penalty_last_n": 30, "top_n_sigma": 1.3, "top_k": 20, "typical_p": 0.9, "top_p": 0.85}
ANY |= {"min_p": 0.03, "xtc_probability": 0.4, "xtc_threshold": 0.08, "temperature": 1.3}


@pytest.mark.parametrize("seed", range(60))
def test_chains_in_any_order(seed: int) -> None:
    rng = np.random.default_rng(seed)
    names = ["penalties", "dry", "top_n_sigma", "top_k", "typ_p", "top_p", "min_p", "xtc", "temperature"]
    given: dict[str, Any] = {**ANY, "samplers": rng.permutation(names)[: int(rng.integers(2, 10))].tolist()}
    if seed % 3 == 0:
        given["logit_bias"] = {2: 1.5, 5: False, 9: -2.0}
    if behind_forbidden(given, "typ_p"):
        given["samplers"].remove("typ_p")  # see below
    assert_same(given, seed, count=25)


def behind_forbidden(given: dict[str, Any], name: str) -> bool:
    """Whether a sampler stands where its list may still hold forbidden tokens."""
    there = False in (given.get("logit_bias") or {}).values()
    for each in given["samplers"]:
        if each == name:
            return there
        there = (there or each == "top_n_sigma") and each not in ("top_p", "min_p")
    return False


def test_the_difference_of_typical_p() -> None:
    """Elsewhere: a token of probability 0 in the list makes the entropy NaN, and what is kept is then anything."""
    for given, recipe in (({"logit_bias": {0: False}}, "ban_tokens=[0] typical_p=0.2"), ({"top_n_sigma": 1.0}, "top_n_sigma=1 typical_p=0.2")):
        given |= {"samplers": ["top_n_sigma", "typ_p"], "typical_p": 0.2}
        assert find("llama.cpp").read(given).recipe == Recipe(recipe)
        apart = [distance(theirs(given, z, []), np.asarray(Recipe(recipe).distribution(z.astype(np.float64)).probs)) for z, _, _ in rows(4, 40)]
        assert np.mean(np.array(apart) > 0.005) > 0.25
        assert export(find("llama.cpp"), Recipe(recipe)).verdict == Verdict.APPROXIMATE
    assert "makes the entropy NaN" in find_method("typical_p").doc


@pytest.mark.parametrize("before", [{"logit_bias": {0: False}}, {"top_n_sigma": 1.0}], ids=str)
def test_the_difference_of_dynamic_temperature(before: dict[str, Any]) -> None:
    """Elsewhere: n counts tokens that have been forbidden, so the same entropy is a smaller share of ln n."""
    given = {"samplers": ["top_n_sigma", "temperature"], "temperature": 1.0, "dynatemp_range": 0.9, **before}
    recipe = find("llama.cpp").read(given).recipe
    apart = [distance(theirs(given, z, []), np.asarray(recipe.distribution(z.astype(np.float64)).probs)) for z, _, _ in rows(4, 40)]
    assert np.mean(np.array(apart) > 1e-4) > 0.5
    assert export(find("llama.cpp"), recipe).verdict == Verdict.APPROXIMATE
    assert "n there counts" in find_method("dynamic_temperature").doc


def test_what_it_does_when_nobody_asked() -> None:
    assert_same({}, seed=1, count=500)


def test_the_difference_of_mirostat() -> None:
    """Elsewhere: a forbidden token is one of those that the power law is fitted to."""
    given = {"mirostat": 1, "mirostat_tau": 3.0, "temperature": 1.0, "logit_bias": {5: False}}
    recipe = find("llama.cpp").read(given).recipe
    apart: list[float] = []
    for z, _, _ in rows(4, 40):
        sampler = chain(given)
        apart.append(distance(apply(sampler, z)[0], np.asarray(recipe.distribution(z.astype(np.float64)).probs)))
        L.llama_sampler_free(sampler)
    assert np.mean(np.array(apart) > 1e-3) > 0.5
    assert export(find("llama.cpp"), recipe).verdict == Verdict.APPROXIMATE
    assert "power law of llama.cpp" in find_method("mirostat").doc


def test_the_difference_of_mirostat_on_flat_rows() -> None:
    """Elsewhere: its k does not fit in 32 bits, and one token stays where all should."""
    given = {"mirostat": 1, "mirostat_tau": 3.0, "temperature": 1.0}
    recipe = find("llama.cpp").read(given).recipe
    row = np.linspace(0, 0.01, WIDTH).astype(np.float32)
    assert (apply(chain(given), row)[0] > 0).sum() == 1
    assert (recipe.distribution(row).probs > 0).sum() == WIDTH
    assert export(find("llama.cpp"), recipe).verdict == Verdict.APPROXIMATE
    assert "above 2^31" in find_method("mirostat").doc


@pytest.mark.parametrize("given", [{"top_p": 0.9}, {"min_p": 0.01}], ids=str)
def test_dynamic_temperature_behind_a_truncation_that_drops_what_was_forbidden(given: dict[str, Any]) -> None:
    heat = {"temperature": 1.2, "dynatemp_range": 0.8, "logit_bias": {1: False}, "top_n_sigma": 1.0}
    assert_same({**heat, **given, "samplers": ["top_n_sigma", *given, "temperature"]}, seed=3, count=100)


def test_a_recipe_that_is_exact_is_exact_there() -> None:
    """From a recipe to their samplers, without reading back."""
    penalties = "repetition_penalty(1.2, window=24) frequency_penalty(0.3, scope=all, window=24)"
    text = f"{penalties} min_p=0.02 temperature=1.4 xtc(0.5, threshold=0.1) top_k=12 top_p=0.9"
    found = export(find("llama.cpp"), Recipe(text))
    assert found.verdict.faithful
    assert found.parameters["samplers"] == ["penalties", "min_p", "temperature", "xtc", "top_k", "top_p"]
    for z, p, g in rows(5, 200):
        assert distance(theirs(found.parameters, z, p + g), np.asarray(Recipe(text).distribution(z.astype(np.float64), p, g).probs)) < ROUNDING


TOKENS = ["a", "b", ":", "\n", "c:", "d", "e", *"ghijklmnopqrstuvwxyzABCDEFGHIJKLM"]
WORDS = Vocabulary([each.encode() for each in TOKENS], encode=lambda text: [TOKENS.index(letter) for letter in text])


@pytest.fixture
def vocabulary(tmp_path: Path) -> Iterator[Any]:
    """A vocabulary of theirs, from a model file that holds nothing else."""

    def text(value: str) -> bytes:
        return struct.pack("<Q", len(value.encode())) + value.encode()

    def array(kind: int, items: list[bytes]) -> bytes:
        return struct.pack("<IQ", kind, len(items)) + b"".join(items)

    string, integer, of = 8, 5, 9
    fields = {
        "general.architecture": (string, text("llama")),
        "tokenizer.ggml.model": (string, text("gpt2")),
        "tokenizer.ggml.pre": (string, text("gpt-2")),
        "tokenizer.ggml.tokens": (of, array(string, [text(each.replace("\n", "\u010a")) for each in TOKENS])),
        "tokenizer.ggml.token_type": (of, array(integer, [struct.pack("<i", 1)] * len(TOKENS))),
        "tokenizer.ggml.merges": (of, array(string, [text("c :")])),
    }
    body = b"".join(text(name) + struct.pack("<I", kind) + value for name, (kind, value) in fields.items())
    (tmp_path / "words.gguf").write_bytes(b"GGUF" + struct.pack("<IQQ", 3, 0, len(fields)) + body)
    L.llama_backend_init()
    asked = L.llama_model_default_params()
    asked.vocab_only = True
    model = L.llama_model_load_from_file(str(tmp_path / "words.gguf").encode(), asked)
    yield L.llama_model_get_vocab(model)
    L.llama_model_free(model)


@pytest.mark.parametrize("breakers", [[":"], ["\n", "b"], ["\n", ":", "e"]], ids=str)
def test_dry_does_not_reach_across_breakers(vocabulary: Any, breakers: list[str]) -> None:
    """A breaker of one letter is every token that holds it: `:` is in `c:` too."""
    given = {"samplers": ["dry"], "dry_multiplier": 0.8, "dry_allowed_length": 1, "dry_sequence_breakers": breakers}
    assert_same(given, seed=2, count=200, bind=WORDS, vocabulary=vocabulary)
    apart = [distance(theirs(given, z, p + g, vocabulary), theirs(given, z, p + g)) for z, p, g in rows(2, 200)]
    assert np.mean(np.array(apart) > 1e-3) > 0.2, "the breakers change nothing, so nothing was tested"


CHOOSERS = [
    {"samplers": ["top_k", "adaptive_p"], "top_k": 15, "adaptive_target": 0.3, "adaptive_decay": 0.8},
    {"samplers": ["adaptive_p", "min_p"], "min_p": 0.02, "adaptive_target": 0.7, "adaptive_decay": 0.0},
    {"samplers": ["adaptive_p"], "adaptive_target": -1.0},
    {"samplers": ["top_n_sigma", "adaptive_p"], "top_n_sigma": 1.0, "adaptive_target": 0.3, "logit_bias": {3: 1.0, 5: False}},
    {"mirostat": 2, "mirostat_tau": 2.0, "mirostat_eta": 0.3, "temperature": 1.2},
    {"mirostat": 2, "mirostat_tau": 4.0, "temperature": 0.7, "logit_bias": {3: 1.0, 5: False}},
    {"mirostat": 1, "mirostat_tau": 3.0, "temperature": 1.0},
    {"mirostat": 1, "mirostat_tau": 1.5, "mirostat_eta": 0.5, "temperature": 0.8},
]


@pytest.mark.parametrize("given", CHOOSERS, ids=str)
def test_choosers_that_remember(given: dict[str, Any]) -> None:
    """Texts of eight tokens, the tokens being theirs: every law on the way, so what is carried too."""
    recipe = find("llama.cpp").read(given).recipe
    rng = np.random.default_rng(7)
    apart: list[float] = []
    for _ in range(60):
        sampler, state = chain(given), recipe.init()
        for _ in range(8):
            z = (rng.standard_normal(WIDTH) * rng.choice([1.0, 2.5, 5.0])).astype(np.float32)
            law, token = apply(sampler, z)
            row = z.astype(np.float64)
            apart.append(distance(law, np.asarray(recipe.distribution(row, state=state).probs)))
            token = token if token >= 0 else int(law.argmax())
            L.llama_sampler_accept(sampler, token)
            state = recipe.advance(state, token, row)
        L.llama_sampler_free(sampler)
    odd = sum(each > 2e-4 for each in apart)  # what is carried is float32 there: eight roundings
    assert odd <= 1, f"{recipe}: {odd} of {len(apart)} rows differ, by up to {max(apart):.2g}"
