"""Words as a shell reads them."""

from __future__ import annotations

import re
import shlex


def quote(word: str) -> str:
    """A word for a shell, in double quotes where that is enough."""
    if re.fullmatch(r"[\w@%+=:,./-]+", word):
        return word
    return f'"{word}"' if not re.search(r'["\\$`!]', word) else shlex.quote(word)


def as_flags(fix: str) -> str:
    """A fix that names options of a server, in the words of the command."""
    return re.sub(r'(?<![\w-])(draws|engine|model|shown|chat|timeout|ends)=(?:"(\w+)")?', r"--model-option \1=\2", fix)
