"""Many jobs on many cores: a function over a list, in child processes that hold one thread each.

The children are plain ``python -m hoi_lib.data.workers`` processes that read jobs from their standard input, so this
works from notebooks and from scripts without a main guard, on every platform, and never forks a process with threads.
"""

from __future__ import annotations

import os
import pickle
import signal
import struct
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from queue import Empty, Queue
from typing import Any, BinaryIO

from tqdm.auto import tqdm

from hoi_lib.errors import HoiError


def run(
    function: Callable[[Any], Any],
    jobs: Sequence[Any],
    workers: int | None = None,
    progress: bool = True,
    title: str = "",
) -> Iterator[Any]:
    """Yield ``function(job)`` for each job, in the order of the jobs, whichever process was first.

    ``function`` is a module-level function; jobs and results are pickled. ``workers`` defaults to the cores that this
    process may use; with 1 nothing is started. An error in a child is raised here with its message.
    """
    workers = min(workers or cores(), len(jobs))
    bar = tqdm(total=len(jobs), desc=title, disable=not progress, leave=False)
    with bar:
        source = map(function, jobs) if workers <= 1 else _parallel(function, jobs, workers)
        for result in source:
            bar.update()
            yield result


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _parallel(function: Callable, jobs: Sequence[Any], workers: int) -> Iterator[Any]:
    waiting: Queue = Queue()
    for item in enumerate(jobs):
        waiting.put(item)
    results: Queue = Queue()
    stop = threading.Event()
    threads = [
        threading.Thread(target=_feed, args=(function, waiting, results, stop), daemon=True) for _ in range(workers)
    ]
    for thread in threads:
        thread.start()
    try:
        ready: dict[int, Any] = {}
        for i in range(len(jobs)):
            while i not in ready:
                number, result = results.get()
                if isinstance(result, BaseException):
                    raise result
                ready[number] = result
            yield ready.pop(i)
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def _feed(function: Callable, waiting: Queue, results: Queue, stop: threading.Event) -> None:
    """Hand jobs to one child until none is left."""
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "MKL_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
    }
    child = subprocess.Popen(
        [sys.executable, "-m", "hoi_lib.data.workers", function.__module__, function.__qualname__],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment,
    )  # fmt: skip
    try:
        while not stop.is_set():
            try:
                number, job = waiting.get_nowait()
            except Empty:
                return
            _send(child.stdin, job)
            ok, result = _receive(child.stdout)
            results.put((number, result if ok else HoiError(result)))
    except (OSError, EOFError):
        results.put((-1, HoiError("a worker process died.", "It may have run out of memory: use fewer workers.")))
    finally:
        child.stdin.close()
        child.stdout.close()
        child.wait()


def _send(stream: BinaryIO, message: Any) -> None:
    data = pickle.dumps(message)
    stream.write(struct.pack("<Q", len(data)) + data)
    stream.flush()


def _receive(stream: BinaryIO) -> Any:
    head = stream.read(8)
    if len(head) < 8:
        raise EOFError
    return pickle.loads(stream.read(struct.unpack("<Q", head)[0]))


def main(module: str, name: str) -> None:
    """Serve one parent: jobs in, (ok, result or message) out, until the input ends."""
    import torch

    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent says when to stop
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what libraries print must not land among the replies
    function = getattr(import_module(module), name)
    while True:
        try:
            job = _receive(sys.stdin.buffer)
        except EOFError:
            return
        try:
            reply = (True, function(job))
        except HoiError as error:
            reply = (False, str(error))
        except Exception as error:  # the parent raises it
            traceback.print_exc()
            reply = (False, f"{type(error).__name__}: {error}")
        _send(replies, reply)


if __name__ == "__main__":
    main(*sys.argv[1:3])
