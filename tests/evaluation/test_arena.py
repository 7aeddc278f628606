"""Blind votes: fair order, every vote on disk at once, undo, going on where one stopped."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from chitchat.config import DecodingConfig
from chitchat.engine.chatbot import Chatbot
from chitchat.errors import ChitchatError, ConfigError, CorpusError
from chitchat.evaluation.arena import (
    Arena,
    Contestant,
    VoteFile,
    chatbot_contestant,
    read_prompts,
    read_votes,
    shown_order,
)

ROOT = Path(__file__).resolve().parents[2]
GOOD = Contestant("good", lambda context: f"说说{context[-1]}吧")
DULL = Contestant("dull", lambda context: "哦")
CONTEXTS = [(f"第{i}句",) for i in range(8)]


class Scripted:
    """Gives the listed answers and messages, then none; keeps what it was shown."""

    def __init__(self, answers: str = "", messages: Sequence[str] = ()) -> None:
        self.answers = iter(answers)
        self.messages = iter(messages)
        self.asked: list[tuple[tuple[str, ...], tuple[str, str]]] = []
        self.choices: list[str] = []
        self.notes: list[str] = []

    def ask(self, title: str, context: Sequence[str], replies: tuple[str, str], choices: Mapping[str, str]) -> str | None:
        self.asked.append((tuple(context), replies))
        self.choices.append("".join(choices))
        return next(self.answers, None)

    def listen(self) -> str | None:
        return next(self.messages, None)

    def note(self, text: str) -> None:
        self.notes.append(text)


class PrefersGood(Scripted):
    def ask(self, title: str, context: Sequence[str], replies: tuple[str, str], choices: Mapping[str, str]) -> str | None:
        super().ask(title, context, replies, choices)
        return "2" if replies[0] == "哦" else "1"


def arena(voter: Scripted, path: Path, *, seed: int = 0, contestants: tuple[Contestant, Contestant] = (GOOD, DULL)) -> Arena:
    return Arena(contestants, voter, VoteFile(path), seed=seed)


def test_the_vote_goes_to_who_wrote_the_reply_wherever_it_stood(tmp_path: Path) -> None:
    voter = PrefersGood()
    arena(voter, tmp_path / "v.jsonl").vote_on(CONTEXTS)
    votes = read_votes(tmp_path / "v.jsonl")
    assert [v.verdict for v in votes] == ["a"] * len(CONTEXTS)
    assert {replies.index("哦") for _, replies in voter.asked} == {0, 1}  # both sides were drawn
    first = votes[0]
    assert (first.context, first.contestants, first.seed) == (CONTEXTS[0], ("good", "dull"), 0)
    assert first.replies == ("说说第0句吧", "哦") and tuple(first.replies[i] for i in first.order) == voter.asked[0][1]
    assert first.time.endswith("+00:00")


def test_sides_are_drawn_evenly_and_the_same_again() -> None:
    orders = [shown_order([f"第{i}句"], 7) for i in range(1000)]
    assert 440 < orders.count((0, 1)) < 560
    assert orders == [shown_order([f"第{i}句"], 7) for i in range(1000)]
    assert orders != [shown_order([f"第{i}句"], 8) for i in range(1000)]


def test_ties_and_both_bad_are_kept_a_skip_is_not_and_comes_again(tmp_path: Path) -> None:
    path = tmp_path / "v.jsonl"
    arena(Scripted("=xs"), path).vote_on(CONTEXTS[:3])
    assert [v.verdict for v in read_votes(path)] == ["tie", "both_bad"]
    again = Scripted("q")
    arena(again, path).vote_on(CONTEXTS[:3])
    assert [context for context, _ in again.asked] == [CONTEXTS[2]]


def test_a_rerun_asks_only_what_these_contestants_and_this_seed_lack(tmp_path: Path) -> None:
    path = tmp_path / "v.jsonl"
    arena(Scripted("1="), path).vote_on([*CONTEXTS[:2], CONTEXTS[0]])
    swapped, other_seed, other_pair = Scripted(), Scripted(), Scripted()
    arena(swapped, path, contestants=(DULL, GOOD)).vote_on(CONTEXTS[:3])
    assert swapped.asked[0][0] == CONTEXTS[2] and "2 题已有票" in swapped.notes[0]
    arena(other_seed, path, seed=1).vote_on(CONTEXTS[:3])
    arena(other_pair, path, contestants=(GOOD, Contestant("third", lambda context: "啊"))).vote_on(CONTEXTS[:3])
    assert other_seed.asked[0][0] == other_pair.asked[0][0] == CONTEXTS[0]


def test_limit_counts_the_questions_answered_in_this_run(tmp_path: Path) -> None:
    for run in (1, 2):
        arena(Scripted("111111"), tmp_path / "v.jsonl").vote_on(CONTEXTS, limit=3)
        assert len(read_votes(tmp_path / "v.jsonl")) == 3 * run


def test_undo_goes_back_as_far_as_this_run(tmp_path: Path) -> None:
    path = tmp_path / "v.jsonl"
    voter = Scripted("=xuu1=")
    arena(voter, path).vote_on(CONTEXTS[:3])
    assert [context[0] for context, _ in voter.asked] == ["第0句", "第1句", "第2句", "第1句", "第0句", "第1句", "第2句"]
    assert ["u" in choices for choices in voter.choices] == [False, True, True, True, False, True, True]
    votes = read_votes(path)
    assert [v.context for v in votes] == CONTEXTS[:2]
    assert votes[0].verdict in ("a", "b") and votes[1].verdict == "tie"


def test_undo_and_vote_again_leaves_one_vote(tmp_path: Path) -> None:
    path = tmp_path / "v.jsonl"
    voter = Scripted("xu=1")
    arena(voter, path).vote_on(CONTEXTS[:2])
    assert [context[0] for context, _ in voter.asked] == ["第0句", "第1句", "第0句", "第1句"]
    assert voter.asked[0] == voter.asked[2]
    assert [v.verdict for v in read_votes(path)][0] == "tie" and len(read_votes(path)) == 2
    assert len(path.read_text(encoding="utf-8").splitlines()) == 4  # nothing is ever erased


def test_identical_replies_tie_without_a_question(tmp_path: Path) -> None:
    voter = Scripted()
    twin = Contestant("twin", DULL.reply)
    arena(voter, tmp_path / "v.jsonl", contestants=(DULL, twin)).vote_on(CONTEXTS[:2])
    assert voter.asked == [] and len(voter.notes) == 2 and "相同" in voter.notes[0]
    assert [v.verdict for v in read_votes(tmp_path / "v.jsonl")] == ["identical"] * 2


def test_live_talk_goes_on_with_the_better_reply(tmp_path: Path) -> None:
    voter = PrefersGood(messages=["下雨了", "没带伞", "/reset", "困"])
    arena(voter, tmp_path / "v.jsonl").vote_live()
    contexts = [context for context, _ in voter.asked]
    assert contexts == [("下雨了",), ("下雨了", "说说下雨了吧", "没带伞"), ("困",)]
    assert [v.verdict for v in read_votes(tmp_path / "v.jsonl")] == ["a"] * 3


def test_live_talk_forgets_a_message_both_answered_badly_and_can_be_undone(tmp_path: Path) -> None:
    voter = Scripted("xu=xq", messages=["下雨了", "没带伞", "困", "完"])
    arena(voter, tmp_path / "v.jsonl").vote_live()
    contexts = [context for context, _ in voter.asked]
    assert contexts[:3] == [("下雨了",), ("没带伞",), ("下雨了",)]
    assert contexts[3] == ("下雨了", voter.asked[2][1][0], "困")  # after a tie the first reply stands
    assert contexts[4][-1] == "完" and len(contexts[4]) == 3
    assert [v.verdict for v in read_votes(tmp_path / "v.jsonl")] == ["tie", "both_bad"]


def test_a_turn_undone_and_then_judged_bad_is_not_part_of_the_talk(tmp_path: Path) -> None:
    voter = Scripted("1uxq", messages=["下雨了", "没带伞", "困"])
    arena(voter, tmp_path / "v.jsonl").vote_live()
    assert voter.asked[2][0] == ("下雨了",) and voter.asked[3][0] == ("困",)


def test_live_talk_survives_a_message_the_bots_refuse(tmp_path: Path) -> None:
    def refuse(context: Sequence[str]) -> str:
        raise ChitchatError("消息是空的")

    voter = Scripted(messages=["\u200b"])
    arena(voter, tmp_path / "v.jsonl", contestants=(Contestant("a", refuse), DULL)).vote_live()
    assert voter.notes == ["消息是空的"]


def test_chatbots_say_the_same_to_the_same_context(tiny_chatbot: Chatbot, tmp_path: Path) -> None:
    one = chatbot_contestant("tiny:one", tiny_chatbot, DecodingConfig(num_candidates=2, temperature=3.0, top_k=0), seed=5)
    two = chatbot_contestant("tiny:two", tiny_chatbot, DecodingConfig(num_candidates=2, temperature=0.05), seed=5)
    assert [one.reply(["你好"]) for _ in range(3)] == [one.reply(["你好"])] * 3
    voter = Scripted("1")
    arena(voter, tmp_path / "v.jsonl", contestants=(one, two)).vote_on([("你好",)])
    (vote,) = read_votes(tmp_path / "v.jsonl")
    assert vote.replies[1] == "你好呀，今天过得怎么样？"


VOTING = """
import sys
from pathlib import Path
from chitchat.evaluation.arena import Arena, Contestant, VoteFile

