"""Which of two is picked when the user asks, and what only has 还是 in it is left alone."""

import pytest

from chitchat.config import DecodingConfig
from chitchat.dialogue import Candidate, as_context
from chitchat.engine.chatbot import Chatbot
from chitchat.engine.choice import Choice, choice
from chitchat.engine.reranking import Ranker


@pytest.mark.parametrize(
    ("text", "first", "second"),
    [
        ("番茄锅还是麻辣锅", "番茄锅", "麻辣锅"),
        ("那随多少钱啊 五百还是一千", "五百", "一千"),
        ("你觉得苹果还是华为好", "苹果", "华为"),
        ("你说早婚好还是晚婚好", "早婚", "晚婚"),
        ("去还是不去？", "去", "不去"),
        ("我今天是去健身房还是窝在家里", "去健身房", "窝在家里"),
        ("留在这 还是回老家在这", "留在这", "回老家在这"),
        ("你喜欢下雨还是晴天", "下雨", "晴天"),
        ("变态辣。那就火锅还是烤肉", "火锅", "烤肉"),
        ("火锅还是烤肉还是麻辣烫", "火锅", "麻辣烫"),
        ("火锅、烤肉还是麻辣烫", "烤肉", "麻辣烫"),
        ("我问你站甜的还是咸的", "甜的", "咸的"),
        ("豆腐脑你站甜的还是咸的", "甜的", "咸的"),
        ("你说我剪短发还是留长发", "剪短发", "留长发"),
        ("我是去城里念还是留镇上", "去城里念", "留镇上"),
        ("晚饭是吃火锅还是烧烤", "吃火锅", "烧烤"),
        ("毕业旅行去西北还是去东南", "去西北", "去东南"),
        ("过年回婆家还是回娘家", "回婆家", "回娘家"),
        ("晚上跑步好还是早上跑步好", "晚上跑步", "早上跑步"),
        ("手机游戏还是电脑游戏好玩", "手机游戏", "电脑游戏"),
        ("要面子还是要里子", "面子", "里子"),
        ("去日本玩还是去泰国玩", "去日本玩", "去泰国玩"),
        ("男朋友过生日，送鞋还是送游戏机", "送鞋", "送游戏机"),
    ],
)
def test_two_things_are_offered(text: str, first: str, second: str) -> None:
    assert choice(as_context(text)) == Choice(first, second)


@pytest.mark.parametrize(
    "text",
    [
        "我还是想考研",
        "心里还是疼",
        "听着还是怪",
        "下次还是要去",
        "哈哈 还是臭的",
        "教了三遍 还是打电话问我",
        "戴了耳塞还是听得见",
        "你说他是忙还是不想回我",
        "他问我还是不问我",
        "离婚还是忍着",
        "考研还是工作",
        "今天好累",
        "今天是周五还是周六",
        "现在是春天还是秋天",
        "地球是圆的还是方的",
        "这是真的还是假的",
        "你觉得美国还是中国好",
        "是男的还是女的",
        "鲁迅和周树人是一个人还是两个人",
        "番茄是水果还是蔬菜",
        "斑马是白底黑纹还是黑底白纹",
        "珠穆朗玛峰在中国还是尼泊尔",
        "珠穆朗玛峰在中国还是在尼泊尔",
        "你觉得太阳大还是月亮大",
        "长江长还是黄河长",
        "9.11大还是9.9大",
        "今天下雨还是晴天",
        "现在三点还是四点",
        "四十二还是四十三来着",
        "你刚才说的是甜的还是咸的",
        "你刚才是在开玩笑还是认真的",
        "你是说退货还是换货",
        "生男孩还是生女孩",
        "共产党还是国民党好",
        "你看我是胖了还是瘦了",
        "你厉害还是别人厉害",
        "老师说 你举手是想回答 还是想发粉笔",
        "加油站小哥今天问我 加满还是加油",
        "客户说 还是第一版好",
        "记住了 还是看看就好",
        "以前还是好朋友呢",
        "上次写还是初中",
        "你这不还是说了",
    ],
)
def test_what_only_has_the_word_and_what_is_not_ours_to_pick_is_left_alone(text: str) -> None:
    assert choice(as_context(text)) is None


