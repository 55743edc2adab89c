"""The pages show what their commands and their code print: every block is run as it stands there."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]


def tool() -> Any:
    """`docs/run.py`, which is no part of the package."""
    spec = importlib.util.spec_from_file_location("docs_run", ROOT / "docs" / "run.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


PAGES = tool()
README = (ROOT / "README.md").read_text(encoding="utf-8")
SHOWN = PAGES.blocks(README)


def test_the_readme_has_transcripts() -> None:
    assert sum(block.body.count("$ ulam") for block in SHOWN) >= 8
    assert any(block.kind == "python" for block in SHOWN)


@pytest.mark.parametrize("block", SHOWN, ids=[block.title for block in SHOWN])
def test_every_transcript_of_the_readme_is_what_the_command_prints(block: Any) -> None:
    assert PAGES.steady(PAGES.run(block, {})) == PAGES.steady(PAGES.shown(block))


PAGE = """# A page

```console
$ ulam --version
ulam 0.0.0
```

```python
x = 20
```

```python
print(x + 1)
print("```" == "`" * 3)
```

```text
22
```

```python
>>> 1 + 1
3
```

```py
this = is not run
```
"""


def test_a_page_is_rewritten_with_what_its_blocks_print(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(PAGE, encoding="utf-8")
    command = [sys.executable, str(ROOT / "docs" / "run.py")]
    stale = subprocess.run([*command, "--check", str(page)], capture_output=True, text=True, check=False)
    assert (stale.returncode, stale.stdout.count("CHANGED")) == (6, 3), stale.stderr
    assert page.read_text(encoding="utf-8") == PAGE
    subprocess.run([*command, str(page)], capture_output=True, check=True)
    import ulam

    expect = PAGE.replace("0.0.0", ulam.__version__).replace("22\n", "21\nTrue\n").replace("1 + 1\n3", "1 + 1\n2")
    assert page.read_text(encoding="utf-8") == expect
    subprocess.run([*command, "--check", str(page)], capture_output=True, check=True)


@pytest.mark.parametrize("page", ["lecture.md", "testing.md"])
def test_the_pages_of_the_docs_run_from_top_to_bottom(page: str, tmp_path: Path) -> None:
    """In a process of its own. What it prints is what the page shows, and every picture that the page shows is drawn anew."""
    path = ROOT / "docs" / page
    environment = {"ULAM_PICTURES": str(tmp_path), "PATH": ""}
    done = subprocess.run(
        [sys.executable, str(ROOT / "docs" / "run.py"), "--check", str(path)], capture_output=True, text=True, check=False, env=environment, timeout=600
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert pictures(path) == {file.name for file in tmp_path.iterdir()}


def pictures(path: Path) -> set[str]:
    return set(re.findall(r"!\[[^\]]+\]\(pictures/([\w.-]+)\)", path.read_text(encoding="utf-8")))


def test_every_picture_is_shown() -> None:
    docs = ROOT / "docs"
    shown = set[str]().union(*map(pictures, docs.glob("*.md")))
    assert shown == {file.name for file in (docs / "pictures").iterdir()}
    assert len(shown) >= 8


def test_the_pages_of_methods_and_engines_are_those_of_the_docstrings() -> None:
    command = [sys.executable, str(ROOT / "docs" / "catalogue.py"), "--check"]
    assert subprocess.run(command, check=False, env={"PYTHONPATH": str(ROOT / "src"), "PATH": ""}).returncode == 0, "python docs/catalogue.py writes it"
