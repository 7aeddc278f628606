"""When the user says that the bot has misunderstood: what a friend does then is own it and answer what was meant.

Conversation analysis calls it other-initiated repair (Schegloff, Jefferson and Sacks 1977). A model this small, or an index,
answers such a line by its words ("哪来的汤圆" gets a reply about 汤圆) and makes it worse.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from chitchat.dialogue import Message
from chitchat.engine.rejection import bare, is_question

APOLOGIES = (
    "是我听岔了，刚才那句不算。",
    "怪我，话没接住，你接着说，这回我跟紧。",
    "接错了，把我那句划掉，听你的。",
    "我这是串线了，回到你说的那儿。",
    "被你抓到了，我刚才在瞎接。",
    "这句是我说岔了，你往下讲，我重新听。",
    "我跑偏了，拉我一把，从你那句接着来。",
    "刚才那句答得驴唇不对马嘴，我认。",
    "说拧了，是我的错，你的意思我再琢磨琢磨。",
    "我没听明白就抢着开口，该罚。",
)
"""For a line that only tells that something went wrong."""
OWNING = ("是我听岔了。", "哦，我接错了。", "怪我没看清。", "懂了，刚才跑偏了。", "对不住，串线了。", "这回听明白了。")
"""Said before the answer to what was meant."""

_COMPLAINT = re.compile(
    r"答非所问|没(有)?回答我|听岔了?吧|听错了?吧|理解错|搞错了?吧|不知所云|莫名其妙$|牛头不对马嘴|驴唇不对马嘴|[啥什么]+跟[啥什么]+|(?<!走)哪儿?跟哪儿?"
    r"|^[我额啊嗯哈]*(没|听不|看不)(听|看)?懂(?:你|啥|什么|这|那句|刚才|意思|[啊呀呢诶了吧哦])*(?:说|讲|话|句|意思|[啊呀呢了])*$"
    r"|(?<![说问喊])你(这|到底|究竟)?(是|都|在)?(说|讲|扯|算|答|回|接|编)(的|些)?(都|是)?(啥|什么)(呀|啊|呢|哈)*$|你在(说|讲)(啥|什么)"
    r"|^(你)?(这|那)?(是)?(啥|什么)意思|^(?:你|这|那|都|又|是不是|怎么|别)*跑题|扯远|你(都|又)?(跑|扯)哪|没?有没有在听"
    r"|(?<![他她们妈爸师板])(怎么|咋)(老|又|还)(说|问|提|让我|叫我)|(怎么|咋)突然(说|提|问)|^你?(?:根本|都|又|老|就)*不听我说"
)
_RESTATEMENT = re.compile(
    r"(?:我(?:刚才?|刚刚)?(?:说|问|讲)的是|我是(?:说|问|讲)|(?:^|[我早是])都说了(?:是)?"
    r"|(?<!那)我(?:刚才?|刚刚)?(?:是)?(?:问你(?=我)|问(?=你(?![个一件]))|让(?=你)|叫(?=你[^\W我]*[讲说出答猜])))(?P<meant>.*)"
)
_CONTESTED = re.compile(r"^(?:啥|什么|哪来的?|哪有|谁说的?)(?P<term>.{2,})")
_DENIED = re.compile(r"^我(?:又|可|还|也|真|哪|压根)*没(?:有|说|想|要)?(?P<term>.{2,})")
_QUERIED = re.compile(r"^(?P<term>.{2,4})(?:啥|什么|谁)(?:了|呀|啊|呢|哈|嘛)*$")
_TAIL = re.compile(r"[呀啊呢吗嘛了哦喔哈啦]+$")
_PARTICLES = re.compile(r"[呀啊呢吗嘛哦喔哈啦]+$")
_HEAD = re.compile(r"^(?:(?:我说|哦|啊)(?=.{3})|是(?![的啊呀吗吧不否])(?=.{2}))")
_MEANS = re.compile("^(?:不是|是)(?=.{2})")
_ASKS = re.compile(r"什么|啥|怎么|咋|谁|哪|几|多少|还是|吗|呢|[?？]|(.)[不没]\1")
_LONGEST_TAKEN_UP = 12
_NO = re.compile("不是|[哎啊哦]*不(?:是|对|对吧)?$")
_NOT_THAT = re.compile(r"(?<=.{2})(?<!是)不是.*$")
_OWNS = re.compile("怪我|我[这那]句|我说岔|接[错歪]|跑偏|撤回|露馅|听岔|串线|作废|掐掉|划掉|没头没脑|没听明白|牛头")
_TURNED = str.maketrans("我你", "你我")
_PARTS = re.compile(r"[^\w《》]+")
_QUOTES = re.compile("[“”\"'「」『』‘’]")
_OFFERED = frozenset(("笑话", "冷笑话", "故事", "谜语", "绕口令", "时候", "东西", "事情", "问题"))
"""What the bot may offer and the user then rightly asks about."""
_ASKABLE = frozenset(
    "推荐 建议 喜欢 准备 打算 知道 觉得 需要 想要 等着 看看 聊聊 讲讲 说说 试试 听听 叫做 为了 最爱 最怕 先做".split()
)
"""What a user asks after a bot that has said it: 推荐啥."""
_MORE_THAN_AN_EXCLAMATION = 3
_LONG_ENOUGH = 4
"""Characters that can be answered; less, unless it asks something of the bot, is only taken up."""


@dataclass(frozen=True)
class Repair:
    """A message that tells the bot it has misunderstood.

    Attributes:
        meant: what it says besides, empty when nothing.
        is_corrected: that is what the user says they spoke of, 我说的是我妈, and no answer or question beside the complaint.
    """

    meant: str = ""
    is_corrected: bool = False

    @property
    def can_be_answered(self) -> bool:
        return len(bare(self.meant)) >= _LONG_ENOUGH or self.meant.startswith("你")

    @property
    def can_be_taken_up(self) -> bool:
        """Whether saying it back shows that it is understood."""
        is_short = 1 < len(self.meant) <= _LONGEST_TAKEN_UP and "，" not in self.meant
        return self.is_corrected and is_short and not self.asks

    @property
    def asks(self) -> bool:
        return _ASKS.search(self.meant) is not None


def repair(messages: Sequence[Message]) -> Repair | None:
    """What kind of repair the last message asks for, or None when it takes the bot's last one as it was."""
    bot = next((m.content for m in reversed(messages[:-1]) if m.role == "assistant"), None)
    if bot is None:
        return None
    known = "".join(m.content for m in messages[:-1] if m.role == "user")
    text = messages[-1].content
    spoken = _QUOTES.sub("", text)
    kept: list[str] = []
    found = disputed = corrected = False
    for part in filter(None, _PARTS.split(spoken)):
        if restated := _RESTATEMENT.search(part):
            found = corrected = True
            kept.append(restated["meant"])
        elif _COMPLAINT.search(part) or _brought_up(_CONTESTED, part, bot, known):
            found = True
        elif _brought_up(_QUERIED, part, bot, known) or not is_question(bot) and _brought_up(_DENIED, part, bot, known):
            disputed = True
        else:
            corrected = corrected or _MEANS.match(part) is not None
            kept.append(part)
    # 犒劳啥呢, and no more, asks; with more beside it, or a mark before, it disputes
    has_more = any(len(part) >= _MORE_THAN_AN_EXCLAMATION for part in kept)
    if not found and not (disputed and (has_more or text.startswith(("？", "?")))):
        return None
    meant = [_NOT_THAT.sub("", _HEAD.sub("", part)) for part in kept if not _NO.match(part)]
    return Repair("，".join(part for part in meant if len(part) > 1), corrected)


