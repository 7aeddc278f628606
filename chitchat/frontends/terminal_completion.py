"""Completion of /commands, of what /set sets and of the file that /save writes; imports prompt_toolkit."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields

from prompt_toolkit.completion import CompleteEvent, Completer, Completion, PathCompleter
from prompt_toolkit.document import Document

from chitchat.config import DecodingConfig
from chitchat.frontends.terminal_commands import COMMANDS


class CommandCompleter(Completer):
    """Completes lines that start with a slash; talk is left alone."""

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterable[Completion]:
        text = document.text_before_cursor
        if not text.startswith("/"):
            return
        words = text.split(" ")
        if len(words) == 1:
            yield from _starting(text, {f"/{name}": command.help for name, command in COMMANDS.items()})
        elif words[0] == "/set" and len(words) == 2:
            yield from _starting(words[1], {f.name: f.metadata["help"] for f in fields(DecodingConfig)})
        elif words[0] == "/set" and len(words) == 3:
            choices = {f.name: f.metadata["choices"] for f in fields(DecodingConfig)}.get(words[1], ())
            yield from _starting(words[2], dict.fromkeys(choices, ""))
        elif words[0] == "/save":
            name = text.removeprefix("/save ")
            yield from PathCompleter(expanduser=True).get_completions(Document(name), complete_event)


def _starting(word: str, meanings: dict[str, str]) -> Iterable[Completion]:
    for name, meaning in meanings.items():
        if name.startswith(word):
            yield Completion(name, start_position=-len(word), display_meta=meaning)
