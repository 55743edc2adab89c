"""A verb as a command of typer, and its help: what its function says (examples first), then its flags."""

from __future__ import annotations

import sys
from importlib import import_module
from inspect import signature
from typing import Any

import typer
from typer.core import TyperCommand

from ...methods import catalogue
from ...render.columns import columns, flow
from ...render.terminal import width
from .flags import PANEL, with_stage_flags
from .verbs import VERBS

EVERYWHERE = (("-h, --help", "this page"), ("--version", "ulam's version"), ("--debug", "show the traceback of an error"))


def build(verb: str) -> Any:
    """The command of a verb; other verbs are not imported."""
    module, name = VERBS[verb].split(":")
    function = getattr(import_module(f".{module}", __package__), name)
    app = typer.Typer(add_completion=False, rich_markup_mode=None)
    settings = {"help_option_names": ["-h", "--help"], "token_normalize_func": lambda word: word.replace("_", "-")}
    app.command(verb, cls=Command, context_settings=settings)(with_stage_flags(function) if "settings" in signature(function).parameters else function)
    return typer.main.get_command(app)


class Command(TyperCommand):
    """A command with help of our own form."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        size = min(100, width(sys.stdout))
        options: list[Any] = [p for p in self.params if p.param_type_name == "option" and not getattr(p, "hidden", False)]
        stages = [p for p in options if getattr(p, "rich_help_panel", None) == PANEL]
        text = (self.help or "").strip("\n") + "\n\n"
        if stages:
            text += "Stages, as words (top_p=0.9) or, where one value says all, as flags (--top-p 0.9)\n" + flow(list(catalogue()), size) + "\n"
        rows = [(names(p), p.help or "") for p in options if p not in stages]
        formatter.write(text + "Flags\n" + columns([*rows, *EVERYWHERE], size))


def names(option: Any) -> str:
    """An option as it is typed: its letter and its name, and the value if it takes one."""
    short = [name for name in option.opts if not name.startswith("--")]
    long = [name for name in option.opts if name.startswith("--")][:1]
    return (", ".join(short + long + option.secondary_opts) + f" {option.metavar or ''}").rstrip()
