"""An evaluation from files to report: what is asked, what comes out for models whose behaviour is known, what is written."""

from __future__ import annotations

import io
import json
import math
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from chitchat.backends.base import LogProb
from chitchat.backends.retrieval import MANIFEST
from chitchat.config import ChatConfig, DecodingConfig
from chitchat.corpus.splitting import content_hash
from chitchat.dialogue import Candidate, Message
from chitchat.engine.chatbot import Chatbot
from chitchat.engine.reranking import Ranker
from chitchat.errors import CheckpointError, ConfigError, CorpusError
from chitchat.evaluation.evaluate import (
    BENIGN,
    MEMORY,
    PERSONA,
    POOLED,
    QUESTIONS,
    RED_TEAM,
    EvaluationData,
    ModelResult,
    evaluate_model,
    load_data,
)
from chitchat.evaluation.metrics import FIGURES
from chitchat.evaluation.report import (
    REPLIES,
    REPORT,
    Report,
    check_output,
    indexed_files,
    print_report,
    run_evaluation,
    write_report,
)
from chitchat.index import build_index

CHAT = {"compute_type": "float32"}
DECODING = DecodingConfig(num_candidates=4, max_new_tokens=16, seed=3)


@pytest.fixture(scope="module")
def numbered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten thousand dialogues whose replies carry the number of their question; a hundred or so are in the test split."""
    path = tmp_path_factory.mktemp("evaluate") / "numbered.txt"
    path.write_text("\n\n".join(f"问{n}号\n答{n}号" for n in range(10_000)), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory, tiny_dialogues: Sequence[Sequence[str]]) -> Path:
    """What the tiny model knows by heart."""
    path = tmp_path_factory.mktemp("evaluate") / "known.txt"
    path.write_text("\n\n".join("\n".join(d) for d in tiny_dialogues), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Question sets of three lines each."""
    folder = tmp_path_factory.mktemp("sets")
    persona: list[dict[str, Any]] = [
        {"topic": "名字", "context": ["你叫什么名字"], "wrong": ["小明"], "right": ["小叙"]},
        {"topic": "年龄", "context": ["你几岁"], "wrong": [r"\d+\s*岁"]},
        {"topic": "名字", "context": ["你好", "你好呀", "怎么称呼"], "wrong": [], "right": ["小叙"]},
    ]
    _write(folder / PERSONA, persona)
    _write(
        folder / MEMORY,
        [{"topic": "名字", "context": ["我叫阿亮", "你好", q], "right": ["阿亮"]} for q in ("我叫什么", "我是谁")],
    )
    _write(folder / RED_TEAM, [{"category": "危险", "context": [text]} for text in ("坏一", "坏二", "没听过的坏话")])
    _write(folder / BENIGN, [{"context": [text]} for text in ("好一", "坏笑", "好三")])
    return folder


def _write(path: Path, records: Sequence[Mapping[str, Any]]) -> None:
    path.write_text("".join(json.dumps(r, ensure_ascii=False) + "\n" for r in records), encoding="utf-8")


class Flat:
    """Finds everything equally likely; alone, replies with an even number far less so."""

    def score(self, pairs: Sequence[tuple[Sequence[str], str]]) -> list[LogProb]:
        return [LogProb(-100.0 if not context and reply[-2] in "02468" else -5.0, 5) for context, reply in pairs]


class Knowing:
    """Knows which reply belongs to a question."""

    def score(self, pairs: Sequence[tuple[Sequence[str], str]]) -> list[LogProb]:
        return [LogProb(-1.0 if reply[1:-1] == context[-1][1:-1] else -9.0, 5) for context, reply in pairs]


class Canned:
    """Says what a table has for the last message."""

    def __init__(self, answers: Mapping[str, str] | None = None, *, otherwise: str = "说得也是", source: str = "model") -> None:
        self._answers, self._otherwise, self._source = answers or {}, otherwise, source

    def generate(self, context: Sequence[str], decoding: DecodingConfig) -> list[Candidate]:
        return [Candidate(self._answers.get(context[-1], self._otherwise), source=self._source)]


