"""Parts of a self-contained HTML page: its frame and style, tables, tiles and bar charts. All text is escaped here.

Nothing is fetched: no script, no font, no picture from outside, which the page's own security policy enforces.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

_SHOWN_AS_IS = "\n\u200d"
"""Not printable by themselves: the line end, and what joins emoji."""
_LONGEST_TEXT = 200


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar of a chart: how high, the label under it (empty for none), and what is told when it is pointed at."""

    value: float
    label: str
    title: str


def escaped(text: object) -> str:
    """Text that is safe in HTML and in attributes, clipped, with invisible characters written out as code points."""
    shown = str(text)
    if len(shown) > _LONGEST_TEXT:
        shown = shown[:_LONGEST_TEXT] + "…"
    return html.escape("".join(c if c.isprintable() or c in _SHOWN_AS_IS else f"\\u{ord(c):04x}" for c in shown))


def page(title: str, body: str) -> str:
    """A whole page."""
    return f"""<!DOCTYPE html>
<html lang="zh-CN">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="color-scheme" content="light dark">
<title>{escaped(title)}</title>
<style>{_STYLE}</style>
</head>
<body>
<main>
{body}
</main>
</body>
</html>
"""


def section(title: str, body: str, note: str = "") -> str:
    """A card with a heading and, below it, what the figures mean."""
    explained = f'<p class="note">{escaped(note)}</p>' if note else ""
    return f"<section><h3>{escaped(title)}</h3>{explained}{body}</section>"


