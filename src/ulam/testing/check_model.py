"""The check of a model: every rule of the protocol, on texts that the model itself allows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import numpy as np

from ..core.errors import ContextOverflow, EmptyPrompt, ModelError, NeedsTokenizer, TokenOutOfRange, UlamError
from ..decode.request import Prompt, read_prompts
from ..models.protocol import LanguageModel
from .check_noise import refused
from .inputs import permutation
from .model_states import batch, extend, forks, go_on, layer_logits, prefill, release, select, stale
from .report import ConformanceError, Report
from .subject import Inapplicable, probabilities
from .trial import Text, Trial, shown

CAPABILITIES = {"batch_invariant", "extend", "layer_logits"}
REACH = 1024  # tokens; a longer context is not tried to its end
LEAVES = 729  # texts of three tokens that are enumerated
WALK = 99  # the stream of the text that fills a context
TEXTS = ("Once upon a time, there was a fox.", " two  spaces\n\tand a naïve 日本語 🙂")


def check_model(model: LanguageModel, *, prompts: Sequence[Prompt] | None = None, tolerance: float = 1e-3) -> Report:
    """Check that a model keeps the rules of `LanguageModel` (`models/protocol.py`).

    model      any; it must be deterministic. It is run on a few dozen short texts, and on one that fills its context if that
               holds at most 1024 tokens
    prompts    where texts begin, as texts or token ids. Left out: the start token; without one the empty text; if the model
               wants a token, three of them. From there texts go on with tokens that the model says are possible
    tolerance  how far a log-probability may lie, nats, from that of the same tokens read alone and step by step, for a model
               that does not declare "batch_invariant" (the report prints the largest difference seen); if it does, no bit may differ

    Raises `ConformanceError` with the smallest text found that shows a fault. Its `promise` is the name of the check.
    """
    report = Report(str(getattr(model, "name", type(model).__name__)))
    run(report, "form", lambda: form(model))
    run(report, "vocabulary", lambda: vocabulary(model))
    trial = Trial(model, None if prompts is None else read_prompts(model, list(prompts))[1], tolerance)
    run(report, "texts", lambda: len(trial.texts))
    for check in CHECKS:
        run(report, check.__name__, lambda check=check: check(trial))
    report.asserted["logits"] = trial.rows
    if not trial.exact:
        report.measured["largest difference"] = f"{trial.largest:.3g} nats, at most {tolerance:g} allowed"
    return report.closed()


def run(report: Report, promise: str, check: Callable[[], int]) -> None:
    """One check: what it asserted, or why it says nothing here. Whatever the model raises unasked breaks the promise."""
    try:
        report.asserted[promise] = check()
    except Inapplicable as why:
        report.not_applicable[promise] = str(why)
    except ConformanceError:
        raise
    except Exception as error:
        raise ConformanceError(report.subject, promise, f"{type(error).__name__}: {error}".splitlines()[0]) from error


def form(model: Any) -> int:
    """Everything the protocol names is there and of its type."""
    capabilities = ", ".join(sorted(CAPABILITIES))
    rules: list[tuple[Callable[[], bool], str]] = [
        (lambda: isinstance(model, LanguageModel), "a call or an attribute of a LanguageModel is missing"),
        (lambda: isinstance(model.name, str) and model.name != "", "the name is not a text"),
        (lambda: isinstance(model.fingerprint, str) and len({model.fingerprint for _ in range(2)}) == 1, "the fingerprint is not one text"),
        (lambda: model.context_limit is None or (type(model.context_limit) is int and model.context_limit > 0), "context_limit is not a number of tokens"),
        (lambda: isinstance(model.capabilities, frozenset) and model.capabilities <= CAPABILITIES, f"capabilities are not a frozenset of {capabilities}"),
        *(
            (lambda call=call: call not in model.capabilities or callable(getattr(model, call, None)), f'it declares "{call}" and has no such call')
            for call in ("extend", "layer_logits")
        ),
        (lambda: "layer_logits" not in model.capabilities or (type(model.layers) is int and model.layers > 0), "layers is not a number of layers"),
    ]
    return asserted(model, "form", rules)


def vocabulary(model: LanguageModel) -> int:
    """At least one token, each of them bytes; start, end and names are ids."""
    tokens = model.vocabulary
    ids = [*tokens.ends, *tokens.names, *([] if tokens.start is None else [tokens.start])]
    rules: list[tuple[Callable[[], bool], str]] = [
        (lambda: len(tokens) > 0, "it has no token"),
        (lambda: len(tokens.tokens) == len(tokens), f"it has {len(tokens.tokens)} texts for {len(tokens)} tokens"),
        (lambda: all(isinstance(raw, bytes) for raw in tokens.tokens), "the text of a token is not bytes"),
        *((lambda i=i: type(i) is int and 0 <= i < len(tokens), f"token id {i!r} is outside 0 to {len(tokens) - 1}") for i in ids),
    ]
    return asserted(model, "vocabulary", rules)


def asserted(model: Any, promise: str, rules: Sequence[tuple[Callable[[], bool], str]]) -> int:
    for holds, what in rules:
        if not holds():
            raise ConformanceError(str(getattr(model, "name", type(model).__name__)), promise, what)
    return len(rules)


def text(trial: Trial) -> int:
    """Text becomes tokens that have this text."""
    tokens, done = trial.model.vocabulary, 0
    for written in dict.fromkeys([*(tokens.decode(ids) for ids in trial.texts), *TEXTS]):
        if not written or "\ufffd" in written:
            continue
        try:
            found = tokens.decode(tokens.encode(written))
        except NeedsTokenizer:
            raise Inapplicable("the vocabulary has no text") from None
        except UlamError:  # refused aloud
            continue
        done += 1
        if found != written:
            trial.fail("text", f"{written!r} becomes tokens whose text is {found!r}")
    if not done:
        raise Inapplicable("no text that the model allows can be encoded")
    return done


def deterministic(trial: Trial) -> int:
    """Equal tokens, equal logits: asked twice, by prefill and step by step."""
    for ids in trial.texts:
        _, first = trial.prefill([ids])
        _, second = trial.prefill([ids])
        trial.same("deterministic", "prefill for the second time", second[0], ids, expected=first[0])
        begin = trial.begin(ids)
        state, rows = trial.prefill([ids[:begin]])
        for at in range(begin, len(ids) + 1):
            trial.same("deterministic", "step by step for the second time", rows[0], ids[:at], expected=trial.after(ids[:at]))
            if at < len(ids):
                state, rows = trial.step(state, [ids[at]])
    return 2 * len(trial.texts)


def empty(trial: Trial) -> int:
    """An empty prompt has a next token, or is refused by a typed error."""
    with suppress(EmptyPrompt, ModelError):
        trial.prefill([()])
    return 1


def refusals(trial: Trial) -> int:
    """An id outside the vocabulary is `TokenOutOfRange`, and the state lives on."""
    model, some = trial.model, trial.open_texts(4)
    for ids in some:
        state, rows = trial.prefill([ids])
        for token in (trial.size, -1):
            for how, ask in calls(model, state, ids, token):
                if not refused(TokenOutOfRange, ask):
                    trial.fail("refusals", f"{how} takes token {token} after {shown(ids)}; TokenOutOfRange is expected")
        go_on(trial, "refusals", "a state, after a step that was refused", state, rows, [ids])
    return 4 * len(some)


def limit(trial: Trial) -> int:
    """A row holds as many tokens as `context_limit` says, and not one more."""
    model, full = trial.model, trial.model.context_limit
    if full is None:
        raise Inapplicable("the model has no context limit")
    if full > REACH:
        raise Inapplicable(f"a context of {full} tokens is longer than the {REACH} that are tried")
    ids = trial.walk(trial.prompts[0], WALK, full, keep=4)
    if len(ids) < full:
        raise Inapplicable(f"no text of {full} tokens is found")
    for cut in range(max(full - 2, len(trial.prompts[0])), full + 1):
        state, rows = trial.prefill([ids[:cut]])
        trial.same("limit", f"prefill of {cut} tokens, {full} are the limit", rows[0], ids[:cut])
        for at in range(cut, full):
            state, rows = trial.step(state, [ids[at]])
            trial.same("limit", f"step to {at + 1} tokens, {full} are the limit", rows[0], ids[: at + 1])
        for how, ask in calls(model, state, ids, ids[-1]):
            if not refused(ContextOverflow, ask):
                trial.fail("limit", f"{how} makes a text of {full + 1} tokens; ContextOverflow is expected")
    return 3


def calls(model: LanguageModel, state: Any, ids: Text, token: int) -> list[tuple[str, Callable[[], Any]]]:
    """The two ways of a token after a text."""
    return [("step", lambda: model.step(state, np.array([token]))), ("prefill", lambda: model.prefill([(*ids, token)]))]


def leaves(trial: Trial) -> int:
    """Probabilities add to one: of all texts of at most 1, 2, 3 tokens, each a row of one batch; of all tokens, if that is too many."""
    allowed = 1e-9 if trial.exact else 1e-6 + 3 * trial.tolerance
    if trial.size**3 > LEAVES:
        some = trial.open_texts(4)
        for ids in some:
            _, rows = trial.prefill([ids] * 8)
            total = sum(float(probabilities(row)[i::8].sum()) for i, row in enumerate(rows))
            if abs(total - 1) > allowed:
                trial.fail("leaves", f"the probabilities of the next token after {shown(ids)}, read from 8 equal rows, add to {total:.12g}")
        return len(some)
    room = 3 if trial.model.context_limit is None else trial.model.context_limit - len(trial.prompts[0]) + 1
    for most in range(1, min(3, room) + 1):
        texts = every_leaf(trial, trial.prompts[0], most)
        total = sum(scored(trial, trial.prompts[0], texts))
        if abs(total - 1) > allowed:
            trial.fail("leaves", f"the probabilities of the {len(texts)} texts of at most {most} tokens after {shown(trial.prompts[0])} add to {total:.12g}")
    return min(3, room)


def every_leaf(trial: Trial, prompt: Text, most: int) -> list[Text]:
    """The possible continuations of a prompt that end, or have `most` tokens."""
    found: list[Text] = []
    inner: list[Text] = [()]
    while inner:
        ids = inner.pop()
        for token in np.flatnonzero(trial.after(prompt + ids) > -np.inf).tolist():
            (found if token in trial.ends or len(ids) + 1 == most else inner).append((*ids, token))
    return [found[i] for i in permutation(len(found), most)]  # the children of one text, which always add up, are not neighbours


def scored(trial: Trial, prompt: Text, texts: Sequence[Text]) -> list[float]:
    """The probability of every text, all of them rows of one batch; those that have ended leave it."""
    probs = [1.0] * len(texts)
    live = list(range(len(texts)))
    state, rows = trial.prefill([prompt] * len(texts))
    for at in range(max(map(len, texts))):
        for place, i in enumerate(live):
            probs[i] *= probabilities(rows[place])[texts[i][at]]
        stay = [place for place, i in enumerate(live) if len(texts[i]) > at + 1]
        live = [live[place] for place in stay]
        if live:
            state, rows = trial.step(trial.model.select(state, stay), [texts[i][at] for i in live])
    return probs


CHECKS = (deterministic, empty, prefill, text, batch, select, forks, release, extend, stale, layer_logits, refusals, limit, leaves)
