"""Imports point one way only; see docs/architecture.md, "Who may import whom"."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "chitchat"
CORE = {"allocator", "dialogue", "config", "errors", "checkpoint", "files", "lazy_pattern", "processors"}
MAY_IMPORT: dict[str, set[str]] = {
    "corpus": set(),
    "tokenization": set(),
    "prepare": {"corpus", "tokenization"},
    "index": {"corpus", "backends"},
    "acts": {"corpus", "backends"},
    "average": set(),
    "convert": {"corpus", "tokenization", "backends", "prepare"},
    "training": {"tokenization"},
    "backends": {"tokenization"},
    "engine": {"backends"},
    "sessions": {"corpus", "engine"},
    "doctor": {"corpus", "tokenization", "prepare", "training"},
    "frontends": {"engine", "sessions"},
    "evaluation": {"corpus", "tokenization", "backends", "engine"},
}
EXTRA = {
    "engine/build.py": {"corpus"},
    "frontends/web/report.py": {"evaluation"},
    "frontends/web/scoring.py": {"evaluation"},
}
HEAVY = {"torch", "transformers", "accelerate", "gradio", "sklearn", "scipy", "pandas", "matplotlib", "jieba"}
MODULES = sorted(
    p
    for p in PACKAGE.rglob("*.py")
    if p.parent.name != "commands"
    and (p.parent != PACKAGE or p.stem in CORE | {"prepare", "index", "acts", "average", "convert"})
)


def imports(path: Path, *, top_level_only: bool = False) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    nodes = tree.body if top_level_only else list(ast.walk(tree))
    found = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names if node.module == "chitchat"}
    return found


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_no_upward_import(path: Path) -> None:
    relative = path.relative_to(PACKAGE)
    part = relative.parts[0].removesuffix(".py")
    allowed = CORE | ({part} | MAY_IMPORT[part] | EXTRA.get(relative.as_posix(), set()) if part not in CORE else set())
    used = {name.split(".")[1] for name in imports(path) if name.startswith("chitchat.")}
    assert used <= allowed, f"{relative} imports {sorted(used - allowed)}"


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_heavy_libraries_are_imported_where_they_are_used(path: Path) -> None:
    """`--help`, mistakes and talking must not wait for torch."""
    relative = path.relative_to(PACKAGE).as_posix()
    used = {name.split(".")[0] for name in imports(path, top_level_only=True)} & HEAVY
    allowed = {
        "training/": {"torch", "transformers", "accelerate"},
        "backends/transformers_local.py": {"torch", "transformers"},
        "frontends/web/": {"gradio"},
    }
    assert used <= next((names for prefix, names in allowed.items() if relative.startswith(prefix)), set())
