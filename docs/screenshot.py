"""Takes the README's picture of the web page: starts the app with a model, chats, writes docs/page.png.

    python docs/screenshot.py --model models/xiaoxu

Needs playwright and a chromium (`--chromium`, default /usr/bin/chromium).
"""

from __future__ import annotations

import argparse
import socket
import subprocess
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

ROOT = Path(__file__).resolve().parents[1]
LINES = ("你好呀，在忙什么？", "今天好累啊", "周末有什么推荐的吗")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="models/xiaoxu")
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "page.png")
    parser.add_argument("--lines", nargs="+", default=LINES, help="what to say")
    parser.add_argument("--seed", default="1")
    parser.add_argument("--width", type=int, default=1280)
    parser.add_argument("--height", type=int, default=760)
    parser.add_argument("--dark", action="store_true")
    parser.add_argument("--chromium", default="/usr/bin/chromium")
    args = parser.parse_args()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "app.py", "--model", args.model, "--port", str(port), "--seed", args.seed]
    app = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)
    try:
        assert app.stderr is not None
        for line in app.stderr:
            print(line, end="", file=sys.stderr)
            if str(port) in line:
                break
        else:
            sys.exit(app.wait())
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(
                executable_path=args.chromium, args=["--headless", "--no-sandbox", "--disable-gpu"]
            )
            page = browser.new_page(
                locale="zh-CN",
                viewport={"width": args.width, "height": args.height},
                color_scheme="dark" if args.dark else "light",
                device_scale_factor=1.5,
            )
            page.goto(f"http://127.0.0.1:{port}/")
            for number, line in enumerate(args.lines, start=1):
                page.fill("#message textarea", line)
                page.press("#message textarea", "Enter")
                page.wait_for_function(f"document.querySelectorAll('[data-testid=bot]').length == {number}")
                page.wait_for_selector("#message textarea:enabled")
                page.wait_for_timeout(800)
            page.evaluate("document.activeElement.blur()")
            page.screenshot(path=args.output)
            browser.close()
    finally:
        app.terminate()
        app.wait()
    print(args.output)


if __name__ == "__main__":
    main()
