"""A converted model is smaller and says the same: same text, same log-probabilities but for the softmax's missing tokens."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from chitchat.backends.ctranslate2_local import CTranslate2Model
from chitchat.backends.transformers_local import TransformersModel
from chitchat.checkpoint import Direction, read_manifest
from chitchat.config import DecodingConfig
from chitchat.convert import convert_model
from chitchat.corpus.splitting import Split, content_hash, split_of
from chitchat.errors import CheckpointError, ConfigError, CorpusError
from chitchat.tokenization.tokenizer import DialogueTokenizer

UNUSED = ["[unused1]", "##的", "龘", "##龘", "饕", "餮", "hello", "《"]
"""Put into the vocabulary in front of [CLS], so that trimming moves every id; only the mark is kept."""
PROBE = "你好我是不的了吗"
GREEDY = DecodingConfig(strategy="greedy", max_new_tokens=24)
CONTEXT, REPLY = ["你好", "你好呀，今天过得怎么样？", "还不错"], "那就好，有什么开心的事吗？"


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory, tiny_dialogues: tuple[tuple[str, ...], ...]) -> Path:
    """Every message twice, in two long dialogues: a small corpus gives one of its dialogues to validation."""
    messages = [PROBE, *(m for d in tiny_dialogues for m in d)]
    path = tmp_path_factory.mktemp("corpus") / "corpus.txt"
    path.write_text("\n".join(messages) + "\n\n" + "\n".join(reversed(messages)) + "\n", encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Path:
    """`tiny_model` with eight tokens more that it never uses."""
    path = tmp_path_factory.mktemp("models") / "large"
    shutil.copytree(tiny_model, path)
    for direction in ("forward", "reverse"):
        _enlarge(path / direction, direction)  # type: ignore[arg-type]
    (path / "ranker.json").write_text('{"format": 1, "weights": {"forward": 1.0}}')
    (path / "README.md").write_text("figures of the large model")
    (path / "retrieval").mkdir()
    (path / "retrieval" / "index.json").write_text("{}")
    (path / "acts").mkdir()
    (path / "acts" / "acts.json").write_text("{}")
    (path / "encoder").mkdir()
    (path / "encoder" / "config.json").write_text("{}")
    return path


def _enlarge(folder: Path, direction: Direction) -> None:
    tensors = load_file(folder / "model.safetensors")
    table = tensors["transformer.wte.weight"]
    extra = torch.randn(len(UNUSED), table.shape[1], generator=torch.manual_seed(0)) * table.std()
    tensors["transformer.wte.weight"] = torch.cat([table[:2], extra, table[2:]])
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    tokens = DialogueTokenizer.load(folder).tokens
    tokenizer = DialogueTokenizer([*tokens[:2], *UNUSED, *tokens[2:]])
    tokenizer.save(folder)
    _change_config(folder, vocab_size=tokenizer.vocab_size)
    manifest = read_manifest(folder, direction)
    assert manifest is not None
    type(manifest)(direction, tokenizer.fingerprint, metrics={"loss": 1.0}).save(folder)


def _change_config(folder: Path, **changes: Any) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **changes}))


def _logits(folder: Path, ids: list[int]) -> torch.Tensor:
    from transformers import GPT2LMHeadModel

    with torch.no_grad():
        return GPT2LMHeadModel.from_pretrained(folder).eval()(torch.tensor([ids])).logits[0]  # type: ignore[no-any-return]


@pytest.mark.parametrize("direction", ["forward", "reverse"])
def test_only_the_tokens_that_went_are_missing_from_the_softmax(
    tmp_path: Path, large: Path, corpus: Path, direction: Direction
) -> None:
    convert_model(large, tmp_path / "small", trim_vocab=[corpus], dtype="float32")
    before = CTranslate2Model(large / direction, direction=direction, compute_type="float32")
    after = CTranslate2Model(tmp_path / "small" / direction, direction=direction, compute_type="float32")

    sequence = before.folder.scored(CONTEXT, REPLY)
    survivors = [before.folder.tokenizer.tokens.index(token) for token in after.folder.tokenizer.tokens]
    logits = _logits(large / direction, sequence.ids)
    targets = [survivors.index(i) for i in sequence.ids[sequence.start :]]
    restricted = torch.log_softmax(logits[:, survivors], dim=-1)[sequence.start - 1 : -1]
    expected = float(restricted[range(len(targets)), targets].sum())

    (old,), (new,) = before.score([(CONTEXT, REPLY)]), after.score([(CONTEXT, REPLY)])
    assert new.value == pytest.approx(expected, abs=2e-3)
    assert new.num_tokens == old.num_tokens and new.value > old.value + 1e-4


def test_ids_map_back_and_what_is_not_in_the_corpus_goes(tmp_path: Path, large: Path, corpus: Path) -> None:
    (report, _) = convert_model(large, tmp_path / "small", trim_vocab=[corpus])
    before, after = DialogueTokenizer.load(large / "forward"), DialogueTokenizer.load(tmp_path / "small" / "forward")
    gone = [t for t in before.tokens if t not in after.tokens]
    assert set(UNUSED) - set(gone) == {"《"}  # a mark that is not in the corpus
    assert {"a", "1", "…", "[MASK]"} <= set(after.tokens)
    assert after.tokens == [t for t in before.tokens if t not in gone]
    assert report.tokens == (before.vocab_size, after.vocab_size) == (before.vocab_size, before.vocab_size - len(gone))
    for text in (PROBE, REPLY, "abc，123"):
        assert [after.tokens[i] for i in after.encode(text)] == [before.tokens[i] for i in before.encode(text)]
    assert after.unk_id in after.encode("饕餮") and before.unk_id not in before.encode("饕餮")
    for name in ("cls", "sep", "pad"):
        key = {"cls": "bos_token_id", "sep": "eos_token_id", "pad": "pad_token_id"}[name]
        for file in ("config.json", "generation_config.json"):
            data = json.loads((tmp_path / "small" / "forward" / file).read_text())
            assert data[key] == getattr(after, f"{name}_id")


def test_a_trimmed_pair_still_talks(tmp_path: Path, large: Path, corpus: Path) -> None:
    convert_model(large, tmp_path / "small", trim_vocab=[corpus])
    for backend in (CTranslate2Model, TransformersModel):
        (candidate,) = backend(tmp_path / "small" / "forward", direction="forward").generate(["你叫什么名字"], GREEDY)
        assert candidate.text == "我叫小叙，很高兴认识你。" and candidate.rejected is None


def test_what_a_pair_talks_with_comes_along_and_the_card_does_not(tmp_path: Path, large: Path, corpus: Path) -> None:
    convert_model(large, tmp_path / "small", trim_vocab=[corpus], max_layers=1)
    found = {p.relative_to(tmp_path / "small").as_posix() for p in (tmp_path / "small").iterdir()}
    assert found == {"forward", "reverse", "ranker.json", "retrieval", "acts", "encoder"}
    assert (tmp_path / "small" / "retrieval" / "index.json").is_file()
    manifest = read_manifest(tmp_path / "small" / "reverse", "reverse")
    assert manifest is not None and manifest.metrics == {}
    tokens = DialogueTokenizer.load(tmp_path / "small" / "reverse").vocab_size
    assert manifest.config["convert"] == {"source": "large", "layers": [0], "tokens": tokens, "dtype": "float16"}


def test_rare_tokens_and_tokens_of_held_out_dialogues_go(tmp_path: Path, large: Path) -> None:
    dialogues = [(PROBE, f"{n}") for n in range(300)] + [("饕", PROBE), ("hello", PROBE), ("hello", PROBE + "。")]
    held_out = next(d for n in range(10_000) if split_of(content_hash(d := ("龘", f"{n}")), 0.01, 0.01) == Split.TEST)
    path = tmp_path / "corpus.txt"
    path.write_text("\n\n".join("\n".join(d) for d in [*dialogues, held_out]), encoding="utf-8")
    for min_count, kept in ((1, {"hello", "饕", "《"}), (2, {"hello", "《"}), (3, {"《"})):
        convert_model(large, tmp_path / "small", trim_vocab=[path], min_count=min_count, overwrite=True)
        assert set(DialogueTokenizer.load(tmp_path / "small" / "forward").tokens) & set(UNUSED) == kept


def test_the_chosen_layers_are_kept_in_order(tmp_path: Path, tiny_model: Path) -> None:
    """A deeper model, its layers told apart by their first bias: 0, 1, 2, 3."""
    deep = tmp_path / "deep"
    shutil.copytree(tiny_model / "forward", deep)
    tensors = load_file(deep / "model.safetensors")
    for layer in range(4):
        for name in [n for n in tensors if n.startswith("transformer.h.0.")]:
            tensors[name.replace("h.0.", f"h.{layer}.")] = tensors[name].clone()
        tensors[f"transformer.h.{layer}.ln_1.bias"][0] = layer
    save_file(tensors, deep / "model.safetensors", metadata={"format": "pt"})
    _change_config(deep, n_layer=4)

    def kept(**options: Any) -> list[float]:
        (report,) = convert_model(deep, tmp_path / "small", overwrite=True, **options)
        tensors = load_file(tmp_path / "small" / "model.safetensors")
        assert report.layers == (4, json.loads((tmp_path / "small" / "config.json").read_text())["n_layer"])
        assert len(_logits(tmp_path / "small", [2, 3])) == 2  # transformers finds it complete
        return [float(tensors[f"transformer.h.{n}.ln_1.bias"][0]) for n in range(report.layers[1])]

    assert kept(keep_layers=[3, 0, 1]) == [0, 1, 3]
    assert kept(max_layers=2) == [0, 3]
    assert kept(max_layers=3) == [0, 1, 3]
    assert kept(max_layers=1) == [0]
    assert kept(max_layers=9) == kept() == [0, 1, 2, 3]


@pytest.mark.parametrize("is_tied", [True, False])
def test_an_old_checkpoint_becomes_a_folder_that_every_backend_reads(
    tmp_path: Path, large: Path, corpus: Path, is_tied: bool
) -> None:
    """As GPT2-chitchat saved it: pickled, masks among the weights, the head stored twice, bos and eos beyond the vocabulary."""
    old = tmp_path / "old"
    shutil.copytree(large / "forward", old)
    tensors = load_file(old / "model.safetensors")
    tensors["lm_head.weight"] = tensors["transformer.wte.weight"] * (1 if is_tied else 1.5)
    for layer in range(2):
        tensors[f"transformer.h.{layer}.attn.bias"] = torch.ones(1, 1, 64, 64)
        tensors[f"transformer.h.{layer}.attn.masked_bias"] = torch.tensor(-1e4)
    torch.save(tensors, old / "pytorch_model.bin")
    for name in ("model.safetensors", "chitchat.json", "tokenizer.json"):
        (old / name).unlink()
    config = json.loads((old / "config.json").read_text())
    del config["model_type"], config["dtype"]
    (old / "config.json").write_text(
        json.dumps({**config, "bos_token_id": 50256, "eos_token_id": 50256, "torch_dtype": "float32"})
    )

    convert_model(old, tmp_path / "new", trim_vocab=[corpus])
    stored = load_file(tmp_path / "new" / "model.safetensors")
    assert ("lm_head.weight" in stored) is not is_tied
    if not is_tied:
        torch.testing.assert_close(stored["lm_head.weight"], 1.5 * stored["transformer.wte.weight"], rtol=2e-3, atol=1e-4)
    assert not [name for name in stored if name.endswith((".attn.bias", ".masked_bias"))]
    assert not (tmp_path / "new" / "chitchat.json").exists()
    config = json.loads((tmp_path / "new" / "config.json").read_text())
    assert (config["model_type"], config["tie_word_embeddings"]) == ("gpt2", is_tied)
    texts, scores = [], []
    for backend in (CTranslate2Model, TransformersModel):
        model = backend(tmp_path / "new", direction="forward")
        texts.append(model.generate(["晚安"], GREEDY)[0].text)
        scores.append(model.score([(CONTEXT, REPLY)])[0].value)
    assert texts == ["晚安，做个好梦。"] * 2
    assert scores[0] == pytest.approx(scores[1], abs=0.3)


def test_weights_are_halved_and_bfloat16_is_read(tmp_path: Path, large: Path) -> None:
    (single,) = convert_model(large / "reverse", tmp_path / "single", dtype="float32")
    (half,) = convert_model(large / "reverse", tmp_path / "half")
    assert half.weight_bytes[1] < 0.55 * single.weight_bytes[1]
    narrow = tmp_path / "narrow"
    shutil.copytree(large / "forward", narrow)
    tensors = {name: tensor.bfloat16() for name, tensor in load_file(narrow / "model.safetensors").items()}
    save_file(tensors, narrow / "model.safetensors", metadata={"format": "pt"})
    convert_model(narrow, tmp_path / "wide", dtype="float32")
    wide = load_file(tmp_path / "wide" / "model.safetensors")
    assert all(torch.equal(wide[name], tensor.float()) for name, tensor in tensors.items())


def test_torch_is_not_needed(tmp_path: Path, large: Path, corpus: Path) -> None:
    code = (
        "import sys; sys.modules['torch'] = sys.modules['transformers'] = None\n"
        "from pathlib import Path; from chitchat.convert import convert_model\n"
        f"convert_model(Path({str(large)!r}), Path('small'), trim_vocab=[Path({str(corpus)!r})], max_layers=1)"
    )
    root = str(Path(__file__).parents[1])
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env={"PYTHONPATH": root, "CHITCHAT_CACHE": "cache"}, check=True)
    assert (tmp_path / "small" / "reverse" / "model.safetensors").is_file()


def _text(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        (lambda t: {"trim_vocab": [t / "none.txt"]}, CorpusError, "none.txt"),
        (lambda t: {"trim_vocab": [_text(t / "lone.txt", "只有一句\n")]}, CorpusError, "没有一段可用的对话"),
        (lambda t: {"trim_vocab": [_text(t / "tiny.txt", "在吗\n在\n")]}, CorpusError, "tiny.txt.*更大的语料"),
        (lambda t: {"keep_layers": [0, 2]}, CheckpointError, "2 层（0 到 1），不能保留 0,2"),
        (lambda t: {"keep_layers": [-1]}, CheckpointError, "不能保留 -1"),
        (lambda t: {"keep_layers": []}, CheckpointError, "零层"),
        (lambda t: {"keep_layers": [0], "max_layers": 1}, ConfigError, "只能给一个"),
        (lambda t: {"max_layers": 0}, ConfigError, "--layers"),
        (lambda t: {"min_count": 0}, ConfigError, "--min-count"),
    ],
)
def test_mistakes_are_named_and_leave_no_output(
    tmp_path: Path, large: Path, options: Callable[[Path], dict[str, Any]], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        convert_model(large, tmp_path / "out" / "small", **options(tmp_path))
    assert not list(tmp_path.glob("out/*"))


def test_only_a_model_is_overwritten_and_only_when_asked(tmp_path: Path, large: Path) -> None:
    source, output = tmp_path / "models" / "large", tmp_path / "small"
    shutil.copytree(large, source)
    convert_model(source, output)
    with pytest.raises(ConfigError, match="--overwrite"):
        convert_model(source, output)
    with pytest.raises(CorpusError):
        convert_model(source, output, trim_vocab=[tmp_path / "none.txt"], overwrite=True)
    assert (output / "reverse" / "model.safetensors").is_file()
    convert_model(source, output, max_layers=1, overwrite=True)
    assert json.loads((output / "forward" / "config.json").read_text())["n_layer"] == 1
    (tmp_path / "letters").mkdir()
    for place, message in (("letters", "不是模型文件夹"), ("models/large", "原来的模型"), ("models", "上级文件夹")):
        with pytest.raises(ConfigError, match=message):
            convert_model(source, tmp_path / place, overwrite=True)
    assert (source / "forward" / "model.safetensors").is_file()


def test_a_source_that_is_no_whole_gpt2_is_refused(tmp_path: Path, large: Path) -> None:
    def broken(change: Callable[[Path], object]) -> Path:
        folder = tmp_path / f"broken{len(list(tmp_path.iterdir()))}"
        shutil.copytree(large / "forward", folder)
        change(folder)
        return folder

    def without(folder: Path) -> None:
        tensors = load_file(folder / "model.safetensors")
        del tensors["transformer.h.1.mlp.c_fc.bias"]
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})

    for change, message in (
        (lambda f: (f / "config.json").unlink(), "config.json"),
        (lambda f: (f / "model.safetensors").unlink(), "没有权重文件"),
        (lambda f: (f / "model.safetensors").write_bytes(b"half"), "已损坏"),
        (lambda f: _change_config(f, model_type="llama"), "llama"),
        (lambda f: _change_config(f, vocab_size=1000), "1000 个 token，权重有"),
        (lambda f: shutil.copy(large / "reverse" / "chitchat.json", f), "是 reverse 模型"),
        (without, "h.1.mlp.c_fc.bias"),
    ):
        with pytest.raises(CheckpointError, match=message):
            convert_model(broken(change), tmp_path / "small")
