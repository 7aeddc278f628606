"""Many threads on one model: each gets what it would have got alone, and its own errors."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from chitchat.backends.base import LogProb
from chitchat.backends.batching import MAX_CONTEXTS, MAX_PAIRS, BatchedModel
from chitchat.backends.ctranslate2_local import CTranslate2Model
from chitchat.backends.transformers_local import TransformersModel
from chitchat.config import DecodingConfig
from chitchat.dialogue import Candidate
from chitchat.errors import BackendError

GREEDY = DecodingConfig(strategy="greedy")


class Recorder:
    """Echoes, notes the size of every call, and holds the first one until `gate` opens."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.started = threading.Event()
        self.calls: list[tuple[str, int]] = []
        self.running = 0

    def generate(self, context: Sequence[str], decoding: DecodingConfig) -> list[Candidate]:
        return self._run("generate", [context])[0]

    def generate_many(self, contexts: Sequence[Sequence[str]], decoding: DecodingConfig) -> list[list[Candidate]]:
        return self._run(f"many {decoding.num_candidates}", contexts)

    def score(self, pairs: Sequence[tuple[Sequence[str], str]]) -> list[LogProb]:
        self._run("score", [[reply] for _, reply in pairs])
        return [LogProb(float(reply), 1) for _, reply in pairs]

    def _run(self, name: str, contexts: Sequence[Sequence[str]]) -> list[list[Candidate]]:
        self.running += 1
        assert self.running == 1, "two calls at once"
        self.calls.append((name, len(contexts)))
        self.started.set()
        assert self.gate.wait(10)
        self.running -= 1
        if any("坏" in context for context in contexts):
            raise BackendError("坏的上文")
        return [[Candidate(f"回 {context[-1]}")] for context in contexts]


def together(model: BatchedModel, recorder: Recorder, calls: Sequence[Callable[[], object]]) -> list[object]:
    """The results, or errors, of calls that all come while the model is held by the first."""
    with ThreadPoolExecutor(len(calls)) as pool:
        futures = [pool.submit(calls[0])]
        assert recorder.started.wait(10)
        futures += [pool.submit(call) for call in calls[1:]]
        deadline = time.monotonic() + 10
        while len(model._waiting) < len(calls) - 1:
            assert time.monotonic() < deadline
            time.sleep(0.001)
        recorder.gate.set()
        return [f.exception(10) or f.result() for f in futures]


def test_what_comes_while_the_model_is_busy_is_one_call() -> None:
    recorder = Recorder()
    model = BatchedModel(recorder)
    found = together(model, recorder, [lambda i=i: model.generate([f"{i}"], GREEDY) for i in range(6)])  # type: ignore[misc]
    assert found == [[Candidate(f"回 {i}")] for i in range(6)]
    assert recorder.calls == [("many 16", 1), ("many 16", 5)]


def test_settings_are_not_mixed_and_a_seed_runs_alone() -> None:
    recorder = Recorder()
    model = BatchedModel(recorder)
    settings = [GREEDY, DecodingConfig(num_candidates=2), DecodingConfig(num_candidates=3), DecodingConfig(num_candidates=2)]
    settings += [DecodingConfig(seed=1), DecodingConfig(seed=1)]
    together(model, recorder, [lambda i=i, s=s: model.generate([f"{i}"], s) for i, s in enumerate(settings)])  # type: ignore[misc]
    assert sorted(recorder.calls[1:]) == [("generate", 1), ("generate", 1), ("many 2", 2), ("many 3", 1)]


def test_scores_are_joined_and_handed_back() -> None:
    recorder = Recorder()
    model = BatchedModel(recorder)
    pairs: list[list[tuple[list[str], str]]] = [[([], f"{i}.{j}") for j in range(i)] for i in range(1, 5)]
    found = together(model, recorder, [lambda: model.score([([], "9")]), *(lambda p=p: model.score(p) for p in pairs)])
    assert found[1:] == [[LogProb(float(reply), 1) for _, reply in p] for p in pairs]
    assert recorder.calls == [("score", 1), ("score", 10)]


def test_an_error_reaches_its_caller_alone() -> None:
    recorder = Recorder()
    model = BatchedModel(recorder)
    texts = ["一", "二", "坏", "四"]
    found = together(model, recorder, [lambda t=t: model.generate([t], GREEDY) for t in texts])  # type: ignore[misc]
    assert isinstance(found.pop(2), BackendError)
    assert found == [[Candidate(f"回 {t}")] for t in ("一", "二", "四")]
    assert model.generate(["还在"], GREEDY) == [Candidate("回 还在")]


def test_a_batch_has_a_limit_and_a_large_call_its_own() -> None:
    recorder = Recorder()
    model = BatchedModel(recorder)
    together(model, recorder, [lambda: model.generate(["好"], GREEDY) for _ in range(2 * MAX_CONTEXTS + 2)])
    assert [n for _, n in recorder.calls] == [1, MAX_CONTEXTS, MAX_CONTEXTS, 1]
    assert len(model.score([([], "1")] * (MAX_PAIRS + 1))) == MAX_PAIRS + 1


@pytest.mark.parametrize("load", [CTranslate2Model, TransformersModel])
def test_threads_get_what_each_would_get_alone(
    tiny_model: Path, tiny_dialogues: tuple[tuple[str, ...], ...], load: Callable[..., CTranslate2Model]
) -> None:
    plain = load(tiny_model / "forward", direction="forward")
    model = BatchedModel(plain)
    contexts = [d[:n] for d in tiny_dialogues for n in range(1, len(d), 2)]
    if load is TransformersModel:  # fifty times slower
        contexts = contexts[:5]
    seeded = DecodingConfig(seed=5, num_candidates=3, temperature=2.0)

    def ask(context: Sequence[str]) -> tuple[list[Candidate], list[float], list[Candidate]]:
        values = model.score([(context, "你好"), (context, "晚安，做个好梦。")])
        return model.generate(context, GREEDY), [v.value for v in values], model.generate(context, seeded)

    with ThreadPoolExecutor(16) as pool:
        found = list(pool.map(ask, contexts))
    for context, (candidates, values, drawn) in zip(contexts, found, strict=True):
        assert candidates == plain.generate(context, GREEDY)
        alone = [v.value for v in plain.score([(context, "你好"), (context, "晚安，做个好梦。")])]
        assert values == pytest.approx(alone, abs=0.5)  # int8 rounds a little differently in another batch
        assert drawn == plain.generate(context, seeded)


def test_company_changes_no_reply(tiny_model: Path, tiny_dialogues: tuple[tuple[str, ...], ...]) -> None:
    # CTranslate2 counts what a prompt has more than the shortest beside it as written by the model.
    model = CTranslate2Model(tiny_model / "forward", direction="forward", compute_type="float32", threads=2)
    contexts = [d[:n] for d in tiny_dialogues for n in range(1, len(d), 2)]
    strict = DecodingConfig(strategy="beam", num_candidates=3, max_new_tokens=8, no_repeat_ngram=2, repetition_penalty=1.5)
    assert model.generate_many(contexts, strict) == [model.generate(context, strict) for context in contexts]
