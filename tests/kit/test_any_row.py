"""Every method of the catalogue, on rows that nobody has thought of: what it claims and promises, one generated row at a time."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.strategies import Rows, histories, rows, wide_rows
from ulam.methods import Method, catalogue
from ulam.testing.check import AT_ANY_WIDTH, assert_all, promised
from ulam.testing.claims import TESTS, Test
from ulam.testing.inputs import Probe
from ulam.testing.inputs import settings as settings_of
from ulam.testing.masks import CONSTRAINT_PROMISES
from ulam.testing.promises import CHOOSER_PROMISES, PROMISES
from ulam.testing.subject import Subject

torch.set_num_threads(1)

KINDS = {"transform": PROMISES, "constraint": CONSTRAINT_PROMISES, "chooser": CHOOSER_PROMISES}
LIBRARIES: dict[str, Any] = {"numpy": np.asarray, "torch": torch.asarray}


def said_by(method: Method, library: str) -> dict[str, Test]:
    """All that a method says of its rows, on a library."""
    return {**promised(KINDS[method.kind], method, LIBRARIES[library]), **{word: TESTS[word] for word in method.claims}}


@st.composite
def questions(draw: st.DrawFn, method: Method, some: st.SearchStrategy[Rows]) -> Probe:
    """A row in float64 or float32, a setting of the method and a history."""
    row = draw(some).astype(draw(st.sampled_from([np.float64, np.float32])))
    return Probe(row, draw(st.sampled_from(settings_of(method.stage, len(row)))), draw(histories(len(row))))


@pytest.mark.parametrize("method", catalogue().values(), ids=lambda method: method.name)
@settings(max_examples=12)
@given(st.data())
def test_any_row(method: Method, data: st.DataObject) -> None:
    probe = data.draw(questions(method, rows(1, 13)))
    library = data.draw(st.sampled_from([*LIBRARIES]))
    subject = Subject(method, LIBRARIES[library])
    assert sum(assert_all(subject, name, test, [probe])[0] for name, test in said_by(method, library).items())


@settings(max_examples=40)
@given(st.data())
def test_any_width(data: st.DataObject) -> None:
    """Up to 262144 tokens, and a little less or more than a power of two. Logits that differ by less than the slack of float32 may be cut elsewhere
    in float64, so the two are not compared here.
    """
    method = data.draw(st.sampled_from([*catalogue().values()]))
    probe = data.draw(questions(method, wide_rows(st.sampled_from([4097, 32767, 32768, 65537, 100_003, 262_144]))))
    library = data.draw(st.sampled_from([*LIBRARIES]))
    subject = Subject(method, LIBRARIES[library])
    asked = {name: test for name, test in said_by(method, library).items() if name in AT_ANY_WIDTH - {"float32"}}
    assert sum(assert_all(subject, name, test, [probe])[0] for name, test in asked.items())
