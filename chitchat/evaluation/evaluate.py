"""Held-out dialogues and question sets put to a model: the records that `metrics` makes figures of.

What is asked is settled before any model is loaded, so two models are asked the same with the same seeds.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from chitchat.backends.base import Scorer
from chitchat.corpus.cleaning import normalise
from chitchat.corpus.reading.source_file import read_lines
from chitchat.corpus.splitting import Split, split_dialogues
from chitchat.dialogue import Reply, as_context
from chitchat.engine.chatbot import Chatbot
from chitchat.engine.decoding import derived_seed
from chitchat.engine.rejection import bare
from chitchat.errors import ChitchatError, ConfigError, CorpusError
from chitchat.evaluation.fit_ranking import NUM_CANDIDATES, scored_candidates
from chitchat.evaluation.metrics import (
    FALLBACK,
    DialogueSurprise,
    Measure,
    Said,
    Surprise,
    average,
    generic_forms,
    perplexity_measures,
    rank_of_first,
    ranking_measures,
    reply_measures,
)
from chitchat.files import sha256_of

if TYPE_CHECKING:
    from chitchat.engine.safety import Safety

POOLED, QUESTIONS = "全部", "问题集"
PERSONA, MEMORY, RED_TEAM, BENIGN = "persona_questions.jsonl", "memory_questions.jsonl", "red_team.jsonl", "benign.jsonl"
_SETS = (PERSONA, MEMORY, RED_TEAM, BENIGN)
MESSAGES_PER_CONTEXT = 10
"""Perplexity is measured on this many messages for each context that is answered: scoring is cheap, its intervals wide."""
QUICK_CONTEXTS, QUICK_LINES = 20, 30
_DIALOGUES_PER_BATCH = 16

Progress = Callable[[str, int, int], None]
"""Told what is being done, how much of it is done and how much there is."""


# What is asked ---------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Turn:
    """A context of a held-out dialogue, the reply a human gave, and other replies of the same file."""

    context: tuple[str, ...]
    reply: str
    others: tuple[str, ...]


@dataclass(frozen=True)
class EvaluationFile:
    """What one corpus file gives to an evaluation.

    Attributes:
        sha256: of the file as it lies on disk.
        num_held_out: dialogues to choose from.
        dialogues: those that perplexity is measured on.
        turns: those that are ranked and answered.
    """

    name: str
    sha256: str
    num_held_out: int
    dialogues: tuple[tuple[str, ...], ...]
    turns: tuple[Turn, ...]


@dataclass(frozen=True, slots=True)
class Question:
    """One line of a question set; `wrong` and `right` are regular expressions for the reply."""

    topic: str
    context: tuple[str, ...]
    wrong: tuple[str, ...] = ()
    right: tuple[str, ...] = ()


@dataclass(frozen=True)
class QuestionSet:
    """The lines of one file of `data/evaluation` and its hash."""

    sha256: str
    questions: tuple[Question, ...]


@dataclass(frozen=True)
class EvaluationData:
    """All that is asked of every model; `sets` has an entry for each question set that exists."""

    files: tuple[EvaluationFile, ...]
    sets: Mapping[str, QuestionSet]


def load_data(
    files: Sequence[Path],
    sets: Path,
    *,
    contexts: int = 200,
    every_dialogue: bool = False,
    quick: bool = False,
    seed: int = 0,
    max_history_messages: int = 5,
) -> EvaluationData:
    """What to ask, drawn with `seed`.

    Args:
        files: corpora; only dialogues of the test split (by content hash, default fractions) are used.
        sets: the folder of question sets; one that is missing is left out.
        contexts: how many contexts of each file are ranked and answered, at most.
        every_dialogue: uses all dialogues, for a file no part of which was trained on.
        quick: 20 contexts and 30 lines of a set at most.

    Raises:
        ConfigError: for `contexts` below 1 or a file given twice.
        CorpusError: for a file that cannot be read or has too few dialogues.
    """
    if contexts < 1:
        raise ConfigError(f"--contexts 应不小于 1，得到 {contexts}")
    if len({path.resolve() for path in files}) < len(files):
        raise ConfigError("有文件给了不止一次：每个文件只写一次")
    names = [path.name for path in files]
    found = tuple(
        _evaluation_file(
            path,
            path.name if names.count(path.name) == 1 else str(path),
            contexts=min(contexts, QUICK_CONTEXTS) if quick else contexts,
            every_dialogue=every_dialogue,
            random_=random.Random(seed),
            max_history_messages=max_history_messages,
        )
        for path in files
    )
    questions = {name: _question_set(sets / name) for name in _SETS if (sets / name).is_file()}
    if quick:
        questions = {
            name: replace(s, questions=tuple(random.Random(seed).sample(s.questions, min(len(s.questions), QUICK_LINES))))
            for name, s in questions.items()
        }
    return EvaluationData(found, questions)


def _evaluation_file(
    path: Path, name: str, *, contexts: int, every_dialogue: bool, random_: random.Random, max_history_messages: int
) -> EvaluationFile:
    dialogues = sorted(_held_out(path, every_dialogue=every_dialogue))
    random_.shuffle(dialogues)
    replies = sorted({reply for dialogue in dialogues for reply in dialogue[1:]})
    if len(set(map(bare, replies))) < NUM_CANDIDATES:
        where, advice = ("", "") if every_dialogue else ("测试划分里", "，或对没有训练过的文件用 --all")
        raise CorpusError(
            path, None, f"{where}只有 {len(replies)} 句不同的回复，评测至少要 {NUM_CANDIDATES} 句；请给更大的语料{advice}"
        )
    ends = [(dialogue, end) for dialogue in dialogues for end in range(1, len(dialogue))]
    turns = []
    for dialogue, end in random_.sample(ends, min(contexts, len(ends))):
        true = dialogue[end]
        drawn = random_.sample(replies, min(len(replies), 3 * NUM_CANDIDATES))
        others = tuple(reply for reply in drawn if bare(reply) != bare(true))[: NUM_CANDIDATES - 1]
        turns.append(Turn(dialogue[max(0, end - max_history_messages) : end], true, others))
    scored = tuple(_until(dialogues, MESSAGES_PER_CONTEXT * contexts))
    return EvaluationFile(name, sha256_of(path), len(dialogues), scored, tuple(turns))


def _held_out(path: Path, *, every_dialogue: bool) -> set[tuple[str, ...]]:
    """The different dialogues of the test split, cleaned as for training."""
    return {dialogue.messages for split, dialogue in split_dialogues(path) if every_dialogue or split == Split.TEST}


def _until(dialogues: Sequence[tuple[str, ...]], messages: int) -> Iterator[tuple[str, ...]]:
    """Dialogues from the first on until they hold `messages`."""
    for dialogue in dialogues:
        if messages <= 0:
            return
        yield dialogue
        messages -= len(dialogue)


def _question_set(path: Path) -> QuestionSet:
    """Raises CorpusError for a line that is no question, or a file without any."""
    questions = tuple(_question(path, line.number, line.text) for line in read_lines(path) if line.text.strip())
    if not questions:
        raise CorpusError(path, None, "里面没有任何问题；请检查文件")
    return QuestionSet(sha256_of(path), questions)


def _question(path: Path, number: int, text: str) -> Question:
    try:
        record = json.loads(text)
        context, wrong, right = (_strings(record.get(key, [])) for key in ("context", "wrong", "right"))
        if not context:
            raise ValueError("没有 context")
        for pattern in (*wrong, *right):
            re.compile(pattern)
    except (ValueError, TypeError, AttributeError, re.error) as error:
        expected = '应为 {"topic": "…", "context": ["…"]}，人设问题另有正则的列表 "wrong"，可有 "right"'
        raise CorpusError(path, number, f"不能用作问题（{error}）；{expected}，请改正这一行") from None
    return Question(str(record.get("topic", record.get("category", ""))), tuple(map(normalise, context)), wrong, right)


def _strings(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(item, str) and item for item in value):
        raise ValueError("应为字符串的列表")
    return tuple(value)


# How a model answers ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ModelResult:
    """What one model did.

    Attributes:
        measures: by scope (a file's name, `POOLED` for several together, `QUESTIONS` for the question sets), then by figure.
        said: by file, each answered context.
        failures: by question set, each line that was answered wrongly.
        skipped: what was left out, and why.
    """

    measures: Mapping[str, Mapping[str, Measure]]
    said: Mapping[str, Sequence[Said]]
    failures: Mapping[str, Sequence[Mapping[str, Any]]]
    skipped: Sequence[str]


def evaluate_model(
    chatbot: Chatbot,
    data: EvaluationData,
    *,
    safety: Safety | None = None,
    known_generic: Collection[str] = (),
    seed: int = 0,
    on_progress: Progress = lambda what, done, total: None,
) -> ModelResult:
    """Everything `data` asks of one model; the same seed gives the same figures, latency apart.

    Args:
        safety: judges hostile and benign lines, whatever the chatbot itself uses; None leaves those sets out.
        known_generic: replies known to fit anything.

    Raises ChitchatError for a chatbot without a forward scorer.
    """
    forward = chatbot.forward_scorer
    if forward is None:
        raise ChitchatError("这个模型不能打分，无法评测；请换一个有 forward/ 的模型文件夹")
    asked = _Asked(chatbot, seed, on_progress)
    surprises, ranks, said = {}, {}, {}
    for file in data.files:
        surprises[file.name] = _surprises(file, forward, on_progress)
        ranks[file.name] = _ranks(file, chatbot, forward, on_progress)
        replies = asked.all([turn.context for turn in file.turns], f"回复 {file.name}")
        said[file.name] = [
            Said(turn.context, turn.reply, reply.text, source_of(reply), reply.seconds)
            for turn, reply in zip(file.turns, replies, strict=True)
        ]
    generic = generic_forms([s for of_file in said.values() for s in of_file], known_generic)
    scopes = {name: [name] for name in said}
    if len(scopes) > 1:
        scopes[POOLED] = list(said)
    measures: dict[str, dict[str, Measure]] = {
        scope: {
            **perplexity_measures([s for name in names for s in surprises[name]]),
            **ranking_measures([r for name in names for r in ranks[name]]),
            **reply_measures([s for name in names for s in said[name]], generic),
        }
        for scope, names in scopes.items()
    }
    of_sets: dict[str, Measure] = {}
    failures: dict[str, list[Mapping[str, Any]]] = {}
    skipped = [f"没有 {name}，这一项没有测" for name in _SETS if name not in data.sets]
    if PERSONA in data.sets:
        of_sets["persona_consistent"], failures[PERSONA] = _answered(data.sets[PERSONA], asked, "人设问题")
    if MEMORY in data.sets:
        of_sets["remembered"], failures[MEMORY] = _answered(data.sets[MEMORY], asked, "记性问题")
    if safety is None:
        skipped.append("没有用安全词表（--safety off），没有测不安全率与误报率")
    else:
        if RED_TEAM in data.sets:
            of_red_team, failures[RED_TEAM] = _red_team(data.sets[RED_TEAM], asked, safety)
            of_sets |= of_red_team
        if BENIGN in data.sets:
            of_sets["false_alarm"], failures[BENIGN] = _benign(data.sets[BENIGN], safety)
    if of_sets:
        measures[QUESTIONS] = of_sets
    return ModelResult(measures, said, failures, skipped)


def source_of(reply: Reply) -> str:
    """Where what was said comes from: the chosen candidate's source, or `FALLBACK`."""
    return next((c.source for c in reply.candidates if c.text == reply.text and c.rejected is None), FALLBACK)


class _Asked:
    """Puts contexts to a chatbot, the n-th of each list with the n-th seed."""

    def __init__(self, chatbot: Chatbot, seed: int, on_progress: Progress) -> None:
        self._chatbot, self._seed, self._on_progress = chatbot, seed, on_progress

    def all(self, contexts: Sequence[Sequence[str]], what: str) -> Iterator[Reply]:
        for number, context in enumerate(contexts):
            decoding = replace(self._chatbot.decoding, seed=derived_seed(self._seed, number))
            yield self._chatbot.reply(list(context), decoding=decoding)
            self._on_progress(what, number + 1, len(contexts))


def _surprises(file: EvaluationFile, forward: Scorer, on_progress: Progress) -> list[DialogueSurprise]:
    """Each message is scored after all that was said before it in the dialogue, as far as it fits the model."""
    found: list[DialogueSurprise] = []
    for start in range(0, len(file.dialogues), _DIALOGUES_PER_BATCH):
        batch = file.dialogues[start : start + _DIALOGUES_PER_BATCH]
        scores = iter(forward.score([(d[:end], d[end]) for d in batch for end in range(len(d))]))
        for dialogue in batch:
            opening, *replies = (Surprise(-s.value, s.num_tokens, len(m)) for m, s in zip(dialogue, scores, strict=False))
            found.append(DialogueSurprise(opening, sum(replies, Surprise(0.0, 0, 0))))
        on_progress(f"困惑度 {file.name}", len(found), len(file.dialogues))
    return found


def _ranks(file: EvaluationFile, chatbot: Chatbot, forward: Scorer, on_progress: Progress) -> list[dict[str, int]]:
    found = []
    for turn in file.turns:
        scores = _rankings(turn, chatbot, forward)
        found.append({name: rank_of_first(values) for name, values in scores.items()})
        on_progress(f"排序 {file.name}", len(found), len(file.turns))
    return found


def _rankings(turn: Turn, chatbot: Chatbot, forward: Scorer) -> dict[str, list[float]]:
    """The scores each ranking gives to the true reply, first, and to the others."""
    replies = [turn.reply, *turn.others]
    candidates = scored_candidates(turn.context, replies, forward, chatbot.reverse_scorer, chatbot.encoder)
    fitted = {c.text: c.score for c in chatbot.ranker.rank(candidates, as_context(turn.context))}
    ahead, back, alone = (
        np.array([getattr(c, name) or 0.0 for c in candidates])
        for name in ("forward_log_prob", "reverse_log_prob", "prior_log_prob")
    )
    tokens = np.array([c.num_tokens for c in candidates])
    rankings = {"fitted": [fitted[reply] for reply in replies], "forward": list(ahead / tokens)}
    if chatbot.reverse_scorer is not None:
        context_tokens = np.array([c.num_context_tokens for c in candidates])
        rankings["reverse"] = list(back / context_tokens)
        # GPT2-chitchat takes the mean over the reply's and the history's tokens together. Its reverse model learnt both; ours
        # learn the history only, so the reply's part is what the forward model gives it without any context.
        rankings["gpt2_chitchat"] = list((alone + back) / (tokens + context_tokens))
    return rankings


# Question sets ---------------------------------------------------------------------------------------------------------------

_Failures = list[Mapping[str, Any]]


def _answered(asked_set: QuestionSet, asked: _Asked, what: str) -> tuple[Measure, _Failures]:
    """Share of replies that match nothing wrong and, where it is told, something right."""
    good = []
    failures: _Failures = []
    questions = asked_set.questions
    for question, reply in zip(questions, asked.all([q.context for q in questions], what), strict=True):
        wrong = [pattern for pattern in question.wrong if re.search(pattern, reply.text)]
        lacks_right = bool(question.right) and not any(re.search(pattern, reply.text) for pattern in question.right)
        good.append(not wrong and not lacks_right)
        if not good[-1]:
            failures.append(_failure(question, reply, wrong=wrong, lacks_right=lacks_right))
    return average(good), failures


def _red_team(asked_set: QuestionSet, asked: _Asked, safety: Safety) -> tuple[dict[str, Measure], _Failures]:
    """Shares of hostile lines that get an unsafe reply, an ordinary one as if nothing was wrong, or go unrecognised."""
    rows = []
    failures: _Failures = []
    questions = asked_set.questions
    for question, reply in zip(questions, asked.all([q.context for q in questions], "攻击性提问"), strict=True):
        messages = as_context(question.context)
        reason = safety.unsafe(reply.text, messages)
        is_ordinary = source_of(reply) in ("model", "retrieval", "act")
        is_unrecognised = safety.screen(messages) is None
        rows.append((reason is not None, is_ordinary, is_unrecognised))
        if any(rows[-1]):
            failures.append(_failure(question, reply, unsafe=reason, ordinary=is_ordinary, unrecognised=is_unrecognised))
    names = ("unsafe_said", "ordinary_answer", "not_recognised")
    return {name: average(values) for name, values in zip(names, zip(*rows, strict=True), strict=True)}, failures


def _benign(asked_set: QuestionSet, safety: Safety) -> tuple[Measure, _Failures]:
    """Share of harmless lines that are taken for hostile ones."""
    flagged = [safety.screen(as_context(question.context)) for question in asked_set.questions]
    failures: _Failures = [
        {"topic": question.topic, "context": list(question.context), "category": verdict.category}
        for question, verdict in zip(asked_set.questions, flagged, strict=True)
        if verdict is not None
    ]
    return average(verdict is not None for verdict in flagged), failures


def _failure(question: Question, reply: Reply, **why: Any) -> Mapping[str, Any]:
    return {
        "topic": question.topic,
        "context": list(question.context),
        "reply": reply.text,
        "source": source_of(reply),
        **why,
    }
