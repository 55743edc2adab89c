"""Any OpenAI-compatible server as an engine. Two ways to draw, and the record says which.

server  The recipe is written in the parameters of the server's engine (`recipe/dialects`) and sent; one that the engine cannot do exactly is
        refused (`Inexact`). The server draws. Each sample is a request of its own, with a seed of 31 bits made from the run's seed and the
        sample's number; whether the server gives the same text for it again is the server's affair.
here    One token a request: the server shows the K most likely tokens after the text so far, under neutral settings, and the recipe
        draws from them with ulam's own noise. A recipe that these K tokens do not decide is refused (`head.py`). Replayable as far as the
        server's numbers are: they may depend on what else it computes. The draw is the inverse CDF in the order of the server's token
        ids where it tells them, else in the order of the tokens' bytes: the law is that of `ulam.sample`, and with the same numbering the
        tokens are too (not those of `gumbel_max`, which has a uniform for every token).

Log-probabilities that the server tells are the model's where its engine documents that (`AT_MODEL`) or where the recipe is the model as
it is; elsewhere, and where the engine is not recognised, they are not shown at all, and `logprobs_at` says "unknown".
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from ..core.context import History
from ..core.errors import Inexact, NeedsTokenizer, ServerError, UlamError, Unsupported
from ..core.noise import Address, PhiloxNoise
from ..core.parameter import Item
from ..core.values import Word
from ..decode.engine import EngineRun, Whole
from ..decode.loop import Event, Row
from ..decode.request import Prompt
from ..decode.samples import FinishReason, failing
from ..recipe import Recipe
from ..recipe.dialects import export, find
from .answers import Answer, Entry, Reader, Step, name_of
from .head import Head, Look, check, cut
from .seen import Seen
from .server import Server
from .speller import Following, Speller

AT_MODEL = ("vllm", "llama.cpp")
"""Engines whose log-probabilities are those of the model, before any stage, unless they were started or asked otherwise."""

FEWER = (20, 5)
"""Most likely tokens that are asked for where a server refuses more."""

LOOKS = 4
"""How often a row is asked for whose list may hide one of its tokens, or that the server ends without showing it."""


class Remote:
    """A model on a server; see `open_remote`."""

    def __init__(self, server: Server, model: str, engine: str | None, *, draws: str, chat: bool, shown: int, ends: Sequence[str]):
        """`engine` is None for one that is not recognised; it is taken for `openai`, and what it tells is not taken for the model's."""
        self.server, self.model, self.dialect, self.recognised = server, model, find(engine or "openai"), engine is not None
        self.draws, self.chat, self.shown, self.ends = draws, chat, shown, tuple(ends)
        self.vocabulary = Seen()
        self.speller = Speller(server, model) if engine == "vllm" and draws == "here" else None
        self.reader = Reader(server.error, coded=self.speller is not None)
        self.tells = True
        """Whether the server tells log-probabilities."""
        self.tokenizes = True

    @property
    def name(self) -> str:
        return self.model

    @property
    def fingerprint(self) -> str:
        """The name: a server tells no more of its weights."""
        return f"name:{self.model}"

    @property
    def capabilities(self) -> frozenset[str]:
        return frozenset() if self.chat else frozenset({"token_ids"})

    def __repr__(self) -> str:
        return f"Remote({self.model} at {self.server.url}, {self.dialect.name}, draws={self.draws!r})"

    def generate(
        self,
        prompts: Prompt | Sequence[Prompt],
        recipe: str | Recipe | Sequence[str | Recipe] = "",
        seed: int | None = None,
        *,
        n: int = 1,
        max_tokens: int = 256,
        stop: str | Sequence[str] = (),
        sequence: int | Sequence[int] | None = None,
    ) -> EngineRun:
        """A run; arguments as `ulam.stream`. Raises `Inexact` for a recipe that cannot be done exactly; what depends on a row comes with the events."""
        here = self.draws == "here"
        self.server.interrupted = False
        where = {"engine": self.dialect.name, "recognised": self.recognised, "draws": self.draws, "server": self.server.url}
        taken = self.dialect.name if self.recognised else f"not recognised, taken for {self.dialect.name}"
        run = EngineRun(
            self,
            self.draw_here if here else self.ask_for_texts,
            prompts,
            recipe,
            seed,
            n=n,
            max_tokens=max_tokens,
            stop=stop,
            sequence=sequence,
            facts={**where, "logprobs_at": "model" if here else "unknown", "replay": "with the same rows of the server" if here else "the server's affair"},
            told=[f"drawn here, from the {self.shown} most likely tokens of the server ({taken})" if here else f"drawn by the server ({taken})"],
            interrupt=self.server.interrupt,
        )
        recipes = dict.fromkeys(row.recipe for row in run.rows)
        for each in recipes:
            if here:
                check(each, self.shown, prompt=True)
            else:
                self.written(each)
        if not here and all(self.at_model(each) for each in recipes):
            run.facts["logprobs_at"] = "model"
        return run

    # -- the server draws

    def at_model(self, recipe: Recipe) -> bool:
        """Whether what the server tells under this recipe is the model's."""
        return self.recognised and (self.dialect.name in AT_MODEL or plain(recipe))

    def written(self, recipe: Recipe) -> dict[str, Any]:
        """The recipe in the server's parameters. Raises `Inexact`."""
        try:
            return dict(recipe.to(self.dialect.name).parameters)
        except Inexact as error:
            error.fix = 'draws="here"' if self.recognised else 'draws="here"; or engine=NAME, if the server is another one'
            raise

    def ask_for_texts(self, run: EngineRun) -> Iterator[Event]:
        noise = PhiloxNoise(run.seed or 0)
        for row in run.rows:
            if run.cancelled:
                return
            body: dict[str, Any] = {**self.beginning(row), "max_tokens": run.max_tokens, **self.written(row.recipe)}
            if run.stop:
                body["stop"] = list(run.stop)
            if "seed" in self.dialect.rest:
                body["seed"] = int(noise.bits(Address(row.sequence, 0))) >> 33
            try:
                yield self.whole(self.answer(body), row, run).of(row)
            except ServerError as error:
                if not run.finished or not about_the_text(error):
                    raise
                yield row.finish("error", error=error)

    def beginning(self, row: Row) -> dict[str, Any]:
        if self.chat:
            return {"model": self.model, "messages": [{"role": "user", "content": row.prompt}]}
        return {"model": self.model, "prompt": list(row.history.prompt) or row.prompt}

    def answer(self, body: dict[str, Any]) -> Answer:
        """With log-probabilities, if the server has any to give."""
        path = "/chat/completions" if self.chat else "/completions"
        if self.tells:
            try:
                return self.reader.answer(self.server.post(path, {**body, "logprobs": True if self.chat else 1}))
            except ServerError as error:
                if not about_log_probs(error):
                    raise
                self.tells = False
        return self.reader.answer(self.server.post(path, body))

    def whole(self, answer: Answer, row: Row, run: EngineRun) -> Whole:
        choice = answer.choice
        row.prompt_size = answer.prompt_tokens if answer.prompt_tokens is not None else row.prompt_size
        reason, error = self.reason(choice.reason)
        stopped_by = choice.stop if choice.stop in run.stop else None
        if choice.steps is None:
            return Whole(choice.text, reason, stopped_by, size=answer.tokens, error=error)
        tokens = tuple(self.vocabulary.add(step.drawn, self.is_end(step.drawn)) for step in choice.steps)
        told = np.array([step.drawn.log_prob for step in choice.steps])
        unknown = np.full(len(tokens), np.nan)
        model = told if self.at_model(row.recipe) else unknown
        return Whole(choice.text, reason, stopped_by, tokens, model, told if self.recognised and plain(row.recipe) else unknown, len(tokens), error)

    def reason(self, said: str | None) -> tuple[FinishReason, UlamError | None]:
        if said == "length":
            return "length", None
        if said in ("stop", "eos", "eos_token", None):
            return "stop", None
        return "error", self.server.error(f"ended the text for another reason: {self.server.scrub(said)}")

    # -- the draws are made here

    def draw_here(self, run: EngineRun) -> Iterator[Event]:
        first: dict[tuple[str, tuple[int, ...]], tuple[Step, Row]] = {}
        begun = False
        for row in run.rows:
            text: Following | None = None
            while row.index not in run.finished and not run.cancelled:
                try:
                    step = self.step_after(row) if row.tokens else self.first_step(row, first)
                    entries, head = self.head(step)
                    token, model, recipe = self.draw(row, entries, head, run.seed or 0)
                    entry = self.spelled(entries[token])
                    end = self.is_end(entry)
                    number = self.vocabulary.add(entry, end)
                    raw = self.vocabulary.tokens[number]
                    if self.speller is not None and entries[token].is_code and not end:
                        text = text or Following(self.speller, row.history.prompt)
                        raw = text.add(number, last=len(row.tokens) + 1 == run.max_tokens)
                except Inexact as error:
                    if not begun:
                        raise
                    error.position = len(row.tokens)
                    yield row.finish("error", error=error)
                    break
                except UlamError as error:
                    if isinstance(error, ServerError) and not (begun and about_the_text(error)):
                        raise
                    error.position = len(row.tokens) if row.tokens else None
                    yield row.finish(failing(error), error=error)
                    break
                begun = True
                yield row.add(number, model, recipe, raw)
                if end:
                    yield row.finish("stop", self.vocabulary.names[number])
                elif row.stream.stopped_by is not None:
                    yield row.finish("stop")
                elif len(row.tokens) == run.max_tokens:
                    yield row.finish("length")
                elif entry.raw is None and not row.history.prompt:
                    yield row.finish("error", error=self.server.error(f"shows the token {entry.text!r} without its bytes, so the text cannot go on"))
                else:
                    continue
                break

    def first_step(self, row: Row, known: dict[tuple[str, tuple[int, ...]], tuple[Step, Row]]) -> Step:
        """What the server shows after the prompt: asked for once, however many samples it has."""
        key = row.prompt, tuple(row.history.prompt)
        if key not in known:
            known[key] = self.step_after(row), row
        step, other = known[key]
        row.history, row.prompt_size = History(other.history.prompt, row.tokens), other.prompt_size
        return step

    def is_end(self, entry: Entry) -> bool:
        return entry.text in self.ends or entry.raw == b""

    def step_after(self, row: Row) -> Step:
        """What the server shows after the text so far."""
        if self.chat:
            raise Unsupported("an answer of the chat endpoint cannot be continued token by token", fix='chat=False, or draws="server"')
        neutral = export(self.dialect, Recipe()).parameters
        looks = 0
        while True:
            body = {"model": self.model, "prompt": self.so_far(row), "max_tokens": 1, **neutral, "logprobs": self.shown}
            body |= {"return_tokens_as_token_ids": True} if self.speller is not None else {}
            body |= {"seed": looks} if looks and "seed" in self.dialect.rest else {}
            try:
                answer = self.reader.answer(self.server.post("/completions", body))
            except ServerError as error:
                if self.shown <= FEWER[-1] or not about_log_probs(error):
                    raise
                self.shown = next(each for each in FEWER if each < self.shown)
                continue
            steps, looks = answer.choice.steps, looks + 1
            unclear = steps == () or (steps and len(steps[0].top) == self.shown and steps[0].hides(self.shown))
            if unclear and looks < LOOKS:
                continue
            if steps == ():
                raise self.server.error("ends the text here and does not show what it drew from", fix='draws="server"')
            if not steps or not steps[0].top:
                raise self.server.error("shows no log-probs, without which nothing can be drawn here")
            if row.history.prompt and not self.reader.ids:
                raise Unsupported("a prompt of token ids is continued by ids, and this server tells none", fix="the prompt as text")
            if not row.tokens and not row.history.prompt:
                row.prompt_size = answer.prompt_tokens if answer.prompt_tokens is not None else row.prompt_size
                if self.tokenizes and self.reader.ids:
                    self.learn_prompt(row)
            return steps[0]

    def so_far(self, row: Row) -> str | list[int]:
        """The text so far: as ids where those of the prompt are known, else as text, which the server reads anew."""
        if row.history.prompt:
            return [*row.history.prompt, *row.tokens]
        try:
            return row.prompt + b"".join(self.vocabulary.tokens[token] for token in row.tokens).decode("utf-8")
        except UnicodeDecodeError:
            what = f"{self.model} shows tokens as text, and the text so far ends in half a character, after which it cannot be asked"
            raise Unsupported(what, fix='a server that tells token ids, or draws="server"', position=len(row.tokens)) from None

    def learn_prompt(self, row: Row) -> None:
        """The ids of the prompt, from a server that tells them."""
        body = {"model": self.model, "content": row.prompt, "prompt": row.prompt, "add_special": True, "add_special_tokens": True}
        try:
            tokens = self.server.post_beside("/tokenize", body).get("tokens")
        except ServerError as error:
            if error.status is None:
                raise
            tokens = None
        if isinstance(tokens, list) and tokens and all(isinstance(each, int) and not isinstance(each, bool) and each >= 0 for each in tokens):
            row.history = History(tuple(tokens), row.history.generated)
            row.prompt_size = len(tokens)
        else:
            self.tokenizes = False

    def head(self, step: Step) -> tuple[list[Entry], Head]:
        """The shown tokens in the order of a draw, and what is known of the row."""
        shown = list(step.top)
        if all(name_of(entry) != name_of(step.drawn) for entry in shown):
            shown.append(step.drawn)
        shown.sort(key=place)
        return shown, Head.of([entry.log_prob for entry in shown], len(shown) + 1 if step.hides(self.shown) else self.shown)

    def draw(self, row: Row, entries: list[Entry], head: Head, seed: int) -> tuple[int, float, float]:
        """The column of the drawn token, and its log-probabilities under the model and under the recipe."""
        columns = {self.number(entry): at for at, entry in enumerate(entries)}
        for token in (*row.history.prompt, *row.tokens):
            columns.setdefault(token, len(columns))
        history = History([columns[token] for token in row.history.prompt], [columns[token] for token in row.tokens])

        def column(item: Item) -> int | None:
            if isinstance(item, int) and not self.reader.ids:
                raise NeedsTokenizer(f"token {item} is an id, and this server shows none", fix="the token as text")
            return next((at for at, entry in enumerate(entries) if self.means(item, entry)), None)

        known = bool(row.history.prompt) or not row.prompt
        z, rest = cut(head, row.recipe, Look(history, len(columns) - len(entries), column, known))
        choice = rest.choose(z, seed, row.sequence, len(row.tokens), history.prompt, history.generated)
        return choice.token, float(head.log_probs[choice.token]), choice.recipe_log_prob

    def number(self, entry: Entry) -> int:
        return entry.token if entry.token is not None and entry.is_code else self.vocabulary.add(entry, self.is_end(entry))

    def spelled(self, entry: Entry) -> Entry:
        return self.speller.spelled(entry) if self.speller is not None and entry.is_code else entry

    def means(self, item: Item, entry: Entry) -> bool:
        """Whether a token of a recipe is this one."""
        if isinstance(item, int):
            return entry.token == item
        entry = self.spelled(entry)
        if isinstance(item, Word):
            return item.name == "end" and self.is_end(entry)
        return item in (entry.text, entry.raw and entry.raw.decode("utf-8", "replace"))


def plain(recipe: Recipe) -> bool:
    """Whether a recipe is the model as it is."""
    return not recipe.simplified().transforms and recipe.chooser.name in ("categorical", "gumbel_max")


def place(entry: Entry) -> tuple[int, bytes]:
    """Where a token stands in the order of a draw: by its id, else by its bytes."""
    return entry.token or 0, b"" if entry.token is not None else entry.raw if entry.raw is not None else entry.text.encode("utf-8", "replace")


def about_the_text(error: ServerError) -> bool:
    """Whether a server that has answered before may refuse this request for its text: most often it is too long."""
    return error.status in (400, 413, 422)


def about_log_probs(error: ServerError) -> bool:
    return error.status in (400, 422) and "logprob" in error.what.lower()
