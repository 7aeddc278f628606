"""Real small models for every test: two-layer GPT-2s trained here in about a second each, on one thread and no network."""

import atexit
import os
import shutil
import tempfile

# Before torch, tokenizers or ctranslate2 is imported anywhere.
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
os.environ["CHITCHAT_CACHE"] = tempfile.mkdtemp(prefix="chitchat-test-cache-")
atexit.register(shutil.rmtree, os.environ["CHITCHAT_CACHE"], ignore_errors=True)

from collections.abc import Callable, Sequence  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

import pytest  # noqa: E402

from chitchat.checkpoint import Direction, Manifest  # noqa: E402
from chitchat.tokenization.dialogue_format import DialogueFormat  # noqa: E402
from chitchat.tokenization.tokenizer import SPECIAL_TOKENS, DialogueTokenizer  # noqa: E402

TINY_DIALOGUES: tuple[tuple[str, ...], ...] = (
    ("你好", "你好呀，今天过得怎么样？", "还不错", "那就好，有什么开心的事吗？"),
    ("你叫什么名字", "我叫小叙，很高兴认识你。"),
    ("今天好累啊", "辛苦了，早点休息吧。", "睡不着", "听点轻音乐试试？"),
    ("你喜欢吃什么", "我喜欢吃火锅，你呢？", "我也喜欢", "那我们口味一样！"),
    ("外面下雨了", "记得带伞哦。"),
    ("我考试没考好", "别难过，下次一定行。", "谢谢你", "不客气，加油！"),
    ("周末去哪玩", "去爬山吧，空气好。"),
    ("给我讲个笑话", "我讲的笑话太冷，怕你感冒。"),
    ("你是机器人吗", "是的，不过我很会聊天。"),
    ("晚安", "晚安，做个好梦。"),
    ("我养了一只猫", "真好，它叫什么？", "叫团子", "团子，名字真可爱！"),
    ("在干嘛", "在等你找我聊天呢。"),
)
TINY_POSITIONS = 64


def tiny_tokenizer(dialogues: Sequence[Sequence[str]]) -> DialogueTokenizer:
    """A vocabulary of the dialogues' characters, the round-trip probe's and a few marks."""
    text = "".join("".join(d) for d in dialogues) + "你好我是不的了吗知道哈嗯，。！？…abc123"
    return DialogueTokenizer([*SPECIAL_TOKENS, *sorted(set(text))])


def train_tiny(
    folder: Path,
    direction: Direction,
    dialogues: Sequence[Sequence[str]] = TINY_DIALOGUES,
    *,
    steps: int = 70,
    learn_given: bool = False,
    seed: int = 0,
) -> Path:
    """Trains a model by heart and saves it as a folder; every prefix of a dialogue is a sample.

    `learn_given` also learns what stands before the target, as GPT2-chitchat's MMI model does.
    """
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.set_num_threads(1)
    torch.manual_seed(seed)
    tokenizer = tiny_tokenizer(dialogues)
    form = DialogueFormat(tokenizer, TINY_POSITIONS)
    build = form.forward if direction == "forward" else form.reverse
    samples = [build(d[:i], d[i]) for d in dialogues for i in range(1, len(d))]
    width = max(len(s.ids) for s in samples)
    ids = torch.tensor([s.ids + [tokenizer.pad_id] * (width - len(s.ids)) for s in samples])
    labels = ids.clone()
    for row, sample in enumerate(samples):
        labels[row, len(sample.ids) :] = -100
        labels[row, : 1 if learn_given else sample.start] = -100
    model = GPT2LMHeadModel(
        GPT2Config(
            vocab_size=tokenizer.vocab_size,
            n_positions=TINY_POSITIONS,
            n_embd=64,
            n_layer=2,
            n_head=2,
            resid_pdrop=0.0,
            embd_pdrop=0.0,
            attn_pdrop=0.0,
            bos_token_id=tokenizer.cls_id,
            eos_token_id=tokenizer.sep_id,
            pad_token_id=tokenizer.pad_id,
        )
    )
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.05, steps)
    for _ in range(steps):
        loss = model(ids, attention_mask=(ids != tokenizer.pad_id).long(), labels=labels).loss
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    folder.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(folder)
    tokenizer.save(folder)
    Manifest(direction, tokenizer.fingerprint, metrics={"loss": float(loss.detach())}).save(folder)
    return folder


@pytest.fixture(scope="session")
def train_tiny_model() -> Callable[..., Path]:
    """`train_tiny(folder, direction, dialogues, …)`, for tests that need a model of their own."""
    return train_tiny


