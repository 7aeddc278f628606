"""A reward model learns what readers liked, and what it learnt is what both backends then tell."""

from __future__ import annotations

import itertools
import math
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from chitchat.backends.ctranslate2_local import CTranslate2Model
from chitchat.backends.transformers_local import TransformersModel
from chitchat.checkpoint import read_manifest
from chitchat.config import ModelConfig, PrepareConfig, TrainConfig
from chitchat.errors import BackendError, CheckpointError, ConfigError
from chitchat.prepare import prepare
from chitchat.tokenization.dialogue_format import DialogueFormat
from chitchat.tokenization.reply_groups import collate_groups, judged_group
from chitchat.tokenization.token_store import TokenStore
from chitchat.tokenization.tokenizer import DialogueTokenizer
from chitchat.training.loop import train
from chitchat.training.model import batch_tensors
from chitchat.training.objective import GradedReplies, RewardObjective
from chitchat.training.reward import GroupLoss, load_reward_model, summed_listwise_loss, wrong_pairs

BEFORE = ("你好", "在干嘛", "晚安", "今天好累啊", "睡不着", "还不错", "叫团子", "我也喜欢")
CONTEXTS = [[a, b, c] for a, b, c in itertools.product(BEFORE, BEFORE, ("我养了一只猫", "外面下雨了", "晚安"))]
UNSEEN = CONTEXTS[::8]
REPLIES = ("听点轻音乐试试？", "真好，它叫什么？", "记得带伞哦。", "晚安，做个好梦。")
GOOD = {"我养了一只猫": 1, "外面下雨了": 2, "晚安": 3}


def judged(context: list[str]) -> tuple[list[str], list[str], list[int]]:
    return context, list(REPLIES), [2 if GOOD[context[-1]] == i else 0 for i in range(len(REPLIES))]


GRADED = GradedReplies([judged(c) for c in CONTEXTS if c not in UNSEEN], [judged(c) for c in UNSEEN])


@pytest.fixture(scope="module")
def tokenizer(tiny_model: Path) -> DialogueTokenizer:
    return DialogueTokenizer.load(tiny_model / "forward")


@pytest.fixture(scope="module")
def store(tokenizer: DialogueTokenizer, tiny_dialogues: Any, tmp_path_factory: pytest.TempPathFactory) -> TokenStore:
    path = tmp_path_factory.mktemp("corpus") / "a.txt"
    path.write_text("\n\n".join("\n".join(d) for d in tiny_dialogues), encoding="utf-8")
    return prepare(path, PrepareConfig(), tokenizer)


def run(folder: Path, start: Path, store: TokenStore, tokenizer: DialogueTokenizer, **options: Any) -> Path:
    flags = {name: options.pop(name) for name in ("resume",) if name in options}
    settings: dict[str, Any] = {
        "steps": 60, "epochs": 1000.0, "tokens_per_step": 512, "rows_per_batch": 4, "learning_rate": 3e-3, "warmup_steps": 2,
        "validate_every": 20, "threads": 1,
    }  # fmt: skip
    config = TrainConfig(**{**settings, "model": str(folder), "init_from": str(start), **options})
    return train(
        "reward", config, ModelConfig(), [(store, 1.0)], tokenizer, graded=GRADED, prepare_config=PrepareConfig(), **flags
    )


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path, store: TokenStore, tokenizer: DialogueTokenizer) -> Path:
    return run(tmp_path_factory.mktemp("reward"), tiny_model, store, tokenizer)


def test_loss_by_hand() -> None:
    rewards = torch.tensor([[1.0, 0.0, -1.0], [0.5, 2.0, 9.0]])
    one_good = math.log(1 + math.exp(-1) + math.exp(-2))
    pair = math.log(1 + math.exp(-1.5))
    assert float(summed_listwise_loss(rewards[:1], torch.tensor([[1, 0, 0]]))) == pytest.approx(one_good)
    assert float(summed_listwise_loss(rewards[1:], torch.tensor([[0, 1, -1]]))) == pytest.approx(pair), "-1 is no reply"
    ladder = (math.log(1 + math.exp(-1) + math.exp(-2)) + math.log(1 + math.exp(-1))) / 2
    assert float(summed_listwise_loss(rewards[:1], torch.tensor([[2, 1, 0]]))) == pytest.approx(ladder)
    assert float(summed_listwise_loss(rewards, torch.tensor([[1, 1, 1], [0, 0, -1]]))) == 0.0


def test_pairs_in_the_wrong_order_by_hand() -> None:
    rewards = torch.tensor([[3.0, 2.0, 1.0, 9.0], [1.0, 1.0, 5.0, 0.0], [1.0, 2.0, 3.0, 4.0]])
    grades = torch.tensor([[0, 1, 2, -1], [2, 1, 0, 0], [1, 1, 1, 1]])
    assert wrong_pairs(rewards, grades).tolist() == pytest.approx([1.0, 3 / 5, 0.0])


