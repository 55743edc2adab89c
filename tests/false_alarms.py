"""The budget of false alarms: every statistical assert goes through the fixture `statistical` and has a row in `false_alarms.toml`.

    def test_first_tokens(statistical):
        statistical("decode.first_tokens", counts, law, alternative)           # draws against a law
        statistical.tally("decode.neighbours", two_way(table), miss)      # any other tally

A test fails if its assert has no row, if n, cells or alpha are not those of the row, or if the chance of missing the
alternative is larger than the row says, which is 1e-6 at most. A run fails if two asserts use one row, and a run of all
tests fails if a row is not used or the alphas of all rows add to more than 1e-6.
"""

from __future__ import annotations

import tomllib
from collections import Counter
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import pytest

from ulam.testing import Tally, draws_match, miss_probability

BUDGET = 1e-6  # false alarms of one run, all asserts together
MISS = 1e-6  # of every assert
KEY = "statistical"


@dataclass(frozen=True)
class Row:
    """One assert: `sees` says in words what it must not miss, and `miss` how probable it is that it does."""

    id: str
    alpha: float
    n: int
    cells: int
    sees: str
    miss: float


def read(path: Path) -> dict[str, Row]:
    """The rows of a budget by id; none if there is no file. Raises `UsageError` for a row that is not whole, or one that stands twice."""
    rows: dict[str, Row] = {}
    for each in tomllib.loads(path.read_text(encoding="utf-8")).get("assert", []) if path.exists() else []:
        if {*each} != {field.name for field in fields(Row)} or each["id"] in rows:
            raise pytest.UsageError(f"{path.name}: the row {each} is not of {', '.join(field.name for field in fields(Row))}, or its id is there twice")
        rows[each["id"]] = Row(**each)
    return rows


class Statistical:
    """What a test calls for each of its statistical asserts."""

    def __init__(self, item: pytest.Item, rows: dict[str, Row]):
        self.item, self.rows = item, rows

    def __call__(self, id: str, counts: Any, law: Any, *alternatives: Any, alpha: float = 1e-9) -> Tally:
        """Draws must follow `law`, and the test must be able to see each of the alternatives, which are laws too."""
        tally = draws_match(counts, law, alpha)
        return self.tally(id, tally, max((miss_probability(law, each, tally.n, alpha) for each in alternatives), default=1.0))

    def tally(self, id: str, tally: Tally, miss: float) -> Tally:
        """A tally that is made already must be ok; `miss` is the probability that it would not see what it is meant to see."""
        self.item.user_properties.append((KEY, id))
        row = self.rows.get(id)
        if row is None:
            pytest.fail(f"{id} has no row in false_alarms.toml", pytrace=False)
        stated, found = (row.alpha, row.n, row.cells), (tally.alpha, tally.n, tally.cells)
        if stated != found:
            pytest.fail(f"{id}: alpha, n and cells are {found}, and its row says {stated}", pytrace=False)
        if not miss <= row.miss <= MISS:
            pytest.fail(f"{id} misses its alternative with probability {miss:.2g}; its row says {row.miss:g}, and at most {MISS:g} is allowed", pytrace=False)
        return tally.required(id)


class Budget:
    """Counts the asserts of a run, of all its worker processes, and closes the account."""

    def __init__(self, config: pytest.Config):
        self.config = config
        self.tests = config.rootpath / "tests"
        self.rows = read(self.tests / "false_alarms.toml")
        self.used: Counter[str] = Counter()
        self.files: set[str] = set()
        self.complaints: list[str] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "teardown":
            self.used.update(str(id) for key, id in report.user_properties if key == KEY)
            self.files.add(report.nodeid.partition("::")[0])

    def whole(self, session: pytest.Session) -> bool:
        """Whether every test there is has run."""
        options = ("keyword", "markexpr", "deselect", "lf", "stepwise")
        chosen = any(self.config.getoption(name, None) for name in options) or any("::" in arg for arg in self.config.args)
        there = {path.relative_to(self.config.rootpath).as_posix() for path in self.tests.rglob("test_*.py")}
        return not chosen and not session.shouldstop and not session.shouldfail and there <= self.files

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if hasattr(self.config, "workerinput"):
            return  # the process that started the workers has all reports
        self.complaints = [f"{id} is the row of {count} asserts" for id, count in self.used.items() if count > 1]
        if self.whole(session):
            self.complaints += [f"the row {id} was never used" for id in self.rows if id not in self.used]
            if (total := sum(row.alpha for row in self.rows.values())) > BUDGET * (1 + 1e-9):
                self.complaints.append(f"the alphas of all rows add to {total:.3g}, more than {BUDGET:g}")
        if self.complaints and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        for complaint in self.complaints:
            terminalreporter.write_line(f"false_alarms.toml: {complaint}", red=True)
        if spent := [self.rows[id].alpha for id in self.used if id in self.rows]:
            asserts = "1 statistical assert" if len(spent) == 1 else f"{len(spent)} statistical asserts"
            terminalreporter.write_line(f"{asserts}; false alarm with probability {sum(spent):.3g} at most")


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(Budget(config), "false-alarms")


@pytest.fixture
def statistical(request: pytest.FixtureRequest) -> Statistical:
    """Makes a statistical assert that is on the budget."""
    return Statistical(request.node, request.config.pluginmanager.get_plugin("false-alarms").rows)
