"""One JSON value to the dialogues it holds, whatever of the known shapes it has.

Knows no files and no lines: a value of another shape raises `RecordFault`, and the reader adds the place.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

Messages = tuple[str, ...]
Shape = Callable[[dict[str, Any]], Iterator[Messages]]

EXPECTED = '["…", "…"]、{"turns": […]}、{"messages": […]}、{"conversations": […]}、{"question", "answer"} 等（见 data/README.md）'
"""The known shapes, for messages."""
CONTEXT_NAMES = frozenset(
    "context question query post input user human prompt source ask q 问 问题 提问 上文 上句 用户 客户 顾客 输入".split()
)
REPLY_NAMES = frozenset(
    "reply response answer output assistant bot target completion a 答 回答 答案 回复 回应 下文 下句 机器人 客服 输出".split()
)
_SPEAKERS = dict.fromkeys("user human usr client 用户".split(), "user") | dict.fromkeys(
    "assistant gpt chatgpt bot model sys counselor 助手 机器人".split(), "assistant"
)
_SILENT_ROLES = frozenset({"system", "developer", "tool", "function", "observation"})
_MESSAGE_KEYS = (("role", "content"), ("from", "value"), ("speaker", "text"), ("speaker", "utterance"), ("speaker", "content"))
_ENDS_SENTENCE = tuple("，。！？；：、…—～~,.!?;:”」』）)")
_GOAL_MARK = re.compile(r"^\[\d+\] *")
"""Before an utterance of DuRecDial: the goal it begins."""


class RecordFault(ValueError):
    """A value that holds no dialogue; the message says what was expected and what came."""


def messages_of(record: Any) -> Iterator[Messages]:
    """Each dialogue of a record, stripped; an empty message in the middle stays, for cleaning to cut there."""
    if isinstance(record, list):
        yield _checked(_by_speaker(record, "对话") if _is_message(record[:1]) else _strings(record, "对话"))
        return
    read = _shape_of(record) if isinstance(record, dict) else None
    if read is None:
        raise RecordFault(f"应为{EXPECTED}，得到{_shown(record)}")
    for messages in read(record):
        yield _checked(messages)


def is_record(value: Any) -> bool:
    """True for what looks like one dialogue, and is no mapping of names to dialogues nor a list of them."""
    if isinstance(value, dict):
        return _shape_of(value) is not None
    return isinstance(value, list) and bool(value) and (all(isinstance(item, str) for item in value) or _is_message(value))


def _is_message(items: list[Any]) -> bool:
    return any(_holds(items, keys) for keys in _MESSAGE_KEYS)


def _holds(items: list[Any], keys: tuple[str, str]) -> bool:
    """True when the first item is an object with these keys."""
    return bool(items) and isinstance(items[0], dict) and keys[0] in items[0] and keys[1] in items[0]


def _shape_of(record: Mapping[str, Any]) -> Shape | None:
    for key, read in _SHAPES.items():
        if key in record:
            return read
    if isinstance(record.get("content"), list):
        return _content_list
    return _pair if _pair_keys(record) else None


def _turns(record: dict[str, Any]) -> Iterator[Messages]:
    yield _strings(record["turns"], "turns ")


def _messages(record: dict[str, Any]) -> Iterator[Messages]:
    """OpenAI's; KdConv's have no role but take turns."""
    items = record["messages"]
    if isinstance(items, list) and items and isinstance(items[0], dict) and "message" in items[0]:
        yield _strings([item.get("message") if isinstance(item, dict) else item for item in items], "messages ")
    else:
        yield _by_speaker(items, "messages")


def _conversations(record: dict[str, Any]) -> Iterator[Messages]:
    """ShareGPT's; chatterbot's JSON holds many dialogues, each a list of strings."""
    items = record["conversations"]
    if isinstance(items, list) and items and isinstance(items[0], list):
        for item in items:
            yield _strings(item, "conversations 的一段")
    else:
        yield _by_speaker(items, "conversations")


def _conversation(record: dict[str, Any]) -> Iterator[Messages]:
    """DuConv's and DuRecDial's, strings that may have the mark of a goal before them; or pairs of human and assistant."""
    items = record["conversation"]
    if isinstance(items, list) and items and isinstance(items[0], dict):
        if _is_message(items):
            yield _by_speaker(items, "conversation")
        else:
            yield tuple(message for item in items for message in _exchange(item))
    else:
        yield tuple(_GOAL_MARK.sub("", message) for message in _strings(items, "conversation "))


def _exchange(item: Any) -> Messages:
    if not isinstance(item, dict) or not (keys := _pair_keys(item)):
        raise RecordFault(f"conversation 的每一项应为 {{human, assistant}}，得到{_shown(item)}")
    return _strings([item[key] for key in keys], "conversation ")


def _named_list(key: str) -> Shape:
    def read(record: dict[str, Any]) -> Iterator[Messages]:
        items = record[key]
        yield _by_speaker(items, key) if isinstance(items, list) and _is_message(items) else _strings(items, f"{key} ")

    return read


def _content_list(record: dict[str, Any]) -> Iterator[Messages]:
    yield _strings(record["content"], "content ")


def _instruction(record: dict[str, Any]) -> Iterator[Messages]:
    """Alpaca's: the instruction, what it is about, the answer, and the exchanges before."""
    asked = _strings([record["instruction"], record.get("input") or ""], "instruction 与 input ")
    answer = _strings([record.get("output")], "output ")
    yield (*_history(record.get("history")), "\n".join(filter(None, asked)), *answer)


