"""Errors: what, why, and something to paste, in at most four lines; an exit code; never a traceback."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

from ulam.core.errors import ModelError

from .conftest import Broken, Ulam


def errors(ulam: Ulam, *words: str, code: int = 2) -> list[str]:
    result = ulam(*words)
    assert result.code == code
    assert result.stdout == b""
    found = result.stderr.splitlines()
    assert found[0].startswith("error: ")
    assert len(found) <= 4
    assert "Traceback" not in result.stderr
    return found


def test_a_stage_near_a_known_one(ulam: Ulam) -> None:
    assert errors(ulam, "Once", "temperature=0.8", "topp=0.9") == [
        'error: unknown stage "topp" (stage 2). Did you mean top_p?',
        '  fix: ulam "Once" temperature=0.8 top_p=0.9',
    ]
    assert errors(ulam, "Once", "temperatur=0.8", "-n", "2")[1] == '  fix: ulam "Once" temperature=0.8 --samples 2'


@pytest.mark.parametrize(
    ("words", "fix"),
    [
        (["Once", "upon", "a", "time"], '"Once upon a time"'),
        (["Once", "upon", "a", "time,"], '"Once upon a time,"'),
        (["Once", "upon", "a", "time", "temperature=0.8"], '"Once upon a time" temperature=0.8'),
        (["Once", "upon", "a", "time", "--temp", "0.8", "-q"], '"Once upon a time" --quiet --temperature 0.8'),
        (["Once", "upon a time"], '"Once upon a time"'),
        (["A", "typical", "day"], '"A typical day"'),
        (["Give", "me", "$5"], "'Give me $5'"),
        (["-p", "Once", "upon", "a"], '--prompt "Once upon a"'),
        (["-1", "upon"], None),
    ],
)
def test_words_that_belong_to_the_prompt(ulam: Ulam, words: list[str], fix: str | None) -> None:
    if fix is None:
        words = ["--", *words]
        fix = '-p "-1 upon"'
    found = errors(ulam, *words)
    first = [word for word in words if word not in ("-p", "--")][1].split()[0]
    assert found == [
        f'error: unknown stage "{first}" (stage 1). Words after the prompt are stages; if they belong to the prompt, quote it.',
        f"  fix: ulam {fix}",
    ]


def test_a_single_word_near_a_stage_is_a_slip_of_the_stage(ulam: Ulam) -> None:
    assert errors(ulam, "Once", "greedi") == ['error: unknown stage "greedi" (stage 1). Did you mean greedy?', '  fix: ulam "Once" greedy']


def test_the_fix_keeps_a_verb_as_a_text(ulam: Ulam) -> None:
    assert errors(ulam, "--", "methods", "topp=0.9")[1] == '  fix: ulam sample "methods" top_p=0.9'


@pytest.mark.parametrize(
    "words",
    [
        ["Once", "topp=0.9"],
        ["Once", "upon", "a", "time"],
        ["Once", "greedy", "top_p=0.9"],
        ["Once", "top_p=0.9", "--temp", "2"],
        ["Once", "--topp", "1", "--topp", "0.2"],
    ],
)
def test_a_fix_that_is_a_command_is_no_error(ulam: Ulam, words: list[str], models: Callable[..., None]) -> None:
    class Anything(Broken):
        def __init__(self) -> None:
            super().__init__()
            self.vocabulary._encode = self.vocabulary._encode_prompt = lambda text: [0]

    models(stories=Anything())
    fix = errors(ulam, *words)[1].removeprefix("  fix: ")
    again = shlex.split(fix)[1:] if fix.startswith("ulam") else ["Once", *shlex.split(fix)]
    assert ulam(*again, "--max-tokens", "1").code == 0


def test_a_value_out_of_range(ulam: Ulam) -> None:
    (line,) = errors(ulam, "Once", "top_p=95")
    assert line.startswith("error: top_p=95 is outside [0, 1]. Nearest allowed value: 1")
    assert line.endswith("write top_p=0.95")


def test_a_chooser_that_does_not_stand_last(ulam: Ulam) -> None:
    assert errors(ulam, "Once", "greedy", "top_p=0.9")[1] == '  fix: ulam "Once" top_p=0.9 greedy'


def test_a_recipe_that_cannot_be_read_is_pointed_at(ulam: Ulam) -> None:
    found = errors(ulam, "Once", "top_p=0.9", "temperature=)")
    assert found[1] == "  top_p=0.9 temperature=)"
    assert found[2].index("^") == found[1].index(")")


def test_a_stage_in_the_place_of_the_prompt(ulam: Ulam) -> None:
    found = errors(ulam, "temperature=0.8")
    assert found[0] == 'error: "temperature=0.8" is a stage and stands where the prompt stands'
    assert ulam("-p", "abc", "temperature=0.8", "-m", "abc", "--max-tokens", "1").code == 0


def test_a_prompt_with_an_equals_sign_is_a_prompt(ulam: Ulam) -> None:
    assert "is not in the alphabet" in errors(ulam, "x=1", "-m", "abc")[0]


@pytest.mark.parametrize(("letter", "instead"), [("-t", "--temp"), ("-s", "--seed"), ("-c", "--max-tokens"), ("-N", "-n")])
def test_letters_that_mean_too_much(ulam: Ulam, letter: str, instead: str) -> None:
    (line,) = errors(ulam, "Once", letter, "3")
    assert line.startswith(f"error: {letter} is not used here: ")
    assert instead in line


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--topq", "1"], "unknown flag --topq. Did you mean --top-p or --top-k"),
        (["--max-token", "3"], "unknown flag --max-token. Did you mean --max-tokens"),
        (["--qqqq"], "unknown flag --qqqq."),
        (["-n"], "-n needs a value"),
        (["--greedy=3"], "--greedy takes no value"),
        (["-n", "x"], "--samples: input should be a valid integer"),
        (["-n", "0"], "-n 0 is less than 1"),
        (["--max-tokens", "-1"], "--max-tokens -1 is less than 0"),
        (["--seed", "-1"], "--seed -1 is outside 0 to 2^64 - 1"),
        (["--seed", str(2**64)], "is outside 0 to 2^64 - 1"),
        (["--stop", ""], "an empty --stop"),
    ],
)
def test_flags(ulam: Ulam, words: list[str], says: str) -> None:
    assert says in errors(ulam, "abc", "-m", "abc", *words)[0]


def test_a_text_that_begins_like_a_flag(ulam: Ulam) -> None:
    found = errors(ulam, "-- dash -- it")
    assert found[1].startswith('  fix: ulam -p "-- dash -- it"')


@pytest.mark.parametrize(
    ("words", "fix"),
    [
        (["-5 degrees"], 'ulam -p "-5 degrees"'),
        (["law", "-5 degrees"], 'ulam law -p "-5 degrees"'),
        (["score", "-5"], "ulam score -- -5"),
        (["score", "--hello there"], 'ulam score -- "--hello there"'),
        (["score", "-x y"], 'ulam score -- "-x y"'),
    ],
)
def test_a_text_that_begins_like_a_letter_of_a_flag(ulam: Ulam, words: list[str], fix: str) -> None:
    found = errors(ulam, *words)
    assert found[0].endswith(" begins like a flag")
    assert found[1] == f"  fix: {fix}, for a text"
    assert "begins like" not in ulam(*shlex.split(fix)[1:], "--debug").stderr


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["law", "--seed", "3"], "--seed is not used here: nothing is drawn; ulam sample draws"),
        (["law", "-n", "3", "-p", "-n o"], "-n is not used here: nothing is drawn"),
        (["law", "-f", "x.txt"], "-f is not used here: the prompt is -p TEXT"),
        (["law", "-t", "2"], "-t is not used here: temperature is --temp"),
        (["law", "--stop", "x"], "--stop is not used here: ulam.law in Python has stop="),
        (["score", "a", "-p", "b"], "-p is not used here: the text is a word, what stands before it is --prompt"),
        (["score", "a", "--max-tokens", "3"], "--max-tokens is not used here: nothing is drawn"),
    ],
)
def test_flags_of_another_verb(ulam: Ulam, words: list[str], says: str) -> None:
    (line,) = errors(ulam, *words)
    assert line.startswith(f"error: {says}")


@pytest.mark.parametrize("words", [["law", "--qqqq"], ["score", "a", "--qqqq"], ["recipe", "show", "--qqqq"], ["methods", "--qqqq"]])
def test_an_unknown_flag_names_the_help_of_its_verb(ulam: Ulam, words: list[str]) -> None:
    verb = " ".join(word for word in words if word not in ("a", "--qqqq"))
    assert errors(ulam, *words)[1] == f"  fix: ulam {verb} --help lists the flags"
    assert ulam(*verb.split(), "--help").code == 0


@pytest.mark.parametrize("model", ["nothing", "./nothing", "http://localhost:1/v1", "x.gguf"])
def test_a_model_that_cannot_be_loaded(ulam: Ulam, model: str) -> None:
    found = errors(ulam, "Once", "-m", model, code=5)
    assert found[1].startswith("  fix: ")


def test_the_model_of_the_environment(ulam: Ulam, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ULAM_MODEL", "abc")
    assert ulam("abc", "--max-tokens", "2").receipt.startswith("── abc · ")
    assert errors(ulam, "abc", "-m", "nothing", code=5)


def test_an_error_of_the_library_has_its_code(ulam: Ulam, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(spec: str) -> None:
        raise ModelError("weights.bin is a pickle", fix="convert it")

    monkeypatch.setattr("ulam.apps.cli.sample.load", refuse)
    assert errors(ulam, "Once", code=5) == ["error: weights.bin is a pickle", "  fix: convert it"]


class Faulty(Broken):
    def __init__(self, fault: BaseException):
        super().__init__()
        self.fault = fault

    def step(self, state, tokens):  # type: ignore[no-untyped-def]
        raise self.fault


def test_an_unforeseen_fault_is_ours_and_has_a_version(ulam: Ulam, models: Callable[..., None]) -> None:
    from ulam import __version__

    models(faulty=Faulty(ZeroDivisionError("division by\nzero")))
    found = errors(ulam, "a", "-m", "faulty", code=1)
    assert found == [
        f"error: a fault of ulam {__version__}, not yours: ZeroDivisionError division by zero",
        "  fix: report it with what this prints: ulam --debug a -m faulty",
    ]
    assert "Traceback" in ulam("--debug", "a", "-m", "faulty").stderr
    assert "Traceback" in ulam("a", "-m", "faulty", "--debug").stderr


@pytest.mark.parametrize(("fault", "says"), [(MemoryError(), "out of memory"), (OSError(28, "No space left on device"), "no space left on device")])
def test_faults_of_the_machine(ulam: Ulam, models: Callable[..., None], fault: BaseException, says: str) -> None:
    models(faulty=Faulty(fault))
    assert says in errors(ulam, "a", "-m", "faulty", code=1)[0]


def test_a_run_that_breaks_keeps_what_was_streamed(ulam: Ulam, models: Callable[..., None]) -> None:
    models(faulty=Faulty(MemoryError()))
    result = ulam("a", "-m", "faulty", "--stream", "greedy")
    assert result.code == 1
    assert result.out == "a\n"
    last = json.loads(ulam("a", "-m", "faulty", "--jsonl").out.splitlines()[-1])
    assert last["event"] == "error"
    assert last["code"] == 1


def test_a_traceback_is_shown_when_asked_for(ulam: Ulam) -> None:
    result = ulam("Once", "topp=0.9", "--debug")
    assert result.code == 2
    assert "Traceback" in result.stderr
    assert result.stderr.splitlines()[-2].startswith("error: ")


def test_no_path_is_told_that_nobody_gave(ulam: Ulam, tmp_path: Path) -> None:
    assert str(Path.cwd()) not in ulam("Once", "-m", "nothing").stderr
    assert str(Path.cwd()) not in ulam("Once", "-r", "nothing.toml").stderr


def test_an_error_that_quotes_a_file_cannot_act_on_the_terminal(ulam: Ulam, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"architectures": ["LlamaForCausalLM"], "model_type": "\\u001b]0;owned\\u0007\\u001b[2J"}')
    (tmp_path / "tokenizer.json").write_bytes(b"{}")
    (tmp_path / "model.safetensors").write_bytes((2).to_bytes(8, "little") + b"{}")
    done = ulam("Once", "-m", str(tmp_path))
    assert done.code == 5
    assert "owned" in done.stderr
    assert "\x1b" not in done.stderr
    assert "\x07" not in done.stderr
