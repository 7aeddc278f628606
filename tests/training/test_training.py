"""A killed run equals the unbroken one, packing changes no loss, and what is trained is what was asked for."""

from __future__ import annotations

import dataclasses
import itertools
import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.numpy import load_file

from chitchat.checkpoint import Manifest, read_manifest
from chitchat.config import ModelConfig, PrepareConfig, TrainConfig
from chitchat.errors import CheckpointError, ConfigError, CorpusError
from chitchat.prepare import prepare
from chitchat.tokenization.batching import collate
from chitchat.tokenization.samples import Sample
from chitchat.tokenization.token_store import TokenStore
from chitchat.tokenization.tokenizer import DialogueTokenizer
from chitchat.training.loop import train
from chitchat.training.model import PackedLoss, batch_tensors, load_model, new_model, save_model, summed_cross_entropy
from chitchat.training.optimizer import Optimizer

SHAPE = ModelConfig(layers=2, width=32, heads=2, positions=64, dropout=0.1)
OPTIONS: dict[str, Any] = {
    "seed": 1,
    "epochs": 1000.0,
    "steps": 8,
    "tokens_per_step": 256,
    "rows_per_batch": 2,
    "warmup_steps": 2,
    "validate_every": 3,
    "threads": 1,
}
DIALOGUES = [("你好", f"你好呀{n}", "今天好累", "早点休息吧") for n in "一二三四五六七八九十"] + [
    ("你叫什么", "我叫小叙"), ("晚安", "好梦"), ("下雨了", "带伞"), ("饿了", "吃点什么？"),
]  # fmt: skip


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> DialogueTokenizer:
    characters = sorted(set("".join("".join(d) for d in DIALOGUES) + "你好我是不的了吗"))
    return DialogueTokenizer(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *characters])


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("corpus") / "train.txt"
    path.write_text("\n\n".join("\n".join(d) for d in DIALOGUES) + "\n", encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def store(corpus: Path, tokenizer: DialogueTokenizer) -> TokenStore:
    return prepare(corpus, PrepareConfig(), tokenizer)


def run(folder: Path, store: TokenStore, tokenizer: DialogueTokenizer, direction: str = "forward", **options: object) -> Path:
    flags = {name: options.pop(name) for name in ("resume", "overwrite") if name in options}
    shape: ModelConfig = options.pop("shape", SHAPE)  # type: ignore[assignment]
    config = TrainConfig(**{**OPTIONS, "model": str(folder), **options})  # type: ignore[arg-type]
    return train(direction, config, shape, [(store, 1.0)], tokenizer, prepare_config=PrepareConfig(), **flags)  # type: ignore[arg-type]


def final_state(folder: Path) -> dict[str, Any]:
    state: dict[str, Any] = torch.load(folder / "training" / "forward" / "state.pt", weights_only=True)
    return state


def metrics(folder: Path, key: str) -> dict[int, float]:
    lines = (folder / "training" / "forward" / "metrics.jsonl").read_text().splitlines()
    return {row["step"]: row[key] for row in map(json.loads, lines) if key in row}


def test_run_killed_and_resumed_equals_the_unbroken_one(
    tmp_path: Path, store: TokenStore, corpus: Path, tokenizer: DialogueTokenizer
) -> None:
    """Dropout makes the random state matter, several epochs the data position, muon both kinds of optimizer; the kill is real."""
    options: dict[str, Any] = {"optimizer": "muon", "steps": 36, "save_every_seconds": 0.0, "validate_every": 12}
    run(tmp_path / "whole", store, tokenizer, **options)

    tokenizer.save(tmp_path / "vocab")
    shape = [f"--{k}={v}" for k, v in dataclasses.asdict(SHAPE).items()]
    flags = [f"--{k.replace('_', '-')}={v}" for k, v in {**OPTIONS, **options}.items()]
    command = [sys.executable, "-m", "chitchat", "train", "forward", "--data", str(corpus), "--model", str(tmp_path / "broken")]
    process = subprocess.Popen([*command, "--vocab", str(tmp_path / "vocab"), *shape, *flags], stderr=subprocess.DEVNULL)
    path = tmp_path / "broken" / "training" / "forward" / "metrics.jsonl"
    deadline = time.monotonic() + 90
    while not (path.exists() and '"step": 20' in path.read_text()):
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.005)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    assert final_state(tmp_path / "broken")["run"]["step"] < 36

    run(tmp_path / "broken", store, tokenizer, resume=True, **options)
    whole, broken = final_state(tmp_path / "whole"), final_state(tmp_path / "broken")
    assert whole["run"]["position"]["epoch"] > 1
    for name, tensor in whole["weights"].items():
        assert torch.equal(tensor, broken["weights"][name]), name
    for key in ("step", "tokens", "position", "best_loss", "best_step"):
        assert whole["run"][key] == broken["run"][key], key
    assert torch.equal(whole["random"], broken["random"])
    for key in ("loss", "validation_loss", "learning_rate"):
        assert metrics(tmp_path / "whole", key) == metrics(tmp_path / "broken", key), key


