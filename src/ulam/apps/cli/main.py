"""The entry: from words to a verb, from every error to a few lines and an exit code."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from io import TextIOWrapper
from typing import Any, NoReturn

from ... import __version__
from ...core.errors import UlamError, UsageError, nearest
from ...render.terminal import is_terminal, visible
from .talk import say
from .verbs import VERBS
from .words import quote

CLOSED = 141

ELSEWHERE = {
    "-t": "temperature is --temp",
    "-s": "the seed is --seed, a text to stop before is --stop",
    "-c": "the length is --max-tokens; the context is the model's own",
    "-N": "samples are -n, tokens are --max-tokens",
}
"""Letters that mean different things in other tools, and what to type instead."""

DRAWN = dict.fromkeys(("-n", "-N", "--samples", "-s", "--seed", "--stream"), "nothing is drawn; ulam sample draws")
HERE = {
    "law": {**DRAWN, "-f": "the prompt is -p TEXT", "--file": "the prompt is -p TEXT", "--stop": "ulam.law in Python has stop="},
    "score": {**DRAWN, **dict.fromkeys(("-c", "--max-tokens", "--stop"), DRAWN["-n"]), "-p": "the text is a word, what stands before it is --prompt"},
}
"""Flags of `ulam sample` that another verb has no place for, and why."""

TEXT = {"sample": "ulam -p", "law": "ulam law -p", "score": "ulam score --"}
"""What stands before a text that begins like a flag."""


def run() -> NoReturn:
    """Run the command of this process, and exit."""
    sys.exit(main(sys.argv[1:]))


def main(words: Sequence[str]) -> int:
    """Run a command; its exit code: 0 done, 1 a fault, 2 usage, 3 some samples in error, 5 a model that does not load, 130, 141."""
    ends = words.index("--") if "--" in words else len(words)
    debug = "--debug" in words[:ends]
    words = [*(word for word in words[:ends] if word != "--debug"), *words[ends:]]
    if sys.stdout is None:
        return CLOSED
    try:
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, TextIOWrapper):
                stream.reconfigure(encoding="utf-8", errors="backslashreplace")
        code = dispatch(words)
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        discard_output()
        return CLOSED
    except KeyboardInterrupt:
        say("── interrupted")
        return 130
    except Exception as fault:
        error = explain(fault, words)
        if debug:
            import traceback

            say(traceback.format_exc(), end="")
        say(visible(f"error: {error}"))  # an error may quote a file that somebody else wrote
        return error.exit_code


def dispatch(words: Sequence[str]) -> int:
    """Find the verb (`sample` if the first word is none), build its command alone, and run it."""
    import typer

    from .command import build
    from .reading import check_arguments

    check_arguments(words)
    if words[:1] == ["--version"]:
        print(f"ulam {__version__}")
        return 0
    if words in (["help"], ["version"]):  # a story about help is not what anybody wants
        raise UsageError(f"{words[0]} is no verb", fix=f"ulam --{words[0]}; for a text that begins so: ulam sample {words[0]}")
    verb, rest = (words[0], list(words[1:])) if words and words[0] in VERBS else ("sample", list(words))
    if " ".join(words[:2]) in VERBS:
        verb, rest = " ".join(words[:2]), list(words[2:])
    if not words and is_terminal(sys.stdin):
        rest = ["--help"]
    command = build(verb)
    try:
        with command.make_context("ulam", rest) as context:
            return command.invoke(context) or 0
    except typer.Exit as stop:
        return stop.exit_code


def explain(fault: Exception, words: Sequence[str]) -> UlamError:
    """Any fault as an error that a person can read."""
    import typer

    if isinstance(fault, UlamError):
        return fault
    if isinstance(fault, typer.BadParameter.__mro__[1]):  # the usage errors of click, whichever click typer brings
        return explain_usage(fault, words)
    if isinstance(fault, MemoryError):
        return UlamError("out of memory", fix="fewer samples at once (-n), a shorter text, or a smaller model")
    if isinstance(fault, OSError) and fault.strerror:
        return UlamError(f"the system refused: {fault.strerror.lower()}")
    what = f"a fault of ulam {__version__}, not yours: {type(fault).__name__} {' '.join(str(fault).split())[:200]}".rstrip()
    return UlamError(what, fix=f"report it with what this prints: {' '.join(['ulam', '--debug', *map(quote, words)])}")


def explain_usage(fault: Any, words: Sequence[str]) -> UsageError:
    """A usage error of click in our words."""
    typed: str = getattr(fault, "option_name", "")
    if hasattr(fault, "possibilities"):
        word = typed if typed in words else next((word for word in words if word.startswith(typed)), typed)
        return unknown_flag(word, typed, fault.ctx.command)
    if typed:
        return UsageError(f"{typed} {'takes no value' if 'not take' in fault.message else 'needs a value'}")
    option = getattr(fault, "param", None)
    name = "the command" if option is None else full_name(option) if option.param_type_name == "option" else option.metavar or option.name
    if not fault.message:
        return UsageError(f"{name} is missing", fix="--help shows how")
    what, _, more = fault.message.rstrip(".").partition(", ")
    told = more if what == "Value error" else what
    return UsageError(f"{name}: {told[:1].lower()}{told[1:]}")


def unknown_flag(word: str, typed: str, command: Any) -> UsageError:
    """`typed` is what click took for a flag, the beginning of `word`."""
    verb = command.name
    if verb in TEXT and (" " in word or word[1:2].isdigit()):
        return UsageError(f"{quote(word)} begins like a flag", fix=f"{TEXT[verb]} {quote(word)}, for a text")
    elsewhere = ELSEWHERE | HERE.get(verb, {})
    if typed in elsewhere:
        return UsageError(f"{typed} is not used here: {elsewhere[typed]}")
    known = {name: full_name(option) for option in command.params if option.param_type_name == "option" for name in option.opts if name.startswith("--")}
    near = dict.fromkeys(known[name] for name in nearest(typed.replace("_", "-"), known))
    hint = f" Did you mean {' or '.join(near)}?" if near else ""
    return UsageError(f"unknown flag {typed}.{hint}", fix=None if near else f"ulam {'' if verb == 'sample' else verb + ' '}--help lists the flags")


def full_name(option: Any) -> str:
    """The name of an option that its help shows."""
    return next((name for name in option.opts if name.startswith("--")), option.opts[0])


def discard_output() -> None:
    """Nobody reads any more: what Python would still write when it exits goes nowhere."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            os.dup2(nowhere, stream.fileno())
