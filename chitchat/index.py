"""Corpus files -> the folder that `backends.retrieval` proposes replies from."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chitchat.backends.base import Encoder
from chitchat.backends.retrieval import (
    ARRAYS,
    CELL_OFFSETS,
    CELLS,
    FORMAT,
    MANIFEST,
    RARE_COUNT,
    VECTOR_ARRAYS,
    VECTOR_STEPS,
    VECTORS,
    ngrams,
    order_weights,
)
from chitchat.corpus.splitting import Split, split_dialogues
from chitchat.errors import CorpusError
from chitchat.files import atomic_folder, sha256_of

Contexts = Mapping[tuple[str, str], Sequence[str]]
"""(last message, the one before or "") -> the distinct replies to it."""


@dataclass(frozen=True)
class IndexReport:
    """What an index holds."""

    num_contexts: int
    num_replies: int
    """Distinct ones."""
    num_bytes: int
    """Of all files."""


def build_index(
    files: Sequence[Path], folder: Path, *, encoder: Encoder | None = None, exclude_held_out: bool = False
) -> IndexReport:
    """Writes the index of the files' dialogues to `folder`; an old one there is replaced.

    The user is taken to speak first and by turns, so every second message is a reply of the bot's. Contexts that end in the same
    two messages are one with several replies, and so an intent's grid is never expanded on disk.

    Args:
        encoder: stores each context's vector too, so that what says the same in other words is found.
        exclude_held_out: leaves out the validation and test dialogues of the default split, for an honest evaluation.

    Raises:
        CorpusError: a file that cannot be read, or files without any reply.
    """
    contexts: dict[tuple[str, str], dict[str, None]] = {}
    for path in files:
        for *before, reply in _turns(path, exclude_held_out=exclude_held_out):
            last, previous = before[-1], before[-2] if len(before) > 1 else ""
            contexts.setdefault((last, previous), {})[reply] = None
    if not contexts:
        raise CorpusError(files[0], None, "没有可以收进检索库的回复；请检查文件内容，或去掉 --exclude-held-out")
    kinds: dict[str, Any] = dict(ARRAYS)
    in_cells: dict[str, NDArray[Any]] = {}
    if encoder is not None:
        keys = list(contexts)
        order, in_cells = _cells(encoder.contexts([[before, last] if before else [last] for last, before in keys]))
        contexts = {keys[i]: contexts[keys[i]] for i in order.tolist()}
        kinds |= VECTOR_ARRAYS
    stored = _stored({c: list(replies) for c, replies in contexts.items()})
    arrays = _inverted([last for last, _ in contexts]) | stored | in_cells
    manifest = {
        "format": FORMAT,
        "sources": [{"name": path.name, "sha256": sha256_of(path)} for path in files],
        "excludes_held_out": exclude_held_out,
        "encoder": None if encoder is None else encoder.fingerprint,
        "lengths": {name: len(array) for name, array in arrays.items()},
    }
    with atomic_folder(folder) as unfinished:
        for name, kind in kinds.items():
            np.save(unfinished / f"{name}.npy", arrays[name].astype(kind))
        (unfinished / MANIFEST).write_text(json.dumps(manifest, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
    num_replies = len({reply for replies in contexts.values() for reply in replies})
    return IndexReport(len(contexts), num_replies, sum(file.stat().st_size for file in folder.iterdir()))


def _turns(path: Path, *, exclude_held_out: bool) -> Iterator[tuple[str, ...]]:
    """Each reply of the bot's with the messages before it."""
    for split, dialogue in split_dialogues(path):
        if split == Split.TRAIN or not exclude_held_out:
            for reply in range(1, len(dialogue.messages), 2):
                yield dialogue.messages[: reply + 1]


def _cells(vectors: NDArray[np.float32]) -> tuple[NDArray[np.intp], dict[str, NDArray[Any]]]:
    """The order that puts near contexts together, and their vectors in it with the cells they fall into: 2√contexts of them."""
    from sklearn.cluster import MiniBatchKMeans

    number = min(len(vectors), round(2 * len(vectors) ** 0.5))
    means = MiniBatchKMeans(number, batch_size=4096, n_init=1, random_state=0).fit(vectors)
    order = np.argsort(means.labels_, kind="stable")
    middles = means.cluster_centers_ / np.maximum(np.linalg.norm(means.cluster_centers_, axis=1, keepdims=True), 1e-12)
    offsets = np.concatenate([[0], np.cumsum(np.bincount(means.labels_, minlength=number))])
    return order, {VECTORS: np.rint(vectors[order] * VECTOR_STEPS), CELLS: middles, CELL_OFFSETS: offsets}


def _inverted(messages: Sequence[str]) -> dict[str, NDArray[Any]]:
    """The TF-IDF side: for each n-gram its weight and the messages that hold it."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    vectorizer = TfidfVectorizer(
        analyzer=lambda message: ngrams([message])[1].tolist(), sublinear_tf=True, norm=None, dtype=np.float32
    )
    matrix = vectorizer.fit_transform(messages)
    keys = np.array(sorted(vectorizer.vocabulary_), np.uint64)  # the vectorizer's columns are in this order
    orders = order_weights(keys)
    by_ngram = matrix.multiply(orders).tocsc()
    norms = np.sqrt(by_ngram.multiply(by_ngram).sum(axis=1)).A1
    counts = np.diff(by_ngram.indptr)
    kept = (counts > RARE_COUNT) | (orders == 1)
    return {
        "keys": keys[kept],
        "weights": (vectorizer.idf_ * orders)[kept],
        "posting_offsets": np.concatenate([[0], np.cumsum(counts[kept])]),
        "postings": by_ngram.indices[np.repeat(kept, counts)],
        "norms": norms,
    }


def _stored(contexts: Contexts) -> dict[str, NDArray[Any]]:
    """The text side: every text once, the contexts and their replies as numbers of texts."""
    texts: dict[str, int] = {}
    groups: dict[tuple[int, ...], int] = {}
    rows = []
    for (last, previous), replies in contexts.items():
        group = tuple(texts.setdefault(reply, len(texts)) for reply in replies)
        before = texts.setdefault(previous, len(texts)) if previous else -1
        rows.append((texts.setdefault(last, len(texts)), before, groups.setdefault(group, len(groups))))
    encoded = [text.encode("utf-8") for text in texts]
    return {
        "contexts": np.array(rows),
        "group_offsets": np.cumsum([0, *map(len, groups)]),
        "replies": np.array([reply for group in groups for reply in group]),
        "text_offsets": np.cumsum([0, *map(len, encoded)]),
        "text": np.frombuffer(b"".join(encoded), np.uint8),
    }
