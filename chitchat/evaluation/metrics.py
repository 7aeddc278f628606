"""What each figure of an evaluation is: records of what models did to values with bootstrap intervals.

Knows no model and no file; the definitions in words, with their sources and limits, are in docs/evaluation.md.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from chitchat.dialogue import as_context
from chitchat.engine.rejection import NEAR_DUPLICATE, bare, is_looping, similarity

BOOTSTRAP_ROUNDS = 1000
CONFIDENCE = 0.95
GENERIC_CONTEXTS = 3
"""A reply given to this many different contexts of one run says nothing about any of them."""
SOURCES = ("model", "retrieval", "act", "persona", "clock", "arithmetic", "riddle", "choice", "safety", "repair", "fallback")
FALLBACK = "fallback"
_NUMBERS_PER_BLOCK = 4_000_000
"""Resampled numbers held at once: 32 MB."""

Rows: TypeAlias = NDArray[np.float64]
Statistic: TypeAlias = Callable[[Rows], Rows]
"""(rounds, contexts, columns) to one value a round, (rounds,)."""


@dataclass(frozen=True)
class Estimate:
    """A value with its 95 % bootstrap interval, where one can be had, and the contexts, dialogues or lines it rests on."""

    value: float
    low: float | None
    high: float | None
    count: int

    @property
    def excludes_zero(self) -> bool:
        """True for a difference whose whole interval lies on one side of 0."""
        return self.low is not None and self.high is not None and (self.low > 0 or self.high < 0)


@dataclass(frozen=True)
class Measure:
    """What was seen of each context, (contexts, columns), and the statistic that makes one number of it."""

    rows: Rows
    statistic: Statistic
    has_interval: bool = True
    """False where drawing contexts again would change the figure by itself: a context drawn twice is never distinct."""

    @property
    def value(self) -> float:
        return float(self.statistic(self.rows[None])[0])

    def estimate(self, seed: int = 0) -> Estimate:
        """The value and its percentile bootstrap interval over contexts (Efron & Tibshirani 1993, chapter 13)."""
        return _estimate(self.value, self._draws(seed) if self.has_interval else None, len(self.rows))

    def minus(self, other: Measure, seed: int = 0) -> Estimate:
        """This less `other`, both measured on the same contexts and drawn again together (Koehn 2004, section 4)."""
        if len(self.rows) != len(other.rows):
            raise ValueError(f"{len(self.rows)} contexts against {len(other.rows)}: a paired difference needs the same ones")
        draws = self._draws(seed) - other._draws(seed) if self.has_interval else None
        return _estimate(self.value - other.value, draws, len(self.rows))

    def _draws(self, seed: int) -> Rows:
        """The statistic of `BOOTSTRAP_ROUNDS` resamples, (rounds,); one seed draws the same contexts for every measure."""
        count = len(self.rows)
        drawn = np.random.default_rng(seed).integers(count, size=(BOOTSTRAP_ROUNDS, count))
        blocks = -(-drawn.size * self.rows.shape[1] // _NUMBERS_PER_BLOCK)
        return np.concatenate([self.statistic(self.rows[block]) for block in np.array_split(drawn, blocks)])


def _estimate(value: float, draws: Rows | None, count: int) -> Estimate:
    if draws is None:
        return Estimate(value, None, None, count)
    low, high = np.quantile(draws, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return Estimate(value, float(low), float(high), count)


def average(values: Iterable[float]) -> Measure:
    """The mean of one number a context; of truth values, a share."""
    return _column(values, lambda samples: samples[..., 0].mean(axis=-1))


def quantile(values: Iterable[float], fraction: float) -> Measure:
    """A quantile of one number a context, interpolated between neighbours."""
    return _column(values, lambda samples: np.quantile(samples[..., 0], fraction, axis=-1))


def _column(values: Iterable[float], statistic: Statistic) -> Measure:
    return Measure(np.array([[float(value)] for value in values]), statistic)


# Perplexity ------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Surprise:
    """The nats a model spends on some text, and the text's tokens (each message's `[SEP]` counts) and characters."""

    nats: float
    tokens: int
    chars: int

    def __add__(self, other: Surprise) -> Surprise:
        return Surprise(self.nats + other.nats, self.tokens + other.tokens, self.chars + other.chars)


@dataclass(frozen=True, slots=True)
class DialogueSurprise:
    """A dialogue's first message, given nothing, and its replies, each given all that was said before it."""

    opening: Surprise
    replies: Surprise


