"""What goes wrong on the page is told to the visitor in a notice; a traceback stays with whoever runs the server."""

from __future__ import annotations

import html
import logging
from collections.abc import Iterator
from contextlib import contextmanager

import gradio as gr

from chitchat.errors import ChitchatError
from chitchat.frontends.web.text import Translate

logger = logging.getLogger(__name__)


@contextmanager
def told(t: Translate) -> Iterator[list[str]]:
    """Shows a fault inside as a notice, and goes on after the block; gives the list that then has its words."""
    faults: list[str] = []
    try:
        yield faults
    except ChitchatError as error:
        faults.append(t(str(error)))
    except Exception as error:
        logger.error("网页出错", exc_info=error)
        faults.append(t("程序出错了，请再试一次；详情见运行窗口"))
    for fault in faults:
        gr.Warning(html.escape(fault))
