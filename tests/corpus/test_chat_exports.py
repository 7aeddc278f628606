"""What becomes of an exported chat: who speaks, where a dialogue ends, and what nobody typed."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import pytest

from chitchat.corpus.reading.chat_exports import MAX_SESSION_TURNS, ChatMessage, sessions, spoken
from chitchat.corpus.reading.readers import detect_format, read_dialogues
from chitchat.errors import CorpusError

START = datetime(2023, 5, 1, 12, 0)


def dialogues(*said: tuple[str, float, str]) -> list[tuple[str, ...]]:
    """The dialogues of messages given as speaker, minutes since the start, text."""
    messages = [ChatMessage(n, START + timedelta(minutes=m), who, (who,), text) for n, (who, m, text) in enumerate(said, 1)]
    return [found for _, found in sessions(messages)]


def test_one_speakers_messages_are_one_turn() -> None:
    assert dialogues(("阿莓", 0, "在吗"), ("阿莓", 1, "急事！"), ("阿莓", 1, "快回"), ("大鹏", 2, "在")) == [
        ("在吗，急事！快回", "在")
    ]


@pytest.mark.parametrize(("minutes", "parts"), [(60, 1), (61, 2), (-61, 2)])
def test_a_long_pause_ends_a_dialogue(minutes: float, parts: int) -> None:
    assert len(dialogues(("甲", 0, "早"), ("乙", 0, "早啊"), ("甲", minutes, "吃了吗"), ("乙", minutes, "吃了"))) == parts


def test_a_third_voice_begins_a_dialogue() -> None:
    said = [
        ("甲", 0, "谁去爬山"),
        ("乙", 1, "我去"),
        ("丙", 2, "带上我"),
        ("甲", 3, "好"),
        ("丙", 4, "几点"),
        ("丁", 5, "我不去"),
    ]
    assert dialogues(*said) == [("谁去爬山", "我去"), ("带上我", "好", "几点"), ("我不去",)]


def test_dropped_messages_part_nobody() -> None:
    assert dialogues(("甲", 0, "看这个"), ("甲", 1, "[图片]"), ("乙", 2, "[表情]"), ("乙", 2, "好看")) == [("看这个", "好看")]


def test_endless_talk_is_cut() -> None:
    said = [("甲乙"[n % 2], n / 60, f"第{n}句") for n in range(2 * MAX_SESSION_TURNS)]
    assert [len(dialogue) for dialogue in dialogues(*said)] == [MAX_SESSION_TURNS] * 2


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("小明你来吗", "某某你来吗"),
        ("@小明明 你来吗", "你来吗"),
        ("@小明\u2005你来吗", "你来吗"),
        ("小明明和小明", "某某和某某"),
        ("Al来了", "某某来了"),
        ("Also Alpha", "Also Alpha"),
        ("明天小雨", "明天小雨"),
    ],
)
def test_names_are_replaced(before: str, after: str) -> None:
    said = [("小明", 0, "嗯"), ("小明明", 0, "嗯"), ("Al", 0, "嗯"), ("明", 0, "嗯"), ("小明", 0, before)]
    assert dialogues(*said)[-1][-1] == after


@pytest.mark.parametrize(
    "notice",
    [
        "[图片]",
        "[动画表情]",
        "[表情][表情]",
        "[语音]",
        "[视频] 12秒",
        "[文件] 报告.docx",
        "[链接] 十个好习惯",
        "【红包】恭喜发财",
        "[转账]",
        "[位置]某路1号",
        "[语音通话] 通话时长 01:02",
        "[聊天记录]",
        "通话时长 12:34",
        "对方已取消",
        "已拒绝",
        "你撤回了一条消息",
        "小明撤回了一条消息",
        '"小明" 撤回了一条消息 重新编辑',
        "对方撤回了一条消息",
        '"小明" 拍了拍我',
        '我拍了拍 "小明" 的肩膀',
        "小明加入了群聊",
        '"小明"邀请"小红"加入了群聊',
        "小红退出了本群",
        "小明领取了你的红包",
        "收到红包，请在手机上查看",
        "你已添加了小明，现在可以开始聊天了。",
        "我通过了你的朋友验证请求，现在我们可以开始聊天了",
        "以上是打招呼的内容",
        '<?xml version="1.0"?><msg><appmsg/></msg>',
        "<msg>\n<img/></msg>",
        "「小明：在吗」\n- - - - - - - - - - - - - - -\n[图片]",
    ],
)
def test_what_nobody_typed_is_dropped(notice: str) -> None:
    assert spoken(notice) == ""


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("哈哈哈[捂脸]", "哈哈哈[捂脸]"),
        ("[捂脸]", "[捂脸]"),
        ("[图片]这张好看", "这张好看"),
        ("「小明：在吗」\n- - - - - - - - - - - - - - -\n在的", "在的"),
        ("在的\n引用：小明：在吗", "在的"),
        ("他拍了拍我的头", "他拍了拍我的头"),
        ("我想退出了，太累", "我想退出了，太累"),
        ("红包收到了吗", "红包收到了吗"),
        ("你怎么撤回了", "你怎么撤回了"),
        ("视频看完了，已取消关注", "视频看完了，已取消关注"),
        ("我转账给你吧", "我转账给你吧"),
        ("「」这种引号怎么打", "「」这种引号怎么打"),
        ("回复晚了不好意思", "回复晚了不好意思"),
        ("5<6", "5<6"),
    ],
)
def test_what_was_typed_is_kept(text: str, kept: str) -> None:
    assert spoken(text) == kept


@pytest.mark.parametrize(
    "text",
    [
        "2023-05-01 12:30:45 小美\n在吗\n\n2023-05-01 12:31:00 大壮\n在\n",
        "2023/5/1 12:30 小美\n在吗\n2023/5/1 12:31 大壮\n在\n",
        "2023年5月1日 下午12:30 小美\n在吗\n2023年5月1日 下午12:31 大壮\n在\n",
        "[2023-05-01 12:30:45] 小美\n在吗\n[2023-05-01 12:31:00] 大壮\n在\n",
        "[2023-05-01 12:30:45] 小美: 在吗\n[2023-05-01 12:31:00] 大壮: 在\n",
        "2023-05-01 12:30:45 小美：在吗\n2023-05-01 12:31:00 大壮：在\n",
        "小美 2023-05-01 12:30:45\n在吗\n\n大壮 2023-05-01 12:31:00\n在\n",
        "小美(12345) 2023-05-01 12:30:45\n在吗\n\n大壮(67890) 2023-05-01 12:31:00\n在\n",
        "与大壮的聊天记录\n==========\n\n2023-05-01 12:30:45 小美\n在吗\n\n2023-05-01 12:31:00 大壮\n在\n",
    ],
)
def test_headers_of_text_exports(tmp_path: Path, text: str) -> None:
    path = tmp_path / "a.txt"
    path.write_text(text, encoding="utf-8")
    assert detect_format(path) == "chat"
    assert [dialogue.messages for dialogue in read_dialogues(path)] == [("在吗", "在")]


@pytest.mark.parametrize(
    "text",
    [
        "时间,发送者,类型,内容\n2023-05-01 12:30:45,小美,文本,在吗\n2023-05-01 12:30:50,小美,图片,[图片]\n"
        "2023-05-01 12:31:00,大壮,文本,在\n",
        "昵称,时间,消息内容\n小美,2023/5/1 12:30,在吗\n大壮,2023/5/1 12:31,在\n",
        "id,type_name,is_sender,talker,room_name,msg,src,CreateTime\n1,文本,1,wxid_a,wxid_b,在吗,,1682915445\n"
        "2,文本,0,wxid_b,wxid_b,在,,1682915460\n3,动画表情,0,wxid_b,wxid_b,,,1682915461\n",
        "IsSender,StrTime,StrContent\n1,2023-05-01 12:30:45,在吗\n0,2023-05-01 12:31:00,在\n",
    ],
)
def test_headers_of_tables(tmp_path: Path, text: str) -> None:
    path = tmp_path / "a.csv"
    path.write_text(text, encoding="utf-8-sig")
    assert [dialogue.messages for dialogue in read_dialogues(path)] == [("在吗", "在")]
    (tmp_path / "a.tsv").write_text(text.replace(",", "\t"), encoding="utf-8")
    assert [dialogue.messages for dialogue in read_dialogues(tmp_path / "a.tsv")] == [("在吗", "在")]


def test_chats_in_one_table_are_kept_apart(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    rows = [
        "TalkerId,IsSender,StrTime,StrContent",
        "1,0,2023-05-01 12:30,早",
        "2,1,2023-05-01 12:31,在吗",
        "2,0,2023-05-01 12:32,在",
    ]
    path.write_text("\n".join(rows), encoding="utf-8")
    assert [dialogue.messages for dialogue in read_dialogues(path)] == [("早",), ("在吗", "在")]


def test_impossible_date_is_told_of(tmp_path: Path) -> None:
    text = "2023-05-01 12:30:45 小美\n在吗\n\n2023-13-01 12:31:00 大壮\n在\n\n2023-05-01 12:32:00 小美\n人呢\n"
    path = tmp_path / "a.txt"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(CorpusError, match="日期") as caught:
        list(read_dialogues(path))
    assert caught.value.line == 4
    found = [dialogue.messages for dialogue in read_dialogues(path, on_bad=lambda error, raw: None)]
    assert found == [("在吗",), ("人呢",)]  # what the lost message said cannot be bridged


def test_dates_in_talk_are_no_headers(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("你哪天生日\n2001-02-03 出生的\n\n几点了\n2023-05-01 12:30 吧\n真的吗\n好吧\n", encoding="utf-8")
    assert detect_format(path) == "text"
