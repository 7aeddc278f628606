"""The web page, driven in a real browser (headless Chromium) against a real small model."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from chitchat.engine.decoding import PRESETS
from chitchat.errors import ChitchatError

ROOT = Path(__file__).resolve().parents[2]
CHROMIUM = "/usr/bin/chromium"
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
FLAGS += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]

pytest.importorskip("gradio", reason="the web page is not installed")
if not os.environ.get("CI"):
    pytest.importorskip("playwright", reason="no playwright")
    if not Path(CHROMIUM).exists():
        pytest.skip("no chromium", allow_module_level=True)

from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright  # noqa: E402

expect.set_options(timeout=15_000)


def start(model: Path, port: int, *flags: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "chitchat", "web", "--model", str(model), "--port", str(port), *flags]
    # A proxy that is not there: the page must not need one to find itself.
    environment = os.environ | {"PYTHONPATH": str(ROOT), "HTTP_PROXY": "http://127.0.0.1:9", "http_proxy": "http://127.0.0.1:9"}
    return subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True)


@pytest.fixture(scope="module")
def address(tiny_model: Path) -> Iterator[str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with start(tiny_model, port, "--temperature", "0.3", "--num-candidates", "4", "--max-new-tokens", "24") as app:
        assert app.stderr is not None
        heard = []
        for line in app.stderr:
            heard.append(line)
            if "网页已打开" in line:
                break
        else:
            pytest.fail("".join(heard))
        yield f"http://127.0.0.1:{port}"
        app.send_signal(signal.SIGTERM)
        left = app.stderr.read()
        assert (app.wait(timeout=20), left) == (0, "")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def context(browser: Browser) -> BrowserContext:
    """Shared for its cache of scripts: every load of the page is a new visitor all the same."""
    return browser.new_context(locale="zh-CN", viewport={"width": 1280, "height": 844})


def open_page(context: BrowserContext, address: str, faults: list[str]) -> Page:
    page = context.new_page()
    local = (address, address.replace("http", "ws"), "data:", "blob:")
    page.on("request", lambda request: None if request.url.startswith(local) else faults.append(request.url))
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("console", lambda message: faults.append(message.text) if message.type == "error" else None)
    page.on("dialog", lambda dialog: faults.append(dialog.message))
    page.goto(address)
    expect(box(page)).to_be_visible()
    return page


@pytest.fixture
def page(context: BrowserContext, address: str) -> Iterator[Page]:
    """A new visitor; requests to other hosts, script errors, console errors and pop-ups fail the test."""
    faults: list[str] = []
    page = open_page(context, address, faults)
    yield page
    page.close()
    assert faults == []


def box(page: Page):  # type: ignore[no-untyped-def]
    return page.locator("#message textarea")


def bot(page: Page):  # type: ignore[no-untyped-def]
    return page.locator('[data-testid="bot"]')


def user(page: Page):  # type: ignore[no-untyped-def]
    return page.locator('[data-testid="user"]')


def rows(page: Page):  # type: ignore[no-untyped-def]
    return page.locator("#candidates tbody tr")


def say(page: Page, text: str, number: int = 1) -> None:
    box(page).fill(text)
    box(page).press("Enter")
    expect(bot(page)).to_have_count(number)
    expect(rows(page).first).to_be_visible()


def test_a_line_is_answered_and_the_candidates_are_shown(page: Page) -> None:
    say(page, "你好")
    expect(bot(page)).to_have_text("你好呀，今天过得怎么样？")
    expect(box(page)).to_have_value("")
    first = rows(page).first
    expect(first).to_have_class("chosen")
    expect(first).to_contain_text("你好呀，今天过得怎么样？")
    assert re.fullmatch(r"-?\d+\.\d\d", first.locator("td").last.inner_text())
    assert page.locator("#candidates th").all_inner_texts() == ["名次", "回复", "正向", "反向", "得分"]
    say(page, "还不错", 2)
    expect(bot(page).last).to_have_text("那就好，有什么开心的事吗？")


def test_retry_undo_and_clear(page: Page) -> None:
    page.get_by_text("天马行空").click()  # what is known by heart comes back in other words only when it is hot
    say(page, "晚安")
    before = bot(page).inner_text()
    page.get_by_role("button", name="换一句").click()
    expect(bot(page)).not_to_have_text(before)
    expect(bot(page)).to_have_count(1)
    say(page, "今天好累啊", 2)
    page.get_by_role("button", name="撤回").click()
    expect(bot(page)).to_have_count(1)
    expect(box(page)).to_have_value("今天好累啊")
    page.get_by_role("button", name="清空").click()
    expect(bot(page)).to_have_count(0)
    expect(rows(page)).to_have_count(0)
    box(page).fill("")
    page.get_by_role("button", name="换一句").click()
    expect(page.get_by_text("还没有可以重试的回复")).to_be_visible()


def test_knobs_and_presets_change_the_request(page: Page) -> None:
    expect(page.get_by_role("radio", name="活泼")).not_to_be_checked()  # the settings given are no preset's
    page.get_by_text("天马行空").click()
    page.get_by_text("细调").click()
    expect(page.locator("#temperature input[type=number]")).to_have_value(str(PRESETS["wild"].temperature))
    number = page.locator("#num_candidates input[type=number]")
    expect(number).to_have_value("16")
    number.fill("1")
    number.press("Tab")
    length = page.locator("#max_new_tokens input[type=number]")
    length.fill("8")
    length.press("Tab")
    expect(page.get_by_role("radio", name="天马行空")).not_to_be_checked()  # moved by hand: no preset any more
    say(page, "你好")
    # the reply alone, without the remark beside it, which may give a reason of any length
    texts = page.locator("#candidates td.text").evaluate_all("cells => cells.map(cell => cell.firstChild.textContent)")
    assert 1 <= len(texts) <= 3  # one a round, up to three rounds when none was fit
    assert all(len(text.replace(" ", "")) <= 8 for text in texts)


def test_an_opener_starts_the_talk(page: Page) -> None:
    page.get_by_role("button", name="今天好累啊").click()
    expect(bot(page)).to_have_count(1)
    expect(user(page)).to_have_text("今天好累啊")


def test_what_users_write_is_shown_as_it_is(page: Page) -> None:
    texts = [
        "<b>粗</b><script>alert(1)</script><img src=x onerror=alert(2)>",
        "**粗** _斜_ `码` # 题 [链](http://example.com)",
        "&lt;i&gt; &amp; $x^2$ \\(y\\) ${7*7} {{7*7}}",
        "<think>想</think><a href='javascript:alert(3)'>点</a>",
    ]
    for number, text in enumerate(texts, start=1):
        say(page, text, number)
    assert [bubble.locator(".message-content").inner_text() for bubble in user(page).all()] == texts
    assert user(page).locator("b, script, img, a, code, h1, i, em, strong").count() == 0


def test_a_message_that_is_refused_is_explained_and_kept(page: Page) -> None:
    box(page).fill("很" * 2001)
    box(page).press("Enter")
    expect(page.get_by_text("消息太长（2001 字）")).to_be_visible()
    expect(box(page)).to_have_value("很" * 2001)
    box(page).fill("\u200b")
    box(page).press("Enter")
    expect(page.get_by_text("消息是空的")).to_be_visible()
    expect(bot(page)).to_have_count(0)
    say(page, "你好")


def test_visitors_do_not_see_each_other(page: Page, browser: Browser, address: str) -> None:
    say(page, "我养了一只猫")
    faults: list[str] = []
    other = open_page(browser.new_context(locale="zh-CN"), address, faults)
    expect(bot(other)).to_have_count(0)
    other.get_by_role("button", name="撤回").click()
    expect(other.get_by_text("没有可以撤回的话")).to_be_visible()
    say(other, "晚安")
    other.context.close()
    say(page, "叫团子", 2)
    expect(user(page)).to_have_text(["我养了一只猫", "叫团子"])
    assert faults == []


def test_the_page_fits_a_phone(page: Page) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    say(page, "你好")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert page.evaluate("document.querySelector('#candidates').getBoundingClientRect().right") <= 390


def test_a_port_in_use_is_named_with_the_next_step() -> None:
    from chitchat.frontends.web_page import _check_address

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ChitchatError, match=rf"127\.0\.0\.1:{port} 已被占用：请用 --port"):
            _check_address("127.0.0.1", port)
    with pytest.raises(ChitchatError, match="请检查 --host"):
        _check_address("no-such-host.invalid", 7860)
