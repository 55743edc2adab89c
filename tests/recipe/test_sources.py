"""Settings as people have them: whose they are, and what they say. Nothing in them is run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ulam.core.errors import RecipeError, UlamError, UsageError
from ulam.recipe import Recipe
from ulam.recipe.dialects import find
from ulam.recipe.sources import Source, from_flags, from_modelfile, read_source


@pytest.mark.parametrize(
    ("text", "engine", "parameters"),
    [
        ("SamplingParams(temperature=0.7, top_p=0.9, stop=['a', \"b\"])", "vllm", {"temperature": 0.7, "top_p": 0.9, "stop": ["a", "b"]}),
        ("params = vllm.SamplingParams(\n  temperature=0.7,\n  logit_bias={3: -100},\n)", "vllm", {"temperature": 0.7, "logit_bias": {3: -100}}),
        ("GenerationConfig(do_sample=True, top_k=5)", "transformers", {"do_sample": True, "top_k": 5}),
        ("model.generate(**{}, do_sample=True)", None, "**{} is not spelled out"),
        ("model.generate(ids, do_sample=True)", "transformers", {"do_sample": True}),
        ('{"messages": [], "temperature": 0.2}', "openai", {"messages": [], "temperature": 0.2}),
        ('{"do_sample": true, "transformers_version": "5.0"}', "transformers", {"do_sample": True, "transformers_version": "5.0"}),
        ('{"model": "m", "options": {"top_k": 3}}', "ollama", {"model": "m", "top_k": 3}),
        ('FROM llama3\nPARAMETER temperature 0.7\nPARAMETER stop "<|end|>"\nPARAMETER stop b', "ollama", {"temperature": 0.7, "stop": ["<|end|>", "b"]}),
    ],
)
def test_whose_settings_and_what_they_say(text: str, engine: str | None, parameters: Any) -> None:
    if engine is None:
        with pytest.raises(UsageError) as refused:
            read_source(text)
        assert parameters in str(refused.value)
        return
    source = read_source(text)
    assert (source.engine, dict(source.parameters), source.recipe) == (engine, parameters, None)


@pytest.mark.parametrize("text", ["temperature=0.8 top_p=0.95", "min_p=0.1 greedy", "logit_bias({3: 4})", "dry(0.8, base=2)"])
def test_a_recipe_is_a_recipe(text: str) -> None:
    assert read_source(text).recipe == Recipe(text)


def test_files(tmp_path: Path) -> None:
    def written(name: str, content: str) -> str:
        (tmp_path / name).write_text(content)
        return str(tmp_path / name)

    recipe = Recipe("top_p=0.9 temperature=2")
    assert read_source(written("a.toml", recipe.to_toml())).recipe == recipe
    assert read_source(written("a.json", recipe.to_json())).recipe == recipe
    assert read_source(written("generation_config.json", '{"top_k": 20}')).engine == "transformers"
    assert read_source(written("Modelfile", "FROM x\nPARAMETER top_k 3\n")).parameters == {"top_k": 3}
    assert read_source(written("call.py", "SamplingParams(top_k=3)\n")).engine == "vllm"
    assert read_source(written("body.json", '{"top_k": 3}'), "sglang").engine == "sglang"
    preset = read_source(written("preset.yaml", "temperature: 0.7\ntop_k: 40\nmirostat_mode: 0\ncustom: true\n"))
    assert preset.engine == "text-generation-webui"
    assert preset.parameters == {"temperature": 0.7, "top_k": 40, "mirostat_mode": 0, "custom": True}


@pytest.mark.parametrize(
    ("text", "engine", "told"),
    [
        ('{"top_k": 3}', None, "cannot be seen"),
        ('{"top_k": ', None, "not JSON"),
        ("[1]", "vllm", "no settings of vllm"),
        ("SamplingParams(0.7)", None, "no names"),
        ("SamplingParams(temperature=TEMP)", None, "temperature=TEMP is no plain value"),
        ("SamplingParams(temperature=__import__('os').getcwd())", None, "is no plain value"),
        ("SamplingParams(temperature=)", None, "not Python"),
        ("SamplingParams(a=1); SamplingParams(a=2)", None, "not"),
        ("FROM a\nPARAMETER temperature", None, "has no value"),
    ],
)
def test_what_cannot_be_read_is_told_in_one_line(text: str, engine: str | None, told: str) -> None:
    with pytest.raises(UsageError) as refused:
        read_source(text, engine)
    assert told in refused.value.what
    assert "\n" not in refused.value.what
    assert refused.value.fix


def test_broken_files_are_named(tmp_path: Path) -> None:
    (tmp_path / "generation_config.json").write_text("{")
    (tmp_path / "preset.yaml").write_text("a: [")
    (tmp_path / "list.yaml").write_text("- a")
    (tmp_path / "binary.json").write_bytes(b"\xff\xfe{")
    for name in ("generation_config.json", "preset.yaml", "list.yaml", "binary.json"):
        with pytest.raises(UsageError, match=name):
            read_source(str(tmp_path / name))


@pytest.mark.parametrize("letters", ["(", "{", "["])
def test_brackets_without_end_are_an_error_and_no_crash(letters: str) -> None:
    for text in (letters * 5000, f"SamplingParams(a={letters * 5000})", json.dumps({"messages": 1})[:-1] + ', "a": ' + "[" * 100_000):
        with pytest.raises(UlamError):
            read_source(text)


def test_flags_of_llama_cpp_by_every_name() -> None:
    line = r"-m x.gguf --temp 0.7 --top-k=20 --min-p 0.1 --repeat-penalty 1.1 -ngl 99 -c 4096 -l 15043+1 --logit-bias 7-2.5 -p 'a b' --ignore-eos"
    found, beside = from_flags(line)
    assert beside == {"-m": "x.gguf", "-ngl": "99", "-c": "4096", "-p": "a b"}
    assert found == {"temperature": 0.7, "top_k": 20, "min_p": 0.1, "repeat_penalty": 1.1, "logit_bias": {15043: 1.0, 7: -2.5}, "ignore_eos": True}
    assert find("llama.cpp").read(found).recipe.stages
    with pytest.raises(UsageError, match="needs a value"):
        from_flags("--temp")
    with pytest.raises(UsageError, match="is not TOKEN"):
        from_flags("-l hello")


def test_a_modelfile_in_any_case_of_letters() -> None:
    text = 'from x\nparameter top_p 0.9\nSYSTEM """PARAMETER x"""\n'
    assert from_modelfile(text) == ({"top_p": 0.9}, {"FROM": "x", "SYSTEM": "PARAMETER x"})
    assert read_source(text).engine == "ollama"


def test_a_recipe_with_a_wrong_name_keeps_its_error() -> None:
    with pytest.raises(RecipeError, match="Did you mean top_p"):
        read_source("topp=0.9")


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("llama-cli --temp=0.7 -s 1", {"temperature": 0.7, "seed": 1}),
        ("./build/bin/llama-server -m x \\\n  --min_p 0.1 \\\n  --top-k 5\n", {"min_p": 0.1, "top_k": 5}),
        ("C:\\llama\\llama-cli.exe --temp 0.5 ^\n --top-k 5", {"temperature": 0.5, "top_k": 5}),
        ("$ CUDA_VISIBLE_DEVICES=0 ./main --temp 0.4", {"temperature": 0.4}),
        ("llama-cli -p '--temp 0.9' --temp 0.1", {"temperature": 0.1}),
        ("llama-cli -p --temp --top-k 5", {"top_k": 5}),
        ("llama-cli --logit-bias 7+1 -l 7+2 -l 5-inf", {"logit_bias": {7: 3.0, 5: float("-inf")}}),
        ("--sampling-seq kt --dry-sequence-breaker none", {"samplers": ["kt"], "dry_sequence_breakers": []}),
    ],
)
def test_command_lines_of_llama_cpp(line: str, found: dict[str, Any]) -> None:
    assert read_source(line) == Source("llama.cpp", found, beside=read_source(line).beside)


def test_other_flags_are_listed_and_misspelt_ones_refused() -> None:
    source = read_source("llama-cli -ngl 99 --jinja -p 'a b' --flash-attn on --main-gpu 1 --temp 0.5 -sm row")
    assert source.beside == {"-ngl": "99", "--jinja": True, "-p": "a b", "--flash-attn": "on", "--main-gpu": "1", "-sm": "row"}
    for line, near in (("--tmep 0.7", "--temp"), ("llama-cli --repeat-penaltyy 2", "--repeat-penalty"), ("llama-cli -temp 1", "--temp")):
        with pytest.raises(UsageError, match=f"Did you mean {near}"):
            read_source(line)
    with pytest.raises(UsageError, match="tail_free"):
        find("llama.cpp").read(read_source("llama-cli --tfs 0.5").parameters)


@pytest.mark.parametrize("name", ["mainly=3", "main_thing", "-0.5", "--"])
def test_what_is_no_command_line(name: str) -> None:
    with pytest.raises(RecipeError):
        read_source(name)


def test_a_text_of_a_modelfile_may_hold_anything() -> None:
    text = """# PARAMETER temperature 3
