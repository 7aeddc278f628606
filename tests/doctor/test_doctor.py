"""What the doctor finds before a run is started, each with a run that has it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest

from chitchat.checkpoint import Manifest
from chitchat.cli import main
from chitchat.tokenization.tokenizer import SPECIAL_TOKENS, DialogueTokenizer

HAN = "一二三四五六七八九十天地人你我他山水花草春夏秋冬东南西北红黄蓝绿大小多少上下左右好坏来去听说读写"
TINY = ["--layers", "1", "--width", "16", "--heads", "2", "--positions", "64", "--tokens-per-step", "128", "--threads", "1"]

Doctor = Callable[..., tuple[int, list[dict[str, str]]]]


def dialogues(number: int) -> list[list[str]]:
    """Dialogues of four messages that share three neighbouring characters only by chance."""
    random = Random(0)
    return [["".join(random.choices(HAN, k=9)) for _ in range(4)] for _ in range(number)]


def write(path: Path, content: list[list[str]]) -> Path:
    path.write_text("\n\n".join("\n".join(dialogue) for dialogue in content) + "\n", encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def vocab(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("vocab") / "vocab.txt"
    path.write_text("\n".join([*SPECIAL_TOKENS, *dict.fromkeys("你好我是不的了吗，。" + HAN)]) + "\n", encoding="utf-8")
    return path


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    return write(tmp_path / "good.txt", dialogues(400))


@pytest.fixture
def doctor(tmp_path: Path, vocab: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Doctor:
    """Runs the command without timed steps and gives its exit code and findings."""
    monkeypatch.setenv("CHITCHAT_CACHE", str(tmp_path / "cache"))

    def run(*argv: object, timing: bool = False) -> tuple[int, list[dict[str, str]]]:
        given = [str(arg) for arg in argv]
        defaults = ["--validation-fraction", "0.1", *([] if "--model" in given else ["--model", str(tmp_path / "model")])]
        defaults += [] if {"--vocab", "--init-from"} & set(given) else ["--vocab", str(vocab)]
        code = main(["doctor", *given, *defaults, "--json", *([] if timing else ["--no-timing"])])
        findings: list[dict[str, str]] = json.loads(capsys.readouterr().out)
        assert all(finding["remedy"] for finding in findings if finding["level"] != "ok"), "every fault comes with its remedy"
        return code, findings

    return run


def found(findings: list[dict[str, str]], check: str, level: str) -> str:
    """The message of the finding of a kind."""
    messages = [f["message"] for f in findings if f["check"] == check and f["level"] == level]
    assert len(messages) == 1, findings
    return messages[0]


def test_sound_run_is_told_to_be_so_and_nothing_is_written(doctor: Doctor, corpus: Path, tmp_path: Path) -> None:
    code, findings = doctor(corpus, *TINY)
    assert code == 0 and {f["level"] for f in findings} == {"ok"}, findings
    assert [f["check"] for f in findings] == ["词表", "设置", "磁盘", "字符", "长度", "划分", "泄漏"]
    assert not (tmp_path / "model").exists()


def test_text_output_has_a_verdict_and_a_remedy(
    corpus: Path, vocab: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHITCHAT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("COLUMNS", "60")
    argv = ["doctor", str(corpus), "none.txt", "--vocab", str(vocab), "--no-timing", "--learning-rate", "0"]
    assert main(argv) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == "2 项致命，1 项警告：照 → 后面的办法处理，再训练"
    assert "致命  设置  learning_rate 是 0，什么也学不到" in lines and "            → 去掉它，用默认的 6e-4" in lines
    assert max(sum(2 if ord(c) > 0x2E7F else 1 for c in line) for line in lines[:-1]) <= 60


def test_vocabulary_of_another_corpus_is_fatal(doctor: Doctor, tmp_path: Path) -> None:
    code, findings = doctor(write(tmp_path / "rare.txt", [["齉龘靐我", "麤鱻馫我"], ["犇猋骉你", "蟲贔掱你"]]), *TINY)
    message = found(findings, "字符", "fatal")
    assert code == 1 and "60.00% 是 [UNK]" in message and "麤" in message


def test_vocabulary_whose_ids_do_not_match_is_fatal(doctor: Doctor, corpus: Path, vocab: Path, tmp_path: Path) -> None:
    twice = tmp_path / "twice.txt"
    twice.write_text(vocab.read_text(encoding="utf-8") + "天\n", encoding="utf-8")
    code, findings = doctor(corpus, *TINY, "--vocab", twice)
    assert code == 1 and "1 个重复" in found(findings, "词表", "fatal")
    code, findings = doctor(corpus, *TINY, "--vocab", tmp_path / "none")
    assert code == 1 and [f["level"] for f in findings] == ["fatal"]


def test_long_messages_are_counted_and_replies_that_do_not_fit(doctor: Doctor, tmp_path: Path) -> None:
    content = [[HAN[:20], HAN[20:40] + HAN[:5], "天"], ["你好", HAN * 2, "地"], ["我是", "好的", "不是", "人"]]
    code, findings = doctor(write(tmp_path / "long.txt", content), *TINY, "--positions", "32")
    message = found(findings, "长度", "warning")
    assert code == 0 and "66.7% 的对话长于 32 token" in message
    # of seven replies one fits nowhere; the one after it, and 25 characters after 20, do not stand beside what they answer
    assert "14.29% 的回复自己就放不下" in message and "28.57% 的回复学时看不到上一句" in message


def test_an_unreadable_corpus_does_not_hide_the_other_findings(doctor: Doctor, corpus: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.jsonl"
    bad.write_text('["你好", "好"]\n["你好", 3]\n', encoding="utf-8")
    code, findings = doctor(bad, corpus, *TINY)
    assert code == 1 and "bad.jsonl:2" in found(findings, "语料", "fatal")
    assert found(findings, "字符", "ok").startswith("good.txt")


def test_a_second_version_of_a_corpus_is_a_leak(doctor: Doctor, corpus: Path, tmp_path: Path) -> None:
    # one character in forty is another: its hash, and so its split, too
    again = write(tmp_path / "again.txt", [[*d[:-1], d[-1][:-1] + "的"] for d in dialogues(400)])
    code, findings = doctor(corpus, again, *TINY)
    message = found(findings, "泄漏", "fatal")
    share = float(message.split("段，")[1].split("%")[0])
    assert code == 1 and 80 < share <= 100


def test_a_corpus_of_two_dialogues_is_warned_of(doctor: Doctor, tmp_path: Path) -> None:
    code, findings = doctor(write(tmp_path / "two.txt", dialogues(2)), *TINY)
    assert code == 0 and "验证 1" in found(findings, "划分", "warning")
    code, findings = doctor(write(tmp_path / "one.txt", dialogues(1)), *TINY)
    assert code == 1 and "没法训练" in found(findings, "划分", "fatal")


def test_a_model_too_large_for_the_disk_is_fatal(doctor: Doctor, corpus: Path) -> None:
    code, findings = doctor(corpus, *TINY, "--width", "65536", "--layers", "1000")
    assert code == 1 and "GB" in found(findings, "磁盘", "fatal")


def test_a_model_folder_that_cannot_be_made_is_fatal(doctor: Doctor, corpus: Path) -> None:
    code, findings = doctor(corpus, *TINY, "--model", corpus / "inside")
    assert code == 1 and "不能新建文件夹" in found(findings, "磁盘", "fatal")


@pytest.mark.parametrize(
    ("argv", "level", "message"),
    [
        (["--learning-rate", "0"], "fatal", "什么也学不到"),
        (["--learning-rate", "0.5"], "warning", "发散"),
        (["--max-sample-tokens", "200"], "warning", "只按后者来"),
        (["--tokens-per-step", "32"], "warning", "每步实际是 64 token"),
    ],
)
def test_settings_that_make_no_sense_together(doctor: Doctor, corpus: Path, argv: list[str], level: str, message: str) -> None:
    code, findings = doctor(corpus, *TINY, *argv)
    assert code == (level == "fatal") and message in found(findings, "设置", level)


# Starting from a model -------------------------------------------------------------------------------------------------------


@pytest.fixture
def start(tmp_path: Path, vocab: Path) -> Path:
    """A forward model as far as the doctor looks: configuration, vocabulary, manifest and the weights' head."""
    import numpy as np
    from safetensors.numpy import save_file

    folder = tmp_path / "start" / "forward"
    tokenizer = DialogueTokenizer.load(vocab)
    tokenizer.save(folder)
    config = {
        "model_type": "gpt2",
        "n_positions": 64,
        "vocab_size": tokenizer.vocab_size,
        "bos_token_id": tokenizer.cls_id,
        "eos_token_id": tokenizer.sep_id,
    }
    (folder / "config.json").write_text(json.dumps(config))
    save_file({"wte.weight": np.zeros((1000, 2000), dtype=np.float16)}, folder / "model.safetensors")
    Manifest("forward", tokenizer.fingerprint).save(folder)
    return folder.parent


