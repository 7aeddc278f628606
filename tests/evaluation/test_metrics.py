"""Every figure against values worked out by hand and against the libraries that define it."""

from __future__ import annotations

import math

import numpy as np
import pytest
from rouge_chinese import Rouge
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF

from chitchat.evaluation.metrics import (
    SOURCES,
    DialogueSurprise,
    Said,
    Surprise,
    average,
    bleu,
    chrf,
    distinct,
    generic_forms,
    perplexity_measures,
    quantile,
    rank_of_first,
    ranking_measures,
    repeats,
    reply_measures,
    rouge_l,
)

TEXTS = ["今天天气好", "我也不知道呢", "哈哈哈", "好的", "ok，周末一起去爬山吧！"]
REFERENCES = ["今天天气真好", "你知道吗", "笑什么呢", "好的", "ok，周末去爬山。"]


def said(text: str, *context: str, reference: str = "嗯", source: str = "model", seconds: float = 0.1) -> Said:
    return Said(context or ("你好",), reference, text, source, seconds)


def test_perplexity_is_worked_out_by_hand() -> None:
    # 2 + 4 nats over 3 + 5 tokens and 2 + 4 characters; with the openings 2 + 4 + 3 + 1 nats over 14 and 10
    dialogues = [
        DialogueSurprise(Surprise(3.0, 4, 3), Surprise(2.0, 3, 2)),
        DialogueSurprise(Surprise(1.0, 2, 1), Surprise(4.0, 5, 4)),
    ]
    values = {name: measure.value for name, measure in perplexity_measures(dialogues).items()}
    assert values == pytest.approx(
        {
            "perplexity_per_char": math.exp(6 / 6),
            "perplexity_per_token": math.exp(6 / 8),
            "dialogue_perplexity_per_char": math.exp(10 / 10),
            "dialogue_perplexity_per_token": math.exp(10 / 14),
        }
    )


def test_interval_of_a_share_is_as_wide_as_theory_says() -> None:
    estimate = average([0.0, 1.0] * 200).estimate(seed=1)
    assert estimate.value == 0.5 and estimate.count == 400
    assert estimate.low == pytest.approx(0.5 - 1.96 * 0.025, abs=0.006)
    assert estimate.high == pytest.approx(0.5 + 1.96 * 0.025, abs=0.006)


def test_interval_depends_on_the_seed_alone() -> None:
    measure = average(range(50))
    assert measure.estimate(seed=1) == measure.estimate(seed=1) != measure.estimate(seed=2)


def test_many_rows_are_drawn_in_blocks_without_a_trace() -> None:
    measure = quantile(range(9000), 0.5)
    estimate = measure.estimate()
    assert estimate.value == 4499.5 and estimate.low is not None and estimate.high is not None
    assert 4200 < estimate.low < 4499 < estimate.high < 4800


def test_difference_is_drawn_in_pairs() -> None:
    values = np.random.default_rng(0).normal(size=100)
    by_itself = average(values).minus(average(values))
    assert (by_itself.value, by_itself.low, by_itself.high, by_itself.excludes_zero) == (0.0, 0.0, 0.0, False)
    # unpaired, the interval would be 0.55 wide
    shifted = average(values + 0.05).minus(average(values))
    assert shifted.low == pytest.approx(0.05) == shifted.high and shifted.excludes_zero
    with pytest.raises(ValueError, match="99"):
        average(values).minus(average(values[1:]))


def test_rank_counts_a_tie_against_the_true_reply() -> None:
    assert rank_of_first([3.0, 1.0, 2.0]) == 1
    assert rank_of_first([3.0, 3.0, 4.0, 1.0]) == 3


def test_hits_and_reciprocal_ranks() -> None:
    ranks = [{"fitted": 1, "forward": 4}, {"fitted": 1, "forward": 1}, {"fitted": 2, "forward": 5}]
    measures = ranking_measures(ranks)
    assert measures["hits_at_1/fitted"].value == pytest.approx(2 / 3)
    assert measures["hits_at_1/forward"].value == pytest.approx(1 / 3)
    assert measures["hits_at_1/fitted-forward"].value == pytest.approx(1 / 3)
    assert measures["mrr/fitted"].value == pytest.approx((1 + 1 + 1 / 2) / 3)
    assert measures["mrr/forward"].value == pytest.approx((1 / 4 + 1 + 1 / 5) / 3)
    assert "hits_at_1/fitted-reverse" not in measures


def test_bleu_by_hand() -> None:
    # 5 of 5 characters and 3 of 4 bigrams are in the reference, which is one character longer
    assert bleu(TEXTS[:1], REFERENCES[:1])["bleu_2"].value == pytest.approx(100 * math.exp(1 - 6 / 5) * math.sqrt(3 / 4))


