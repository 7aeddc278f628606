"""What stands before the page: the host, the visitor's cookie, the login, the sizes, the pace, the downloads."""

from __future__ import annotations

import asyncio
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from chitchat.errors import ChitchatError, ConfigError, UnknownSessionError

pytest.importorskip("gradio", reason="the web page is not installed")

from fastapi import FastAPI  # noqa: E402
from starlette.testclient import TestClient  # noqa: E402

from chitchat.config import DecodingConfig  # noqa: E402
from chitchat.frontends.web.login import Logins, add_user, read_users  # noqa: E402
from chitchat.frontends.web.models import Models  # noqa: E402
from chitchat.frontends.web.server import build_app, build_doorway  # noqa: E402
from chitchat.frontends.web.site import Site  # noqa: E402
from chitchat.frontends.web.visitors import VISITOR_COOKIE, Pace, TooFast, owner_of  # noqa: E402
from chitchat.sessions.store import Store  # noqa: E402

MINE, YOURS = "m" * 32, "y" * 32


@pytest.fixture(scope="module")
def site(tiny_model: Path, tiny_chatbot: Any, tmp_path_factory: pytest.TempPathFactory) -> Site:
    models = Models(tiny_model, lambda path: (tiny_chatbot, path.name))
    return Site(models, Store(), DecodingConfig(num_candidates=2), Pace(0), tmp_path_factory.mktemp("report"))


@pytest.fixture(scope="module")
def app(site: Site) -> FastAPI:
    async def build() -> FastAPI:
        return build_app(site)

    return asyncio.run(build())  # outside of a running loop Gradio makes loops of its own and leaves them open


@pytest.fixture
def client(app: FastAPI) -> TestClient:
    return TestClient(app, base_url="http://localhost")


def talk(site: Site, owner: str, text: str = "你好") -> str:
    session = site.session(None, owner, model=site.models.first.name, decoding=site.decoding)
    session.say(text)
    return session.id


def test_a_visitor_gets_a_secret_and_keeps_it(client: TestClient) -> None:
    first = client.get("/report/ranking.png")
    secret = first.cookies[VISITOR_COOKIE]
    assert len(secret) == 32
    assert "HttpOnly" in first.headers["set-cookie"] and "SameSite=Lax" in first.headers["set-cookie"]
    assert "set-cookie" not in client.get("/report/ranking.png").headers
    forged = client.get("/report/ranking.png", headers={"Cookie": f"{VISITOR_COOKIE}=short"})
    assert forged.cookies[VISITOR_COOKIE] != "short"


def test_a_browser_that_speaks_english_is_led_to_the_english_page_once(client: TestClient) -> None:
    def landing(languages: str) -> str:
        answer = client.get("/", headers={"Accept-Language": languages}, follow_redirects=False)
        return answer.headers.get("location", "/")

    for languages in ("zh-CN,zh;q=0.9,en;q=0.8", "en-US,en;q=0.9,zh-CN;q=0.8", ""):
        assert landing(languages) == "/"
        client.cookies.clear()
    assert landing("en-US,en;q=0.9,de;q=0.8") == "/en/"
    assert landing("en-US,en;q=0.9,de;q=0.8") == "/"  # the switch on the page decides from now on


def test_the_store_does_not_hold_the_secret() -> None:
    owner = owner_of({VISITOR_COOKIE: MINE}, None, "tab")
    assert owner == owner_of({VISITOR_COOKIE: MINE}, None, "other tab") != owner_of({VISITOR_COOKIE: YOURS}, None, "tab")
    assert MINE not in owner
    assert owner_of({}, None, "tab") != owner_of({}, None, "other tab")
    assert owner_of({VISITOR_COOKIE: MINE}, "小明", "tab") == "user:小明"


def test_a_conversation_is_downloaded_by_its_owner_alone(site: Site, client: TestClient) -> None:
    id = talk(site, owner_of({VISITOR_COOKIE: MINE}, None, None), "今天好累啊")
    client.cookies.set(VISITOR_COOKIE, MINE)
    answer = client.get(f"/export/{id}.md")
    assert answer.status_code == 200 and "今天好累啊" in answer.text
    assert answer.headers["content-disposition"].startswith("attachment")
    assert '"role": "user"' in client.get(f"/export/{id}.jsonl").text
    client.cookies.set(VISITOR_COOKIE, YOURS)
    refused = client.get(f"/export/{id}.md")
    assert (refused.status_code, refused.text) == (404, client.get("/export/0123456789abcdef.md").text)
    assert client.get(f"/export/{id}.html").status_code == 404
    assert client.get("/export/..%2F..%2Fetc%2Fpasswd.md").status_code == 404


def test_the_terminals_conversations_are_listed_only_when_asked_for(site: Site) -> None:
    mine = owner_of({VISITOR_COOKIE: MINE}, None, None)
    id = talk(site, "", "外面下雨了")
    assert id not in [session.id for session in site.sessions(mine)]
    assert site.accessible(id, mine) == ""  # who knows the id may open it
    site.lists_local = True
    try:
        assert id in [session.id for session in site.sessions(mine)]
        assert [session.id for session in site.sessions(mine, "下雨")] == [id]
    finally:
        site.lists_local = False
    with pytest.raises(UnknownSessionError, match="没有这段对话"):
        site.session("forged", mine, model=site.models.first.name, decoding=site.decoding)


def test_only_this_machines_names_reach_a_local_page(client: TestClient) -> None:
    for host in ("localhost:7860", "127.0.0.1", "[::1]:7860"):
        assert client.get("/en", headers={"Host": host}, follow_redirects=False).status_code == 308
    refused = client.get("/", headers={"Host": "attacker.example"})
    assert refused.status_code == 403 and "localhost" in refused.json()["error"]


