"""What a user sees at the command line: help, one-line errors with exit code 2, and no traceback."""

from __future__ import annotations

import errno
import gzip
import io
import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from chitchat.checkpoint import Task
from chitchat.cli import _parser, main
from chitchat.commands.models import _next_steps, _vocabulary
from chitchat.commands.shared import DEFAULT_VOCAB, warn_of_learnt_dialogues
from chitchat.config import TrainConfig

ROOT = Path(__file__).parents[1]


def run(capsys: pytest.CaptureFixture[str], *argv: str) -> tuple[int, str, str]:
    try:
        code = main(list(argv))
    except SystemExit as stop:  # argparse
        code = int(stop.code or 0)
    captured = capsys.readouterr()
    return code, captured.out, captured.err


@pytest.mark.parametrize(
    "command",
    [
        "sessions",
        "forget",
        "feedback",
        "prepare",
        "doctor",
        "vocab",
        "train",
        "index",
        "acts",
        "average",
        "convert",
        "fit-ranking",
        "chat",
        "web",
        "serve",
        "score",
        "evaluate",
        "arena",
    ],
)
def test_help_is_chinese(capsys: pytest.CaptureFixture[str], command: str) -> None:
    code, out, _ = run(capsys, command, "--help")
    assert code == 0 and "用法" in out and "选项" in out and "usage" not in out


