"""One turn: text in, a reply worth saying out."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from chitchat.backends.base import UNFINISHED, LogProb, Vectors
from chitchat.config import DecodingConfig
from chitchat.dialogue import Candidate, Message, as_context
from chitchat.engine.chatbot import (
    AVOIDED,
    DEFAULT_FALLBACKS,
    OUTRANKED,
    REMEMBERED_MESSAGES,
    SHORTLIST,
    SHORTLISTED_ACTS,
    Chatbot,
)
from chitchat.engine.persona import Persona
from chitchat.engine.reranking import Ranker
from chitchat.engine.safety import Safety
from chitchat.errors import ChitchatError


class Scripted:
    """A generator that reads its candidates off a list, a list a round, and notes what it was asked."""

    def __init__(self, *rounds: Sequence[str | Candidate]) -> None:
        self.rounds = rounds
        self.asked: list[tuple[list[str], DecodingConfig]] = []

    def generate(self, context: Sequence[str], decoding: DecodingConfig) -> list[Candidate]:
        texts = self.rounds[min(len(self.asked), len(self.rounds) - 1)]
        self.asked.append((list(context), decoding))
        return [c if isinstance(c, Candidate) else Candidate(c) for c in texts]


class ByLength:
    """A scorer to which the longer reply is the likelier."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []

    def score(self, pairs: Sequence[tuple[Sequence[str], str]]) -> list[LogProb]:
        self.batches.append([reply for _, reply in pairs])
        return [LogProb(-10.0 + len(reply), 5) for _, reply in pairs]


def bot(generator: Scripted, **options: Any) -> Chatbot:
    return Chatbot([generator], ByLength(), ByLength(), Ranker({"forward": 1.0, "reverse": 1.0}), DecodingConfig(), **options)


def test_recites(tiny_chatbot: Chatbot, tiny_dialogues: tuple[tuple[str, ...], ...]) -> None:
    for dialogue in tiny_dialogues:
        for i in range(1, len(dialogue), 2):
            reply = tiny_chatbot.reply(dialogue[:i], decoding=DecodingConfig(temperature=0.3))
            assert reply.text == dialogue[i]
            assert not reply.is_fallback
            assert reply.seconds > 0


def test_every_candidate_is_scored_and_ranked(tiny_chatbot: Chatbot) -> None:
    reply = tiny_chatbot.reply("你喜欢吃什么", decoding=DecodingConfig(temperature=2.0, num_candidates=16, seed=1))
    good = [c for c in reply.candidates if c.rejected is None]
    assert len(good) > 3
    assert reply.text == good[0].text == reply.candidates[0].text
    assert [c.score for c in good] == sorted((c.score for c in good), reverse=True)
    assert len({c.text for c in reply.candidates}) == len(reply.candidates)
    for c in good:
        assert c.forward_log_prob is not None and c.reverse_log_prob is not None
        assert c.features["forward"] == pytest.approx(c.forward_log_prob / c.num_tokens)
        assert c.features["reverse"] == pytest.approx(c.reverse_log_prob / c.num_context_tokens)
    assert all(c.rejected is not None for c in reply.candidates[len(good) :])


@pytest.mark.parametrize(
    ("source", "longer", "said"),
    [
        ("retrieval", 1, {"好的好吗", "好的好吗吗"}),  # 0.4 points apart: as good
        ("retrieval", 5, {"好的好吗吗吗吗吗吗"}),  # 2.0 points
        ("persona", 5, {"好的好吗", "好的好吗吗吗吗吗吗"}),
        ("model", 1, {"好的好吗吗"}),
    ],
)
def test_what_is_as_good_as_the_best_takes_turns(source: str, longer: int, said: set[str]) -> None:
    candidates = [Candidate("好的好吗", source=source), Candidate("好的好吗" + "吗" * longer, source=source)]
    replies = [bot(Scripted(candidates)).reply("在吗", decoding=DecodingConfig(seed=seed)).text for seed in range(30)]
    assert set(replies) == said
    again = [bot(Scripted(candidates)).reply("在吗", decoding=DecodingConfig(seed=seed)).text for seed in range(30)]
    assert replies == again


