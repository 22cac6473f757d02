"""Work per image: one pure function mapped over keys by any executor of the `concurrent.futures` kind."""

import contextlib
import multiprocessing
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ProcessPoolExecutor, wait
from typing import Literal, TypeVar

from hpa.config import Config
from hpa.progress import track

K = TypeVar("K")
R = TypeVar("R")


class WorkersConfig(Config):
    """Where work per image runs; decides speed only, so no record holds it.

    Attributes:
        kind: `processes` on this machine, `none` for the calling process, or `dask` for a running scheduler.
        count: number of processes; None for one per core.
        scheduler: address of the Dask scheduler, such as `tcp://10.0.0.1:8786` (needs the package `distributed`).
    """

    kind: Literal["processes", "none", "dask"] = "processes"
    count: int | None = None
    scheduler: str | None = None


@contextlib.contextmanager
def open_executor(config: WorkersConfig) -> Iterator[Executor | None]:
    """The executor of a configuration, None for the calling process.

    Raises:
        ValueError: `dask` without an address, or without its package.
    """
    if config.kind == "none" or (config.kind == "processes" and config.count == 0):
        yield None
    elif config.kind == "processes":
        # Not fork: the parent may hold threads of torch or OpenCV, which a forked child would wait for.
        context = multiprocessing.get_context("forkserver")
        with ProcessPoolExecutor(config.count or available_cores(), mp_context=context) as executor:
            yield executor
    else:
        if config.scheduler is None:
            raise ValueError("workers.scheduler: kind `dask` needs the address of a scheduler")
        try:
            import distributed  # type: ignore[import-not-found]
        except ImportError:
            raise ValueError("workers.kind: `dask` needs the package distributed: pip install distributed") from None
        with distributed.Client(config.scheduler) as client:
            yield client.get_executor()


def available_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def map_images(
    function: Callable[[K], R],
    keys: Iterable[K],
    executor: Executor | None,
    label: str = "images",
    total: int | None = None,
    done: int = 0,
    ahead: int = 64,
) -> Iterator[tuple[K, R]]:
    """Apply a pure function to every key and give (key, result) as they finish, with progress shown.

    Args:
        function: picklable when the executor runs processes.
        keys: consumed at most `ahead` beyond the results, so memory is bounded.
        executor: None runs in this process, in order.
        label: what the progress bar says.
        total: number of keys including those done before; None to take it from `keys`.
        done: keys finished in an earlier run.
        ahead: submitted and not yet finished at the same time.

    Raises:
        Exception: the first error of `function`; those still waiting are cancelled.

    >>> sorted(map_images(abs, [-2, 1], None))
    [(-2, 2), (1, 1)]
    """
    if total is None:
        keys = list(keys)
        total = len(keys) + done
    with track(label, total, done) as advance:
        if executor is None:
            for key in keys:
                yield key, function(key)
                advance(1)
            return
        waiting: dict[Future[R], K] = {}
        try:
            for key in keys:
                waiting[executor.submit(function, key)] = key
                if len(waiting) >= ahead:
                    for future in wait(waiting, return_when=FIRST_COMPLETED).done:
                        yield waiting.pop(future), future.result()
                        advance(1)
            while waiting:
                for future in wait(waiting, return_when=FIRST_COMPLETED).done:
                    yield waiting.pop(future), future.result()
                    advance(1)
        finally:
            for future in waiting:
                future.cancel()
