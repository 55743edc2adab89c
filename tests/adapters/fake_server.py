"""An OpenAI-compatible server in a thread: honest about a model that a table gives, until it is told to misbehave."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np

from ulam.models.protocol import LanguageModel

Trick = Callable[["Handler"], bool]
"""What happens to a request instead of an honest answer; False if the honest answer is to follow."""


class Fake(ThreadingHTTPServer):
    """Serves `model`. `form` is `legacy` or `content`; with `ids` every token has its id and `/tokenize` is there;
    with `codes` ids stand in place of texts where that is asked for, and `/detokenize` is there too."""

    daemon_threads = True

    def __init__(
        self,
        model: LanguageModel,
        *,
        form: str = "legacy",
        ids: bool = False,
        codes: bool = False,
        owner: str = "vllm",
        most: int = 20,
        names: tuple[str, ...] = ("m",),
    ):
        super().__init__(("127.0.0.1", 0), Handler)
        self.model, self.form, self.ids, self.codes, self.owner, self.most, self.names = model, form, ids, codes, owner, most, names
        self.tricks: list[Trick] = []
        self.spoil: Callable[[dict[str, Any]], Any] = lambda answer: answer
        self.requests: list[tuple[str, dict[str, Any], dict[str, str]]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"


class Handler(BaseHTTPRequestHandler):
    server: Fake
    protocol_version = "HTTP/1.1"
    wbufsize = -1
    disable_nagle_algorithm = True

    def log_message(self, *args: Any) -> None: ...

    def do_GET(self) -> None:
        self.handle_request({})

    def do_POST(self) -> None:
        self.handle_request(json.loads(self.rfile.read(int(self.headers["content-length"]))))

    def handle_request(self, body: dict[str, Any]) -> None:
        fake = self.server
        fake.requests.append((self.path, body, dict(self.headers)))
        if fake.tricks and fake.tricks.pop(0)(self):
            return
        if self.path == "/v1/models":
            self.send({"data": [{"id": name, "owned_by": fake.owner} for name in fake.names]})
        elif self.path == "/tokenize" and (fake.ids or fake.codes):
            self.send({"tokens": fake.model.vocabulary.encode(body["content"])})
        elif self.path == "/detokenize" and fake.codes:
            self.send({"prompt": b"".join(map(self.bytes_of, body["tokens"])).decode("utf-8", "replace")})
        elif self.path == "/v1/completions" and (body.get("logprobs") or 0) > fake.most:
            self.send({"error": {"message": f"logprobs must be at most {fake.most}"}}, 400)
        elif self.path in ("/v1/completions", "/v1/chat/completions"):
            self.send(fake.spoil(self.completion(body)))
        else:
            self.send({"error": {"message": "no such path"}}, 404)

    def send(self, value: Any, status: int = 200, headers: dict[str, str] | None = None) -> None:
        self.send_raw(json.dumps(value).encode(), status, headers)

    def send_raw(self, raw: bytes, status: int = 200, headers: dict[str, str] | None = None, size: int | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(raw) if size is None else size))
        self.end_headers()
        self.wfile.write(raw)
        self.wfile.flush()
        if size is not None:
            self.close_connection = True

    def completion(self, body: dict[str, Any]) -> dict[str, Any]:
        """The most likely token again and again: what a server draws does not matter here."""
        model, chat = self.server.model, "messages" in body
        vocabulary = model.vocabulary
        prompt = body["messages"][0]["content"] if chat else body["prompt"]
        ids = list(prompt) if isinstance(prompt, list) else vocabulary.encode(prompt)
        shown = 1 if body.get("logprobs") is True else body.get("logprobs") or 0
        steps: list[dict[str, Any]] = []
        text, reason = b"", "length"
        start = len(ids)
        while len(ids) - start < body["max_tokens"]:
            _, logits = model.prefill([ids])
            log_probs = logits[0] - np.logaddexp.reduce(logits[0])
            order = np.argsort(-log_probs, kind="stable")
            order = order[log_probs[order] > -np.inf]
            drawn = int(order[0])
            codes = self.server.codes and bool(body.get("return_tokens_as_token_ids"))
            steps.append({**self.entry(drawn, log_probs, codes), "top_logprobs": [self.entry(int(i), log_probs, codes) for i in order[:shown]]})
            ids.append(drawn)
            if drawn in vocabulary.ends:
                reason = "stop"
                break
            text += vocabulary.tokens[drawn]
        said = text.decode("utf-8", "replace")
        usage = {"prompt_tokens": start, "completion_tokens": len(steps)}
        choice: dict[str, Any] = {"index": 0, "finish_reason": reason, "logprobs": self.log_probs(steps) if shown else None}
        choice |= {"message": {"role": "assistant", "content": said}} if chat else {"text": said}
        return {"id": "x", "choices": [choice], "usage": usage}

    def bytes_of(self, token: int) -> bytes:
        vocabulary = self.server.model.vocabulary
        return vocabulary.names[token].encode() if token in vocabulary.names else vocabulary.tokens[token]

    def entry(self, token: int, log_probs: Any, codes: bool) -> dict[str, Any]:
        raw = f"token_id:{token}".encode() if codes else self.bytes_of(token)
        found = {"token": raw.decode("utf-8", "replace"), "logprob": float(log_probs[token])}
        return {**found, "bytes": list(raw), **({"id": token} if self.server.ids else {})}

    def log_probs(self, steps: list[dict[str, Any]]) -> dict[str, Any]:
        if self.server.form == "content":
            return {"content": steps}
        return {
            "tokens": [step["token"] for step in steps],
            "token_logprobs": [step["logprob"] for step in steps],
            "top_logprobs": [{each["token"]: each["logprob"] for each in step["top_logprobs"]} for step in steps],
        }


@contextmanager
def serving(model: LanguageModel, **options: Any) -> Iterator[Fake]:
    fake = Fake(model, **options)
    thread = threading.Thread(target=fake.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield fake
    finally:
        fake.shutdown()
        fake.server_close()
        thread.join()


def spoiled(**choice: Any) -> Callable[[dict[str, Any]], Any]:
    return lambda answer: {**answer, "choices": [{**answer["choices"][0], **choice}]}


def legacy(tokens: list[Any], values: list[Any], tops: list[Any]) -> dict[str, Any]:
    return {"tokens": tokens, "token_logprobs": values, "top_logprobs": tops}
