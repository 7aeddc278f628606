"""Takes the pictures of the web page for the README: starts it with a model, chats, writes docs/page{,-dark,-phone}.png.

    python docs/screenshot.py --model models/xiaoxu

Needs playwright and a chromium (`--chromium`, default /usr/bin/chromium).
"""

from __future__ import annotations

import argparse
import socket
import subprocess
import sys
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

ROOT = Path(__file__).resolve().parents[1]
LINES = ("你好呀，在忙什么？", "今天好累啊", "周末有什么推荐的吗")
PICTURES = {
    "page.png": {"viewport": {"width": 1280, "height": 800}, "color_scheme": "light"},
    "page-dark.png": {"viewport": {"width": 1280, "height": 800}, "color_scheme": "dark"},
    "page-phone.png": {"viewport": {"width": 390, "height": 844}, "color_scheme": "light", "has_touch": True},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="models/xiaoxu")
    parser.add_argument("--output", type=Path, default=ROOT / "docs", help="folder to write to")
    parser.add_argument("--lines", nargs="+", default=LINES, help="what to say")
    parser.add_argument("--seed", default="1")
    parser.add_argument("--chromium", default="/usr/bin/chromium")
    args = parser.parse_args()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "app.py", "--model", args.model, "--port", str(port), "--seed", args.seed, "--ephemeral"]
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
            for name, look in PICTURES.items():
                take(browser, f"http://127.0.0.1:{port}/", args.lines, args.output / name, look)
            browser.close()
    finally:
        app.terminate()
        app.wait()


def take(browser: Browser, address: str, lines: list[str], picture: Path, look: dict[str, object]) -> None:
    """One picture of a new visitor's talk; `look` is what playwright's `new_page` takes."""
    page = browser.new_page(locale="zh-CN", device_scale_factor=1.5, **look)
    page.goto(address)
    page.wait_for_selector("#log .openers")
    for number, line in enumerate(lines, start=1):
        page.fill("#message textarea", line)
        page.press("#message textarea", "Enter")
        page.wait_for_function(f"document.querySelectorAll('[data-testid=bot]').length == {number}")
        page.wait_for_selector("#message .submit-button")
        page.wait_for_timeout(800)
    page.evaluate("document.activeElement.blur()")
    page.screenshot(path=picture)
    page.close()
    print(picture)


if __name__ == "__main__":
    main()
