"""The order of candidates, the ranker's file, and the method's first trap."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest

from chitchat.backends.transformers_local import TransformersModel
from chitchat.dialogue import Candidate, as_context
from chitchat.engine.rejection import rejection
from chitchat.engine.reranking import DEFAULT_WEIGHTS, FEATURES, FITTED, GENERIC, Ranker, load_generic, save_generic
from chitchat.errors import CheckpointError

CONTEXT = as_context(["你好", "你好呀", "今天好累"])


def candidate(text: str, forward: float, reverse: float | None = None, *, tokens: int = 5) -> Candidate:
    return Candidate(text, forward_log_prob=forward, num_tokens=tokens, reverse_log_prob=reverse, num_context_tokens=10)


def test_order_features_and_score() -> None:
    ranker = Ranker({"forward": 1.0, "reverse": 2.0, "length": 0.5})
    bad = Candidate("哈哈哈哈", rejected="循环重复")
    ranked = ranker.rank([bad, candidate("嗯", -5.0, -50.0), candidate("早点休息吧", -10.0, -20.0)], CONTEXT)
    assert [c.text for c in ranked] == ["早点休息吧", "嗯", "哈哈哈哈"]
    assert ranked[-1] == bad  # unscored: a number here would look better than the best
    best = ranked[0]
    assert {name: best.features[name] for name in ("forward", "reverse", "length", "repetition")} == {
        "forward": -2.0, "reverse": -2.0, "length": math.log(5), "repetition": 0.0,
    }  # fmt: skip
    assert best.score == pytest.approx(-2.0 - 4.0 + 0.5 * math.log(5))


def test_what_may_not_be_said_comes_last_however_well_it_scored_before() -> None:
    """A candidate that a shortlist left behind keeps the score it had there, which other features gave."""
    behind = Candidate("早点睡吧", score=99.0, features={"forward": 99.0}, rejected="初选落后")
    ranked = Ranker({"forward": 1.0}).rank([behind, candidate("嗯", -50.0)], CONTEXT)
    assert [c.text for c in ranked] == ["嗯", "早点睡吧"]
    assert ranked[1] == behind


def test_without_reverse_scores_forward_decides() -> None:
    ranked = Ranker().rank([candidate("嗯嗯", -20.0), candidate("是呀", -5.0)], CONTEXT)
    assert [c.text for c in ranked] == ["是呀", "嗯嗯"]
    assert "reverse" not in ranked[0].features


def test_what_the_bot_said_before_ranks_lower() -> None:
    talk = as_context(["你喜欢什么", "我喜欢吃火锅和烤肉", "还有呢"])
    ranked = Ranker().rank([candidate("我喜欢吃火锅和面", -5.0, -10.0), candidate("周末去爬山看风景", -5.0, -10.0)], talk)
    assert ranked[0].text == "周末去爬山看风景"


def feature(name: str, candidate: Candidate, *context: str) -> float:
    return Ranker().features(candidate, as_context(context))[name]


def test_specificity_is_what_the_context_adds() -> None:
    anywhere = Candidate("嗯嗯", forward_log_prob=-6.0, prior_log_prob=-6.0, num_tokens=4)
    here = Candidate("雨大吗", forward_log_prob=-6.0, prior_log_prob=-16.0, num_tokens=4)
    assert feature("specificity", anywhere, "外面下雨了") == 0.0
    assert feature("specificity", here, "外面下雨了") == 5.0  # 10 nats over √4
    assert "specificity" not in Ranker().features(Candidate("嗯"), CONTEXT)


def test_words_taken_up_and_lines_given_back() -> None:
    assert feature("overlap", Candidate("火锅好吃"), "我刚吃了火锅") == pytest.approx(math.log(2))
    assert feature("overlap", Candidate("是吗"), "我刚吃了火锅") == 0.0
    assert feature("echo", Candidate("你刚吃了火锅呀"), "我刚吃了火锅") == pytest.approx(2 * (4 / 6 - 0.5))
    assert feature("echo", Candidate("火锅好吃"), "我刚吃了火锅") == 0.0


def test_what_a_reply_brings_from_where_it_was_written() -> None:
    origin = ("今天怎么了", "同事在旁边打电话好吵")
    about_colleagues = Candidate("有没有别的同事也在忍？", source="retrieval", origin=origin)
    about_calls = Candidate("打电话不能出去打吗。", source="retrieval", origin=origin)
    talk = ("你好", "你好呀", "室友在打电话 声音好大")
    assert feature("met", about_calls, *talk) == 2.0, "打电, 电话"
    assert feature("imported", about_colleagues, *talk) == 1.0, "同事"
    assert feature("imported", about_calls, *talk) == 0.0
    assert feature("imported", about_colleagues, "同事打电话", "吵吗", "吵死了") == 0.0, "it was said here too"
    for name in ("met", "imported"):
        assert feature(name, Candidate("同事也在忍？"), *talk) == 0.0


def test_loops_within_a_reply() -> None:
    assert feature("loop", Candidate("好吃好吃好吃"), "火锅") == pytest.approx(1 - 2 / 5)
    assert feature("loop", Candidate("火锅真的好吃"), "火锅") == 0.0


def test_question_after_question() -> None:
    talk = ["在吗", "在呀，怎么啦？", "没事", "那吃饭了吗", "吃了"]
    assert feature("question_run", Candidate("吃的什么呢"), *talk) == 2.0
    assert feature("question_run", Candidate("那就好。"), *talk) == 0.0
    assert feature("question_run", Candidate("吃的什么？"), "在吗", "在。", "吃了") == 0.0
    interview = [message for n in range(5) for message in (f"答{n}", f"问{n}？")] + ["答"]
    assert feature("question_run", Candidate("吃的什么呢"), *interview) == 3.0, "more make it no worse"


def test_a_retrieved_reply_wins_by_its_context(tmp_path: Path) -> None:
    written, retrieved = candidate("是呀", -5.0), candidate("是哦", -5.0)
    near = Candidate(**{**{f: getattr(retrieved, f) for f in retrieved.__slots__}, "context_similarity": 0.9})
    assert Ranker().rank([written, near], CONTEXT)[0].text == "是哦"


def test_near_replies_and_near_origins_win() -> None:
    near, far = (Candidate("是呀", reply_match=m, forward_log_prob=-5.0, num_tokens=3) for m in (0.6, 0.2))
    assert Ranker().rank([far, near], CONTEXT)[0].reply_match == 0.6
    matches = {"reply_match": 0.6, "context_match": -0.1, "origin_match": 0.3}
    found = Ranker().features(Candidate("是呀", source="retrieval", **matches), CONTEXT)
    assert {name: found[name] for name in matches} == matches
    assert not set(matches) & set(Ranker().features(Candidate("是呀"), CONTEXT))
    here, elsewhere = (Candidate("是呀", source="retrieval", reply_match=0.5, context_match=m) for m in (0.9, 0.1))
    assert Ranker().rank([elsewhere, here], CONTEXT)[0].context_match == 0.9
    assert Ranker({"reply_match": 2.0, "context_match": 3.0}).rank([here], CONTEXT)[0].score == pytest.approx(1.0 + 2.7)


def test_generic_replies_count(tmp_path: Path) -> None:
    save_generic({"哈哈": 30, "我也觉得": 7}, tmp_path)
    assert load_generic(tmp_path) == {"哈哈": 30, "我也觉得": 7}
    ranker = Ranker.load(tmp_path)
    assert ranker.features(Candidate("我也觉得！"), CONTEXT)[GENERIC] == pytest.approx(math.log(8))
    assert ranker.features(Candidate("早点休息"), CONTEXT)[GENERIC] == 0.0
    assert ranker.rank([candidate("我也觉得", -5.0), candidate("早点休息", -5.0)], CONTEXT)[0].text == "早点休息"
    (tmp_path / "generic_replies.txt").write_text("哈哈 30\n", encoding="utf-8")
    with pytest.raises(CheckpointError, match="generic_replies.txt"):
        Ranker.load(tmp_path)


def test_ranker_file(tmp_path: Path) -> None:
    assert Ranker.load(tmp_path).weights == DEFAULT_WEIGHTS
    Ranker({"forward": 0.25}).save(tmp_path)
    assert Ranker.load(tmp_path).weights == {**DEFAULT_WEIGHTS, "forward": 0.25}
    assert set(DEFAULT_WEIGHTS) == {*FEATURES, GENERIC} > set(FITTED)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"format": 1, "weights": {"forwards": 1}}', "forwards"),
        ('{"format": 2, "weights": {}}', "升级"),
        ('{"format": 1, "weights": {"forward": NaN}}', "有限"),
        ('{"format": 1}', "weights"),
        ('{"weights": {}}', "format"),
        ("[1]", "已损坏"),
        ("nonsense", "已损坏"),
        ('{"format": "x", "weights": {}}', "已损坏"),
        ('{"format": 1, "weights": {"forward": "x"}}', "已损坏"),
    ],
)
def test_bad_ranker_file(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "ranker.json").write_text(content, encoding="utf-8")
    with pytest.raises(CheckpointError, match=message) as error:
        Ranker.load(tmp_path)
    assert str(tmp_path / "ranker.json") in str(error.value)


SPECIFIC = {
    "外面下雨了": "那你记得带上雨伞",
    "我养了一只猫": "小猫咪叫什么名字呀",
    "考试没考好": "别灰心下次继续努力",
    "晚饭吃什么": "楼下新开的面馆不错",
    "周末去哪玩": "去郊外爬山看日出吧",
}
BLAND = "我也不知道哈"
LOOP = "哈哈哈哈哈哈"


@pytest.fixture(scope="module")
def reverse_model(tmp_path_factory: pytest.TempPathFactory, train_tiny_model: Callable[..., Path]) -> TransformersModel:
    """Trained as GPT2-chitchat's MMI model is, on the reply too; each context has its own reply once, bland ones five times."""
    dialogues = [(context, reply) for context, reply in SPECIFIC.items()]
    dialogues += [(context, dull) for context in SPECIFIC for dull in (BLAND, LOOP) for _ in range(5)]
    folder = tmp_path_factory.mktemp("mmi") / "reverse"
    train_tiny_model(folder, "reverse", dialogues, steps=80, learn_given=True)
    return TransformersModel(folder, direction="reverse", device="cpu")