def _pair(record: dict[str, Any]) -> Iterator[Messages]:
    context_key, reply_key = _pair_keys(record) or ("", "")
    context = record[context_key]
    asked = _history(context) if isinstance(context, list) else _strings([context], f"{context_key} ")
    before = () if context_key == "history" else _history(record.get("history"))
    yield (*before, *asked, *_strings([record[reply_key]], f"{reply_key} "))


def _pair_keys(record: Mapping[str, Any]) -> tuple[str, str] | None:
    """Where an object has its context and its reply; DuConv's samples have only the history before the response."""
    context = next((key for key in record if key.lower() in CONTEXT_NAMES), "history" if "history" in record else None)
    reply = next((key for key in record if key.lower() in REPLY_NAMES), None)
    return None if context is None or reply is None else (context, reply)


def _history(value: Any) -> Messages:
    """Earlier messages: a list of strings, of pairs of strings, or of messages with their roles."""
    if not value:
        return ()
    if isinstance(value, list) and all(isinstance(item, list) for item in value):
        return tuple(message for item in value for message in _strings(item, "history 的一项"))
    return _by_speaker(value, "history") if isinstance(value, list) and _is_message(value) else _strings(value, "history ")


def _intent(record: dict[str, Any]) -> Iterator[Messages]:
    if missing := [key for key in ("user", "reply") if key not in record]:
        raise RecordFault(f"intent 对象缺少 {'、'.join(missing)}，应为 intent+user+reply")
    if not isinstance(record["intent"], str):
        raise RecordFault(f"intent 应为字符串，得到{_shown(record['intent'])}")
    wordings, replies = _strings(record["user"], "user "), _strings(record["reply"], "reply ")
    for name, values in (("user", wordings), ("reply", replies)):
        if not values or not all(values):
            raise RecordFault(f"{name} 应为非空字符串的列表")
    for wording in wordings:
        for reply in replies:
            yield wording, reply


_SHAPES: dict[str, Shape] = {
    "turns": _turns,
    "messages": _messages,
    "conversations": _conversations,
    "intent": _intent,
    "conversation": _conversation,
    "dialog": _named_list("dialog"),
    "dialogue": _named_list("dialogue"),
    "utterances": _named_list("utterances"),
    "instruction": _instruction,
}


def _strings(value: Any, name: str) -> Messages:
    if not isinstance(value, list):
        raise RecordFault(f"{name}应为字符串列表，得到{_shown(value)}")
    for position, item in enumerate(value, 1):
        if not isinstance(item, str):
            raise RecordFault(f"{name}的第 {position} 句应为字符串，得到{_shown(item)}")
    return tuple(item.strip() for item in value)


