"""The dual encoder without torch: the same vectors, whatever the company, and a broken folder told in one sentence."""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from chitchat.backends.dual_encoder import NumpyEncoder
from chitchat.checkpoint import Manifest
from chitchat.errors import CheckpointError
from chitchat.tokenization.bags import MAX_TOKENS

CONTEXTS = [
    ["甲猫"],
    ["甲猫", "说说东", "然后呢"],
    ["很早", "以前", "甲猫", "说说东", "然后呢"],
    ["", "子喵"],
    ["子喵", ""],
    [""],
    ["龘龘 abc123", "？！"],
    ["丁狗" * MAX_TOKENS, "说说\n西", "然" * (MAX_TOKENS + 1)],
]
REPLIES = ["东没了", "说说西", "", "龘", "东" * (2 * MAX_TOKENS), "abc 123 [SEP]"]


@pytest.fixture(scope="module")
def encoder(tiny_encoder: Path) -> NumpyEncoder:
    return NumpyEncoder(tiny_encoder)


def test_vectors_are_the_trained_models(tiny_encoder: Path, encoder: NumpyEncoder) -> None:
    import torch

    from chitchat.tokenization.bags import bags
    from chitchat.tokenization.tokenizer import DialogueTokenizer
    from chitchat.training.dual_encoder import load_dual_encoder

    tokenizer = DialogueTokenizer.load(tiny_encoder)
    model = load_dual_encoder(tiny_encoder, tokenizer).eval()  # type: ignore[no-untyped-call]

    def bags_of(messages: list[str]) -> tuple[torch.Tensor, torch.Tensor]:
        encoded = [tokenizer.encode(m) for m in messages]
        lengths = np.array([len(ids) for ids in encoded])
        starts = np.cumsum(lengths) - lengths
        shape = {"vocab_size": tokenizer.vocab_size, "buckets": model.shape.buckets}
        found = bags(np.array(sum(encoded, []), np.int64), starts, lengths, **shape)
        return torch.from_numpy(found.ids), torch.from_numpy(found.offsets)

    padded = [["", "", *context][-3:] for context in CONTEXTS]
    with torch.no_grad():
        contexts = model.contexts([bags_of([context[-back] for context in padded]) for back in (1, 2, 3)])
        replies = model.replies(*bags_of(REPLIES))
    assert encoder.contexts(CONTEXTS) == pytest.approx(contexts.numpy(), abs=1e-4)
    assert encoder.replies(REPLIES) == pytest.approx(replies.numpy(), abs=1e-4)


def test_unit_vectors(encoder: NumpyEncoder) -> None:
    for vectors, number in ((encoder.contexts(CONTEXTS), len(CONTEXTS)), (encoder.replies(REPLIES), len(REPLIES))):
        assert vectors.shape == (number, encoder.size) and vectors.dtype == np.float32
        assert np.linalg.norm(vectors, axis=1) == pytest.approx(1.0, abs=1e-5)
    assert encoder.contexts([]).shape == encoder.replies([]).shape == (0, encoder.size)


def test_company_and_order_change_nothing(encoder: NumpyEncoder) -> None:
    many = [CONTEXTS[n % len(CONTEXTS)] for n in range(1030)]  # more than are read at a time
    found = encoder.contexts(many)
    assert found[::-1] == pytest.approx(encoder.contexts(many[::-1]), abs=1e-5)
    for n in (0, 2, 5, 1023, 1024, 1029):
        assert found[n] == pytest.approx(encoder.contexts([many[n]])[0], abs=1e-5)
    assert encoder.replies(REPLIES * 200)[-1] == pytest.approx(encoder.replies(REPLIES[-1:])[0], abs=1e-5)


def test_the_last_three_messages_count_each_in_its_place(encoder: NumpyEncoder) -> None:
    three, five, turned, two = encoder.contexts(
        [
            ["甲猫", "说说东", "然后呢"],
            ["早", "上好", "甲猫", "说说东", "然后呢"],
            ["说说东", "甲猫", "然后呢"],
            ["说说东", "然后呢"],
        ]
    )
    assert np.array_equal(three, five)
    assert min(np.abs(three - other).max() for other in (turned, two)) > 0.01


def test_a_copy_for_another_process_is_the_same(encoder: NumpyEncoder) -> None:
    content = pickle.dumps(encoder)
    assert len(content) < 1000, "the folder's name, not its weights"
    copy = pickle.loads(content)
    assert copy.fingerprint == encoder.fingerprint
    assert np.array_equal(copy.contexts(CONTEXTS), encoder.contexts(CONTEXTS))


def test_other_weights_have_another_fingerprint(encoder: NumpyEncoder, untrained_encoder: Path) -> None:
    assert NumpyEncoder(untrained_encoder).fingerprint != encoder.fingerprint


def _exchange_tokens(folder: Path) -> None:
    tokens = (folder / "vocab.txt").read_text(encoding="utf-8").split("\n")
    tokens[10], tokens[11] = tokens[11], tokens[10]
    (folder / "vocab.txt").write_text("\n".join(tokens), encoding="utf-8")


def _lose_a_token_unnoticed(folder: Path) -> None:
    tokens = (folder / "vocab.txt").read_text(encoding="utf-8").split("\n")
    (folder / "vocab.txt").write_text("\n".join(tokens[:-2]), encoding="utf-8")
    (folder / "chitchat.json").unlink()


def _cut(folder: Path) -> None:
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])


def _without(*names: str) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        tensors = {k: v for k, v in load_file(folder / "model.safetensors").items() if k not in names}
        save_file(tensors, folder / "model.safetensors")

    return damage


def _narrow(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    weight = tensors["reply_side.0.weight"]
    save_file(tensors | {"reply_side.0.weight": np.ascontiguousarray(weight[:, 1:])}, folder / "model.safetensors")


def _configure(folder: Path, **changes: object) -> None:
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    (folder / "config.json").write_text(
        json.dumps({k: v for k, v in (config | changes).items() if v is not ...}), encoding="utf-8"
    )


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (_exchange_tokens, "词表与训练时的不同"),
        (_lose_a_token_unnoticed, "词表与权重的行数不符"),
        (_cut, "已损坏"),
        (_without("embeddings.scales"), "embeddings.scales"),
        (_without("context_skip.weight"), "context_skip.weight"),
        (_narrow, "已损坏"),
        (lambda folder: _configure(folder, buckets=7), "词表与权重的行数不符"),
        (lambda folder: _configure(folder, buckets=None), "已损坏"),
        (lambda folder: _configure(folder, fingerprint=...), "fingerprint"),
        (lambda folder: (folder / "config.json").write_text("[]"), "已损坏"),
        (lambda folder: (folder / "config.json").unlink(), "config.json"),
        (lambda folder: (folder / "model.safetensors").unlink(), "model.safetensors"),
        (shutil.rmtree, "vocab.txt"),
    ],
)
def test_a_damaged_folder_is_told(tiny_encoder: Path, tmp_path: Path, damage: Callable[[Path], object], told: str) -> None:
    copy = Path(shutil.copytree(tiny_encoder, tmp_path / "encoder"))
    damage(copy)
    with pytest.raises(CheckpointError, match=told) as caught:
        NumpyEncoder(copy)
    assert str(copy) in str(caught.value)


def test_another_model_is_no_encoder(tiny_encoder: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(tiny_encoder, tmp_path / "encoder"))
    Manifest("forward", "0" * 16).save(copy)
    with pytest.raises(CheckpointError, match="forward 模型，这里需要 encoder 模型"):
        NumpyEncoder(copy)
