"""Where runs are worked on: in this process, in others, or on the machines of a Ray cluster; the results are the same.

Every engine gives the results in order and reads only a little ahead, so that memory does not grow with the corpus.
"""

from __future__ import annotations

import concurrent.futures
import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TypeAlias, TypeVar

from chitchat.errors import CacheError
from chitchat.prepare.runs import Encoder, RawRun, Run
from chitchat.processors import usable_cpus

ENGINES = ("local", "ray")
Work: TypeAlias = Callable[[Iterable[RawRun]], Iterator[Run]]
T = TypeVar("T")

_RUNS_AHEAD = 2
"""For each worker: one being worked on and one waiting."""


def open_engine(name: str, encoder: Encoder, workers: int | None, *, is_small: bool) -> AbstractContextManager[Work]:
    """The engine by its name in `ENGINES`; `workers` None takes every core, and a small corpus only this one."""
    if name == "ray":
        return _ray_tasks(encoder, workers)
    workers = usable_cpus() if workers is None else workers
    return _this_process(encoder) if workers <= 1 or is_small else _processes(encoder, workers)


@contextmanager
def _this_process(encoder: Encoder) -> Iterator[Work]:
    yield lambda runs: map(encoder, runs)


@contextmanager
def _processes(encoder: Encoder, workers: int) -> Iterator[Work]:
    # spawn, not fork: the caller may have started torch's threads already
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(workers, context, _start_worker, (encoder,)) as pool:

        def work(runs: Iterable[RawRun]) -> Iterator[Run]:
            yield from _in_order(runs, lambda run: pool.submit(_encode_in_worker, run), lambda future: future.result(), workers)

        try:
            yield work
        except concurrent.futures.process.BrokenProcessPool:
            fault = "工作进程被系统结束了，多半是内存不足"
            raise CacheError(f"{fault}；请用更小的 --workers 再运行一次，已完成的部分会接着用") from None
        finally:
            pool.shutdown(cancel_futures=True)


@contextmanager
def _ray_tasks(encoder: Encoder, workers: int | None) -> Iterator[Work]:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # it calls home unless told not to
    import ray

    if started := not ray.is_initialized():
        # RAY_ADDRESS names a cluster that exists; without it Ray makes one of this machine
        cores = None if os.environ.get("RAY_ADDRESS") else workers
        ray.init(num_cpus=cores, include_dashboard=False, log_to_driver=False)
    try:
        reference = ray.put(encoder)
        task = ray.remote(_encode_in_task)
        cluster: dict[str, float] = ray.cluster_resources()
        wanted = workers or int(cluster["CPU"])

        def work(runs: Iterable[RawRun]) -> Iterator[Run]:
            yield from _in_order(runs, lambda run: task.remote(reference, run), lambda found: ray.get(found), wanted)

        yield work
    finally:
        if started:
            ray.shutdown()


def _in_order(runs: Iterable[RawRun], start: Callable[[RawRun], T], result: Callable[[T], Run], workers: int) -> Iterator[Run]:
    waiting: deque[T] = deque()
    for run in runs:
        waiting.append(start(run))
        if len(waiting) >= workers * _RUNS_AHEAD:
            yield result(waiting.popleft())
    while waiting:
        yield result(waiting.popleft())


_worker_encoder: Encoder


def _start_worker(encoder: Encoder) -> None:
    global _worker_encoder
    _worker_encoder = encoder
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to answer
    threading.Thread(target=_exit_with_parent, daemon=True).start()


def _exit_with_parent() -> None:
    """A parent killed outright tells its workers nothing; they would wait for ever."""
    if (parent := multiprocessing.parent_process()) is not None:
        parent.join()
        os._exit(1)


def _encode_in_worker(run: RawRun) -> Run:
    return _worker_encoder(run)


def _encode_in_task(encoder: Encoder, run: RawRun) -> Run:
    return encoder(run)
