"""Completion of /commands and their arguments; imports prompt_toolkit."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from prompt_toolkit.completion import CompleteEvent, Completer, Completion, PathCompleter
from prompt_toolkit.document import Document

from chitchat.frontends.terminal.conversation import Conversation

_WRITE_FILES = ("/export", "/save")


class CommandCompleter(Completer):
    """Completes lines that start with a slash; talk is left alone."""

    def __init__(self, conversation: Conversation) -> None:
        self.conversation = conversation

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterable[Completion]:
        text = document.text_before_cursor
        if not text.startswith("/"):
            return
        commands = self.conversation.commands
        name, *words = text.split(" ")
        if not words:
            yield from _starting(text, {f"/{name}": command.help for name, command in commands.items()})
        elif name in _WRITE_FILES:
            path = Document(text.removeprefix(f"{name} "))
            yield from PathCompleter(expanduser=True).get_completions(path, complete_event)
        elif command := commands.get(name[1:]):
            yield from _starting(words[-1], command.choices(self.conversation, words[:-1]))


def _starting(word: str, meanings: Mapping[str, str]) -> Iterable[Completion]:
    for name, meaning in meanings.items():
        if name.startswith(word):
            yield Completion(name, start_position=-len(word), display_meta=meaning)
