"""What importing costs: no heavy package before it is asked for, and no import against the layers."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HEAVY = ("torch", "transformers", "safetensors", "tokenizers", "altair", "httpx", "numba", "scipy", "pandas", "polars", "matplotlib", "hypothesis", "pytest")


def python(code: str, folder: Path) -> subprocess.CompletedProcess[str]:
    environment = {"PYTHONPATH": str(folder / "src"), "PATH": "", "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, cwd=folder, check=False)


def loaded(statement: str) -> set[str]:
    """The heavy packages that a fresh interpreter holds after a statement."""
    done = python(f"import sys\n{statement}\nprint(*sorted({set(HEAVY)!r} & sys.modules.keys()))", ROOT)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.splitlines()[-1].split())


@pytest.mark.parametrize(
    "statement",
    [
        "import ulam",
        "import ulam.recipe, ulam.decode, ulam.methods; ulam.methods.catalogue()",
        "import ulam; ulam.Recipe('temperature=0.8 top_p=0.95').choose([0.0, 1.0, 2.0], seed=7)",
        "import ulam; ulam.sample(ulam.load('abc'), 'a', 'top_p=0.9', max_tokens=3, seed=7)",
        "import ulam.testing",
        "import ulam.apps.cli.main",
        "import ulam.apps.cli.main as main, contextlib\nwith contextlib.suppress(SystemExit): sys.argv = ['ulam', '--help']; main.run()\nprint()",
    ],
)
def test_nothing_heavy_is_imported_before_it_is_asked_for(statement: str) -> None:
    assert loaded(statement) == set()


def test_the_test_above_can_fail() -> None:
    assert loaded("import ulam, tokenizers") == {"tokenizers"}
    assert loaded("import ulam.models.tokenizer") == {"tokenizers"}


def test_importing_changes_nothing_outside() -> None:
    """No environment variable, no global random state, no floating-point mode."""
    code = (
        "import os, random, numpy\n"
        "before = dict(os.environ), random.getstate(), repr(numpy.random.get_state()), numpy.geterr()\n"
        "import ulam; ulam.sample(ulam.load('abc'), 'a', 'top_p=0.9', max_tokens=3, seed=7)\n"
        "assert before == (dict(os.environ), random.getstate(), repr(numpy.random.get_state()), numpy.geterr())"
    )
    done = python(code, ROOT)
    assert (done.returncode, done.stderr) == (0, "")


def contracts(folder: Path) -> subprocess.CompletedProcess[str]:
    code = "import sys; sys.argv[1:] = ['--no-cache']\nfrom importlinter.cli import lint_imports_command; lint_imports_command()"
    return python(code, folder)


def test_imports_keep_to_the_layers() -> None:
    done = contracts(ROOT)
    assert done.returncode == 0, done.stdout
    assert " 0 broken" in done.stdout


@pytest.mark.parametrize(
    ("file", "line"),
    [
        ("core/values.py", "from ..decode import sample"),
        ("recipe/parse.py", "from ..decode.text import TextStream"),
        ("decode/plan.py", "from ..testing import noise"),
        ("methods/transforms/top_p.py", "from .top_k import TopK"),
        ("methods/choosers/greedy.py", "from ..transforms.temperature import Temperature"),
        ("methods/constraints/min_tokens.py", "from .ban_tokens import BanTokens"),
        ("core/arrays.py", "import torch"),
        ("decode/loop.py", "import tokenizers"),
    ],
)
def test_an_import_against_the_layers_is_seen(file: str, line: str, tmp_path: Path) -> None:
    shutil.copytree(ROOT / "src", tmp_path / "src", ignore=shutil.ignore_patterns("__pycache__", "*.safetensors", "*.json"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    path = tmp_path / "src" / "ulam" / file
    path.write_text(path.read_text(encoding="utf-8") + line + "\n", encoding="utf-8")
    done = contracts(tmp_path)
    assert done.returncode == 1, done.stdout
    assert "BROKEN" in done.stdout
