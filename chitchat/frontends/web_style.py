"""How the web page looks, as keyword arguments of Gradio's `launch` and `mount_gradio_app`. No font is fetched."""

from __future__ import annotations

from typing import Any

import gradio as gr

_CSS = """
.gradio-container {width: 100% !important; max-width: 1180px !important; margin: 0 auto !important; padding: 0 !important}
.gradio-container > .main {padding: 14px 16px !important}
#title h1 {font-size: 1.25rem; margin: 0}
#title p, .hint {color: var(--body-text-color-subdued); font-size: .8rem; margin: 4px 0}

/* The chatbot's own bin and the raised labels only repeat what the page has. */
#chat {min-height: 260px}
#chat .icon-button-wrapper {display: none}
#chat .message-content {overflow-wrap: anywhere; white-space: pre-wrap}
#actions, #openers {gap: 8px}
#actions button {min-width: 0}
#openers {display: grid; grid-template-columns: repeat(auto-fit, minmax(130px, 1fr))}
#openers button {min-width: 0; padding: 6px 4px; font-weight: 400; border-style: dashed}

/* Containment: the table scrolls in its column instead of widening a phone's page. */
.candidates {contain: inline-size; overflow: auto; max-height: 56vh; border-radius: 8px;
  border: 1px solid var(--border-color-primary); background: var(--block-background-fill)}
.candidates table {border-collapse: separate; border-spacing: 0; width: 100%; font-size: .82rem; border: 0;
  margin: 0 !important; padding: 0}
.candidates th, .candidates td {border: 0; padding: 5px 7px; text-align: right; white-space: nowrap; vertical-align: top}
.candidates th {position: sticky; top: 0; background: var(--background-fill-secondary); font-weight: 600}
.candidates td {border-top: 1px solid var(--border-color-primary); font-variant-numeric: tabular-nums}
.candidates .text {text-align: left; white-space: normal; overflow-wrap: anywhere; width: 100%; min-width: 7em}
.candidates .remark {display: inline-block; margin-left: 6px; color: var(--body-text-color-subdued); font-weight: 400;
  font-size: .9em}
.candidates .chosen td {font-weight: 600; background: var(--color-accent-soft)}
.candidates .rejected td {color: var(--body-text-color-subdued)}

/* Gradio heads its notices with an English word whatever the language. */
.toast-title {font-size: 0 !important}
.toast-title::before {content: "提示"; font-size: 1rem}
"""


def page_style() -> dict[str, Any]:
    """Theme and style sheet; light or dark as the visitor's system is."""
    theme = gr.themes.Soft(
        primary_hue="teal",
        neutral_hue="slate",
        font=["system-ui", "PingFang SC", "Microsoft YaHei", "Noto Sans CJK SC", "sans-serif"],
        font_mono=["ui-monospace", "monospace"],
    ).set(
        body_background_fill="*neutral_50",
        block_border_width="1px",
        block_border_width_dark="1px",
        block_title_background_fill="transparent",
        block_title_background_fill_dark="transparent",
        block_title_text_color="*body_text_color",
        block_title_text_color_dark="*body_text_color",
        block_title_text_weight="500",
        block_title_padding="0",
    )
    return {"theme": theme, "css": _CSS}
