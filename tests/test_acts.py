"""From messages sorted by dialogue act to replies that fit a message nobody has answered before."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from chitchat.acts import build_acts, read_acts
from chitchat.backends.acts import CLAUSE, ActReplies
from chitchat.config import DecodingConfig
from chitchat.dialogue import as_context
from chitchat.engine.persona import Persona
from chitchat.engine.safety import Safety
from chitchat.errors import CheckpointError, ChitchatError, CorpusError

THINGS = ("作业", "快递", "电脑", "水管", "合同", "排练", "车票", "牙齿")
COMPLAINTS = tuple(f"{thing}真是气死我了" for thing in THINGS)
QUESTIONS = tuple(f"{thing}是什么意思？" for thing in THINGS)
THANKS = tuple(f"谢谢你帮我弄{thing}" for thing in THINGS)
ACTS = {
    "thanks": (THANKS, ("不客气。", "能帮上就好。")),
    "complaint": (COMPLAINTS, ("换我也火大。", "先骂两句再说。", "这事搁谁都来气。")),
    "confused": (QUESTIONS, ("是我没说清楚，你再说说？", "我听岔了。")),
}

FIVE = '{"act": "a", "messages": ["一", "二", "三", "四", "五"], "replies": ["好"]}'


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "acts.jsonl"
    rows = [{"act": name, "messages": messages, "replies": replies} for name, (messages, replies) in ACTS.items()]
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.fixture
def acts(source: Path, tmp_path: Path) -> ActReplies:
    build_acts(source, tmp_path / "acts")
    return ActReplies.load(tmp_path / "acts")


@pytest.mark.parametrize(("message", "act"), [("老板真是气死我了", "complaint"), ("这个是什么意思？", "confused")])
def test_a_new_message_gets_replies_of_its_act(acts: ActReplies, message: str, act: str) -> None:
    found = acts.generate([message], DecodingConfig(seed=1))
    best = max(found, key=lambda candidate: candidate.context_similarity)
    assert best.text in ACTS[act][1]
    assert best.source == "act"
    assert best.context_similarity == pytest.approx(acts.probabilities(message)[act])
    assert best.context_similarity > 0.7


def test_probabilities_are_a_distribution_even_for_a_message_without_a_known_character(acts: ActReplies) -> None:
    for message in ("老板真是气死我了", "zzz", "？", " "):
        probabilities = acts.probabilities(message)
        assert sum(probabilities.values()) == pytest.approx(1)
        assert list(probabilities.values()) == sorted(probabilities.values(), reverse=True)


def test_what_was_said_is_not_proposed_again(acts: ActReplies) -> None:
    said = ["排队的人气死我了", "换我也火大。", "电脑真是气死我了"]
    assert "换我也火大。" not in [c.text for c in acts.generate(said, DecodingConfig(seed=1))]


FRAMES = ("{clause}？凭什么。", "唉，{clause}。")


@pytest.fixture
def framed(source: Path, tmp_path: Path) -> ActReplies:
    rows = [json.loads(line) for line in source.read_text(encoding="utf-8").splitlines()]
    rows[1]["replies"].extend(FRAMES)
    source.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    build_acts(source, tmp_path / "acts")
    return ActReplies.load(tmp_path / "acts")


def texts(acts: ActReplies, *context: str) -> set[str]:
    return {c.text for c in acts.generate(context, DecodingConfig(seed=1))}


def test_a_reply_takes_up_what_was_told(framed: ActReplies) -> None:
    assert texts(framed, "他把我快递扔了真是气死我了", "然后呢？", "电脑真是气死我了 他扣了我五百块") >= {
        "他扣了你五百块？凭什么。",
        "唉，他扣了你五百块。",
    }


def test_nothing_is_taken_up_when_there_is_nothing_to(framed: ActReplies) -> None:
    assert texts(framed, "真是气死我了") <= set(ACTS["complaint"][1])


def test_nothing_is_taken_up_in_a_grave_matter(framed: ActReplies) -> None:
    assert texts(framed, "我爸昨天去世了", "我在听。", "电脑真是气死我了 他扣了我五百块") <= set(ACTS["complaint"][1])


def test_what_was_taken_up_is_not_twice_running_nor_in_the_same_words(framed: ActReplies) -> None:
    twice = texts(framed, "合同真是气死我了", "唉，合同丢在地铁里。", "电脑真是气死我了 他扣了我五百块")
    assert twice <= set(ACTS["complaint"][1])
    later = texts(framed, "合同气死我了", "唉，合同丢在地铁里。", "是啊", "换我也火大。", "电脑真是气死我了 他扣了我五百块")
    assert "他扣了你五百块？凭什么。" in later
    assert "唉，他扣了你五百块。" not in later


def test_a_seed_draws_the_same_replies(acts: ActReplies) -> None:
    acts.max_candidates = 1
    drawn = [acts.generate(["水管真是气死我了"], DecodingConfig(seed=seed))[0].text for seed in range(20)]
    assert drawn == [acts.generate(["水管真是气死我了"], DecodingConfig(seed=seed))[0].text for seed in range(20)]
    assert len(set(drawn)) > 1


def test_no_more_replies_than_asked_for(acts: ActReplies) -> None:
    acts.max_candidates = 2
    assert len(acts.generate(["水管真是气死我了"], DecodingConfig(seed=1))) <= 2


def test_accuracy_is_that_of_messages_left_out(source: Path, tmp_path: Path) -> None:
    report = build_acts(source, tmp_path / "acts")
    assert (report.num_acts, report.num_messages) == (3, 24)
    assert report.accuracy > 0.9


@pytest.mark.parametrize(
    ("lines", "line", "fault"),
    [
        (["不是 JSON"], 1, "应为"),
        (['{"act": "a", "messages": ["一", "二", "三", "四", "五"]}'], 1, "应为"),
        (['{"act": "a", "messages": ["一", "二", "三", "四", " "], "replies": ["好"]}'], 1, "应为"),
        (['{"act": "a", "messages": ["一"], "replies": ["好"]}'], 1, "至少要 5 条"),
        ([FIVE] * 2, 2, "已在前面写过"),
        ([FIVE, FIVE.replace('"a"', '"b"')], 2, "同时属于"),
        ([FIVE], None, "三种"),
    ],
)
def test_a_faulty_file_is_told_with_its_line(tmp_path: Path, lines: list[str], line: int | None, fault: str) -> None:
    path = tmp_path / "acts.jsonl"
    path.write_text("\n".join(lines), encoding="utf-8")
    with pytest.raises(CorpusError, match=fault) as caught:
        read_acts(path)
    assert caught.value.line == line


@pytest.mark.parametrize("name", ["keys.npy", "weights.npy", "bias.npy", "acts.json"])
def test_a_damaged_folder_is_told_and_never_a_traceback(source: Path, tmp_path: Path, name: str) -> None:
    build_acts(source, tmp_path / "acts")
    (tmp_path / "acts" / name).write_bytes(b"{")
    with pytest.raises(CheckpointError, match="chitchat acts"):
        ActReplies.load(tmp_path / "acts")
    (tmp_path / "acts" / name).unlink()
    with pytest.raises(CheckpointError, match=name):
        ActReplies.load(tmp_path / "acts")


def test_a_newer_format_and_wrong_shapes_are_refused(source: Path, tmp_path: Path) -> None:
    build_acts(source, tmp_path / "acts")
    np.save(tmp_path / "acts" / "bias.npy", np.zeros(4, np.float32))
    with pytest.raises(CheckpointError, match="不符"):
        ActReplies.load(tmp_path / "acts")
    manifest = json.loads((tmp_path / "acts" / "acts.json").read_text(encoding="utf-8"))
    (tmp_path / "acts" / "acts.json").write_text(json.dumps(manifest | {"format": 99}), encoding="utf-8")
    with pytest.raises(ChitchatError, match="升级"):
        ActReplies.load(tmp_path / "acts")


DATA = Path(__file__).resolve().parents[1] / "data"


def test_our_own_replies_may_be_said() -> None:
    persona, safety = Persona.load(DATA / "persona.yaml"), Safety.load(DATA / "safety.yaml")
    for name, act in read_acts(DATA / "acts.jsonl").items():
        for reply in act.replies:
            text = reply.replace(CLAUSE, "他端走了一条鱼")
            fault = persona.contradiction(text, as_context(["随便说点什么"])) or safety.unsafe(text)
            assert fault is None, f"{name}: {reply}: {fault}"
