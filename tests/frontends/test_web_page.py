"""The web page, driven in a real browser (headless Chromium) against a real small model."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from chitchat.engine.decoding import PRESETS
from chitchat.sessions.session import Session
from chitchat.sessions.store import Store

ROOT = Path(__file__).resolve().parents[2]
CHROMIUM = "/usr/bin/chromium"
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
FLAGS += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]

pytest.importorskip("gradio", reason="the web page is not installed")
if not os.environ.get("CI"):
    pytest.importorskip("playwright", reason="no playwright")
    if not Path(CHROMIUM).exists():
        pytest.skip("no chromium", allow_module_level=True)

from gradio_client import Client  # noqa: E402
from gradio_client.exceptions import AppError  # noqa: E402
from playwright.sync_api import Browser, BrowserContext, Locator, Page, expect, sync_playwright  # noqa: E402

from chitchat.frontends.web.visitors import VISITOR_COOKIE, owner_of  # noqa: E402

expect.set_options(timeout=15_000)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("store") / "conversations.db"


@pytest.fixture(scope="module")
def address(tiny_model: Path, store: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    report = tmp_path_factory.mktemp("report")
    command = [sys.executable, "-m", "chitchat", "web", "--model", str(tiny_model), "--port", str(port), "--store", str(store)]
    command += [
        "--report",
        str(report),
        "--rate-limit",
        "0",
        "--temperature",
        "0.3",
        "--num-candidates",
        "6",
        "--max-new-tokens",
        "24",
    ]
    # A proxy that is not there: the page must not need one to find itself.
    environment = os.environ | {"PYTHONPATH": str(ROOT), "HTTP_PROXY": "http://127.0.0.1:9", "http_proxy": "http://127.0.0.1:9"}
    with subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True) as app:
        assert app.stderr is not None
        heard = []
        for line in app.stderr:
            heard.append(line)
            if "网页已打开" in line:
                break
        else:
            pytest.fail("".join(heard))
        assert str(store) in heard[0]  # where conversations are kept is told at the start
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
    """Shared for its cache of scripts."""
    return browser.new_context(
        locale="zh-CN", viewport={"width": 1280, "height": 844}, permissions=["clipboard-read", "clipboard-write"]
    )


def open_page(context: BrowserContext, address: str, faults: list[str]) -> Page:
    page = context.new_page()
    local = (address, address.replace("http", "ws"), "data:", "blob:")
    page.on("request", lambda request: None if request.url.startswith(local) else faults.append(request.url))
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("console", lambda message: faults.append(message.text) if message.type == "error" else None)
    page.on("dialog", lambda dialog: faults.append(dialog.message))
    page.goto(address)
    expect(page.locator("#log .log, #log .openers")).to_be_visible()
    return page


@pytest.fixture
def page(context: BrowserContext, address: str) -> Iterator[Page]:
    """A new visitor; requests to other hosts, script errors, console errors and pop-ups fail the test."""
    context.clear_cookies()
    faults: list[str] = []
    page = open_page(context, address, faults)
    yield page
    page.close()
    assert faults == []


def box(page: Page) -> Locator:
    return page.locator("#message textarea")


def bot(page: Page) -> Locator:
    return page.locator('[data-testid="bot"]')


def user(page: Page) -> Locator:
    return page.locator('[data-testid="user"]')


def sessions(page: Page) -> Locator:
    return page.locator("#sessions li")


def say(page: Page, text: str, number: int = 1) -> None:
    expect(page.locator("#message .submit-button")).to_be_visible()  # where a turn is under way the button stops it
    box(page).fill(text)
    expect(box(page)).to_have_value(text)
    box(page).press("Enter")
    expect(bot(page)).to_have_count(number)


def press(where: Locator, name: str) -> None:
    where.hover()
    where.get_by_role("button", name=name, exact=True).click()


def last(page: Page) -> Locator:
    return page.locator("#log li.last")


def test_a_talk_with_retry_rating_edit_and_undo(page: Page) -> None:
    page.get_by_role("button", name="今天好累啊").click()  # an opener
    expect(bot(page)).to_have_text("辛苦了，早点休息吧。")
    expect(user(page)).to_have_text("今天好累啊")
    page.get_by_text("天马行空").click()  # what is known by heart comes back in other words only when it is hot
    say(page, "睡不着", 2)
    expect(box(page)).to_have_value("")
    before = bot(page).last.inner_text()
    last(page).get_by_role("button", name="换一句").press("Enter")
    expect(bot(page).nth(1)).not_to_have_text(before)
    expect(last(page).get_by_role("button", name="换一句")).to_be_focused()

    first = page.locator("#log li.user").first
    press(first, "编辑")
    first.get_by_role("textbox").fill("外面下雨了")
    press(last(page), "踩")
    page.get_by_role("button", name="答非所问").click()
    expect(page.get_by_text("记下了")).to_be_visible()
    expect(last(page).get_by_role("button", name="踩")).to_have_attribute("aria-pressed", "true")
    press(last(page), "复制")
    expect(last(page).locator(".done")).to_be_visible()
    assert page.evaluate("navigator.clipboard.readText()") == bot(page).last.inner_text()

    press(last(page), "改成你想听的")
    page.get_by_role("textbox", name="改成你想听的").fill("数数羊吧")
    press(last(page), "就该这么说")
    expect(bot(page).last).to_have_text("数数羊吧")

    expect(first.get_by_role("textbox")).to_have_value("外面下雨了")  # what was shown anew since has not closed it
    expect(first).to_contain_text("后面的 2 条会一起撤回")
    first.get_by_role("textbox").press("Enter")
    expect(bot(page)).to_have_count(1)
    expect(first.get_by_role("textbox")).not_to_be_visible()
    expect(user(page)).to_have_text("外面下雨了")
    press(last(page), "撤回")
    expect(bot(page)).to_have_count(0)
    expect(box(page)).to_have_value("外面下雨了")


def test_a_talk_longer_than_the_screen_is_scrolled_to_its_end(page: Page, store: Path, tiny_chatbot: Any) -> None:
    (visitor,) = [c["value"] for c in page.context.cookies() if c.get("name") == VISITOR_COOKIE]
    talk = Session(tiny_chatbot, store=Store(store), owner=owner_of({VISITOR_COOKIE: visitor}, None, None))
    for _ in range(10):
        talk.say("今天好累啊")

    def expect_the_end_in_sight(*more: Locator) -> None:
        for what in (bot(page).last, last(page).get_by_role("button", name="撤回"), box(page), *more):
            expect(what).to_be_in_viewport(ratio=1)

    for width, number in ((1280, 10), (390, 12)):
        page.set_viewport_size({"width": width, "height": 844})
        page.reload()
        expect(bot(page)).to_have_count(number)
        expect_the_end_in_sight()
        say(page, "睡不着", number + 1)
        expect_the_end_in_sight()
        page.locator("#log").hover()
        page.mouse.wheel(0, -9999)
        expect(user(page).first).to_be_in_viewport()
        expect(box(page)).to_be_in_viewport(ratio=1)
        say(page, "睡不着" * 300, number + 2)
        expect_the_end_in_sight()
        press(last(page), "踩")
        expect_the_end_in_sight(page.get_by_role("textbox", name="评价的原因"))
        press(last(page), "改成你想听的")
        expect(page.get_by_role("button", name="就该这么说")).to_be_in_viewport(ratio=1)
        expect(box(page)).to_be_in_viewport(ratio=1)


def test_another_candidate_becomes_the_reply(page: Page) -> None:
    expect(page.get_by_role("radio", name="活泼")).not_to_be_checked()  # the settings given are no preset's
    page.get_by_text("天马行空").click()
    page.get_by_text("细调与模型").click()
    expect(page.locator("#temperature input[type=number]")).to_have_value(str(PRESETS["wild"].temperature))
    number = page.locator("#num_candidates input[type=number]")
    number.fill("24")
    number.press("Tab")
    expect(page.get_by_role("radio", name="天马行空")).not_to_be_checked()  # moved by hand: no preset any more
    say(page, "谢谢你")
    said = page.locator("#candidates .said")
    expect(said.locator(".words")).to_have_text(bot(page).inner_text())
    assert "正向" in said.inner_text() and "反向" in said.inner_text()
    expect(page.locator("#candidates .why")).to_contain_text("比次选")
    said.get_by_text("特征").click()
    expect(said.get_by_text("通顺（正向）")).to_be_visible()
    other = page.locator("#candidates [data-action=pick]").first
    text = other.locator(".words").inner_text()
    other.click()
    expect(bot(page)).to_have_text(text)
    expect(said.locator(".words")).to_have_text(text)
    say(page, "晚安", 2)
    press(page.locator("#log li.bot").first, "看候选")
    expect(said.locator(".words")).to_have_text(text)
    expect(page.locator("#candidates [data-action=pick]")).to_have_count(0)  # only the last reply can be another


def test_conversations_are_kept_found_named_exported_and_deleted(page: Page, context: BrowserContext, address: str) -> None:
    say(page, "你好")
    page.get_by_role("button", name="新对话").click()
    expect(bot(page)).to_have_count(0)
    page.keyboard.type("外面下雨了")  # the box has the focus
    page.keyboard.press("Enter")
    page.keyboard.type("接着打的字", delay=10)
    expect(bot(page)).to_have_count(1)
    expect(box(page)).to_have_value("接着打的字")
    expect(sessions(page)).to_have_count(2)
    more = sessions(page).first.get_by_role("button", name="更多")
    more.press("Enter")
    expect(more).to_have_attribute("aria-expanded", "true")
    page.keyboard.press("Tab")
    page.keyboard.press("Escape")
    expect(more).to_be_focused()
    page.get_by_text("稳妥").click()
    press(sessions(page).first, "更多")
    press(sessions(page).first, "改名")
    sessions(page).first.get_by_label("新名字").fill("雨天 <b>")
    sessions(page).first.get_by_label("新名字").press("Enter")
    expect(sessions(page).first).to_contain_text("雨天 <b>")
    page.reload()
    expect(user(page)).to_have_text("外面下雨了")  # found again
    expect(box(page)).to_have_value("接着打的字")
    expect(page.get_by_role("radio", name="稳妥")).to_be_checked()
    page.evaluate("localStorage.clear()")  # the context is shared
    press(sessions(page).first, "更多")
    with page.expect_download() as download:
        sessions(page).first.get_by_text("Markdown").click()
    assert "外面下雨了" in download.value.path().read_text(encoding="utf-8")
    sessions(page).last.locator(".session").click()
    expect(user(page)).to_have_text("你好")
    page.get_by_label("搜索对话").fill("下雨")
    page.get_by_label("搜索对话").press("End")
    expect(sessions(page)).to_have_count(1)
    page.get_by_label("搜索对话").fill("")
    expect(sessions(page)).to_have_count(2)

    sessions(page).first.locator(".session").click()
    expect(user(page)).to_have_text("外面下雨了")
    other = open_page(context, address, [])  # a second tab of the same visitor goes on with the same talk
    say(other, "叫团子", 2)
    other.close()
    say(page, "晚安", 3)
    expect(user(page)).to_have_text(["外面下雨了", "叫团子", "晚安"])
    press(sessions(page).first, "更多")
    press(sessions(page).first, "删除")
    press(sessions(page).first, "再点一次就删除")
    expect(sessions(page)).to_have_count(1)
    expect(bot(page)).to_have_count(0)


def test_what_is_said_while_the_server_is_away_is_kept_until_it_is_back(context: BrowserContext, address: str) -> None:
    page = open_page(context, address, [])
    context.set_offline(True)
    box(page).fill("在吗")
    box(page).press("Enter")
    expect(page.get_by_text("连不上小叙了")).to_be_visible()
    expect(box(page)).to_have_value("在吗")
    context.set_offline(False)
    expect(page.get_by_text("连不上小叙了")).not_to_be_visible()  # the page has loaded itself anew
    expect(box(page)).to_have_value("在吗")
    page.close()


def test_visitors_do_not_see_each_other(page: Page, browser: Browser, address: str) -> None:
    say(page, "我养了一只猫")
    faults: list[str] = []
    other = open_page(browser.new_context(locale="zh-CN"), address, faults)
    expect(page.locator("#sessions .session")).to_have_count(1)
    id = page.locator("#sessions .session").get_attribute("data-id")
    expect(other.get_by_text("还没有对话")).to_be_visible()
    other.get_by_role("button", name="打开终端里的对话").click()
    other.get_by_label("对话编号").fill(id or "")
    other.get_by_label("对话编号").press("Enter")
    expect(other.get_by_text("没有这段对话")).to_be_visible()
    expect(bot(other)).to_have_count(0)
    assert other.request.get(f"{address}/export/{id}.md").status == 404
    other.context.close()
    assert faults == []


def test_a_conversation_of_the_terminal_is_opened_by_its_id(page: Page, store: Path, tiny_chatbot: Any) -> None:
    session = Session(tiny_chatbot, store=Store(store))
    session.say("你叫什么名字")
    page.get_by_role("button", name="打开终端里的对话").click()
    page.get_by_label("对话编号").fill(session.id)
    page.get_by_label("对话编号").press("Enter")
    expect(user(page)).to_have_text("你叫什么名字")
    say(page, "晚安", 2)
    assert [m.content for m in session.messages][2] == "晚安"


def test_what_users_write_is_shown_as_it_is_or_refused_in_words(page: Page) -> None:
    text = "<b>粗</b><script>alert(1)</script><img src=x onerror=alert(2)> **粗** &lt;i&gt; ${7*7} {{7*7}}\u202e反"
    say(page, text)
    expect(user(page)).to_have_text(text.replace("\u202e", ""))
    assert user(page).locator("*").count() == 0
    expect(sessions(page).first).to_contain_text("<b>粗</b>")
    box(page).fill("很" * 2001)
    box(page).press("Enter")
    expect(page.get_by_text("消息太长（2001 字）")).to_be_visible()
    expect(box(page)).to_have_value("很" * 2001)
    box(page).fill("\u200b")
    box(page).press("Enter")
    expect(page.get_by_text("消息是空的")).to_be_visible()
    expect(bot(page)).to_have_count(1)
    box(page).fill("两")
    box(page).press("Shift+Enter")
    box(page).press_sequentially("行")
    expect(box(page)).to_have_value("两\n行")


def test_a_phone_in_the_dark_in_english(page: Page, address: str) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    say(page, "你好")
    page.get_by_role("button", name="对话列表").click()
    expect(page.get_by_role("button", name="新对话")).to_be_in_viewport()
    page.keyboard.press("Escape")
    expect(page.get_by_role("button", name="新对话")).not_to_be_in_viewport()
    press(last(page), "看候选")
    expect(page.locator("#candidates .said")).to_be_in_viewport()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.keyboard.press("Escape")
    page.get_by_role("button", name="深色或浅色").click()
    page.get_by_role("link", name="English").click()
    expect(page.locator("#message").get_by_role("button", name="Send")).to_be_visible()
    expect(page.locator("html[lang=en] body.dark")).to_have_count(1)  # remembered
    expect(user(page)).to_have_text("你好")  # the same visitor
    box(page).fill("very" * 600)
    box(page).press("Enter")
    expect(page.get_by_text("too long (2400 characters")).to_be_visible()
    box(page).fill("")
    chinese = page.evaluate("[...document.body.innerText.matchAll(/[\u4e00-\u9fff]+/g)].map(String)")
    assert set(chinese) <= {"你好", "中文", *re.findall("[\u4e00-\u9fff]+", bot(page).inner_text())}


def test_rows_are_scored_and_a_missing_report_is_explained(page: Page) -> None:
    page.get_by_role("tab", name="打分").click()
    page.get_by_role("button", name="打分", exact=True).click()
    expect(page.locator("#score-result")).to_contain_text("没有可以打分的内容")
    page.get_by_role("button", name="放入示例").click()
    expect(page.get_by_label("粘贴在这里")).not_to_have_value("")
    page.get_by_role("button", name="打分", exact=True).click()
    expect(page.locator("#score-result tbody tr")).to_have_count(4)
    expect(page.locator("#score-result figure svg")).to_have_count(3)
    with page.expect_download() as download:
        page.locator("#score-download").click()
    assert download.value.path().read_text(encoding="utf-8").startswith("context,reply,forward_log_prob")
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="或上传文件来打分").click()
    line = json.dumps({"context": ["你好"], "reply": "你好呀，今天过得怎么样？"}, ensure_ascii=False)
    chooser.value.set_files({"name": "rows.jsonl", "mimeType": "text/plain", "buffer": f"{line}\n坏行\n".encode()})
    expect(page.locator("#score-result tbody tr")).to_have_count(1)
    expect(page.locator("#score-result .faults")).to_contain_text("第 2 行")
    page.get_by_label("粘贴在这里").fill("abc")
    page.get_by_role("button", name="打分", exact=True).click()
    expect(page.locator("#score-result")).to_contain_text("的表头应有 context 与 reply")
    expect(page.locator("#score-result table")).to_have_count(0)  # what was scored before is no answer to this
    page.get_by_role("tab", name="评测").click()
    expect(page.get_by_text("还没有评测报告")).to_be_visible()


def test_programs_talk_through_the_chat_endpoint(address: str) -> None:
    client = Client(address, verbose=False)
    reply, session = client.predict("你好", api_name="/chat")
    assert reply == "你好呀，今天过得怎么样？"
    reply, again = client.predict("还不错", session, api_name="/chat")
    assert (reply, again) == ("那就好，有什么开心的事吗？", session)
    with pytest.raises(AppError, match="没有这段对话"):
        Client(address, verbose=False).predict("你好", session, api_name="/chat")  # another visitor
    with pytest.raises(AppError, match="消息太长"):
        client.predict("很" * 2001, api_name="/chat")