def test_a_run_killed_before_its_first_save_goes_on_and_never_as_the_one_it_overwrote(
    tmp_path: Path, store: TokenStore, tokenizer: DialogueTokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(tmp_path, store, tokenizer)

    class KilledError(Exception): ...

    def kill(self: Optimizer, factor: float) -> None:
        raise KilledError

    with monkeypatch.context() as killing:
        killing.setattr(Optimizer, "step", kill)
        with pytest.raises(KilledError):
            run(tmp_path, store, tokenizer, overwrite=True, steps=12)
    run(tmp_path, store, tokenizer, resume=True, steps=12)
    assert sorted(metrics(tmp_path, "validation_loss")) == [3, 6, 9, 12]
    broken = final_state(tmp_path)["weights"]
    run(tmp_path, store, tokenizer, overwrite=True, steps=12)
    for name, tensor in final_state(tmp_path)["weights"].items():
        assert torch.equal(tensor, broken[name]), name


def test_resume_refuses_other_data_or_options(tmp_path: Path, store: TokenStore, tokenizer: DialogueTokenizer) -> None:
    with pytest.raises(CheckpointError, match="没有可继续的训练"):
        run(tmp_path, store, tokenizer, resume=True)
    run(tmp_path, store, tokenizer)
    with pytest.raises(CheckpointError, match="weight_decay"):
        run(tmp_path, store, tokenizer, resume=True, weight_decay=0.1)
    for other in ({"positions": 32}, {"dropout": 0.5}):
        with pytest.raises(CheckpointError, match=next(iter(other))):
            run(tmp_path, store, tokenizer, resume=True, shape=dataclasses.replace(SHAPE, **other))  # type: ignore[arg-type]
    (tmp_path / "training" / "forward" / "state.pt").write_bytes(b"half")
    with pytest.raises(CheckpointError, match="损坏"):
        run(tmp_path, store, tokenizer, resume=True)


def test_a_trained_model_is_not_overwritten_unasked(tmp_path: Path, store: TokenStore, tokenizer: DialogueTokenizer) -> None:
    folder = run(tmp_path, store, tokenizer)
    before = (folder / "model.safetensors").read_bytes()
    with pytest.raises(CheckpointError, match="--overwrite"):
        run(tmp_path, store, tokenizer, seed=2)
    assert (folder / "model.safetensors").read_bytes() == before
    run(tmp_path, store, tokenizer, seed=2, overwrite=True)
    assert (folder / "model.safetensors").read_bytes() != before


@pytest.mark.parametrize("direction", ["forward", "reverse"])
def test_training_learns_and_leaves_a_folder_transformers_can_load(
    tmp_path: Path, store: TokenStore, tokenizer: DialogueTokenizer, direction: str
) -> None:
    from transformers import AutoTokenizer, GPT2LMHeadModel

    folder = run(tmp_path, store, tokenizer, direction, steps=60, learning_rate=3e-3, validate_every=30)
    rows = [json.loads(line) for line in (tmp_path / "training" / direction / "metrics.jsonl").read_text().splitlines()]
    training = [row["loss"] for row in rows if "loss" in row]
    assert training[-1] < 0.7 * training[0]
    assert (tmp_path / "training" / direction / "loss.png").read_bytes().startswith(b"\x89PNG")
    assert "你好 →" in (tmp_path / "training" / direction / "samples.txt").read_text(encoding="utf-8")

    model = GPT2LMHeadModel.from_pretrained(folder)
    assert model.dtype == torch.float32, "stored in halves, computed in float32"
    assert len(AutoTokenizer.from_pretrained(folder)) == model.config.vocab_size == tokenizer.vocab_size
    manifest = read_manifest(folder, direction)  # type: ignore[arg-type]
    assert manifest and manifest.corpora[0]["name"] == "train.txt" and manifest.metrics["perplexity_per_char"] > 1


def test_every_parameter_moves(tmp_path: Path, store: TokenStore, tokenizer: DialogueTokenizer) -> None:
    torch.manual_seed(OPTIONS["seed"])
    before = {name: p.detach().clone() for name, p in new_model(SHAPE, tokenizer).named_parameters()}
    run(tmp_path, store, tokenizer, steps=4)
    after = final_state(tmp_path)["weights"]
    assert [name for name, p in before.items() if torch.equal(p, after[name])] == []


def test_fine_tuning_starts_from_the_given_model(tmp_path: Path, store: TokenStore, tokenizer: DialogueTokenizer) -> None:
    run(tmp_path / "base", store, tokenizer, steps=60, learning_rate=3e-3, validate_every=60)
    run(tmp_path / "tuned", store, tokenizer, init_from=str(tmp_path / "base"), steps=10, learning_rate=1e-4, validate_every=10)
    assert metrics(tmp_path / "tuned", "loss")[10] < metrics(tmp_path / "base", "loss")[20]


def test_a_cut_model_to_start_from_and_a_full_disk_are_told(
    tmp_path: Path, store: TokenStore, tokenizer: DialogueTokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = run(tmp_path / "base", store, tokenizer, steps=2) / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:5000])
    with pytest.raises(CheckpointError, match="读不了模型"):
        run(tmp_path / "tuned", store, tokenizer, init_from=str(tmp_path / "base"))

    def full(*_: object) -> None:
        raise RuntimeError("[enforce fail at inline_container.cc:672]")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(CheckpointError, match="写不下断点.*腾出空间"):
        run(tmp_path / "full", store, tokenizer)
    assert [path.name for path in (tmp_path / "full").rglob("state*")] == []


