"""Every command, file and piece of code the READMEs show is real."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from chitchat.cli import _parser

ROOT = Path(__file__).parents[1]
READMES = ["README.md", "README.en.md", "data/README.md", "models/xiaoxu/README.md"]
SCRIPTS = {"train.py": "train", "interact.py": "chat", "app.py": "web"}


def shown_commands() -> list[str]:
    text = "\n".join((ROOT / name).read_text(encoding="utf-8") for name in READMES)
    blocks = re.findall(r"```bash\n(.*?)```", text, re.DOTALL)
    lines = [line.split("#")[0].strip() for block in blocks for line in block.splitlines()]
    inline = re.findall(r"`((?:chitchat|make|python) [^`]+)`", text)
    return sorted({command for line in [*lines, *inline] for command in line.split(" | ")[-1:] if command and "…" not in command})


@pytest.mark.parametrize("command", shown_commands())
def test_shown_command_is_real(command: str) -> None:
    words = shlex.split(command)
    if words[0] == "make":
        makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
        assert all(re.search(rf"^{target}:", makefile, re.MULTILINE) for target in words[1:])
        return
    if words[0] == "python":
        words = ["chitchat", SCRIPTS[words[1]], *words[2:]]
    assert words[0] in ("chitchat", "pip", "cp", "ln"), command
    if words[0] == "chitchat":
        args = _parser().parse_args(words[1:])
        for path in (getattr(args, "config", None), getattr(args, "init_from", None)):
            assert path is None or "models/xiaoxu" in str(path) or (ROOT / path).exists()


@pytest.mark.parametrize("name", READMES)
def test_links_lead_somewhere(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    links = [link for link in re.findall(r"\]\(([^)]+)\)", text) if "://" not in link]
    assert [link for link in links if not ((ROOT / name).parent / link.split("#")[0]).exists()] == []


def test_tree_in_the_architecture_is_the_tree_on_disk() -> None:
    """Every file of the package is in docs/architecture.md, and every file named there exists."""
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    tree = text[text.index("├── chitchat/") : text.index("└── tests/")]
    named = set(re.findall(r"\b([a-z_0-9]+\.py)\b", tree))
    existing = {p.name for p in (ROOT / "chitchat").rglob("*.py")}
    assert named <= existing
    assert existing - {"__init__.py", "__main__.py"} <= named


def test_shown_code_runs(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    exec(compile(code, "README.md", "exec"), {})
    assert re.match(r".+ \[\(", capsys.readouterr().out)
