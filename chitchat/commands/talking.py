"""Talking: in the terminal, on the page, through the API."""

from __future__ import annotations

import argparse
import dataclasses
import os
import sys
from pathlib import Path

from chitchat.commands.shared import AddCommand, check_port, require, resolve_all
from chitchat.config import ChatConfig, DecodingConfig, StoreConfig
from chitchat.errors import ConfigError


def add(command: AddCommand) -> None:
    sub = command("chat", "在终端里聊天", _chat, ChatConfig, DecodingConfig, StoreConfig)
    sub.add_argument("--resume", metavar="ID", help="接着聊这一段：编号、它的开头几位，或 last（最近一段）")
    sub.add_argument("--json", action="store_true", help="每次回复在标准输出写一行 JSON：回复、候选、得分与编号")

    sub = command("web", "打开聊天网页", _web, ChatConfig, DecodingConfig, StoreConfig)
    sub.add_argument("--host", default="127.0.0.1", help="监听地址（默认 127.0.0.1，只有本机能访问）")
    sub.add_argument("--port", type=int, default=7860, metavar="N", help="端口（默认 7860）")
    sub.add_argument("--auth-file", type=Path, metavar="FILE", help="用户文件：里面的人登录后才能用，各看各的对话")
    sub.add_argument("--add-user", metavar="NAME", help="在 --auth-file 里加一个用户（或改其密码），不打开网页")
    sub.add_argument("--all-sessions", action="store_true", help="也列出终端里的对话；只限本机访问且不登录时")
    sub.add_argument("--rate-limit", type=int, default=60, metavar="N", help="每人每分钟最多说几句，0 为不限（默认 60）")
    sub.add_argument(
        "--report", type=Path, default=Path("evaluation"), metavar="DIR", help="评测页显示哪个文件夹里的报告（默认 evaluation）"
    )

    sub = command("serve", "打开 OpenAI 兼容的接口", _serve, ChatConfig, DecodingConfig, StoreConfig)
    sub.add_argument("--host", default="127.0.0.1", help="监听地址（默认 127.0.0.1，只有本机能访问）")
    sub.add_argument("--port", type=int, default=8000, metavar="N", help="端口（默认 8000）")
    sub.add_argument(
        "--api-key",
        default=os.environ.get("CHITCHAT_API_KEY", ""),
        metavar="KEY",
        help="请求须带的密钥；也可用环境变量 CHITCHAT_API_KEY，不会出现在进程列表里",
    )
    sub.add_argument("--api-key-file", type=Path, metavar="FILE", help="密钥文件，一行一个，带其中任何一个都行")
    sub.add_argument(
        "--max-queue", type=int, default=128, metavar="N", help="处理中与排队的请求最多多少个，再多答 429（默认 128）"
    )


def _chat(args: argparse.Namespace) -> int:
    chat, decoding, keep = resolve_all(args, ChatConfig, DecodingConfig, StoreConfig)
    from chitchat.checkpoint import model_fingerprint
    from chitchat.engine.build import load_chatbot
    from chitchat.frontends.terminal.prompt import is_interactive, run_terminal
    from chitchat.sessions.session import Session
    from chitchat.sessions.store import Store, open_store

    # who pipes a line in wants an answer; only a talk that is asked for by name is kept
    is_kept = args.resume or keep.store or (is_interactive(sys.stdin, sys.stdout) and not args.json)
    store = open_store(keep) if is_kept else Store()
    id = store.find(args.resume, owner="" if args.resume == "last" else None) if args.resume else None
    chatbot = load_chatbot(chat, decoding)
    model = model_fingerprint(Path(chat.model).expanduser())
    if id is None:
        session = Session(chatbot, store=store, model=model)
    else:
        session = Session.resume(chatbot, store, id, owner=None, model=model)
    return run_terminal(session, as_json=args.json)