def change(start: Path, **values: Any) -> None:
    path = start / "forward" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def test_a_model_that_fits_is_taken_with_its_own_vocabulary_and_positions(doctor: Doctor, corpus: Path, start: Path) -> None:
    code, findings = doctor(corpus, "--init-from", start, "--tokens-per-step", "64")
    assert code == 0 and "2.0M 参数，最长 64 token" in found(findings, "起点", "ok")
    assert "没有对话长于 64 token" in found(findings, "长度", "ok")


def test_a_model_that_does_not_fit_is_fatal(doctor: Doctor, corpus: Path, start: Path, vocab: Path, tmp_path: Path) -> None:
    code, findings = doctor(corpus, "--init-from", start, "--direction", "reverse")
    assert code == 1 and "config.json" in found(findings, "起点", "fatal"), "there is no reverse model"
    code, findings = doctor(corpus, "--init-from", start / "forward", "--direction", "reverse")
    assert code == 1 and "forward 模型" in found(findings, "起点", "fatal")

    other = tmp_path / "other.txt"
    tokens = vocab.read_text(encoding="utf-8").split("\n")[:-1]
    other.write_text("\n".join([*tokens[:5], *reversed(tokens[5:])]) + "\n", encoding="utf-8")
    code, findings = doctor(corpus, "--init-from", start, "--vocab", other)
    assert code == 1 and "另一个词表" in found(findings, "起点", "fatal")

    change(start, vocab_size=10)
    code, findings = doctor(corpus, "--init-from", start)
    assert code == 1 and "只认 10 个 token" in found(findings, "起点", "fatal")
    (start / "forward" / "model.safetensors").write_bytes(b"half")
    code, findings = doctor(corpus, "--init-from", start)
    assert code == 1 and "读不了权重" in found(findings, "起点", "fatal")