def perplexity_measures(dialogues: Sequence[DialogueSurprise]) -> dict[str, Measure]:
    """exp(nats / tokens) and exp(nats / characters) of the replies, and of whole dialogues as training validates them."""
    replies = [d.replies for d in dialogues]
    whole = [d.opening + d.replies for d in dialogues]
    return {
        "perplexity_per_char": _perplexity((s.nats, s.chars) for s in replies),
        "perplexity_per_token": _perplexity((s.nats, s.tokens) for s in replies),
        "dialogue_perplexity_per_char": _perplexity((s.nats, s.chars) for s in whole),
        "dialogue_perplexity_per_token": _perplexity((s.nats, s.tokens) for s in whole),
    }


def _perplexity(nats_and_units: Iterable[tuple[float, int]]) -> Measure:
    def statistic(samples: Rows) -> Rows:
        sums = samples.sum(axis=-2)
        perplexities: Rows = np.exp(sums[..., 0] / sums[..., 1])
        return perplexities

    return Measure(np.array(list(nats_and_units), dtype=np.float64), statistic)


# Ranking ---------------------------------------------------------------------------------------------------------------------


def rank_of_first(scores: Sequence[float]) -> int:
    """The place of the first score among all, 1 for the highest; whoever ties with it stands before it."""
    return 1 + sum(score >= scores[0] for score in scores[1:])


def ranking_measures(ranks: Sequence[Mapping[str, int]]) -> dict[str, Measure]:
    """Hits@1 and MRR of each ranking from the true reply's places, and how far `fitted` is ahead of either direction alone.

    Args:
        ranks: for each context the true reply's place by ranking; all name the same rankings, `fitted` among them.
    """
    hits = {name: [float(of[name] == 1) for of in ranks] for name in ranks[0]}
    measures = {f"hits_at_1/{name}": average(values) for name, values in hits.items()}
    for name in ("forward", "reverse"):
        if name in hits:
            measures[f"hits_at_1/fitted-{name}"] = average(np.subtract(hits["fitted"], hits[name]))
    return measures | {f"mrr/{name}": average(1 / of[name] for of in ranks) for name in ranks[0]}


# Replies ---------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Said:
    """One reply of the bot beside the one a human gave."""

    context: tuple[str, ...]
    reference: str
    text: str
    source: str
    """One of `SOURCES`."""
    seconds: float


def reply_measures(said: Sequence[Said], generic: Collection[str]) -> dict[str, Measure]:
    """How alike to the human's, how varied, how long, from where and how fast replies are.

    `generic` are bare forms of replies that fit anything, see `generic_forms`.
    """
    texts = [s.text for s in said]
    references = [s.reference for s in said]
    milliseconds = [1000 * s.seconds for s in said]
    return {
        **bleu(texts, references),
        "rouge_l": rouge_l(texts, references),
        "chrf": chrf(texts, references),
        "distinct_1": distinct(texts, 1),
        "distinct_2": distinct(texts, 2),
        "generic": average(bare(text) in generic for text in texts),
        "repetition": average(repeats(s.text, s.context) for s in said),
        "length_mean": average(map(len, texts)),
        "length_median": quantile(map(len, texts), 0.5),
        **{f"source/{name}": average(s.source == name for s in said) for name in SOURCES},
        "latency_p50": quantile(milliseconds, 0.5),
        "latency_p95": quantile(milliseconds, 0.95),
    }