@pytest.mark.parametrize("order", [2, 4])
def test_bleu_is_sacrebleus(order: int) -> None:
    measures = bleu(TEXTS, REFERENCES)
    library = BLEU(tokenize="char", max_ngram_order=order).corpus_score(TEXTS, [REFERENCES])
    assert measures[f"bleu_{order}"].value == pytest.approx(library.score)
    assert library.score > 5


def test_bleu_without_a_long_match_is_smoothed_as_sacrebleu_does() -> None:
    measures = bleu(TEXTS[1:3], REFERENCES[1:3])  # not one trigram in common
    library = BLEU(tokenize="char").corpus_score(TEXTS[1:3], [REFERENCES[1:3]])
    assert measures["bleu_4"].value == pytest.approx(library.score) and library.score > 0


def test_bleu_interval_is_of_corpora_drawn_again() -> None:
    measure = bleu(TEXTS * 20, REFERENCES * 20)["bleu_2"]
    estimate = measure.estimate()
    assert estimate.low is not None and estimate.high is not None
    assert estimate.low < estimate.value < estimate.high < 100


def test_rouge_l_by_hand_and_as_the_library_has_it() -> None:
    # longest common subsequence 今天天气好: precision 5/5, recall 5/6
    assert rouge_l(TEXTS[:1], REFERENCES[:1]).value == pytest.approx(100 * 10 / 11, abs=1e-4)
    library = Rouge().get_scores([" ".join(t) for t in TEXTS], [" ".join(r) for r in REFERENCES], avg=True)
    assert rouge_l(TEXTS, REFERENCES).value == pytest.approx(100 * library["rouge-l"]["f"])


def test_chrf_is_sacrebleus_sentence_by_sentence() -> None:
    library = [CHRF().sentence_score(t, [r]).score for t, r in zip(TEXTS, REFERENCES, strict=True)]
    assert chrf(TEXTS, REFERENCES).value == pytest.approx(sum(library) / len(library))
    assert chrf(["好的"], ["好的"]).value == pytest.approx(100)
    assert chrf(["好的"], ["不行"]).value == 0


def test_distinct_by_hand() -> None:
    # 哈 four times, 好 once; 哈哈 twice, 哈好 once; no bigram crosses from one reply to the next
    texts = ["哈哈哈", "哈 好"]
    assert distinct(texts, 1).value == pytest.approx(2 / 5)
    assert distinct(texts, 2).value == pytest.approx(2 / 3)
    assert distinct(["嗯", "嗯"], 2).value == 0
    estimate = distinct(texts, 1).estimate()
    assert (estimate.low, estimate.high, estimate.count) == (None, None, 2)


def test_generic_is_what_is_said_to_three_contexts() -> None:
    to_many = [said("我不知道。", "一"), said("我不知道", "二"), said("我不知道！", "三")]
    to_one = [said("好呀", "四"), said("好呀", "四"), said("好呀", "四"), said("是吗？", "五")]
    assert generic_forms([*to_many, *to_one]) == {"我不知道"}
    assert generic_forms(to_one, known=["是吗"]) == {"是吗"}
    measures = reply_measures([*to_many, *to_one], generic_forms([*to_many, *to_one], ["是吗"]))
    assert measures["generic"].value == pytest.approx(4 / 7)


def test_repetition_is_a_loop_or_what_the_bot_said_before() -> None:
    assert repeats("好的好的好的好的好的", ["在吗"])
    assert repeats("今天想吃火锅！", ["晚饭", "今天想吃火锅", "别的呢"])
    assert not repeats("今天想吃火锅", ["今天想吃火锅"]), "it is the user who said so"
    assert not repeats("那就吃面吧", ["晚饭", "今天想吃火锅", "别的呢"])


def test_lengths_sources_and_latency() -> None:
    measures = reply_measures(
        [
            said("一二三四五六", source="retrieval", seconds=0.2),
            said("一二", seconds=0.4),
            said("一", source="fallback", seconds=0.1),
            said("三个字", seconds=0.3),
        ],
        frozenset(),
    )
    values = {name: measure.value for name, measure in measures.items()}
    assert values["length_mean"] == 3 and values["length_median"] == 2.5
    assert values["source/model"] == 0.5 and values["source/retrieval"] == values["source/fallback"] == 0.25
    assert sum(values[f"source/{name}"] for name in SOURCES) == 1
    assert values["latency_p50"] == pytest.approx(250)
    assert values["latency_p95"] == pytest.approx(385)
