"""How the page looks, as keyword arguments of Gradio's `mount_gradio_app`. Nothing is fetched from elsewhere."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import gradio as gr

from chitchat.frontends.web.text import translator
from chitchat.frontends.web.visitors import MAX_UPLOAD_BYTES

_FOLDER = Path(__file__).parent
_WORDS = {
    "lost": "连不上小叙了：若是停了，请重新运行 make web；一连上，这一页会自己接着，没发出去的话也留着",
    "large": "文件太大：最多 {size} MB，更大的请用 chitchat score",
    "login": "已经退出了，点这里重新登录",
}
"""What the page's script says, by its name for it."""
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
    t = translator(language)
    words = {name: t(chinese).format(size=MAX_UPLOAD_BYTES >> 20) for name, chinese in _WORDS.items()}
    given = f'const pageLanguage = "{_LOCALES[language]}";\nconst pageWords = {json.dumps(words)};'
    script = (_FOLDER / "page.js").read_text(encoding="utf-8")
    return {
        "theme": theme,
        "css": (_FOLDER / "page.css").read_text(encoding="utf-8"),
        "head": f"<script>{given}\n{script}</script>",
    }
