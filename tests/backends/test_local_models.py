"""Both local backends, held to a plain transformers computation and to each other."""

from __future__ import annotations

import os
import pickle
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from chitchat.backends.base import UNFINISHED
from chitchat.backends.ctranslate2_local import CTranslate2Model
from chitchat.backends.transformers_local import TransformersModel
from chitchat.config import DecodingConfig
from chitchat.errors import BackendError, CheckpointError

PAIRS: list[tuple[list[str], str]] = [
    (["你好"], "你好呀，今天过得怎么样？"),
    (["今天好累啊", "辛苦了，早点休息吧。", "睡不着"], "听点轻音乐试试？"),
    (["今天好累啊", "辛苦了，早点休息吧。", "睡不着"], "我不知道"),
    (["在干嘛"], "哈" * 30),
    (["你喜欢吃什么"], "龘"),
    (["晚安"] * 40, "晚安，做个好梦。"),
]
SHIPPED = Path(__file__).parents[2] / "models" / "xiaoxu"


def ct2_float(folder: Path, direction: Any) -> CTranslate2Model:
    return CTranslate2Model(folder, direction=direction, compute_type="float32")


def ct2_int8(folder: Path, direction: Any) -> CTranslate2Model:
    return CTranslate2Model(folder, direction=direction, compute_type="int8")


def hf_cpu(folder: Path, direction: Any) -> TransformersModel:
    return TransformersModel(folder, direction=direction, device="cpu")


BACKENDS = [ct2_float, ct2_int8, hf_cpu]


