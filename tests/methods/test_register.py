"""Methods of one's own: registered in this process, brought by an installed package, and the example that shows it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ulam
from ulam import methods
from ulam.core.errors import MethodError
from ulam.methods import Transform, catalogue, find, parameter
from ulam.methods.installed import installed

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    before = dict(methods.REGISTERED)
    yield
    methods.REGISTERED.clear()
    methods.REGISTERED.update(before)
    catalogue.cache_clear()


@dataclass(frozen=True)
class OneLess(Transform):
    """One less: the last token loses a nats."""

    a: float = parameter(float, "[0, inf)", neutral=0, help="nats")

    def apply(self, z: Any, context: Any) -> Any:
        out = z.copy()
        out[:, -1] -= self.a
        return out


def test_a_registered_method_is_a_method_like_any_other() -> None:
    assert ulam.register(OneLess) is OneLess
    assert find("one_less").summary == "the last token loses a nats"
    recipe = ulam.Recipe("one_less=0.7 top_k=2")
    assert str(ulam.Recipe.from_toml(recipe.to_toml())) == "one_less=0.7 top_k=2"
    assert recipe.distribution([0.0, 0.0, 0.0]).support.tolist() == [True, True, False]
    assert ulam.law(ulam.load("abc"), "one_less=0.6931471805599453", max_tokens=1).map(lambda o: o.tokens[0]).prob(2) == pytest.approx(1 / 7, abs=1e-15)
    assert "one_less" in catalogue()
    kinds = [method.kind for method in catalogue().values()]
    assert kinds == sorted(kinds, key=list(dict.fromkeys(kinds)).index)  # still kind by kind


def test_the_same_name_again_replaces_ones_own() -> None:
    ulam.register(OneLess)

    @dataclass(frozen=True)
    class Again(OneLess):
        name = "one_less"

        def apply(self, z: Any, context: Any) -> Any:
            return z + np.arange(z.shape[-1]) * self.a

    ulam.register(Again)
    assert ulam.Recipe("one_less=1").distribution([0.0, 0.0]).probs[1] > 0.5


class NotFrozen(Transform):
    pass


@dataclass(frozen=True)
class Hidden(Transform):
    a: float = 0.0


@dataclass(frozen=True)
class TopK(Transform):
    pass


@dataclass(frozen=True)
class Nucleus(Transform):
    pass


@pytest.mark.parametrize(
    ("stage", "match"),
    [
        (int, "int is no stage"),
        (3, "3 is no stage"),
        (NotFrozen, "NotFrozen is no dataclass of its own"),
        (Hidden, "must be declared with parameter"),
        (TopK, "top_k is a method of ulam already"),
        (Nucleus, "Nucleus would be typed as nucleus, which elsewhere is top_p"),
    ],
)
def test_what_cannot_be_a_method(stage: Any, match: str) -> None:
    with pytest.raises(MethodError, match=match) as caught:
        ulam.register(stage)
    assert caught.value.fix


FILE = (ROOT / "examples" / "lead.py").read_text(encoding="utf-8")


def package(folder: Path, name: str, point: str, text: str = FILE, kind: str = "dist-info", metadata: str = "METADATA") -> None:
    """An installed package as pip leaves it: a module, and metadata with an entry point."""
    (folder / f"{name}.py").write_text(text, encoding="utf-8")
    info = folder / f"{name}-1.0.{kind}"
    info.mkdir(parents=True)
    (info / metadata).write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n", encoding="utf-8")
    (info / "entry_points.txt").write_text(f"[ulam.methods]\n{point}\n", encoding="utf-8")


def test_an_installed_package_brings_its_method(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package(tmp_path, "their_lead", "lead = their_lead")
    monkeypatch.syspath_prepend(tmp_path)
    catalogue.cache_clear()
    assert ("lead", "their_lead") in installed()
    assert str(ulam.Recipe("lead=0.5")) == "lead=0.5"
    assert find("lead").claims[:2] == ("identity", "shift")


def test_a_package_that_brings_nothing_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package(tmp_path, "their_other", "other = their_missing")
    monkeypatch.syspath_prepend(tmp_path)
    catalogue.cache_clear()
    with pytest.raises(MethodError, match=r"the entry point other in ulam\.methods, their_missing, holds no method"):
        catalogue()


def test_a_package_of_the_older_kind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package(tmp_path, "older_lead", "lead = older_lead", kind="egg-info", metadata="PKG-INFO")
    monkeypatch.syspath_prepend(tmp_path)
    catalogue.cache_clear()
    assert str(ulam.Recipe("lead=0.5")) == "lead=0.5"


@pytest.mark.parametrize(("text", "match"), [("def (", "invalid syntax"), ("1 / 0", "division by zero"), ("x = 3", "it lacks CLAIMS")])
def test_a_module_that_fails_is_told(text: str, match: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = f"fails_{match.split()[0]}"
    package(tmp_path, name, f"lead = {name}", text)
    monkeypatch.syspath_prepend(tmp_path)
    catalogue.cache_clear()
    with pytest.raises(MethodError, match=f"{name}, holds no method: .*{match}"):
        catalogue()


@pytest.mark.parametrize("points", [("lead", "lead"), ("one", "two")])
def test_two_packages_with_one_method_are_told(points: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, point in zip(("first_lead", "second_lead"), points, strict=True):
        package(tmp_path, name, f"{point} = {name}")
    monkeypatch.syspath_prepend(tmp_path)
    catalogue.cache_clear()
    with pytest.raises(MethodError, match="second_lead brings a method called lead, which first_lead has already"):
        catalogue()


def test_what_is_registered_goes_before_what_is_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package(tmp_path, "third_lead", "lead = third_lead")
    monkeypatch.syspath_prepend(tmp_path)

    @dataclass(frozen=True)
    class Lead(OneLess):
        name = "lead"

    ulam.register(Lead)
    assert find("lead").stage is Lead


def test_a_method_called_as_a_flag_leaves_the_flag_alone(tmp_path: Path) -> None:
    package(tmp_path, "their_seed", "seed = their_seed", FILE.replace("class Lead(", "class Seed("))
    environment = {"PYTHONPATH": f"{ROOT / 'src'}:{tmp_path}", "PATH": "", "PYTHONWARNINGS": "error::UserWarning"}
    command = [sys.executable, "-m", "ulam", "", "-m", "abc", "--seed", "3", "--max-tokens", "4", "--json", "seed=1"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["recipe"], found["seed"]) == ("seed=1", 3)


def test_no_package_costs_no_library() -> None:
    code = "import sys, ulam.methods; ulam.methods.catalogue(); assert 'importlib.metadata' not in sys.modules"
    environment = {"PYTHONPATH": str(ROOT / "src")}
    code = f"import sys; sys.path += {sys.path!r}\n{code}"  # without site packages' own imports
    done = subprocess.run([sys.executable, "-S", "-c", code], capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr


def test_the_example_runs_and_passes_its_audit() -> None:
    environment = {"PYTHONPATH": str(ROOT / "src"), "PATH": "", "COLUMNS": "100"}
    done = subprocess.run([sys.executable, str(ROOT / "examples" / "lead.py")], capture_output=True, text=True, env=environment, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("lead=0.7 top_p=0.9 r-")
    command = [sys.executable, "-m", "ulam", "audit", "lead:Lead", "--inputs", "60"]
    audit = subprocess.run(command, capture_output=True, text=True, env=environment, check=False, cwd=ROOT / "examples")
    assert audit.returncode == 0, audit.stdout + audit.stderr
    assert "✗" not in audit.stdout
    assert "passed 1" in audit.stdout
