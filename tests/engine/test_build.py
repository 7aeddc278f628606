"""From a configuration to a bot, or to one clear sentence."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import chitchat
from chitchat import load_chatbot
from chitchat.backends.batching import BatchedModel
from chitchat.backends.ctranslate2_local import CTranslate2Model
from chitchat.backends.dual_encoder import NumpyEncoder
from chitchat.backends.reward import LinearReward
from chitchat.backends.transformers_local import TransformersModel
from chitchat.checkpoint import model_fingerprint
from chitchat.config import ChatConfig, DecodingConfig
from chitchat.engine.reranking import Ranker
from chitchat.errors import CheckpointError, ConfigError
from chitchat.index import build_index

DATA = Path(__file__).parents[2] / "data"


def test_public_api() -> None:
    assert chitchat.__version__
    for name in chitchat.__all__:
        assert getattr(chitchat, name).__name__ == name
    with pytest.raises(AttributeError):
        chitchat.nonsense  # noqa: B018


def test_auto_is_ctranslate2_for_both(tiny_model: Path) -> None:
    bot = load_chatbot(ChatConfig(model=str(tiny_model)), DecodingConfig(seed=3), temperature=0.5, max_history_messages=4)
    assert isinstance(bot.generators[0], BatchedModel) and isinstance(bot.generators[0].model, CTranslate2Model)
    assert isinstance(bot.reverse_scorer, BatchedModel) and isinstance(bot.reverse_scorer.model, CTranslate2Model)
    assert bot.forward_scorer is bot.generators[0]
    assert (bot.decoding.seed, bot.decoding.temperature, bot.max_history_messages) == (3, 0.5, 4)


def test_transformers_by_choice_or_device(tiny_model: Path) -> None:
    bot = load_chatbot(model=tiny_model, backend="transformers")
    assert isinstance(bot.generators[0], BatchedModel) and isinstance(bot.generators[0].model, TransformersModel)
    assert bot.reply("外面下雨了").text == "记得带伞哦。"
    with pytest.raises(ConfigError, match="只用 CPU"):
        load_chatbot(model=tiny_model, backend="ctranslate2", device="cuda")


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, True),
        ({"threads": 1}, False),
        ({"backend": "transformers"}, False),
        ({"backend": "transformers", "threads": 2}, False),
    ],
)
def test_models_work_side_by_side_when_they_have_threads_of_their_own(
    tiny_model: Path, options: dict[str, Any], expected: bool
) -> None:
    """Torch's would contend with each other."""
    assert load_chatbot(model=tiny_model, **options)._side_by_side is expected


def test_both_backends_rank_alike(tiny_model: Path) -> None:
    def ranking(backend: str) -> dict[str, float]:
        bot = load_chatbot(model=tiny_model, backend=backend, compute_type="float32")
        candidates = bot.reply("你喜欢火锅吗", decoding=DecodingConfig(strategy="greedy")).candidates
        return {c.text: c.score for c in candidates}

    first, second = ranking("ctranslate2"), ranking("transformers")
    assert first.keys() == second.keys()
    assert list(first.values()) == pytest.approx(list(second.values()), abs=1e-3)


