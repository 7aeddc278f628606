"""The picture of docs/performance.md: how many times the baselines' speed, from the JSON files that the other scripts write.

    python benchmarks/picture.py FOLDER --output docs/performance.png

FOLDER holds reply.json, score.json, server.json and training.json.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--output", type=Path, required=True)
    args = parser.parse_args()
    ratios = _ratios(args.folder)
    figure = Figure(figsize=(8, 0.42 * len(ratios) + 1), layout="constrained")
    axes = figure.subplots()
    bars = axes.barh(list(ratios), list(ratios.values()), color="#4a7c9b")
    axes.bar_label(bars, fmt="%.1f x", padding=4)
    axes.set_xscale("log")
    axes.set_xlim(0.8, 200)
    axes.invert_yaxis()
    axes.axvline(1, color="grey", linewidth=0.8)
    axes.set_xlabel("times as fast as the baseline, same weights and threads")
    figure.savefig(args.output, dpi=120)


def _ratios(folder: Path) -> dict[str, float]:
    def read(name: str) -> Any:
        return json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))

    found: dict[str, float] = {}
    for model in read("reply"):
        ratios = model["ratios_p50_ms"]
        found[f"a reply, {model['model']}: classic loop"] = ratios["classic / ours at equal work"]
        found[f"a reply, {model['model']}: HF generate"] = ratios["HF / ours at equal work"]
    rates = read("score")["rates"]
    ours = next(row for name, row in rates.items() if "int8" in name)
    found |= {
        f"scoring a file: {key.removesuffix(': ms_a_row')}": value for key, value in ours.items() if key.endswith(": ms_a_row")
    }
    found["training: classic loop"] = read("training")["speed_ratio"]
    found["server, 64 clients: one at a time"] = read("server")["throughput_ratio"]
    return found


if __name__ == "__main__":
    main()
