"""Real files are cut, mixed and mis-encoded: what can be read is read, what cannot is told of, and nothing is garbled."""

from __future__ import annotations

import gzip
import json
import random
import tempfile
import tracemalloc
import zipfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chitchat.corpus.reading.encodings import detect_encoding
from chitchat.corpus.reading.readers import file_kind, read_dialogues
from chitchat.corpus.reading.source_file import MAX_LINE_BYTES
from chitchat.errors import CorpusError

FIXTURES = Path(__file__).parent / "fixtures"
PAIR = ("你好", "你好呀")


def read(path: Path) -> tuple[list[tuple[str, ...]], list[tuple[int | None, str, str]]]:
    """The dialogues of a file that is read to its end, and the line, message and text of each bad record."""
    bad: list[tuple[int | None, str, str]] = []
    found = [d.messages for d in read_dialogues(path, on_bad=lambda error, raw: bad.append((error.line, str(error), raw)))]
    return found, bad


def read_bytes(folder: Path, name: str, content: bytes | str) -> tuple[list[tuple[str, ...]], list[int | None]]:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
    found, bad = read(path)
    with pytest.raises(CorpusError) as caught:
        list(read_dialogues(path))
    assert caught.value.line == bad[0][0], "without on_bad the first fault is raised"
    return found, [line for line, _, _ in bad]


@pytest.mark.parametrize(
    ("name", "content", "expected", "bad"),
    [
        ("a.jsonl", '["早", "安"]\n{"turns": ["a"\n["在", "嗯"]\n', [("早", "安"), ("在", "嗯")], [2]),
        ("a.jsonl", '["早", "安"]\n{"x": 1}\n["在", "嗯"]\n', [("早", "安"), ("在", "嗯")], [2]),
        ("a.jsonl", '早"]\n["早", "安"]\n["在", "嗯"]\n', [("早", "安"), ("在", "嗯")], [1]),
        ("a.txt", "早\n安\n".encode() + b"\xff\n" + "在\n嗯\n".encode(), [("早", "安"), ("在", "嗯")], [3]),
        ("a.conv", "E\nM 早\nM 安\nE\nM 在\n嗯\nM 走\nE\nM 好\n", [("早", "安"), ("在",), ("走",), ("好",)], [6]),
        ("a.txt", "早 | 安\n乱\n在 | 嗯\n" + "问 | 答\n" * 30, [("早", "安"), ("在", "嗯")] + [("问", "答")] * 30, [2]),
        ("a.tsv", "早\t安\n乱\n在\t嗯\n", [("早", "安"), ("在", "嗯")], [2]),
        ("a.tsv", "乱\n早\t安\n在\t嗯\n", [("早", "安"), ("在", "嗯")], [1]),
        ("a.tsv", "1\t早\t安\n2\t早\t安\n1\t在\t嗯\n" + "0\t早\t错\n" * 9, [("早", "安"), ("在", "嗯")], [2]),
        ("a.csv", '问,答\n早,安\n"在,嗯\n走,好\n', [("早", "安"), ("走", "好")], [3]),
        ("a.csv", '问,答\n早,"安\n在,嗯\n走,"好\n', [("在", "嗯")], [2, 4]),
        ("a.csv", "问,答\n早,安,多\n在,嗯\n", [("在", "嗯")], [2]),
        ("a.json", '[["早", "安"], ["坏", 1], ["在", "嗯"]]', [("早", "安"), ("在", "嗯")], [2]),
        ("a.json", '[["早", "安"],\n ["坏" "了"],\n ["在", "嗯"]]', [("早", "安"), ("在", "嗯")], [2]),
        ("a.json", '{"train": [["早", "安"],\n ["坏" "了"],\n ["在", "嗯"]], "valid": [["走", "好"]]}', None, [2]),
        ("a.yml", "conversations:\n- - 早\n  - 安\n- - '坏\n  - 了\n- - 在\n  - 嗯\n", [("早", "安"), ("在", "嗯")], [5]),
        ("a.yml", "conversations:\n- - 早\n  - 安\n- 坏\n- - 在\n  - 嗯\n", [("早", "安"), ("在", "嗯")], [4]),
    ],
)
def test_reading_goes_on_after_a_bad_record(
    tmp_path: Path, name: str, content: bytes | str, expected: list[tuple[str, ...]] | None, bad: list[int | None]
) -> None:
    found, lines = read_bytes(tmp_path, name, content)
    assert lines == bad
    assert found == (expected or [("早", "安"), ("在", "嗯"), ("走", "好")])