def test_training_stops_early_without_progress(tmp_path: Path, store: TokenStore, tokenizer: DialogueTokenizer) -> None:
    run(tmp_path, store, tokenizer, steps=200, learning_rate=0.0, validate_every=2, patience=2)
    state = final_state(tmp_path)["run"]
    assert state["step"] < 200 and state["validations_without_progress"] == 2
    manifest = read_manifest(tmp_path / "forward", "forward")
    assert manifest and manifest.metrics["step"] == state["best_step"], "the folder holds the best weights, not the last"


def test_a_run_ends_with_its_minutes_and_its_learning_rate_falls_with_them(
    tmp_path: Path, store: TokenStore, tokenizer: DialogueTokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = itertools.count()  # a second passes whenever the loop looks at it
    monkeypatch.setattr("chitchat.training.loop.time", SimpleNamespace(monotonic=lambda: next(clock)))
    run(tmp_path, store, tokenizer, steps=200, max_minutes=1.0, warmup_steps=0, validate_every=200)
    state = final_state(tmp_path)["run"]
    assert 20 <= state["step"] <= 60 <= state["seconds"] <= 70
    peak = TrainConfig().learning_rate
    assert metrics(tmp_path, "learning_rate")[20] < 0.7 * peak, "a third of the minutes are over, a tenth of the steps"


def test_gradients_are_clipped(
    tmp_path: Path, store: TokenStore, tokenizer: DialogueTokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    norms: list[float] = []
    step = Optimizer.step

    def noting(self: Optimizer, factor: float) -> None:
        gradients = [p.grad for part in self.parts for group in part.param_groups for p in group["params"] if p.grad is not None]
        norms.append(float(torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(g) for g in gradients]))))
        step(self, factor)

    monkeypatch.setattr(Optimizer, "step", noting)
    run(tmp_path, store, tokenizer, steps=3, gradient_clip=0.0)
    assert min(norms) > 0.1
    norms.clear()
    run(tmp_path, store, tokenizer, steps=3, gradient_clip=0.1, overwrite=True)
    assert len(norms) == 3 and max(norms) == pytest.approx(0.1, rel=1e-3)


def test_a_corpus_too_small_to_validate_is_an_error(tmp_path: Path, tokenizer: DialogueTokenizer) -> None:
    (tmp_path / "one.txt").write_text("你好\n你好呀一\n", encoding="utf-8")
    with pytest.raises(CorpusError, match="验证"):
        run(tmp_path / "m", prepare(tmp_path / "one.txt", PrepareConfig(), tokenizer), tokenizer)


def test_a_weight_that_draws_nothing_is_an_error(tmp_path: Path, store: TokenStore, tokenizer: DialogueTokenizer) -> None:
    config = TrainConfig(**{**OPTIONS, "model": str(tmp_path)})
    with pytest.raises(CorpusError, match="权重 0.0005 一段也抽不到"):
        train("forward", config, SHAPE, [(store, 0.0005)], tokenizer, prepare_config=PrepareConfig())


