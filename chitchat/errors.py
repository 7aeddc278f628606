"""The errors a user can cause, each with a message that names the fault, the place and the next step.

Only `cli.py` and the servers turn them into text or status codes; everyone else lets them rise.
"""

from __future__ import annotations

from pathlib import Path


class ChitchatError(Exception):
    """Base of every error that is the input's fault, not ours; the command line exits with 2 on it."""


class ConfigError(ChitchatError):
    """An option, a YAML key or a value that cannot be used."""


class CorpusError(ChitchatError):
    """A dialogue file that cannot be read as what it claims to be.

    Args:
        path: the file.
        line: its 1-based line, or None when the fault is the whole file's.
        message: the fault, what was expected and the next step.
    """

    def __init__(self, path: Path | str, line: int | None, message: str) -> None:
        self.path = Path(path)
        self.line = line
        self.message = message
        place = f"{path}:{line}" if line is not None else f"{path}"
        super().__init__(f"{place}: {message}")


class CheckpointError(ChitchatError):
    """A model folder that is missing, incomplete or of another kind than asked for."""


class BackendError(ChitchatError):
    """A generator or scorer that cannot do what was asked of it."""


class StoreError(ChitchatError):
    """A conversation store that cannot be read or written, or is none."""


class UnknownSessionError(StoreError):
    """No conversation of that name, or not one of this owner's: the two are not told apart."""


class CacheError(ChitchatError):
    """A cache folder that cannot be written: the disk is full, it is read-only, or it belongs to someone else."""
