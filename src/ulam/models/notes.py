"""What is to be known of a model that works, and that its makers may not have meant: `model.notes`, a line each."""

from __future__ import annotations

from ..core.vocabulary import Vocabulary


def unused(token: int) -> str:
    """The name of an entry of the logits for which the tokenizer has no token."""
    return f"<unused {token}>"


def vocabulary_notes(vocabulary: Vocabulary) -> tuple[str, ...]:
    """Of a vocabulary without an end token, and of entries that fill up the model's matrices, which are drawn like others."""
    empty = [i for i, name in vocabulary.names.items() if name == unused(i)]
    found = [] if vocabulary.ends else ["no end token: a text ends at a stop string or at max_tokens"]
    if empty:
        some = unused(min(empty)) if len(empty) == 1 else f"{unused(min(empty))} to {unused(max(empty))}"
        found.append(f"the tokenizer has no token for {len(empty)} of {len(vocabulary)} entries of the logits, {some}; they can be drawn, and have no text")
    return tuple(found)