def whole_sequence_loss(model: TransformersModel, context: str, reply: str) -> float:
    """GPT2-chitchat's rule: the mean loss over candidate and history together; the lowest wins."""
    import torch

    sequence = model.folder.format.reverse([context], reply)
    ids = torch.tensor([sequence.ids])
    with torch.no_grad():
        return float(model._model(ids, labels=ids).loss)


def test_masked_mmi_prefers_the_specific_reply_where_the_whole_sequence_loss_does_not(reverse_model: TransformersModel) -> None:
    """TRAPS 1."""
    masked, whole = 0, 0
    for context, reply in SPECIFIC.items():
        choices = [reply, BLAND, LOOP]
        scores = reverse_model.score([([context], text) for text in choices])
        candidates = [
            Candidate(text, reverse_log_prob=s.value, num_context_tokens=s.num_tokens)
            for text, s in zip(choices, scores, strict=True)
        ]
        masked += Ranker({"reverse": 1.0}).rank(candidates, as_context(context))[0].text == reply
        whole += min(choices, key=lambda text: whole_sequence_loss(reverse_model, context, text)) == reply
    assert (masked, whole) == (5, 0)
    assert rejection("哈" * 50, as_context("外面下雨了")) == "循环重复"  # and GPT2-chitchat's issue 51 cannot be said at all