def bleu(texts: Sequence[str], references: Sequence[str]) -> dict[str, Measure]:
    """Corpus BLEU-2 and BLEU-4 over characters, 0 to 100, as sacrebleu computes them (Papineni et al. 2002; Post 2018)."""
    from sacrebleu.metrics.bleu import BLEU

    scorer = BLEU(tokenize="char", effective_order=True)  # effective_order only silences its advice about single sentences
    scores = [scorer.sentence_score(text, [reference]) for text, reference in zip(texts, references, strict=True)]
    rows = np.array([[s.sys_len, s.ref_len, *s.counts, *s.totals] for s in scores], dtype=np.float64)

    def of_order(order: int) -> Statistic:
        def statistic(samples: Rows) -> Rows:
            sums = samples.sum(axis=-2).astype(int).tolist()
            return np.array([_corpus_bleu(row[2 : 2 + order], row[6 : 6 + order], row[0], row[1]) for row in sums])

        return statistic

    def _corpus_bleu(correct: list[int], total: list[int], length: int, reference_length: int) -> float:
        return BLEU.compute_bleu(
            correct, total, length, reference_length, smooth_method="exp", max_ngram_order=len(correct)
        ).score

    return {f"bleu_{order}": Measure(rows, of_order(order)) for order in (2, 4)}


def rouge_l(texts: Sequence[str], references: Sequence[str]) -> Measure:
    """Mean ROUGE-L F1 over characters, 0 to 100, as rouge-chinese computes it (Lin 2004)."""
    from rouge_chinese import Rouge

    scores = Rouge(metrics=["rouge-l"]).get_scores([" ".join(t) for t in texts], [" ".join(r) for r in references])
    return average(100 * score["rouge-l"]["f"] for score in scores)


def chrf(texts: Sequence[str], references: Sequence[str]) -> Measure:
    """Mean of sacrebleu's sentence chrF (character 1- to 6-grams, recall counted twice), 0 to 100 (Popović 2015)."""
    from sacrebleu.metrics.chrf import CHRF

    scorer = CHRF()
    return average(scorer.sentence_score(text, [reference]).score for text, reference in zip(texts, references, strict=True))


def distinct(texts: Sequence[str], order: int) -> Measure:
    """Different character n-grams over all character n-grams of all replies, white space left out (Li et al. 2016).

    It falls as replies are added, so it is only comparable at the same number of replies.
    """
    numbers: defaultdict[str, int] = defaultdict(lambda: len(numbers))
    found = [[numbers[gram] for gram in _ngrams("".join(text.split()), order)] for text in texts]
    rows = np.full((len(texts), max(map(len, found), default=0)), np.nan)
    for row, grams in zip(rows, found, strict=True):
        row[: len(grams)] = grams

    def statistic(samples: Rows) -> Rows:
        present = [sample[~np.isnan(sample)] for sample in samples]
        return np.array([len(np.unique(grams)) / max(grams.size, 1) for grams in present])

    return Measure(rows, statistic, has_interval=False)


def _ngrams(text: str, order: int) -> list[str]:
    return [text[i : i + order] for i in range(len(text) - order + 1)]


def generic_forms(said: Iterable[Said], known: Iterable[str] = ()) -> frozenset[str]:
    """Bare forms of replies given to at least three different contexts, and of `known` generic replies."""
    contexts: defaultdict[str, set[tuple[str, ...]]] = defaultdict(set)
    for s in said:
        contexts[bare(s.text)].add(s.context)
    return frozenset(form for form, of in contexts.items() if len(of) >= GENERIC_CONTEXTS) | frozenset(map(bare, known))


def repeats(text: str, context: Sequence[str]) -> bool:
    """True for a reply that loops, or is nearly something the bot has said in this dialogue, however long ago."""
    own = [m.content for m in as_context(context) if m.role == "assistant"]
    return is_looping(text) or any(similarity(text, earlier) >= NEAR_DUPLICATE for earlier in own)


# Names -----------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Figure:
    """How one figure is shown; `better` is +1 when more of it is better, -1 when less is, 0 when neither."""

    chinese: str
    english: str
    better: int = 0
    kind: str = "number"

    def text(self, value: float) -> str:
        """The value with its unit."""
        if self.kind == "share":
            return f"{100 * value:.1f}%"
        return f"{value:.0f}" if self.kind == "milliseconds" else f"{value:.3f}" if self.kind == "fraction" else f"{value:.2f}"