class Voter:
    def ask(self, title, context, replies, choices):
        print("ASKED", flush=True)
        return sys.stdin.readline().strip()
    def note(self, text):
        pass

pair = Contestant("good", lambda c: "好" + c[-1]), Contestant("dull", lambda c: "哦")
Arena(pair, Voter(), VoteFile(Path(sys.argv[1]))).vote_on([(f"第{i}句",) for i in range(8)])
"""


def test_a_kill_between_votes_loses_none(tmp_path: Path) -> None:
    path = tmp_path / "v.jsonl"
    process = subprocess.Popen(
        [sys.executable, "-c", VOTING, str(path)], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdin and process.stdout
    with process:
        for _ in range(3):
            process.stdout.readline()
            process.stdin.write("=\n")
            process.stdin.flush()
        process.stdout.readline()  # the fourth question is on the screen
        process.send_signal(signal.SIGKILL)
    assert [v.context for v in read_votes(path)] == CONTEXTS[:3]
    voter = Scripted()
    arena(voter, path).vote_on(CONTEXTS)
    assert voter.asked[0][0] == CONTEXTS[3]


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ('{"context": ["你好"', "JSON|Expecting"),
        ("[]", "已损坏"),
        ('{"context": ["你好"]}', "contestants"),
        ('{"verdict": "c"}', "未知的 verdict"),
        ('{"contestants": ["good", "good"]}', "应各有两项"),
        ('{"replies": ["一个"]}', "应各有两项"),
        ('{"order": [0, 0]}', "应各有两项"),
        ('{"context": [1]}', "应为文字"),
        ('{"verdict": "undone", "seed": 9}', "没有可撤销的票"),
    ],
)
def test_a_damaged_line_is_named(tmp_path: Path, line: str, complaint: str) -> None:
    path = tmp_path / "v.jsonl"
    arena(Scripted("="), path).vote_on(CONTEXTS)
    good = path.read_text(encoding="utf-8")
    if line.startswith('{"') and line.endswith("}") and line != '{"context": ["你好"]}':
        line = json.dumps(json.loads(good) | json.loads(line), ensure_ascii=False)
    path.write_text(good + line + "\n", encoding="utf-8")
    with pytest.raises(CorpusError, match=f"v.jsonl:2: .*({complaint}).*删去这一行"):
        VoteFile(path)


def test_a_line_that_was_not_written_to_its_end_is_named_wherever_it_broke_off(tmp_path: Path) -> None:
    path = tmp_path / "v.jsonl"
    arena(Scripted("="), path).vote_on(CONTEXTS)
    line = path.read_bytes()
    assert len(line) > len(line.decode()), "some cuts are inside a character"
    for length in range(1, len(line) - 1):
        path.write_bytes(line + line[:length])
        with pytest.raises(CorpusError, match="v.jsonl:2: 投票记录已损坏.*请删去这一行，其余的票不受影响"):
            read_votes(path)


def test_a_file_without_a_last_line_end_is_added_to_whole(tmp_path: Path) -> None:
    path = tmp_path / "v.jsonl"
    arena(Scripted("="), path).vote_on(CONTEXTS)
    path.write_text(path.read_text(encoding="utf-8").rstrip("\n"), encoding="utf-8")
    arena(Scripted("=="), path).vote_on(CONTEXTS)
    assert len(read_votes(path)) == 3


def test_two_names_are_needed_and_a_place_to_write(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="同一位（good）"):
        arena(Scripted(), tmp_path / "v.jsonl", contestants=(GOOD, GOOD))
    with pytest.raises(ConfigError, match="写不了"):
        VoteFile(tmp_path)


@pytest.mark.parametrize(
    ("text", "contexts"),
    [
        ("你好\n今天好累 \r\n", [("你好",), ("今天好累",)]),
        ("\n你好\n\n\n", [("你好",)]),
        ("你好\n\n累\n歇会儿\n歇不了\n", [("你好",), ("累", "歇会儿", "歇不了")]),
    ],
)
def test_prompts_are_lines_or_dialogues(tmp_path: Path, text: str, contexts: list[tuple[str, ...]]) -> None:
    (tmp_path / "p.txt").write_text(text, encoding="utf-8")
    assert read_prompts(tmp_path / "p.txt") == contexts


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("你好\n\n累\n歇会儿\n", r"p\.txt:4: 这段对话有 2 句"),
        ("你好\n\u200b\n", r"p\.txt:2: .*没有可见的文字"),
        ("\n\n", "没有开场白"),
    ],
)
def test_bad_prompts_are_named(tmp_path: Path, text: str, complaint: str) -> None:
    (tmp_path / "p.txt").write_text(text, encoding="utf-8")
    with pytest.raises(CorpusError, match=complaint):
        read_prompts(tmp_path / "p.txt")
