"""Help: examples first, on one screen, at once, and with every method there is."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ulam import __version__
from ulam.apps.cli.verbs import VERBS
from ulam.methods import catalogue, shipped, transforms

from .conftest import Ulam

HEAVY = ("torch", "transformers", "tokenizers", "safetensors", "rich", "pydantic", "ulam.train", "array_api_compat.numpy")


def test_help_fits_a_screen_and_begins_with_examples(ulam: Ulam) -> None:
    result = ulam("--help")
    assert result.code == 0
    assert result.stderr == ""
    page = result.out.splitlines()
    assert len(page) <= 40
    assert max(map(len, page)) <= 100
    assert page[0] == "ulam: sample text from a trained language model, and know exactly what you sampled."
    assert page[2].startswith('  ulam "Once upon a time"  ')
    assert next(line for line in page if line.startswith("Usage:")) .startswith("Usage: ulam [sample] PROMPT [STAGE ...] [FLAGS]; also")


@pytest.mark.parametrize("verb", [*(verb.split() for verb in VERBS if verb != "recipe"), ["recipe"], []])
@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_every_verb_has_help_on_one_screen(ulam: Ulam, verb: list[str], flag: str) -> None:
    page = ulam(*verb, flag).out.splitlines()
    assert 5 < len(page) <= 40
    assert max(map(len, page)) <= 100
    assert "  -h, --help" in "\n".join(page)
    assert any(line.startswith("  ulam ") for line in page[:5])


def test_help_names_every_method_and_every_flag_works(ulam: Ulam) -> None:
    page = ulam("--help").out
    listed = page.partition("Stages")[2].partition("\nFlags")[0].split()
    assert {*catalogue()} <= {*listed}


def test_help_advertises_nothing_that_is_not_there(ulam: Ulam) -> None:
    page = ulam("--help").out
    others = page.partition("Usage:")[2].partition("\n\n")[0].splitlines()[1:]
    cells = [(line[2:], *re.split(r"  +", line[20:].strip(), maxsplit=1)[1:]) for line in others]  # a verb, and a second one in the same line
    verbs = {cell.split()[0] for row in cells for cell in row}
    assert verbs == {verb for verb in VERBS if " " not in verb} - {"sample"}
    assert not re.search(r"history|colour|color|--chat|--procedure|--trace|--show\b", page)


def test_help_imports_nothing_heavy() -> None:
    probe = "import sys; from ulam.apps.cli.main import main; main(sys.argv[1:]); print(*sys.modules, file=sys.stderr)"

    def modules(*words: str) -> set[str]:
        done = subprocess.run([sys.executable, "-c", probe, *words], capture_output=True, text=True, check=True, stdin=subprocess.DEVNULL)
        return {*done.stderr.split()}

    assert not {*HEAVY} & modules("--help")
    assert {"tokenizers", "safetensors"} <= modules("Once", "--max-tokens", "1")  # the test can fail


def test_version(ulam: Ulam) -> None:
    assert ulam("--version").out == f"ulam {__version__}\n"


@pytest.fixture
def louder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A new method: one file, and nothing else."""
    source = Path(sys.modules["ulam.methods.transforms.temperature"].__file__ or "").read_text()
    source = source.replace("class Temperature", "class Louder").replace("from ...core", "from ulam.core").replace("Temperature: divide", "Louder: divide")
    (tmp_path / "louder.py").write_text(source)
    monkeypatch.setattr(transforms, "__path__", [*transforms.__path__, str(tmp_path)])
    shipped.cache_clear()
    catalogue.cache_clear()
    yield
    shipped.cache_clear()
    catalogue.cache_clear()
    sys.modules.pop("ulam.methods.transforms.louder", None)


@pytest.mark.usefixtures("louder")
def test_a_new_method_file_appears_everywhere(ulam: Ulam) -> None:
    assert "louder" in ulam("--help").out.split()
    assert "  louder=T " in ulam("methods").out
    assert ulam("methods", "louder").out.startswith("louder  transform: divide the logits")
    assert "louder" in [each["name"] for each in json.loads(ulam("methods", "--json").out)["methods"]]
    assert json.loads(ulam("ab", "-m", "abc", "--louder", "2", "--json").out)["recipe"] == "louder=2"
    assert "Did you mean louder?" in ulam("ab", "loude=2", "-m", "abc").stderr
    assert "Did you mean --louder" in ulam("ab", "--loude", "2", "-m", "abc").stderr


def test_the_new_method_is_gone_without_its_file(ulam: Ulam) -> None:
    assert "louder" not in ulam("--help").out
    assert ulam("ab", "-m", "abc", "--louder", "2").code == 2
