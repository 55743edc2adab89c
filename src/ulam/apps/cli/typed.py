"""The command as it was typed: which words are the prompt, which are stages, and how it could be typed better."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

import typer

from ...core.errors import RecipeError, UsageError
from ...recipe import Recipe
from .flags import flagged
from .verbs import VERBS
from .words import quote


class Typed:
    """The words of `ulam sample`.

    text        the prompt that was given as a word or with `-p`, or None
    from_input  whether `-` stands in its place
    stages      the words after it; with `-p` or `-f`, all words

    Raises `UsageError` if the word in the prompt's place is a stage.
    """

    verb = ""
    noun = "prompt"
    advice = "Words after the prompt are stages; if they belong to the prompt, quote it."

    def __init__(self, context: typer.Context, words: Sequence[str], prompt: str | None, file: str | None):
        rest = list(words)
        self.context, self.file, self.text, self.as_option = context, file, prompt, prompt is not None
        self.from_input = rest[:1] == ["-"]
        if self.from_input:
            del rest[0]
        elif rest and prompt is None and file is None:
            self.text = rest.pop(0)
            if re.search("[=(]", self.text) and is_recipe(self.text):
                what = f'"{self.text}" is a stage and stands where the {self.noun} stands'
                begin = f"ulam {self.verb}".rstrip()
                raise UsageError(what, fix=f'{begin} "Once upon a time" {quote(self.text)}; after a pipe: {begin} - {quote(self.text)}')
        self.stages = rest

    def with_recipe(self, recipe: str) -> str:
        """The command with this recipe as words, in place of every other one."""
        stages = [quote(recipe)] if "(" in recipe else recipe.split()
        return self.again(self.text, stages, without=("recipe", *flagged()))

    def with_prompt(self, count: int) -> str | None:
        """The command with the first `count` stages as a part of the prompt; None if the prompt is no word."""
        if self.file is not None or self.from_input:
            return None
        text = " ".join([*([] if self.text is None else [self.text]), *self.stages[:count]])
        return self.again(text, [quote(stage) for stage in self.stages[count:]])

    def again(self, text: str | None, stages: Sequence[str], without: Collection[str] = ()) -> str:
        words = ["-"] if self.from_input else []
        if text is not None and not self.as_option:
            words += self.as_words(text, f'"{text}"' if quote(text) == text else quote(text))
        words += stages
        options: list[str] = []
        for option in self.context.command.params:
            source = self.context.get_parameter_source(option.name or "")
            if option.param_type_name == "option" and option.name not in without and source is not None and source.name == "COMMANDLINE":
                options += typed_again(option.opts, option.secondary_opts, text if option.name == "prompt" else self.context.params[option.name or ""])
        whole = [*options, *words] if words[:1] == ["--"] else [*words, *options]
        return " ".join(["ulam", *([self.verb] if self.verb else []), *whole])

    def as_words(self, text: str, whole: str) -> list[str]:
        """The prompt, `whole` in quotes, as it stands in a command."""
        return ["-p", whole] if text.startswith("-") else ["sample", whole] if text in VERBS else [whole]


class Text(Typed):
    """The words of another verb about a text, which has no flag for it."""

    noun = "text"
    advice = "Words after the text are stages; if they belong to the text, quote it."

    def __init__(self, context: typer.Context, words: Sequence[str], file: str | None, verb: str):
        self.verb = verb
        super().__init__(context, words, None, file)

    def as_words(self, text: str, whole: str) -> list[str]:
        return ["--", whole] if text.startswith("-") else [whole]


class Stages(Typed):
    """The words of a verb about recipes: all of them are stages, and the prompt is `-p`."""

    advice = "The words of this command are stages; a prompt is -p TEXT."

    def __init__(self, context: typer.Context, words: Sequence[str], prompt: str | None, verb: str):
        self.context, self.file, self.text, self.as_option = context, None, prompt, prompt is not None
        self.from_input, self.stages, self.verb = False, list(words), verb

    def as_words(self, text: str, whole: str) -> list[str]:
        return ["-p", whole]


def typed_again(names: Sequence[str], negations: Sequence[str], value: object) -> list[str]:
    """An option's words."""
    name = next((name for name in names if name.startswith("--")), names[0])
    if isinstance(value, bool):
        return [name if value else negations[0]]
    return [word for each in (value if isinstance(value, (list, tuple)) else [value]) for word in (name, quote(str(each)))]


def is_recipe(text: str) -> bool:
    try:
        return bool(Recipe(text).stages)
    except RecipeError:
        return False
