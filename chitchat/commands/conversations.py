"""What has been said: listed, searched, exported, removed; and what users thought of it, as data."""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from chitchat.commands.shared import AddCommand
from chitchat.config import StoreConfig
from chitchat.dialogue import SPEAKERS
from chitchat.errors import ConfigError, StoreError

if TYPE_CHECKING:
    from chitchat.sessions.store import SessionSummary, Store

_ID_HELP = "对话编号，写开头几位就行；last 为最近的一段"
_SHORT_ID = 8
"""Characters of an id in a list: enough to tell a million conversations apart."""


def add(command: AddCommand) -> None:
    names = "[list|search|show|rename|export|delete]"
    sub = command("sessions", "列出、查看、搜索、改名、导出、删除保存的对话", _run, usage=f"{names} ")
    sub.set_defaults(action=_list, limit=20)
    _add_store(sub)
    actions = sub.add_subparsers(title="做什么", metavar=names, prog="chitchat sessions")

    def action(name: str, help: str, run: Callable[[Store, argparse.Namespace], None]) -> argparse.ArgumentParser:
        parser = actions.add_parser(name, help=help, description=help)
        parser.set_defaults(action=run)
        _add_store(parser)
        return parser

    parser = action("list", "列出最近的对话（默认）", _list)
    parser.add_argument("--limit", type=int, default=20, metavar="N", help="最多列多少段（默认 20）")
    parser = action("search", "搜索说过的话：同一句里有全部的词", _search)
    parser.add_argument("text", nargs="+", metavar="TEXT", help="要找的词，可以有几个")
    parser = action("show", "看一段对话", _show)
    parser.add_argument("id", metavar="ID", help=_ID_HELP)
    parser = action("rename", "给一段对话起名", _rename)
    parser.add_argument("id", metavar="ID", help=_ID_HELP)
    parser.add_argument("name", nargs="+", metavar="NAME", help="新名字")
    parser = action("export", "导出一段对话", _export)
    parser.add_argument("id", metavar="ID", help=_ID_HELP)
    parser.add_argument(
        "--format",
        choices=("md", "jsonl", "training"),
        default="md",
        help="md 便于读（默认），jsonl 为语料格式，training 另遮去个人信息",
    )
    parser.add_argument("--output", type=Path, metavar="FILE", help="写到哪个文件；默认写到标准输出")
    parser = action("delete", "删除一段对话；要连磁盘上的痕迹一起清掉，用 chitchat forget", _delete)
    parser.add_argument("id", metavar="ID", help=_ID_HELP)

    sub = command("forget", "彻底删除一段对话：对话库里不留一个字，并列出由它导出的文件", _run, usage="ID ")
    sub.set_defaults(action=_forget)
    sub.add_argument("id", nargs="?", metavar="ID", help=_ID_HELP + "；不写则只清掉已删除对话的痕迹")
    _add_store(sub)

    sub = command("feedback", "把评价、改选与改写导出成训练数据", _run, usage="export --output FILE ")
    export = sub.add_subparsers(title="做什么", metavar="export", prog="chitchat feedback", required=True)
    parser = export.add_parser("export", help="导出为 JSONL，遮去个人信息")
    parser.set_defaults(action=_feedback)
    _add_store(parser)
    parser.add_argument("--output", required=True, type=Path, metavar="FILE", help="写到哪个文件")
    parser.add_argument(
        "--format",
        choices=("dpo", "kto", "judgements"),
        default="dpo",
        help="TRL 的 dpo（好坏成对，默认）、kto（单条加好坏），或 judgements：给 fit-ranking 的 --judgements",
    )


def _add_store(parser: argparse.ArgumentParser) -> None:
    # no default, which would undo a --store given before the action
    parser.add_argument("--store", default=argparse.SUPPRESS, metavar="FILE", help="对话库文件；默认在用户数据目录里")