def test_a_packed_reply_gets_what_it_gets_alone(tiny_model: Path, tokenizer: DialogueTokenizer) -> None:
    torch.manual_seed(0)
    model = load_reward_model(tiny_model / "forward", tokenizer).eval()  # type: ignore[no-untyped-call]
    form = DialogueFormat(tokenizer, 64)
    groups = [judged_group(form, *judged(c)) for c in CONTEXTS[:3]]
    groups = [type(g)(g.context, g.replies[:2], g.grades[:2]) for g in groups]
    batch = collate_groups([groups[:2], groups[2:]], 64 + 32, tokenizer.pad_id)
    with torch.no_grad():
        packed = GroupLoss(model).rewards(*batch_tensors(batch, "cpu")[:5])
        for row, group in zip(packed, groups, strict=True):
            for reward, reply in zip(row, group.replies, strict=True):
                ids = torch.tensor([[*group.context, *reply]])
                assert float(model(ids).logits) == pytest.approx(float(reward), abs=1e-4)  # type: ignore[operator]


def test_learns_what_readers_liked(trained: Path) -> None:
    manifest = read_manifest(trained, "reward")
    assert manifest is not None and manifest.metrics["grade_of_first"] >= 1.5, "of contexts it has not seen; by chance it is 0.5"
    model = TransformersModel(trained, direction="reward", device="cpu")
    right = 0
    for context in UNSEEN:
        rewards = model.rewards([(["很早以前", "不算的", *context], reply) for reply in REPLIES])
        right += rewards.index(max(rewards)) == GOOD[context[-1]]
    assert right >= 0.75 * len(UNSEEN)


def test_backends_agree(trained: Path) -> None:
    pairs = [(context, reply) for context in CONTEXTS[::16] for reply in (*REPLIES, "好")]
    plain = TransformersModel(trained, direction="reward", device="cpu").rewards(pairs)
    assert CTranslate2Model(trained, direction="reward", compute_type="float32").rewards(pairs) == pytest.approx(plain, abs=1e-3)
    spread = max(plain) - min(plain)
    assert CTranslate2Model(trained, direction="reward").rewards(pairs) == pytest.approx(plain, abs=0.1 * spread)
    alone = [CTranslate2Model(trained, direction="reward", compute_type="float32").rewards([pair])[0] for pair in pairs[:3]]
    assert alone == pytest.approx(plain[:3], abs=1e-3), "company in a batch changes nothing"


def test_it_neither_writes_nor_scores_and_others_do_not_judge(trained: Path, tiny_model: Path) -> None:
    for load in (CTranslate2Model, TransformersModel):
        with pytest.raises(BackendError, match="只能评回复的好坏"):
            load(trained, direction="reward").score([(["你好"], "你好")])
        with pytest.raises(BackendError, match="forward 模型"):
            load(tiny_model / "forward", direction="forward").rewards([(["你好"], "你好")])
        with pytest.raises(CheckpointError, match="reward 模型，这里需要 forward"):
            load(trained, direction="forward")


def test_a_stopped_run_goes_on_to_the_same_weights(
    tmp_path: Path, tiny_model: Path, store: TokenStore, tokenizer: DialogueTokenizer
) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    run(whole, tiny_model, store, tokenizer, steps=6, final_learning_rate=1.0)
    run(broken, tiny_model, store, tokenizer, steps=3, final_learning_rate=1.0)
    run(broken, tiny_model, store, tokenizer, steps=6, final_learning_rate=1.0, resume=True)
    one, other = (torch.load(p / "training" / "reward" / "state.pt", weights_only=True)["weights"] for p in (whole, broken))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_it_starts_from_the_forward_model_unless_told_to_go_on(
    tmp_path: Path, trained: Path, tiny_model: Path, store: TokenStore, tokenizer: DialogueTokenizer
) -> None:
    model = Path(shutil.copytree(tiny_model, tmp_path / "model"))
    shutil.copytree(trained, model / "reward")

    def embedding(**options: str) -> torch.Tensor:
        config = TrainConfig(model=str(model), **options)
        return RewardObjective(config, [(store, 1.0)], GRADED, tokenizer).model.base_model.wte.weight  # type: ignore[no-any-return]

    anew, going_on = embedding(), embedding(init_from=str(model))
    assert torch.equal(anew, load_reward_model(model / "forward", tokenizer).base_model.wte.weight)
    assert torch.equal(going_on, load_reward_model(model / "reward", tokenizer).base_model.wte.weight)
    assert not torch.equal(anew, going_on)


def test_too_few_grades(tmp_path: Path, tiny_model: Path, store: TokenStore, tokenizer: DialogueTokenizer) -> None:
    config = TrainConfig(model=str(tmp_path), init_from=str(tiny_model))
    nothing = GradedReplies([(["你好"], ["好", "不好"], [1, 1])], [])
    with pytest.raises(ConfigError, match="评过分的候选太少"):
        train("reward", config, ModelConfig(), [(store, 1.0)], tokenizer, graded=nothing, prepare_config=PrepareConfig())
