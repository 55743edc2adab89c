"""The plugin that keeps the budget of false alarms, on runs of its own."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LAW, OTHER = "[0.5, 0.25, 0.25]", "[0.3, 0.25, 0.45]"
GOOD = f"""
def test_draws(statistical):
    statistical("a.b", [500, 250, 250], {LAW}, {OTHER})
"""


def row(id: str = "a.b", alpha: float = 1e-9, n: int = 1000, cells: int = 3, miss: float = 1e-6) -> str:
    return f'[[assert]]\nid = "{id}"\nalpha = {alpha}\nn = {n}\ncells = {cells}\nsees = "more of the last"\nmiss = {miss}\n'


class House:
    """A project with tests, a budget and this plugin."""

    def __init__(self, pytester: pytest.Pytester):
        self.pytester = pytester
        pytester.makepyprojecttoml(
            '[tool.pytest.ini_options]\ntestpaths = ["tests"]\naddopts = "--strict-markers --strict-config"\nfilterwarnings = ["error"]\n'
        )

    def run(self, rows: str, *arguments: str, **tests: str) -> pytest.RunResult:
        folder = self.pytester.path / "tests"
        folder.mkdir()
        (folder / "false_alarms.toml").write_text(rows, encoding="utf-8")
        for name, text in tests.items():
            (folder / f"test_{name}.py").write_text(text, encoding="utf-8")
        # worker processes get the path with which their parent began: only a process of its own begins with this clone's
        start = self.pytester.runpytest_subprocess if "-n" in arguments else self.pytester.runpytest
        return start("-p", "tests.false_alarms", "-p", "no:cacheprovider", "-p", "no:hypothesispytest", *arguments)


@pytest.fixture
def house(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> House:
    monkeypatch.setenv("PYTHONPATH", str(ROOT), prepend=os.pathsep)
    return House(pytester)


def test_an_assert_with_its_row_passes_and_is_counted(house: House) -> None:
    result = house.run(row(), good=GOOD)
    assert result.ret == 0
    result.stdout.fnmatch_lines(["1 statistical assert; false alarm with probability 1e-09 at most"])


def test_a_run_without_statistical_asserts_says_nothing(house: House) -> None:
    result = house.run("", other="def test_nothing(): pass")
    assert result.ret == 0
    result.stdout.no_fnmatch_line("*false alarm*")


@pytest.mark.parametrize(
    ("rows", "complaint"),
    [
        ("", "a.b has no row in false_alarms.toml"),
        (row("a.c"), "a.b has no row in false_alarms.toml"),
        (row(alpha=1e-8), "a.b: alpha, n and cells are (1e-09, 1000, 3), and its row says (1e-08, 1000, 3)"),
        (row(n=999), "a.b: alpha, n and cells are (1e-09, 1000, 3), and its row says (1e-09, 999, 3)"),
        (row(cells=4), "a.b: alpha, n and cells are (1e-09, 1000, 3), and its row says (1e-09, 1000, 4)"),
        (row(miss=2e-6), "a.b misses its alternative with probability *; its row says 2e-06, and at most 1e-06 is allowed"),
        (row(miss=1e-30), "a.b misses its alternative with probability *; its row says 1e-30, and at most 1e-06 is allowed"),
    ],
)
def test_a_row_that_is_not_there_or_says_something_else(house: House, rows: str, complaint: str) -> None:
    result = house.run(rows, good=GOOD)
    assert result.ret == 1
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines([complaint])


@pytest.mark.parametrize(
    ("call", "complaint"),
    [
        (f'statistical("a.b", [500, 250, 250], {LAW}, {OTHER}, alpha=1e-8)', "a.b: alpha, n and cells are (1e-08, 1000, 3), and its row says *"),
        (f'statistical("a.b", [500, 250, 250], {LAW})', "a.b misses its alternative with probability 1;*"),
        (f'statistical("a.b", [500, 250, 250], {LAW}, {OTHER}, [0.5, 0.24, 0.26])', "a.b misses its alternative with probability 1;*"),
        (f'statistical("a.b", [300, 250, 450], {LAW}, {OTHER})', "*ConformanceError: a.b breaks *"),
    ],
    ids=["a larger alpha", "no alternative", "one of two alternatives too near", "wrong draws"],
)
def test_an_assert_that_fails(house: House, call: str, complaint: str) -> None:
    result = house.run(row(), bad=f"def test_draws(statistical):\n    {call}\n")
    assert result.ret == 1
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines([complaint])


def test_a_comparison_made_elsewhere(house: House) -> None:
    text = (
        "import pytest\nfrom ulam.testing import two_way\n"
        "@pytest.mark.parametrize('miss', [0.0, 1.0, float('nan')])\n"
        "def test_table(statistical, miss):\n    statistical.tally('a.b', two_way([[250, 250], [250, 250]]), miss)\n"
    )
    house.run(row(cells=4), other=text).assert_outcomes(passed=1, failed=2)


def test_a_row_that_is_never_used_fails_a_whole_run(house: House) -> None:
    result = house.run(row() + row("a.c"), good=GOOD)
    assert result.ret == 1
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["false_alarms.toml: the row a.c was never used"])


def test_a_skipped_assert_leaves_its_row_unused(house: House) -> None:
    result = house.run(row(), skipped="import pytest\n@pytest.mark.skip\n" + GOOD.strip())
    assert result.ret == 1
    result.stdout.fnmatch_lines(["false_alarms.toml: the row a.b was never used"])


@pytest.mark.parametrize(
    "arguments",
    [["tests/test_good.py"], ["-k", "draws"], ["--deselect", "tests/test_more.py::test_more"], ["tests/test_good.py::test_draws", "tests/test_more.py"]],
)
def test_a_part_of_the_tests_need_not_use_every_row(house: House, arguments: list[str]) -> None:
    result = house.run(row() + row("a.c", alpha=1e-3), *arguments, good=GOOD, more="def test_more(): pass")
    assert result.ret == 0
    result.stdout.fnmatch_lines(["1 statistical assert; false alarm with probability 1e-09 at most"])


def test_a_run_that_stops_early_complains_of_its_failure_alone(house: House) -> None:
    result = house.run(row(), "-x", good=GOOD, bad="def test_bad(): assert False")
    assert result.ret == 1
    result.stdout.no_fnmatch_line("*never used*")


def test_more_than_the_budget_fails_a_whole_run(house: House) -> None:
    rows = [row(f"a.{i}", alpha=4e-7) for i in range(3)]
    text = "".join(f'def test_{i}(statistical):\n    statistical("a.{i}", [500, 250, 250], {LAW}, {OTHER}, alpha=4e-7)\n' for i in range(3))
    result = house.run("".join(rows), spends=text)
    assert result.ret == 1
    result.assert_outcomes(passed=3)
    result.stdout.fnmatch_lines(["false_alarms.toml: the alphas of all rows add to 1.2e-06, more than 1e-06"])


def test_a_budget_that_is_spent_to_the_end_is_kept(house: House) -> None:
    rows = [row(f"a.{i}", alpha=1e-7) for i in range(10)]  # ten times 1e-7 add to a little less or more than 1e-6 in floats
    text = "".join(f'def test_{i}(statistical):\n    statistical("a.{i}", [500, 250, 250], {LAW}, {OTHER}, alpha=1e-7)\n' for i in range(10))
    assert house.run("".join(rows), spends=text).ret == 0


def test_a_row_is_of_one_assert(house: House) -> None:
    result = house.run(row(), good=GOOD, again=GOOD)
    assert result.ret == 1
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(["false_alarms.toml: a.b is the row of 2 asserts"])


@pytest.mark.parametrize("rows", [row() + row(), row() + 'power = "large"\n', row().replace('sees = "more of the last"\n', "")], ids=["twice", "more", "less"])
def test_rows_that_cannot_be_read(house: House, rows: str) -> None:
    result = house.run(rows, good=GOOD)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*false_alarms.toml: the row *a.b*"])


def test_worker_processes_share_one_account(house: House) -> None:
    result = house.run(row() + row("a.c") + row("a.d"), "-n", "2", good=GOOD, more=GOOD.replace("a.b", "a.c"))
    assert result.ret == 1
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(["false_alarms.toml: the row a.d was never used", "2 statistical asserts; false alarm with probability 2e-09 at most"])
    result.stdout.no_fnmatch_line("*a.b was never used*")
