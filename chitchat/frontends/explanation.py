"""Why a reply was said: what each feature of the ranking gave it over the next best candidate.

Knows nothing of terminals or web pages.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from chitchat.dialogue import Candidate, Reply
from chitchat.engine.chatbot import EQUALLY_GOOD, OWN_EQUALLY_GOOD
from chitchat.engine.reranking import GENERIC
from chitchat.frontends.presentation import SOURCES, one_line

FEATURE_LABELS: Mapping[str, str] = {
    "forward": "通顺（正向）",
    "specificity": "只适合这段上文",
    "reverse": "由它推得回上文（反向，MMI）",
    "reverse_last": "由它推得回最后一句",
    "reply_match": "像是答这段话的（双编码器）",
    "reward": "像人觉得好的回复（评分模型）",
    "length": "长短",
    "overlap": "接住了对方的用词",
    "echo": "照搬对方的话",
    "repetition": "重复自己说过的",
    "loop": "同样的字来回打转",
    "question_run": "接连发问",
    "context_similarity": "本来就是接相近的话的",
    "context_match": "本来就是接意思相近的话的（双编码器）",
    "origin_match": "不是非得接原来那句才合适（双编码器）",
    "question": "反问一句",
    "met": "原来那句与这句有多少相同的字词",
    "imported": "把别处才有的事带了进来",
    "act": "合这类话的接法",
    "act_probability": "这句多半就是这类话",
    "human": "人写的整句",
    GENERIC: "放哪儿都行的套话",
}
"""What each feature of the ranking looks at."""

_SMALL_POINTS = 0.05


@dataclass(frozen=True, slots=True)
class Reason:
    """What one feature adds to the lead of a candidate."""

    label: str
    points: float
    """In units of the score: weight × (its value − the rival's). Above 0 it speaks for the candidate."""


def reasons(candidate: Candidate, rival: Candidate, weights: Mapping[str, float]) -> list[Reason]:
    """What sets two candidates apart, the heaviest first; with the weights that ranked them the points add up to the lead."""
    found = [
        Reason(label, weights.get(name, 0.0) * (candidate.features.get(name, 0.0) - rival.features.get(name, 0.0)))
        for name, label in FEATURE_LABELS.items()
    ]
    return sorted((r for r in found if r.points), key=lambda r: -abs(r.points))


def rival_of(reply: Reply) -> tuple[Candidate, Candidate] | None:
    """The candidate that was said and the best other one that might have been; None when there are not two such."""
    fit = [c for c in reply.candidates if c.rejected is None]
    said = next((c for c in fit if c.text == reply.text), None)
    rival = next((c for c in fit if c.text != reply.text), None)
    return (said, rival) if said and rival else None


def explanation(reply: Reply, weights: Mapping[str, float]) -> str:
    """In a few lines, why this reply was said rather than the next best.

    Args:
        reply: with all its candidates.
        weights: of the ranking that ordered them, `Ranker.weights`.
    """
    pair = rival_of(reply)
    if pair is None:
        return _without_rival(reply)
    said, rival = pair
    lead = said.score - rival.score
    margin = OWN_EQUALLY_GOOD if said.source == "persona" else EQUALLY_GOOD
    behind = "差不多一样好" if -lead <= margin else "是换上来的"
    verdict = f"高出 {lead:.2f} 分" if lead >= 0 else f"得分低 {-lead:.2f}，{behind}"
    lines = [f"这句：{_described(said)}", f"次选：{_described(rival)}", f"{verdict}，其中："]
    found = reasons(said, rival, weights)
    heavy = [r for r in found if abs(r.points) >= _SMALL_POINTS]
    lines += [f"  {r.points:+7.2f}  {r.label}" for r in heavy]
    if rest := lead - sum(r.points for r in heavy):
        lines += [f"  {rest:+7.2f}  其余"] if abs(rest) >= _SMALL_POINTS / 10 else []
    return "\n".join(lines)


def _without_rival(reply: Reply) -> str:
    said = next((c for c in reply.candidates if c.text == reply.text), None)
    if said is None and any(c.rejected is None for c in reply.candidates):
        return "这句是你写的"
    rejected = Counter(one_line(c.rejected) for c in reply.candidates if c.rejected is not None)
    counted = "；".join(f"{reason} {count} 个" for reason, count in rejected.most_common())
    others = f"。落选的：{counted}" if counted else ""
    if said is None:
        return f"没有一个候选能说，只好请你换个说法{others}"
    if said.rejected is not None:
        return f"这句是你挑的，原先落选：{one_line(said.rejected)}"
    source = SOURCES.get(said.source, said.source)
    if said.source in ("safety", "clock", "arithmetic", "riddle", "repair"):
        return f"这类话有定好的答法（{source}），不由模型来写"
    return f"能说的候选只有这一个（{source}）{others}"


def _described(candidate: Candidate) -> str:
    return f"{one_line(candidate.text)}（{SOURCES.get(candidate.source, candidate.source)}，{candidate.score:.2f} 分）"