def test_context_may_be_text_texts_or_messages(tiny_chatbot: Chatbot) -> None:
    cold = DecodingConfig(strategy="greedy")
    assert tiny_chatbot.reply("在干嘛", decoding=cold).text == "在等你找我聊天呢。"
    texts = ["今天好累啊", "辛苦了，早点休息吧。", "睡不着"]
    messages = [
        Message("system", "你是小叙"),
        Message("user", texts[0]),
        Message("assistant", texts[1]),
        Message("user", texts[2]),
    ]
    assert tiny_chatbot.reply(texts, decoding=cold).text == tiny_chatbot.reply(messages, decoding=cold).text == "听点轻音乐试试？"


def test_what_the_user_types_is_normalised(tiny_chatbot: Chatbot) -> None:
    assert tiny_chatbot.reply("  在 干嘛 \n", decoding=DecodingConfig(strategy="greedy")).text
    generator = Scripted(["好"])
    bot(generator, normalise=lambda t: t.replace("?", "？").strip()).reply(" 真的吗? ")
    assert generator.asked[0][0] == ["真的吗？"]


def test_very_long_messages(tiny_chatbot: Chatbot) -> None:
    assert tiny_chatbot.reply("今天好累啊" * 5000).text
    assert tiny_chatbot.reply(["你好", "你好呀" * 300, "在干嘛"] * 33).text


def test_only_the_last_messages_reach_the_model() -> None:
    generator = Scripted(["好"])
    bot(generator, max_history_messages=3).reply([str(i) for i in range(9)])
    assert generator.asked[0][0] == ["6", "7", "8"]


@pytest.mark.parametrize(
    ("context", "message"),
    [
        ("", "消息是空的"),
        (" \n\u3000", "消息是空的"),
        ([], "还没有用户消息"),
        ([Message("system", "你是小叙")], "还没有用户消息"),
        ([Message("user", "你好"), Message("assistant", "你好")], "最后一条消息应来自用户"),
        ([Message("user", "你好"), Message("user", "  ")], "消息是空的"),
    ],
)
def test_nothing_to_answer(tiny_chatbot: Chatbot, context: Any, message: str) -> None:
    with pytest.raises(ChitchatError, match=message):
        tiny_chatbot.reply(context)


def test_bad_replies_are_never_said() -> None:
    context = ["我今天去爬山了", "爬山累不累呀", "还好"]
    generator = Scripted(["", "哈" * 20, "爬山累不累呀？", "还好", "。。。", "那就好"])
    reply = bot(generator).reply(context)
    assert reply.text == "那就好"
    assert {c.text: c.rejected for c in reply.candidates[1:]} == {
        "": "空回复",
        "哈" * 20: "循环重复",
        "爬山累不累呀？": "和前面的回复重复",
        "还好": "照抄对方的话",
        "。。。": "只有标点",
    }
    assert len(generator.asked) == 1


