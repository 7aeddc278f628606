"""What the user has told before, found by the words of a question of theirs: 我明天要干嘛 is answered by 我明天要去面试.

Knows no meaning and infers nothing: the answer is a clause of an earlier message that holds, in that order, what the question
holds on both sides of its question word. What is often told and asked in other words (a name, an age, a job) is the persona
sheet's.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence

from chitchat.engine.rejection import bigrams
from chitchat.lazy_pattern import lazily

_WIDE_MARKS = str.maketrans(",!?;:()~", "，！？；：（）～")
_OPENING = lazily(
    "^(?:那|对了|话说|哎|诶|喂|嘿|小叙|你|还|能|可|记不记得|记得|记住|知道|知不知道|猜猜?看?|忘了|忘没忘|考考你|说说|[，、 ])*"
    "(?:我(?:刚才|刚刚|之前|前面|刚|跟你|和你|是不是|都)*(?:说过?|讲过?|提过?|告诉(?:过)?你)的?(?=我)|(?=我))"
)
_CLOSING = lazily("(?:[，、 ]|来着|你?还?(?:记得|知道|记不记得)(?:吗|不|么)?|(?<!干)嘛|[的了吗呢呀啊吧？！～。…])*$")
_QUESTION_WORD = lazily(
    "几(?P<counted>[个点岁号天只条月年次口位级斤块]?)|(?P<amount>多少|多[大高重久长远])|做什么|干(?:什么|嘛|啥)"
    "|(?:什么|啥)(?:时候|地方)|什么|啥|谁|哪(?:里|儿|个|位|部|首|一?天|一?年)?"
)
_NUMBER = "[0-9一二两三四五六七八九十百千万半]+"
_CLAUSE_END = lazily(r"[，。！？；…～\s]+")
_FILLER = "(?:就|也|还|都|是|在|要|想|今天|现在|自己)*"
_SOMEONE_ELSE = lazily("^[他她它你]")
_MIN_LETTERS = 2
"""Of the question beside its question word, or anything would answer it."""
_MAX_LETTERS = 24
_MIN_PAIRS = 2


def full_width(text: str) -> str:
    """The text in one width, its marks the full-width ones."""
    return unicodedata.normalize("NFKC", text).translate(_WIDE_MARKS)


def recalled(question: str, told: Sequence[str]) -> str | None:
    """The clause of `told` that answers `question`, the first found; None when `question` asks for nothing that was told.

    `told` is what the user has said before, newest first.
    """
    asked = full_width(question)
    opening = _OPENING.match(asked)
    if opening is None:
        return None
    core = _CLOSING.sub("", asked[opening.end() :])
    is_explicit = "记得" in opening[0] or "记得" in asked[opening.end() + len(core) :]
    if is_explicit:
        core = core.removesuffix("不")
    word = _QUESTION_WORD.search(core)
    if word is None or _CLAUSE_END.search(core) or _QUESTION_WORD.search(core, word.end()):
        return None
    before, after = core[1 : word.start()], core[word.end() :]
    if len(before) + len(after) < _MIN_LETTERS:
        return None
    wants_number = word["counted"] is not None or word["amount"] is not None
    answer = f".*{_NUMBER}.*{word['counted'] or ''}.*" if wants_number else ".+"
    pattern = re.compile(f"(?:^|我{_FILLER}){re.escape(before)}{answer}{re.escape(after)}")
    for clause in _statements(told):
        if pattern.search(clause):
            return clause
    return _nearest(core, wants_number, told) if is_explicit else None


def _nearest(core: str, wants_number: bool, told: Sequence[str]) -> str | None:
    """For who asks in so many words whether it is remembered: the clause with most of the question's pairs of letters."""
    pairs = bigrams(core)
    best, most = None, _MIN_PAIRS - 1
    for clause in _statements(told):
        shared = len(pairs & bigrams(clause))
        if shared > most and (not wants_number or re.search(_NUMBER, clause)):
            best, most = clause, shared
    return best


def _statements(told: Sequence[str]) -> Iterator[str]:
    """The clauses in which the user tells something short, and not of somebody else."""
    for text in told:
        for clause in _CLAUSE_END.split(full_width(text)):
            if clause and len(clause) <= _MAX_LETTERS and not _QUESTION_WORD.search(clause) and not _SOMEONE_ELSE.match(clause):
                yield clause
