"""Requests that come at the same time are answered together: a worker that is free takes all that wait, up to a number.

Nobody waits for company: on an idle server a request is answered alone, at once. The queue is bounded: one more than may wait
is told to come back, before it makes all others slower.
"""

import asyncio
import contextvars
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Generic, TypeVar

from images.serve.errors import Overloaded

Item = TypeVar("Item")
Answer = TypeVar("Answer")
SMOOTHING = 0.2
"""Weight of the last batch in the expected time of one request."""


@dataclass(frozen=True)
class _Waiting(Generic[Item, Answer]):
    item: Item
    answer: "asyncio.Future[Answer]"


class Batcher(Generic[Item, Answer]):
    """A bounded queue before `workers` threads of a pool. Used from one event loop.

    Args:
        work: answers items, on a thread; for each item its answer, or the error that is raised to who waits for it.
        pool: whose threads work.
        workers: batches that are worked on at once.
        most_waiting: items that may wait; those that are worked on do not count.
        most_together: items of one batch.
        patience_s: seconds after which an item is given up on.
    """

    def __init__(
        self,
        work: Callable[[Sequence[Item]], Sequence[Answer | Exception]],
        pool: ThreadPoolExecutor,
        workers: int,
        most_waiting: int,
        most_together: int,
        patience_s: float,
    ) -> None:
        self._work, self._pool, self._workers = work, pool, workers
        self._most_waiting, self._most_together, self._patience_s = most_waiting, most_together, patience_s
        self._queue: deque[_Waiting[Item, Answer]] = deque()
        self._tasks: set[asyncio.Task[None]] = set()
        self._item_s = 0.0

    async def answer(self, item: Item) -> Answer:
        """The answer to an item.

        Raises:
            Overloaded: too many others wait, or the answer takes too long.
            Exception: what `work` says of this item.
        """
        if len(self._queue) >= self._most_waiting:
            raise Overloaded(f"at most {self._most_waiting} waiting", self._wait_s())
        waiting = _Waiting[Item, Answer](item, asyncio.get_running_loop().create_future())
        self._queue.append(waiting)
        if len(self._tasks) < self._workers:
            task = asyncio.create_task(self._answer_all(), context=contextvars.Context())  # of no request in particular
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)  # for one that is cancelled before it begins
        try:
            return await asyncio.wait_for(waiting.answer, self._patience_s)
        except TimeoutError:
            raise Overloaded(f"answers within {self._patience_s:g} s", self._wait_s()) from None

    @property
    def waiting(self) -> int:
        """Items that wait now."""
        return len(self._queue)

    @property
    def idle(self) -> bool:
        """Whether nothing waits and nothing is worked on."""
        return not (self._queue or self._tasks)

    def _wait_s(self) -> float:
        """Expected seconds until all that wait now are answered."""
        return len(self._queue) * self._item_s

    async def _answer_all(self) -> None:
        """Take what waits, again and again, until nothing does. Who has gone meanwhile is not worked for."""
        try:
            while self._queue:
                batch = [self._queue.popleft() for _ in range(min(len(self._queue), self._most_together))]
                batch = [waiting for waiting in batch if not waiting.answer.done()]
                if batch:
                    await self._answer_batch(batch)
        finally:  # not in a callback, a moment later: who comes in between would start no task, and wait in vain
            if task := asyncio.current_task():
                self._tasks.discard(task)

    async def _answer_batch(self, batch: Sequence[_Waiting[Item, Answer]]) -> None:
        started = time.monotonic()
        answers: Sequence[Answer | Exception]
        try:
            items = [waiting.item for waiting in batch]
            answers = await asyncio.get_running_loop().run_in_executor(self._pool, self._work, items)
        except Exception as error:  # noqa: BLE001  # whoever waits raises it
            answers = [error] * len(batch)
        item_s = (time.monotonic() - started) / len(batch) / self._workers
        self._item_s = (1 - SMOOTHING) * self._item_s + SMOOTHING * item_s if self._item_s else item_s
        for waiting, answer in zip(batch, answers, strict=True):
            if waiting.answer.done():
                continue
            if isinstance(answer, Exception):
                waiting.answer.set_exception(answer)
            else:
                waiting.answer.set_result(answer)
