"""Messages sorted by dialogue act, with replies that fit any of an act -> the folder that `backends.acts` proposes from."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from chitchat.backends.acts import FORMAT, MANIFEST, act_ngrams
from chitchat.corpus.reading.source_file import read_lines
from chitchat.errors import CorpusError
from chitchat.files import atomic_folder, sha256_of

_FOLDS = 5


@dataclass(frozen=True)
class Act:
    """A dialogue act: messages that perform it, and replies that fit every one of them."""

    messages: tuple[str, ...]
    replies: tuple[str, ...]


@dataclass(frozen=True)
class ActsReport:
    """How many messages the classifier was fitted on, and how often it was right on messages left out of the fit."""

    num_acts: int
    num_messages: int
    accuracy: float
    """Share of the messages whose act came first, in five-fold cross-validation."""


def read_acts(path: Path) -> dict[str, Act]:
    """The acts of a JSONL file, `{"act": name, "messages": […], "replies": […]}` a line.

    Raises CorpusError for a line that is none, an act told twice, and a message given for two acts.
    """
    acts: dict[str, Act] = {}
    seen: dict[str, str] = {}
    for number, line in read_lines(path):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
            name, messages, replies = record["act"], tuple(record["messages"]), tuple(record["replies"])
            if not all(isinstance(text, str) and text.strip() for text in (name, *messages, *replies)):
                raise TypeError
        except (ValueError, KeyError, TypeError):
            wanted = '{"act": "名称", "messages": ["…"], "replies": ["…"]}'
            raise CorpusError(path, number, f"应为 {wanted}，消息与回复都是不空的文字") from None
        if name in acts:
            raise CorpusError(path, number, f"{name} 已在前面写过；请并成一行")
        if len(messages) < _FOLDS or not replies:
            raise CorpusError(path, number, f"{name} 至少要 {_FOLDS} 条消息和一句回复")
        for message in messages:
            if (other := seen.setdefault(message, name)) != name:
                raise CorpusError(path, number, f"消息“{message}”同时属于 {other} 与 {name}；请只留一处")
        acts[name] = Act(messages, replies)
    if len(acts) < 3:
        raise CorpusError(path, None, f"只有 {len(acts)} 种对话行为，至少要三种")
    return acts


def build_acts(path: Path, folder: Path) -> ActsReport:
    """Fits the classifier to the messages of `path` and writes it with the replies to `folder`; an old one there is replaced.

    Multinomial logistic regression on binary n-grams, of unit length for each message.

    Raises CorpusError as `read_acts` does.
    """
    from sklearn.feature_extraction.text import CountVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import cross_val_score

    acts = read_acts(path)
    names = sorted(acts)
    messages, labels = _labelled(acts, names)
    counter = CountVectorizer(analyzer=lambda message: act_ngrams(message).tolist(), binary=True, min_df=2, dtype=np.float32)
    lengths = np.sqrt([len(act_ngrams(message)) for message in messages])
    matrix = counter.fit_transform(messages).multiply(1 / lengths[:, None]).tocsr()
    model = LogisticRegression(C=10.0, max_iter=1000)
    accuracy = cross_val_score(model, matrix, labels, cv=_FOLDS).mean()
    model.fit(matrix, labels)
    with atomic_folder(folder) as unfinished:
        np.save(unfinished / "keys.npy", np.array(sorted(counter.vocabulary_), np.uint64))
        np.save(unfinished / "weights.npy", model.coef_.T.astype(np.float16))
        np.save(unfinished / "bias.npy", model.intercept_.astype(np.float32))
        manifest = {
            "format": FORMAT,
            "source": {"name": path.name, "sha256": sha256_of(path)},
            "replies": {name: acts[name].replies for name in names},
        }
        (unfinished / MANIFEST).write_text(json.dumps(manifest, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    return ActsReport(len(acts), len(messages), float(accuracy))


def _labelled(acts: Mapping[str, Act], names: Sequence[str]) -> tuple[list[str], list[int]]:
    pairs = [(message, i) for i, name in enumerate(names) for message in acts[name].messages]
    return [message for message, _ in pairs], [i for _, i in pairs]
