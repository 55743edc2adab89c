"""A table model in a JSON file, read without trusting it.

    {
      "schema": "ulam.table/1",
      "name": "weather",                        optional: the file's name without .json
      "tokens": ["sun", "rain", "$"],
      "end": "$",                               optional: a token or a list of tokens that end a text
      "order": 1,                               optional: only so many of the last tokens matter; without it all of them do
      "rows": {
        "":     {"sun": "2/3", "rain": "1/3"},  probabilities of the first token
        "sun":  {"sun": 0.9, "rain": 0.05, "$": 0.05},
        "rain": {"sun": 1}
      },
      "otherwise": {"$": 1}                     optional: the row of every other prefix
    }

A row gives tokens their probabilities; those it leaves out have 0. Keys of rows are prefixes in writing (`models/names.py`):
tokens separated by single spaces, a space inside a token written ␣; tokens of one character each may be joined. Text is
read as tokens from left to right, always the longest that fits. A token of `end` has a name and no text.

Numbers are read exactly, as fractions: "1/3", "0.1" and 0.1, so that 0.1 and 0.9 add to 1. A row that adds to 1 only within
1e-9 (0.333333333333) is kept as floats, and so is one whose common denominator has more than 8192 bits.
"""

from __future__ import annotations

import json
import re
from fractions import Fraction
from math import lcm
from pathlib import Path
from typing import Any, TypeGuard

from ..core.errors import ModelError, did_you_mean
from ..core.values import is_unicode, print_value
from ..core.vocabulary import Vocabulary
from .alphabet import words
from .names import Names
from .prefixes import Prefix
from .table import Markov, Table, Tree

SCHEMA = "ulam.table/1"
FIELDS = ("schema", "name", "tokens", "end", "order", "rows", "otherwise")
LARGEST = 2**24
"""Bytes of a file, and probabilities of a table (rows times tokens)."""

FORMAT = f'a table is {{"schema": "{SCHEMA}", "tokens": ["a", "b"], "rows": {{"": {{"a": "1/2", "b": "1/2"}}}}, "otherwise": {{"a": 1}}}}'
PROBABILITY = 'write a probability as 0.5 or "1/2"'
NUMBER = re.compile(r"-?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,3})?|-?[0-9]+/0*[1-9][0-9]*")
LONGEST = 400  # characters of a number
DENOMINATOR = 2**13  # bits of a row's common denominator


class Number(str):
    """A number as it stands in the file."""


class Object(list[tuple[str, Any]]):
    """The fields of a JSON object in order; a name may stand twice."""


def read_table(path: Path, shown: str) -> Table:
    """The table in a file, which errors call `shown`. Raises `ModelError`, naming the file, the row and the fix."""
    whole = fields(parsed(read(path, shown), shown), shown)
    if (schema := whole.get("schema")) != SCHEMA:
        found = print_value(schema[:40]) if is_text(schema) else "something else" if "schema" in whole else "nothing"
        raise ModelError(f'{shown} is not a table: its "schema" says {found}', fix=FORMAT)
    for name in whole:
        if name not in FIELDS:
            raise ModelError(f"{shown} has the unknown field {print_value(name[:40])}.{did_you_mean(name, FIELDS)}", fix=f"the fields are {', '.join(FIELDS)}")
    vocabulary = read_vocabulary(whole, shown)
    rows = read_rows(whole, vocabulary, shown)
    otherwise = read_row(whole["otherwise"], f'the row "otherwise" of {shown}') if "otherwise" in whole else None
    name = read_name(whole.get("name", path.stem), shown)
    if "order" in whole:
        table = Markov(read_order(whole["order"], shown), rows, vocabulary, otherwise=otherwise, name=shown)
    else:
        table = Tree(rows, vocabulary, otherwise=otherwise, name=shown)
    table.name = name  # until here errors named the file
    return table


def read(path: Path, shown: str) -> str:
    """The text of a file that is not too long."""
    try:
        with path.open("rb") as file:
            raw = file.read(LARGEST + 1)
    except OSError as error:
        raise ModelError(f"{shown} cannot be read: {error.strerror}", fix="check the path and its permissions") from None
    if len(raw) > LARGEST:
        raise ModelError(f"{shown} has more than {LARGEST:,} bytes", fix="make the table smaller")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ModelError(f"{shown} is not UTF-8: byte {raw[error.start]:#04x} at offset {error.start}", fix="save it as UTF-8") from None


