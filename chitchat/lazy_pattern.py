"""Regular expressions compiled at their first use: compiling those of all modules took a tenth of the time to the first reply."""

from __future__ import annotations

import re
from typing import Any, cast


def lazily(source: str) -> re.Pattern[str]:
    """What `re.compile(source)` gives, for who asks nothing but its attributes; a fault in `source` is raised only then."""
    return cast("re.Pattern[str]", _Lazy(source))


class _Lazy:
    def __init__(self, source: str) -> None:
        self._source = source

    def __getattr__(self, name: str) -> Any:
        value = getattr(re.compile(self._source), name)
        setattr(self, name, value)  # next time it is found without coming here
        return value
