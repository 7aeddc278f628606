"""Login to the page: a file of names and hashed passwords, the form, and who is logged in.

A line of the file is `name:scrypt:n:r:p:salt:hash`, salt and hash in base64; passwords are stored nowhere. Logins last until the
page's server stops.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import html
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from chitchat.errors import ConfigError
from chitchat.files import atomic_write

LOGIN_COOKIE = "chitchat_login"
LOGIN_PATH = "/login"
MIN_PASSWORD_CHARS = 8
_N, _R, _P = 1 << 15, 8, 1
"""OWASP's cost for scrypt at p = 3 halved twice over for one core: 32 MB and about 60 ms a try."""
_NAME = re.compile(r"[\w.@-]{1,64}")
_MAX_LOGINS = 10_000


@dataclass(frozen=True, slots=True)
class _Password:
    n: int
    r: int
    p: int
    salt: bytes
    hash: bytes

    @classmethod
    def of(cls, password: str) -> _Password:
        salt = secrets.token_bytes(16)
        return cls(_N, _R, _P, salt, _scrypt(password, salt, _N, _R, _P))

    @classmethod
    def read(cls, text: str) -> _Password:
        kind, n, r, p, salt, digest = text.split(":")
        if kind != "scrypt":
            raise ValueError(f"不认识的算法 {kind}")
        return cls(int(n), int(r), int(p), base64.b64decode(salt, validate=True), base64.b64decode(digest, validate=True))

    def written(self) -> str:
        return ":".join(
            ["scrypt", str(self.n), str(self.r), str(self.p), *(base64.b64encode(b).decode() for b in (self.salt, self.hash))]
        )

    def matches(self, password: str) -> bool:
        return hmac.compare_digest(self.hash, _scrypt(password, self.salt, self.n, self.r, self.p))


def _scrypt(password: str, salt: bytes, n: int, r: int, p: int) -> bytes:
    return hashlib.scrypt(password.encode(), salt=salt, n=n, r=r, p=p, maxmem=256 * n * r, dklen=32)


def read_users(path: Path) -> dict[str, _Password]:
    """Names and hashed passwords; raises ConfigError with file and line for what is not such a file or has nobody in it."""
    users = {}
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"读不了 --auth-file {path}（{error}）：可用 chitchat web --auth-file {path} --add-user 名字 新建"
        ) from None
    for number, line in enumerate(lines, start=1):
        if not line.strip() or line.startswith("#"):
            continue
        name, _, rest = line.strip().partition(":")
        try:
            users[_checked_name(name)] = _Password.read(rest)
        except (ValueError, binascii.Error, ConfigError) as error:
            raise ConfigError(f"{path}:{number}：应为“名字:scrypt:…”（{error}）；可用 --add-user 重写这一行") from None
    if not users:
        raise ConfigError(f"--auth-file {path} 里没有用户：请先用 --add-user 名字 加一个")
    return users


def add_user(path: Path, name: str, password: str) -> None:
    """Adds a user to the file, made when there is none, or changes their password. The file is for its owner's eyes only."""
    _checked_name(name)
    if len(password) < MIN_PASSWORD_CHARS:
        raise ConfigError(f"密码太短：至少 {MIN_PASSWORD_CHARS} 个字符")
    users = read_users(path) if path.exists() and path.stat().st_size else {}
    users[name] = _Password.of(password)
    with atomic_write(path, permissions=0o600) as stream:
        stream.writelines(f"{user}:{record.written()}\n" for user, record in users.items())


def _checked_name(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise ConfigError(f"用户名 {name!r} 不能用：应为 1 到 64 个字母、汉字、数字或 . _ @ -")
    return name


class Logins:
    """Who is logged in, by the random token in their cookie."""

    def __init__(self, users: Mapping[str, _Password]) -> None:
        self._users = users
        self._names: dict[bytes, str] = {}
        self._nobody = _Password.of(secrets.token_urlsafe())

    def login(self, name: str, password: str) -> str | None:
        """A token for the cookie, or None for a wrong name or password; takes as long for either."""
        known = self._users.get(name)
        if not (known or self._nobody).matches(password) or known is None:
            return None
        token = secrets.token_urlsafe(24)
        self._names[_digest(token)] = name
        while len(self._names) > _MAX_LOGINS:
            del self._names[next(iter(self._names))]
        return token

    def user_of(self, token: str) -> str | None:
        """The name that a token was given to."""
        return self._names.get(_digest(token))

    def logout(self, token: str) -> None:
        """Makes a token worthless."""
        self._names.pop(_digest(token), None)


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "replace")).digest()


def login_page(*, chinese: bool, after: str, fault: str = "", username: str = "") -> str:
    """The form as a whole page. `after` is the path to go on to, `fault` what was wrong with the last try as `username`."""
    words = (
        ("登录 · 小叙", "小叙", "用户名", "密码", "登录")
        if chinese
        else ("Log in · Xiaoxu", "Xiaoxu", "User name", "Password", "Log in")
    )
    title, heading, name, password, button = words
    name_given = f'value="{html.escape(username)}"' if username else "autofocus"
    focus = "autofocus" if username else ""
    return f"""<!doctype html><html lang="{"zh-CN" if chinese else "en"}"><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1"><title>{button} · {heading}</title><style>
:root {{color-scheme: light dark}}
body {{font: 16px/1.6 system-ui, "PingFang SC", "Microsoft YaHei", "Noto Sans CJK SC", sans-serif; display: grid;
  place-items: center; min-height: 100vh; margin: 0; background: light-dark(#f6f8fa, #0f1720)}}
form {{width: min(300px, 86vw); padding: 28px; border-radius: 14px; background: light-dark(#fff, #18222d);
  border: 1px solid light-dark(#e2e8f0, #2b3947)}}
h1 {{font-size: 1.2rem; margin: 0 0 12px}} label {{display: block; margin: 10px 0 4px; font-size: .9rem}}
input, button {{font: inherit; width: 100%; box-sizing: border-box; padding: 8px 10px; border-radius: 8px;
  border: 1px solid light-dark(#cbd5e1, #3a4a5a)}}
button {{margin-top: 18px; background: #0f766e; border-color: #0f766e; color: #fff; cursor: pointer}}
[role=alert] {{color: light-dark(#b91c1c, #fca5a5); font-size: .9rem; min-height: 1.6em; margin: 8px 0 0}}
</style><form method="post" action="{LOGIN_PATH}"><h1>{heading}</h1>
<label for="u">{name}</label><input id="u" name="username" autocomplete="username" required {name_given}>
<label for="p">{password}</label><input id="p" name="password" type="password" autocomplete="current-password" required {focus}>
<input type="hidden" name="next" value="{html.escape(after)}"><p role="alert">{html.escape(fault)}</p>
<button>{button}</button></form></html>"""
