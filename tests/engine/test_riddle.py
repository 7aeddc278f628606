"""Riddles: what asks for one, and what becomes of a guess."""

from __future__ import annotations

from pathlib import Path

import pytest

from chitchat.dialogue import as_context
from chitchat.engine.persona import Persona
from chitchat.engine.riddle import Riddle, load_riddles, poses_one, riddle_answer
from chitchat.engine.safety import Safety

DATA = Path(__file__).resolve().parents[2] / "data"
COW = Riddle("一口咬掉牛尾巴。（打一个字）", ("告",), "底下有个口。")
RAIN = Riddle("千条线，万条线，掉进河里看不见。", ("雨", "下雨"), "出门要带伞。")
CHOPSTICKS = Riddle("兄弟两个一样长。", ("筷子",), "饭桌上少不了。")
RIDDLES = (COW, RAIN, CHOPSTICKS)


def answer(*talk: str, seed: int = 1) -> str | None:
    return riddle_answer(as_context(talk), RIDDLES, seed)


@pytest.mark.parametrize(
    "talk",
    [
        ("给我出个谜语",),
        ("咱们猜谜吧",),
        ("来个脑筋急转弯",),
        ("好无聊", "无聊的话，咱俩猜个谜？", "好啊，你出题"),
        ("猜谜", f"听好：{RAIN.riddle}", "换一个"),
        ("猜谜", f"听好：{RAIN.riddle}", "雨", "猜中了，雨。还要再来一个吗？", "再来"),
    ],
)
def test_who_asks_for_a_riddle_gets_one_not_posed_before(talk: tuple[str, ...]) -> None:
    posed = {answer(*talk, seed=seed) or "" for seed in range(30)}
    left = [r for r in RIDDLES if not any(r.riddle in line for line in talk)]
    assert all(sum(r.riddle in text for r in left) == 1 for text in posed)
    assert all(any(r.riddle in text for text in posed) for r in left)


@pytest.mark.parametrize(
    "talk",
    [
        ("我给你出个谜语",),
        ("不想猜谜",),
        ("今天好累",),
        ("讲个笑话", "有根火柴头痒，挠了挠，着了。再来一个？", "好啊"),
        ("好无聊", "无聊的话，咱俩猜个谜？", "算了不猜"),
        ("猜谜", f"听好：{RAIN.riddle}", "你知道吗我今天被老板骂了"),
        ("猜谜", f"听好：{RAIN.riddle}", "雨", "猜中了，雨。还要再来一个吗？", "不了，睡觉去"),
    ],
)
def test_who_speaks_of_something_else_is_left_alone(talk: tuple[str, ...]) -> None:
    assert answer(*talk) is None


@pytest.mark.parametrize(
    ("said", "reply"),
    [
        ("雨？", "雨"),
        ("是不是下雨", "下雨"),
        ("我猜是雨吧", "雨"),
        ("不知道", "谜底是雨"),
        ("答案是什么", "谜底是雨"),
        ("给点提示", "提示：出门要带伞。"),
        ("头发", "不是头发。提示：出门要带伞。"),
        ("难道是面条？", "不是面条。"),
    ],
)
def test_guesses_hints_and_answers(said: str, reply: str) -> None:
    assert reply in (answer("猜谜", f"听好：{RAIN.riddle}", said) or "")


def test_the_talk_about_a_riddle_goes_on_until_it_is_told() -> None:
    talk = ["出个谜", f"猜猜看：{CHOPSTICKS.riddle}", "姐妹"]
    assert (first := answer(*talk)) == "不是姐妹。提示：饭桌上少不了。"
    talk += [first, "勺子"]
    assert (second := answer(*talk)) == "也不是勺子。再想想？不猜了就说“答案”。"
    talk += [second, "再提示一下"]
    assert (third := answer(*talk)) == "再提示就说破了：2个字，头一个是“筷”。"
    talk += [third, "筷子！"]
    assert "筷子" in (last := answer(*talk) or "") and "再来一个" in last
    talk += [last, "哈哈我真聪明啊"]
    assert answer(*talk) is None


def test_when_all_have_been_posed_none_is_made_up() -> None:
    assert answer("猜谜", RAIN.riddle, "雨", COW.riddle, "告", CHOPSTICKS.riddle, "再来一个") is None


def test_a_seed_draws_the_riddle() -> None:
    assert len({answer("出个谜", seed=seed) for seed in range(20)}) > 3
    assert answer("出个谜", seed=7) == answer("出个谜", seed=7)


@pytest.mark.parametrize("text", ["什么东西越洗越脏？", "来，打一个字：一口咬掉牛尾巴", "猜一样吃的：麻屋子"])
def test_a_riddle_is_known_as_one(text: str) -> None:
    assert poses_one(text)


@pytest.mark.parametrize("text", ["收拾到哪一样的时候哭的？", "买了什么？", "猜猜我在干嘛"])
def test_what_only_asks_is_no_riddle(text: str) -> None:
    assert not poses_one(text)


def test_our_own_riddles_may_be_said_and_tell_their_answer_in_neither_riddle_nor_hint() -> None:
    persona, safety = Persona.load(DATA / "persona.yaml"), Safety.load(DATA / "safety.yaml")
    riddles = load_riddles(DATA / "riddles.jsonl")
    assert len({r.riddle for r in riddles}) == len(riddles) > 40
    for riddle in riddles:
        for text in (riddle.riddle, riddle.hint):
            assert persona.contradiction(text) is None and safety.unsafe(text) is None, text
            assert riddle.answers[0] not in text, text
