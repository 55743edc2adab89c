"""The verbs, and where each is written: `module:function` of this folder."""

from __future__ import annotations

VERBS = {
    "audit": "audit:audit",
    "sample": "sample:sample",
    "law": "law:law",
    "score": "score:score",
    "methods": "methods:methods",
    "models": "models:models",
    "recipe": "recipe:overview",
    "recipe show": "recipe:show",
    "recipe convert": "convert:convert",
    "recipe diff": "diff:diff",
    "train": "train:train",
}