@pytest.fixture(scope="session")
def tiny_dialogues() -> tuple[tuple[str, ...], ...]:
    """What `tiny_model` knows by heart."""
    return TINY_DIALOGUES


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder with forward/ and reverse/ that recites `tiny_dialogues`. Not to be changed: copy it first."""
    path = tmp_path_factory.mktemp("models") / "tiny"
    train_tiny(path / "forward", "forward")
    train_tiny(path / "reverse", "reverse")
    return path


@pytest.fixture(scope="session")
def tiny_chatbot(tiny_model: Path) -> Any:
    """A chatbot on `tiny_model` in float32, without a seed; the models alone answer."""
    from chitchat import load_chatbot

    return load_chatbot(model=tiny_model, compute_type="float32", max_new_tokens=24, persona="off", safety="off")


MATTERS = tuple(
    zip(
        "猫狗鱼鸟马牛羊鸡兔鼠花草树叶果山河海湖云雨雪风雷日月星灯火水",
        "喵汪泡羽蹄角毛蛋耳牙瓣绿根飘甜峰流浪波白湿冷吹响晒圆闪亮烫凉",
        "东西南北春夏秋冬红黄蓝紫金银铜铁木石土田米面油盐茶酒书画琴棋",
        strict=True,
    )
)
"""Each is named in two ways that share no character, and has one answer."""


def train_encoder(folder: Path, start: Path, corpus: Path, **options: Any) -> Path:
    """Trains a dual encoder on with the real loop; `resume` and `overwrite` are flags of the run."""
    from chitchat.config import ModelConfig, PrepareConfig, TrainConfig
    from chitchat.prepare import prepare
    from chitchat.training.loop import train

    flags = {name: options.pop(name) for name in ("resume", "overwrite") if name in options}
    settings: dict[str, Any] = {
        "steps": 100, "epochs": 1000.0, "tokens_per_step": 2048, "learning_rate": 1e-2, "warmup_steps": 0,
        "validate_every": 50, "threads": 1,
    }  # fmt: skip
    config = TrainConfig(**{**settings, "model": str(folder), "init_from": str(start), **options})
    prepare_config = PrepareConfig(near_duplicates=0.0, validation_fraction=0.15, test_fraction=0.0)
    tokenizer = DialogueTokenizer.load(start)
    store = prepare(corpus, prepare_config, tokenizer)
    return train("encoder", config, ModelConfig(), [(store, 1.0)], tokenizer, prepare_config=prepare_config, **flags)


@pytest.fixture(scope="session")
def train_tiny_encoder() -> Callable[..., Path]:
    """`train_encoder(folder, start, corpus, …)`, for tests that need a run of their own."""
    return train_encoder


@pytest.fixture(scope="session")
def matters() -> tuple[tuple[str, str, str], ...]:
    """What `tiny_encoder` knows: a name, another name, the answer; 甲 to 丁 say the first, 子 to 卯 the second."""
    return MATTERS


@pytest.fixture(scope="session")
def encoder_corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """240 dialogues of four messages; what 然后呢 asks for stands in the messages before it alone."""
    dialogues = [
        (f"{who}{name}", f"说说{answer}", "然后呢", f"{answer}没了")
        for first, other, answer in MATTERS
        for name, speakers in ((first, "甲乙丙丁"), (other, "子丑寅卯"))
        for who in speakers
    ]
    path = tmp_path_factory.mktemp("encoder-corpus") / "matters.txt"
    path.write_text("\n\n".join("\n".join(d) for d in dialogues), encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def untrained_encoder(encoder_corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a small dual encoder that knows nothing yet. Not to be changed: copy it first."""
    import torch

    from chitchat.training.dual_encoder import DualEncoder, EncoderShape, save_dual_encoder

    torch.manual_seed(0)
    tokenizer = tiny_tokenizer([[encoder_corpus.read_text(encoding="utf-8").replace("\n", "")]])
    model = DualEncoder(EncoderShape(tokenizer.vocab_size, buckets=1024, width=48, hidden=64, size=32))
    folder = tmp_path_factory.mktemp("untrained") / "encoder"
    save_dual_encoder(model, tokenizer, Manifest("encoder", tokenizer.fingerprint), folder)
    return folder


@pytest.fixture(scope="session")
def tiny_encoder(untrained_encoder: Path, encoder_corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a dual encoder that has learnt `matters`. Not to be changed: copy it first."""
    return train_encoder(tmp_path_factory.mktemp("trained"), untrained_encoder, encoder_corpus)