def by_hand(folder: Path, direction: str, context: list[str], reply: str, max_tokens: int) -> tuple[float, int]:
    """The log-probability as the README defines it, with nothing of chitchat in it."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()  # type: ignore[no-untyped-call]

    def ids(text: str) -> list[int]:
        return [*tokenizer(text, add_special_tokens=False)["input_ids"], tokenizer.sep_token_id]

    target = ids(reply) if direction == "forward" else [i for m in reversed(context) for i in ids(m)]
    given = [i for m in context for i in ids(m)] if direction == "forward" else ids(reply)
    sequence = [tokenizer.cls_token_id, *given, *target]
    assert len(sequence) <= max_tokens
    with torch.no_grad():
        log_probs = model(torch.tensor([sequence])).logits[0].log_softmax(-1)
    places = range(len(sequence) - len(target), len(sequence))
    return sum(float(log_probs[i - 1, sequence[i]]) for i in places), len(target)


@pytest.mark.parametrize("direction", ["forward", "reverse"])
@pytest.mark.parametrize(("load", "tolerance"), [(ct2_float, 1e-3), (hf_cpu, 1e-3), (ct2_int8, None)])
def test_score_equals_plain_transformers(tiny_model: Path, direction: str, load: Any, tolerance: float | None) -> None:
    model = load(tiny_model / direction, direction)
    pairs = PAIRS[:5]
    for (context, reply), got in zip(pairs, model.score(pairs), strict=True):
        value, num_tokens = by_hand(tiny_model / direction, direction, context, reply, 64)
        assert got.num_tokens == num_tokens
        assert not got.truncated
        assert abs(got.value - value) <= (tolerance if tolerance is not None else 0.05 * abs(value) + 0.1 * num_tokens)


@pytest.mark.parametrize("direction", ["forward", "reverse"])
@pytest.mark.parametrize("load", BACKENDS)
def test_score_does_not_depend_on_the_batch(tiny_model: Path, direction: str, load: Any) -> None:
    # In int8 the last bit of a float decides now and then which way an activation is rounded.
    tolerance = 0.05 if load is ct2_int8 else 1e-3
    model = load(tiny_model / direction, direction)
    together = model.score(PAIRS)
    assert [s.truncated for s in together] == [False] * 5 + [True]
    for pair, score in zip(PAIRS, together, strict=True):
        (alone,) = model.score([pair])
        assert alone.value == pytest.approx(score.value, abs=tolerance)
        assert alone.num_tokens == score.num_tokens
    assert model.score([]) == []


@pytest.mark.parametrize("direction", ["forward", "reverse"])
def test_sequences_that_begin_others_keep_their_own_scores(tiny_model: Path, direction: str) -> None:
    # A dialogue's prefixes, what was said once more without its context, and the same pair twice: computed together.
    model = ct2_float(tiny_model / direction, direction)
    said = ["今天好累啊", "辛苦了，早点休息吧。", "睡不着", "听点轻音乐试试？"]
    pairs = [(said[:i], said[i]) for i in (3, 1, 2, 0, 1)] + [(said[i:3], said[3]) for i in (2, 0, 1)] + [([], said[1])]
    for pair, score in zip(pairs, model.score(pairs), strict=True):
        (alone,) = model.score([pair])
        assert (score.num_tokens, score.truncated) == (alone.num_tokens, alone.truncated)
        assert (score.value, score.first) == pytest.approx((alone.value, alone.first), abs=1e-3)


def test_another_process_loads_the_same_model(tiny_model: Path) -> None:
    model = ct2_float(tiny_model / "forward", "forward")
    assert pickle.loads(pickle.dumps(model)).score(PAIRS) == model.score(PAIRS)


@pytest.mark.parametrize("load", BACKENDS)
def test_score_of_nothing_said(tiny_model: Path, load: Any) -> None:
    forward, reverse = load(tiny_model / "forward", "forward"), load(tiny_model / "reverse", "reverse")
    pairs: list[tuple[list[str], str]] = [([], "你好"), (["你好"], ""), ([], "")]
    assert [s.num_tokens for s in forward.score(pairs)] == [3, 1, 1]
    assert [s.num_tokens for s in reverse.score(pairs)] == [0, 3, 0]
    assert [s.value for s in reverse.score(pairs)][::2] == [0.0, 0.0]


@pytest.mark.parametrize("load", BACKENDS)
def test_recites_what_it_learnt(tiny_model: Path, tiny_dialogues: tuple[tuple[str, ...], ...], load: Any) -> None:
    model = load(tiny_model / "forward", "forward")
    for strategy in ("greedy", "beam", "sample"):
        decoding = DecodingConfig(strategy=strategy, num_candidates=4, temperature=0.1)
        for dialogue in tiny_dialogues[:4]:
            first = model.generate(dialogue[:1], decoding)[0]
            assert (first.text, first.rejected) == (dialogue[1], None)
    assert model.generate(tiny_dialogues[2][:3], decoding)[0].text == tiny_dialogues[2][3]


@pytest.mark.parametrize("load", BACKENDS)
def test_number_of_candidates(tiny_model: Path, load: Any) -> None:
    model = load(tiny_model / "forward", "forward")
    for strategy, expected in (("greedy", 1), ("beam", 5), ("sample", 5)):
        assert len(model.generate(["你好"], DecodingConfig(strategy=strategy, num_candidates=5))) == expected
    # CTranslate2 refuses several hypotheses with top_k 1: it was a traceback
    assert len(model.generate(["你好"], DecodingConfig(top_k=1, num_candidates=5))) in (1, 5)
    wide = DecodingConfig(strategy="beam", num_candidates=256, max_new_tokens=3)
    assert 2 <= len(model.generate(["你好"], wide)) <= 256  # the vocabulary is smaller than the beam


@pytest.mark.parametrize("load", BACKENDS)
def test_no_special_token_is_ever_written(tiny_model: Path, load: Any) -> None:
    model = load(tiny_model / "forward", "forward")
    wild = DecodingConfig(num_candidates=32, temperature=5.0, top_k=0, top_p=1.0, repetition_penalty=1.0, no_repeat_ngram=0)
    candidates = model.generate(["你好"], wild)
    assert all(c.text and not {"[", "]"} & set(c.text) for c in candidates)


@pytest.mark.parametrize("load", BACKENDS)
def test_a_reply_cut_short_says_so(tiny_model: Path, load: Any) -> None:
    model = load(tiny_model / "forward", "forward")
    (candidate,) = model.generate(["你好"], DecodingConfig(strategy="greedy", max_new_tokens=3))
    assert (candidate.text, candidate.rejected) == ("你好呀", UNFINISHED)


@pytest.mark.parametrize("load", BACKENDS)
def test_context_longer_than_the_model(tiny_model: Path, load: Any) -> None:
    model = load(tiny_model / "forward", "forward")
    for context in (["今天好累啊"] * 100, ["啊" * 5000], ["你好", "啊" * 63]):
        for max_new_tokens in (1, 48, 1024):
            for strategy in ("greedy", "beam", "sample"):
                assert model.generate(context, DecodingConfig(strategy=strategy, num_candidates=2, max_new_tokens=max_new_tokens))


@pytest.mark.parametrize("load", [ct2_float, hf_cpu])
def test_what_the_user_said_may_be_said_again(tiny_model: Path, load: Any) -> None:
    # The penalties look at the reply alone: 晚安 stands in the prompt and in the learnt reply.
    model = load(tiny_model / "forward", "forward")
    strict = DecodingConfig(strategy="greedy", repetition_penalty=1.3, no_repeat_ngram=2)
    assert model.generate(["晚安"], strict)[0].text == "晚安，做个好梦。"


@pytest.mark.parametrize("load", BACKENDS)
def test_a_seed_repeats_the_candidates(tiny_model: Path, load: Any) -> None:
    model = load(tiny_model / "forward", "forward")
    hot = DecodingConfig(num_candidates=8, temperature=3.0, top_k=0, top_p=1.0, seed=7)

    def texts(decoding: DecodingConfig) -> list[str]:
        return [c.text for c in model.generate(["你好"], decoding)]

    first = texts(hot)
    free = DecodingConfig(num_candidates=8, temperature=3.0, top_k=0, top_p=1.0)
    assert texts(free) != texts(free)
    assert texts(hot) == first  # whatever was sampled in between
    assert texts(DecodingConfig(num_candidates=8, temperature=3.0, top_k=0, top_p=1.0, seed=8)) != first
    assert texts(free) != first
    assert texts(DecodingConfig(num_candidates=2, seed=2**40))  # larger than a C++ unsigned int


def test_transformers_seed_leaves_the_process_alone(tiny_model: Path) -> None:
    import torch

    model = hf_cpu(tiny_model / "forward", "forward")
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    model.generate(["你好"], DecodingConfig(seed=5))
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize("load", BACKENDS)
def test_the_other_direction_is_an_error(tiny_model: Path, load: Any) -> None:
    with pytest.raises(CheckpointError, match="reverse 模型，这里需要 forward"):
        load(tiny_model / "reverse", "forward")
    with pytest.raises(BackendError, match="不能写回复"):
        load(tiny_model / "reverse", "reverse").generate(["你好"], DecodingConfig())


@pytest.fixture
def own_copy(tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A forward folder to damage, and a cache of its own."""
    monkeypatch.setenv("CHITCHAT_CACHE", str(tmp_path / "cache"))
    yield Path(shutil.copytree(tiny_model / "forward", tmp_path / "forward"))


