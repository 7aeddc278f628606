"""How long one search of the index takes, by words and by meaning, and what searching few cells misses.

    OMP_NUM_THREADS=1 python benchmarks/retrieval.py

Contexts are turns of our own held-out dialogues. A search by meaning includes the dual encoder's reading of the context. What is
missed is told against looking at every vector.
"""

from __future__ import annotations

import argparse
import random
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from chitchat.backends import retrieval
from chitchat.backends.dual_encoder import NumpyEncoder
from chitchat.backends.retrieval import CELL_OFFSETS, NEAREST_VECTORS, Match, RetrievalIndex
from chitchat.corpus.splitting import Split, split_dialogues

ROOT = Path(__file__).resolve().parents[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, default=ROOT / "models" / "xiaoxu")
    parser.add_argument("--contexts", type=int, default=200)
    options = parser.parse_args()

    encoder = NumpyEncoder(options.model / "encoder")
    started = time.perf_counter()
    index = RetrievalIndex.load(options.model / "retrieval", encoder=encoder)
    print(f"loading the index of {index.num_contexts} contexts{1e3 * (time.perf_counter() - started):15.1f} ms")
    cells = len(np.load(options.model / "retrieval" / f"{CELL_OFFSETS}.npy")) - 1
    contexts = _contexts(options.contexts)
    by_meaning = _timed("by meaning, encoder included", index._nearest_in_meaning, contexts)
    _timed("by words", index.nearest, contexts)
    retrieval.CELLS_LOOKED_INTO, looked_into = cells, retrieval.CELLS_LOOKED_INTO
    exact = _timed("by meaning, every vector", index._nearest_in_meaning, contexts)
    shared = np.mean([len(set(some) & set(every)) / NEAREST_VECTORS for some, every in zip(by_meaning, exact, strict=True)])
    first = np.mean([every[0] in some for some, every in zip(by_meaning, exact, strict=True)])
    print(f"{looked_into} of {cells} cells: {shared:.1%} of the {NEAREST_VECTORS} nearest, {first:.1%} of the nearest one")


def _contexts(number: int) -> list[list[str]]:
    turns = [
        list(piece.messages[max(0, end - 5) : end])
        for split, piece in split_dialogues(ROOT / "data" / "dialogues.txt")
        if split == Split.TEST
        for end in range(1, len(piece.messages), 2)
    ]
    return random.Random(0).sample(turns, min(number, len(turns)))


def _timed(what: str, search: Callable[[list[str]], list[Match]], contexts: list[list[str]]) -> list[list[Match]]:
    search(contexts[0])
    found, seconds = [], []
    for context in contexts:
        started = time.process_time()
        found.append(search(context))
        seconds.append(time.process_time() - started)
    worst = np.percentile(seconds, 95)
    print(f"{what:30}{1e3 * statistics.median(seconds):8.1f} ms  (p95 {1e3 * worst:.1f})")
    return found


if __name__ == "__main__":
    main()
