"""A small file of each format people bring, written by us as its original is built, and what is read from it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from chitchat.corpus.reading.readers import FileKind, file_kind, read_dialogues
from chitchat.errors import CorpusError

FIXTURES = Path(__file__).parent / "fixtures"

EXPECTED: dict[str, tuple[str, list[tuple[str, ...]]]] = {
    "alpaca.json": (
        "json",
        [
            ("你会改写句子吗", "会一些", "把这句话说得客气一点\n快点", "麻烦您尽快，谢谢"),
            ("晚饭吃什么好", "清淡一点，喝粥吧"),
        ],
    ),
    "blank_lines.txt": ("text", [("我把奶茶戒了", "真的假的"), ("今天风好大", "出门记得戴帽子", "头发都吹乱了")]),
    "chat_inline.txt": ("chat", [("早呀", "早，今天好冷，多穿点", "好的: 已经穿上了")]),
    "chatterbot.yml": (
        "yaml",
        [("你几点睡觉", "我不用睡觉"), ("是", "yes: 就是", "123"), ("会唱歌吗", "只会哼两句")],
    ),
    "cped.csv": ("csv", [("你怎么才回来", "路上遇见个老同学，多聊了几句"), ('文件呢，"最终版"那份', "在你桌上")]),
    "crosswoz.json": ("json", [("想找个能散步的地方", "湖边公园不错"), ("附近有面馆吗", "出门右转就有")]),
    "douban.tsv": ("labelled", [("周末有空吗", "有啊怎么了", "想找人爬山"), ("新发型好看吗", "挺精神的", "谢谢你哈")]),
    "durecdial.jsonl": (
        "jsonl",
        [
            ("早上好呀", "早，今天起得真早", "睡不着，想听歌", "那我给你放一首轻快的"),
            ("你喜欢看电影吗", "喜欢，尤其是喜剧", "那这周末一起看一部？"),
        ],
    ),
    "firefly.jsonl": ("jsonl", [("周末干嘛", "在家看书", "看什么书", "一本旧小说"), ("到家了吗", "刚进门")]),
    "kdconv.json": (
        "json",
        [("你听过那张专辑吗？", "听过，里面有首慢歌我很喜欢。"), ("最近在看什么剧？", "在补一部老剧。")],
    ),
    "lccc.json": (
        "json",
        [("这家店排队好久", "味道值得等吗？", "还行吧，下次不来了"), ("晚安", "晚安好梦")],
    ),
    "lccc_hub.jsonl": ("jsonl", [("道路千万条", "安全第一条嘛"), ("想去海边", "那就去啊")]),
    "lccc_unspaced.jsonl": ("jsonl", [("出门忘带钥匙了", "那你今晚住哪"), ("猫又把杯子推下去了", "它一定是故意的")]),
    "messages.parquet": ("parquet", [("钥匙找到了吗", "在沙发缝里"), ("花开了", "什么颜色")]),
    "naturalconv.json": (
        "json",
        [
            ("嗨，你来得挺早啊。", "是啊，怕路上堵车。", "昨晚的球看了没？"),
            ("这天说冷就冷。", "可不是，我把羽绒服都翻出来了。"),
        ],
    ),
    "openai.jsonl": ("jsonl", [("我又失眠了", "在想什么事吗"), ("下班啦", "辛苦啦，回家路上小心")]),
    "packed.txt.gz": ("text", [("刚才是你敲门吗", "不是我，是风")]),
    "pairs.parquet": ("parquet", [("几点出发", "七点半"), ("带水了吗", "带了两瓶")]),
    "ptt_big5.txt": (
        "tsv",
        [
            ("有人知道這附近哪裡有好吃的牛肉麵嗎", "車站後面那家不錯"),
            ("最近天氣好熱都不想出門", "在家吹冷氣就好了"),
            ("請問大家都用什麼記帳", "我自己用紙筆寫"),
        ],
    ),
    "qingyun.txt": (
        "pipe",
        [("外面下雨了", "带伞了没有"), ("我想养只猫", "先想好谁铲屎"), ("午饭吃什么", "楼下新开了面馆")],
    ),
    "qq_friend.txt": ("chat", [("起床没", "还在床上", "太阳晒屁股啦某某都跑完步了"), ("中午吃啥", "食堂见")]),
    "qq_group.txt": ("chat", [("有人打游戏吗", "我来我来", "那我开房间了"), ("带我一个", "某某你不是说不玩了吗", "真香")]),
    "questions.json": ("json", [("怎么去机场最快", "坐地铁，不堵车"), ("水开了吗", "刚开")]),
    "several.zip": ("text", [("包好饺子了吗", "还差十个"), ("夜里有流星", "几点钟")]),
    "sharegpt.json": (
        "json",
        [("帮我想个猫的名字", "叫年糕怎么样"), ("讲个冷笑话", "冰箱门没关好，够冷吗")],
    ),
    "tieba.tsv": (
        "tsv",
        [("有没有人一起打球", "我在，几点"), ("昨天的比赛看了吗", "看了，气得没睡着"), ("求推荐耳机", "看你预算")],
    ),
    "turns.parquet": ("parquet", [("还下雨吗", "停了"), ("快递到了", "是你的书吧", "是我的鞋")]),
    "utf16.txt": ("text", [("你那边下雪了吗", "下了，白茫茫一片"), ("上次借你的书看完了吗", "还差一章")]),
    "wechat.csv": ("csv", [("你到哪了", "在地铁上，\n还有三站，某某你吃了吗", "吃了，某某你呢"), ("明天开会别忘了", "记得呢")]),
    "wechat.txt": (
        "chat",
        [("在干嘛呢", "刚吃完饭\n准备午睡，你呢", "我在图书馆", "那晚上见，某某请客"), ("下班了吗", "刚下班")],
    ),
    "weibo_gbk.tsv": ("tsv", [("今天加班到十点", "早点回家休息吧"), ("终于等到你了", "路上堵车嘛")]),
    "xiaohuangji.conv": ("conv", [("今晚的月亮好圆", "那要不要出来走走"), ("你会做饭吗", "会煮泡面算不算")]),
    "xiaohuangji_slashed.conv": (
        "conv",
        [("今晚的月亮好圆", "那要不要出来走走？"), ("你会做饭吗", "会煮泡面，五/六分熟算不算")],
    ),
}
ENCODINGS = {"ptt_big5.txt": "Big5", "weibo_gbk.tsv": "GB18030", "utf16.txt": "UTF-16LE"}


def test_every_fixture_is_tested() -> None:
    assert {path.name for path in FIXTURES.iterdir()} == set(EXPECTED)


@pytest.mark.parametrize("name", EXPECTED)
def test_reads(name: str) -> None:
    format_name, expected = EXPECTED[name]
    assert file_kind(FIXTURES / name) == FileKind(format_name, ENCODINGS.get(name, "UTF-8"))
    assert [dialogue.messages for dialogue in read_dialogues(FIXTURES / name)] == expected


@pytest.mark.parametrize("name", EXPECTED)
def test_content_decides_not_the_name(tmp_path: Path, name: str) -> None:
    path = tmp_path / "corpus.txt"
    shutil.copy(FIXTURES / name, path)
    assert [dialogue.messages for dialogue in read_dialogues(path)] == EXPECTED[name][1]


TEXT_FIXTURES = [name for name in EXPECTED if name.endswith((".txt", ".tsv", ".csv", ".conv", ".yml", ".json", ".jsonl"))]
UTF8_FIXTURES = [name for name in TEXT_FIXTURES if name not in ENCODINGS]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "gb18030", "utf-16", "utf-16-be"])
@pytest.mark.parametrize("name", UTF8_FIXTURES)
def test_any_encoding(tmp_path: Path, name: str, encoding: str) -> None:
    path = tmp_path / name
    path.write_bytes((FIXTURES / name).read_bytes().decode("utf-8").encode(encoding))
    assert [dialogue.messages for dialogue in read_dialogues(path)] == EXPECTED[name][1]


@pytest.mark.parametrize("name", [name for name in UTF8_FIXTURES if not name.endswith("csv")])
def test_line_ends_of_windows_and_old_macs(tmp_path: Path, name: str) -> None:
    content = (FIXTURES / name).read_bytes().replace(b"\r\n", b"\n")
    for end in (b"\r\n", b"\r"):
        path = tmp_path / name
        path.write_bytes(content.replace(b"\n", end))
        assert [dialogue.messages for dialogue in read_dialogues(path)] == EXPECTED[name][1]


# A file whose beginning or end is missing, or which has a broken record, is still known, and the rest of it read --------------


@pytest.mark.parametrize(
    "name", ["kdconv.json", "naturalconv.json", "sharegpt.json", "lccc.json", "durecdial.jsonl", "firefly.jsonl"]
)
@pytest.mark.parametrize("has_name", [True, False])
def test_cut_at_the_beginning(tmp_path: Path, name: str, has_name: bool) -> None:
    """What is left is never taken for text: the second dialogue is read, the cut one told of."""
    content = (FIXTURES / name).read_text(encoding="utf-8")
    path = tmp_path / (name if has_name else "a.txt")
    rest = content[len(content) // 5 :]
    path.write_text(rest + rest.partition("\n")[2] if name.endswith("l") else rest, encoding="utf-8")
    with pytest.raises(CorpusError):
        list(read_dialogues(path))
    bad: list[str] = []
    found = [dialogue.messages for dialogue in read_dialogues(path, on_bad=lambda error, raw: bad.append(str(error)))]
    assert found == EXPECTED[name][1][1:] * (1 + name.endswith("l"))
    assert len(bad) == 1


@pytest.mark.parametrize("name", ["kdconv.json", "naturalconv.json", "alpaca.json", "lccc.json", "openai.jsonl", "turns.jsonl"])
def test_cut_at_the_end(tmp_path: Path, name: str) -> None:
    if name == "turns.jsonl":
        content, expected = '{"turns": ["早", "早啊"]}\n{"turns": ["在吗", "在', [("早", "早啊")]
    else:
        content, expected = (FIXTURES / name).read_text(encoding="utf-8"), EXPECTED[name][1][:1]
        content = content[: -len(content) // 10]
    path = tmp_path / name
    path.write_text(content, encoding="utf-8")
    bad: list[str] = []
    assert [d.messages for d in read_dialogues(path, on_bad=lambda error, raw: bad.append(str(error)))] == expected
    assert len(bad) == 1


def test_broken_item_in_the_middle_of_json(tmp_path: Path) -> None:
    records = [{"conversations": [{"from": "human", "value": f"问{i}"}, {"from": "gpt", "value": f"答{i}"}]} for i in range(50)]
    text = json.dumps(records, ensure_ascii=False, indent=1)
    path = tmp_path / "a.json"
    path.write_text(text.replace('"value": "问20"', '"value": 问20"'), encoding="utf-8")
    with pytest.raises(CorpusError) as caught:
        list(read_dialogues(path))
    assert caught.value.line == text[: text.index("问20")].count("\n") + 1
    bad: list[tuple[str, str]] = []
    found = [d.messages for d in read_dialogues(path, on_bad=lambda error, raw: bad.append((str(error), raw)))]
    assert found == [(f"问{i}", f"答{i}") for i in range(50) if i != 20]
    assert len(bad) == 1 and "问20" in bad[0][1]


def test_parts_of_a_broken_item_are_no_dialogues(tmp_path: Path) -> None:
    """Alpaca's history is a list of lists, as LCCC's dialogues are."""
    records = [{"instruction": f"问{i}", "output": f"答{i}", "history": [["早", "安"], ["在", "嗯"]]} for i in range(3)]
    path = tmp_path / "a.json"
    path.write_text(json.dumps(records, ensure_ascii=False).replace('"问1"', "问1"), encoding="utf-8")
    found = [d.messages for d in read_dialogues(path, on_bad=lambda error, raw: None)]
    assert found == [("早", "安", "在", "嗯", f"问{i}", f"答{i}") for i in (0, 2)]


def test_line_of_a_fault_far_down(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text("[\n" + f'["{"早" * 100}",\n"安"],\n' * 20_000 + '["a" "b"]\n]', encoding="utf-8")
    with pytest.raises(CorpusError) as caught:
        list(read_dialogues(path))
    assert caught.value.line == 40_002


def test_number_over_the_border_of_two_pieces(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    for start in range((1 << 20) - 26, (1 << 20) - 20):
        path.write_text('{"x": "' + "x" * start + '", "version": 123456, "data": [["a", "b"]]}', encoding="utf-8")
        assert [d.messages for d in read_dialogues(path)] == [("a", "b")]
