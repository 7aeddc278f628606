"""Replies that a reader graded: what a reward model learns from, and the ranking's weights that only they can tell.

What corpora cannot tell, since people do not answer out of an index, a reader of the bot's own candidates can.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from chitchat.backends.base import Encoder, RewardModel, Scorer
from chitchat.corpus.reading.source_file import read_lines
from chitchat.corpus.splitting import Split, content_hash, split_of
from chitchat.dialogue import Candidate, as_context
from chitchat.engine.reranking import FITTED, JUDGED, Ranker
from chitchat.engine.scoring import scored
from chitchat.errors import ConfigError, CorpusError
from chitchat.evaluation.conditional_logit import conditional_logit
from chitchat.evaluation.metrics import Estimate, average

_FOLDS = 5
_HELD_OUT_SHARE = 0.25

Numbers = NDArray[np.float64]
Grades = NDArray[np.int64]
GRADES = (0, 1, 2)
"""Wrong; acceptable but bland or slightly off; good (the scale of Wang et al. 2020, CDial-GPT)."""


@dataclass(frozen=True)
class Judgement:
    """Candidate replies to one context and the grade of each.

    Attributes:
        context: oldest message first.
        candidates: as proposed, with `source`, `context_similarity` and `origin`; nothing scored.
        grades: of each candidate, one of `GRADES`.
        written: replies that the reader would have given, as good as any.
    """

    context: tuple[str, ...]
    candidates: tuple[Candidate, ...]
    grades: tuple[int, ...]
    written: tuple[str, ...] = ()

    @property
    def is_held_out(self) -> bool:
        """Whether the reward model must not learn from it, so that what it says of it counts; a whole talk goes one way."""
        return split_of(content_hash(self.context[:1]), _HELD_OUT_SHARE, 0.0) == Split.VALIDATION


def read_judgements(path: Path) -> list[Judgement]:
    """The judgements of a JSONL file, one context a line.

    `{"context": ["…"], "replies": [{"text": "…", "grade": 2, "source": "retrieval", "context_similarity": 0.4,
    "origin": ["…"]}], "written": ["…"]}`; "origin" and "written" may be missing. Raises CorpusError for a line that is none.
    """
    found = []
    for number, line in read_lines(path):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
            replies = record["replies"]
            candidates = [
                Candidate(
                    str(r["text"]),
                    source=r["source"],
                    context_similarity=float(r["context_similarity"]),
                    origin=tuple(map(str, r.get("origin", ()))),
                )
                for r in replies
            ]
            grades = tuple(r["grade"] for r in replies)
            if not set(grades) <= set(GRADES):
                raise ValueError(f"grade 应为 {GRADES} 之一")
            written = tuple(map(str, record.get("written", ())))
            found.append(Judgement(tuple(map(str, record["context"])), tuple(candidates), grades, written))
        except (ValueError, KeyError, TypeError) as error:
            raise CorpusError(path, number, f"不是一条评判（{error}）；格式见 data/README.md") from None
    return found


def graded_replies(judgements: Sequence[Judgement], *, held_out: bool) -> list[tuple[list[str], list[str], list[int]]]:
    """(context, replies, grades) of the judgements a reward model learns from, or of those it is measured on.

    What the reader would have said is among them with the best grade; it is left out of the measure, where it would always win.
    """
    found = []
    for j in judgements:
        if j.is_held_out == held_out:
            written = () if held_out else j.written
            replies = [*(c.text for c in j.candidates), *written]
            found.append((list(j.context), replies, [*j.grades, *[max(GRADES)] * len(written)]))
    return found


@dataclass(frozen=True)
class JudgedFit:
    """What `fit_judged` found.

    Attributes:
        ranker: with the weights of `JUDGED` fitted.
        chosen: mean grade of the candidate that comes first, by ranking: "fitted" (on other contexts than those it is measured
            on), "before", "forward", "reverse", "encoder" and "reward" when there is
            such a model, "random", and "best", the most that could be had.
        num_contexts: those with candidates of different grades.
    """

    ranker: Ranker
    chosen: dict[str, Estimate]
    num_contexts: int


def fit_judged(
    judgements: Sequence[Judgement],
    ranker: Ranker,
    forward: Scorer,
    reverse: Scorer | None,
    reward: RewardModel | None = None,
    encoder: Encoder | None = None,
    *,
    max_history_messages: int = 5,
) -> JudgedFit:
    """Fits the weights of `JUDGED`, by conditional logit over pairs of candidates of which one was graded higher.

    What `ranker` makes of the features of `FITTED` enters as one number whose weight sets the scale, so that the proportions
    fitted on corpora stay. With a reward model only the judgements it has not learnt from count.

    Raises ConfigError when the judgements contradict those.
    """
    told = [j for j in judgements if len(set(j.grades)) > 1 and (reward is None or j.is_held_out)]
    grades = [np.array(j.grades) for j in told]
    tables = [_features(j, ranker, forward, reverse, reward, encoder, max_history_messages) for j in told]
    by_corpora = np.array([ranker.weights.get(name, 0.0) for name in FITTED])
    reduced = [np.column_stack([table[:, : len(FITTED)] @ by_corpora, table[:, len(FITTED) :]]) for table in tables]
    before = np.array([1.0, *(ranker.weights.get(name, 0.0) for name in JUDGED)])
    scores = {
        "fitted": _cross_fitted(reduced, grades),
        "before": [table @ before for table in reduced],
        "forward": [table[:, FITTED.index("forward")] for table in tables],
        "reverse": [table[:, FITTED.index("reverse")] for table in tables],
        "best": grades,
    }
    if encoder is not None:
        scores["encoder"] = [table[:, FITTED.index("reply_match")] for table in tables]
    if reward is not None:
        scores["reward"] = [table[:, len(FITTED) + JUDGED.index("reward")] for table in tables]
    chosen = {label: average(g[s.argmax()] for g, s in zip(grades, values, strict=True)) for label, values in scores.items()}
    chosen["random"] = average(g.mean() for g in grades)
    scale, *weights = _pairwise(reduced, grades)
    if scale <= 0:
        raise ConfigError("这些评判与语料拟合的权重相反：分数低的回复评得更高；请检查评判文件，或先重新拟合语料的权重")
    fitted = dict(zip(JUDGED, (float(weight / scale) for weight in weights), strict=True))
    found = {label: measure.estimate() for label, measure in chosen.items()}
    return JudgedFit(Ranker({**ranker.weights, **fitted}, ranker.generic), found, len(told))


def _features(
    judgement: Judgement,
    ranker: Ranker,
    forward: Scorer,
    reverse: Scorer | None,
    reward: RewardModel | None,
    encoder: Encoder | None,
    max_messages: int,
) -> Numbers:
    """(candidates, FITTED + JUDGED)"""
    context = as_context(judgement.context)
    windows = [judgement.context[-max_messages:]] * len(judgement.candidates)
    candidates = scored(judgement.candidates, windows, forward, reverse, reward, encoder)
    return np.array([[ranker.features(c, context).get(name, 0.0) for name in (*FITTED, *JUDGED)] for c in candidates])


def _cross_fitted(tables: Sequence[Numbers], grades: Sequence[Grades]) -> list[Numbers]:
    """The score of each candidate under weights fitted on the other folds' contexts."""
    scores: list[Numbers] = [np.empty(0)] * len(tables)
    for fold in range(_FOLDS):
        others = [i for i in range(len(tables)) if i % _FOLDS != fold]
        weights = _pairwise([tables[i] for i in others], [grades[i] for i in others])
        for i in range(fold, len(tables), _FOLDS):
            scores[i] = tables[i] @ weights
    return scores


def _pairwise(tables: Sequence[Numbers], grades: Sequence[Grades]) -> Numbers:
    """Weights under which the better graded of two candidates to the same context comes first."""
    pairs = []
    for table, grade in zip(tables, grades, strict=True):
        better, worse = np.nonzero(grade[:, None] > grade)
        pairs.append(np.stack([table[better], table[worse]], axis=1))
    return conditional_logit([np.concatenate(pairs)])