class Near:
    """A generator whose replies were written for contexts as alike as told."""

    def __init__(self, *candidates: tuple[str, float]) -> None:
        self.candidates = candidates

    def generate(self, context: object, decoding: DecodingConfig) -> list[Candidate]:
        return [Candidate(text, source="retrieval", context_similarity=alike) for text, alike in self.candidates]


def _said(*candidates: tuple[str, float], context: str = "番茄锅还是麻辣锅") -> str:
    bot = Chatbot([Near(*candidates)], None, None, Ranker({"context_similarity": 1.0}), DecodingConfig())
    return bot.reply(context).text


def test_one_is_picked_where_what_is_found_answers_something_else() -> None:
    said = _said(("先炒蛋盛出来，再炒番茄。", 0.3), ("锅盖要拧紧。", 0.9))
    assert ("番茄锅" in said) != ("麻辣锅" in said)
    again = _said(("先炒蛋盛出来，再炒番茄。", 0.3))
    assert ("番茄锅" in said) == ("番茄锅" in again)  # the same one each time, in other words maybe


def test_one_is_picked_when_nothing_at_all_is_found_and_however_often_it_is_asked() -> None:
    bot = Chatbot([Near()], None, None, Ranker({}), DecodingConfig())
    talk = ["番茄锅还是麻辣锅"]
    for _ in range(8):
        said = bot.reply(talk)
        assert not said.is_fallback and ("番茄锅" in said.text) != ("麻辣锅" in said.text)
        talk += [said.text, talk[0]]


def test_a_reply_to_the_same_choice_is_better() -> None:
    assert _said(("麻辣的，出一身汗才痛快。", 0.8), ("锅盖要拧紧。", 0.9)) == "麻辣的，出一身汗才痛快。"


def test_one_letter_of_a_longer_word_names_nothing() -> None:
    said = _said(("抛开道理光论喜欢，有意思的都算。", 0.8), context="先去大理还是先去丽江")
    assert ("大理" in said) != ("丽江" in said)
    assert _said(("丽江太吵，古城早睡不了。", 0.8), context="先去大理还是先去丽江") == "丽江太吵，古城早睡不了。"


@pytest.mark.parametrize(
    ("said", "taken"),
    [
        ("投甜党一票，吃完心情好。", "甜的"),
        ("咸的配卤，站得住脚。", "咸的"),
        ("甜的，日子够咸了。", "甜的"),
        ("甜咸都好。", ""),
        ("甜的我可不站。", ""),
        ("你要甜的？", ""),
        ("我在听。", ""),
    ],
)
def test_it_sticks_to_the_side_it_took(said: str, taken: str) -> None:
    found = choice(as_context(["豆腐脑必须吃甜的", said, "你选甜的还是咸的"]))
    assert found is not None and found.taken == taken
    if taken:
        assert all(taken in reply for reply in found.replies())


def test_a_no_in_an_earlier_reply_is_no_side() -> None:
    found = choice(as_context(["他约我吃饭", "别慌，不急。", "那去还是不去"]))
    assert found == Choice("去", "不去")


def test_no_reply_of_others_takes_it_to_the_other_side() -> None:
    bot = Chatbot([Near(("我站咸的，配油条。", 0.9))], None, None, Ranker({}), DecodingConfig())
    for asked in ("你选甜的还是咸的", "我问你站甜的还是咸的"):  # the second says besides that it was not answered
        assert "甜" in bot.reply(["豆腐脑必须吃甜的", "投甜党一票。", asked]).text


def test_a_reply_to_the_kind_of_message_is_no_choice() -> None:
    class Acts:
        def generate(self, context: object, decoding: DecodingConfig) -> list[Candidate]:
            return [Candidate("抛开道理光论喜欢，有意思的都算。", source="act", context_similarity=0.8)]

    said = Chatbot([Acts()], None, None, Ranker({}), DecodingConfig()).reply("你觉得先去大理还是先去丽江").text
    assert ("去大理" in said) != ("去丽江" in said)
