"""A Chinese chit-chat bot.

    from chitchat import load_chatbot
    bot = load_chatbot(model="models/xiaoxu")
    print(bot.reply("你好").text)

What `__all__` lists is the public interface; all else may change.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from chitchat.dialogue import Candidate, Dialogue, Message, Reply
    from chitchat.engine.build import load_chatbot
    from chitchat.engine.chatbot import Chatbot

__version__ = "0.1.0"
__all__ = ["Candidate", "Chatbot", "Dialogue", "Message", "Reply", "load_chatbot"]

_HOMES = {
    "Candidate": "chitchat.dialogue",
    "Chatbot": "chitchat.engine.chatbot",
    "Dialogue": "chitchat.dialogue",
    "Message": "chitchat.dialogue",
    "Reply": "chitchat.dialogue",
    "load_chatbot": "chitchat.engine.build",
}


def __getattr__(name: str) -> Any:
    # Lazily, so that `chitchat --help` and the corpus tools load no inference library.
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value