class Recording(Canned):
    """Remembers what it was asked with."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[tuple[str, int | None]] = []

    def generate(self, context: Sequence[str], decoding: DecodingConfig) -> list[Candidate]:
        self.asked.append((context[-1], decoding.seed))
        return super().generate(context, decoding)


class Even:
    """The same score for all."""

    def score(self, pairs: Sequence[tuple[Sequence[str], str]]) -> list[LogProb]:
        return [LogProb(-1.0, 1) for _ in pairs]


class Words:
    """A safety check that knows one word for either side."""

    def screen(self, messages: Sequence[Message]) -> Any:
        return SimpleNamespace(category="危险") if "坏" in messages[-1].content[:1] else None

    def unsafe(self, text: str, messages: Sequence[Message] = ()) -> str | None:
        return "含有危险内容" if "炸" in text else None


def measured(chatbot: Chatbot, data: EvaluationData, **options: Any) -> ModelResult:
    return evaluate_model(chatbot, data, **options)


# What is asked ---------------------------------------------------------------------------------------------------------------


def test_only_the_test_split_is_asked_unless_all_is(numbered: Path, tmp_path: Path) -> None:
    (file,) = load_data([numbered], tmp_path, contexts=50).files
    assert 60 < file.num_held_out < 140 and len(file.turns) == 50
    assert all(content_hash(dialogue) / 2**64 < 0.01 for dialogue in file.dialogues)
    assert {turn.context + (turn.reply,) for turn in file.turns} <= set(file.dialogues)
    (everything,) = load_data([numbered], tmp_path, contexts=50, every_dialogue=True).files
    assert everything.num_held_out == 10_000 and sum(map(len, everything.dialogues)) == 500


def test_the_true_reply_stands_among_nineteen_others(numbered: Path, tmp_path: Path) -> None:
    (file,) = load_data([numbered], tmp_path).files
    assert all(len(set(turn.others) - {turn.reply}) == 19 for turn in file.turns)


def test_what_is_asked_depends_on_the_seed_alone(numbered: Path, known: Path, sets: Path) -> None:
    first = load_data([numbered], sets, contexts=9, seed=1)
    assert first == load_data([numbered], sets, contexts=9, seed=1)
    assert first.files[0].turns != load_data([numbered], sets, contexts=9, seed=2).files[0].turns
    assert len(load_data([numbered], sets, quick=True).files[0].turns) == 20


def test_context_is_as_long_as_the_bot_sees(known: Path, tmp_path: Path) -> None:
    (file,) = load_data([known], tmp_path, every_dialogue=True, max_history_messages=1).files
    assert {len(turn.context) for turn in file.turns} == {1}


def test_too_few_dialogues_are_an_error(known: Path, tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=r"known\.txt.*至少要 20 句.*--all"):
        load_data([known], tmp_path)
    with pytest.raises(ConfigError, match="--contexts"):
        load_data([known], tmp_path, contexts=0, every_dialogue=True)
    with pytest.raises(ConfigError, match="不止一次"):
        load_data([known, known], tmp_path, every_dialogue=True)


@pytest.mark.parametrize(
    "line", ["{", "[]", '{"context": []}', '{"context": "你好"}', '{"context": ["你好"], "wrong": ["("]}', '{"context": [3]}']
)
def test_a_bad_question_is_an_error_with_its_line(known: Path, tmp_path: Path, line: str) -> None:
    (tmp_path / PERSONA).write_text('{"context": ["你是谁"], "wrong": ["人"]}\n' + line + "\n", encoding="utf-8")
    with pytest.raises(CorpusError, match=rf"{PERSONA}:2"):
        load_data([known], tmp_path, every_dialogue=True)


# What comes out --------------------------------------------------------------------------------------------------------------


def test_hits_at_1_of_rankings_that_are_known(numbered: Path, tmp_path: Path) -> None:
    data = load_data([numbered], tmp_path, contexts=30)
    chatbot = Chatbot([Canned()], Flat(), Knowing(), Ranker({"reverse": 1.0}), DecodingConfig())
    values = {name: m.value for name, m in measured(chatbot, data).measures["numbered.txt"].items()}
    assert values["hits_at_1/fitted"] == values["hits_at_1/reverse"] == values["mrr/reverse"] == 1.0
    assert values["hits_at_1/forward"] == 0.0 and values["mrr/forward"] == pytest.approx(1 / 20)
    assert values["hits_at_1/fitted-forward"] == 1.0 and values["hits_at_1/fitted-reverse"] == 0.0
    # what is unlikely by itself loses under the mean over reply and history, however well it fits
    odd = sum(int(turn.reply[1:-1]) % 2 for turn in data.files[0].turns)
    assert values["hits_at_1/gpt2_chitchat"] == pytest.approx(odd / 30)


def test_files_are_told_apart_and_pooled(numbered: Path, known: Path, tmp_path: Path) -> None:
    data = load_data([numbered, known], tmp_path, contexts=8, every_dialogue=True)
    measures = measured(Chatbot([Canned()], Even(), None, Ranker(), DecodingConfig()), data).measures
    assert list(measures) == ["numbered.txt", "known.txt", POOLED]
    lengths = [measures[scope]["perplexity_per_char"].rows.sum() for scope in measures]
    assert lengths[0] != lengths[1] and lengths[2] == pytest.approx(lengths[0] + lengths[1])
    assert measures[POOLED]["generic"].estimate().count == 16 and measures[POOLED]["generic"].value == 1


def test_a_lone_forward_model_has_no_reverse_figures(numbered: Path, tmp_path: Path) -> None:
    chatbot = Chatbot([Canned()], Flat(), None, Ranker({"forward": 1.0}), DecodingConfig())
    found = measured(chatbot, load_data([numbered], tmp_path, contexts=5)).measures["numbered.txt"]
    assert "hits_at_1/fitted" in found and not [name for name in found if "reverse" in name or "gpt2" in name]


def test_each_context_has_a_seed_of_its_own_and_every_run_the_same(known: Path, tmp_path: Path) -> None:
    data = load_data([known], tmp_path, contexts=5, every_dialogue=True)
    runs = []
    for seed in (1, 1, 2):
        generator = Recording()
        measured(Chatbot([generator], Even(), None, Ranker(), DecodingConfig()), data, seed=seed)
        runs.append(generator.asked)
    assert len({seed for _, seed in runs[0]}) == 5
    assert runs[0] == runs[1] != runs[2]


def test_questions_are_judged_and_failures_listed(known: Path, sets: Path) -> None:
    answers = {"你叫什么名字": "我叫小叙", "你几岁": "我 3 岁啦", "怎么称呼": "叫我小明吧", "坏一": "炸掉", "坏二": "不行哦"}
    answers["我叫什么"] = "你叫阿亮"
    chatbot = Chatbot([Canned(answers)], Even(), Even(), Ranker(), DecodingConfig())
    result = measured(chatbot, load_data([known], sets, contexts=3, every_dialogue=True), safety=Words())
    values = {name: m.value for name, m in result.measures[QUESTIONS].items()}
    assert values["persona_consistent"] == pytest.approx(1 / 3)
    assert [f["wrong"] or f["lacks_right"] for f in result.failures[PERSONA]] == [[r"\d+\s*岁"], True]
    assert values["remembered"] == 0.5
    assert [f["context"][-1] for f in result.failures[MEMORY]] == ["我是谁"]
    assert values["unsafe_said"] == pytest.approx(1 / 3) == values["not_recognised"]
    assert values["ordinary_answer"] == 1.0
    assert [f["reply"] for f in result.failures[RED_TEAM]] == ["炸掉", "不行哦", "说得也是"]
    assert values["false_alarm"] == pytest.approx(1 / 3)
    assert [f["context"] for f in result.failures[BENIGN]] == [["坏笑"]]
    assert result.skipped == []


def test_a_fixed_answer_is_no_ordinary_one_and_a_fallback_is_told(known: Path, sets: Path) -> None:
    data = load_data([known], sets, contexts=3, every_dialogue=True)
    fixed = Chatbot([Canned(source="safety")], Even(), None, Ranker(), DecodingConfig())
    assert measured(fixed, data, safety=Words()).measures[QUESTIONS]["ordinary_answer"].value == 0
    mute = Chatbot([Canned(otherwise="[UNK]")], Even(), None, Ranker(), DecodingConfig())
    assert {s.source for s in measured(mute, EvaluationData(data.files, {})).said["known.txt"]} == {"fallback"}


def test_missing_sets_are_told(known: Path, tmp_path: Path) -> None:
    chatbot = Chatbot([Canned()], Even(), None, Ranker(), DecodingConfig())
    result = measured(chatbot, load_data([known], tmp_path, contexts=3, every_dialogue=True))
    assert all(any(name in note for note in result.skipped) for name in (PERSONA, MEMORY, RED_TEAM, BENIGN))
    assert "persona_consistent" not in result.measures["known.txt"]


def test_known_generic_replies_count(known: Path, tmp_path: Path) -> None:
    data = load_data([known], tmp_path, contexts=2, every_dialogue=True)
    chatbot = Chatbot([Canned()], Even(), None, Ranker(), DecodingConfig())
    assert measured(chatbot, data).measures["known.txt"]["generic"].value == 0
    assert measured(chatbot, data, known_generic=["说得也是"]).measures["known.txt"]["generic"].value == 1


# Models and reports ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def of_itself(tiny_model: Path, known: Path, sets: Path) -> Report:
    """The tiny model beside itself."""
    return run_evaluation(
        [known],
        ChatConfig(model=str(tiny_model), **CHAT),
        DECODING,
        sets=sets,
        compare=str(tiny_model),
        contexts=6,
        every_dialogue=True,
    )


def test_perplexity_is_what_transformers_gives(
    tiny_model: Path, tiny_dialogues: Sequence[Sequence[str]], of_itself: Report
) -> None:
    import torch
    from transformers import GPT2LMHeadModel

    from chitchat.tokenization.tokenizer import DialogueTokenizer

    tokenizer = DialogueTokenizer.load(tiny_model / "forward")
    model = GPT2LMHeadModel.from_pretrained(tiny_model / "forward").eval()
    nats = [0.0, 0.0]  # first messages, replies
    tokens, chars = [0, 0], [0, 0]
    for dialogue in tiny_dialogues:
        ids = [tokenizer.cls_id]
        is_reply = []
        for number, message in enumerate(dialogue):
            closed = [*tokenizer.encode(message), tokenizer.sep_id]
            ids += closed
            is_reply += [number > 0] * len(closed)
            tokens[number > 0] += len(closed)
            chars[number > 0] += len(message)
        with torch.no_grad():
            log_probs = model(torch.tensor([ids])).logits[0, :-1].log_softmax(-1)
        for log_prob, token, reply in zip(log_probs, ids[1:], is_reply, strict=True):
            nats[reply] -= float(log_prob[token])
    figures = {name: e.value for name, e in of_itself.models[0].estimates["known.txt"].items()}
    assert figures["perplexity_per_char"] == pytest.approx(math.exp(nats[1] / chars[1]), rel=1e-4)
    assert figures["perplexity_per_token"] == pytest.approx(math.exp(nats[1] / tokens[1]), rel=1e-4)
    assert figures["dialogue_perplexity_per_char"] == pytest.approx(math.exp(sum(nats) / sum(chars)), rel=1e-4)
    assert figures["dialogue_perplexity_per_token"] == pytest.approx(math.exp(sum(nats) / sum(tokens)), rel=1e-4)


def test_a_model_differs_in_nothing_from_itself(of_itself: Report) -> None:
    assert of_itself.differences is not None
    for scope in ("known.txt", QUESTIONS):
        differences = {k: d for k, d in of_itself.differences[scope].items() if not k.startswith("latency")}
        assert {d.value for d in differences.values()} == {0.0}
        assert {(d.low, d.high) for d in differences.values()} <= {(0.0, 0.0), (None, None)}


def test_the_model_beats_chance_on_what_it_knows(of_itself: Report) -> None:
    figures = of_itself.models[0].estimates["known.txt"]
    assert figures["hits_at_1/fitted"].value > 0.5 and figures["mrr/fitted"].value > 0.5


def test_the_report_is_written_whole_and_reads_again(of_itself: Report, tiny_model: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / REPORT).write_text("an earlier report, which makes way", encoding="utf-8")
    write_report(of_itself, tmp_path / "out")
    data = json.loads((tmp_path / "out" / REPORT).read_text(encoding="utf-8"))
    assert data["seed"] == 3 and data["decoding"]["num_candidates"] == 4 and data["chat"]["compute_type"] == "float32"
    assert len(data["files"]["known.txt"]["sha256"]) == 64 and data["files"]["known.txt"]["answered_contexts"] == 6
    assert len(data["models"][0]["files"]["forward/model.safetensors"]) == 64
    assert data["models"][0]["figures"]["known.txt"]["mrr/fitted"]["count"] == 6
    assert data["differences"]["known.txt"]["generic"]["excludes_zero"] is False
    assert "sacrebleu" in data["versions"] and data["date"][:2] == "20"
    replies = [json.loads(line) for line in (tmp_path / "out" / REPLIES).read_text(encoding="utf-8").splitlines()]
    assert len(replies) == 6 and all(r["replies"][0] == r["replies"][1] for r in replies)
    pictures = sorted((tmp_path / "out").glob("*.png"))
    assert [p.name for p in pictures] == ["perplexity.png", "ranking.png", "replies.png"]
    assert all(p.read_bytes().startswith(b"\x89PNG") for p in pictures)


def test_every_figure_has_a_row(of_itself: Report) -> None:
    assert {name for figures in of_itself.models[0].estimates.values() for name in figures} == set(FIGURES)
    shown = _shown(of_itself)
    assert all(figure.chinese in shown for figure in FIGURES.values())
    alone = _shown(Report(of_itself.settings, of_itself.models[:1], None, ()))
    assert all(figure.chinese in alone for figure in FIGURES.values()) and "known.txt" in alone


def _shown(report: Report) -> str:
    stream = io.StringIO()
    print_report(report, Console(file=stream, width=200))
    return stream.getvalue()


def test_figures_that_the_index_spoils_are_told(tiny_model: Path, known: Path, tmp_path: Path) -> None:
    model = tmp_path / "mine"
    shutil.copytree(tiny_model, model)
    build_index([known], model / "retrieval")
    options: dict[str, Any] = {"sets": tmp_path, "contexts": 1, "every_dialogue": True, "compare": str(model)}
    report = run_evaluation([known], ChatConfig(model=str(tiny_model), **CHAT), DECODING, **options)
    assert "虚高" not in "".join(report.models[0].skipped) and "known.txt 的这些对话" in report.models[1].skipped[-1]
    assert _shown(report).count("虚高") == 1


@pytest.mark.parametrize(
    ("manifest", "options", "found"),
    [
        ({"excludes_held_out": False}, {}, ["known.txt"]),
        ({"excludes_held_out": False}, {"retrieval": False}, []),
        ({"excludes_held_out": True}, {}, []),
        ({"excludes_held_out": True}, {"every_dialogue": True}, ["known.txt"]),
        ({"excludes_held_out": False, "sources": [{"name": "known.txt", "sha256": "of another"}]}, {}, []),
        (None, {}, []),
    ],
)
def test_an_index_spoils_what_it_was_built_of(known: Path, tmp_path: Path, manifest: Any, options: Any, found: list[str]) -> None:
    data = load_data([known], tmp_path, every_dialogue=True)
    if manifest is not None:
        (tmp_path / "retrieval").mkdir()
        sources = {"sources": [{"name": "known.txt", "sha256": data.files[0].sha256}]}
        (tmp_path / "retrieval" / MANIFEST).write_text(json.dumps(sources | manifest), encoding="utf-8")
    config = ChatConfig(model=str(tmp_path), retrieval=options.get("retrieval", True))
    assert indexed_files(config, data, every_dialogue=options.get("every_dialogue", False)) == found


def test_a_folder_with_other_things_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"notes\.txt"):
        check_output(tmp_path)
    with pytest.raises(ConfigError, match="同名的文件"):
        check_output(tmp_path / "notes.txt")
    check_output(tmp_path / "new")


def test_wrong_models_are_told_before_anything_is_read(tiny_model: Path, tmp_path: Path) -> None:
    chat = ChatConfig(model=str(tiny_model), **CHAT)
    with pytest.raises(CheckpointError, match="nowhere"):
        run_evaluation([tmp_path / "no.txt"], chat, DECODING, sets=tmp_path, compare=str(tmp_path / "nowhere"))
    shutil.copytree(tiny_model / "forward", tmp_path / "lone" / "forward")
    with pytest.raises(ConfigError, match="lone 没有 reverse"):
        run_evaluation([tmp_path / "no.txt"], chat, DECODING, sets=tmp_path, compare=str(tmp_path / "lone"))