def tiles(items: Iterable[tuple[str, str, str]]) -> str:
    """Large figures: (name, figure, remark) each."""
    return (
        '<div class="tiles">'
        + "".join(
            f"<div><span>{escaped(name)}</span><b>{escaped(figure)}</b><small>{escaped(remark)}</small></div>"
            for name, figure, remark in items
        )
        + "</div>"
    )


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of cells that are HTML already; columns whose heading ends with `#` hold numbers."""
    kinds = [' class="number"' if name.endswith("#") else "" for name in head]
    top = "".join(f"<th{kind}>{escaped(name.removesuffix('#'))}</th>" for name, kind in zip(head, kinds, strict=True))
    body = "".join(
        "<tr>" + "".join(f"<td{kind}>{cell}</td>" for cell, kind in zip(row, kinds, strict=True)) + "</tr>" for row in rows
    )
    return f'<div class="scroll"><table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>'


def share_bar(share: float) -> str:
    """A short bar that is `share` (0 to 1) full."""
    width = 100 * min(max(share, 0.0), 1.0)
    return f'<span class="share"><i style="width:{width:.2f}%"></i></span>'


def folded(summary: str, body: str) -> str:
    """HTML that is shown only when its summary, HTML as well, is clicked."""
    return f"<details><summary>{summary}</summary>{body}</details>"


def columns(parts: Iterable[str]) -> str:
    """Parts side by side where the screen is wide enough."""
    return '<div class="columns">' + "".join(f"<div>{part}</div>" for part in parts) + "</div>"


def bar_chart(bars: Sequence[Bar], description: str) -> str:
    """Upright bars with a scale, as inline SVG; `description` is read out by screen readers."""
    width, height, left, bottom, top = 480, 200, 46, 22, 10
    highest = _nice_ceiling(max((bar.value for bar in bars), default=0))
    room = (width - left) / max(len(bars), 1)
    parts = []
    for tick in range(5):
        value = highest * tick / 4
        y = height - bottom - (height - bottom - top) * tick / 4
        parts.append(f'<line x1="{left}" x2="{width}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text class="scale" x="{left - 6}" y="{y + 4:.1f}">{_short(value)}</text>')
    for number, bar in enumerate(bars):
        x = left + number * room
        size = (height - bottom - top) * bar.value / highest
        place = f'x="{x + 0.08 * room:.2f}" y="{height - bottom - size:.2f}" width="{0.84 * room:.2f}" height="{size:.2f}"'
        parts.append(f'<rect {place} rx="1.5"><title>{escaped(bar.title)}</title></rect>')
        if bar.label:
            parts.append(f'<text class="label" x="{x + room / 2:.2f}" y="{height - 6}">{escaped(bar.label)}</text>')
    return f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{escaped(description)}">{"".join(parts)}</svg>'


def _nice_ceiling(value: float) -> float:
    """The next of 4, 8, 12, 20, 40, 80, 120, … so that quarters are round."""
    step = 4.0
    while True:
        for factor in (1, 2, 3, 5):
            if step * factor >= value:
                return step * factor
        step *= 10


def _short(value: float) -> str:
    return f"{value / 10_000:g} 万" if value >= 10_000 else f"{value:g}"


_STYLE = """
:root {--back: #f4f6f8; --card: #fff; --text: #1c2733; --soft: #64748b; --line: #e3e8ee; --accent: #0f9488; --tint: #d8f0ed;
  --warn: #b45309; --warn-back: #fef3e2}
@media (prefers-color-scheme: dark) {
  :root {--back: #10161d; --card: #19222c; --text: #e2e8f0; --soft: #93a3b5; --line: #2b3744; --accent: #2dc5b4;
    --tint: #173c3b; --warn: #f0b429; --warn-back: #33280f}
}
* {box-sizing: border-box}
body {margin: 0; background: var(--back); color: var(--text); overflow-wrap: anywhere;
  font: 15px/1.65 system-ui, "PingFang SC", "Microsoft YaHei", "Noto Sans CJK SC", sans-serif}
main {max-width: 1080px; margin: 0 auto; padding: 28px 18px 60px}
h1 {font-size: 1.6rem; margin: 0 0 2px}
h2 {font-size: 1.25rem; margin: 44px 0 2px}
h3 {font-size: 1.02rem; margin: 0 0 4px}
h4 {font-size: .9rem; margin: 0 0 6px; font-weight: 600}
.note, .source {color: var(--soft); font-size: .84rem; margin: 0 0 12px}
section {background: var(--card); border: 1px solid var(--line); border-radius: 12px; padding: 18px 20px; margin-top: 16px}
.tiles {display: grid; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); gap: 12px; margin-top: 16px}
.tiles div {background: var(--card); border: 1px solid var(--line); border-radius: 12px; padding: 12px 16px}
.tiles span, .tiles small {display: block; color: var(--soft); font-size: .8rem}
.tiles b {display: block; font-size: 1.35rem; line-height: 1.4; white-space: nowrap; font-variant-numeric: tabular-nums}
.notices {background: var(--warn-back); border-color: var(--warn); color: var(--text)}
.notices ul, .fine {margin: 4px 0 0; padding-left: 1.2em}
.notices h3 {color: var(--warn)}
.columns {display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 380px), 1fr)); gap: 22px 34px}
.columns > div {min-width: 0}
.scroll {overflow-x: auto}
table {border-collapse: collapse; width: 100%; font-size: .88rem}
th {text-align: left; color: var(--soft); font-weight: 500; font-size: .8rem; white-space: nowrap}
th, td {padding: 6px 12px 6px 0; border-bottom: 1px solid var(--line); vertical-align: top}
tr:last-child > td {border-bottom: 0}
.number {text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums}
a {color: var(--accent)}
td:first-child {min-width: 6em}
td:has(> .share) {width: 1%}
td small {color: var(--soft)}
bdi {white-space: pre-line}
.share {display: inline-block; width: 90px; height: 8px; border-radius: 4px; background: var(--line); overflow: hidden}
.share i {display: block; height: 100%; background: var(--accent); min-width: 1px}
.split {display: flex; height: 22px; border-radius: 6px; overflow: hidden; margin: 4px 0 12px; gap: 2px}
.split i {min-width: 3px; background: var(--accent)}
.split i:nth-child(2) {opacity: .6}
.split i:nth-child(3) {opacity: .35}
summary {cursor: pointer}
summary::marker {color: var(--accent)}
section > details, .columns > div > details {margin-top: 8px}
.examples {margin: 6px 0 0; padding: 0; list-style: none; color: var(--soft); font-size: .84rem}
.examples li {padding: 3px 0; border-top: 1px dashed var(--line)}
.examples em {display: block; font-style: normal; font-size: .76rem; opacity: .8}
.chips {display: flex; flex-wrap: wrap; gap: 6px}
.chips span {display: inline-flex; align-items: baseline; gap: 5px; background: var(--tint); border-radius: 7px; padding: 1px 8px}
.chips small {color: var(--soft); font-size: .72rem; font-variant-numeric: tabular-nums}
svg {width: 100%; height: auto; display: block}
svg line {stroke: var(--line)}
svg rect {fill: var(--accent)}
svg rect:hover {fill: var(--warn)}
svg text {fill: var(--soft); font-size: 11px; text-anchor: middle}
svg .scale {text-anchor: end}
pre {overflow-x: auto; font-size: .8rem; margin: 8px 0 0}
footer {color: var(--soft); font-size: .8rem; margin-top: 28px}
@media (max-width: 560px) {
  main {padding: 18px 12px 40px}
  section {padding: 14px}
  .tiles {grid-template-columns: 1fr 1fr; gap: 8px}
  .tiles b {font-size: 1.15rem}
  .share {width: 46px}
  svg text {font-size: 15px}
}
@media print {section {break-inside: avoid}}
"""
