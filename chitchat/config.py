"""Every knob of the project, one frozen dataclass per stage.

The same dataclass gives the YAML keys, the command-line flags and their help. Values are taken in this order:
defaults, then `--config FILE.yaml`, then flags. Help texts are Chinese because users read them in `--help`.
"""

from __future__ import annotations

import argparse
import dataclasses
import difflib
import math
import re
import types
import typing
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

from chitchat.errors import ConfigError

T = TypeVar("T")


def option(
    default: Any,
    help: str,
    *,
    choices: Sequence[str] = (),
    low: float | None = None,
    high: float | None = None,
    metavar: str = "FILE",
) -> Any:
    """A dataclass field with its help text and the range its value must lie in (both ends included).

    `metavar` is what the help calls one of a list.
    """
    metadata = {"help": help, "choices": tuple(choices), "low": low, "high": high, "metavar": metavar}
    if isinstance(default, tuple):
        return field(default_factory=lambda: default, metadata=metadata)
    return field(default=default, metadata=metadata)


class _Checked:
    """Checks each field's type, choices and range when the dataclass is made."""

    def __post_init__(self) -> None:
        hints = typing.get_type_hints(type(self))
        for f in dataclasses.fields(self):  # type: ignore[arg-type]
            value = getattr(self, f.name)
            if value is None:
                if type(None) in typing.get_args(hints[f.name]):
                    continue
                raise ConfigError(f"{f.name} 没有写值；请写一个，或删去这一行用默认的")
            kind = _plain_type(hints[f.name])
            if kind is float and type(value) is int:
                object.__setattr__(self, f.name, value := float(value))
            if kind in (int, float, str, bool) and type(value) is not kind:
                raise ConfigError(f"{f.name} 应为{_TYPE_NAMES[kind]}，得到 {value!r}")
            if kind is tuple and not isinstance(value, tuple):
                raise ConfigError(f"{f.name} 应为列表，如 [a, b]，得到 {value!r}")
            if kind is float and not math.isfinite(value):
                raise ConfigError(f"{f.name} 应为有限的数字，得到 {value!r}")
            if (choices := f.metadata["choices"]) and value not in choices:
                raise ConfigError(f"{f.name} 应为 {' / '.join(choices)} 之一，得到 {value!r}")
            low, high = f.metadata["low"], f.metadata["high"]
            if (low is not None and not value >= low) or (high is not None and not value <= high):
                bounds = f"不小于 {low}" if high is None else f"不大于 {high}" if low is None else f"在 {low} 到 {high} 之间"
                raise ConfigError(f"{f.name} 应{bounds}，得到 {value!r}")


_TYPE_NAMES = {int: "整数", float: "数字", str: "文字", bool: "true 或 false"}


CLEANING_RULES = tuple(
    "markup urls personal_data reposts reply_prefixes mentions hashtags bracket_emoticons kaomoji repeats traditional"
    " no_content garbled not_chinese adverts contacts insults sexual slurs copies".split()
)
"""The cleaning rules that can be turned off; the others are turned off by their numbers."""