def test_threads_change_nothing(tiny_model: Path) -> None:
    one, two = (CTranslate2Model(tiny_model / "forward", direction="forward", threads=n) for n in (1, 2))
    seeded = DecodingConfig(seed=3, temperature=2.0)
    assert one.generate(["你好"], seeded) == two.generate(["你好"], seeded)
    pairs = PAIRS * 5
    assert [s.value for s in one.score(pairs)] == pytest.approx([s.value for s in two.score(pairs)], abs=0.05)


def conversions(tmp_path: Path) -> list[Path]:
    return sorted(p for p in (tmp_path / "cache" / "ctranslate2").iterdir() if not p.name.startswith("."))


def test_converted_once(own_copy: Path, tmp_path: Path) -> None:
    ct2_int8(own_copy, "forward")
    (folder,) = conversions(tmp_path)
    made = (folder / "model.bin").stat().st_mtime_ns
    ct2_int8(own_copy, "forward")
    assert [f.name for f in conversions(tmp_path)] == [folder.name]
    assert (folder / "model.bin").stat().st_mtime_ns == made


def test_converted_again_when_the_weights_change(own_copy: Path, tmp_path: Path, train_tiny_model: Callable[..., Path]) -> None:
    before = ct2_float(own_copy, "forward").score(PAIRS[:1])[0].value
    train_tiny_model(own_copy, "forward", steps=3, seed=5)  # same folder, same names
    after = ct2_float(own_copy, "forward").score(PAIRS[:1])[0].value
    assert abs(after - before) > 1.0
    assert len(conversions(tmp_path)) == 2