@pytest.mark.parametrize(
    ("command", "lines"),
    [
        ("prepare", ["--rules-off RULE [RULE ...]"]),
        ("train", ["--data FILE [FILE ...]", "forward/、reverse/ 或 encoder/"]),
        ("doctor", ["用法： chitchat doctor CORPUS … --model DIR [选项]"]),
        ("chat", ["检索库（retrieval/）与承接库（acts/）"]),
    ],
)
def test_help_says_what_an_option_takes_and_does(capsys: pytest.CaptureFixture[str], command: str, lines: list[str]) -> None:
    out = re.sub(r"\s+", "", run(capsys, command, "--help")[1])  # however wide the terminal
    assert [line for line in lines if line.replace(" ", "") not in out] == []


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["chta"], "chat"),
        (["train"], "direction"),
        (["train", "backward"], "forward"),
        (["train", "forward"], "--data"),
        (["train", "forward", "--data", "none.txt"], "--model"),
        (["train", "forward", "--data", "none.txt", "--model", "m"], "none.txt"),
        (["train", "forward", "--data", "none.txt@0", "--model", "m"], "权重"),
        (["train", "encoder", "--data", "none.txt", "--model", "m"], "none.txt"),
        (["train", "encoder", "--data", "none.txt", "--model", "m", "--init-from", "nowhere"], "nowhere"),
        (["train", "reward", "--data", "none.txt", "--model", "m"], "encoder"),
        (["train", "forward", "--data"], "至少要跟一个值"),
        (["train", "forward", "--steps", "ten"], "整数"),
        (["train", "forward", "--steps", "-1"], "steps"),
        (["train", "forward", "--width", "100", "--heads", "3"], "整除"),
        (["train", "forward", "--config", "none.yaml"], "none.yaml"),
        (["train", "forward", "--data", "x.txt", "--model", "m", "--init-from", "nowhere"], "nowhere"),
        (["train", "forward", "--data", "x.txt", "--model", "m", "--vocab", "nowhere"], "nowhere"),
        (["chat", "--model", "nowhere"], "nowhere"),
        (["chat", "--temperature", "0"], "temperature"),
        (["chat", "--temprature", "1"], "--temprature"),
        (["chat", "--backend", "onnx"], "ctranslate2"),
        (["chat", "--threads", "0"], "threads"),
        (["web", "--port", "99999"], "--port"),
        (["serve", "--port", "99999"], "--port"),
        (["serve", "--max-queue", "0"], "--max-queue"),
        (["prepare", "none.txt"], "none.txt"),
        (["prepare", "."], "."),
        (["vocab", "none.txt", "--output", "v.txt"], "none.txt"),
        (["score", "none.jsonl", "--output", "-"], "none.jsonl"),
        (["score", "x", "--output", "-", "--threads", "0"], "--threads"),
        (["score", "x"], "--output"),
        (["fit-ranking", "x.txt", "--model", "nowhere"], "nowhere"),
        (["acts", "nowhere.jsonl", "--model", "m"], "找不到模型 m"),
        (["convert", "nowhere", "--output", "o"], "nowhere"),
        (["convert", "x"], "--output"),
        (["convert", "x", "--output", "o", "--keep-layers", "a"], "0,1,3,5"),
        (["fit-ranking", "x.txt", "--model", "nowhere", "--contexts", "3"], "--contexts"),
        (["index", "none.txt"], "--model"),
        (["index", "none.txt", "--output", "index"], "none.txt"),
        (["index", "none.txt", "--model", "m"], "找不到模型 m"),
        (["index", "none.txt", "--output", "."], "不是检索库"),
        (["evaluate", "none.txt", "--model", "nowhere"], "nowhere"),
        (["evaluate", "none.txt", "--output", "/dev/null"], "/dev/null"),
        (["arena"], "同一个模型"),
        (["arena", "none.txt", "--preset-b", "wild"], "none.txt"),
        (["arena", "--a", "nowhere"], "nowhere"),
        (["arena", "--summary", "none.jsonl"], "none.jsonl"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_mistakes_are_one_message_and_exit_code_2(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, argv: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, err = run(capsys, *argv)
    assert code == 2 and out == ""
    assert "错误：" in err and message in err and "Traceback" not in err
    assert list(tmp_path.iterdir()) == []


def test_help_needs_no_heavy_library() -> None:
    code = """
import sys
from chitchat.cli import main
try:
    main(["chat", "--help"])
except SystemExit:
    print({"torch", "transformers", "gradio", "numpy", "rich", "yaml", "ctranslate2"} & sys.modules.keys())
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert result.stdout.endswith("set()\n")


def test_prepare_reports_what_it_kept_and_dropped(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl.gz"
    with gzip.open(path, "wt", encoding="utf-8") as stream:
        for turns in (["你好", "你好呀"], ["在吗"], ["吃了吗", "吃了", "嗯"]):
            stream.write(json.dumps({"turns": turns}, ensure_ascii=False) + "\n")
    code, out, _ = run(capsys, "prepare", str(path))
    assert code == 0 and "2 段对话，5 条消息" in out and "切开后剩下的消息太少 1" in out


def test_what_left_nothing_to_train_on_is_told_in_words(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "lone.txt").write_text("\n\n".join(f"只有一句{n}" for n in "一二三"), encoding="utf-8")
    code, _, err = run(capsys, "prepare", str(tmp_path / "lone.txt"))
    assert code == 2 and "切开后剩下的消息太少 3" in err and "too_few" not in err


def test_vocab_writes_a_loadable_vocabulary(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("羱羱羱你好\n羱羱在的\n", encoding="utf-8")
    code, out, _ = run(capsys, "vocab", str(tmp_path / "a.txt"), "--output", str(tmp_path / "v.txt"))
    assert code == 0 and "token" in out
    assert "羱" in (tmp_path / "v.txt").read_text(encoding="utf-8").split("\n")


def test_the_scripts_and_the_module_are_the_same_command() -> None:
    for script, usage in (("train.py", "chitchat train"), ("interact.py", "chitchat chat"), ("app.py", "chitchat web")):
        result = subprocess.run([sys.executable, script, "--help"], capture_output=True, text=True, cwd=ROOT, check=True)
        assert usage in result.stdout
    result = subprocess.run([sys.executable, "-m", "chitchat", "--help"], capture_output=True, text=True, cwd=ROOT, check=True)
    assert "fit-ranking" in result.stdout


def test_an_encoder_is_trained_then_indexes_and_talks(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    tiny_model: Path,
    untrained_encoder: Path,
    encoder_corpus: Path,
) -> None:
    model = Path(shutil.copytree(tiny_model, tmp_path / "model"))
    settings = "--steps 2 --tokens-per-step 512 --threads 1 --near-duplicates 0 --validation-fraction 0.15".split()
    argv = ["train", "encoder", "--data", str(encoder_corpus), "--model", str(model), "--init-from", str(untrained_encoder)]
    code, _, err = run(capsys, *argv, *settings)
    assert code == 0 and (model / "encoder" / "chitchat.json").is_file() and "encoder" in err
    assert re.findall(r"chitchat (\S+)", err.split("接下来")[1]) == ["index", "acts", "fit-ranking", "chat"]
    code, _, err = run(capsys, *argv, *settings)
    assert code == 2 and "已有模型" in err
    (tmp_path / "a.txt").write_text("我家阳台种了番茄\n红了几颗？给我留一颗的照片。\n", encoding="utf-8")
    code, out, _ = run(capsys, "index", str(tmp_path / "a.txt"), "--model", str(model))
    assert code == 0 and "1 个上下文" in out and (model / "retrieval" / "vectors.npy").is_file()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO("我家阳台种了番茄\n".encode()), encoding="utf-8"))
    code, out, err = run(capsys, "chat", "--model", str(model), "--ephemeral", "--json", "--seed", "1")
    assert code == 0 and "只按字面检索" not in err
    reply = json.loads(out)
    assert reply["text"] == "红了几颗？给我留一颗的照片。"
    assert reply["candidates"][0]["context_match"] == pytest.approx(1.0)
    assert all(c["reply_match"] is not None for c in reply["candidates"] if c["rejected"] is None)


def test_the_vocabulary_of_a_run_is_the_models_it_belongs_to(tmp_path: Path) -> None:
    for folder in ("pair/forward", "old/encoder", "old/forward"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "config.json").write_text("{}", encoding="utf-8")
    pair, old, new = (str(tmp_path / name) for name in ("pair", "old", "new"))
    assert _vocabulary("encoder", TrainConfig(model=pair)) == tmp_path / "pair" / "forward"
    assert _vocabulary("encoder", TrainConfig(model=new)) == _vocabulary("forward", TrainConfig(model=pair)) == DEFAULT_VOCAB
    assert _vocabulary("encoder", TrainConfig(model=pair, init_from=old)) == tmp_path / "old" / "encoder"
    assert _vocabulary("encoder", TrainConfig(model=pair, init_from=old, vocab="v.txt")) == Path("v.txt")


def test_what_is_missing_after_a_training_is_named_in_order(tmp_path: Path) -> None:
    def steps(trained: Task, *there: str) -> list[str]:
        model = tmp_path / "-".join(there)
        for part in there:
            (model / part).mkdir(parents=True, exist_ok=True)
        named = _next_steps(trained, TrainConfig(model=str(model), init_from="models/xiaoxu"))
        for step in named:
            _parser().parse_args(shlex.split(step)[1:])
        assert all("--init-from models/xiaoxu" in step for step in named if " train " in step)
        return [step.split(" --")[0].removeprefix("chitchat ").removeprefix("train ").split()[0] for step in named]

    parts = ["forward", "reverse", "encoder", "retrieval", "acts", "ranker.json"]
    assert steps("forward", "forward") == ["reverse", "encoder", "index", "acts", "fit-ranking", "chat"]
    assert steps("reverse", "forward", "reverse") == ["encoder", "index", "acts", "fit-ranking", "chat"]
    assert steps("reverse", *parts) == ["fit-ranking", "chat"], "its weights are for the old one"
    assert steps("encoder", *parts) == ["index", "fit-ranking", "chat"], "the index holds the old one's vectors"


def test_a_model_that_held_out_less_than_it_is_measured_on_is_told(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, tiny_model: Path
) -> None:
    warn_of_learnt_dialogues(str(tiny_model))
    assert capsys.readouterr().err == ""
    model = Path(shutil.copytree(tiny_model, tmp_path / "model"))
    path = model / "forward" / "chitchat.json"
    manifest = json.loads(path.read_text(encoding="utf-8"))
    manifest["config"]["prepare"] = {"validation_fraction": 0.005, "test_fraction": 0.0}
    path.write_text(json.dumps(manifest), encoding="utf-8")
    (tmp_path / "few.txt").write_text("你好\n你好呀\n", encoding="utf-8")
    for argv in (
        ["fit-ranking", "few.txt", "--model", "model"],
        ["evaluate", "few.txt", "--model", "model", "--output", "report"],
    ):
        code, _, err = run(capsys, *(str(tmp_path / word) if (tmp_path / word).exists() else word for word in argv))
        assert code == 2 and "它学过" in err


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "磁盘已满"),
        (OSError("11743 requested and 11248 written"), "磁盘已满"),
        (OSError(errno.EROFS, "Read-only file system"), "磁盘只读"),
    ],
    ids=str,
)
def test_a_full_or_read_only_disk_is_told_with_the_users_own_name(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, error: OSError, told: str
) -> None:
    (tmp_path / "a.txt").write_text("你好\n你好呀\n", encoding="utf-8")

    def refuse(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("numpy.save", refuse)
    code, _, err = run(capsys, "index", str(tmp_path / "a.txt"), "--output", str(tmp_path / "index"))
    assert code == 2 and told in err and f"{tmp_path / 'index'}；" in err
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]
