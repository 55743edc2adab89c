"""What llama.cpp remembers of texts: strands of tokens in one store of keys and values, forked without copying.

Strand    the first tokens of a row, under one of the sequence numbers of llama.cpp. Rows share a strand until one of them
          grows: the last one that holds it grows in place, the others on a copy, which shares the cells of what they have in
          common.
Store     Every strand is a cache: rows know their tokens, so a strand may be given up at any time and is read again when it
          is needed. That is what happens if sequence numbers or cells run out: first the store doubles, up to its bound, then
          the strands that have not been used for longest are given up. What the rows of one call need together must fit.
Failures  A call that fails gives up what it was working on; its rows are then read again.
"""

from __future__ import annotations

import ctypes
import weakref
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.errors import ContextOverflow, ModelError
from .llama_api import api

NUMBERS = 256  # sequence numbers: the most that llama.cpp has
ROWS = NUMBERS // 2  # rows that are read together; each may need its old strand and a new one
TOKENS = 512  # tokens that are read together
FIRST = 4096  # cells of a new store
FULL = 1  # what llama_decode returns if there are no cells left

Ids = NDArray[np.int32]


class Strand:
    """The first `length` tokens of a row; `number` is None once it was given up. `users` is how many rows of states hold it."""

    __slots__ = ("length", "number", "users")

    def __init__(self, number: int | None = None, length: int = 0):
        self.number, self.length, self.users = number, length, 0


@dataclass(frozen=True)
class Task:
    """A row that is to be read: all its tokens, the strand that has the first of them, how many of the last ones get logits."""

    tokens: tuple[int, ...]
    strand: Strand
    wanted: int


class Batch:
    """Up to `TOKENS` tokens as llama.cpp takes them: arrays that are filled anew for every call."""

    def __init__(self) -> None:
        self.tokens, self.positions, self.numbers = np.zeros((3, TOKENS), np.int32)
        self.wanted, self.ones = np.zeros(TOKENS, np.int8), np.ones(TOKENS, np.int32)
        self.pointers = self.numbers.ctypes.data + 4 * np.arange(TOKENS, dtype=np.uint64)
        self.raw = api.llama_batch(0, pointer(self.tokens, api.llama_token), None, pointer(self.positions, api.llama_pos), pointer(self.ones, ctypes.c_int32))
        self.raw.seq_id = pointer(self.pointers, ctypes.POINTER(api.llama_seq_id))
        self.raw.logits = pointer(self.wanted, ctypes.c_int8)

    def fill(self, tokens: Ids, positions: Ids, numbers: Ids, wanted: NDArray[np.int8]) -> Any:
        count = self.raw.n_tokens = len(tokens)
        self.tokens[:count], self.positions[:count], self.numbers[:count], self.wanted[:count] = tokens, positions, numbers, wanted
        return self.raw


def pointer(array: NDArray[Any], kind: Any) -> Any:
    return array.ctypes.data_as(ctypes.POINTER(kind))


