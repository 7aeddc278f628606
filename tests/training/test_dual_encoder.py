"""A dual encoder finds the reply that was given; its loss by hand; what is saved, resumed and gone on with."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from chitchat.backends.dual_encoder import NumpyEncoder
from chitchat.checkpoint import read_manifest
from chitchat.config import PrepareConfig, TrainConfig
from chitchat.errors import CheckpointError, CorpusError
from chitchat.prepare import prepare
from chitchat.tokenization.bags import bags
from chitchat.tokenization.reply_pairs import PairBatch
from chitchat.tokenization.tokenizer import SPECIAL_TOKENS, DialogueTokenizer
from chitchat.training.dual_encoder import DualEncoder, EncoderShape, PairLoss, load_dual_encoder, save_dual_encoder
from chitchat.training.model import batch_tensors
from chitchat.training.objective import EncoderObjective

Matters = tuple[tuple[str, str, str], ...]


@pytest.fixture(scope="module")
def tokenizer(untrained_encoder: Path) -> DialogueTokenizer:
    return DialogueTokenizer.load(untrained_encoder)


def batch_of(*pairs: Sequence[list[int]], replies: list[int], vocab_size: int = 50, buckets: int = 16) -> PairBatch:
    """Pairs given as last message, the one before, the first and the reply."""

    def column(messages: Sequence[list[int]]) -> Any:
        lengths = np.array([len(m) for m in messages])
        ids = np.array([id_ for m in messages for id_ in m], np.int64)
        return bags(ids, np.cumsum(lengths) - lengths, lengths, vocab_size=vocab_size, buckets=buckets)

    return PairBatch(tuple(map(column, zip(*pairs, strict=True))), np.array(replies))


PAIRS = (([5, 6], [7], [], [8, 9]), ([10], [], [], [11]), ([12, 13, 14], [15], [16], [8, 9]), ([17], [18], [], [19, 20]))


def small_loss(seed: int = 0) -> PairLoss:
    torch.manual_seed(seed)
    return PairLoss(DualEncoder(EncoderShape(50, buckets=16, width=8, hidden=8, size=6)))


def by_hand(scores: np.ndarray, replies: list[int]) -> float:
    """The mean over both directions of -log softmax of the own one among those that are not the same reply."""
    total = 0.0
    for own in range(len(scores)):
        others = [i for i in range(len(scores)) if i == own or replies[i] != replies[own]]
        for row in (scores[own], scores[:, own]):
            total += math.log(sum(math.exp(row[i]) for i in others)) - row[own]
    return total / 2


@torch.no_grad()
def test_loss_by_hand() -> None:
    loss = small_loss().eval()
    arrays = batch_tensors(batch_of(*PAIRS, replies=[0, 1, 2, 3]), "cpu")
    messages = list(zip(arrays[:-1:2], arrays[1:-1:2], strict=True))
    cosines = (loss.model.contexts(messages[:-1]) @ loss.model.replies(*messages[-1]).T).double().numpy()
    assert np.abs(cosines).max() <= 1 + 1e-6
    scores = loss.scores(*arrays).double().numpy()
    scale = float(scores[0, 0] / cosines[0, 0])
    assert scale > 1 and scores == pytest.approx(cosines * scale, abs=1e-4)
    assert float(loss(*arrays)) == pytest.approx(by_hand(cosines * scale, [0, 1, 2, 3]), rel=1e-5)


@torch.no_grad()
def test_an_equal_reply_is_not_wrong() -> None:
    loss = small_loss().eval()
    scores = loss.scores(*batch_tensors(batch_of(*PAIRS, replies=[0, 1, 2, 3]), "cpu")).double().numpy()
    same = batch_tensors(batch_of(*PAIRS, replies=[0, 1, 0, 3]), "cpu")
    assert float(loss(*same)) == pytest.approx(by_hand(scores, [0, 1, 0, 3]), rel=1e-5)
    assert by_hand(scores, [0, 1, 0, 3]) < by_hand(scores, [0, 1, 2, 3])
    assert float(loss(*batch_tensors(batch_of(*PAIRS, replies=[4, 4, 4, 4]), "cpu"))) == pytest.approx(0.0, abs=1e-6)


@torch.no_grad()
def test_company_and_ids_left_out_in_training_stay_in_their_bags() -> None:
    model = DualEncoder(EncoderShape(50, buckets=14, width=64, hidden=8, size=6))
    model.embeddings.weight.copy_(torch.eye(64))  # a sum of embeddings then tells which ids it is of
    torch.manual_seed(0)
    found = batch_of(*PAIRS * 50, replies=[0] * 200, buckets=14).messages[0]
    ids, offsets = torch.from_numpy(found.ids), torch.from_numpy(found.offsets)
    whole, some = (model.train(training)._summed(ids, offsets) for training in (False, True))
    sizes = torch.from_numpy(found.sizes)
    assert whole.sum(dim=1).numpy() == pytest.approx(sizes.sqrt().numpy()), "a sum over √ids"
    assert not ((some > 0) & (whole == 0)).any()
    assert float((some > 0).sum() / (whole > 0).sum()) == pytest.approx(0.75, abs=0.06)


def test_finds_the_true_replies(
    tiny_encoder: Path, untrained_encoder: Path, encoder_corpus: Path, matters: Matters, tokenizer: DialogueTokenizer
) -> None:
    manifest = read_manifest(tiny_encoder, "encoder")
    assert manifest is not None and manifest.metrics["validation_loss"] < 0.2, "among twenty replies; by chance it is 0.95"
    config = PrepareConfig(near_duplicates=0.0, validation_fraction=0.15, test_fraction=0.0)
    store = prepare(encoder_corpus, config, tokenizer)
    before = EncoderObjective(TrainConfig(init_from=str(untrained_encoder)), [(store, 1.0)], tokenizer)
    assert before.validate(rows_per_batch=64, device=torch.device("cpu"))["validation_loss"] > 0.6

    held_out = [[tokenizer.decode(store.message(m)) for m in store.dialogue(d)] for d in store.of_split(1).tolist()]
    pairs = [(dialogue[:at], dialogue[at]) for dialogue in held_out for at in (1, 2, 3)]
    assert len(pairs) > 60
    encoder = NumpyEncoder(tiny_encoder)
    replies = sorted({reply for _, reply in pairs} | {f"{answer}没了" for *_, answer in matters})
    scores = encoder.contexts([context for context, _ in pairs]) @ encoder.replies(replies).T
    right = [replies[best] == reply for best, (_, reply) in zip(scores.argmax(axis=1), pairs, strict=True)]
    assert np.mean(right) > 0.8, f"of all {len(replies)}, in dialogues it has not seen"
    assert np.mean(right[2::3]) > 0.7, "also where only the messages before the last one tell"


def test_names_for_the_same_are_near(tiny_encoder: Path, matters: Matters) -> None:
    encoder = NumpyEncoder(tiny_encoder)
    one, other = (encoder.contexts([[who + matter[place]] for matter in matters]) for place, who in enumerate("甲子"))
    assert np.mean((one @ other.T).argmax(axis=1) == np.arange(len(matters))) > 0.8


def test_what_is_saved_is_the_model_to_a_step_of_its_bytes(
    tiny_encoder: Path, tokenizer: DialogueTokenizer, tmp_path: Path
) -> None:
    torch.manual_seed(3)
    model = DualEncoder(EncoderShape(tokenizer.vocab_size, buckets=64, width=8, hidden=8, size=4))
    with torch.no_grad():
        model.embeddings.weight[7] = 0.0  # of a token that training never met
        model.embeddings.weight[8] *= 50
    manifest = read_manifest(tiny_encoder, "encoder")
    assert manifest is not None
    save_dual_encoder(model, tokenizer, manifest, tmp_path / "encoder")
    loaded = load_dual_encoder(tmp_path / "encoder", tokenizer)
    assert loaded.shape == model.shape
    for (name, one), other in zip(model.state_dict().items(), loaded.state_dict().values(), strict=True):
        steps = one.abs().amax(dim=1, keepdim=True) / 127 if name == "embeddings.weight" else one.abs() / 512
        assert ((one - other).abs() <= 0.6 * steps + 1e-6).all(), name
    again = tmp_path / "again"
    save_dual_encoder(loaded, tokenizer, manifest, again)
    assert all(
        torch.equal(a, b)
        for a, b in zip(loaded.state_dict().values(), load_dual_encoder(again, tokenizer).state_dict().values(), strict=True)
    ), "going on from a saved one loses nothing more"


def test_a_stopped_run_goes_on_to_the_same_weights(
    tmp_path: Path, untrained_encoder: Path, encoder_corpus: Path, train_tiny_encoder: Callable[..., Path]
) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    options: dict[str, Any] = {"tokens_per_step": 512, "final_learning_rate": 1.0}
    train_tiny_encoder(whole, untrained_encoder, encoder_corpus, steps=6, **options)
    train_tiny_encoder(broken, untrained_encoder, encoder_corpus, steps=3, **options)
    train_tiny_encoder(broken, untrained_encoder, encoder_corpus, steps=6, resume=True, **options)
    one, other = (torch.load(p / "training" / "encoder" / "state.pt", weights_only=True) for p in (whole, broken))
    assert one["run"]["position"] == other["run"]["position"]
    assert all(torch.equal(one["weights"][name], other["weights"][name]) for name in one["weights"])


def test_too_small_a_corpus_is_told(tmp_path: Path, untrained_encoder: Path, train_tiny_encoder: Callable[..., Path]) -> None:
    corpus = tmp_path / "little.txt"
    corpus.write_text("\n\n".join(f"甲{a}\n说说{b}" for a, b in zip("猫狗鱼鸟", "东西南北", strict=True)), encoding="utf-8")
    with pytest.raises(CorpusError, match="--validation-fraction") as caught:
        train_tiny_encoder(tmp_path / "model", untrained_encoder, corpus)
    assert "little.txt" in str(caught.value)
    assert not (tmp_path / "model" / "encoder").exists()


def test_it_goes_on_with_what_is_there_or_begins_anew(
    tmp_path: Path, tiny_encoder: Path, encoder_corpus: Path, tokenizer: DialogueTokenizer
) -> None:
    store = prepare(encoder_corpus, PrepareConfig(near_duplicates=0.0, validation_fraction=0.15), tokenizer)

    def first_model(**options: str) -> DualEncoder:
        return EncoderObjective(TrainConfig(model=str(tmp_path), **options), [(store, 1.0)], tokenizer).model

    saved = load_dual_encoder(tiny_encoder, tokenizer).state_dict()
    for start in (tiny_encoder, tiny_encoder.parent):
        gone_on = first_model(init_from=str(start)).state_dict()
        assert all(torch.equal(saved[name], gone_on[name]) for name in saved)
    anew = first_model()
    assert anew.shape == EncoderShape(tokenizer.vocab_size)


def test_what_does_not_fit_is_told(tmp_path: Path, tiny_encoder: Path, tokenizer: DialogueTokenizer) -> None:
    other = DialogueTokenizer([*SPECIAL_TOKENS, *"你好我是不的了吗"])
    with pytest.raises(CheckpointError, match="不配套"):
        load_dual_encoder(tiny_encoder, other)
    with pytest.raises(CheckpointError, match="读不了双编码器") as caught:
        load_dual_encoder(tmp_path / "nothing", tokenizer)
    assert str(tmp_path / "nothing") in str(caught.value)
    damaged = Path(shutil.copytree(tiny_encoder, tmp_path / "damaged"))
    (damaged / "model.safetensors").write_bytes((tiny_encoder / "model.safetensors").read_bytes()[:-100])
    with pytest.raises(CheckpointError, match="读不了双编码器"):
        load_dual_encoder(damaged, tokenizer)
    shutil.copy(tiny_encoder / "model.safetensors", damaged / "model.safetensors")
    config = json.loads((tiny_encoder / "config.json").read_text(encoding="utf-8"))
    for other_config in (config | {"hidden": 7}, {"n_embd": 64, "vocab_size": 100}, []):
        (damaged / "config.json").write_text(json.dumps(other_config), encoding="utf-8")
        with pytest.raises(CheckpointError, match="读不了双编码器"):
            load_dual_encoder(damaged, tokenizer)