@dataclass(frozen=True)
class PrepareConfig(_Checked):
    """Corpus files to token stores."""

    normalise: bool = option(True, "统一标点与字符写法（选择性 NFKC、全角标点、省略号、破折号）")
    min_message_chars: int = option(1, "更短的消息视为断点（字符）", low=1)
    max_message_chars: int = option(200, "更长的消息视为断点，对话在此切开（字符）", low=1)
    min_dialogue_messages: int = option(2, "更短的对话不要（消息数）", low=2)
    max_dialogue_messages: int = option(0, "更长的对话切成几段（消息数），0 为不切", low=0)
    keep_emoji: bool = option(True, "保留 emoji")
    rules_off: tuple[str, ...] = option((), "不用的清洗规则，如 urls mentions；名称见 docs/corpus.md", metavar="RULE")
    drop_words: str = option("", "含其中任一词的对话整段丢弃（每行一词的文件）")
    validation_fraction: float = option(0.01, "验证集比例，按内容哈希划分", low=0.0, high=0.5)
    test_fraction: float = option(0.01, "测试集比例，按内容哈希划分", low=0.0, high=0.5)
    near_duplicates: float = option(
        0.8, "相似度（Jaccard）不低于此的对话只留一段，0.8 到 1；0 为只去逐字相同的", low=0.0, high=1.0
    )
    max_same_reply: int = option(0, "同一句回复至多学几次：句句都已出现这么多次的训练对话不要，0 为不限", low=0)
    skip_bad: bool = option(False, "跳过读不懂的记录并计数，而不是停下报错")

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in self.rules_off:
            if name not in CLEANING_RULES:
                near = difflib.get_close_matches(name, CLEANING_RULES, n=1)
                hint = f"，是否想写 {near[0]!r}？" if near else f"；可用：{'、'.join(CLEANING_RULES)}"
                raise ConfigError(f"rules_off：没有叫 {name!r} 的清洗规则{hint}")
        if 0 < self.near_duplicates < 0.8:
            raise ConfigError(f"near_duplicates 应为 0（关）或 0.8 到 1，得到 {self.near_duplicates}；更松的相似找不全")
        if self.max_dialogue_messages and self.max_dialogue_messages < self.min_dialogue_messages:
            raise ConfigError(
                f"max_dialogue_messages（{self.max_dialogue_messages}）小于 min_dialogue_messages"
                f"（{self.min_dialogue_messages}），一段对话也留不下；请调大前者，或设为 0（不切）"
            )


@dataclass(frozen=True)
class ModelConfig(_Checked):
    """The shape of a new GPT-2."""

    layers: int = option(8, "层数", low=1)
    width: int = option(384, "隐藏维度", low=8)
    heads: int = option(6, "注意力头数", low=1)
    positions: int = option(256, "最长序列（token）", low=16)
    dropout: float = option(0.0, "随机失活；语料重复多遍时才有用", low=0.0, high=0.9)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.width % self.heads:
            raise ConfigError(f"width（{self.width}）必须能被 heads（{self.heads}）整除")


@dataclass(frozen=True)
class TrainConfig(_Checked):
    """One training run: forward, reverse or encoder."""

    data: tuple[str, ...] = option((), "语料文件，可写 文件@权重：每轮每段对话平均出现的次数（默认 1）")
    model: str = option("", "模型文件夹；写到其中的 forward/、reverse/ 或 encoder/")
    init_from: str = option("", "从这个模型文件夹继续训练（微调）；留空则从零开始")
    vocab: str = option("", "vocab.txt 或带词表的文件夹；留空用 init_from 或自带词表")
    epochs: float = option(5.0, "语料最多看几遍；与步数、分钟数先到为止", low=0.01)
    steps: int = option(0, "优化步数上限，0 为只看遍数", low=0)
    max_minutes: float = option(0.0, "训练分钟数上限，0 为不限；学习率按步数与分钟数中先到者衰减", low=0.0)
    tokens_per_step: int = option(4096, "每步的 token 数（由梯度累积凑足）", low=16)
    rows_per_batch: int = option(4, "一次前向的行数（每行 model.positions 个 token）；CPU 上再大也不更快，GPU 上可调大", low=1)
    max_sample_tokens: int = option(0, "样本长度上限（token），0 表示等于最长序列", low=0)
    optimizer: str = option("adamw", "优化器；muon 用于矩阵，其余参数仍用 adamw", choices=("adamw", "muon"))
    learning_rate: float = option(6e-4, "峰值学习率（AdamW）", low=0.0)
    muon_learning_rate: float = option(0.02, "峰值学习率（Muon 的矩阵部分）", low=0.0)
    weight_decay: float = option(0.05, "权重衰减，只作用于矩阵", low=0.0)
    warmup_steps: int = option(100, "学习率预热步数，至多占全程一成", low=0)
    final_learning_rate: float = option(0.05, "结束时学习率与峰值之比", low=0.0, high=1.0)
    gradient_clip: float = option(1.0, "梯度范数上限", low=0.0)
    precision: str = option("bf16", "自动混合精度", choices=("bf16", "fp32"))
    compile: str = option("auto", "torch.compile：auto 只在长训练时启用", choices=("auto", "on", "off"))
    threads: int = option(0, "torch 线程数，0 为自动", low=0)
    validate_every: int = option(0, "每隔多少步验证一次，0 为全程约二十次", low=0)
    validation_rows: int = option(64, "验证用的行数上限，各语料平分", low=1)
    patience: int = option(3, "连续多少次验证没有进步就停止，0 为不停", low=0)
    save_every_seconds: float = option(180.0, "断点间隔（秒）", low=0.0)
    seed: int = option(1, "随机种子", low=0)