FROM llama3.2
PARAMETER temperature 0.7
TEMPLATE \"\"\"{{ .System }}
PARAMETER top_k 3
\"\"\"
SYSTEM \"\"\"
PARAMETER temperature 9\"\"\"
PARAMETER stop "<|end|>"
"""
    source = read_source(text)
    assert source.parameters == {"temperature": 0.7, "stop": ["<|end|>"]}
    assert source.beside["SYSTEM"] == "\nPARAMETER temperature 9"
    for wrong, told in (("FROM x\nTEMPRATURE 3", "Did you mean TEMPLATE"), ('FROM x\nSYSTEM """a', "no closing")):
        with pytest.raises(UsageError, match=told):
            read_source(wrong)


@pytest.mark.parametrize(
    ("text", "engine", "parameters"),
    [
        ("from vllm import SamplingParams\n\nparams = SamplingParams(top_k=3)  # few\n", "vllm", {"top_k": 3}),
        ("make_sampler(temp=0.7)", "mlx-lm", {"temp": 0.7}),
        ('client.chat.completions.create(model="m", temperature=0.5, extra_body={"seed": 3})', "openai", {"model": "m", "temperature": 0.5, "seed": 3}),
        ("ExLlamaV2Sampler.Settings(top_k=3)", "exllamav2", {"top_k": 3}),
        ("generate(ids, top_k=3)", "transformers", {"top_k": 3}),
        (r"SamplingParams(stop=['\d'])", "vllm", {"stop": [r"\d"]}),
        ('{"text": "x", "sampling_params": {"top_k": 3}}', "sglang", {"text": "x", "top_k": 3}),
        ('\ufeff{"messages": []}', "openai", {"messages": []}),
    ],
)
def test_calls_and_bodies(text: str, engine: str, parameters: dict[str, Any]) -> None:
    assert read_source(text) == Source(engine, parameters)
    find(engine).read(parameters)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('{"messages": [], "top_p": NaN}', "NaN is no number"),
        ('{"messages": [], "top_p": 1, "top_p": 0.5}', "top_p is given twice"),
        ("SamplingParams(top_p=1, top_p=0.5)", "top_p is given twice"),
        ('{"options": {"seed": 1}, "temperature": 0.9}', "stands beside options"),
        ('{"temp": 1, "rep_pen": 1, "genamt": 3}', "SillyTavern"),
        ("missing.json", "there is no file missing.json"),
        ("/nowhere/generation_config.json", "there is no file"),
        ("sampler.make(temp=0.7)", "cannot be seen"),
        ("docker run llama.cpp:server --temp 0.4", "begin with the program"),
    ],
)
def test_more_that_cannot_be_read(text: str, told: str) -> None:
    with pytest.raises(UsageError) as refused:
        read_source(text)
    assert told in str(refused.value)


def test_yaml_with_values_that_python_refuses(tmp_path: Path) -> None:
    for content in ("temperature: " + "9" * 5000, "temperature: 2020-99-99"):
        (tmp_path / "preset.yaml").write_text(content)
        with pytest.raises(UsageError, match="not YAML"):
            read_source(str(tmp_path / "preset.yaml"))