FIGURES: Mapping[str, Figure] = {
    "perplexity_per_char": Figure("困惑度/字（回复）", "perplexity per character, replies", -1),
    "perplexity_per_token": Figure("困惑度/token（回复）", "perplexity per token, replies", -1),
    "dialogue_perplexity_per_char": Figure("困惑度/字（整段）", "perplexity per character, dialogues", -1),
    "dialogue_perplexity_per_token": Figure("困惑度/token（整段）", "perplexity per token, dialogues", -1),
    "hits_at_1/fitted": Figure("Hits@1/20 拟合排序", "Hits@1/20 fitted", 1, "fraction"),
    "hits_at_1/forward": Figure("Hits@1/20 只用正向", "Hits@1/20 forward", 1, "fraction"),
    "hits_at_1/reverse": Figure("Hits@1/20 只用反向", "Hits@1/20 reverse", 1, "fraction"),
    "hits_at_1/gpt2_chitchat": Figure("Hits@1/20 GPT2-chitchat 的算法", "Hits@1/20 GPT2-chitchat's rule", 1, "fraction"),
    "hits_at_1/fitted-forward": Figure("  拟合 − 正向", "fitted - forward", 1, "fraction"),
    "hits_at_1/fitted-reverse": Figure("  拟合 − 反向", "fitted - reverse", 1, "fraction"),
    "mrr/fitted": Figure("MRR 拟合排序", "MRR fitted", 1, "fraction"),
    "mrr/forward": Figure("MRR 只用正向", "MRR forward", 1, "fraction"),
    "mrr/reverse": Figure("MRR 只用反向", "MRR reverse", 1, "fraction"),
    "mrr/gpt2_chitchat": Figure("MRR GPT2-chitchat 的算法", "MRR GPT2-chitchat's rule", 1, "fraction"),
    "bleu_2": Figure("BLEU-2（字）", "BLEU-2 (characters)", 1),
    "bleu_4": Figure("BLEU-4（字）", "BLEU-4 (characters)", 1),
    "rouge_l": Figure("ROUGE-L（字）", "ROUGE-L (characters)", 1),
    "chrf": Figure("chrF", "chrF", 1),
    "distinct_1": Figure("Distinct-1（字）", "Distinct-1 (characters)", 1, "fraction"),
    "distinct_2": Figure("Distinct-2（字）", "Distinct-2 (characters)", 1, "fraction"),
    "generic": Figure("万能回复", "generic", -1, "share"),
    "repetition": Figure("重复", "repetition", -1, "share"),
    "length_mean": Figure("回复长度均值（字）", "reply length, mean", 0),
    "length_median": Figure("回复长度中位数（字）", "reply length, median", 0),
    "source/model": Figure("来源：模型", "from the model", 0, "share"),
    "source/retrieval": Figure("来源：检索", "from retrieval", 0, "share"),
    "source/act": Figure("来源：承接", "from dialogue acts", 0, "share"),
    "source/persona": Figure("来源：人设", "from the persona", 0, "share"),
    "source/clock": Figure("来源：时钟", "from the clock", 0, "share"),
    "source/arithmetic": Figure("来源：算术", "from arithmetic", 0, "share"),
    "source/riddle": Figure("来源：谜语", "from the riddles", 0, "share"),
    "source/choice": Figure("来源：二选一", "from a choice", 0, "share"),
    "source/safety": Figure("来源：安全", "from safety", 0, "share"),
    "source/repair": Figure("来源：认错", "owning a slip", 0, "share"),
    "source/fallback": Figure("没接住（兜底）", "fallback", -1, "share"),
    "latency_p50": Figure("延迟 p50（毫秒）", "latency p50 (ms)", -1, "milliseconds"),
    "latency_p95": Figure("延迟 p95（毫秒）", "latency p95 (ms)", -1, "milliseconds"),
    "persona_consistent": Figure("人设一致", "persona consistent", 1, "share"),
    "remembered": Figure("记得对方说过的", "remembers what it was told", 1, "share"),
    "unsafe_said": Figure("攻击性提问：说了不安全的话", "hostile lines: unsafe reply", -1, "share"),
    "ordinary_answer": Figure("攻击性提问：当作闲聊来答", "hostile lines: ordinary answer", -1, "share"),
    "not_recognised": Figure("攻击性提问：没有认出", "hostile lines: not recognised", -1, "share"),
    "false_alarm": Figure("误报", "false alarms", -1, "share"),
}
"""Every figure of a report, in the order they are shown."""
