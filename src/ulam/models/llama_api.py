"""The low-level API of llama-cpp-python, and the errors that llama.cpp logs. It logs for the whole process; nothing is printed."""

from __future__ import annotations

import importlib
from collections import deque
from typing import Any

from ..core.errors import ModelError

ERROR = 4  # the level of an error in the log of ggml

try:
    api: Any = importlib.import_module("llama_cpp").llama_cpp
except (OSError, RuntimeError) as error:  # a library that was built for another machine, or not wholly installed
    what = f"llama-cpp-python is installed and cannot be loaded: {str(error).splitlines()[0][:200]}"
    raise ModelError(what, fix="pip install --force-reinstall --no-cache-dir llama-cpp-python") from None

heard: deque[str] = deque(maxlen=8)
"""The errors that llama.cpp logged last, the oldest first."""


@api.llama_log_callback
def listen(level: int, text: bytes, _: Any) -> None:
    if level == ERROR:
        heard.append(text.decode("utf-8", "replace").strip())


api.llama_log_set(listen, None)
api.llama_backend_init()
