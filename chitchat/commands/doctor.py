"""`chitchat doctor`: what is wrong with a training run, told before it starts."""

from __future__ import annotations

import argparse
import dataclasses
import json
import logging
import re
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from chitchat.commands.shared import DEFAULT_VOCAB, AddCommand, resolve_all
from chitchat.config import ModelConfig, PrepareConfig, TrainConfig
from chitchat.errors import ConfigError

if TYPE_CHECKING:
    from rich.console import Console

    from chitchat.doctor.finding import Finding

_UNBROKEN = re.compile(r"[（「]?(?:[\w./\\@%\[\]-]+|.)[，。；：、）」]*", re.ASCII)
_LEVELS = {"fatal": ("致命", "bold red"), "warning": ("警告", "yellow"), "ok": ("正常", "green")}


def add(command: AddCommand) -> None:
    sub = command(
        "doctor",
        "训练之前检查词表、语料、设置、磁盘，并试训几步估计时间",
        _doctor,
        TrainConfig,
        ModelConfig,
        PrepareConfig,
        usage="CORPUS … --model DIR ",
    )
    sub.add_argument("corpora", nargs="*", metavar="CORPUS", help="语料文件，可写 文件@权重；不给则用配置里的 data")
    sub.add_argument("--direction", default="forward", choices=("forward", "reverse"), help="检查哪个方向的训练（默认 forward）")
    sub.add_argument("--no-timing", action="store_true", help="不试训，不估计时间与内存")
    sub.add_argument("--json", action="store_true", help="把结果写成 JSON 到标准输出")


def _doctor(args: argparse.Namespace) -> int:
    train_config, model_config, prepare_config = resolve_all(args, TrainConfig, ModelConfig, PrepareConfig)
    if args.corpora:
        train_config = dataclasses.replace(train_config, data=tuple(args.corpora))
    if not train_config.data:
        raise ConfigError("没有语料：写在命令后面，如 chitchat doctor 语料.txt，或用 --config 给出含 data 的配置")
    from rich.console import Console

    from chitchat.doctor.diagnose import diagnose

    logging.getLogger("chitchat.doctor").setLevel(logging.INFO)
    findings: list[Finding] = []
    console = Console()
    for finding in diagnose(
        args.direction,
        train_config,
        model_config,
        prepare_config,
        default_vocab=DEFAULT_VOCAB,
        timing=not args.no_timing,
        show_progress=sys.stderr.isatty(),
    ):
        findings.append(finding)
        if not args.json:
            _print(finding, console)
    if args.json:
        json.dump([dataclasses.asdict(finding) for finding in findings], sys.stdout, ensure_ascii=False, indent=2)
        print()
    else:
        print(_verdict(findings))
    return int(any(finding.level == "fatal" for finding in findings))


def _print(finding: Finding, console: Console) -> None:
    """The finding, its remedy below it; wrapped here because rich breaks lines at spaces, which Chinese seldom has."""
    from rich.text import Text

    indent = " " * 12
    name, style = _LEVELS[finding.level]
    head = Text.assemble((name, style), "  ", finding.check, "  ")
    for number, line in enumerate(_wrapped(finding.message, console.width - len(indent))):
        console.print(Text.assemble(indent if number else head, line), soft_wrap=True)
    for number, line in enumerate(_wrapped(finding.remedy, console.width - len(indent) - 2)):
        console.print(Text(f"{indent}{'  ' if number else '→ '}{line}", style=style), soft_wrap=True)


def _wrapped(text: str, width: int) -> list[str]:
    """Lines of at most `width` cells, broken between Chinese characters or Latin words."""
    from rich.cells import cell_len

    lines: list[str] = []
    for piece in _UNBROKEN.findall(text):
        if not lines or cell_len(lines[-1] + piece) > width:
            lines.append("")
            piece = piece.lstrip()
        lines[-1] += piece
    return lines


def _verdict(findings: Sequence[Finding]) -> str:
    fatal, warnings = (sum(finding.level == level for finding in findings) for level in ("fatal", "warning"))
    if fatal:
        return f"{fatal} 项致命，{warnings} 项警告：照 → 后面的办法处理，再训练"
    return f"没有致命的问题，{warnings} 项警告：可以训练，先看看警告" if warnings else "一切正常，可以训练"