class Shorter:
    """A reward model that likes short replies, and notes what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[list[str], str]] = []

    def rewards(self, candidates: Sequence[Candidate], contexts: Sequence[Sequence[str]]) -> list[float]:
        self.asked.extend((list(context), c.text) for c, context in zip(candidates, contexts, strict=True))
        return [-float(len(c.text)) for c in candidates]


def test_the_reward_model_has_its_say() -> None:
    judge = Shorter()
    context = ["我养了一只猫", "真好", "叫团子"]
    replies = ["名字真可爱，谁起的呀？", "好听！", ""]
    without = Chatbot([Scripted(replies)], ByLength(), None, Ranker({"forward": 1.0}), DecodingConfig())
    assert without.reply(context).text == replies[0]
    ranker = Ranker({"forward": 1.0, "reward": 5.0})
    generator = Scripted([Candidate(text, source="retrieval") for text in replies])
    reply = Chatbot([generator], ByLength(), None, ranker, DecodingConfig(), reward_model=judge).reply(context)
    assert reply.text == "好听！"
    assert reply.candidates[0].reward == reply.candidates[0].features["reward"] == -3.0
    assert judge.asked == [(context, replies[0]), (context, "好听！")], "what may not be said is not judged"


def test_of_the_same_words_what_a_person_wrote_counts() -> None:
    written = Candidate("辛苦了。", source="retrieval", origin=("累死了",))
    for generators in ([Scripted(["辛苦了。", "好吧。"]), Scripted([written])], [Scripted([written]), Scripted(["辛苦了。"])]):
        reply = Chatbot(generators, ByLength(), None, Ranker({"forward": 1.0}), DecodingConfig()).reply("今天好累")
        assert (reply.candidates[0].text, reply.candidates[0].origin) == ("辛苦了。", ("累死了",))


def test_rejected_candidates_are_not_scored() -> None:
    chatbot = bot(Scripted(["", "好呀", "好呀", "不行"]))
    chatbot.reply("去玩吗")
    assert chatbot.forward_scorer.batches == [["好呀", "不行", "好呀", "不行"]]  # type: ignore[union-attr]


def test_hotter_rounds_when_nothing_is_fit() -> None:
    generator = Scripted(["", ""], ["哈" * 30], ["走吧"])
    reply = bot(generator).reply("去玩吗", decoding=DecodingConfig(strategy="greedy", temperature=1.0, seed=4))
    assert (reply.text, reply.is_fallback) == ("走吧", False)
    assert [d.temperature for _, d in generator.asked] == [1.0, 1.25, 1.5]
    assert [d.strategy for _, d in generator.asked] == ["greedy", "sample", "sample"]
    assert len({d.seed for _, d in generator.asked}) == 3
    assert len(reply.candidates) == 3


def test_fallback_when_nothing_ever_is() -> None:
    generator = Scripted([""])
    chatbot = bot(generator)
    context: list[str] = []
    for _ in range(6):
        context.append("去玩吗")
        reply = chatbot.reply(context)
        assert reply.is_fallback and reply.text in DEFAULT_FALLBACKS
        assert reply.text != (context[-2] if len(context) > 1 else None)
        assert [c.rejected for c in reply.candidates] == ["空回复"]
        context.append(reply.text)
    assert len(generator.asked) == 18
    assert bot(Scripted([""]), fallbacks=["嗯？"]).reply(["在吗", "嗯？", "在吗"]).text == "嗯？"


def test_no_candidates_at_all() -> None:
    assert bot(Scripted([])).reply("在吗").is_fallback


def test_a_reply_cut_short_only_when_all_are() -> None:
    cut = Candidate("我觉得这个事情吧主要是因为", rejected=UNFINISHED)
    assert bot(Scripted([cut, "是呀"])).reply("怎么办").text == "是呀"
    generator = Scripted([cut])
    reply = bot(generator).reply("怎么办")
    assert (reply.text, reply.is_fallback, len(generator.asked)) == (cut.text, False, 1)
    assert bot(Scripted([Candidate("哈" * 48, rejected=UNFINISHED)])).reply("怎么办").is_fallback


def test_avoided_replies_only_when_there_is_no_other() -> None:
    reply = bot(Scripted(["晚上一起吃饭吧", "好呀"])).reply("去玩吗", avoid=["晚上一起吃饭吧。"])
    assert reply.text == "好呀"
    assert reply.candidates[-1].rejected == AVOIDED
    only = Scripted(["好呀"])
    assert bot(only).reply("去玩吗", avoid=["好呀"]).text == "好呀"
    assert len(only.asked) == 3
    assert bot(Scripted([""])).reply("去玩吗", avoid=[DEFAULT_FALLBACKS[0]]).text not in ("", DEFAULT_FALLBACKS[0])


def test_without_reverse_scorer() -> None:
    chatbot = Chatbot([Scripted(["嗯嗯", "我也想去"])], ByLength(), None, Ranker(), DecodingConfig())
    best = chatbot.reply("去玩吗").candidates[0]
    assert (best.text, best.reverse_log_prob) == ("我也想去", None)


def test_several_generators() -> None:
    chatbot = Chatbot(
        [Scripted(["嗯嗯"]), Scripted([Candidate("我也想去", source="retrieval")])], ByLength(), None, Ranker(), DecodingConfig()
    )
    assert [c.source for c in chatbot.reply("去玩吗").candidates] == ["retrieval", "model"]


class Waits(Scripted, ByLength):
    """Generates and scores only in company: each call waits until another one has begun, too."""

    def __init__(self, company: threading.Barrier, *texts: str) -> None:
        Scripted.__init__(self, texts)
        ByLength.__init__(self)
        self.company = company

    def generate(self, context: Sequence[str], decoding: DecodingConfig) -> list[Candidate]:
        self.company.wait(timeout=10)
        return super().generate(context, decoding)

    def score(self, pairs: Sequence[tuple[Sequence[str], str]]) -> list[LogProb]:
        self.company.wait(timeout=10)
        return super().score(pairs)


def test_side_by_side_generators_and_scorers_do_not_wait_for_each_other() -> None:
    company = threading.Barrier(2)
    one, two = Waits(company, "早点睡吧", "好"), Waits(company, "听首歌", "慢慢来，不急")
    ranker = Ranker({"forward": 1.0, "reverse": 1.0})
    together = Chatbot([one, two], one, two, ranker, DecodingConfig(), side_by_side=True).reply("睡不着")
    plain = Chatbot([Scripted(*one.rounds), Scripted(*two.rounds)], ByLength(), ByLength(), ranker, DecodingConfig())
    assert together.candidates == plain.reply("睡不着").candidates
    assert together.text == "慢慢来，不急"


@pytest.mark.parametrize("fails", ["generate", "score"])
def test_a_fault_beside_is_told(fails: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model, other = Waits(threading.Barrier(1), "早点睡吧"), Waits(threading.Barrier(1), "听首歌")

    def fail(*arguments: Any) -> Any:
        raise ChitchatError("坏了")

    monkeypatch.setattr(model, fails, fail)
    with pytest.raises(ChitchatError, match="坏了"):
        Chatbot([model, other], other, model, Ranker(), DecodingConfig(), side_by_side=True).reply("睡不着")


def test_seed_repeats_a_reply_and_no_seed_does_not(tiny_chatbot: Chatbot) -> None:
    def texts(seed: int | None) -> list[str]:
        hot = DecodingConfig(temperature=3.0, top_k=0, top_p=1.0, seed=seed)
        return [c.text for c in tiny_chatbot.reply("你喜欢什么", decoding=hot).candidates]

    assert texts(3) == texts(3)
    assert texts(3) != texts(4)
    assert texts(None) != texts(None)


def test_many_threads_at_once(tiny_chatbot: Chatbot) -> None:
    asked = {"在干嘛": "在等你找我聊天呢。", "外面下雨了": "记得带伞哦。", "周末去哪玩": "去爬山吧，空气好。"}
    wrong: list[str] = []

    def talk(question: str, answer: str, seed: int | None) -> None:
        for _ in range(5):
            got = tiny_chatbot.reply(question, decoding=DecodingConfig(temperature=0.3, seed=seed)).text
            if got != answer:
                wrong.append(got)

    threads = [threading.Thread(target=talk, args=(q, a, seed)) for q, a in asked.items() for seed in (None, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


DATA = Path(__file__).parents[2] / "data"


def guarded(*candidates: str | Candidate) -> tuple[Chatbot, Scripted]:
    """A bot with the shipped persona and safety lists on a Friday at 9:05, and the generator behind it."""
    generator = Scripted(candidates)
    safety, persona = Safety.load(DATA / "safety.yaml"), Persona.load(DATA / "persona.yaml")
    return bot(generator, safety=safety, persona=persona, clock=lambda: datetime(2026, 11, 27, 9, 5)), generator


def test_a_crisis_is_answered_with_care_and_never_by_the_models() -> None:
    chatbot, generator = guarded("那就好呀")
    reply = chatbot.reply("我不想活了")
    assert [c.source for c in reply.candidates] == ["safety"] and not reply.is_fallback
    assert "12356" in reply.text and "120" in reply.text
    again = chatbot.reply(["我不想活了", reply.text, "没人在乎"])
    assert again.candidates[0].source == "safety" and again.text != reply.text
    assert generator.asked == []


def test_care_never_says_one_sentence_three_times() -> None:
    chatbot, _ = guarded("那就好呀")
    talk = []
    for said in ["我不想活了", "没用", *["嗯"] * 7, "我不想活了", "我不想活了"]:
        talk.append(said)
        talk.append(chatbot.reply(talk).text)
    replies = talk[1::2]
    assert "那就好呀" not in replies
    assert max(map(replies.count, replies)) <= 2 and all(a != b for a, b in zip(replies, replies[1:], strict=False))


def test_date_and_time_are_the_clocks() -> None:
    chatbot, generator = guarded("十二点啦")
    reply = chatbot.reply("今天星期几")
    assert "星期五" in reply.text and reply.candidates[0].source == "clock" and not reply.is_fallback
    assert generator.asked == []


def test_the_clock_answers_what_goes_on_and_is_not_denied() -> None:
    at_noon = datetime(2026, 3, 4, 12, 0)
    generator = Scripted(["日历我没有，今天明天分不清，你说了算。", "二十五号吧。"])
    chatbot = bot(generator, clock=lambda: at_noon)
    assert "星期四" in chatbot.reply(["今天星期几", "星期三。", "明天呢"]).text
    assert chatbot.reply("老板说几号发工资").text == "二十五号吧。"


def test_a_sum_that_is_not_understood_gets_no_number_from_elsewhere() -> None:
    generator = Scripted(["125，没有余数。", "按计算器吧。"])
    assert bot(generator).reply("机票1280往返，酒店三晚打八折，一共多少").text == "按计算器吧。"


def test_small_sums_are_worked_out() -> None:
    reply = bot(Scripted(["不知道"])).reply("1+1等于几")
    assert "2" in reply.text
    assert reply.candidates[0].source == "arithmetic"


def test_questions_about_the_bot_are_answered_from_the_sheet() -> None:
    chatbot, generator = guarded("我叫王小明，今年三十岁")
    first = chatbot.reply("你叫什么名字")
    assert "小叙" in first.text and {c.source for c in first.candidates} == {"persona"}
    assert all(c.forward_log_prob is not None for c in first.candidates[:SHORTLIST])  # ranked like any other
    assert chatbot.reply(["你叫什么名字", first.text, "你叫什么名字"]).text != first.text
    assert generator.asked == []


def test_candidates_out_of_character_or_unsafe_are_not_said() -> None:
    chatbot, _ = guarded("我叫王小明，很高兴认识你", "你真是个傻逼玩意儿啊啊", Candidate("好呀", source="retrieval"))
    reply = chatbot.reply("周末去爬山怎么样")
    assert reply.text == "好呀"
    assert all(c.rejected for c in reply.candidates[1:]) and len(reply.candidates) == 3


class LastOnly(ByLength):
    """Notes which contexts it was asked about."""

    def __init__(self) -> None:
        super().__init__()
        self.contexts: list[list[tuple[str, ...]]] = []

    def score(self, pairs: Sequence[tuple[Sequence[str], str]]) -> list[LogProb]:
        self.contexts.append([tuple(context) for context, _ in pairs])
        return super().score(pairs)


def test_of_many_candidates_only_a_shortlist_is_scored_in_full_and_the_best_is_on_it() -> None:
    characters = "".join(chr(0x5000 + n) for n in range(SHORTLIST + 20))  # no two alike, for loops are screened out
    texts = [characters[:n] for n in range(2, SHORTLIST + 20)]
    forward, reverse = ByLength(), LastOnly()
    ranker = Ranker({"forward": 1.0, "reverse": 1.0})
    chatbot = Chatbot([Scripted(texts)], forward, reverse, ranker, DecodingConfig())
    reply = chatbot.reply(["你好", "你好呀", "今天下雨"])
    assert reply.text == texts[-1]
    assert [len(batch) for batch in reverse.contexts] == [len(texts), SHORTLIST]
    assert set(reverse.contexts[0]) == {("今天下雨",)}
    assert set(reverse.contexts[1]) == {("你好", "你好呀", "今天下雨")}
    assert set(forward.batches[0]) == set(texts[-SHORTLIST:])
    assert {c.text for c in reply.candidates if c.rejected == OUTRANKED} == set(texts[:-SHORTLIST])


class Near:
    """An encoder that finds those replies near that have a character of the context, the more the nearer; notes what it read."""

    fingerprint = "near"

    def __init__(self) -> None:
        self.asked: list[tuple[str, ...]] = []
        self.replied: list[str] = []

    def contexts(self, contexts: Sequence[Sequence[str]]) -> Vectors:
        self.asked.extend(map(tuple, contexts))
        return self._vectors(["".join(context) for context in contexts])

    def replies(self, replies: Sequence[str]) -> Vectors:
        self.replied.extend(replies)
        return self._vectors(replies)

    def _vectors(self, texts: Sequence[str]) -> Vectors:
        found = np.zeros((len(texts), 4096), np.float32)
        for row, text in zip(found, texts, strict=True):
            for character in text:
                row[ord(character) % 4096] += 1
        return found / np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-9)


def test_the_encoder_tells_how_near_each_candidate_is() -> None:
    encoder = Near()
    found = Candidate("下雨了", source="retrieval", context_similarity=0.5, origin=("好呀", "下雨"))
    ranker = Ranker({"reply_match": 1.0})
    talk = ["早", "早呀", "你好", "好呀", "今天下雨"]
    chatbot = Chatbot(
        [Scripted(["", found, "你"])], ByLength(), None, ranker, DecodingConfig(), encoder=encoder, max_history_messages=3
    )
    best, other, bad = chatbot.reply(talk).candidates
    assert (best.text, other.text, bad.text) == ("下雨了", "你", "")
    assert best.reply_match == best.features["reply_match"] == pytest.approx(2 / np.sqrt(3 * 10))
    assert best.context_match == best.features["context_match"] == pytest.approx(5 / np.sqrt(4 * 10))
    assert other.reply_match == pytest.approx(1 / np.sqrt(10)) and other.context_match is None
    assert (bad.reply_match, bad.context_match) == (None, None)
    assert set(encoder.asked) == {("你好", "好呀", "今天下雨"), ("好呀", "下雨")}, "what the models see"
    assert "" not in encoder.replied, "what may not be said is not asked about"
    assert all(c.forward_log_prob is not None for c in (best, other))


@pytest.mark.parametrize("backwards", [True, False])
def test_of_many_candidates_the_encoder_keeps_those_near_the_context(backwards: bool) -> None:
    near = [f"下雨{chr(0x5000 + n)}" for n in range(SHORTLIST)]
    far = [f"天上{chr(0x5000 + n)}{chr(0x6000 + n)}{chr(0x7000 + n)}" for n in range(SHORTLIST)]  # the scorers like them better
    forward, reverse = ByLength(), LastOnly()
    ranker = Ranker({"forward": 1.0, "reverse": 1.0, "reply_match": 30.0})
    chatbot = Chatbot(
        [Scripted([*far, *near])], forward, reverse if backwards else None, ranker, DecodingConfig(), encoder=Near()
    )
    reply = chatbot.reply(["你好", "你好呀", "下雨"])
    assert reply.text in near
    assert {c.text for c in reply.candidates if c.rejected is None} == set(near) == set(forward.batches[0])
    outranked = [c for c in reply.candidates if c.rejected == OUTRANKED]
    assert {c.text for c in outranked} == set(far)
    assert all(c.reply_match is not None and c.forward_log_prob is c.reverse_log_prob is None for c in outranked)
    assert [len(batch) for batch in reverse.contexts] == [SHORTLIST] * backwards, "once, in full"


def test_replies_to_a_kind_of_message_do_not_crowd_out_those_to_this_one() -> None:
    acts = [Candidate(f"下雨{chr(0x5000 + n)}", source="act", context_similarity=n / 10) for n in range(SHORTLIST)]
    others = [f"天上{chr(0x5000 + n)}{chr(0x6000 + n)}{chr(0x7000 + n)}" for n in range(SHORTLIST)]
    ranker = Ranker({"reply_match": 30.0, "act": 5.0, "act_probability": 5.0})
    chatbot = Chatbot([Scripted([*acts, *others])], ByLength(), LastOnly(), ranker, DecodingConfig(), encoder=Near())
    kept = [c for c in chatbot.reply("下雨").candidates if c.rejected is None]
    likeliest = {c.text for c in acts[-SHORTLISTED_ACTS:]}
    assert len(kept) == SHORTLIST and {c.text for c in kept if c.source == "act"} == likeliest


def test_few_candidates_are_scored_once() -> None:
    reverse = LastOnly()
    Chatbot([Scripted(["好", "不好"])], ByLength(), reverse, Ranker(), DecodingConfig()).reply("今天下雨")
    assert len(reverse.contexts) == 1


def test_what_was_said_long_ago_is_said_again_only_for_want_of_anything_else() -> None:
    talk = ["在吗", "窗外有只鸟", "哦", "一", "嗯", "二", "好", "三", "行", "四", "然后呢"]
    assert bot(Scripted(["窗外有只鸟", "短"])).reply(talk).text == "短"
    assert bot(Scripted(["窗外有只鸟"])).reply(talk).text == "窗外有只鸟"


def test_what_was_said_longer_ago_than_is_remembered_may_be_said_again() -> None:
    def after(messages: int) -> str:
        talk = ["在吗", "窗外有只鸟", *["哦", "嗯"] * (messages // 2), "然后呢"]
        return bot(Scripted(["窗外有只鸟", "短"])).reply(talk).text

    assert after(REMEMBERED_MESSAGES - 2) == "短"
    assert after(REMEMBERED_MESSAGES) == "窗外有只鸟"


def test_a_question_about_the_bot_is_never_left_to_a_model_however_often_it_is_asked() -> None:
    persona = Persona.load(DATA / "persona.yaml")
    answers = [c.text for c in persona.answers(as_context(["你叫什么名字"]))]
    talk = [message for answer in answers for message in ("你叫什么名字", answer)]
    generator = Scripted(["我叫王小明"])
    reply = bot(generator, persona=persona).reply([*talk[-50:], "你叫什么名字"])
    assert reply.text in answers
    assert not generator.asked


def test_what_the_user_told_long_ago_is_still_known() -> None:
    persona = Persona.load(Path(__file__).parents[2] / "data" / "persona.yaml")
    chat = bot(Scripted(["好呀"]), persona=persona)
    long_talk = ["我叫李桦", "你好呀"] + ["今天天气不错", "是呀"] * 100
    assert "李桦" in chat.reply([*long_talk, "你还记得我叫什么吗"]).text
    assert "李桦" not in chat.reply("你还记得我叫什么吗").text


def test_another_is_the_same_request_again_without_what_was_turned_down() -> None:
    generator = Scripted(["去吃火锅吧", "煮碗面吧", "火锅最香"])
    reply = bot(generator).reply(["晚上吃什么", "去吃火锅吧", "火锅太上火，换一个"])
    assert reply.text == "煮碗面吧"
    assert generator.asked[0][0] == ["晚上吃什么"]
