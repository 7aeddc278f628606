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

from chitchat.dialogue import Candidate, Message
from chitchat.engine.rejection import similarity
from chitchat.errors import CheckpointError
from chitchat.files import atomic_write

RANKER = "ranker.json"
FORMAT = 1

Feature = Callable[[Candidate, Sequence[Message]], "float | None"]


def forward(candidate: Candidate, context: Sequence[Message]) -> float | None:
    """How fluent: mean log P(reply | context) a token. The mean, because the sum grows with every token."""
    if candidate.forward_log_prob is None:
        return None
    return candidate.forward_log_prob / max(candidate.num_tokens, 1)


def reverse(candidate: Candidate, context: Sequence[Message]) -> float | None:
    """How much to the point: mean log P(context | reply) a token of the context."""
    if candidate.reverse_log_prob is None:
        return None
    return candidate.reverse_log_prob / max(candidate.num_context_tokens, 1)


def length(candidate: Candidate, context: Sequence[Message]) -> float | None:
    """Logarithm of the tokens: sampling and the forward mean both lean to short replies."""
    return math.log(candidate.num_tokens) if candidate.num_tokens else None


def repetition(candidate: Candidate, context: Sequence[Message]) -> float | None:
    """Likeness to the most similar thing the bot has said, 0 to 1; what is nearly equal never gets here."""
    return max((similarity(candidate.text, m.content) for m in context if m.role == "assistant"), default=0.0)


FEATURES: Mapping[str, Feature] = {"forward": forward, "reverse": reverse, "length": length, "repetition": repetition}

DEFAULT_WEIGHTS: Mapping[str, float] = {"forward": 1.0, "reverse": 2.0, "length": 0.3, "repetition": -1.0}
"""For a model without `ranker.json`. Reverse counts more because its mean over a long context differs less between replies."""


@dataclass(frozen=True)
class Ranker:
    """A linear ranking; a feature without a value (no reverse model, say) counts for nothing."""

    weights: Mapping[str, float] = field(default_factory=lambda: DEFAULT_WEIGHTS)

    def __post_init__(self) -> None:
        if unknown := [name for name in self.weights if name not in FEATURES]:
            raise CheckpointError(f"排序权重里有未知的特征 {'、'.join(unknown)}；可用：{'、'.join(FEATURES)}")

    @classmethod
    def load(cls, model: Path) -> Ranker:
        """The ranker of a model folder, with sound defaults when there is no `ranker.json`.

        Raises CheckpointError for a damaged or newer file and for features this program does not know.
        """
        path = model / RANKER
        if not path.is_file():
            return cls()
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
            if data["format"] > FORMAT:
                raise CheckpointError(f"格式是 {data['format']}，本程序只认到 {FORMAT}，请升级 chitchat")
            weights = {str(name): float(value) for name, value in data["weights"].items()}
            if not all(map(math.isfinite, weights.values())):
                raise ValueError("权重应为有限的数")
            return cls(weights)
        except CheckpointError as error:
            raise CheckpointError(f"{path}：{error}") from None
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            wanted = '{"format": 1, "weights": {"forward": 1.0, …}}'
            raise CheckpointError(f"{path} 已损坏（{error!r}）；应为 {wanted}，删去它则用默认权重") from None

    def save(self, model: Path) -> None:
        """Writes `ranker.json` into a model folder."""
        with atomic_write(model / RANKER) as stream:
            json.dump({"format": FORMAT, "weights": dict(self.weights)}, stream, ensure_ascii=False, indent=2)
            stream.write("\n")

    def rank(self, candidates: Sequence[Candidate], context: Sequence[Message]) -> tuple[Candidate, ...]:
        """The candidates with features and score filled in, best first; rejected ones last and as they came."""
        judged = [c if c.rejected is not None else self._judged(c, context) for c in candidates]
        return tuple(sorted(judged, key=lambda c: (c.rejected is not None, -c.score)))

    def _judged(self, candidate: Candidate, context: Sequence[Message]) -> Candidate:
        values = {name: feature(candidate, context) for name, feature in FEATURES.items()}
        features = {name: value for name, value in values.items() if value is not None}
        score = sum(self.weights.get(name, 0.0) * value for name, value in features.items())
        return replace(candidate, features=features, score=score)
