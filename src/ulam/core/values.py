"""The value grammar: numbers, words, strings, lists and maps, as they stand in a recipe.

    0.8   1e-3   inf   generated   "a string"   [1, 2, end]   {50256: -5, " cat": 2.5}

Printing gives text that parses back to the same value.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from typing import Any, cast

from .errors import RecipeError, UnknownParameter


@dataclass(frozen=True, order=True)
class Word:
    """A bare word, told apart from a quoted string: `end` is a word, `"end"` is text."""

    name: str


@dataclass(frozen=True)
class Call:
    """A word with arguments, `linear(1.2, 0.7, over=100)`: positional values, then named ones."""

    name: str
    values: tuple[Any, ...]
    named: tuple[tuple[str, Any], ...]

    def __str__(self) -> str:
        return f"{self.name}({', '.join([*map(print_value, self.values), *(f'{key}={print_value(value)}' for key, value in self.named)])})"


TOKEN_WORDS = ("end", "bos")
"""Words that stand for a token of whatever vocabulary is bound."""


def is_unicode(text: str) -> bool:
    """Whether `text` can be written down: no half of a surrogate pair."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def print_number(x: float | int) -> str:
    """The shortest digits that read back to the same number; whole floats without a point."""
    if isinstance(x, int):
        return str(x)
    if math.isinf(x):
        return "inf" if x > 0 else "-inf"
    text = repr(float(x) + 0.0)  # a zero has no sign
    if text.endswith(".0"):
        text = text[:-2]
    return re.sub(r"e([+-]?)0*(\d)", lambda m: "e" + m[1].replace("+", "") + m[2], text)


def print_value(value: Any) -> str:
    """A value as recipe text."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return print_number(value)
    if isinstance(value, Word):
        return value.name
    if isinstance(value, Call):
        return str(value)
    if isinstance(value, str):
        return '"' + "".join(c if c.isprintable() and c not in '"\\' else json.dumps(c)[1:-1] for c in value) + '"'
    if isinstance(value, dict):
        return "{" + ", ".join(f"{print_value(k)}: {print_value(v)}" for k, v in cast(dict[Any, Any], value).items()) + "}"
    return "[" + ", ".join(print_value(each) for each in value) + "]"


NUMBER = re.compile(r"[+-]?(?:inf\b|(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)", re.ASCII)
WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_\-]*")
STRING = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)


class Reader:
    """Reads values from a text, left to right."""

    def __init__(self, text: str):
        self.text, self.at = text, 0

    def fail(self, wanted: str) -> RecipeError:
        first = max(0, self.at - 60)
        shown = "".join(c if c.isprintable() else " " for c in self.text[first : self.at + 40])
        rest = shown[self.at - first :][:12]
        found = f'"{rest}"' if rest else "the end"
        return RecipeError(f"cannot read the recipe at character {self.at + 1}: expected {wanted}, found {found}\n  {shown}\n  {' ' * (self.at - first)}^")

    def blanks(self) -> bool:
        start = self.at
        while self.at < len(self.text) and self.text[self.at].isspace():
            self.at += 1
        return self.at > start

    def take(self, pattern: re.Pattern[str]) -> str | None:
        found = pattern.match(self.text, self.at)
        if found:
            self.at = found.end()
            return found[0]
        return None

    def skip(self, sign: str) -> bool:
        """Step over `sign`, blanks before it included; False if it is not there."""
        mark = self.at
        self.blanks()
        if self.text.startswith(sign, self.at):
            self.at += len(sign)
            return True
        self.at = mark
        return False

    def expect(self, sign: str) -> None:
        if not self.skip(sign):
            self.blanks()
            raise self.fail(f'"{sign}"')

    def value(self) -> Any:
        self.blanks()
        if self.skip("["):
            return self.items("]", self.value)
        if self.skip("{"):
            pairs: list[tuple[Any, Any]] = self.items("}", self.pair)
            if len({print_value(key) for key, _ in pairs}) < len(pairs):
                raise self.fail("every key of the map once")
            return dict(pairs)
        if (text := self.take(STRING)) is not None:
            try:
                return json.loads(text, strict=False)
            except ValueError:
                raise self.fail("a string with JSON escapes") from None
        if (text := self.take(NUMBER)) is not None:
            try:
                return int(text)
            except ValueError:
                return float(text)
        if (text := self.take(WORD)) is not None:
            return self.call(text) if self.text.startswith("(", self.at) else {"true": True, "false": False}.get(text, Word(text))
        raise self.fail("a value")

    def call(self, name: str) -> Call:
        """The arguments after a word."""
        self.at += 1
        values, named = self.arguments(name)
        return Call(name, tuple(values), tuple(named.items()))

    def arguments(self, name: str) -> tuple[list[Any], dict[str, Any]]:
        """What stands in brackets after `name`, the opening one read: values, then named values, each once."""
        values: list[Any] = []
        named: dict[str, Any] = {}
        for key, value in self.items(")", self.argument):
            if key is None:
                if named:
                    raise self.fail("positional values before named ones")
                values.append(value)
            elif key in named:
                raise UnknownParameter(f"{name}: {key} is given twice", stage=name, parameter=key)
            else:
                named[key] = value
        return values, named

    def argument(self) -> tuple[str | None, Any]:
        """One argument: `value` or `name=value`."""
        self.blanks()
        mark = self.at
        word = self.take(WORD)
        if word is not None and self.skip("="):
            return word, self.value()
        self.at = mark
        return None, self.value()

    def pair(self) -> tuple[Any, Any]:
        key = self.value()
        if isinstance(key, list) and all(type(each) is int for each in cast(list[Any], key)):
            key = tuple(cast(list[int], key))
        if isinstance(key, (dict, list, bool, Call)):
            raise self.fail("a number, a string, a word or a list of ids as the key")
        self.expect(":")
        return key, self.value()

    def items(self, close: str, one: Any) -> list[Any]:
        out: list[Any] = []
        if self.skip(close):
            return out
        while True:
            out.append(one())
            if self.skip(close):
                return out
            self.expect(",")
