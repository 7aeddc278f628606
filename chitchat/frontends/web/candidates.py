"""The candidates of a reply as HTML: what each scored, why the winner won, and another one to pick."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from chitchat.dialogue import Candidate, Reply
from chitchat.frontends.explanation import FEATURE_LABELS, explanation, reasons, rival_of
from chitchat.frontends.presentation import CandidateRow, candidate_rows
from chitchat.frontends.web.html import hint, text
from chitchat.frontends.web.text import Translate

_MAX_REASONS = 6


def candidates_html(reply: Reply | None, weights: Mapping[str, float], t: Translate, *, can_pick: bool) -> str:
    """The candidates of one reply, best first; `weights` are the ranking's that ordered them.

    `can_pick` when the reply is the last one: only there can another candidate take its place.
    """
    if reply is None:
        return hint(t("说一句之后，这里是每个候选回复和它的得分。"))
    rows = candidate_rows(reply)
    fit: list[str] = []
    others: list[str] = []
    rejected: list[str] = []
    for candidate, row in zip(reply.candidates, rows, strict=True):
        group = fit if row.is_chosen or not row.is_rejected else others if row.can_pick else rejected
        group.append(_card(candidate, row, weights, t, can_pick=can_pick and row.can_pick and not row.is_chosen))
    summary = t("{count} 个候选，用时 {seconds} 秒").format(count=len(rows), seconds=f"{reply.seconds:.2f}")
    parts = [hint(summary), _why(reply, weights, t)]
    if can_pick and len(fit) + len(others) > 1:
        parts.append(hint(t("点一个候选，就换成它；这会记作你的偏好。")))
    parts.append(f'<ol class="cards">{"".join(fit)}</ol>')
    folds = ((t("其余候选 {count} 个"), others), (t("淘汰的 {count} 个"), rejected))
    parts += [_folded(title, cards) for title, cards in folds if cards]
    parts.append(hint(t("正向、反向（MMI）是每个 token 的平均对数概率，越大越好。")))
    return f'<section class="candidates" aria-label="{text(t("候选回复"))}">{"".join(parts)}</section>'


def _why(reply: Reply, weights: Mapping[str, float], t: Translate) -> str:
    """What gave the reply its lead over the next best one, as bars."""
    title = f"<h3>{text(t('为什么是这句'))}</h3>"
    pair = rival_of(reply)
    if pair is None:
        return f'<div class="why">{title}<p>{text(explanation(reply, weights))}</p></div>'
    said, rival = pair
    found = reasons(said, rival, weights)[:_MAX_REASONS]
    largest = max((abs(r.points) for r in found), default=1.0)
    bars = "".join(
        f'<tr class="{"plus" if r.points > 0 else "minus"}"><th scope="row">{text(t(r.label))}</th>'
        f'<td><i style="width:{100 * abs(r.points) / largest:.0f}%"></i></td><td>{r.points:+.2f}</td></tr>'
        for r in found
    )
    lead = t("比次选“{rival}”高 {points} 分") if said.score >= rival.score else t("比“{rival}”低 {points} 分，是你换上来的")
    sentence = lead.format(rival=rival.text, points=f"{abs(said.score - rival.score):.2f}")
    return f'<div class="why">{title}<p>{text(sentence)}</p><table>{bars}</table></div>'


def _folded(title: str, cards: Sequence[str]) -> str:
    summary = text(title.format(count=len(cards)))
    return f'<details><summary>{summary}</summary><ul class="cards">{"".join(cards)}</ul></details>'


def _card(candidate: Candidate, row: CandidateRow, weights: Mapping[str, float], t: Translate, *, can_pick: bool) -> str:
    words = f'<span class="words">{text(row.text)}</span><span class="remark">{text(t(row.remark))}</span>'
    figures = "".join(
        f"<span>{text(t(label))} <b>{value}</b></span>"
        for label, value in (("得分", row.score), ("正向", row.forward), ("反向", row.reverse))
        if value != "—"
    )
    body = f'{words}<span class="figures">{figures}</span>'
    if can_pick:
        label = text(t("换成这句"))
        body = f'<button type="button" data-action="pick" data-number="{row.number}" title="{label}">{body}</button>'
    else:
        body = f"<div>{body}</div>"
    current = ' class="said" aria-current="true"' if row.is_chosen else ""
    return f"<li{current}>{body}{_features(candidate, weights, t)}</li>"


def _features(candidate: Candidate, weights: Mapping[str, float], t: Translate) -> str:
    if not candidate.features:
        return ""
    lines = "".join(
        f'<tr><th scope="row">{text(t(label))}</th><td>{candidate.features[name]:.2f}</td>'
        f"<td>{weights.get(name, 0.0) * candidate.features[name]:+.2f}</td></tr>"
        for name, label in FEATURE_LABELS.items()
        if name in candidate.features
    )
    head = f'<tr><td></td><th scope="col">{text(t("值"))}</th><th scope="col">{text(t("得分里"))}</th></tr>'
    return f"<details><summary>{text(t('特征'))}</summary><table><thead>{head}</thead><tbody>{lines}</tbody></table></details>"
