"""Folders that others made: old checkpoints, odd names, half precision, what cannot be converted."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from chitchat.backends.ctranslate2_local import CTranslate2Model
from chitchat.backends.transformers_local import TransformersModel
from chitchat.engine.build import load_chatbot
from chitchat.errors import BackendError, CheckpointError

PAIRS = [(["你好"], "你好呀，今天过得怎么样？"), (["在干嘛"], "晚安，做个好梦。")]


@pytest.fixture
def folder(tiny_model: Path, tmp_path: Path) -> Path:
    """A copy of the forward model to rewrite."""
    return Path(shutil.copytree(tiny_model / "forward", tmp_path / "model"))


@pytest.fixture(scope="module")
def expected(tiny_model: Path) -> list[float]:
    model = TransformersModel(tiny_model / "forward", direction="forward", device="cpu")
    return [s.value for s in model.score(PAIRS)]


def rewrite(folder: Path, change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    path = folder / "model.safetensors"
    save_file({k: np.ascontiguousarray(v) for k, v in change(load_file(path)).items()}, path, metadata={"format": "pt"})


def configure(folder: Path, **changes: Any) -> None:
    path = folder / "config.json"
    data = json.loads(path.read_text(encoding="utf-8")) | changes
    path.write_text(json.dumps({k: v for k, v in data.items() if v is not ...}), encoding="utf-8")


def ct2_scores(folder: Path) -> list[float]:
    return [s.value for s in CTranslate2Model(folder, direction="forward", compute_type="float32").score(PAIRS)]


def hf_scores(folder: Path) -> list[float]:
    return [s.value for s in TransformersModel(folder, direction="forward", device="cpu").score(PAIRS)]


def test_names_without_prefix_and_old_buffers(folder: Path, expected: list[float]) -> None:
    def old(tensors: dict[str, Any]) -> dict[str, Any]:
        bare = {k.removeprefix("transformer."): v for k, v in tensors.items()}
        bare["h.0.attn.bias"] = np.tril(np.ones((1, 1, 64, 64), dtype=np.uint8))
        bare["h.0.attn.masked_bias"] = np.array(-1e4, dtype=np.float32)
        return bare

    rewrite(folder, old)
    assert ct2_scores(folder) == pytest.approx(expected, abs=1e-3)
    assert hf_scores(folder) == pytest.approx(expected, abs=1e-3)


def test_half_precision_weights(folder: Path, expected: list[float]) -> None:
    rewrite(folder, lambda tensors: {k: v.astype(np.float16) for k, v in tensors.items()})
    assert ct2_scores(folder) == pytest.approx(hf_scores(folder), abs=1e-3)
    assert ct2_scores(folder) == pytest.approx(expected, abs=0.2)


def test_head_of_its_own(folder: Path, expected: list[float]) -> None:
    rewrite(folder, lambda tensors: tensors | {"lm_head.weight": tensors["transformer.wte.weight"] * 0.5})
    configure(folder, tie_word_embeddings=False)
    untied = ct2_scores(folder)
    assert untied == pytest.approx(hf_scores(folder), abs=1e-3)
    assert untied != pytest.approx(expected, abs=0.1)


def test_other_activation_and_epsilon(folder: Path, expected: list[float]) -> None:
    configure(folder, activation_function="relu", layer_norm_epsilon=1e-2)
    assert ct2_scores(folder) == pytest.approx(hf_scores(folder), abs=1e-3)
    assert ct2_scores(folder) != pytest.approx(expected, abs=0.01)


def test_more_rows_than_tokens(folder: Path, expected: list[float]) -> None:
    def padded(tensors: dict[str, Any]) -> dict[str, Any]:
        rows = tensors["transformer.wte.weight"]
        return tensors | {"transformer.wte.weight": np.concatenate([rows, np.zeros((7, rows.shape[1]), rows.dtype)])}

    rewrite(folder, padded)
    configure(folder, vocab_size=json.loads((folder / "config.json").read_text())["vocab_size"] + 7)
    assert ct2_scores(folder) == pytest.approx(hf_scores(folder), abs=1e-3)
    bot = load_chatbot(model=folder, temperature=5.0, top_k=0, top_p=1.0, num_candidates=32)
    assert bot.reply("你好").candidates


def test_gpt2_chitchat_folder(folder: Path, expected: list[float]) -> None:
    """A pytorch_model.bin, gpt2's bos and eos beyond the vocabulary, vocab.txt alone, no manifest and no model_type."""
    import torch

    tensors = {k: torch.from_numpy(v) for k, v in load_file(folder / "model.safetensors").items()}
    tensors |= {
        "transformer.h.0.attn.bias": torch.ones(1, 1, 64, 64).tril().byte(),
        "lm_head.weight": tensors["transformer.wte.weight"],
    }
    torch.save(tensors, folder / "pytorch_model.bin")
    for name in ("model.safetensors", "chitchat.json", "tokenizer.json", "tokenizer_config.json", "generation_config.json"):
        (folder / name).unlink()
    configure(folder, bos_token_id=50256, eos_token_id=50256, pad_token_id=..., model_type=..., n_ctx=64)
    assert hf_scores(folder) == pytest.approx(expected, abs=1e-3)
    with pytest.raises(CheckpointError, match="--backend transformers"):
        CTranslate2Model(folder, direction="forward")
    assert load_chatbot(model=folder).reply("你好").text == "你好呀，今天过得怎么样？"


@pytest.mark.parametrize("load", [ct2_scores, hf_scores])
def test_missing_tensor(folder: Path, load: Any) -> None:
    rewrite(folder, lambda tensors: {k: v for k, v in tensors.items() if "h.1.mlp.c_fc.weight" not in k})
    with pytest.raises(CheckpointError, match="h.1.mlp.c_fc.weight"):
        load(folder)


@pytest.mark.parametrize("changes", [{"n_layer": 3}, {"n_positions": 128}, {"vocab_size": 500}])
@pytest.mark.parametrize("load", [ct2_scores, hf_scores])
def test_configuration_of_another_model(folder: Path, load: Any, changes: dict[str, int]) -> None:
    configure(folder, **changes)
    with pytest.raises(CheckpointError):
        load(folder)


@pytest.mark.parametrize("load", [ct2_scores, hf_scores])
def test_damaged_weights(folder: Path, load: Any) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(CheckpointError):
        load(folder)


@pytest.mark.parametrize("load", [ct2_scores, hf_scores])
def test_vocabulary_of_another_model(folder: Path, load: Any) -> None:
    vocab = folder / "vocab.txt"
    vocab.write_text(vocab.read_text(encoding="utf-8") + "龘\n", encoding="utf-8")
    with pytest.raises(CheckpointError, match="词表"):
        load(folder)


def test_another_architecture(folder: Path) -> None:
    configure(folder, model_type="llama")
    with pytest.raises(CheckpointError, match="llama；请改用 --backend transformers"):
        CTranslate2Model(folder, direction="forward")


def test_unknown_device(folder: Path) -> None:
    with pytest.raises(BackendError, match="不能用设备 gpu9"):
        TransformersModel(folder, direction="forward", device="gpu9")
