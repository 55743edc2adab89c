"""One BLAS thread while a forward runs.

A matrix-vector product is over in microseconds: waking a second thread costs more than it brings, many times more
when the cores are busy, and its order of addition is another. OpenBLAS has one limit for the whole process, so it
is set on the way in and taken back on the way out, and forwards of several threads take turns. A limit that another
thread has set with threadpoolctl, and still holds, stays: threadpoolctl lets nobody else change it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from threading import Lock

from threadpoolctl import ThreadpoolController

turn = Lock()


@cache
def controller() -> ThreadpoolController:
    """The BLAS libraries of this process, looked up once (a quarter of a millisecond; a limit is 7 microseconds)."""
    return ThreadpoolController().select(user_api="blas")


@contextmanager
def one_blas_thread() -> Iterator[None]:
    with turn, controller().limit(limits=1):
        yield