@dataclass(frozen=True)
class DecodingConfig(_Checked):
    """How candidates are written."""

    strategy: str = option("sample", "解码方式", choices=("sample", "beam", "greedy"))
    num_candidates: int = option(16, "模型写几个候选回复，检索与承接的另计", low=1, high=256)
    temperature: float = option(0.75, "温度，越大越随意", low=0.05, high=5.0)
    top_k: int = option(20, "只从概率最高的 k 个字中取，0 为不限", low=0)
    top_p: float = option(0.88, "只从累计概率 p 内取（0~1]", low=0.01, high=1.0)
    repetition_penalty: float = option(1.1, "重复惩罚（CTRL），1 为不惩罚", low=1.0, high=5.0)
    no_repeat_ngram: int = option(4, "回复内不许重复的 n 元组长度，0 为不限", low=0, high=16)
    max_new_tokens: int = option(48, "回复最长多少个 token", low=1, high=1024)
    seed: int | None = option(None, "随机种子；留空则每次不同", low=0, high=2**63 - 1)


@dataclass(frozen=True)
class ChatConfig(_Checked):
    """Which models talk, and on what."""

    model: str = option("models/xiaoxu", "模型文件夹（含 forward/，可含 reverse/ 与 ranker.json），或任意 HF 因果语言模型文件夹")
    backend: str = option("auto", "推理后端；auto 在 CPU 上用 ctranslate2", choices=("auto", "ctranslate2", "transformers"))
    compute_type: str = option("int8", "ctranslate2 的数值类型", choices=("int8", "float32"))
    device: str = option("auto", "transformers 后端的设备，如 cpu、cuda")
    threads: int | None = option(None, "推理线程数；留空则 ctranslate2 用两个（边写边查），transformers 用一个", low=1)
    max_history_messages: int = option(5, "带入上下文的最近消息数", low=1)
    retrieval: bool = option(True, "用模型文件夹里的检索库（retrieval/）与承接库（acts/）提议人写的回复")
    persona: str = option("auto", "人设表（YAML）；auto 先找模型文件夹里的 persona.yaml，再用 data/persona.yaml；off 为不用")
    safety: str = option("auto", "安全词表（YAML）；auto 用 data/safety.yaml；off 为不用")


@dataclass(frozen=True)
class StoreConfig(_Checked):
    """Where conversations are kept, and for how long."""

    store: str = option("", "对话库文件；留空用系统的用户数据目录")
    ephemeral: bool = option(False, "不保存对话，只留在内存里")
    expire: str = option("", "多久没有再聊的对话自动删除，如 30d（天）、12h（小时）；留空为不删")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.expire and not re.fullmatch(r"[1-9][0-9]{0,4}[hd]", self.expire):
            raise ConfigError(f"expire 应为数字加 d（天）或 h（小时），如 30d，得到 {self.expire!r}")

    @property
    def max_age(self) -> timedelta | None:
        """`expire` as a length of time, or None for ever."""
        if not self.expire:
            return None
        return timedelta(hours=int(self.expire[:-1]) * {"h": 1, "d": 24}[self.expire[-1]])


def from_mapping(cls: type[T], values: Mapping[str, Any], *, where: str) -> T:
    """An instance of a config dataclass; raises ConfigError naming the nearest key for an unknown one."""
    known = [f.name for f in dataclasses.fields(cls)]  # type: ignore[arg-type]
    for key in values:
        if key not in known:
            near = difflib.get_close_matches(str(key), known, n=1)
            raise ConfigError(
                f"{where}：未知的键 {key!r}" + (f"，是否想写 {near[0]!r}？" if near else f"；可用：{'、'.join(known)}")
            )
    hints = typing.get_type_hints(cls)
    try:
        return cls(**{key: _from_yaml(value, _plain_type(hints[key])) for key, value in values.items()})
    except ConfigError as error:
        raise ConfigError(f"{where}：{error}") from None


