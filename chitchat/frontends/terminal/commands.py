"""The /commands about the talk at hand, and the table of all."""

from __future__ import annotations

import re
import typing
from collections.abc import Mapping
from dataclasses import asdict, fields, replace
from typing import Any

from chitchat.config import DecodingConfig, from_mapping
from chitchat.engine.chatbot import OUTRANKED
from chitchat.engine.decoding import PRESET_LABELS, PRESETS
from chitchat.errors import ChitchatError, ConfigError
from chitchat.frontends.explanation import explanation
from chitchat.frontends.presentation import NO_OTHER_REPLY, candidate_rows, one_line
from chitchat.frontends.terminal import session_commands as sessions
from chitchat.frontends.terminal.conversation import Command, Conversation

_RATINGS = {1: ("好", "赞", "1", "+1", "+", "👍"), -1: ("不好", "差", "踩", "-1", "-", "👎"), 0: ("取消", "0")}


def _candidates(talk: Conversation, argument: str) -> None:
    if argument not in ("", "all"):
        raise ChitchatError(f"/candidates 后面只能写 all，得到 {argument[:20]!r}")
    reply = talk.last_reply()
    # dozens are outranked before they are scored in full: there is little to tell of them
    shown = [row for row in candidate_rows(reply) if argument or row.remark != OUTRANKED or row.is_chosen]
    talk.screen.candidates(reply, shown)
    if hidden := len(reply.candidates) - len(shown):
        talk.screen.note(f"另有 {hidden} 个{OUTRANKED}；/candidates all 看全部")


def _extents(talk: Conversation, words: list[str]) -> Mapping[str, str]:
    return {} if words else {"all": "连同初选落后的"}


def _why(talk: Conversation, argument: str) -> None:
    talk.screen.result(explanation(talk.last_reply(), talk.session.chatbot.ranker.weights))


def _pick(talk: Conversation, argument: str) -> None:
    if not argument.isdecimal():
        raise ChitchatError("/pick 后面写候选的名次，如 /pick 2；/candidates 看全部候选")
    talk.answer(lambda: talk.session.pick(int(argument) - 1))


def _picks(talk: Conversation, words: list[str]) -> Mapping[str, str]:
    reply = talk.session.last_reply
    if words or reply is None:
        return {}
    return {row.rank: row.text for row in candidate_rows(reply) if row.can_pick and not row.is_chosen}


def _rate(talk: Conversation, argument: str) -> None:
    word, _, reason = argument.partition(" ")
    rating = next((value for value, words in _RATINGS.items() if word in words), None)
    if rating is None:
        raise ChitchatError("/rate 后面写“好”“不好”或“取消”，再写理由也行，如 /rate 不好 答非所问")
    talk.last_reply()
    talk.session.rate(rating, reason)
    talk.screen.note({1: "已记下：这句好", -1: "已记下：这句不好", 0: "已取消评价"}[rating])


def _ratings(talk: Conversation, words: list[str]) -> Mapping[str, str]:
    return {} if words else {names[0]: "" for names in _RATINGS.values()}


def _retry(talk: Conversation, argument: str) -> None:
    before = talk.session.last_reply
    talk.answer(talk.session.retry)
    after = talk.session.last_reply
    if before and after and before.text == after.text:
        talk.screen.note(NO_OTHER_REPLY)


def _undo(talk: Conversation, argument: str) -> None:
    message = talk.session.undo()
    if message is None:
        raise ChitchatError("没有可以撤回的话")
    talk.screen.note(f"已撤回：{one_line(message)}")


def _edit(talk: Conversation, argument: str) -> None:
    said = [index for index, message in enumerate(talk.session.history) if message.role == "user"]
    if not argument:
        raise ChitchatError("/edit 后面写改好的话，如 /edit 我是说明天")
    if not said:
        raise ChitchatError("还没有可以改的话：请先说一句")
    talk.answer(lambda: talk.session.edit(said[-1], argument))


def _correct(talk: Conversation, argument: str) -> None:
    talk.session.correct(argument)
    talk.screen.note("已改成你写的，并记下了")


def _reset(talk: Conversation, argument: str) -> None:
    talk.session.reset()
    talk.screen.note("已清空，重新开始")


