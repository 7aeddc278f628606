"""One JSON value to the dialogues it holds, whatever of the known shapes it has.

Knows no files and no lines: a value of another shape raises `RecordFault`, and the reader adds the place.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

Messages = tuple[str, ...]

EXPECTED = '["…", "…"]、{"turns": […]}、{"messages": […]}、{"conversations": […]} 或 {"intent", "user", "reply"}'
"""The known shapes, for messages."""
_SPEAKERS = {"user": "user", "human": "user"} | dict.fromkeys(("assistant", "gpt", "chatgpt", "bot"), "assistant")
_SILENT_ROLES = frozenset({"system", "developer", "tool", "function", "observation"})
_ENDS_SENTENCE = tuple("，。！？；：、…—～~,.!?;:”」』）)")


class RecordFault(ValueError):
    """A value that holds no dialogue; the message says what was expected and what came."""


def messages_of(record: Any) -> Iterator[Messages]:
    """Each dialogue of a record, stripped; an empty message in the middle stays, for cleaning to cut there."""
    if isinstance(record, list):
        yield _checked(_strings(record, "对话"))
        return
    if not isinstance(record, dict):
        raise RecordFault(f"应为{EXPECTED}，得到{_shown(record)}")
    for key, read in _SHAPES.items():
        if key in record:
            for messages in read(record):
                yield _checked(messages)
            return
    raise RecordFault(f"应为{EXPECTED}，得到{_shown(record)}")


def is_record(value: Mapping[str, Any]) -> bool:
    """True when an object is one dialogue, not a mapping of split names to dialogues."""
    return any(key in value for key in _SHAPES)


def _turns(record: dict[str, Any]) -> Iterator[Messages]:
    yield _strings(record["turns"], "turns ")


def _role_content(record: dict[str, Any]) -> Iterator[Messages]:
    yield _by_speaker(record["messages"], "messages", "role", "content")


def _from_value(record: dict[str, Any]) -> Iterator[Messages]:
    yield _by_speaker(record["conversations"], "conversations", "from", "value")


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


_SHAPES: dict[str, Callable[[dict[str, Any]], Iterator[Messages]]] = {
    "turns": _turns,
    "messages": _role_content,
    "conversations": _from_value,
    "intent": _intent,
}


def _strings(value: Any, name: str) -> Messages:
    if not isinstance(value, list):
        raise RecordFault(f"{name}应为字符串列表，得到{_shown(value)}")
    for position, item in enumerate(value, 1):
        if not isinstance(item, str):
            raise RecordFault(f"{name}的第 {position} 句应为字符串，得到{_shown(item)}")
    return tuple(item.strip() for item in value)


def _by_speaker(value: Any, name: str, role_key: str, content_key: str) -> Messages:
    """Messages with their roles used up: silent ones dropped, one speaker's consecutive ones joined."""
    if not isinstance(value, list):
        raise RecordFault(f"{name} 应为对象列表，得到{_shown(value)}")
    messages: list[str] = []
    previous = ""
    for position, item in enumerate(value, 1):
        where = f"{name} 的第 {position} 条"
        if not isinstance(item, dict) or role_key not in item or content_key not in item:
            raise RecordFault(f"{where}应为含 {role_key} 与 {content_key} 的对象，得到{_shown(item)}")
        role = item[role_key]
        if not isinstance(role, str) or role not in _SPEAKERS and role not in _SILENT_ROLES:
            raise RecordFault(f"{where}的 {role_key} 应为 {' / '.join(_SPEAKERS)} / system 之一，得到{_shown(role)}")
        content = _content(item[content_key], f"{where}的 {content_key} ")
        if role in _SILENT_ROLES:
            continue
        if messages and _SPEAKERS[role] == previous:
            messages[-1] = _joined(messages[-1], content)
        else:
            messages.append(content)
        previous = _SPEAKERS[role]
    return tuple(messages)


def _content(value: Any, where: str) -> str:
    """A message's text; a list of parts (OpenAI's multi-modal form) gives its text parts, joined."""
    if isinstance(value, str):
        return value.strip()
    if not isinstance(value, list):
        raise RecordFault(f"{where}应为字符串或 {{type, text}} 的列表，得到{_shown(value)}")
    texts = []
    for part in value:
        if not isinstance(part, dict) or not isinstance(part.get("type"), str):
            raise RecordFault(f"{where}的每一部分应为含 type 的对象，得到{_shown(part)}")
        if part["type"] == "text":
            if not isinstance(part.get("text"), str):
                raise RecordFault(f"{where}的文字部分应含字符串 text，得到{_shown(part.get('text'))}")
            texts.append(part["text"])
    return "".join(texts).strip()


def _joined(first: str, second: str) -> str:
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
    return f"一个对象（键：{'、'.join(map(clipped, list(value)[:4]))}）" if value else "空对象"


def clipped(text: str) -> str:
    """The beginning of a text, fit for a message on any terminal: a lone surrogate would make printing fail."""
    return text[:20].encode("utf-8", "replace").decode("utf-8") + ("…" if len(text) > 20 else "")
