"""The command line: parses, runs one subcommand of `commands/`, and turns what goes wrong into text and an exit code.

This is the one place that does: 2 for the user's mistakes, 130 for Ctrl-C.
"""

from __future__ import annotations

import argparse
import errno
import logging
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from chitchat.commands import conversations, corpus, doctor, judging, models, talking
from chitchat.commands.shared import install_command
from chitchat.config import add_flags
from chitchat.errors import ChitchatError

_GROUPS = (talking, conversations, corpus, doctor, models, judging)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one subcommand and returns the process's exit code."""
    parser = _parser()
    args = parser.parse_args(argv)
    if args.command is None:
        parser.print_help()
        return 0
    chatty = args.command in ("prepare", "train", "vocab")
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    logging.getLogger("chitchat").setLevel(logging.INFO if chatty else logging.WARNING)
    # the libraries call home unless told not to
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    try:
        run: Callable[[argparse.Namespace], int | None] = args.run
        return run(args) or 0
    except ChitchatError as error:
        print(f"错误：{error}", file=sys.stderr)
        return 2
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] == "chitchat":
            raise
        print(f"错误：没有安装 {error.name}。请运行 {install_command(args.command)}", file=sys.stderr)
        return 2
    except OSError as error:
        if isinstance(error, BrokenPipeError):
            # the reader has gone (| head): say nothing, and keep the interpreter from flushing into the closed pipe
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 0
        print(f"错误：{_os_fault(error)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        if args.command == "train":
            print("\n已停止并保存。用同样的命令加 --resume 继续。", file=sys.stderr)
        elif args.command == "prepare":
            print("\n已停止，做好的部分留着。用同样的命令继续。", file=sys.stderr)
        elif args.command == "score" and "-" not in (args.file, args.output):
            print("\n已停止，打好的分留着。用同样的命令加 --resume 继续。", file=sys.stderr)
        return 130


def _os_fault(error: OSError) -> str:
    """What the system refused, with the next step where there is one."""
    place = f"：{error.filename}" if error.filename else ""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"磁盘已满，写不下{place}；请腾出空间，或换一个输出位置，再运行一次"
    if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
        return f"没有权限或磁盘只读{place}；请检查权限，或换一个位置"
    return f"{error.strerror or error}{place}"


class _Parser(argparse.ArgumentParser):
    """argparse with Chinese headings and errors."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(add_help=False, allow_abbrev=False, **kwargs)
        self._positionals.title, self._optionals.title = "参数", "选项"
        self.add_argument("-h", "--help", action="help", help="显示这份帮助")

    def format_usage(self) -> str:
        return super().format_usage().replace("usage:", "用法：", 1)

    def format_help(self) -> str:
        return super().format_help().replace("usage:", "用法：", 1)

    def error(self, message: str) -> NoReturn:
        for english, chinese in _ARGPARSE_CHINESE:
            message = message.replace(english, chinese)
        print(f"{self.format_usage()}错误：{message}\n用 {self.prog} --help 查看全部选项", file=sys.stderr)
        sys.exit(2)


_ARGPARSE_CHINESE = (
    ("the following arguments are required: ", "缺少参数 "),
    ("unrecognized arguments: ", "未知的参数 "),
    ("expected one argument", "后面要跟一个值"),
    ("expected at least one argument", "后面至少要跟一个值"),
    ("invalid choice: ", "不可用的值 "),
    ("(choose from ", "（可用："),
    ("invalid int value: ", "应为整数，得到 "),
    ("invalid float value: ", "应为数字，得到 "),
    ("argument ", "参数 "),
)


def _parser() -> _Parser:
    parser = _Parser(prog="chitchat", description="中文闲聊机器人：聊天、训练、打分")
    commands = parser.add_subparsers(dest="command", title="命令", metavar="命令", parser_class=_Parser)

    def command(
        name: str, help: str, run: Callable[[argparse.Namespace], int | None], *configs: type, usage: str = ""
    ) -> _Parser:
        sub = commands.add_parser(name, help=help, description=help, usage=f"chitchat {name} {usage}[选项]")
        sub.set_defaults(run=run)
        if configs:
            sub.add_argument("--config", type=Path, metavar="FILE.yaml", help="YAML 配置文件；命令行选项优先于它")
        for cls in configs:
            add_flags(sub, cls)
        return sub

    for group in _GROUPS:
        group.add(command)
    return parser


if __name__ == "__main__":
    sys.exit(main())