def test_special_tokens_outside_the_vocabulary_are_warned_of(doctor: Doctor, corpus: Path, start: Path) -> None:
    """GPT2-chitchat's config has bos and eos 50256 with a vocabulary of 13317."""
    change(start, bos_token_id=50256, eos_token_id=50256)
    code, findings = doctor(corpus, "--init-from", start)
    assert code == 0 and "eos_token_id 是 50256" in found(findings, "起点", "warning")


def test_an_existing_model_is_warned_of(doctor: Doctor, corpus: Path, start: Path) -> None:
    code, findings = doctor(corpus, *TINY, "--model", start)
    assert code == 0 and "--overwrite" in next(f["remedy"] for f in findings if f["level"] == "warning")


# Usage and timing ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("argv", [[], ["a.txt@0"], ["a.txt", "--direction", "up"], ["a.txt", "--width", "7"]])
def test_wrong_usage_is_an_error_of_its_own(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    try:
        code = main(["doctor", *argv])
    except SystemExit as stop:  # argparse
        code = int(stop.code or 0)
    assert code == 2 and "错误" in capsys.readouterr().err


def test_corpora_and_settings_come_from_the_training_configuration(doctor: Doctor, corpus: Path, tmp_path: Path) -> None:
    config = tmp_path / "train.yaml"
    config.write_text(f"model: {{positions: 32, width: 16, heads: 2}}\ntrain: {{data: ['{corpus}@0.5']}}\n", encoding="utf-8")
    _, findings = doctor("--config", config)
    assert "100.0% 的对话长于 32 token" in found(findings, "长度", "warning")


def test_timed_steps_of_a_run_that_diverges(doctor: Doctor, corpus: Path) -> None:
    """Real steps in a real process: this one's loss is no number any more."""
    code, findings = doctor(corpus, *TINY, "--learning-rate", "1e30", "--precision", "fp32", timing=True)
    assert code == 1 and "不是有限数" in found(findings, "试训", "fatal")