def parsed(text: str, shown: str) -> Any:
    """JSON in which numbers are still text and every object is an `Object`."""
    try:
        return json.loads(text, parse_int=Number, parse_float=Number, parse_constant=Number, object_pairs_hook=Object)
    except json.JSONDecodeError as error:
        raise ModelError(f"{shown} is not JSON: line {error.lineno}, column {error.colno}: {error.msg}", fix="mend that line") from None
    except RecursionError:
        raise ModelError(f"{shown} is nested too deep", fix=FORMAT) from None


def fields(value: Any, where: str) -> dict[str, Any]:
    """An object in which every name stands once."""
    if not isinstance(value, Object):
        raise ModelError(f"{where} is not a JSON object", fix=FORMAT)
    found: dict[str, Any] = {}
    for name, each in value:
        if name in found:
            raise ModelError(f"{where} has {print_value(name[:40])} twice", fix="keep one of them")
        found[name] = each
    return found


def is_text(value: Any) -> TypeGuard[str]:
    """Whether this is a string of the file, of whole characters."""
    return type(value) is str and is_unicode(value)


def read_name(value: Any, shown: str) -> str:
    if not is_text(value) or not value.isprintable() or not 0 < len(value) <= 80:
        raise ModelError(f'"name" of {shown} is not a name', fix="1 to 80 visible characters")
    return value


def read_vocabulary(whole: dict[str, Any], shown: str) -> Vocabulary:
    tokens = whole.get("tokens")
    if not isinstance(tokens, list) or isinstance(tokens, Object) or not tokens or not all(is_text(token) and token for token in tokens):
        raise ModelError(f'"tokens" of {shown} is not a list of texts', fix='"tokens": ["a", "b", "$"]')
    ids = {token: i for i, token in enumerate(tokens)}
    if len(ids) < len(tokens):
        twice = next(token for i, token in enumerate(tokens) if ids[token] != i)
        raise ModelError(f'"tokens" of {shown} has {print_value(twice)} twice', fix="name every token once")
    ends = whole.get("end", [])
    for end in (ends := ends if isinstance(ends, list) else [ends]):
        if not is_text(end) or end not in ids:
            found = f"{print_value(end)}, which is not a token" if is_text(end) else "something that is not a token"
            raise ModelError(f'"end" of {shown} names {found}.{did_you_mean(str(end), ids)}', fix='"end": "$", one of "tokens", or a list of them')
    return words(tokens, ends=[ids[end] for end in ends])


def read_order(value: Any, shown: str) -> int:
    if not isinstance(value, Number) or not re.fullmatch("[0-9]{1,9}", value):
        raise ModelError(f'"order" of {shown} is not a number of tokens', fix='"order": 1')
    return int(value)


def read_rows(whole: dict[str, Any], vocabulary: Vocabulary, shown: str) -> dict[Prefix, dict[str, Fraction | float]]:
    if "rows" not in whole and "otherwise" not in whole:
        raise ModelError(f"{shown} has no rows", fix=FORMAT)
    written = fields(whole.get("rows", Object()), f'"rows" of {shown}')
    if len(written) * len(vocabulary) > LARGEST:
        raise ModelError(f"{shown} has {len(written):,} rows of {len(vocabulary):,} tokens, more than {LARGEST:,} numbers", fix="make the table smaller")
    names = Names(vocabulary)
    rows: dict[Prefix, dict[str, Fraction | float]] = {}
    for key, row in written.items():
        where = f"the row {print_value(key[:80])} of {shown}"
        prefix = names.prefix(key, where)
        if ends := set(prefix) & set(vocabulary.ends):
            raise ModelError(f"{where} comes after the end: {vocabulary.show(min(ends))} ends a text", fix="leave the row out")
        if prefix in rows:
            raise ModelError(f"{where} stands twice, in another writing", fix="keep one of them")
        rows[prefix] = read_row(row, where)
    return rows


def read_row(row: Any, where: str) -> dict[str, Fraction | float]:
    """Probabilities by token: fractions, if they add to exactly 1 or not even nearly; else floats, and where exact sums would take long."""
    found: dict[str, Fraction] = {name: read_number(value, f"{where} gives {print_value(name[:40])}") for name, value in fields(row, where).items()}
    common = 1
    for p in found.values():
        if (common := lcm(common, p.denominator)).bit_length() > DENOMINATOR:
            return {name: float(p) for name, p in found.items()}
    near = 0 < abs(sum(found.values()) - 1) <= 1e-9
    return {name: float(p) if near else p for name, p in found.items()}


def read_number(value: Any, where: str) -> Fraction:
    text = value if isinstance(value, str) else ""
    if len(text) > LONGEST or not NUMBER.fullmatch(text):
        found = print_value(text[:40]) if type(value) is str else text[:40] or "something else"
        raise ModelError(f"{where} {found}, which is not a probability", fix=PROBABILITY)
    return Fraction(text)
