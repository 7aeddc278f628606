"""One local model for many threads: what they ask while it is busy is answered together, in one call.

Knows no model: whatever writes replies and scores pairs can stand behind it. One call runs at a time, so that a backend which is
not for two threads is safe here. Nobody waits for company: an idle model takes a single request at once.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias, runtime_checkable

from chitchat.backends.base import Generator, LogProb, Scorer
from chitchat.config import DecodingConfig
from chitchat.dialogue import Candidate

MAX_CONTEXTS = 8
"""Contexts of one call, so that the first of them need not wait long for the last."""
MAX_PAIRS = 128
"""Pairs of one call; a call of more than that runs alone."""

Pair: TypeAlias = tuple[Sequence[str], str]


class LocalModel(Generator, Scorer, Protocol):
    """Both in one, as every local backend is; which of them a model can do, its training decides.

    Attributes:
        concurrency: computations it does side by side, outside Python; 1 for one that wants the processor to itself.
    """

    concurrency: int


@runtime_checkable
class BatchGenerator(Protocol):
    """Writes replies to several contexts in one call; one without it is asked once for each."""

    def generate_many(self, contexts: Sequence[Sequence[str]], decoding: DecodingConfig) -> list[list[Candidate]]:
        """What `generate` would give for each context, in order."""
        ...


@dataclass(eq=False)
class _Call:
    """What one thread asks for."""

    key: object
    """Calls of the same key may run together."""
    items: Sequence[Any]
    run: Callable[[Sequence[Any]], Sequence[Any]]
    """From the items of one or more calls to a result for each, in order."""
    limit: int
    """Items of one run, unless the call alone has more."""
    results: Sequence[Any] = ()
    error: Exception | None = None
    is_done: bool = field(default=False)

    def answer(self) -> None:
        """Runs it alone."""
        try:
            self.results = self.run(self.items)
        except Exception as error:
            self.error = error


class BatchedModel:
    """Generator and Scorer over `model`, for any number of threads.

    Unseeded calls with equal settings run together, and so do calls that score. A seeded one runs alone: what is drawn
    for it must not depend on its company.
    """

    def __init__(self, model: LocalModel) -> None:
        self.model = model
        self._waiting: list[_Call] = []
        self._is_busy = False
        self._changed = threading.Condition()

    def generate(self, context: Sequence[str], decoding: DecodingConfig) -> list[Candidate]:
        """Replies to the last message of `context`."""
        model = self.model
        if decoding.seed is None and isinstance(model, BatchGenerator):
            call = _Call(decoding, [context], lambda contexts: model.generate_many(contexts, decoding), MAX_CONTEXTS)
        else:
            call = _Call(object(), [context], lambda contexts: [model.generate(c, decoding) for c in contexts], 1)
        (candidates,) = self._answer(call)
        return list(candidates)

    def score(self, pairs: Sequence[Pair]) -> list[LogProb]:
        """log P of each pair's target."""
        return list(self._answer(_Call("score", pairs, self.model.score, MAX_PAIRS))) if pairs else []

    def _answer(self, call: _Call) -> Sequence[Any]:
        """The results of a call, run by this thread or by another that ran it together with its own."""
        with self._changed:
            self._waiting.append(call)
        while True:
            with self._changed:
                self._changed.wait_for(lambda: call.is_done or not self._is_busy)
                if call.is_done:
                    break
                batch = self._next_batch()
                self._is_busy = True
            try:
                _run(batch)
            finally:
                with self._changed:
                    self._is_busy = False
                    for done in batch:
                        done.is_done = True
                    self._changed.notify_all()
        if call.error is not None:
            raise call.error
        return call.results

    def _next_batch(self) -> list[_Call]:
        """The call that has waited longest and all that may join it, taken out of the queue."""
        first = self._waiting[0]
        batch, num_items = [first], len(first.items)
        for call in self._waiting[1:]:
            if call.key == first.key and num_items + len(call.items) <= first.limit:
                batch.append(call)
                num_items += len(call.items)
        self._waiting = [call for call in self._waiting if call not in batch]
        return batch


def _run(batch: Sequence[_Call]) -> None:
    """Gives every call its own part of the results; one that cannot be answered spoils no other's."""
    if len(batch) > 1:
        items = [item for call in batch for item in call.items]
        try:
            results = list(batch[0].run(items))
        except Exception:
            pass  # whose fault it was shows below, where each runs alone
        else:
            assert len(results) == len(items), "a result for each item"
            place = 0
            for call in batch:
                call.results = results[place : place + len(call.items)]
                place += len(call.items)
            return
    for call in batch:
        call.answer()
