"""Who is told of a misunderstanding owns it and answers what was meant; who is not goes on as usual."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from chitchat.config import DecodingConfig
from chitchat.dialogue import Candidate, as_context
from chitchat.engine.chatbot import Chatbot
from chitchat.engine.repair import APOLOGIES, OWNING, owned, repair, without_owning
from chitchat.engine.reranking import Ranker


@pytest.mark.parametrize(
    ("bot", "user", "meant"),
    [
        ("一个人住，汤圆也难得有人一起吃。", "？哪来的汤圆", ""),
        ("有没有别的同事也在忍？", "什么同事啊，我是学生，宿舍里的", "我是学生，宿舍里的"),
        ("下一句我猜不着，你揭晓吧。", "啥下一句呀 我问你喜不喜欢莫奈", "你喜不喜欢莫奈"),
        ("裂缝像啥？", "都说了没裂缝啦……是楼上装修 电钻滋滋的", "没裂缝啦，楼上装修，电钻滋滋的"),
        ("三十八度多得告诉爸妈。", "我说的是气温！不是发烧", "气温"),
        ("看你愿不愿意被它管。", "我说的是手机不是猫", "手机"),
        ("说的时候别讲理由。云吞记得趁热。", "什么云吞？我说我娃发烧了", "我娃发烧了"),
        ("笑声一来，屋里都亮了。", "你答非所问啊 算了 我室友打呼噜好大声", "算了，我室友打呼噜好大声"),
        ("没有，也不着急。", "我是说我女朋友啊", "我女朋友啊"),
        ("十分钟是你自己的。", "啥意思 没听懂", ""),
        ("提的人也不轻松。", "我让你讲冷笑话啊 你跑哪去了", "你讲冷笑话啊"),
        ("故事到你嘴里，不紧不慢的。", "你到底有没有在听", ""),
        ("意见统一，合作愉快。", "你没回答我呀，金毛一天两顿够不够？", "金毛一天两顿够不够"),
        ("一个月就站起来了。", "什么站起来了哈哈哈，你是不是把我当小孩了", "你是不是把我当小孩了"),
        ("放马过来。", "我让你出题，不是我出", "你出题"),
        ("这句话最扎人，难怪你这会儿还在阳台上。", "？我没在阳台啊 我躺床上呢", "我躺床上呢"),
        ("得意一会儿，我不拦着。", "？得意啥啊，我都饿扁了", "我都饿扁了"),
        ("光房租够你撑三十二个月。", "啥三十二个月 你算的啥呀", ""),
        ("老疼就去医院看看。", "医生都看过了 你咋又让我看 我回家了", "医生都看过了，我回家了"),
        ("讲到哪一章了？", "什么讲到哪一章，是考试，不是上课", "考试"),
        ("该谁先开口？", "我问你我该不该等他", "我该不该等他"),
        ("笔住左，本住右。", "不对 我是说橡皮分给同桌", "橡皮分给同桌"),
        ("监考都成救兵了，这老师心软。", "心软啥呀 最后还是给我挂了😭", "最后还是给我挂了"),
    ],
)
def test_a_misunderstanding_is_heard_and_what_was_meant_kept(bot: str, user: str, meant: str) -> None:
    found = repair(as_context(["前面说的", bot, user]))
    assert found is not None and found.meant == meant


@pytest.mark.parametrize(
    ("bot", "user"),
    [
        ("给你讲个笑话？", "什么笑话"),
        ("你猜我今天看了什么书", "什么书"),
        ("他回你消息了吗？", "没回消息"),
        ("她怎么说的？", "她说没感觉了 没感觉是什么意思啊"),
        ("四级过了没？", "没过 听力我根本听不懂"),
        ("后来呢？", "后来我问他去哪 他不说"),
        ("钱少了？", "你说那三块二到底跑哪去了"),
        ("想看什么电影？", "你最想听谁给你讲哪部片"),
        ("吃什么好？", "不是面就是饭"),
        ("这事得问她。", "我问她了 她说再看看"),
        ("就冲这股劲，今晚该犒劳自己一下。", "犒劳啥呢"),
        ("一紧张就端起来了。", "哈哈 紧张啥"),
        ("你还在阳台上？", "我没在阳台啊 我躺床上呢"),
        ("给你推荐一部？", "推荐啥 我看看"),
        ("八分不低了。", "那我叫你姐姐"),
        ("我笑的是好笑的事。", "那我问你 人死了去哪"),
        ("门口排队了没有？", "排了十几个人，对了我问你个事"),
        ("聊透了吧？", "聊透了 把心里话都说了"),
        ("问问不丢人。", "我听不懂他们的新词"),
        ("挑一张顺眼的。", "看不懂还站着干嘛"),
        ("因为什么？", "他从来不听我说话"),
        ("谁死了？", "主角莫名其妙就死了"),
        ("先看评语。", "评语就写了跑题俩字"),
        ("记下了。", "那她怎么还让我吃"),
        ("熟悉路线。", "我让我爸坐旁边"),
        ("主动一点。", "你说的“主动”是什么意思"),
    ],
)
def test_questions_and_stories_are_none(bot: str, user: str) -> None:
    assert repair(as_context(["前面说的", bot, user])) is None


def test_what_the_user_brought_up_is_no_surprise_and_a_first_message_corrects_nothing() -> None:
    assert repair(as_context(["我买了汤圆", "汤圆要小火煮。", "什么汤圆好吃"])) is None
    assert repair(as_context("你答非所问")) is None


class Asked:
    """A generator that offers two replies, and notes the contexts it was given."""

    def __init__(self) -> None:
        self.contexts: list[list[str]] = []

    def generate(self, context: Sequence[str], decoding: DecodingConfig) -> list[Candidate]:
        self.contexts.append(list(context))
        return [Candidate("戴上耳塞先顶一晚。"), Candidate("白天再去好好说。")]


def bot(generator: Asked) -> Chatbot:
    return Chatbot([generator], None, None, Ranker({"length": 1.0}), DecodingConfig())


TALK = ["你好", "你好呀。", "楼上好吵", "难怪字都像在蹦。"]


def test_what_was_meant_is_answered_as_if_it_had_been_said_at_once() -> None:
    generator = Asked()
    reply = bot(generator).reply([*TALK, "啥意思 我说的是楼上装修 电钻滋滋的"])
    assert generator.contexts == [["你好", "你好呀。", "楼上装修，电钻滋滋的"]]
    assert reply.text.startswith(OWNING) and without_owning(reply.text) == "戴上耳塞先顶一晚。"
    assert reply.candidates[0].text == reply.text and not reply.is_fallback


def test_another_reply_is_another_one() -> None:
    talk = [*TALK, "我说的是楼上装修 电钻滋滋的"]
    first = bot(Asked()).reply(talk)
    second = bot(Asked()).reply(talk, avoid=[first.text])
    assert without_owning(second.text) == "白天再去好好说。"


def test_with_nothing_to_answer_it_is_owned_and_never_in_the_same_words() -> None:
    generator = Asked()
    talk = list(TALK)
    said = []
    for _ in range(5):
        reply = bot(generator).reply([*talk, "啥意思"])
        assert reply.candidates == (Candidate(reply.text, source="repair"),)
        said.append(reply.text)
        talk += ["啥意思", reply.text]
    assert len(set(said)) == 5 and set(said) <= set(APOLOGIES)
    assert generator.contexts == []
    again = bot(generator).reply([*TALK, "啥意思"], avoid=[said[0]])
    assert again.text != said[0]


def test_a_word_that_must_not_be_said_is_not_taken_up() -> None:
    class NoHeat:
        def screen(self, messages: object) -> None: ...

        def unsafe(self, text: str) -> str | None:
            return "不能说" if "气温" in text else None

    careful = bot(Asked())
    careful.safety = NoHeat()  # type: ignore[assignment]
    assert careful.reply([*TALK, "我说的是气温！不是发烧"]).text in APOLOGIES


def test_a_word_that_was_meant_is_taken_up() -> None:
    assert bot(Asked()).reply([*TALK, "我说的是气温！不是发烧"]).text == "哦，你说的是气温，是我听岔了。"


@pytest.mark.parametrize(
    ("corrected", "reply"),
    [
        ("我说的是我家狗", "哦，你说的是你家狗，是我听岔了。"),
        ("我说的是考试", "哦，你说的是考试，是我听岔了。"),
        ("我说的是是考试", "哦，你说的是考试，是我听岔了。"),
        ("我说的是鱼糊了", "哦，你说的是鱼糊了，是我听岔了。"),
    ],
)
def test_the_word_comes_back_in_the_bots_mouth_and_once(corrected: str, reply: str) -> None:
    assert bot(Asked()).reply([*TALK, corrected]).text == reply


def test_what_owns_the_slip_by_itself_is_not_owned_twice() -> None:
    messages = as_context([*TALK, "我说的是楼上装修 电钻滋滋的"])
    assert owned("怪我，话没听全就抢着接。", messages) == "怪我，话没听全就抢着接。"
    assert owned("先顶一晚。", messages).startswith(OWNING)


def test_the_clock_answers_what_was_meant_too() -> None:
    reply = bot(Asked()).reply(["现在几点", "辛苦了，歇会儿吧", "我问的是现在几点"])
    assert reply.candidates[0].source == "clock" and reply.text.startswith(OWNING)


@pytest.mark.parametrize("asked", ["啥意思 怎么抢", "哈哈 啥意思", "讲了 我没听懂"])
def test_what_stands_beside_a_complaint_is_not_said_back(asked: str) -> None:
    assert bot(Asked()).reply([*TALK, asked]).text in APOLOGIES


class Fitting:
    """A generator whose only reply fits any message of its kind."""

    def generate(self, context: Sequence[str], decoding: DecodingConfig) -> list[Candidate]:
        return [Candidate("好，我认真听。", source="act", context_similarity=0.8)]


def test_nothing_is_owned_before_a_reply_that_fits_any_message() -> None:
    chatbot = Chatbot([Fitting()], None, None, Ranker({}), DecodingConfig())
    assert chatbot.reply([*TALK, "我是问你先复习哪门"]).text == "好，我认真听。"
    corrected = chatbot.reply([*TALK, "我说的是他从来不主动"])
    assert corrected.text == "哦，你说的是他从来不主动，是我听岔了。"
    assert corrected.candidates[0].source == "repair"
    again = chatbot.reply([*TALK, "我说的是他从来不主动", corrected.text, "我说的是他从来不主动"])
    assert again.text in APOLOGIES  # the same words would be no second apology
    assert chatbot.reply([*TALK, "啥意思 晚上还去听"]).text in APOLOGIES
    assert chatbot.reply([*TALK, "我说的是他从来不主动"], avoid=[corrected.text]).text in APOLOGIES
