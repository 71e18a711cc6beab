"""Threads that ask a judge: an interrupt does not wait for their requests, an error of the judge does."""

from collections.abc import Callable, Iterable, Iterator
from multiprocessing.pool import ThreadPool
from types import TracebackType
from typing import Any, Self

from plw.errors import StageError


class RequestPool:
    """As ``concurrent.futures.ThreadPoolExecutor``, whose threads however keep a process until their last reply.

    Args:
        max_workers: Requests under way at once.
    """

    def __init__(self, max_workers: int) -> None:
        self._pool = ThreadPool(max_workers)

    def __enter__(self) -> Self:
        return self

    def map(self, function: Callable[..., Any], *arguments: Iterable[Any]) -> Iterator[Any]:
        """The function's results in the order of its arguments; its first error in that order ends them."""
        return self._pool.imap(lambda given: function(*given), zip(*arguments, strict=False))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None or issubclass(kind, StageError):
            # What is under way is paid for: it is waited for, and kept.
            self._pool.close()
            self._pool.join()
        self._pool.terminate()