def _web(args: argparse.Namespace) -> None:
    chat, decoding, keep = resolve_all(args, ChatConfig, DecodingConfig, StoreConfig)
    check_port(args.port)
    if args.rate_limit < 0:
        raise ConfigError(f"--rate-limit 应不小于 0，得到 {args.rate_limit}")
    if args.add_user is not None:
        _add_user(args.auth_file, args.add_user)
        return
    require("gradio", command="web")
    from chitchat.checkpoint import model_fingerprint
    from chitchat.engine.build import load_chatbot
    from chitchat.engine.chatbot import Chatbot
    from chitchat.frontends.api.gate import local_hosts
    from chitchat.frontends.web.login import Logins, read_users

    logins = Logins(read_users(args.auth_file)) if args.auth_file else None
    is_local = bool(local_hosts(args.host.strip("[]")))
    if args.all_sessions and (logins or not is_local):
        raise ConfigError("--all-sessions 只限本机访问且不登录时：去掉它，或去掉 --host 与 --auth-file")
    if not logins and not is_local:
        print("注意：没有登录，能连到这个地址的人都能用；可用 --auth-file 设登录", file=sys.stderr)
    from chitchat.frontends.web.models import Models
    from chitchat.frontends.web.server import build_app, launch
    from chitchat.frontends.web.site import Site
    from chitchat.frontends.web.visitors import Pace
    from chitchat.sessions.store import open_store

    def load(path: Path) -> tuple[Chatbot, str]:
        return load_chatbot(dataclasses.replace(chat, model=str(path)), decoding), model_fingerprint(path)

    site = Site(
        Models(Path(chat.model), load),
        open_store(keep),
        decoding,
        Pace(args.rate_limit),
        args.report,
        lists_local=args.all_sessions,
    )
    kept = "对话只留在内存里" if site.store.path is None else f"对话保存在 {site.store.path}（不想保存用 --ephemeral）"
    print(kept, file=sys.stderr)
    launch(build_app(site, logins=logins, host=args.host), host=args.host, port=args.port)


def _add_user(auth_file: Path | None, name: str) -> None:
    if auth_file is None:
        raise ConfigError("--add-user 要和 --auth-file 一起用，如 --auth-file users.txt --add-user 小明")
    import getpass

    from chitchat.frontends.web.login import add_user

    password = getpass.getpass("密码：") if sys.stdin.isatty() else sys.stdin.readline().rstrip("\n")
    if sys.stdin.isatty() and getpass.getpass("再输一遍：") != password:
        raise ConfigError("两次输入的密码不一样：请重新运行")
    add_user(auth_file, name, password)
    print(f"已把 {name} 写入 {auth_file}；重新打开网页后生效", file=sys.stderr)


def _serve(args: argparse.Namespace) -> None:
    chat, decoding, keep = resolve_all(args, ChatConfig, DecodingConfig, StoreConfig)
    check_port(args.port)
    if args.max_queue < 1:
        raise ConfigError(f"--max-queue 应不小于 1，得到 {args.max_queue}")
    require("fastapi", "uvicorn", command="serve")
    from chitchat.checkpoint import model_fingerprint, model_folders
    from chitchat.engine.build import load_chatbot
    from chitchat.frontends.api.gate import local_hosts, read_keys
    from chitchat.frontends.api.server import build_api, serve
    from chitchat.sessions.store import open_store
    from chitchat.tokenization.tokenizer import DialogueTokenizer

    keys = ([args.api_key] if args.api_key else []) + (read_keys(args.api_key_file) if args.api_key_file else [])
    hosts = local_hosts(args.host.strip("[]")) if not keys else ()
    if not keys and not hosts:
        print("注意：没有设密钥，能连到这个地址的人都能用；可用环境变量 CHITCHAT_API_KEY 设一个", file=sys.stderr)
    folder = Path(chat.model).expanduser()
    store = None if keep.ephemeral else open_store(keep)
    kept = f"要求保存的会话存在 {store.path}（不接受则用 --ephemeral）" if store else "不接受保存会话的请求"
    print(f"对话默认不保存；{kept}", file=sys.stderr)
    chatbot = load_chatbot(chat, decoding)
    tokenizer = DialogueTokenizer.load(model_folders(folder)[0])
    app = build_api(
        chatbot,
        model_name=folder.resolve().name,
        count_tokens=lambda text: len(tokenizer.encode(text)),
        store=store,
        fingerprint=model_fingerprint(folder),
        api_keys=keys,
        hosts=hosts,
        max_queue=args.max_queue,
    )
    serve(app, host=args.host, port=args.port)