def _by_speaker(value: Any, name: str) -> Messages:
    """Messages with their roles used up: silent ones dropped, one speaker's consecutive ones joined.

    Under `speaker` any name will do; a `role` has to be known, for a silent one must not become a turn.
    """
    if not isinstance(value, list):
        raise RecordFault(f"{name} 应为对象列表，得到{_shown(value)}")
    messages: list[str] = []
    previous = ""
    role_key, content_key = next((keys for keys in _MESSAGE_KEYS if _holds(value[:1], keys)), _MESSAGE_KEYS[0])
    for position, item in enumerate(value, 1):
        if not isinstance(item, dict) or role_key not in item or content_key not in item:
            raise RecordFault(f"{name} 的第 {position} 条应为含 {role_key} 与 {content_key} 的对象，得到{_shown(item)}")
        role, content = item[role_key], item[content_key]
        if not isinstance(role, str) or role_key != "speaker" and role not in _SPEAKERS and role not in _SILENT_ROLES:
            roles = "user / assistant / human / gpt / system 之一"
            raise RecordFault(f"{name} 的第 {position} 条的 {role_key} 应为 {roles}，得到{_shown(role)}")
        content = content.strip() if isinstance(content, str) else _text_parts(content, f"{name} 的第 {position} 条")
        if role in _SILENT_ROLES:
            continue
        speaker = _SPEAKERS.get(role, role)
        if messages and speaker == previous:
            messages[-1] = joined(messages[-1], content)
        else:
            messages.append(content)
        previous = speaker
    return tuple(messages)


def _text_parts(value: Any, where: str) -> str:
    """The text parts of a message, joined (OpenAI's multi-modal form)."""
    if not isinstance(value, list):
        raise RecordFault(f"{where}的内容应为字符串或 {{type, text}} 的列表，得到{_shown(value)}")
    texts = []
    for part in value:
        if not isinstance(part, dict) or not isinstance(part.get("type"), str):
            raise RecordFault(f"{where}的每一部分应为含 type 的对象，得到{_shown(part)}")
        if part["type"] == "text":
            if not isinstance(part.get("text"), str):
                raise RecordFault(f"{where}的文字部分应含字符串 text，得到{_shown(part.get('text'))}")
            texts.append(part["text"])
    return "".join(texts).strip()


def joined(first: str, second: str) -> str:
    """Two messages that one person sent in a row, as one."""
    if not first or not second:
        return first or second
    return first + second if first.endswith(_ENDS_SENTENCE) else f"{first}，{second}"


def _checked(messages: Messages) -> Messages:
    if not any(messages):
        raise RecordFault("对话里没有一句非空的话，应至少有一句")
    try:
        "".join(messages).encode("utf-8")
    except UnicodeEncodeError as error:
        surrogate = str(error.object)[error.start]
        raise RecordFault(f"含有落单的代理字符 \\u{ord(surrogate):04x}，应为合法的文字") from None
    return messages


def _shown(value: Any) -> str:
    """A value for a message, short; never its repr whole, which may be megabytes or too deep."""
    if value is None or isinstance(value, bool):
        return {None: " null", True: " true", False: " false"}[value]
    if isinstance(value, int | float):
        return f"数字 {value}" if abs(value) < 10**12 or value != value else "很大的数字"
    if isinstance(value, str):
        return f"字符串 {clipped(value)!r}"
    if isinstance(value, list):
        return f"一个 {len(value)} 项的列表"
    if isinstance(value, dict):
        return f"一个对象（键：{'、'.join(map(clipped, list(value)[:4]))}）" if value else "空对象"
    return f"{type(value).__name__} 类型的值"


def clipped(text: str) -> str:
    """The beginning of a text, fit for a message on any terminal: a lone surrogate would make printing fail."""
    return text[:20].encode("utf-8", "replace").decode("utf-8") + ("…" if len(text) > 20 else "")