def test_bodies_have_a_limit(client: TestClient) -> None:
    join = "/gradio_api/queue/join"
    assert client.post(join, content=b"x", headers={"Content-Length": "2000000"}).status_code == 413
    assert client.post("/gradio_api/upload", content=b"x", headers={"Content-Length": "900000000"}).status_code == 413
    assert client.post(join, content=iter([b"x"])).status_code == 411


def test_the_policy_keeps_the_page_to_its_host(client: TestClient) -> None:
    policy = client.get("/").headers["content-security-policy"]
    assert "default-src 'self'" in policy and "http" not in policy


def test_the_page_has_no_open_endpoint_but_chat(client: TestClient) -> None:
    assert list(client.get("/gradio_api/info").json()["named_endpoints"]) == ["/chat"]


def test_the_pace_is_each_visitors_own() -> None:
    pace = Pace(2)
    pace.count("a")
    pace.count("a")
    pace.count("b")
    with pytest.raises(TooFast, match="每分钟最多 2 句"):
        pace.count("a")


@pytest.fixture(scope="module")
def guarded(site: Site, tmp_path_factory: pytest.TempPathFactory) -> FastAPI:
    users = tmp_path_factory.mktemp("users") / "users.txt"
    add_user(users, "小明", "correct horse")
    assert stat.S_IMODE(users.stat().st_mode) == 0o600
    assert "correct horse" not in users.read_text(encoding="utf-8")
    return build_doorway(site, logins=Logins(read_users(users)), host="127.0.0.1")


def test_nothing_is_shown_before_the_login(guarded: FastAPI) -> None:
    client = TestClient(guarded, base_url="http://localhost", follow_redirects=False)
    redirect = client.get("/en/", headers={"Accept": "text/html"})
    assert (redirect.status_code, redirect.headers["location"]) == (303, "/login?next=/en/")
    for path in ("/", "/config", "/gradio_api/info", "/export/x.md", "/theme.css"):
        assert client.get(path).status_code == 401, path
    assert "用户名" in client.get("/login").text
    assert 'lang="en"' in client.get("/login", headers={"Accept-Language": "en-US"}).text
    english = client.get("/", headers={"Accept": "text/html", "Accept-Language": "en-US"})
    assert english.headers["location"] == "/login?next=/en/"
    assert "javascript" not in client.get("/login?next=javascript:alert(1)").text

    wrong = client.post("/login", data={"username": "小明", "password": "wrong"})
    assert wrong.status_code == 401 and "用户名或密码不对" in wrong.text
    assert 'value="小明"' in wrong.text  # only the password is to be typed again
    right = client.post("/login", data={"username": "小明", "password": "correct horse", "next": "//attacker.example"})
    assert (right.status_code, right.headers["location"]) == (303, "/")
    assert client.get("/export/x.md").status_code == 404
    assert client.post("/logout").status_code == 303
    assert client.get("/export/x.md").status_code == 401

    codes = [client.post("/login", data={"username": "小明", "password": str(n)}).status_code for n in range(10)]
    assert codes[0] == 401 and codes[-1] == 429  # guessing is slow work


def test_a_user_file_that_is_none_is_named_with_the_line(tmp_path: Path) -> None:
    path = tmp_path / "users.txt"
    with pytest.raises(ConfigError, match="--add-user"):
        read_users(path)
    path.write_text("# 空的\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="没有用户"):
        read_users(path)
    path.write_text("小明:secret\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"users\.txt:1：应为"):
        read_users(path)
    for name, password in (("a:b", "long enough"), ("a", "short"), ("", "long enough")):
        with pytest.raises(ConfigError):
            add_user(tmp_path / "other.txt", name, password)
    assert not (tmp_path / "other.txt").exists()


def test_a_user_is_added_from_the_command_line(tmp_path: Path) -> None:
    path = tmp_path / "users.txt"
    command = [sys.executable, "-m", "chitchat", "web", "--auth-file", str(path), "--add-user", "小红"]
    done = subprocess.run(command, input="long enough\n", capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")
    assert "小红" in done.stderr and "long enough" not in done.stderr
    assert read_users(path)["小红"].matches("long enough")


@pytest.mark.parametrize(
    ("flags", "fault"),
    [
        (["--all-sessions", "--host", "0.0.0.0"], "--all-sessions 只限本机"),
        (["--rate-limit", "-1"], "--rate-limit 应不小于 0"),
        (["--add-user", "小明"], "--auth-file"),
        (["--auth-file", "nowhere.txt"], "读不了 --auth-file"),
    ],
)
def test_options_that_cannot_be_are_told_at_once(flags: list[str], fault: str, capsys: pytest.CaptureFixture[str]) -> None:
    from chitchat.cli import main

    assert main(["web", *flags]) == 2
    assert fault in capsys.readouterr().err


def test_models_beside_the_first_are_offered_and_loaded_once(tiny_model: Path, tiny_chatbot: Any, tmp_path: Path) -> None:
    import shutil

    for name in ("one", "two", "three"):
        shutil.copytree(tiny_model, tmp_path / name)
    (tmp_path / "no model").mkdir()
    loaded: list[str] = []

    def load(path: Path) -> tuple[Any, str]:
        loaded.append(path.name)
        return tiny_chatbot, path.name

    models = Models(tmp_path / "two", load)
    assert models.names == ["two", "one", "three"]
    for name in ("one", "one", "two", "three"):
        assert models.get(name).fingerprint == name
    assert loaded == ["two", "one", "three"]
    with pytest.raises(ChitchatError, match="没有叫 '../one' 的模型"):
        models.get("../one")
