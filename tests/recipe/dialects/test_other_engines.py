"""SGLang, mlx-lm, exllamav2, exllamav3, text-generation-webui and OpenAI: names, orders, edges and verdicts, worked out by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from ulam.core.errors import OutOfRange, UlamError, UnknownParameter, Unsupported
from ulam.recipe import Recipe
from ulam.recipe.dialects import Verdict, export, find

from .laws import LETTERS, rows

Row = NDArray[np.float64]
WORKED = (0.30, 0.20, 0.15, 0.10, 0.08, 0.06, 0.05, 0.03, 0.02, 0.01)
ALL_FOUR = {"temperature": 1.6, "top_k": 5, "top_p": 0.75, "min_p": 0.25}
FOUR_KEPT = (0.34155, 0.265092, 0.221467, 0.171891)

EXACT, NEUTRAL, REORDERED, APPROXIMATE, UNSUPPORTED = Verdict
WEBUI, MLX, E2, E3, SG, OA = "text-generation-webui", "mlx-lm", "exllamav2", "exllamav3", "sglang", "openai"


def softmax(z: Row) -> Row:
    weights = np.exp(z - z.max())
    return weights / weights.sum()


def kept(recipe: Recipe, p: tuple[float, ...]) -> list[float]:
    probs = np.asarray(recipe.distribution(np.log(p)).probs)
    return probs[probs > 0].tolist()


@pytest.mark.parametrize(
    ("engine", "more", "wanted"),
    [
        (MLX, {}, FOUR_KEPT),
        (WEBUI, {}, FOUR_KEPT),
        (E3, {}, FOUR_KEPT),
        (E2, {"token_repetition_penalty": 1.0}, FOUR_KEPT),
        # temperature first, then top_p keeps six of ten, top_k five of them, min_p all of these
        (SG, {}, (0.297125, 0.230612, 0.192662, 0.149533, 0.130068)),
        # without a temperature before them, three: the order of llama.cpp
        (WEBUI, {"temperature_last": True}, (0.412445, 0.320117, 0.267438)),
        (E2, {"token_repetition_penalty": 1.0, "temperature_last": True}, (0.412445, 0.320117, 0.267438)),
        (WEBUI, {"sampler_priority": "top_p\nmin_p\ntop_k\ntemperature"}, FOUR_KEPT),
    ],
)
def test_the_order_on_the_worked_row(engine: str, more: dict[str, Any], wanted: tuple[float, ...]) -> None:
    recipe = find(engine).read({**ALL_FOUR, **more}).recipe
    assert kept(recipe, WORKED) == pytest.approx(wanted, abs=1e-6)


def sglang(z: Row, T: float, k: int, p: float, a: float) -> Row:
    """Its pytorch backend: three sets of one sorted row."""
    probs = softmax(z / T)
    order = np.argsort(-probs)
    ranked = probs[order]
    stays = (np.cumsum(ranked) - ranked <= p) & (np.arange(len(z)) < (k if k > 0 else len(z))) & (ranked >= a * ranked[0])
    out = np.zeros_like(probs)
    out[order[stays]] = ranked[stays]
    return out / out.sum()


def mlx(z: Row, T: float, k: int, p: float, a: float) -> Row:
    """Its sampler: sums from the tail, min_p against what is left, then the k largest, then the temperature."""
    log_probs = np.log(softmax(z))
    if 0 < p < 1:
        order = np.argsort(log_probs)
        low = order[np.cumsum(np.exp(log_probs[order])) <= 1 - p]
        log_probs[low] = -np.inf
    if a > 0:
        log_probs[log_probs < log_probs.max() + np.log(a)] = -np.inf
    if k > 0:
        log_probs[np.argsort(-log_probs, kind="stable")[k:]] = -np.inf
    return softmax(log_probs / T)


@pytest.mark.parametrize(("engine", "theirs"), [(SG, sglang), (MLX, mlx)])
def test_the_samplers_of_an_engine_written_once_more(engine: str, theirs: Any) -> None:
    rng = np.random.default_rng(5)
    for seed in range(40):
        T, k, p, a = (
            float(rng.uniform(0.3, 2)),
            int(rng.choice([-1 if engine == SG else 0, 2, 4, 7])),
            float(rng.uniform(0.3, 1)),
            float(rng.choice([0, 0.1, 0.4])),
        )
        recipe = find(engine).read({"temperature": T, "top_k": k, "top_p": p, "min_p": a}).recipe
        for row in rows(seed, 4):
            here, there = np.asarray(recipe.bind(LETTERS).distribution(row).probs), theirs(row, T, k, p, a)
            assert np.abs(here - there).max() < 1e-9


@pytest.mark.parametrize(
    ("engine", "parameters", "recipe", "said"),
    [
        (SG, {"temperature": 1e-7, "top_p": 0.9}, "greedy", ""),
        (SG, {"top_k": 1}, "greedy", ""),
        (SG, {"repetition_penalty": 1.2, "presence_penalty": 0.5}, "presence_penalty=0.5 repetition_penalty(1.2, scope=generated)", ""),
        (SG, {"logit_bias": {"7": 2}, "min_new_tokens": 4}, "min_tokens=4 logit_bias={7: 2}", ""),
        (SG, {"top_k": 5, "top_p": 0.9, "min_p": 0.1}, "top_p=0.9 top_k=5 min_p=0.1", "FlashInfer"),
        (MLX, {"temp": 0.7, "top_p": 1.0, "min_p": 0.1}, "min_p=0.1 temperature=0.7", ""),
        (MLX, {"top_p": 0.5, "top_k": 3, "repetition_penalty": 1.1}, "repetition_penalty(1.1, window=20) greedy", ""),
        (MLX, {"temp": 1, "frequency_penalty": 0.5, "frequency_context_size": 0}, "frequency_penalty(0.5, scope=all)", ""),
        (MLX, {"temp": 1, "repetition_penalty": 0.0}, "categorical", ""),
        (MLX, {"temp": 1, "xtc_probability": 0.5, "xtc_special_tokens": [3]}, "xtc(0.5, exempt=[3])", "special tokens"),
        (E2, {"top_k": 1}, "repetition_penalty=1.025 greedy", ""),
        (E2, {"temperature": 0.005, "token_repetition_penalty": 1}, "greedy", ""),
        (
            E2,
            {"token_repetition_penalty": 1, "token_presence_penalty": 0.3, "token_repetition_range": 64, "token_repetition_decay": 16, "top_p": 0, "top_k": 0},
            "presence_penalty(0.3, window=64, scope=all, fade=16) temperature=0.8",
            "",
        ),
        (E2, {"temperature": 1, "smoothing_factor": 0.3, "top_k": 0, "top_p": 0.9, "token_repetition_penalty": 1}, "smoothing=0.3 top_p=0.9", "crosses p"),
        (
            E2,
            {"mirostat": True, "mirostat_tau": 3, "top_k": 0, "top_p": 0, "token_repetition_penalty": 1},
            "temperature=0.8 mirostat_v2(3, observed=kept)",
            "",
        ),
        (
            E2,
            {"max_temp": 2, "min_temp": 0.5, "top_k": 9, "top_p": 0, "token_repetition_penalty": 1},
            "temperature=0.8 top_k=9 dynamic_temperature(0.5, 2)",
            "",
        ),
        (E3, {"rep_p": 1.2, "rep_sustain_range": 65}, "repetition_penalty(1.2, window=64)", ""),
        (E3, {"temperature": 0.8, "min_p": 0.1, "temp_last": True}, "min_p=0.1 temperature=0.8", ""),
        (E3, {"top_p": 0.9, "adaptive_target": 0.4}, "top_p=0.9 adaptive_p=0.4", "crosses p"),
        (E3, {"steps": [["SS_TopK", {"top_k": 9}], ["SS_Temperature", {"temperature": 0.5}], ["SS_Sample", {}]]}, "top_k=9 temperature=0.5", ""),
        (
            E3,
            {"steps": [["SS_PresFreqP", {"pres_p": 0.5, "freq_p": 0.25}], ["SS_Argmax", {}]]},
            "presence_penalty(0.5, scope=all) frequency_penalty(0.25, scope=all) greedy",
            "",
        ),
        (WEBUI, {"epsilon_cutoff": 3, "eta_cutoff": 6}, "epsilon_cutoff=3e-4 eta_cutoff=6e-4", ""),
        (WEBUI, {"repetition_penalty": 1.2, "repetition_penalty_range": 0}, "repetition_penalty=1.2", ""),
        (WEBUI, {"presence_penalty": 0.5}, "presence_penalty(0.5, window=1024, scope=all)", ""),
        (WEBUI, {"temperature": 0.7, "dynamic_temperature": True, "dynatemp_high": 2}, "temperature=0.7 dynamic_temperature(1, 2)", ""),
        (WEBUI, {"do_sample": False, "top_k": 1, "tfs": 0.9}, "tail_free=0.9 greedy", ""),
        (WEBUI, {"do_sample": False, "mirostat_mode": 2, "temperature": 0.5, "tfs": 0.9}, "tail_free=0.9 mirostat_v2(5, observed=kept)", ""),
        (WEBUI, {"mirostat_mode": 2, "xtc_probability": 0.5, "min_p": 0.1}, "min_p=0.1 mirostat_v2(5, observed=kept)", ""),
        (WEBUI, {"sampler_priority": ["top_p", "temperature"], "temperature": 0.5, "top_p": 0.9, "min_p": 0.1}, "min_p=0.1 top_p=0.9 temperature=0.5", ""),
        (WEBUI, {"custom_token_bans": "4, 2", "ban_eos_token": True}, "ban_tokens=[4, 2, end]", ""),
        (WEBUI, {"dry_multiplier": 0.8}, "dry(0.8, window=1024)", "last token of its text"),
        (OA, {"temperature": 0.7, "top_p": 0.9}, "temperature=0.7 top_p=0.9", "not published"),
        (OA, {"presence_penalty": 0.5}, "presence_penalty=0.5", "whether the prompt counts"),
        (OA, {"temperature": 0}, "greedy", ""),
    ],
)
def test_what_the_parameters_say(engine: str, parameters: dict[str, Any], recipe: str, said: str) -> None:
    reading = find(engine).read(parameters)
    here, wanted = reading.recipe.stages, Recipe(recipe).stages if recipe != "categorical" else ()
    assert [stage.name for stage in here] == [stage.name for stage in wanted]
    for a, b in zip(here, wanted, strict=True):
        assert {key: pytest.approx(value) if isinstance(value, float) else value for key, value in vars(b).items()} == vars(a)
    assert said in " ".join(reading.notes)
    assert bool(said) == any(not note.startswith("without effect") for note in reading.notes)


@pytest.mark.parametrize(
    ("engine", "parameters", "error", "told"),
    [
        (SG, {"top_kk": 5}, UnknownParameter, "top_k"),
        (SG, {"json_schema": "{}"}, Unsupported, "grammar"),
        (SG, {"top_k": 0.5}, OutOfRange, "whole"),
        (MLX, {"temp": 0.5, "temperature": 0.6}, UnknownParameter, "both given"),
        (MLX, {"min_tokens_to_keep": 3}, Unsupported, "min_p"),
        (E2, {"cfg_scale": 1.5}, Unsupported, "guidance"),
        (E2, {"mirostat": True, "skew": 0.5}, Unsupported, "mirostat"),
        (E3, {"steps": [["SS_TopK", {"top_k": 5}]]}, OutOfRange, "SS_Sample"),
        (E3, {"steps": []}, OutOfRange, "empty"),
        (E3, {"steps": ["SS_Sample"]}, OutOfRange, "pairs"),
        (E3, {"steps": [["SS_Sample", {}]], "min_p": 0.1}, Unsupported, "min_p"),
        (E3, {"steps": [["SS_TopK", {"k": 5}], ["SS_Sample", {}]]}, UnknownParameter, "SS_TopK"),
        (WEBUI, {"preset": "Creative"}, Unsupported, "what is in it"),
        (WEBUI, {"guidance_scale": 1.5}, Unsupported, "guidance"),
        (WEBUI, {"dry_multiplier": 1, "dry_sequence_breakers": '"a'}, OutOfRange, "list of texts"),
        (OA, {"response_format": {"type": "json_object"}}, Unsupported, "grammar"),
        (OA, {"top_k": 5}, UnknownParameter, "top_k"),
    ],
)
def test_what_is_refused(engine: str, parameters: dict[str, Any], error: type[UlamError], told: str) -> None:
    with pytest.raises(error) as refused:
        find(engine).read(parameters)
    assert told in f"{refused.value} {refused.value.fix}"


@pytest.mark.parametrize(
    ("engine", "recipe", "parameters"),
    [
        (SG, "temperature=0.7 top_k=20 min_p=0.05", {"temperature": 0.7, "top_k": 20, "min_p": 0.05, "top_p": 1.0, "repetition_penalty": 1.0}),
        (SG, "greedy", {"temperature": 0.0, "repetition_penalty": 1.0}),
        (SG, "top_p=0", {"temperature": 0.0, "repetition_penalty": 1.0}),
        (SG, "top_p=0.9 top_k=5", {"temperature": 1.0, "top_p": 0.9, "top_k": 5, "min_p": 0.0, "repetition_penalty": 1.0}),
        (MLX, "temperature=0.5 min_p=0.01", {"temp": 0.5, "min_p": 0.1}),  # 0.01 ^ 0.5
        (MLX, "top_p=0.9 top_k=5", {"temp": 1.0, "top_p": 0.9, "top_k": 5}),
        (MLX, "presence_penalty(0.5, window=9, scope=all)", {"temp": 1.0, "presence_penalty": 0.5, "presence_context_size": 9}),
        (MLX, "repetition_penalty=1.2 greedy", {"temp": 0.0, "repetition_penalty": 1.2, "repetition_context_size": 0}),
        (MLX, "xtc(0.5, threshold=0.6)", {"temp": 1.0, "xtc_probability": 0.0}),
        (E2, "categorical", {"temperature": 1.0, "top_k": 0, "top_p": 1.0, "token_repetition_penalty": 1.0}),
        (
            E2,
            "min_p=0.1 temperature=2",
            {"temperature": 2.0, "temperature_last": True, "top_k": 0, "top_p": 1.0, "min_p": 0.1, "token_repetition_penalty": 1.0},
        ),
        (E2, "top_k=20 skew=0.5", {"temperature": 1.0, "top_k": 20, "top_p": 1.0, "skew": 0.5, "token_repetition_penalty": 1.0}),
        (E2, "temperature=0", {"token_repetition_penalty": 1.0, "top_k": 1}),
        (E3, "repetition_penalty(1.2, window=64) min_p=0.1", {"min_p": 0.1, "rep_p": 1.2, "rep_sustain_range": 65, "rep_decay_range": 0}),
        (E3, "min_p=0.1 temperature=2", {"temperature": 2.0, "temp_last": True, "min_p": 0.1}),
        (
            E3,
            "top_k=9 ban_tokens=[3] min_p=0.1 xtc(0.5, exempt=[1])",
            {
                "steps": [
                    ["SS_TopK", {"top_k": 9}],
                    ["SS_BanTokens", {"token_ids": [3]}],
                    ["SS_MinP", {"min_p": 0.1}],
                    ["SS_XTC", {"probability": 0.5, "threshold": 0.1, "protected_token_ids": [1]}],
                    ["SS_Sample", {}],
                ]
            },
        ),
        (E3, "ban_tokens=[3] greedy", {"steps": [["SS_BanTokens", {"token_ids": [3]}], ["SS_Argmax", {}]]}),
        (WEBUI, "temperature=0.7 top_p=0.9 epsilon_cutoff=3e-4", {"temperature": 0.7, "top_p": 0.9, "epsilon_cutoff": 3.0}),
        (
            WEBUI,
            "tail_free=0.9 dynamic_temperature(0.5, 2)",
            {"tfs": 0.9, "dynamic_temperature": True, "dynatemp_low": 0.5, "dynatemp_high": 2.0, "dynatemp_exponent": 1},
        ),
        (WEBUI, "ban_tokens=[end, 3]", {"custom_token_bans": "3", "ban_eos_token": True}),
        (WEBUI, "repetition_penalty(1.25, scope=prompt)", {"encoder_repetition_penalty": 0.8}),
        (OA, "temperature=0.7", {"temperature": 0.7}),
        (OA, "logit_bias={3: -2}", {"logit_bias": {3: -2}}),
        (OA, "top_k=1", {"temperature": 0.0}),
    ],
)
def test_what_is_exact(engine: str, recipe: str, parameters: dict[str, Any]) -> None:
    found = Recipe(recipe).to(engine).parameters
    if "sampler_priority" in found:
        wanted = [stage.name for stage in Recipe(recipe).stages]
        assert found.pop("sampler_priority")[: len(wanted)] == [{"tail_free": "tfs"}.get(name, name) for name in wanted]
    assert found == {key: pytest.approx(value) if isinstance(value, float) else value for key, value in parameters.items()}


@pytest.mark.parametrize(
    ("engine", "recipe", "verdict", "told"),
    [
        (SG, "top_k=5 top_p=0.9", APPROXIMATE, "of one row"),
        (SG, "top_p=0.9 top_k=5 min_p=0.1", APPROXIMATE, "FlashInfer"),
        (SG, "top_p=0.9 min_p=0.1", EXACT, ""),
        (SG, "min_p=0.1 top_p=0.9", REORDERED, "top_p before min_p"),
        (SG, "repetition_penalty(1.2, scope=generated) presence_penalty=0.5", REORDERED, "presence_penalty before repetition_penalty"),
        (SG, "repetition_penalty=1.2", UNSUPPORTED, "the continuation only"),
        (SG, "repetition_penalty(2.5, scope=generated)", UNSUPPORTED, "(0, 2]"),
        (SG, "presence_penalty(0.5, window=9)", UNSUPPORTED, "no window"),
        (SG, "logit_bias={1: 3} presence_penalty=0.5", EXACT, ""),
        (SG, "typical_p=0.9", UNSUPPORTED, "no such stage"),
        (MLX, "top_k=5 top_p=0.9", REORDERED, "top_p before top_k"),
        (MLX, "temperature=0.7 top_p=0.9", REORDERED, "top_p before temperature"),
        (MLX, "temperature=0.7 top_k=9", EXACT, ""),
        (MLX, "presence_penalty=0.5", UNSUPPORTED, "prompt and continuation"),
        (MLX, "repetition_penalty=1.2", EXACT, "stream_generate"),
        (MLX, "xtc(0.5, exempt=[1])", APPROXIMATE, "special tokens"),
        (MLX, "xtc(0.5) greedy", UNSUPPORTED, "most likely token"),
        (E2, "top_p=0.9", APPROXIMATE, "crosses p"),
        (E2, "typical_p=0.9", APPROXIMATE, "p + ln p"),
        (E2, "min_p=0.1 top_k=5", EXACT, ""),
        (E2, "top_k=40 temperature=0.7 min_p=0.1 xtc=0.5", EXACT, ""),
        (E2, "xtc=0.5", APPROXIMATE, "sorted"),
        (E2, "top_k=40 xtc=0.5 skew=0.3", APPROXIMATE, "average"),
        (E2, "tail_free=0", UNSUPPORTED, "(0, 1)"),
        (E2, "mirostat_v2=3", UNSUPPORTED, "observed=kept"),
        (E2, "temperature=0.005", UNSUPPORTED, "0.01"),
        (E2, "temperature=0.8 tail_free=0.9 temperature=1.2", UNSUPPORTED, "taken"),
        (E2, "dry(0.8, breakers=[])", APPROXIMATE, "how often"),
        (E2, "ban_tokens=[2] dynamic_temperature(0.5, 2)", APPROXIMATE, "entropy"),
        (E3, "top_p=0.9", APPROXIMATE, "crosses p"),
        (E3, "top_p=0.9 greedy", NEUTRAL, "most likely"),
        (E3, "min_p=0.1 top_k=5 min_p=0.2", EXACT, ""),
        (E3, "presence_penalty(-0.5, scope=all)", UNSUPPORTED, "[0, inf)"),
        (E3, "repetition_penalty(1.2, window=9, fade=4)", APPROXIMATE, "mean"),
        (E3, "presence_penalty(0.5, window=9, fade=4, scope=all)", EXACT, ""),
        (E3, "dry(0.8, breakers=[3])", EXACT, ""),
        (E3, "dry(0.8, breakers=[[3, 4]])", UNSUPPORTED, "single tokens"),
        (E3, "top_k=9 xtc=0.5 temperature=0.7", APPROXIMATE, "average"),
        (E3, "adaptive_p=1", UNSUPPORTED, "off there"),
        (WEBUI, "top_k=5 min_p=0.1 temperature=0.7 top_p=0.9 top_a=0.1", EXACT, ""),
        (WEBUI, "top_n_sigma=1 temperature=0.7", EXACT, ""),
        (WEBUI, "top_k=5 top_n_sigma=1", APPROXIMATE, "forbidden"),
        (WEBUI, "ban_tokens=[2] tail_free=0.9", APPROXIMATE, "forbidden"),
        (WEBUI, "top_k=5 ban_tokens=[2]", REORDERED, "ban_tokens before top_k"),
        (WEBUI, "xtc=0.5", APPROXIMATE, "newline"),
        (WEBUI, "dry(0.8, breakers=[])", EXACT, ""),
        (WEBUI, "repetition_penalty(1.2, window=64) presence_penalty(0.5, scope=all)", UNSUPPORTED, "at once"),
        (WEBUI, "min_p=0.1 mirostat_v2(3, observed=kept)", EXACT, ""),
        (WEBUI, "mirostat=3", UNSUPPORTED, "no such stage"),
        (OA, "temperature=0.7 top_p=0.9", REORDERED, "not published"),
        (OA, "logit_bias={1: 2} temperature=0.7", REORDERED, "not published"),
        (OA, "logit_bias={1: 2} greedy", REORDERED, "not published"),
        (OA, "logit_bias={1: 200}", UNSUPPORTED, "100"),
        (OA, "temperature=2.5", UNSUPPORTED, "[0, 2]"),
        (OA, "presence_penalty=0.5", APPROXIMATE, "whether the prompt counts"),
        (OA, "top_k=5", UNSUPPORTED, "no such stage"),
    ],
)
def test_verdicts(engine: str, recipe: str, verdict: Verdict, told: str) -> None:
    found = export(find(engine), Recipe(recipe))
    assert found.verdict == verdict
    assert told in " ".join(each.note for each in found.stages)


def what_fits(ranked: list[float], p: float) -> list[float]:
    """top_p of exllamav2: down the sorted candidates, what still fits below p."""
    stays: list[float] = []
    for each in ranked:
        if not stays or sum(stays) + each <= p:
            stays.append(each)
    return stays


def what_is_below(ranked: list[float], p: float) -> list[float]:
    """top_p of exllamav3: those whose running sum is at most p, and the first."""
    return [each for i, each in enumerate(ranked) if i == 0 or sum(ranked[: i + 1]) <= p]


@pytest.mark.parametrize(("engine", "rule", "wanted"), [(E2, what_fits, [0.5, 0.15, 0.05]), (E3, what_is_below, [0.5])])
def test_why_their_top_p_is_approximate(engine: str, rule: Any, wanted: list[float]) -> None:
    """Of 0.5, 0.3, 0.15, 0.05 with p = 0.75 ours keeps the first two: the second crosses p."""
    ranked = [0.5, 0.3, 0.15, 0.05]
    assert rule(ranked, 0.75) == wanted
    assert kept(Recipe("top_p=0.75"), tuple(ranked)) == pytest.approx([0.625, 0.375])
    assert export(find(engine), Recipe("top_p=0.75")).verdict == APPROXIMATE


def test_the_notes_of_an_export() -> None:
    assert "reasoning models refuse" in " ".join(Recipe("temperature=0.7").to(OA).notes)
    assert "top_k=0 is written because its default is 50" in Recipe("").to(E2).notes
    assert "temp=1.0 is written because its default is 0.0" in Recipe("").to(MLX).notes
    assert "CustomSampler" in " ".join(Recipe("top_k=9 temperature=0.7").to(E3).notes)
