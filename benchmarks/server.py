"""How many users one server bears: 64 clients in turn-taking against the same server asked by one client at a time.

    OMP_NUM_THREADS=1 python benchmarks/server.py --threads 2 --json server.json

The server is a process of its own and has the same threads all along. Each client holds a conversation out of our own dialogues
and says the next message as soon as the reply is there, so that the throughput is the server's limit. Both ways of asking hold
the same conversations, in turn, round after round. Where other programs keep the cores busy, the processor time a request is the
one to go by. To find replies that went to the wrong client, seeded requests are made in company and then again alone: the replies
must agree.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parents[1]
START_SECONDS = 120


@dataclass(frozen=True)
class Server:
    """A server in a process of its own."""

    address: str
    model: str
    """The name it serves its model by."""
    pid: int

    def client(self) -> httpx.Client:
        return httpx.Client(base_url=self.address, timeout=600)

    def ask(self, client: httpx.Client, messages: list[dict[str, str]], **options: Any) -> httpx.Response:
        return client.post("/v1/chat/completions", json={"model": self.model, "messages": messages, **options})


@dataclass
class Figures:
    """What one way of asking came to, over all rounds."""

    latencies: list[float] = field(default_factory=list)
    """Seconds of every answered request."""
    throughputs: list[float] = field(default_factory=list)
    """Answered requests a second, a value a round."""
    processor_seconds: list[float] = field(default_factory=list)
    """Of the server's process for each answered request, a value a round."""
    errors: int = 0
    refused: int = 0
    """429; asked again after a pause."""

    def row(self) -> dict[str, Any]:
        cuts = statistics.quantiles(self.latencies, n=20)
        return {
            "requests_per_second": round(statistics.median(self.throughputs), 2),
            "processor_seconds_per_request": round(statistics.median(self.processor_seconds), 3),
            "p50_seconds": round(statistics.median(self.latencies), 3),
            "p95_seconds": round(cuts[18], 3),
            "requests": len(self.latencies),
            "errors": self.errors,
            "refused": self.refused,
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=ROOT / "models" / "xiaoxu", help="模型文件夹")
    parser.add_argument("--clients", type=int, default=64, help="同时聊天的客户端数")
    parser.add_argument("--turns", type=int, default=3, help="每轮每段对话说几句")
    parser.add_argument("--rounds", type=int, default=3, help="轮流测几遍")
    parser.add_argument("--threads", type=int, default=2, help="服务器的推理线程数，两种问法相同")
    parser.add_argument("--num-candidates", type=int, default=16, help="候选回复数")
    parser.add_argument("--check", type=int, default=64, help="查串话：多少个带种子的请求，先同时问再逐个问")
    parser.add_argument("--json", type=Path, help="结果也写成 JSON")
    args = parser.parse_args()
    figures = {"one": Figures(), "many": Figures()}
    with running(args.model, args.threads, args.num_candidates) as server:
        for number in range(args.rounds):
            talks = dialogues(args.clients, args.turns, seed=number)
            for name, clients in (("one", 1), ("many", args.clients)):
                measure(server, talks, clients, figures[name])
        mixed_up = mixed_up_replies(server, args.check, args.clients)
        memory = resident_megabytes(server.pid)
    rows = {name: f.row() for name, f in figures.items()}
    result = {
        "clients": args.clients,
        "threads": args.threads,
        "num_candidates": args.num_candidates,
        "throughput_ratio": round(rows["many"]["requests_per_second"] / rows["one"]["requests_per_second"], 2),
        "mixed_up": mixed_up,
        "checked": args.check,
        "resident_megabytes": memory,
        **rows,
    }
    if args.json:
        args.json.write_text(json.dumps(result, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
    show(result)


@contextmanager
def running(model: Path, threads: int, num_candidates: int) -> Iterator[Server]:
    """A server that ends with the block."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    flags = ["--model", str(model), "--port", str(port), "--threads", str(threads), "--num-candidates", str(num_candidates)]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen([sys.executable, "-m", "chitchat", "serve", *flags], env=environment)
    address = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + START_SECONDS
        while not is_up(address):
            if process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit("服务器没有起来")
            time.sleep(0.1)
        yield Server(address, model.resolve().name, process.pid)
    finally:
        process.terminate()
        process.wait(60)


def is_up(address: str) -> bool:
    try:
        return httpx.get(f"{address}/healthz").status_code == 200
    except httpx.TransportError:
        return False


def dialogues(count: int, turns: int, *, seed: int) -> list[list[str]]:
    """The user's first messages in some of our own dialogues, `turns` of each."""
    text = (ROOT / "data" / "dialogues.txt").read_text(encoding="utf-8")
    talks = [block.split("\n")[::2] for block in text.strip().split("\n\n")]
    return [talk[:turns] for talk in random.Random(seed).sample([t for t in talks if len(t) >= turns], count)]


def measure(server: Server, talks: Sequence[list[str]], clients: int, figures: Figures) -> None:
    """Holds all conversations, `clients` of them at a time."""
    lock = threading.Lock()

    def talk(messages: list[str]) -> None:
        history: list[dict[str, str]] = []
        with server.client() as client:
            for message in messages:
                history.append({"role": "user", "content": message})
                started = time.perf_counter()
                while (answer := server.ask(client, history)).status_code == 429:
                    figures.refused += 1
                    time.sleep(float(answer.headers["Retry-After"]))
                seconds = time.perf_counter() - started
                with lock:
                    if answer.status_code != 200:
                        figures.errors += 1
                        return
                    figures.latencies.append(seconds)
                history.append({"role": "assistant", "content": reply_of(answer)})

    before, started, processor = len(figures.latencies), time.perf_counter(), processor_seconds(server.pid)
    with ThreadPoolExecutor(clients) as pool:
        list(pool.map(talk, talks))
    answered = len(figures.latencies) - before
    figures.throughputs.append(answered / (time.perf_counter() - started))
    figures.processor_seconds.append((processor_seconds(server.pid) - processor) / answered)


def reply_of(answer: httpx.Response) -> str:
    return str(answer.json()["choices"][0]["message"]["content"])


def mixed_up_replies(server: Server, count: int, clients: int) -> int:
    """How many of `count` seeded requests got another reply in company than alone."""
    openings = [talk[0] for talk in dialogues(count, 1, seed=0)]

    def seeded(number: int) -> str:
        with server.client() as client:
            return reply_of(server.ask(client, [{"role": "user", "content": openings[number]}], seed=number))

    with ThreadPoolExecutor(clients) as pool:
        in_company = list(pool.map(seeded, range(count)))
    return sum(seeded(number) != reply for number, reply in enumerate(in_company))


def processor_seconds(pid: int) -> float:
    """That a process has used so far (Linux)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident_megabytes(pid: int) -> float:
    """Memory of a process (Linux)."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return round(int(next(line for line in lines if line.startswith("VmRSS")).split()[1]) / 1024, 1)


def show(result: dict[str, Any]) -> None:
    table = Table(title=f"{result['threads']} 线程，{result['num_candidates']} 个候选")
    for heading in ("问法", "请求/秒", "处理器秒/请求", "p50（秒）", "p95（秒）", "请求数", "错误", "429"):
        table.add_column(heading, justify="right")
    for name, label in (("one", "一个接一个"), ("many", f"{result['clients']} 个同时")):
        table.add_row(label, *map(str, result[name].values()))
    console = Console(width=100)
    console.print(table)
    console.print(f"吞吐量之比 {result['throughput_ratio']}，串话 {result['mixed_up']}/{result['checked']}")


if __name__ == "__main__":
    main()