def test_bad_record_comes_with_its_text(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('["早", "安"]\n{"x": "' + "长" * 9000 + '"}\n', encoding="utf-8")
    ((line, message, raw),) = read(path)[1]
    assert line == 2 and str(path) in message and raw == ('{"x": "' + "长" * 500)[:500]


def test_line_that_is_too_long_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    with open(path, "wb") as stream:
        stream.write(b'["\xe6\x97\xa9", "b"]\n["')
        for _ in range(6):
            stream.write(b"x" * MAX_LINE_BYTES)
        stream.write(b'"]\n["c", "d"]\n')
    tracemalloc.start()
    found, bad = read(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found == [("早", "b"), ("c", "d")] and [line for line, _, _ in bad] == [2]
    assert peak < 4 * MAX_LINE_BYTES


def test_json_is_streamed(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    record = json.dumps([{"conversations": [{"from": "human", "value": "早" * 500}, {"from": "gpt", "value": "安" * 500}]}] * 100)
    with open(path, "w") as stream:
        stream.write("[" + ",\n".join([record[1:-1]] * 25) + "]")
    tracemalloc.start()
    assert sum(1 for _ in read_dialogues(path)) == 2_500
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < path.stat().st_size / 2 < 10e6


def test_items_of_any_length_are_whole(tmp_path: Path) -> None:
    """Also those over the border of two pieces, and longer than one."""
    rng = random.Random(0)
    dialogues = [("早" * rng.randrange(1, 60_000), "安" * rng.choice([1, 300_000])) for _ in range(30)]
    path = tmp_path / "a.json"
    for content in (json.dumps(dialogues), json.dumps({"train": dialogues}, ensure_ascii=False, indent=1)):
        path.write_text(content, encoding="utf-8")
        assert [d.messages for d in read_dialogues(path)] == dialogues


# Encodings ------------------------------------------------------------------------------------------------------------------


def own_lines() -> list[str]:
    text = (Path(__file__).parents[2] / "data" / "dialogues.txt").read_text(encoding="utf-8")
    return [line for line in text.split("\n") if len(line) > 5]


@pytest.mark.parametrize("encoding", ["UTF-8", "GB18030", "UTF-16LE", "UTF-16BE"])
def test_encoding_is_known_from_a_few_lines(encoding: str) -> None:
    rng = random.Random(0)
    lines = own_lines()
    for _ in range(300):
        assert detect_encoding("\n".join(rng.choices(lines, k=4)).encode(encoding)) == encoding


@pytest.mark.parametrize(
    "raw",
    [
        "今日はとても良い天気ですね。散歩に行きませんか\n".encode("shift_jis"),
        "오늘 날씨가 정말 좋네요 산책 갈까요\n".encode("euc-kr"),
        "Où êtes-vous allé l'été dernier\n".encode("latin-1"),
        "Привет, как у тебя дела сегодня\n".encode("cp1251"),
        bytes(range(128, 256)),
        random.Random(0).randbytes(5000),
    ],
)
def test_other_encodings_are_an_error_not_chinese(tmp_path: Path, raw: bytes) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(raw)
    with pytest.raises(CorpusError, match="不是合法的 UTF-8|NUL") as caught:
        list(read_dialogues(path))
    assert "GB18030" not in str(caught.value)


@pytest.mark.parametrize(("most", "other"), [("utf-8", "gb18030"), ("gb18030", "utf-8"), ("gb18030", "big5hkscs")])
def test_lines_of_another_encoding_are_bad(tmp_path: Path, most: str, other: str) -> None:
    strange = "這個週末準備跟家裡幾個親戚還有鄰居們開車過去" if other == "big5hkscs" else "这个周末准备和家里几个亲戚开车过去"
    parts = ["你好啊\n今天吃了什么\n\n".encode(most)] * 20
    parts[10] = f"你看\n{strange}\n\n".encode(other)
    path = tmp_path / "a.txt"
    path.write_bytes(b"".join(parts))
    found, bad = read(path)
    assert set(found) == {("你好啊", "今天吃了什么")}
    assert [line for line, _, _ in bad if line in (31, 32)]
    if "utf-8" in (most, other):
        assert all("两种编码的部分分开" in fault and "iconv" not in fault for _, fault, _ in bad if "UTF-8" in fault)


def test_short_chinese_that_happens_to_be_utf8(tmp_path: Path) -> None:
    """谢谢 in GBK is лл in UTF-8."""
    path = tmp_path / "a.txt"
    path.write_bytes("给你\n谢谢\n\n为什么\n不为什么\n".encode("gbk"))
    assert [d.messages for d in read_dialogues(path)] == [("给你", "谢谢"), ("为什么", "不为什么")]


def test_encoding_shows_late(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"ok\nsure\n\n" * 10_000 + "你在哪里\n我在家呢\n".encode("gbk"))
    assert list(read_dialogues(path))[-1].messages == ("你在哪里", "我在家呢")


def test_undecodable_bytes_spoil_their_line_only(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    raw = '["你好", "你好呀"]\n'.encode("utf-16-le")
    path.write_bytes(b"\xff\xfe" + raw + raw[:6] + b"\x00\xd8" + raw[8:] + raw)
    found, bad = read(path)
    assert found == [PAIR, PAIR] and [line for line, _, _ in bad] == [2]


# Archives -------------------------------------------------------------------------------------------------------------------


def zipped(path: Path, **members: bytes) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name.replace("__", "/").replace("_", "."), content)
    return path


def test_members_are_read_in_turn_each_by_its_own_format(tmp_path: Path) -> None:
    path = zipped(
        tmp_path / "a.zip", a_txt="你好\n你好呀\n".encode("gbk"), b__c_json=b'[["a", "b"]]', d_png=b"\x89PNG", README_txt=b"?"
    )
    assert [d.messages for d in read_dialogues(path)] == [PAIR, ("a", "b")]


def test_fault_names_the_member(tmp_path: Path) -> None:
    path = zipped(
        tmp_path / "a.zip", a_txt="你好\n你好呀\n".encode(), b__c_jsonl=b'["a", "b"]\n["a", 1]\n', d_jsonl=b'["c", "d"]\n'
    )
    with pytest.raises(CorpusError, match="a.zip/b/c.jsonl:2: "):
        list(read_dialogues(path))
    found, bad = read(path)
    assert found == [PAIR, ("a", "b"), ("c", "d")] and len(bad) == 1


@pytest.mark.parametrize("name", ["inner_zip", "inner_txt_gz", "inner_7z"])
def test_archive_in_an_archive(tmp_path: Path, name: str) -> None:
    path = zipped(tmp_path / "a.zip", **{name: b"PK\x03\x04", "b_txt": "你好\n你好呀\n".encode()})
    with pytest.raises(CorpusError, match="解压"):
        list(read_dialogues(path))
    assert read(path)[0] == [PAIR]


def test_encrypted_member(tmp_path: Path) -> None:
    path = zipped(tmp_path / "a.zip", a_txt="你好\n你好呀\n".encode())
    raw = bytearray(path.read_bytes())
    for magic, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        raw[raw.index(magic) + offset] |= 1
    path.write_bytes(raw)
    with pytest.raises(CorpusError, match="密码"):
        list(read_dialogues(path))


def test_members_left_out_are_told_of_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = zipped(tmp_path / "a.zip", a_txt="你好\n你好呀\n".encode(), b_png=b"x")
    with caplog.at_level("INFO", logger="chitchat"):
        file_kind(path)
        assert len(list(read_dialogues(path))) == 1
    assert len([line for line in caplog.messages if "只读其中的 1 个" in line]) == 1


def test_archive_without_a_corpus(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="没有语料文件"):
        list(read_dialogues(zipped(tmp_path / "a.docx", **{"word__document_xml": b"<x/>"})))


@pytest.mark.parametrize("name", ["a.zip", "a.jsonl.gz"])
def test_cut_archive(tmp_path: Path, name: str) -> None:
    content = b"".join(b'["%d", "%d"]\n' % (i, i * 7919) for i in range(20_000))
    path = tmp_path / name
    if name.endswith("gz"):
        path.write_bytes(gzip.compress(content)[:-5000])
        found, bad = read(path)
        assert 10_000 < len(found) < 20_000 and len(bad) <= 2
    else:
        zipped(path, a_jsonl=content)
        path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(CorpusError, match="zip"):
        list(read_dialogues(path))


# Parquet --------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("damage", ["cut", "page", "columns"])
def test_damaged_parquet(tmp_path: Path, damage: str) -> None:
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    path = tmp_path / "a.parquet"
    parquet.write_table(pa.table({"x" if damage == "columns" else "turns": [["你好", "你好呀"]] * 3000}), path)
    raw = bytearray(path.read_bytes())
    if damage == "cut":
        del raw[-10:]
    elif damage == "page":
        raw[4:60] = b"\xff" * 56
    path.write_bytes(raw)
    with pytest.raises(CorpusError, match="Parquet|列名"):
        list(read_dialogues(path))


def test_parquet_text_written_as_bytes(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    path = tmp_path / "a.parquet"
    parquet.write_table(pa.table({"question": ["你好".encode()], "answer": ["你好呀".encode()], "image": [b"\xff\xd8"]}), path)
    assert [d.messages for d in read_dialogues(path)] == [PAIR]


# Anything -------------------------------------------------------------------------------------------------------------------


@st.composite
def damaged(draw: st.DrawFn) -> tuple[str, bytes]:
    """A fixture with a few pieces taken out, doubled, replaced or put in from another one."""
    names = sorted(path.name for path in FIXTURES.iterdir())
    name = draw(st.sampled_from(names))
    content = (FIXTURES / name).read_bytes()
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(content)))
        end = min(len(content), start + draw(st.integers(0, 30)))
        other = (FIXTURES / draw(st.sampled_from(names))).read_bytes()
        at = draw(st.integers(0, len(other)))
        piece = draw(
            st.sampled_from([b"", content[start:end] * 2, other[at : at + 80], b"\n", b"\r", b'"', b"\0", b"\xff", b"\t", b"]"])
        )
        content = content[:start] + piece + content[end:]
    return draw(st.sampled_from([name, "a.txt", "a"])), content


@settings(max_examples=150, deadline=None)
@given(damaged())
def test_damage_gives_dialogues_or_a_corpus_error(case: tuple[str, bytes]) -> None:
    name, content = case
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_bytes(content)
        strict: list[tuple[str, ...]] = []
        is_good = True
        try:
            for dialogue in read_dialogues(path):
                strict.append(dialogue.messages)
        except CorpusError:
            is_good = False
        try:
            lenient, bad = read(path)
        except CorpusError:
            assert not is_good
        else:
            assert lenient[: len(strict)] == strict
            assert is_good == (not bad)


def test_kind_of_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="不存在"):
        file_kind(tmp_path / "none.txt")
