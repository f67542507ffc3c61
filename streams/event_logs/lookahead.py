"""Work done ahead by a thread: steps of a pass over a log side by side, in bounded memory."""

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from queue import Full, Queue
from typing import Generic, TypeVar

S = TypeVar("S")
T = TypeVar("T")

#: How often a thread that waits looks whether anybody still wants its work.
_LOOK_S = 0.1


class _Ahead(Generic[T]):
    """One producing thread and the queue between it and whoever iterates."""

    def __init__(self, items: Iterable[T], most: int) -> None:
        self._items = items
        self._queue: Queue[tuple[T] | BaseException | None] = Queue(most)
        self._unwanted = threading.Event()
        self._thread = threading.Thread(target=self._produce, name="lookahead", daemon=True)

    def __iter__(self) -> Iterator[T]:
        self._thread.start()
        try:
            while (found := self._queue.get()) is not None:
                if isinstance(found, BaseException):
                    raise found
                yield found[0]
        finally:
            self._unwanted.set()
            self._thread.join()

    def _produce(self) -> None:
        last: BaseException | None = None
        try:
            for item in self._items:
                if not self._put((item,)):
                    return
        # It is raised again by whoever iterates.
        except BaseException as error:
            last = error
        self._put(last)

    def _put(self, found: tuple[T] | BaseException | None) -> bool:
        """Put something into the queue; return False when nobody wants it any more."""
        while not self._unwanted.is_set():
            try:
                self._queue.put(found, timeout=_LOOK_S)
                return True
            except Full:
                continue
        return False


def ahead(items: Iterable[T], most: int = 2) -> Iterator[T]:
    """Yield ``items`` in order, made by a thread of their own, at most ``most`` ahead of the one in use.

    What raises in the thread is raised here, in its turn. The thread ends when the iteration does, also early.
    """
    return iter(_Ahead(items, most))


def mapped(work: Callable[[S], T], items: Iterable[S], threads: int) -> Iterator[T]:
    """Yield ``work(item)`` of every item in order, so many of them computed at a time."""
    under_way: deque[Future[T]] = deque()
    with ThreadPoolExecutor(threads, "mapped") as pool:
        for item in items:
            under_way.append(pool.submit(work, item))
            if len(under_way) > threads:
                yield under_way.popleft().result()
        while under_way:
            yield under_way.popleft().result()
