"""Defaults, YAML and flags in that order; every mistake named with the nearest right word."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

import pytest

from chitchat.config import (
    ChatConfig,
    DecodingConfig,
    ModelConfig,
    PrepareConfig,
    TrainConfig,
    add_flags,
    from_mapping,
    read_yaml,
    resolve,
)
from chitchat.errors import ConfigError

ALL = (PrepareConfig, ModelConfig, TrainConfig, DecodingConfig, ChatConfig)


@pytest.mark.parametrize("cls", ALL)
def test_defaults_are_valid_and_every_field_has_help(cls: type) -> None:
    cls()
    assert all(f.metadata["help"] for f in dataclasses.fields(cls))


def test_flags_win_over_yaml_and_yaml_over_defaults(tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    file.write_text("decoding:\n  temperature: 0.5\n  top_k: 7\n", encoding="utf-8")
    parser = argparse.ArgumentParser()
    add_flags(parser, DecodingConfig)
    args = parser.parse_args(["--top-k", "3"])
    resolved = resolve(DecodingConfig, yaml_values=read_yaml(file, {"decoding": DecodingConfig})["decoding"], args=args)
    assert (resolved.temperature, resolved.top_k, resolved.top_p) == (0.5, 3, DecodingConfig().top_p)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("decodin:\n  top_k: 1\n", "decoding"),
        ("decoding:\n  temprature: 1\n", "temperature"),
        ("decoding:\n  temperature: hot\n", "数字"),
        ("decoding:\n  temperature: 99\n", "0.05 到 5"),
        ("decoding:\n  temperature: true\n", "数字"),
        ("train:\n  epochs: .inf\n", "有限"),
        ("train:\n  data: 5\n", "列表"),
        ("decoding:\n  top_k: 1.5\n", "整数"),
        ("decoding:\n  strategy: smaple\n", "sample"),
        ("decoding:\n  - a\n", "键: 值"),
        ("- a\n", "YAML"),
        ("decoding: [\n", r"c\.yaml:\d"),
        ("a: b: c\n", r"c\.yaml:1"),
    ],
)
def test_yaml_mistakes_name_file_and_remedy(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "c.yaml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=message) as error:
        read_yaml(file, {"decoding": DecodingConfig, "train": TrainConfig})
    assert "c.yaml" in str(error.value)


def test_missing_or_binary_yaml_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="none"):
        read_yaml(tmp_path / "none.yaml", {})
    (tmp_path / "b.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="b.yaml"):
        read_yaml(tmp_path / "b.yaml", {})


def test_width_must_divide_among_the_heads() -> None:
    with pytest.raises(ConfigError, match="整除"):
        ModelConfig(width=100, heads=3)


def test_integers_pass_as_numbers_and_none_as_absent() -> None:
    assert from_mapping(DecodingConfig, {"temperature": 1, "seed": None}, where="x").temperature == 1.0


@pytest.mark.parametrize("path", sorted((Path(__file__).parents[1] / "configs").glob("*.yaml")), ids=lambda p: p.name)
def test_shipped_configs_are_valid(path: Path) -> None:
    assert read_yaml(path, {"prepare": PrepareConfig, "model": ModelConfig, "train": TrainConfig})


@pytest.mark.parametrize(("config", "name"), [(ChatConfig, "model"), (DecodingConfig, "num_candidates")])
def test_an_option_without_a_value_is_told(config: type, name: str) -> None:
    with pytest.raises(ConfigError, match=f"{name} 没有写值"):
        config(**{name: None})
    ChatConfig(threads=None)


def test_yaml_may_hold_one_text_for_a_list_and_numbers_with_an_exponent(tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    file.write_text("train:\n  data: my.txt\n  learning_rate: 6e-4\n", encoding="utf-8")
    config = from_mapping(TrainConfig, read_yaml(file, {"train": TrainConfig})["train"], where="c")
    assert config.data == ("my.txt",) and config.learning_rate == 6e-4
