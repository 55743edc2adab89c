"""`ulam audit`: a method's checks one by one, with the smallest input that breaks one, and an exit code that says no."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from .conftest import Ulam

GOOD = '''"""Rise: the last token gains a nats."""
from dataclasses import dataclass
from ulam.core.arrays import namespace, like
from ulam.methods import Transform, parameter
import numpy as np


@dataclass(frozen=True)
class Rise(Transform):
    a: float = parameter(float, "[0, 100]", neutral=0, fixed=True, help="nats")

    def apply(self, z, context):
        last = like(z, np.arange(z.shape[-1]) == z.shape[-1] - 1, namespace(z).bool)
        return namespace(z).where(last[None, :], {rule}, z)


CLAIMS = ({claims})
'''


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    for name in [name for name in sys.modules if name.startswith("rise")]:
        monkeypatch.delitem(sys.modules, name)
    return tmp_path


def write(folder: Path, name: str, claims: str = '"identity", "shift", "shrinks", "nonempty", "batch", "history", "fork"', rule: str = "z + self.a") -> None:
    (folder / f"{name}.py").write_text(GOOD.replace("{claims}", claims).replace("{rule}", rule), encoding="utf-8")


def test_a_method_that_keeps_its_claims_passes(ulam: Ulam, here: Path) -> None:
    write(here, "rise_good")
    result = ulam("audit", "rise_good:Rise", "--inputs", "60")
    assert result.code == 0, result.out
    assert result.out.startswith("rise  transform: the last token gains a nats\n")
    assert "✗" not in result.out
    assert "passed 13 of 13 checks" in result.out
    assert "cases: not applicable, rise_good has none" in result.out


def test_a_claim_that_does_not_hold_is_shown_with_an_input(ulam: Ulam, here: Path) -> None:
    write(here, "rise_order", claims='"order", "history"')
    result = ulam("audit", "rise_order:Rise", "--inputs", "60")
    assert result.code == 6
    assert "does not read the history ✓" in result.out
    assert "keeps the order of the tokens ✗" in result.out
    assert "✗ order: rise breaks order:" in result.out
    assert "logits [" in result.out.split("✗ order")[1]


@pytest.mark.parametrize(
    ("rule", "check"),
    [
        ("z + self.a + len(z)", "batch"),  # looks at its mates
        ("z + self.a * 1.0 * z", "shift"),
        ("z - float('inf')", "identity"),
        ("z.astype('float64') + self.a", "torch"),
        ("undefined", "form"),
    ],
)
def test_other_faults_are_found_by_their_check(ulam: Ulam, here: Path, rule: str, check: str) -> None:
    write(here, "rise_wrong", rule=rule)
    sys.modules.pop("rise_wrong", None)
    result = ulam("audit", "rise_wrong:Rise", "--inputs", "60", "--json")
    document = json.loads(result.out)
    failed = {entry["check"] for entry in document["checks"] if entry["ok"] is False}
    assert (result.code, document["ok"], document["schema"], document["method"]) == (6, False, "ulam.audit/1", "rise")
    if check != "identity":  # -inf everywhere at its neutral value never happens: the base hands such rows back
        assert check in failed


def test_a_method_of_the_catalogue(ulam: Ulam) -> None:
    document = json.loads(ulam("audit", "top-k", "--inputs", "40", "--json").out)
    assert document["ok"] is True
    assert {entry["group"] for entry in document["checks"]} == {"claims", "numbers", "rows", "law"}
    assert all(entry["inputs"] > 0 for entry in document["checks"] if entry["ok"])


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        ([], 2, "there is nothing to audit"),
        (["minp"], 2, "Did you mean min_p?"),
        (["nowhere.at_all:X"], 2, "cannot import nowhere.at_all"),
        (["rise_good:Fall"], 2, "rise_good has no Fall"),
        (["rise_good:Case"], 2, "rise_good has no Case"),
        (["rise_good:dataclass"], 2, "dataclass is no stage"),
        (["./rise_good.py:Rise"], 2, "fix: rise_good:Rise"),
        (["http://localhost:8000/v1"], 2, "is a server"),
        (["top_k", "--inputs", "0"], 2, "--inputs 0 is less than 1"),
    ],
)
def test_what_cannot_be_audited(ulam: Ulam, here: Path, words: list[str], code: int, told: str) -> None:
    write(here, "rise_good")
    result = ulam("audit", *words)
    assert (result.code, result.out) == (code, "")
    assert told in result.stderr
