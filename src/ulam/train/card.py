"""The model card beside the weights: what the model is, what it learnt from, how good it is and how that was measured."""

from __future__ import annotations

import json
import platform
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import asdict

import tokenizers
import torch
import transformers

from .. import __version__
from .batches import Row
from .checkpoint import replace
from .picture import loss_chart, png_and_svg
from .run import Run
from .settings import Loss

SHAPE = {"vocabulary", "context", "layers", "hidden", "heads", "kv_heads", "inner"}  # settings that say what the model is
FRONT = "---\nlibrary_name: transformers\npipeline_tag: text-generation\n---\n"


def write_card(run: Run) -> None:
    """Write `README.md`, `loss.png` and `loss.svg` into the folder of a run."""
    png, svg = png_and_svg(loss_chart(run.history, run.uniform))
    replace(run.folder / "loss.png", png)
    replace(run.folder / "loss.svg", svg.encode())
    replace(run.folder / "README.md", card(run).encode())


def card(run: Run) -> str:
    """The text of the card, Markdown."""
    name = run.folder.resolve().name
    reached = f"The run reached step {run.state.step} of {run.settings.steps}{'' if run.final else ', where it was stopped'}"
    what = f"A Llama of {run.weights:,} weights, trained by cross-entropy on the text named below."
    opening = f"{what} {reached}; the weights are those of step {run.best.step}."
    parts = [
        f"{FRONT}# {name}\n\n{opening}\n\n![Loss against tokens learnt from](loss.png)",
        f"## How good it is\n\n{results(run)}",
        f"## What it learnt from\n\n{text(run)}",
        f"## What it is\n\n{architecture(run)}",
        f"## How it was trained\n\n{training(run)}",
        f"## Use\n\n{use(name, run.settings.context // 2)}",
        "## Licence\n\nNot stated. Whoever publishes this model chooses one that the rights in the text allow.",
    ]
    return "\n\n".join(parts) + "\n"


def results(run: Run) -> str:
    held = sum(len(row) - 1 for row in run.held)
    watched = run.best.valid
    assert watched is not None
    loss = run.final or watched
    uniform = Loss(run.uniform * loss.tokens, loss.tokens, loss.bytes)
    rows = [
        [name, f"{x.per_token:.3f}", f"{x.bits_per_token:.3f}", f"{x.bits_per_byte:.3f}", f"{x.perplexity:.2f}"]
        for name, x in (("this model", loss), ("uniform guessing", uniform))
    ]
    on = f"all {held:,}" if loss.tokens == held else f"the first {loss.tokens:,} of {held:,}"
    what = f"Measured on {on} held-out tokens ({loss.bytes:,} bytes){', with the weights as saved and float32 products' * bool(run.final)}."
    if loss.tokens == watched.tokens:
        what += " The same tokens chose the step, so the number flatters slightly."
    else:
        what += f" The first {watched.tokens:,} of them chose the step."
    how = (
        "The loss of a token is minus the natural logarithm of its probability given the text before it. Its mean over all tokens, "
        "the end of each document included, is the cross-entropy; perplexity is its exponential. Bits per byte divides the same sum "
        "by the bytes of the documents, so it can be compared between vocabularies. "
        f"Documents longer than {run.settings.context} tokens are read in pieces, each from nothing."
    )
    return f"{table(['', 'nats/token', 'bits/token', 'bits/byte', 'perplexity'], rows)}\n\n{what}\n\n{how}"


def text(run: Run) -> str:
    corpus = run.corpus
    sides = (("training", corpus.train_sources), ("held out", corpus.valid_sources))
    rows = [[side, source.name, f"{source.size:,}", f"`{source.sha256[:12]}`"] for side, sources in sides for source in sources]
    listed = table(["", "file", "bytes", "sha256 begins"], rows) + "\n\n" if rows else ""
    split = "" if corpus.valid_sources else ", the end of the text, not trained on"
    return f"{listed}Training: {amount(run.rows)}. Held out{split}: {amount(run.held)}."


def amount(rows: Sequence[Row]) -> str:
    return f"{len(rows):,} document{'s' * (len(rows) != 1)}, {sum(len(row) - 1 for row in rows):,} tokens with their ends"


def architecture(run: Run) -> str:
    s = run.settings
    heads = f"{s.heads} query heads, {s.kv_heads} key and value heads, {s.hidden // s.heads} dimensions each"
    rows = [
        ["layers", s.layers],
        ["hidden size", s.hidden],
        ["attention", heads],
        ["feed-forward size", f"{s.inner}, SwiGLU"],
        ["vocabulary", f"{run.vocabulary} tokens, byte-level BPE; input and output embeddings are one"],
        ["context", f"{s.context} tokens, rotary positions; do not let it run longer"],
        ["start and end", "`<|endoftext|>`, id 0"],
        ["weights", f"{run.weights:,}, stored as float16"],
    ]
    return table(["", ""], rows)


def training(run: Run) -> str:
    epochs = run.state.tokens / sum(len(row) - 1 for row in run.rows)
    movers = "Muon on the matrices of the layers, AdamW on embedding and norms" if run.plan.muon else "AdamW on all weights"
    rows = [
        ["tokens learnt from", f"{run.state.tokens:,}, {epochs:.1f} times the training text"],
        ["time", f"{run.state.seconds:,.0f} s on {run.device.type}, {'bfloat16' if run.half else 'float32'} products"],
        ["optimizer", movers],
        *([name, value] for name, value in asdict(run.settings).items() if name not in SHAPE),
    ]
    libraries = [("ulam", __version__), *((module.__name__, module.__version__) for module in (torch, transformers, tokenizers))]
    versions = ", ".join(f"{name} {version}" for name, version in [*libraries, ("Python", platform.python_version())])
    notes = "".join(f"Note: {note}.\n\n" for note in run.notes)
    return f"{table(['setting', 'value'], rows)}\n\n{notes}Made with {versions}."


def use(name: str, tokens: int) -> str:
    folder = json.dumps(name, ensure_ascii=False)
    return f"""```
ulam "Once" -m {shlex.quote(name)}
```

```python
from transformers import AutoModelForCausalLM, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained({folder})
model = AutoModelForCausalLM.from_pretrained({folder}, dtype="float32")
prompt = tokenizer("Once", return_tensors="pt")
out = model.generate(**prompt, do_sample=True, top_k=0, max_new_tokens={tokens})  # top_k=0: from the model as it is
print(tokenizer.decode(out[0], skip_special_tokens=True))
```"""


def table(head: Sequence[object], rows: Iterable[Sequence[object]]) -> str:
    cells = [[str(cell).replace("|", r"\|") for cell in line] for line in (head, ["---"] * len(head), *rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in cells)
