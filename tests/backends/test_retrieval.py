"""What people wrote to a context like this one is proposed, and only when the context really is alike."""

from __future__ import annotations

import json
import logging
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from chitchat.backends.base import Vectors
from chitchat.backends.dual_encoder import NumpyEncoder
from chitchat.backends.retrieval import MANIFEST, NEAREST_VECTORS, RetrievalIndex
from chitchat.config import DecodingConfig
from chitchat.errors import CheckpointError
from chitchat.index import build_index

DIALOGUES = """今天好热
今天的风呢，也热吗？

今天好累
先坐下，什么都别做。
嗯
坐着的感觉怎么样？

你累不累
我没有身体，不累。

猫走丢了
别急，它多半躲在附近。
三天
三天了还没回来，贴寻猫启事了吗？

感冒发烧了
去医院看过没有？
三天
三天还烧着，今天就去看看医生。

我吃饭了
吃的什么好东西？

我没吃饭
空着肚子可不行。

抢到票了
恭喜，靠窗还是过道？

三点了睡不着
这么晚了，有心事？

你喜欢吃火锅吗
我没有嘴，只闻得到字里的香。

讲个冷笑话
冰箱最懂事，门一开，它就恍然大悟。

周末去爬山
山顶的风替我吹一吹。

外面冷吗
我没有窗户，你替我看看？

你看起来挺开心
因为你来了呀。

买了新手机
贴膜了没有？

你猜
猜。
我的书包找到了
找到了？这个好！
"""
REPLIES = [f"第{n}种问候" for n in "一二三四五六七八九"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("retrieval")
    (path / "dialogues.txt").write_text(DIALOGUES, encoding="utf-8")
    intent = {"intent": "问好", "user": ["你好", "早上好"], "reply": REPLIES}
    (path / "intents.jsonl").write_text(json.dumps(intent, ensure_ascii=False), encoding="utf-8")
    build_index([path / "dialogues.txt", path / "intents.jsonl"], path / "index")
    return path / "index"


@pytest.fixture(scope="module")
def index(folder: Path) -> RetrievalIndex:
    return RetrievalIndex.load(folder, min_similarity=0.55)


def proposed(index: RetrievalIndex, *context: str, seed: int | None = 1, **options: int) -> dict[str, float]:
    candidates = index.generate(context, DecodingConfig(seed=seed, **options))
    assert all(c.source == "retrieval" for c in candidates)
    assert len({c.text for c in candidates}) == len(candidates)
    similarities = [c.context_similarity for c in candidates]
    assert similarities == sorted(similarities, reverse=True)
    assert all(0.55 <= similarity <= 1 for similarity in similarities)
    return {c.text: c.context_similarity for c in candidates}


@pytest.mark.parametrize("message", ["今天好累", "今天好累啊！", "今天，好累哦～"])
def test_marks_and_particles_make_no_difference(index: RetrievalIndex, message: str) -> None:
    assert proposed(index, message)["先坐下，什么都别做。"] == pytest.approx(1)


def test_the_most_alike_comes_first(index: RetrievalIndex) -> None:
    assert list(proposed(index, "今天好累"))[:2] == ["先坐下，什么都别做。", "今天的风呢，也热吗？"]


def test_other_wordings_are_less_alike(index: RetrievalIndex) -> None:
    found = proposed(index, "今天上班好累")
    assert 0.55 < found["先坐下，什么都别做。"] < 0.95


@pytest.mark.parametrize("message", ["量子力学", "今天股市大涨，我打算周末把房子卖了全投进去", "？？？", "qwerty", ""])
def test_nothing_is_proposed_to_what_is_not_known(index: RetrievalIndex, message: str) -> None:
    assert proposed(index, message) == {}


def test_an_index_of_one_context_answers(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("在吗\n在的。", encoding="utf-8")
    build_index([tmp_path / "a.txt"], tmp_path / "index")
    index = RetrievalIndex.load(tmp_path / "index", min_similarity=0.55)
    assert proposed(index, "在吗") == {"在的。": pytest.approx(1)}
    assert proposed(index, "你好") == {}


def test_one_shared_word_does_not_carry_a_long_message(index: RetrievalIndex) -> None:
    assert "山顶的风替我吹一吹。" not in proposed(index, "我周末要陪我妈去医院拿体检报告，心里特别慌")


@pytest.mark.parametrize(
    ("message", "twin", "opposite"),
    [
        ("我没吃饭", "空着肚子可不行。", "吃的什么好东西？"),
        ("我吃饭了", "吃的什么好东西？", "空着肚子可不行。"),
        ("没抢到票", None, "恭喜，靠窗还是过道？"),
        ("你累吗", None, "先坐下，什么都别做。"),
        ("我好累", None, "我没有身体，不累。"),
        ("我喜欢吃火锅", None, "我没有嘴，只闻得到字里的香。"),
        ("外面冷", None, "我没有窗户，你替我看看？"),
        ("我看起来挺开心", None, "因为你来了呀。"),
        ("想买新手机", None, "贴膜了没有？"),
        ("九点了睡不着", None, "这么晚了，有心事？"),
    ],
)
def test_a_turned_meaning_is_not_alike(index: RetrievalIndex, message: str, twin: str | None, opposite: str) -> None:
    """Negation, who is spoken to, question or statement, a number: few characters, another meaning."""
    found = proposed(index, message)
    assert found.get(opposite, 0) < 0.75
    if twin is not None:
        assert found[twin] == pytest.approx(1)


def test_asking_whether_is_no_negation(index: RetrievalIndex) -> None:
    assert "我没有身体，不累。" in proposed(index, "你累吗")


def test_the_message_before_decides_what_a_short_answer_means(index: RetrievalIndex) -> None:
    cat = proposed(index, "猫走丢了", "别急，它多半躲在附近。", "三天")
    assert next(iter(cat)) == "三天了还没回来，贴寻猫启事了吗？"
    fever = proposed(index, "我发烧了", "去医院看过没有", "三天")
    assert next(iter(fever)) == "三天还烧着，今天就去看看医生。"


def test_a_line_of_several_parts_is_answered_in_one_of_them(index: RetrievalIndex) -> None:
    found = proposed(index, "哈哈哈有道理啊，不说这些了 周末去爬山！")
    (reply, similarity), *_ = found.items()
    assert reply == "山顶的风替我吹一吹。" and 0.75 < similarity < 1


def test_the_last_part_or_one_that_asks_comes_first(index: RetrievalIndex) -> None:
    assert next(iter(proposed(index, "周末去爬山，抢到票了"))) == "恭喜，靠窗还是过道？"
    assert next(iter(proposed(index, "抢到票了，周末去爬山"))) == "山顶的风替我吹一吹。"
    assert next(iter(proposed(index, "外面冷吗，周末去海边捡贝壳"))) == "我没有窗户，你替我看看？"
    joke = proposed(index, "讲个冷笑话，隔壁又打雷又刮风闹了一整夜")["冰箱最懂事，门一开，它就恍然大悟。"]
    assert joke > 0.75, "more than a part is worth that only tells something"


def test_a_reply_tells_what_it_was_written_to_answer(index: RetrievalIndex) -> None:
    found = {c.text: c.origin for c in index.generate(["猫走丢了", "别急，它多半躲在附近。", "三天"], DecodingConfig(seed=1))}
    assert found["三天了还没回来，贴寻猫启事了吗？"] == ("别急，它多半躲在附近。", "三天")
    found = {c.text: c.origin for c in index.generate(["抢到票了"], DecodingConfig(seed=1))}
    assert found["恭喜，靠窗还是过道？"] == ("抢到票了",)


def test_a_part_that_says_nothing_finds_nothing(index: RetrievalIndex) -> None:
    assert proposed(index, "嗯嗯，好的好的") == {}


def test_an_answer_out_of_nowhere_is_not_trusted(index: RetrievalIndex) -> None:
    assert all(similarity < 0.7 for similarity in proposed(index, "三天").values())
    assert proposed(index, "我的书包找到了")["找到了？这个好！"] < 0.85
    assert proposed(index, "你猜", "猜。", "我的书包找到了")["找到了？这个好！"] == pytest.approx(1)


def test_several_replies_of_an_intent_are_drawn_by_the_seed(index: RetrievalIndex) -> None:
    first = proposed(index, "你好", seed=3)
    assert 2 <= len(first) <= 8
    assert set(list(first)[:5]) <= set(REPLIES)
    assert list(proposed(index, "你好", seed=3)) == list(first)
    assert len({tuple(proposed(index, "你好", seed=seed)) for seed in range(9)}) > 1
    assert len({tuple(proposed(index, "你好", seed=None)) for _ in range(9)}) > 1


def test_no_more_are_proposed_than_asked_for(folder: Path) -> None:
    assert len(proposed(RetrievalIndex.load(folder, max_candidates=2, min_similarity=0.55), "你好")) == 2


def test_loosely_similar_contexts_are_left_to_the_ranking(folder: Path, index: RetrievalIndex) -> None:
    message = "我周末要陪我妈去医院拿体检报告，心里特别慌"
    loose = RetrievalIndex.load(folder).generate([message], DecodingConfig(seed=1))
    assert loose and not proposed(index, message)
    assert all(0.15 <= c.context_similarity < 0.55 for c in loose)


def test_what_was_said_is_not_said_again(index: RetrievalIndex) -> None:
    said = "空着肚子可不行"
    assert said + "。" not in proposed(index, "我没吃饭", said, "我没吃饭")


def test_similarity_is_the_cosine_of_scikit_learns_vectors(folder: Path) -> None:
    from sklearn.feature_extraction.text import TfidfVectorizer

    lasts = [block.split("\n")[i] for block in DIALOGUES.strip().split("\n\n") for i in range(0, block.count("\n") + 1, 2)]
    messages = [text.translate(str.maketrans("", "", "了啊")) for text in [*lasts, "你好", "早上好"]]
    vectorizer = TfidfVectorizer(analyzer="char", ngram_range=(1, 2), sublinear_tf=True, norm=None).fit(messages)
    orders = np.array([1.0 if len(name) == 1 else 0.5 for name in vectorizer.get_feature_names_out()])
    stored, asked = vectorizer.transform(["今天好累", "今天好困好困"]).toarray() * orders
    # what the index has never seen, 困 and 好困 twice and 困好 once, counts as if it stood in one context
    twice = 1 + np.log(2)
    unseen = (1 + np.log((1 + len(messages)) / 2)) ** 2 * (twice**2 + (0.5 * twice) ** 2 + 0.5**2)
    expected = stored @ asked / np.sqrt((stored @ stored) * (asked @ asked + unseen))
    match = next(m for m in RetrievalIndex.load(folder, min_similarity=0.1).nearest(["今天好困好困"]) if m.last == "今天好累")
    assert match.similarity == pytest.approx(expected, abs=1e-4)


def test_talking_needs_no_sklearn(folder: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from chitchat.backends.retrieval import RetrievalIndex; "
        f"assert RetrievalIndex.load(Path({str(folder)!r})).nearest(['你好']); "
        "assert not {'sklearn', 'scipy', 'jieba', 'torch'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def _remove(folder: Path) -> None:
    (folder / "postings.npy").unlink()


def _cut(folder: Path) -> None:
    file = folder / "text.npy"
    file.write_bytes(file.read_bytes()[:-5])


def _swap(folder: Path) -> None:
    np.save(folder / "norms.npy", np.ones(3, np.float32))


def _retype(folder: Path) -> None:
    np.save(folder / "norms.npy", np.load(folder / "norms.npy").astype(np.float64))


def _scribble(folder: Path) -> None:
    (folder / MANIFEST).write_text("{", encoding="utf-8")


def _from_the_future(folder: Path) -> None:
    manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    (folder / MANIFEST).write_text(json.dumps(manifest | {"format": 99}), encoding="utf-8")


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (_remove, "postings.npy"),
        (_cut, "已损坏"),
        (_swap, "norms.npy"),
        (_retype, "norms.npy"),
        (_scribble, "已损坏"),
        (_from_the_future, "99"),
        (shutil.rmtree, MANIFEST),
    ],
)
def test_a_damaged_index_is_told_with_its_remedy(folder: Path, tmp_path: Path, damage: Callable[[Path], None], told: str) -> None:
    """Made again inside a model it needs --model, which takes its encoder along."""
    for name, remedy in (("index", f"--output {tmp_path / 'index'}"), ("retrieval", f"--model {tmp_path} ")):
        copy = tmp_path / name
        shutil.copytree(folder, copy)
        damage(copy)
        with pytest.raises(CheckpointError) as error:
            RetrievalIndex.load(copy)
        assert told in str(error.value)
        assert str(copy) in str(error.value)
        assert "chitchat index" in str(error.value) and remedy in str(error.value)


# With a dual encoder ----------------------------------------------------------------------------------------------------------


Matters = tuple[tuple[str, str, str], ...]


@pytest.fixture(scope="module")
def encoder(tiny_encoder: Path) -> NumpyEncoder:
    return NumpyEncoder(tiny_encoder)


@pytest.fixture(scope="module")
def with_vectors(matters: Matters, encoder: NumpyEncoder, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An index of every matter under its first name."""
    path = tmp_path_factory.mktemp("vectors")
    lines = [f"{who}{first}\n说说{answer}。" for first, _, answer in matters for who in "甲乙丙丁"]
    (path / "matters.txt").write_text("\n\n".join(lines), encoding="utf-8")
    build_index([path / "matters.txt"], path / "index", encoder=encoder)
    return path / "index"


def replies_to(index: RetrievalIndex, *context: str) -> list[str]:
    return [c.text for c in index.generate(context, DecodingConfig(seed=1))]


def test_the_same_in_other_words_is_found_by_its_vector(with_vectors: Path, encoder: NumpyEncoder, matters: Matters) -> None:
    words, vectors = RetrievalIndex.load(with_vectors), RetrievalIndex.load(with_vectors, encoder=encoder)
    found = []
    for _, other, answer in matters:
        assert replies_to(words, f"子{other}") == [], "no character in common"
        replies = replies_to(vectors, f"子{other}")
        assert len(replies) <= NEAREST_VECTORS < 30
        found.append(f"说说{answer}。" in replies)
    assert np.mean(found) > 0.9


def test_few_cells_are_enough(
    with_vectors: Path, encoder: NumpyEncoder, matters: Matters, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chitchat.backends.retrieval.CELLS_LOOKED_INTO", 3)
    index = RetrievalIndex.load(with_vectors, encoder=encoder)
    assert len(np.load(with_vectors / "cells.npy")) > 15
    found = [f"说说{answer}。" in replies_to(index, f"子{other}") for _, other, answer in matters]
    assert np.mean(found) > 0.9


def test_of_what_only_the_vector_found_the_words_are_not_alike(
    with_vectors: Path, encoder: NumpyEncoder, matters: Matters
) -> None:
    index = RetrievalIndex.load(with_vectors, encoder=encoder)
    found = index.generate(["子喵"], DecodingConfig(seed=1))
    assert found and all((c.source, c.context_similarity) == ("retrieval", 0.0) for c in found)
    assert all(len(c.origin) == 1 and c.origin[0][0] in "甲乙丙丁" for c in found)


def test_words_are_found_as_before(with_vectors: Path, encoder: NumpyEncoder) -> None:
    found = {c.text: c.context_similarity for c in RetrievalIndex.load(with_vectors).generate(["甲猫"], DecodingConfig(seed=1))}
    with_both = RetrievalIndex.load(with_vectors, encoder=encoder).generate(["甲猫"], DecodingConfig(seed=1))
    both = {c.text: c.context_similarity for c in with_both}
    assert found and found.items() <= both.items() and len(found) < len(both)


class Marked:
    """An encoder to which all of `alike` mean one thing, other first messages another, and later ones a third."""

    fingerprint = "marked"

    def __init__(self, *alike: str) -> None:
        self.alike = alike

    def contexts(self, contexts: Sequence[Sequence[str]]) -> Vectors:
        places = [2 if len(context) > 1 else int(context[-1] not in self.alike) for context in contexts]
        return np.eye(3, dtype=np.float32)[places]

    def replies(self, replies: Sequence[str]) -> Vectors:
        return np.eye(3, dtype=np.float32)[[2 for _ in replies]]


def test_many_contexts_alike_in_words_do_not_crowd_out_the_same_in_other_words(tmp_path: Path) -> None:
    numerals = "甲乙丙丁戊己庚辛壬癸子丑寅卯辰巳午未申酉戌亥天地玄黄宇宙洪荒日月盈昃宿列张寒来暑往秋收冬藏"
    lines = [f"今天加班{n}\n{n}也加班。" for n in numerals]
    (tmp_path / "a.txt").write_text("\n\n".join([*lines, "困死我也\n快去睡。"]), encoding="utf-8")
    encoder = Marked("今天加班", "困死我也")
    build_index([tmp_path / "a.txt"], tmp_path / "index", encoder=encoder)
    index = RetrievalIndex.load(tmp_path / "index", encoder=encoder)
    assert len(replies_to(RetrievalIndex.load(tmp_path / "index"), "今天加班")) == index.max_candidates == 40
    assert "快去睡。" in replies_to(index, "今天加班")
    assert "快去睡。" in replies_to(index, "早", "早呀", "今天加班"), "the last message alone means the same, too"
    assert "快去睡。" not in replies_to(index, "今天放假")


def test_an_empty_message_is_no_error(with_vectors: Path, encoder: NumpyEncoder) -> None:
    replies_to(RetrievalIndex.load(with_vectors, encoder=encoder), "")


def test_vectors_of_another_encoder_are_left_alone_and_told(
    with_vectors: Path, folder: Path, untrained_encoder: Path, encoder: NumpyEncoder, caplog: pytest.LogCaptureFixture
) -> None:
    for index, other in ((with_vectors, NumpyEncoder(untrained_encoder)), (folder, encoder)):
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            fallen_back = RetrievalIndex.load(index, encoder=other)
        (warning,) = caplog.messages
        assert str(index) in warning and "只按字面检索" in warning and "chitchat index" in warning
        for message in ("子喵", "甲猫", "今天好累"):
            assert replies_to(fallen_back, message) == replies_to(RetrievalIndex.load(index), message)


def test_an_index_from_before_there_were_cells_goes_by_words(
    with_vectors: Path, encoder: NumpyEncoder, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    old = Path(shutil.copytree(with_vectors, tmp_path / "index"))
    manifest = json.loads((old / MANIFEST).read_text(encoding="utf-8"))
    (old / MANIFEST).write_text(json.dumps({**manifest, "format": 1}), encoding="utf-8")
    (old / "cells.npy").unlink()
    with caplog.at_level(logging.WARNING):
        assert replies_to(RetrievalIndex.load(old, encoder=encoder), "甲猫") == replies_to(RetrievalIndex.load(old), "甲猫")
    assert "只按字面检索" in caplog.text and "chitchat index" in caplog.text


def test_without_an_encoder_vectors_are_not_even_read(
    with_vectors: Path, encoder: NumpyEncoder, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    copy = Path(shutil.copytree(with_vectors, tmp_path / "index"))
    (copy / "vectors.npy").unlink()
    assert replies_to(RetrievalIndex.load(copy), "甲猫") == replies_to(RetrievalIndex.load(with_vectors), "甲猫")
    assert caplog.messages == []
    with pytest.raises(CheckpointError, match="vectors.npy"):
        RetrievalIndex.load(copy, encoder=encoder)
    np.save(copy / "vectors.npy", np.zeros((3, encoder.size), np.int8))
    with pytest.raises(CheckpointError, match="vectors.npy 与清单不符"):
        RetrievalIndex.load(copy, encoder=encoder)
    length = len(np.load(with_vectors / "vectors.npy"))
    np.save(copy / "vectors.npy", np.zeros((length, encoder.size + 1), np.int8))
    with pytest.raises(CheckpointError, match="vectors.npy 的宽度"):
        RetrievalIndex.load(copy, encoder=encoder)
