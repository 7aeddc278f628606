"""Every command, file, table, count and piece of code the documents show is real."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from chitchat.cli import _parser
from chitchat.commands.models import _next_steps
from chitchat.config import TrainConfig
from chitchat.evaluation.metrics import FIGURES

ROOT = Path(__file__).parents[1]
READMES = ["README.md", "README.en.md", "data/README.md", "models/xiaoxu/README.md"]
DOCUMENTS = [*READMES, *sorted(p.relative_to(ROOT).as_posix() for p in (ROOT / "docs").glob("*.md"))]
SCRIPTS = {"train.py": "train", "interact.py": "chat", "app.py": "web"}
OTHER_PROGRAMS = ("pip", "cp", "ln", "cat", "sed", "source")


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def shown_commands() -> list[str]:
    text = "\n".join(map(read, DOCUMENTS))
    blocks = re.findall(r"```bash\n(.*?)```", text, re.DOTALL)
    lines = [re.split(r"\s#|^#", line)[0].strip() for block in blocks for line in block.splitlines()]
    inline = re.findall(r"`((?:echo \S+ \| )?(?:chitchat|make|python) [^`|]+)`", text)
    last = {line.split(" | ")[-1] for line in [*lines, *inline]}
    return sorted(command for command in last if command and "…" not in command)


@pytest.mark.parametrize("command", shown_commands())
def test_shown_command_is_real(command: str) -> None:
    words = [word for word in shlex.split(command) if not re.match(r"[A-Z_]+=", word)]
    if words[0] == "make":
        makefile = read("Makefile")
        assert all(re.search(rf"^{target}:", makefile, re.MULTILINE) for target in words[1:])
        return
    if words[0] == "python" and words[1].startswith("benchmarks/"):
        assert (ROOT / words[1]).is_file()
        return
    if words[0] == "python":
        words = ["chitchat", SCRIPTS[words[1]], *words[2:]]
    assert words[0] in ("chitchat", *OTHER_PROGRAMS), command
    if words[0] != "chitchat":
        return
    if all(re.fullmatch("[a-z-]+", word) for word in words):  # only named
        with pytest.raises(SystemExit, match="^0$"):
            _parser().parse_args([*words[1:], "--help"])
    else:
        args = _parser().parse_args(words[1:])
        for path in (getattr(args, "config", None), getattr(args, "init_from", None)):
            assert path is None or "models/xiaoxu" in str(path) or (ROOT / path).exists()


@pytest.mark.parametrize("name", DOCUMENTS)
def test_links_lead_somewhere(name: str) -> None:
    links = [link.partition("#") for link in re.findall(r"\]\(([^)]+)\)", read(name)) if "://" not in link]
    targets = [((ROOT / name).parent / path if path else ROOT / name, anchor) for path, _, anchor in links]
    assert [path for path, _ in targets if not path.exists()] == []
    assert [anchor for path, anchor in targets if anchor and anchor not in headings(path)] == []


def headings(path: Path) -> list[str]:
    """The anchors that GitHub gives to headings of Chinese or single words."""
    return [line.lstrip("#").strip().lower() for line in path.read_text(encoding="utf-8").splitlines() if line.startswith("#")]


def tables(text: str) -> Iterator[list[str]]:
    """Runs of lines that begin with a bar, outside of code."""
    outside = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    for run in re.findall(r"(?:^\|.*\n?)+", outside, re.MULTILINE):
        yield run.splitlines()


@pytest.mark.parametrize("name", DOCUMENTS)
def test_tables_are_whole(name: str) -> None:
    """A row cut off by a blank line is shown as text; a bar in a cell, be it code, begins another cell."""
    for rows in tables(read(name)):
        assert len(rows) > 2 and re.fullmatch(r"[|: -]+", rows[1]), rows[0]
        cells = [len(re.findall(r"(?<!\\)\|", row)) for row in rows]
        assert [row for row, count in zip(rows, cells, strict=True) if count != cells[0]] == []


def number(pattern: str, text: str) -> float:
    """The first number that a pattern finds, 万 worked out, spaces left out."""
    found = re.search(pattern, text)
    assert found, pattern
    digits = found[1].replace(" ", "")
    return float(digits.removesuffix("万")) * (10_000 if digits.endswith("万") else 1)


def test_counts_of_the_data_are_right() -> None:
    text = read("data/README.md")
    dialogues = [d.strip().splitlines() for d in read("data/dialogues.txt").split("\n\n") if d.strip()]
    judged = [json.loads(line)["replies"] for line in read("data/evaluation/judgements.jsonl").splitlines()]
    counts = {
        r"多轮对话，约 ([\d ]+) 段": len(dialogues),
        r"其中约 ([\d ]+) 段只有一问一答": sum(len(d) == 2 for d in dialogues),
        r"约 ([\d ]+) 个话题": len(read("data/intents.jsonl").splitlines()),
        r"([\d ]+) 个上下文的约": len(judged),
        r"个上下文的约 ([\d. ]+万)条候选": sum(map(len, judged)),
    }
    assert {pattern: number(pattern, text) for pattern in counts} == pytest.approx(counts, rel=0.01)
    assert number(r"(\d+) 种对话行为", text) == len(read("data/acts.jsonl").splitlines())
    assert number(r"(\d+) 条谜语", text) == len(read("data/riddles.jsonl").splitlines())
    message_count = number(r"`data/dialogues.txt` ([\d. ]+万)条消息", read("docs/corpus.md"))
    assert message_count == pytest.approx(sum(map(len, dialogues)), rel=0.01)


def test_every_source_of_a_reply_that_a_report_shows_is_explained() -> None:
    (text,) = re.findall(r"^- \*\*来源\*\*：.*$", read("docs/evaluation.md"), re.MULTILINE)
    names = [figure.chinese.removeprefix("来源：") for figure in FIGURES.values() if figure.chinese.startswith("来源：")]
    assert len(names) > 5 and [name for name in names if name not in text] == []


def test_tree_in_the_architecture_is_the_tree_on_disk() -> None:
    """Every file of the package is in docs/architecture.md, and every file named there exists."""
    text = read("docs/architecture.md")
    tree = text[text.index("├── chitchat/") : text.index("└── tests/")]
    named = set(re.findall(r"\b([a-z_0-9]+\.py)\b", tree))
    existing = {p.name for p in (ROOT / "chitchat").rglob("*.py")}
    assert named <= existing
    assert existing - {"__init__.py", "__main__.py"} <= named


def test_shown_code_runs(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    (code,) = re.findall(r"```python\n(.*?)```", read("README.md"), re.DOTALL)
    exec(compile(code, "README.md", "exec"), {})
    assert re.match(r".+ \[\(", capsys.readouterr().out)


@pytest.mark.parametrize("name", ["README.md", "README.en.md"])
def test_the_retraining_shown_leads_to_a_bot_with_all_its_parts(name: str, tmp_path: Path) -> None:
    """Every step that `train` names is shown, in the same order."""
    steps = [
        step.replace("FILE", "my.txt").replace(str(tmp_path), "models/mine")
        for step in _next_steps("forward", TrainConfig(model=str(tmp_path), init_from="models/xiaoxu"))
    ]
    text = read(name).replace("python train.py", "chitchat train").replace("python interact.py", "chitchat chat")
    places = [text.find(step) for step in steps]
    assert len(steps) == 7 and -1 not in places and places == sorted(places)
