"""How long from a cold process to the first reply, and how much memory.

    OMP_NUM_THREADS=1 python benchmarks/start.py --json start.json

Processes are started in turn, round after round. The floor is Python with the packages that a reply cannot do without.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
COMMANDS = {
    "floor": ([sys.executable, "-c", "import ctranslate2, tokenizers, numpy, yaml"], ""),
    "--help": ([sys.executable, "-m", "chitchat", "--help"], ""),
    "first reply": ([sys.executable, str(ROOT / "interact.py")], "你好\n"),
    "mid-chat reply": ([sys.executable, str(ROOT / "interact.py")], "今天加班到十点\n"),
}
FORBIDDEN = ("torch", "transformers", "gradio", "sklearn", "pandas")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    seconds: dict[str, list[float]] = {name: [] for name in COMMANDS}
    peak_mb: dict[str, float] = {}
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # the first start writes byte code, as `make chat` does
    for number in range(args.rounds + 1):  # and fills the disk's cache
        for name, (command, typed) in COMMANDS.items():
            elapsed, peak = _run(command, typed)
            if number:
                seconds[name].append(elapsed)
                peak_mb[name] = max(peak, peak_mb.get(name, 0.0))
    result = {name: {"median_s": statistics.median(v), "max_s": max(v), "peak_mb": peak_mb[name]} for name, v in seconds.items()}
    for name, row in result.items():
        print(f"{name:15} {row['median_s']:6.2f} s  (slowest {row['max_s']:.2f})  {row['peak_mb']:5.0f} MB")
    loaded = _loaded_packages()
    print(f"heavy packages imported by a reply: {', '.join(loaded) or 'none'}")
    if args.json:
        args.json.write_text(json.dumps({"runs": result, "heavy_packages": loaded}, indent=2) + "\n", encoding="utf-8")


def _run(command: list[str], typed: str) -> tuple[float, float]:
    """Seconds of one process and its peak resident memory in MB."""
    started = time.perf_counter()
    process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    assert process.stdin is not None
    process.stdin.write(typed.encode())
    process.stdin.close()
    _, status, usage = os.wait4(process.pid, 0)
    elapsed = time.perf_counter() - started
    if status:
        raise SystemExit(f"{command} ended with {status}")
    return elapsed, usage.ru_maxrss / 1024


def _loaded_packages() -> list[str]:
    code = (
        "import sys; from chitchat import load_chatbot; load_chatbot().reply('你好');"
        f"print(*[p for p in {FORBIDDEN!r} if p in sys.modules])"
    )
    output = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout
    return output.split()


if __name__ == "__main__":
    main()
