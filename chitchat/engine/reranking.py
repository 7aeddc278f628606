"""Which candidate is said: a few features of each, a weight for each feature, the order that follows.

The weights are the model's (`ranker.json` beside it), fitted on validation dialogues: a plain half-and-half mix of forward and
reverse log-probability picks generic replies.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from chitchat.dialogue import Candidate, Message, Role
from chitchat.engine.rejection import bare, bigrams, is_question, similarity
from chitchat.errors import CheckpointError
from chitchat.files import atomic_write

RANKER = "ranker.json"
GENERIC_REPLIES = "generic_replies.txt"
FORMAT = 1

_RECENT = 5
"""Messages whose words a reply may take up."""

Feature = Callable[[Candidate, Sequence[Message]], "float | None"]


def forward(candidate: Candidate, context: Sequence[Message]) -> float | None:
    """How fluent: mean log P(reply | context) a token. The mean, because the sum grows with every token."""
    if candidate.forward_log_prob is None:
        return None
    return candidate.forward_log_prob / max(candidate.num_tokens, 1)


def specificity(candidate: Candidate, context: Sequence[Message]) -> float | None:
    """How much likelier the context makes the reply: log P(reply | context) − log P(reply), over √tokens.

    The pointwise mutual information of Li et al. 2016 (arXiv:1510.03055, section 3). What fits anywhere gains nothing from the
    context. The root lies between a sum, which longer replies win, and a mean, which shorter ones do.
    """
    if candidate.forward_log_prob is None or candidate.prior_log_prob is None:
        return None
    return (candidate.forward_log_prob - candidate.prior_log_prob) / math.sqrt(max(candidate.num_tokens, 1))


def reverse(candidate: Candidate, context: Sequence[Message]) -> float | None:
    """How much to the point: mean log P(context | reply) a token of the context (DialoGPT's MMI)."""
    if candidate.reverse_log_prob is None:
        return None
    return candidate.reverse_log_prob / max(candidate.num_context_tokens, 1)


def reverse_last(candidate: Candidate, context: Sequence[Message]) -> float | None:
    """log P(last message | reply): older messages say less about the reply and drown the last one in a mean."""
    return candidate.reverse_last_log_prob


def reward(candidate: Candidate, context: Sequence[Message]) -> float | None:
    """How a reader would like it here, by the reward model; nothing for a model's own, on which it was not fitted."""
    return candidate.reward


def length(candidate: Candidate, context: Sequence[Message]) -> float | None:
    """Logarithm of the tokens: sampling and the forward mean both lean to short replies."""
    return math.log(candidate.num_tokens) if candidate.num_tokens else None


def overlap(candidate: Candidate, context: Sequence[Message]) -> float | None:
    """log(1 + character bigrams shared with the last message): who listens takes words up."""
    return math.log1p(len(bigrams(candidate.text) & bigrams(_last(context, "user"))))


def echo(candidate: Candidate, context: Sequence[Message]) -> float | None:
    """Share of the reply's bigrams that only repeat the last message, 0 to 1; one or two words taken up are none."""
    own = bigrams(candidate.text)
    return max(0.0, len(own & bigrams(_last(context, "user"))) / len(own) - 0.5) * 2 if own else 0.0


def repetition(candidate: Candidate, context: Sequence[Message]) -> float | None:
    """Likeness to the most similar thing the bot has said, 0 to 1; what is nearly equal never gets here."""
    return max((similarity(candidate.text, m.content) for m in context if m.role == "assistant"), default=0.0)


def loop(candidate: Candidate, context: Sequence[Message]) -> float | None:
    """Share of the reply's character bigrams that have occurred in it before, 0 to 1."""
    text = bare(candidate.text)
    return 1.0 - len(bigrams(text)) / (len(text) - 1) if len(text) > 2 else 0.0


def question_run(candidate: Candidate, context: Sequence[Message]) -> float | None:
    """For a question: how many questions in a row the bot has asked just before, at most 3. An interview is no chat."""
    if not is_question(candidate.text):
        return 0.0
    run = 0
    for message in reversed(context):
        if message.role == "assistant":
            if run == 3 or not is_question(message.content):
                break
            run += 1
    return float(run)


def context_similarity(candidate: Candidate, context: Sequence[Message]) -> float | None:
    """For a retrieved reply: how alike the context it was given in is to this one; 0 for a written one."""
    return 0.0 if candidate.source == "act" else candidate.context_similarity


def reply_match(candidate: Candidate, context: Sequence[Message]) -> float | None:
    """How near the reply is to what usually answers such a context, by the dual encoder."""
    return candidate.reply_match


def context_match(candidate: Candidate, context: Sequence[Message]) -> float | None:
    """For a retrieved reply: how near the context it was given in is to this one, by the dual encoder."""
    return candidate.context_match


def origin_match(candidate: Candidate, context: Sequence[Message]) -> float | None:
    """For a retrieved reply: how near it is to what usually answers the context it was given in, by the dual encoder.

    Beside `reply_match` it tells whether it answers this one less well than that one.
    """
    return candidate.origin_match


def question(candidate: Candidate, context: Sequence[Message]) -> float | None:
    """1 for a reply that asks: it takes up less of what was said."""
    return float(is_question(candidate.text))


def met(candidate: Candidate, context: Sequence[Message]) -> float | None:
    """For a retrieved reply: character pairs that the last message shares with the one it was written to answer.

    The similarity is a share, and 0.5 of three characters is less than 0.5 of twelve.
    """
    return float(len(bigrams(_last(context, "user")) & bigrams(candidate.origin[-1]))) if candidate.origin else 0.0


def imported(candidate: Candidate, context: Sequence[Message]) -> float | None:
    """For a retrieved reply: character pairs it has from the messages it was written to answer and that are not in these.

    The colleague of another talk, say, when this one is about a room-mate.
    """
    if not candidate.origin:
        return 0.0
    own = bigrams(candidate.text) & set().union(*map(bigrams, candidate.origin))
    return float(len(own.difference(*(bigrams(m.content) for m in context[-_RECENT:]))))


def act(candidate: Candidate, context: Sequence[Message]) -> float | None:
    """1 for a reply that fits a kind of message and knows nothing else of this one."""
    return float(candidate.source == "act")


def act_probability(candidate: Candidate, context: Sequence[Message]) -> float | None:
    """For a reply that fits a kind of message: how likely this one is of that kind."""
    return candidate.context_similarity if candidate.source == "act" else 0.0


def human(candidate: Candidate, context: Sequence[Message]) -> float | None:
    """1 for a reply that a person wrote, which is a sentence at least; 0 for a model's."""
    return float(candidate.source != "model")


FEATURES: Mapping[str, Feature] = {
    f.__name__: f
    for f in (
        forward, specificity, reverse, reverse_last, reply_match, length, overlap, reward,
        echo, repetition, loop, question_run, context_similarity, context_match, origin_match, met, imported,
        act, act_probability, human, question,
    )
}  # fmt: skip
GENERIC = "generic"
"""The one feature that needs a list: log(1 + contexts the reply was given in), see `Ranker.generic`."""
FITTED = ("forward", "specificity", "reverse", "reverse_last", "reply_match", "length", "overlap", GENERIC)
"""Fitted on held-out dialogues. The others tell nothing there, since people hardly loop, echo, repeat themselves or answer out of
an index."""
JUDGED = (
    "context_similarity", "context_match", "origin_match", "met", "imported",
    "act", "act_probability", "human", "question", "reward",
)  # fmt: skip
"""Fitted on candidates that a reader graded. The rest is set by hand: what they count has been screened out where it is gross."""

DEFAULT_WEIGHTS: Mapping[str, float] = {
    "forward": 0.3,
    "specificity": 0.5,
    "reverse": 0.5,
    "reverse_last": 0.15,
    "length": 0.1,
    "overlap": 0.5,
    "reward": 10.0,
    "reply_match": 5.0,
    "echo": -10.0,
    "repetition": -5.0,
    "loop": -10.0,
    "question_run": -1.0,
    "context_similarity": 20.0,
    "context_match": 5.0,
    "origin_match": -3.0,
    "met": 2.0,
    "imported": -1.5,
    "act": 8.0,
    "act_probability": 3.0,
    "human": 10.0,
    "question": -1.0,
    GENERIC: -0.1,
}
"""For a model without `ranker.json`, and for every weight that it does not name."""


@dataclass(frozen=True)
class Ranker:
    """A linear ranking; a feature without a value (no reverse model, say) counts for nothing.

    Attributes:
        weights: of each feature; one left out weighs nothing.
        generic: replies that fit anywhere (万能回复), without marks and spaces, and in how many contexts of the corpus each was
            given.
    """

    weights: Mapping[str, float] = field(default_factory=lambda: DEFAULT_WEIGHTS)
    generic: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if unknown := [name for name in self.weights if name not in FEATURES and name != GENERIC]:
            known = "、".join([*FEATURES, GENERIC])
            raise CheckpointError(f"排序权重里有未知的特征 {'、'.join(unknown)}；可用：{known}")

    @classmethod
    def load(cls, model: Path) -> Ranker:
        """The ranker of a model folder, with sound defaults for what it has not.

        Raises CheckpointError for a damaged or newer file and for features this program does not know.
        """
        path = model / RANKER
        if not path.is_file():
            return cls(generic=load_generic(model))
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
            if data["format"] > FORMAT:
                raise CheckpointError(f"格式是 {data['format']}，本程序只认到 {FORMAT}，请升级 chitchat")
            weights = {str(name): float(value) for name, value in data["weights"].items()}
            if not all(map(math.isfinite, weights.values())):
                raise ValueError("权重应为有限的数")
            return cls({**DEFAULT_WEIGHTS, **weights}, load_generic(model))
        except CheckpointError as error:
            raise CheckpointError(f"{path}：{error}") from None
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            wanted = '{"format": 1, "weights": {"forward": 1.0, …}}'
            raise CheckpointError(f"{path} 已损坏（{error!r}）；应为 {wanted}，删去它则用默认权重") from None

    def save(self, model: Path, **measured: Any) -> None:
        """Writes `ranker.json` into a model folder, `measured` beside the weights."""
        with atomic_write(model / RANKER) as stream:
            json.dump({"format": FORMAT, "weights": dict(self.weights), **measured}, stream, ensure_ascii=False, indent=2)
            stream.write("\n")

    def features(self, candidate: Candidate, context: Sequence[Message]) -> dict[str, float]:
        """The features of one candidate that have a value."""
        values = {name: feature(candidate, context) for name, feature in FEATURES.items()}
        values[GENERIC] = math.log1p(self.generic.get(bare(candidate.text), 0))
        return {name: value for name, value in values.items() if value is not None}

    def rank(self, candidates: Sequence[Candidate], context: Sequence[Message]) -> tuple[Candidate, ...]:
        """The candidates with features and score filled in, best first; rejected ones last and as they came."""
        judged = [c if c.rejected is not None else self._judged(c, context) for c in candidates]
        return tuple(sorted(judged, key=lambda c: (c.rejected is not None, -c.score)))

    def _judged(self, candidate: Candidate, context: Sequence[Message]) -> Candidate:
        features = self.features(candidate, context)
        score = sum(self.weights.get(name, 0.0) * value for name, value in features.items())
        return replace(candidate, features=features, score=score)


def load_generic(model: Path) -> dict[str, int]:
    """The generic replies of a model folder, `reply<TAB>contexts` a line; none when there is no such file."""
    path = model / GENERIC_REPLIES
    if not path.is_file():
        return {}
    counts = {}
    try:
        for line in path.read_text(encoding="utf-8").splitlines():
            reply, count = line.split("\t")
            counts[bare(reply)] = int(count)
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} 已损坏（{error}）；每行应为“回复<TAB>次数”，可用 chitchat fit-ranking 重做") from None
    return counts


def save_generic(counts: Mapping[str, int], model: Path) -> None:
    """Writes the generic replies into a model folder, the commonest first."""
    with atomic_write(model / GENERIC_REPLIES) as stream:
        stream.writelines(f"{reply}\t{count}\n" for reply, count in sorted(counts.items(), key=lambda x: (-x[1], x[0])))


def _last(context: Sequence[Message], role: Role) -> str:
    return next((m.content for m in reversed(context) if m.role == role), "")