def _set(talk: Conversation, argument: str) -> None:
    if not argument:
        values = asdict(talk.session.decoding)
        shown = {name: "随机" if value is None else value for name, value in values.items()}
        talk.screen.listing([(f"{f.name} = {shown[f.name]}", f.metadata["help"]) for f in fields(DecodingConfig)])
        return
    name, _, text = re.sub(r"\s*=\s*|\s+", " ", argument, count=1).partition(" ")
    name = name.replace("-", "_").lower()
    value = _parsed(name, text.strip())
    talk.session.decoding = from_mapping(DecodingConfig, asdict(talk.session.decoding) | {name: value}, where="/set")
    talk.screen.note(f"{name} = {'随机' if value is None else value}")


def _settings(talk: Conversation, words: list[str]) -> Mapping[str, str]:
    if not words:
        return {f.name: f.metadata["help"] for f in fields(DecodingConfig)}
    choices = {f.name: f.metadata["choices"] for f in fields(DecodingConfig)}
    return dict.fromkeys(choices.get(words[0], ()) if len(words) == 1 else (), "")


def _parsed(name: str, text: str) -> Any:
    """The value of a decoding option as its type wants it; its range is DecodingConfig's affair."""
    hints = typing.get_type_hints(DecodingConfig)
    if name not in hints:
        from_mapping(DecodingConfig, {name: text}, where="/set")  # raises, naming the nearest option
    kinds = typing.get_args(hints[name]) or (hints[name],)
    if not text:
        raise ConfigError(f"/set：{name} 后面写值，如 /set {name} {getattr(DecodingConfig(), name) or 1}")
    if type(None) in kinds and text.lower() in ("none", "null", "随机"):
        return None
    try:
        return kinds[0](text)
    except ValueError:
        raise ConfigError(f"/set：{name} 应为{'整数' if kinds[0] is int else '数字'}，得到 {text!r}") from None


def _preset(talk: Conversation, argument: str) -> None:
    name = {label: name for name, label in PRESET_LABELS.items()}.get(argument, argument.lower())
    if name not in PRESETS:
        choices = "、".join(f"{name}（{label}）" for name, label in PRESET_LABELS.items())
        raise ChitchatError(f"/preset 后面写预设名：{choices}" + (f"，得到 {argument[:20]!r}" if argument else ""))
    now = talk.session.decoding
    # a preset is about style: how many candidates there is time for, and the seed, are the user's
    talk.session.decoding = replace(PRESETS[name], num_candidates=now.num_candidates, seed=now.seed)
    talk.screen.note(f"换成“{PRESET_LABELS[name]}”：温度 {talk.session.decoding.temperature}")


def _presets(talk: Conversation, words: list[str]) -> Mapping[str, str]:
    return {} if words else PRESET_LABELS


def _help(talk: Conversation, argument: str) -> None:
    rows = [(command.usage(name), command.help) for name, command in COMMANDS.items()]
    talk.screen.listing([*rows, ("//…", "要发以 / 开头的话，多写一个 /；其余的话都发给对方")])


def _exit(talk: Conversation, argument: str) -> None:
    talk.is_over = True


COMMANDS: Mapping[str, Command] = {
    "candidates": Command(_candidates, "上一句回复的候选与得分", "[all]", _extents),
    "why": Command(_why, "为什么说了这句，而不是次选"),
    "pick": Command(_pick, "改说另一个候选，并记下你更喜欢它", "N", _picks),
    "rate": Command(_rate, "评价上一句回复，如 /rate 不好 答非所问", "好|不好|取消 [理由]", _ratings),
    "correct": Command(_correct, "把上一句回复改成你写的，并记下来", "TEXT"),
    "retry": Command(_retry, "换一句回复"),
    "edit": Command(_edit, "改你的上一句话，重新回复", "TEXT"),
    "undo": Command(_undo, "撤回上一轮", removes=True),
    "reset": Command(_reset, "清空这段对话，重新开始", removes=True),
    "preset": Command(_preset, "换一种说话的风格", "|".join(PRESETS), _presets),
    "set": Command(_set, "改解码参数，如 /set temperature 0.8；单写 /set 看全部", "NAME VALUE", _settings),
    **sessions.COMMANDS,
    "help": Command(_help, "这份说明"),
    "exit": Command(_exit, "离开，也可以按 Ctrl-D"),
    "quit": Command(_exit, "同 /exit"),
}