@pytest.mark.parametrize("damage", ["truncate", "empty", "delete", "garbage_config"])
def test_a_damaged_cache_is_made_again(own_copy: Path, tmp_path: Path, damage: str) -> None:
    before = ct2_int8(own_copy, "forward").score(PAIRS)
    (folder,) = conversions(tmp_path)
    weights = folder / "model.bin"
    if damage == "truncate":
        weights.write_bytes(weights.read_bytes()[: weights.stat().st_size // 2])
    elif damage == "empty":
        weights.write_bytes(b"")
    elif damage == "delete":
        weights.unlink()
    else:
        (folder / "config.json").write_text("{")
    assert ct2_int8(own_copy, "forward").score(PAIRS) == before


def test_a_cache_that_cannot_be_written(own_copy: Path, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file where the folder should be")
    with pytest.raises(BackendError, match="CHITCHAT_CACHE"):
        ct2_int8(own_copy, "forward")


def test_a_cache_cleared_while_talking(own_copy: Path, tmp_path: Path) -> None:
    model = ct2_int8(own_copy, "forward")
    shutil.rmtree(tmp_path / "cache")
    assert model.generate(["你好"], DecodingConfig(seed=1, num_candidates=3))


def test_two_programs_starting_at_once(own_copy: Path, tmp_path: Path) -> None:
    models: list[CTranslate2Model] = []
    threads = [threading.Thread(target=lambda: models.append(ct2_int8(own_copy, "forward"))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(models) == 4
    assert len({m.score(PAIRS)[0].value for m in models}) == 1
    assert len(conversions(tmp_path)) == 1


def test_talking_imports_neither_torch_nor_transformers(tiny_model: Path, tmp_path: Path) -> None:
    code = (
        "import sys; from chitchat import load_chatbot\n"
        f"bot = load_chatbot(model={str(tiny_model)!r})\n"
        "assert bot.reply('你好').text == '你好呀，今天过得怎么样？'\n"
        "print([m for m in ('torch', 'transformers', 'gradio', 'datasets') if m in sys.modules])\n"
    )
    # An empty cache, so that the conversion is in it too.
    environment = os.environ | {"CHITCHAT_CACHE": str(tmp_path), "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False)
    assert (done.stdout, done.returncode) == ("[]\n", 0), done.stderr


@pytest.mark.parametrize("direction", ["forward", "reverse"])
def test_backends_agree_on_the_shipped_weights(direction: str) -> None:
    if not (SHIPPED / direction).is_dir():
        pytest.skip("models/xiaoxu 尚未训练")
    pairs = [*PAIRS, (["最近工作压力好大", "怎么啦？", "老板天天让加班"], "抱抱你，周末好好休息一下吧")]
    exact = hf_cpu(SHIPPED / direction, direction).score(pairs)
    for plain, float32, int8 in zip(
        exact,
        ct2_float(SHIPPED / direction, direction).score(pairs),
        ct2_int8(SHIPPED / direction, direction).score(pairs),
        strict=True,
    ):
        assert (float32.num_tokens, float32.truncated) == (plain.num_tokens, plain.truncated)
        assert float32.value == pytest.approx(plain.value, abs=1e-2)
        assert abs(int8.value - plain.value) <= 0.06 * plain.num_tokens + 0.1