def _from_yaml(value: Any, kind: type) -> Any:
    """A list as a tuple, a lone text in its place as a list of one, and 6e-4, which YAML 1.1 takes for a text, as a number."""
    if kind is tuple and isinstance(value, list | str):
        return (value,) if isinstance(value, str) else tuple(map(str, value))
    if kind is float and isinstance(value, str):
        with suppress(ValueError):
            return float(value)
    return value


def read_yaml(path: Path, sections: Mapping[str, type]) -> dict[str, dict[str, Any]]:
    """The sections of a YAML file, keys checked; raises ConfigError with file and line for a file that is not one."""
    import yaml

    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"读不了配置文件 {path}：{error}") from None
    try:
        data = yaml.safe_load(text) or {}
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f"{path}:{mark.line + 1}" if mark else str(path)
        raise ConfigError(f"{place}：不是合法的 YAML（{getattr(error, 'problem', None) or '语法错误'}）") from None
    if not isinstance(data, dict):
        raise ConfigError(f"{path}：应为“节: 键: 值”的 YAML，节可以是 {'、'.join(sections)}")
    for name, values in data.items():
        if name not in sections:
            near = difflib.get_close_matches(str(name), sections, n=1)
            raise ConfigError(
                f"{path}：未知的节 {name!r}" + (f"，是否想写 {near[0]!r}？" if near else f"；可用：{'、'.join(sections)}")
            )
        if not isinstance(values, dict):
            raise ConfigError(f"{path}：节 {name} 应为“键: 值”")
        from_mapping(sections[name], values, where=f"{path} 的 {name} 节")
    return data


def add_flags(parser: argparse.ArgumentParser, cls: type) -> None:
    """One `--flag` per field of a config dataclass; absent flags leave no attribute, so that YAML can show through."""
    hints = typing.get_type_hints(cls)
    defaults = {f.name: f.default for f in dataclasses.fields(cls)}
    group = parser.add_argument_group(_GROUP_TITLES.get(cls.__name__, cls.__name__))
    for f in dataclasses.fields(cls):
        kind = _plain_type(hints[f.name])
        shown = defaults[f.name]
        suffix = "" if shown in ("", None, dataclasses.MISSING) else f"（默认 {shown}）"
        keywords: dict[str, Any] = {
            "dest": f.name,
            "default": argparse.SUPPRESS,
            "help": f.metadata["help"].replace("%", "%%") + suffix,
        }
        flag = "--" + f.name.replace("_", "-")
        if kind is bool:
            group.add_argument(flag, action=argparse.BooleanOptionalAction, **keywords)
        elif kind is tuple:
            group.add_argument(flag, nargs="+", metavar=f.metadata["metavar"], **keywords)
        else:
            choices = f.metadata["choices"]
            keywords["metavar"] = "{" + ",".join(choices) + "}" if choices else _METAVARS[kind]
            group.add_argument(flag, type=kind, **keywords)


_GROUP_TITLES = {
    "PrepareConfig": "语料选项",
    "ModelConfig": "模型选项",
    "TrainConfig": "训练选项",
    "DecodingConfig": "解码选项",
    "ChatConfig": "对话选项",
    "StoreConfig": "保存选项",
}
_METAVARS = {int: "N", float: "X", str: "TEXT"}


def resolve(cls: type[T], *, yaml_values: Mapping[str, Any] | None, args: argparse.Namespace) -> T:
    """Defaults, then the YAML section, then the flags that were given."""
    values: dict[str, Any] = dict(yaml_values or {})
    for f in dataclasses.fields(cls):  # type: ignore[arg-type]
        if hasattr(args, f.name):
            values[f.name] = getattr(args, f.name)
    return from_mapping(cls, values, where="选项")


def _plain_type(hint: Any) -> type:
    """`int` for `int | None`, `tuple` for `tuple[str, ...]`, and so on."""
    if isinstance(hint, types.UnionType):
        hint = next(arg for arg in typing.get_args(hint) if arg is not type(None))
    plain: type = typing.get_origin(hint) or hint
    return plain
