"""The program in which a chat template runs, alone: JSON in on its input, JSON out. `chat.py` starts it; nothing imports it.

It has jinja2's immutable sandbox and what templates expect of transformers: `tojson`, `raise_exception`, `strftime_now`, `break` and
`continue`, and the block `generation`, which marks what an assistant said for training and is here only its text.
"""

from __future__ import annotations

import json
import math
import sys
from datetime import datetime
from typing import Any

from jinja2 import ext, nodes, sandbox


class Complaint(Exception):
    """What a template says of the messages."""


class Generation(ext.Extension):
    tags = {"generation"}

    def parse(self, parser: Any) -> Any:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.CallBlock(self.call_method("said"), [], [], body).set_lineno(line)

    def said(self, caller: Any) -> Any:
        return caller()


def complain(message: Any) -> None:
    raise Complaint(str(message))


def tojson(x: Any, ensure_ascii: bool = False, indent: Any = None, separators: Any = None, sort_keys: bool = False) -> str:
    return json.dumps(x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def limit(memory: int, seconds: float) -> None:
    """At most so many bytes and seconds, where the system can say so."""
    try:
        import resource
    except ImportError:
        return
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CPU, (math.ceil(seconds), math.ceil(seconds)))


def answer(template: str, names: dict[str, Any], longest: int) -> dict[str, str]:
    """`text`, or what is wrong: a `complaint` of the template's, or how it `failed`."""
    try:
        environment = sandbox.ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[Generation, ext.loopcontrols])
        environment.filters["tojson"] = tojson
        environment.globals.update(raise_exception=complain, strftime_now=lambda form: datetime.now().strftime(form))
        text = environment.from_string(template).render(**names)
    except Complaint as error:
        return {"complaint": str(error)[:400]}
    except Exception as error:  # of a program that nobody here has written
        return {"failed": f"{type(error).__name__}: {error}"[:400]}
    return {"text": text} if len(text) <= longest else {"failed": f"it makes a text of {len(text)} characters"}


if __name__ == "__main__":
    given = json.load(sys.stdin)
    limit(given["memory"], given["seconds"])
    json.dump(answer(given["template"], given["names"], given["longest"]), sys.stdout)