class Store:
    """The strands of a model.

    open     makes a context of llama.cpp with so many cells, or None if there is no memory for it
    size     number of tokens of the vocabulary
    cells    how many tokens, those that rows share counted once, are held at first: at least `TOKENS`, or llama.cpp ends the process
    most     and at most

    Raises `ModelError` if there is not even memory for the first cells.
    """

    def __init__(self, open: Callable[[int], Any], size: int, cells: int, most: int, name: str):
        self.size, self.cells, self.most, self.name = size, cells, most, name
        self._open, self._batch = open, Batch()
        self._strands: dict[int, Strand] = {}  # by number, least recently used first
        self._free = list(range(NUMBERS))
        self.ended: deque[list[Strand]] = deque()  # of states that nobody holds any more
        context = open(cells)
        if context is None:
            raise ModelError(f"there is no memory for {cells:,} tokens of {name}", fix=f"context={cells // 2}, or more free memory")
        self._use(context)

    def __len__(self) -> int:
        """How many strands are held."""
        self.sweep()
        return len(self._strands)

    def read(self, tasks: Sequence[Task]) -> tuple[list[Strand], NDArray[np.float32]]:
        """A new strand for every task, and the logits that were wanted, one after the other.

        The strand of a task is taken over if nobody but these tasks holds it. Raises `ContextOverflow` if they need more
        cells together than there may be, `ModelError` if llama.cpp fails.
        """
        self.sweep()
        claims = Counter(task.strand for task in tasks)
        logits = np.empty((sum(task.wanted for task in tasks), self.size), np.float32)
        made: list[Strand] = []
        left, done = dict(claims), 0
        try:
            for first in range(0, len(tasks), ROWS):
                group = tasks[first : first + ROWS]
                busy = {task.strand for task in group}
                new: list[Strand] = []
                for task in group:
                    left[task.strand] -= 1
                    new.append(self._strand(task.strand, left[task.strand] == 0 and task.strand.users == claims[task.strand], busy))
                    made.append(new[-1])
                    busy.add(new[-1])
                for rows in self._decoded(group, new, busy):
                    logits[done : done + len(rows)] = rows
                    done += len(rows)
                for task, strand in zip(group, new, strict=True):
                    strand.length = len(task.tokens)
        except BaseException:
            for strand in made:
                self._give_up(strand)
            raise
        return made, logits

    def sweep(self) -> None:
        """Give up the strands that no state holds any more."""
        while self.ended:
            for strand in self.ended.popleft():
                strand.users -= 1
                if strand.users == 0:
                    self._give_up(strand)

    def _strand(self, old: Strand, own: bool, busy: set[Strand]) -> Strand:
        """A strand that begins as `old`, if that is still there, and may grow."""
        if old.number is None:
            new = Strand(self._number(busy))
        elif own:
            new, old.number = Strand(old.number, old.length), None
        else:
            new = Strand(self._number(busy), old.length)
            self._strands[old.number] = self._strands.pop(old.number)
            api.llama_memory_seq_cp(self._memory, old.number, new.number, -1, -1)
        assert new.number is not None
        self._strands.pop(new.number, None)
        self._strands[new.number] = new
        return new

    def _number(self, busy: set[Strand]) -> int:
        if not self._free:
            self._forget(busy)
        return self._free.pop()

    def _forget(self, busy: set[Strand]) -> bool:
        """Give up the strand that has not been used for longest; False if all are busy."""
        idle = next((strand for strand in list(self._strands.values()) if strand not in busy), None)
        if idle is not None:
            self._give_up(idle)
        return idle is not None

    def _give_up(self, strand: Strand) -> None:
        if strand.number is not None:
            api.llama_memory_seq_rm(self._memory, strand.number, -1, -1)
            del self._strands[strand.number]
            self._free.append(strand.number)
            strand.number, strand.length = None, 0

    def _decoded(self, tasks: Sequence[Task], strands: Sequence[Strand], busy: set[Strand]) -> Iterator[NDArray[np.float32]]:
        """The logits wanted, a batch at a time, in order; each must be copied before the next."""
        more = [np.array(task.tokens[strand.length :], np.int32) for task, strand in zip(tasks, strands, strict=True)]
        tokens = np.concatenate(more)
        positions = np.concatenate([np.arange(strand.length, strand.length + len(ids), dtype=np.int32) for ids, strand in zip(more, strands, strict=True)])
        numbers = np.repeat(np.array([strand.number for strand in strands], np.int32), [len(ids) for ids in more])
        wanted = np.concatenate([np.arange(len(ids), 0, -1) <= task.wanted for ids, task in zip(more, tasks, strict=True)]).astype(np.int8)
        for at in cuts(wanted):
            raw = self._batch.fill(tokens[at], positions[at], numbers[at], wanted[at])
            while (code := api.llama_decode(self._context, raw)) == FULL:
                if not (self._grow() or self._forget(busy)):
                    what = f"{len(tasks)} rows of {sum(len(task.tokens) for task in tasks):,} tokens are more than the {self.most:,} that {self.name} holds"
                    raise ContextOverflow(what, fix="fewer rows at once, a smaller max_tokens, or more memory for keys and values: cache=8 (GiB)")
            if code:
                raise ModelError(f"llama.cpp could not read {len(tasks)} rows of {self.name}: llama_decode returned {code}", fix="fewer rows at once")
            count = int(wanted[at].sum())
            if count:
                yield np.ctypeslib.as_array(api.llama_get_logits(self._context), (count, self.size))

    def _grow(self) -> bool:
        """Twice the cells, with all that they hold; False if there may be no more, or no memory for them."""
        cells = min(2 * self.cells, self.most)
        if cells == self.cells or (context := self._open(cells)) is None:
            return False
        length = api.llama_state_get_size(self._context)
        held = (ctypes.c_uint8 * length)()
        length = api.llama_state_get_data(self._context, held, length)
        if api.llama_state_set_data(context, held, length) != length:
            api.llama_free(context)
            return False
        self._close()
        self.cells = cells
        self._use(context)
        return True

    def _use(self, context: Any) -> None:
        self._context, self._memory = context, api.llama_get_memory(context)
        self._close = weakref.finalize(self, api.llama_free, context)


def cuts(wanted: NDArray[np.int8]) -> list[slice]:
    """Parts of at most `TOKENS` tokens and `ROWS` rows of logits, which bounds the memory for them."""
    found, first = [], 0
    sums = np.concatenate([[0], np.cumsum(wanted)])
    while first < len(wanted):
        last = min(first + TOKENS, int(np.searchsorted(sums, sums[first] + ROWS, side="right")) - 1)
        found.append(slice(first, last))
        first = last
    return found