def apology(meant: Repair, messages: Sequence[Message], unwanted: Collection[str]) -> str:
    """What to say when there is nothing to answer; none of `unwanted` as long as there is another."""
    about = _PARTICLES.sub("", meant.meant).translate(_TURNED) if meant.can_be_taken_up else ""
    if about and (taken_up := f"哦，你说的是{about}，是我听岔了。") not in unwanted:
        return taken_up
    start = len(messages) // 2 % len(APOLOGIES)
    turned = [*APOLOGIES[start:], *APOLOGIES[:start]]
    return next((text for text in turned if text not in unwanted), turned[0])


def owned(text: str, messages: Sequence[Message]) -> str:
    """`text`, with the misunderstanding owned before it, unless it does so itself."""
    if _OWNS.search(text):
        return text
    return OWNING[len(messages) // 2 % len(OWNING)] + text


def without_owning(text: str) -> str:
    """What `owned` was given."""
    return next((text.removeprefix(prefix) for prefix in OWNING if text.startswith(prefix)), text)


def _brought_up(pattern: re.Pattern[str], part: str, bot: str, known: str) -> bool:
    """Whether `part` takes exception, as `pattern` tells, to what only the bot has brought up: "哪来的汤圆", "我没在阳台啊"."""
    contested = pattern.match(part)
    if contested is None:
        return False
    term = _TAIL.sub("", contested["term"])
    return len(term) > 1 and term in bot and term not in known and term not in _OFFERED | _ASKABLE
