"""The ranking's weights, fitted on held-out dialogues: which of twenty replies is the one that was really given?"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chitchat.backends.base import Encoder, Generator, Scorer
from chitchat.backends.reward import REWARD
from chitchat.config import DecodingConfig
from chitchat.corpus.splitting import Split, split_dialogues
from chitchat.dialogue import Candidate, as_context
from chitchat.engine.rejection import bare
from chitchat.engine.reranking import DEFAULT_WEIGHTS, FITTED, Ranker, save_generic
from chitchat.engine.scoring import scored
from chitchat.errors import CorpusError
from chitchat.evaluation.conditional_logit import Table, conditional_logit
from chitchat.evaluation.fit_judged import JudgedFit
from chitchat.evaluation.metrics import Estimate, Measure, average

NUM_CANDIDATES = 20
MIN_GENERIC_CONTEXTS = 5
MAX_GENERIC_CHARS = 10
"""What recurs and is longer is a quotation or a template, not a reply that fits anywhere."""


@dataclass(frozen=True)
class RankingReport:
    """What `fit_ranking` found.

    Attributes:
        ranker: the fitted weights, and the generic replies they count.
        hits: for each file Hits@1 by ranking ("forward", "reverse", "reply_match", "fitted", "fitted − reverse", and
            "fitted without X" for the ablation), on the contexts that nothing was fitted on.
        num_contexts: how many those are, for each file.
    """

    ranker: Ranker
    hits: dict[str, dict[str, Estimate]]
    num_contexts: dict[str, int]


def fit_ranking(
    files: Sequence[Path],
    forward: Scorer,
    reverse: Scorer | None,
    encoder: Encoder | None = None,
    *,
    num_contexts: int = 400,
    num_sampled: int = 0,
    seed: int = 0,
    max_history_messages: int = 5,
) -> RankingReport:
    """Fits a linear ranking by conditional logit (McFadden 1974): the true reply against 19 random ones of the same file.

    Only the validation split of training's default fractions is used, so that the test split stays unseen; half of the contexts
    of each file fit the weights, the other half measures them. Generic replies are mined from the training split of the files.

    Args:
        num_contexts: at most so many of each file.
        num_sampled: replies that `forward`, then a Generator too, writes for each context and that the true reply has to beat as
            well when fitting; the measure stays that of 20 human replies.

    Raises:
        CorpusError: a file has fewer than 40 contexts in its validation split.
    """
    generic = mine_generic(files)
    ranker = Ranker(dict(DEFAULT_WEIGHTS), generic)
    random_ = random.Random(seed)
    fitting: list[Table] = []
    measured: dict[str, Table] = {}
    for path in files:
        pairs = list(split_pairs(path, Split.VALIDATION, max_history_messages))
        if len(pairs) < 2 * NUM_CANDIDATES:
            fault = f"只有 {len(pairs)} 个验证上下文，拟合排序权重至少要 {2 * NUM_CANDIDATES} 个；请给更大的语料"
            raise CorpusError(path, None, fault)
        random_.shuffle(pairs)
        sets = candidate_sets(pairs, num_contexts, random_)
        half = len(sets) // 2
        measuring = []
        for number, (context, replies) in enumerate(sets):
            extra = _own_replies(forward, context, replies[0], num_sampled, seed + number) if number < half else []
            candidates = scored_candidates(context, [*replies, *extra], forward, reverse, encoder=encoder)
            rows = [[ranker.features(c, as_context(context)).get(name, 0.0) for name in FITTED] for c in candidates]
            if number < half:
                fitting.append(np.array([rows]))
            else:
                measuring.append(rows)
        measured[path.name] = np.array(measuring)
    weights = conditional_logit(fitting)
    alone = {"forward": forward, "reverse": reverse, "reply_match": encoder}
    columns = {name: FITTED.index(name) for name, model in alone.items() if model is not None}
    ablation = {name: conditional_logit(fitting, without=i) for i, name in enumerate(FITTED)}
    hits = {}
    for name, table in measured.items():
        won = {label: _wins(table[..., i]) for label, i in columns.items()}
        won["fitted"] = _wins(table @ weights)
        found = {label: measure.estimate(seed) for label, measure in won.items()}
        found |= {f"fitted − {label}": won["fitted"].minus(won[label], seed) for label in columns}
        found |= {f"fitted without {label}": _wins(table @ w).estimate(seed) for label, w in ablation.items()}
        hits[name] = found
    fitted = dict(zip(FITTED, weights.tolist(), strict=True))
    return RankingReport(Ranker({**DEFAULT_WEIGHTS, **fitted}, generic), hits, {k: len(v) for k, v in measured.items()})


def split_pairs(path: Path, wanted: Split, max_history_messages: int) -> Iterator[tuple[list[str], str]]:
    """(context, reply) at every turn of the dialogues of one split."""
    for split, piece in split_dialogues(path):
        if split == wanted:
            for end in range(1, len(piece.messages)):
                yield list(piece.messages[max(0, end - max_history_messages) : end]), piece.messages[end]


def candidate_sets(
    pairs: Sequence[tuple[list[str], str]], num_contexts: int, random_: random.Random
) -> list[tuple[list[str], list[str]]]:
    """For the first contexts of `pairs` the true reply and 19 others, drawn at random from the replies of all pairs."""
    replies = [reply for _, reply in pairs]
    sets = []
    for context, reply in pairs[:num_contexts]:
        drawn = random_.sample(replies, min(len(replies), 3 * NUM_CANDIDATES))
        others = list(dict.fromkeys(r for r in drawn if r != reply))[: NUM_CANDIDATES - 1]
        sets.append((context, [reply, *others]))
    return [s for s in sets if len(s[1]) == NUM_CANDIDATES]


def scored_candidates(
    context: Sequence[str],
    replies: Sequence[str],
    forward: Scorer,
    reverse: Scorer | None,
    encoder: Encoder | None = None,
) -> list[Candidate]:
    """Replies to one context as candidates with all that the models think of them, in order."""
    return scored([Candidate(reply) for reply in replies], [context] * len(replies), forward, reverse, encoder=encoder)


def mine_generic(files: Sequence[Path]) -> dict[str, int]:
    """Short replies given in at least five different contexts of the training split, without marks, and in how many."""
    contexts: defaultdict[str, set[str]] = defaultdict(set)
    for path in files:
        for split, piece in split_dialogues(path):
            if split == Split.TRAIN:
                for before, reply in zip(piece.messages, piece.messages[1:], strict=False):
                    contexts[bare(reply)].add(bare(before))
    return {
        reply: len(before)
        for reply, before in contexts.items()
        if len(before) >= MIN_GENERIC_CONTEXTS and len(reply) <= MAX_GENERIC_CHARS
    }


def save_report(report: RankingReport, model: Path, judged: JudgedFit | None = None) -> None:
    """Writes `ranker.json`, with what was measured beside the weights, the generic replies and the reward model to `model`."""
    ranker = judged.ranker if judged else report.ranker
    rounded = replace(ranker, weights={name: round(value, 4) for name, value in ranker.weights.items()})
    measured: dict[str, Any] = {
        "hits_at_1_of_20": {file: _rounded(found) for file, found in report.hits.items()},
        "num_contexts": report.num_contexts,
    }
    if judged:
        measured |= {"mean_grade": _rounded(judged.chosen), "num_judged_contexts": judged.num_contexts}
        judged.reward.save(model / REWARD, contexts=judged.num_learnt)
    save_generic(rounded.generic, model)
    rounded.save(model, **measured)


def _rounded(found: Mapping[str, Estimate]) -> dict[str, list[float]]:
    return {name: [round(v, 4) for v in (i.value, i.low, i.high) if v is not None] for name, i in found.items()}


def _own_replies(forward: Scorer, context: list[str], reply: str, number: int, seed: int) -> list[str]:
    if not number:
        return []
    generator: Generator = forward  # type: ignore[assignment]
    candidates = generator.generate(context, DecodingConfig(num_candidates=number, seed=seed))
    return [c.text for c in candidates if c.rejected is None and c.text and bare(c.text) != bare(reply)]


def _wins(scores: NDArray[np.float64]) -> Measure:
    """Share of contexts whose first candidate scores highest; a tie counts as a miss."""
    return average(scores[:, 0] > scores[:, 1:].max(axis=1))