def test_lone_forward_model_warns(tiny_model: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        bot = load_chatbot(model=tiny_model / "forward")
    assert "没有 reverse 模型" in caplog.text
    assert bot.reverse_scorer is None
    assert bot.reply("外面下雨了").text == "记得带伞哦。"


def test_ranker_comes_from_the_model(tiny_model: Path, tmp_path: Path) -> None:
    model = Path(shutil.copytree(tiny_model, tmp_path / "model"))
    Ranker({"forward": 0.5}).save(model)
    assert load_chatbot(model=model).ranker.weights["forward"] == 0.5


def test_reward_model_of_the_folder_is_used(tiny_model: Path, tmp_path: Path) -> None:
    assert load_chatbot(model=tiny_model).reward_model is None
    model = Path(shutil.copytree(tiny_model, tmp_path / "model"))
    (tmp_path / "a.txt").write_text("外面下雨了\n伞在门后挂着。", encoding="utf-8")
    build_index([tmp_path / "a.txt"], model / "retrieval")
    LinearReward(np.array([1], np.uint64), np.ones(1, np.float32), np.ones(1, np.float32)).save(model / "reward")
    bot = load_chatbot(model=model, persona="off", safety="off")
    said = [c for c in bot.reply("外面下雨了").candidates if c.rejected is None]
    assert {c.source for c in said} == {"retrieval", "model"}
    assert all((c.reward is None) == (c.source == "model") for c in said), "it was fitted on what people wrote"
    shutil.rmtree(model / "reward")
    shutil.copytree(model / "reverse", model / "reward")
    with pytest.raises(CheckpointError, match="评分模型缺少 reward.json"):
        load_chatbot(model=model)


def test_encoder_of_the_folder_is_used(tiny_model: Path, tiny_encoder: Path, tmp_path: Path) -> None:
    assert load_chatbot(model=tiny_model).encoder is None
    model = Path(shutil.copytree(tiny_model, tmp_path / "model"))
    shutil.copytree(tiny_encoder, model / "encoder")
    (tmp_path / "a.txt").write_text("甲猫\n说说东。", encoding="utf-8")
    build_index([tmp_path / "a.txt"], model / "retrieval", encoder=NumpyEncoder(model / "encoder"))
    bot = load_chatbot(model=model, persona="off", safety="off")
    said = {c.text: c for c in bot.reply("子喵").candidates if c.rejected is None}
    assert len(said) > 1 and all(c.reply_match is not None for c in said.values())
    found = said["说说东。"]
    assert found.source == "retrieval" and found.context_match is not None and found.context_match > 0.5
    assert all(c.context_match is None for c in said.values() if c.source == "model")
    assert model_fingerprint(model) != model_fingerprint(tiny_model)
    shutil.rmtree(model / "encoder")
    shutil.copytree(model / "reverse", model / "encoder")
    with pytest.raises(CheckpointError, match="这里需要 encoder 模型"):
        load_chatbot(model=model)


def test_swapped_folders(tiny_model: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_model / "forward", tmp_path / "reverse")
    shutil.copytree(tiny_model / "reverse", tmp_path / "forward")
    with pytest.raises(CheckpointError, match="放反"):
        load_chatbot(model=tmp_path)


def test_no_model(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="没有这个文件夹"):
        load_chatbot(model=tmp_path / "nothing")
    with pytest.raises(CheckpointError, match="config.json"):
        load_chatbot(model=tmp_path)


@pytest.mark.parametrize("sheet", ["persona", "safety"])
def test_a_sheet_of_ones_own_none_or_a_missing_one(tiny_model: Path, tmp_path: Path, sheet: str) -> None:
    assert getattr(load_chatbot(model=tiny_model), sheet) is not None
    assert getattr(load_chatbot(model=tiny_model, **{sheet: "off"}), sheet) is None
    with pytest.raises(ConfigError, match="nothing.yaml"):
        load_chatbot(model=tiny_model, **{sheet: str(tmp_path / "nothing.yaml")})


def test_persona_and_index_of_the_model_folder_are_used(tiny_model: Path, tmp_path: Path) -> None:
    model = Path(shutil.copytree(tiny_model, tmp_path / "model"))
    sheet = (DATA / "persona.yaml").read_text(encoding="utf-8").replace("name: 小叙", "name: 阿团", 1)
    (model / "persona.yaml").write_text(sheet, encoding="utf-8")
    (tmp_path / "a.txt").write_text("我家阳台种了番茄\n红了几颗？给我留一颗的照片。\n", encoding="utf-8")
    build_index([tmp_path / "a.txt"], model / "retrieval")
    bot = load_chatbot(model=model)
    assert bot.persona is not None and bot.persona.name == "阿团"
    assert "红了几颗？给我留一颗的照片。" in [c.text for c in bot.reply("我家阳台种了番茄").candidates if c.source == "retrieval"]
    assert len(load_chatbot(model=model, retrieval=False).generators) == 1


def test_unknown_option(tiny_model: Path) -> None:
    with pytest.raises(ConfigError, match="temperature"):
        load_chatbot(model=tiny_model, temprature=0.5)