def _run(args: argparse.Namespace) -> None:
    from chitchat.sessions.store import open_store, store_path

    config = StoreConfig(store=getattr(args, "store", ""))
    path = store_path(config)
    if path is None or not path.is_file():  # not to be made by asking what is in it
        raise StoreError(f"没有对话库 {path}：" + ("请检查 --store" if config.store else "还没有保存过对话"))
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # what was said may hold characters that the terminal's encoding lacks
    args.action(open_store(config), args)


def _list(store: Store, args: argparse.Namespace) -> None:
    if args.limit < 1:
        raise ConfigError(f"--limit 应不小于 1，得到 {args.limit}")
    for summary in store.sessions(owner=None, limit=args.limit):
        print(_line(summary))


def _line(summary: SessionSummary) -> str:
    from chitchat.frontends.presentation import one_line

    title = one_line(summary.title) + ("（访客）" if summary.owner else "")
    return f"{summary.id[:_SHORT_ID]}  {summary.updated:%Y-%m-%d %H:%M}  {summary.num_messages:>4} 条  {title}"


def _search(store: Store, args: argparse.Namespace) -> None:
    from chitchat.frontends.presentation import one_line

    hits = store.search(" ".join(args.text), owner=None)
    for hit in hits:
        print(f"{hit.session.id[:_SHORT_ID]}  {hit.created:%Y-%m-%d %H:%M}  {SPEAKERS[hit.role]}：{one_line(hit.content)}")
    if not hits:
        print("没有找到", file=sys.stderr)


def _show(store: Store, args: argparse.Namespace) -> None:
    from chitchat.frontends.presentation import one_line, printable

    id = store.find(args.id, owner=None)
    summary = store.summary(id, owner=None)
    print(f"{one_line(summary.title)}（{id}，{summary.created:%Y-%m-%d %H:%M}）")
    for message in store.transcript(id, owner=None).messages():
        thumb = {1: "  👍", -1: "  👎"}.get(message.rating, "")
        reason = f" {one_line(message.reason)}" if message.reason else ""
        print(f"{SPEAKERS[message.role]}：{printable(message.content)}{thumb}{reason}")


def _rename(store: Store, args: argparse.Namespace) -> None:
    id = store.find(args.id, owner=None)
    store.rename(id, " ".join(args.name), owner=None)
    print(_line(store.summary(id, owner=None)))


def _export(store: Store, args: argparse.Namespace) -> None:
    from chitchat.frontends.presentation import printable
    from chitchat.sessions.export import export_file, export_text

    id = store.find(args.id, owner=None)
    if args.output is None:
        text = export_text(store, id, args.format, owner=None)
        print(printable(text) if sys.stdout.isatty() else text, end="")
        return
    export_file(store, id, args.format, args.output, owner=None)
    print(f"已写到 {args.output}", file=sys.stderr)


def _delete(store: Store, args: argparse.Namespace) -> None:
    id = store.find(args.id, owner=None)
    store.delete(id, owner=None)
    print(f"已删除 {id[:_SHORT_ID]}；要连磁盘上的痕迹一起清掉，再运行 chitchat forget")


def _forget(store: Store, args: argparse.Namespace) -> None:
    if args.id is None:
        store.database.scrub()
        print("已删除的对话，痕迹都清掉了")
        return
    id = store.find(args.id, owner=None)
    forgotten = store.forget(id, owner=None)
    how, left = ("已删除", "") if forgotten.lingers else ("已彻底删除", "，对话库里一个字也不剩")
    print(f"{how} {id[:_SHORT_ID]}：{forgotten.num_messages} 条消息{left}")
    if forgotten.exports:
        print("由它导出过这些文件，它们不在对话库里，要删请自己删：")
    for export in forgotten.exports:
        print(f"  {export.path}（{export.format}，{export.created:%Y-%m-%d %H:%M}，{export.state}）")
    if forgotten.lingers:
        raise forgotten.lingers


def _feedback(store: Store, args: argparse.Namespace) -> None:
    from chitchat.sessions.feedback import export_feedback

    report = export_feedback(store, args.format, args.output)
    print(f"{args.output}：{report.num_rows} 条，来自 {report.num_sessions} 段对话")
