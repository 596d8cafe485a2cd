"""Questions to a service that may hang: each runs in a daemon thread, and callers wait or move on.

A name service, an NVML call or a container runtime can block for minutes inside C, where no
timeout reaches it. Ask for one answer with `slow_lookup`, for many with `slow_lookups`; both
return at once with `Future`s. The threads are daemons, so that one that hangs delays no exit,
which is why this is not a ThreadPoolExecutor.

    lookup = slow_lookup(full_name, thread_name="own name")
    name = answer_within(lookup, 2.0, os.uname().nodename)      # wait for at most 2 s

    if self._lookup.done():                                     # at most one question at a time
        self._lookup = slow_lookup(self._learn, uid, thread_name="user names")
        wait_for(self._lookup, 0.05)                            # most answers come at once
    return self._names.get(uid)                                 # else use what is known so far

Begin with `answered(None)` where the first question is still to come. `ask` handles the errors
that are to be expected; any other one is logged, and there is no answer.
"""

import logging
import threading
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future, wait
from typing import Any, TypeVar

log = logging.getLogger(__name__)

Answer = TypeVar("Answer")
Key = TypeVar("Key")


def slow_lookup(ask: Callable[..., Answer], *arguments: Any, thread_name: str) -> "Future[Answer]":
    """Calls `ask(*arguments)` in a daemon thread of its own."""
    future: Future[Answer] = Future()
    _start(deque([(future, ask, arguments)]), 1, thread_name)
    return future


def slow_lookups(
    ask: Callable[[Key], Answer], keys: Iterable[Key], threads: int, thread_name: str
) -> "dict[Key, Future[Answer]]":
    """Calls `ask(key)` for every key, in their order, in at most `threads` daemon threads."""
    futures: dict[Key, Future[Answer]] = {key: Future() for key in keys}
    _start(deque((future, ask, (key,)) for key, future in futures.items()), threads, thread_name)
    return futures


def answered(answer: Answer) -> "Future[Answer]":
    """A lookup that has already been answered."""
    future: Future[Answer] = Future()
    future.set_result(answer)
    return future


def wait_for(lookup: "Future[Any]", seconds: float) -> bool:
    """Waits up to `seconds`; whether the lookup is done by then."""
    return lookup in wait((lookup,), seconds).done


def answer_within(lookup: "Future[Answer]", seconds: float, default: Answer) -> Answer:
    """The answer if it comes within `seconds`; `default` if it does not, or if `ask` failed."""
    if not wait_for(lookup, seconds) or lookup.exception() is not None:
        return default
    return lookup.result()


_Questions = deque[tuple["Future[Any]", Callable[..., Any], tuple[Any, ...]]]


def _start(questions: _Questions, threads: int, thread_name: str) -> None:
    for future, _, _ in questions:
        future.set_running_or_notify_cancel()  # so that no caller can cancel it any more
    started = 0
    try:
        for _ in range(min(threads, len(questions))):
            threading.Thread(target=_work, args=(questions,), name=thread_name, daemon=True).start()
            started += 1
    except RuntimeError as error:  # the system has no thread to spare
        if not started:
            while questions:
                questions.popleft()[0].set_exception(error)


def _work(questions: _Questions) -> None:
    while True:
        try:
            future, ask, arguments = questions.popleft()
        except IndexError:
            return
        try:
            answer = ask(*arguments)
        except Exception as error:
            log.exception("%s: the lookup failed", threading.current_thread().name)
            future.set_exception(error)
        else:
            future.set_result(answer)