def test_a_diverged_loss_is_an_error_whose_advice_can_be_followed(
    tmp_path: Path, store: TokenStore, tokenizer: DialogueTokenizer
) -> None:
    options: dict[str, Any] = {"steps": 20, "warmup_steps": 0, "gradient_clip": 0.0, "validate_every": 20}
    with pytest.raises(ConfigError, match="调低 --learning-rate 后用 --resume"):
        run(tmp_path, store, tokenizer, learning_rate=1e30, **options)
    run(tmp_path, store, tokenizer, learning_rate=1e-3, resume=True, **options)
    assert max(metrics(tmp_path, "learning_rate").values()) <= 1e-3


def test_packed_loss_equals_one_dialogue_at_a_time(tokenizer: DialogueTokenizer) -> None:
    torch.manual_seed(0)
    loss = PackedLoss(new_model(SHAPE, tokenizer)).eval()
    samples = [
        Sample(torch.randint(5, tokenizer.vocab_size, (size,)).numpy(), start) for size, start in ((9, 1), (20, 5), (7, 3))
    ]
    with torch.no_grad():
        packed = float(loss(*batch_tensors(collate([samples], 64, tokenizer.pad_id), "cpu")))
        apart = 0.0
        for sample in samples:
            ids = torch.from_numpy(sample.ids)[None]
            log_probs = torch.log_softmax(loss.model(ids).logits[0], -1)
            apart -= float(
                log_probs[torch.arange(sample.target_start - 1, len(sample.ids) - 1), ids[0, sample.target_start :]].sum()
            )
    assert packed == pytest.approx(apart, abs=1e-3)


def test_the_trained_activation_equals_the_models_own_with_its_gradient(tokenizer: DialogueTokenizer) -> None:
    theirs = new_model(SHAPE, tokenizer).transformer.h[0].mlp.act
    ours = PackedLoss(new_model(SHAPE, tokenizer)).model.transformer.h[0].mlp.act
    assert type(ours) is not type(theirs)
    x = torch.linspace(-60, 60, 4801, requires_grad=True)
    torch.testing.assert_close(ours(x), theirs(x), rtol=1e-5, atol=1e-5)
    mine, reference = (torch.autograd.grad(act(x).sum(), x)[0] for act in (ours, theirs))
    torch.testing.assert_close(mine, reference, rtol=1e-5, atol=1e-5)


def test_the_shared_vocabulary_matrix_is_stored_once(tmp_path: Path, tokenizer: DialogueTokenizer) -> None:
    model = new_model(ModelConfig(layers=1, width=32, heads=2, positions=32), tokenizer)
    save_model(model, tokenizer, Manifest("forward", tokenizer.fingerprint), tmp_path / "forward")
    assert "lm_head.weight" not in load_file(tmp_path / "forward" / "model.safetensors")
    stored = load_model(tmp_path / "forward", tokenizer)
    torch.testing.assert_close(stored.get_output_embeddings().weight, model.get_input_embeddings().weight.half().float())


def test_chunked_cross_entropy_equals_torch_with_its_gradients() -> None:
    """Neither the chunks nor the rows of a softmax divide the tokens."""
    torch.manual_seed(0)
    hidden = torch.randn(500, 16, requires_grad=True)
    weight = torch.randn(30, 16, requires_grad=True)
    labels = torch.randint(0, 30, (500,))
    ours = torch.autograd.grad(summed_cross_entropy(hidden, weight, labels, chunk_tokens=200) * 0.5, (hidden, weight))
    theirs = torch.autograd.grad(
        torch.nn.functional.cross_entropy(hidden @ weight.T, labels, reduction="sum") * 0.5, (hidden, weight)
    )
    for mine, reference in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, reference, rtol=1e-4, atol=1e-4)


def test_cross_entropy_of_a_token_held_impossible_is_finite_with_its_gradient() -> None:
    hidden = torch.tensor([[400.0]], requires_grad=True)
    weight = torch.tensor([[0.0], [1.0]])
    loss = summed_cross_entropy(hidden, weight, torch.tensor([0]))
    loss.backward()  # type: ignore[no-untyped-call]
    assert 80 < float(loss.detach()) < 400
    assert float(hidden.grad) == 1.0  # type: ignore[arg-type]


def test_the_length_of_a_run_follows_the_corpus(tmp_path: Path, store: TokenStore, tokenizer: DialogueTokenizer) -> None:
    run(tmp_path, store, tokenizer, steps=0, epochs=3.0, validate_every=0)
    state = final_state(tmp_path)["run"]
    assert 2 <= state["position"]["epoch"] <= 3
    run(tmp_path, store, tokenizer, steps=2, epochs=3.0, validate_every=0, overwrite=True)
    assert final_state(tmp_path)["run"]["step"] == 2
