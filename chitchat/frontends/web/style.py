"""How the page looks, as keyword arguments of Gradio's `mount_gradio_app`. Nothing is fetched from elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr

_FOLDER = Path(__file__).parent
_LOCALES = {"zh": "zh-CN", "en": "en"}


def page_style(language: str) -> dict[str, Any]:
    """Theme, style sheet and script of the page in one language."""
    theme = gr.themes.Soft(
        primary_hue="teal",
        neutral_hue="slate",
        font=["system-ui", "PingFang SC", "Microsoft YaHei", "Noto Sans CJK SC", "sans-serif"],
        font_mono=["ui-monospace", "monospace"],
    ).set(
        body_background_fill="*neutral_50",
        # small print has to reach a contrast of 4.5 : 1 (WCAG 2.2, 1.4.3)
        body_text_color_subdued="*neutral_500",
        block_border_width="1px",
        block_border_width_dark="1px",
        block_shadow="none",
        block_title_background_fill="transparent",
        block_title_background_fill_dark="transparent",
        block_title_text_color="*body_text_color",
        block_title_text_color_dark="*body_text_color",
        block_title_text_weight="500",
        block_title_padding="0",
    )
    script = (_FOLDER / "page.js").read_text(encoding="utf-8")
    return {
        "theme": theme,
        "css": (_FOLDER / "page.css").read_text(encoding="utf-8"),
        "head": f'<script>const pageLanguage = "{_LOCALES[language]}";\n{script}</script>',
    }
