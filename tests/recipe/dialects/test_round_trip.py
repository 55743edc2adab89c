"""Every dialect there and back: what is called exact gives the same law when the engine's parameters are read again."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ulam.core.errors import Inexact, UlamError
from ulam.recipe import Recipe
from ulam.recipe.dialects import Verdict, engines, export, find

from ..strategies import recipes
from .laws import WIDTH, distance

USUAL = st.lists(
    st.sampled_from(
        [
            *(
                "temperature=0.7",
                "temperature=1.4",
                "temperature=0",
                "top_k=5",
                "top_k=1",
                "top_p=0.8",
                "top_p=0",
                "min_p=0.1",
                "typical_p=0.7",
                "tail_free=0.8",
            ),
            *("top_a=0.3", "top_n_sigma=1.5", "epsilon_cutoff=0.02", "eta_cutoff=0.02", "top_h=0.7", "smoothing=0.3", "skew=0.4", "xtc(0.5, threshold=0.2)"),
            *("dynamic_temperature(0.5, 1.5)", "repetition_penalty=1.2", "repetition_penalty(1.2, window=3)", "repetition_penalty(1.2, scope=generated)"),
            *("presence_penalty=0.5", "presence_penalty(0.5, scope=all)", "frequency_penalty=0.4", "frequency_penalty(0.4, scope=all, window=3)"),
            *("dry(0.8, breakers=[])", "logit_bias={1: 2.5, 4: -3}", "ban_tokens=[2]", "allow_tokens=[0, 1, 2, 3, 5]", "min_tokens=2", "no_repeat_ngram=2"),
            *("ban_words=[[1, 2]]", "suppress_at_start=[1]", "sequence_bias={[5, 6]: 2}", "length_decay(1.2, 1)"),
        ]
    ),
    min_size=1,
    max_size=5,
)
ENDS = st.sampled_from(["", "", "", " greedy", " mirostat_v2=4", " adaptive_p=0.5"])
TOKENS = st.integers(0, WIDTH - 1)


def assert_honest(engine: str, recipe: Recipe) -> None:
    found = export(find(engine), recipe)
    assert len(found.stages) >= len(recipe.transforms)
    if not found.verdict.faithful:
        with pytest.raises(Inexact) as refused:
            recipe.to(engine)
        assert refused.value.exit_code == 6
        assert refused.value.export.parameters == found.parameters
        return
    back = find(engine).read(found.parameters).recipe
    assert distance(recipe, back) < 1e-9, f"{engine}: {recipe} became {found.parameters}, which is {back}"
    again = export(find(engine), back)
    assert again.verdict.faithful
    assert distance(back, find(engine).read(again.parameters).recipe) < 1e-9


@pytest.mark.parametrize("engine", list(engines()))
@settings(derandomize=True, deadline=None, max_examples=150)
@given(stages=USUAL, end=ENDS)
def test_usual_recipes(engine: str, stages: list[str], end: str) -> None:
    assert_honest(engine, Recipe(" ".join(stages) + end))


@pytest.mark.parametrize("engine", list(engines()))
@settings(derandomize=True, deadline=None, max_examples=60)
@given(recipe=recipes(TOKENS))
def test_any_recipe(engine: str, recipe: Recipe) -> None:
    assert_honest(engine, recipe)


@pytest.mark.parametrize("engine", list(engines()))
@settings(derandomize=True, deadline=None, max_examples=60)
@given(stages=USUAL, more=USUAL)
def test_a_verdict_does_not_improve_when_a_stage_is_added(engine: str, stages: list[str], more: list[str]) -> None:
    """But for one that leaves a single token, which makes order and truncation immaterial, and one that joins its neighbour, or a cut of the engine."""
    single = ("temperature=0", "top_k=1", "top_p=0", *(["top_k=5"] if engine == "koboldcpp" else []))
    added = [each for each in more[:1] if each not in single and each.split("=")[0] not in {stage.split("=")[0] for stage in stages}]
    before, after = (find_verdict(engine, [*stages, *tail]) for tail in ([], added))
    assert after >= before


def find_verdict(engine: str, stages: list[str]) -> Verdict:
    return export(find(engine), Recipe(" ".join(stages))).verdict


@pytest.mark.parametrize("engine", list(engines()))
def test_the_defaults_are_a_recipe_that_the_engine_can_do(engine: str) -> None:
    reading = find(engine).read({})
    assert distance(reading.recipe, find(engine).read(export(find(engine), reading.recipe).parameters).recipe) < 1e-9
    assert reading.written == Recipe() or reading.hidden == ()


@pytest.mark.parametrize("engine", list(engines()))
def test_the_empty_recipe_switches_every_default_off(engine: str) -> None:
    found = Recipe("").to(engine, strict=False)
    assert find(engine).read(found.parameters).recipe == Recipe()


@pytest.mark.parametrize(
    ("engine", "defaults"),
    [
        ("transformers", "greedy"),
        ("vllm", "categorical"),
        ("llama.cpp", "top_k=40 top_p=0.95 min_p=0.05 temperature=0.8"),
        ("koboldcpp", "top_k=100 top_p=0.9 temperature=0.7"),
        ("ollama", "top_k=40 top_p=0.9 temperature=0.8"),
        ("ollama-mlx", "top_k=40 temperature=0.8 top_p=0.9"),
        ("sglang", "categorical"),
        ("mlx-lm", "greedy"),
        ("exllamav2", "repetition_penalty=1.025 temperature=0.8 top_k=50 top_p=0.8"),
        ("exllamav3", "categorical"),
        ("text-generation-webui", "categorical"),
        ("openai", "categorical"),
    ],
)
def test_hidden_defaults_become_stages(engine: str, defaults: str) -> None:
    reading = find(engine).read({})
    assert str(reading.recipe) == defaults
    assert len(reading.hidden) == len(reading.recipe.stages)


ODD = [True, -1, 0, 0.5, 1e9, float("inf"), float("nan"), "x", "", [], [1, "a"], {}, {"a": 1}, {1: "b"}, [[1]], 10**30]


def refusal(engine: str, parameters: dict[str, object]) -> str:
    """What is said of parameters that cannot be read; nothing of others."""
    try:
        find(engine).read(parameters)
    except UlamError as error:
        return error.what
    return ""


@pytest.mark.parametrize("engine", list(engines()))
def test_any_value_is_read_or_refused_in_one_line(engine: str) -> None:
    """By no other error than those of the project, which name the engine."""
    dialect = find(engine)
    for name in [*dialect.defaults, *dialect.refused, *dialect.aliases]:
        for value in ODD:
            for key, other in (("do_sample", True), ("temperature", 0.7)):
                more = {key: other} if key in dialect.defaults and key != name else {}
                told = refusal(engine, {**more, name: value})
                assert told == "" or told.startswith(engine)
                assert "\n" not in told
