"""Talking: in the terminal, on the page, through the API."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from chitchat.commands.shared import AddCommand, check_port, require, resolve_all
from chitchat.config import ChatConfig, DecodingConfig
from chitchat.errors import ConfigError


def add(command: AddCommand) -> None:
    command("chat", "在终端里聊天", _chat, ChatConfig, DecodingConfig)

    sub = command("web", "打开聊天网页", _web, ChatConfig, DecodingConfig)
    sub.add_argument("--host", default="127.0.0.1", help="监听地址（默认 127.0.0.1，只有本机能访问）")
    sub.add_argument("--port", type=int, default=7860, metavar="N", help="端口（默认 7860）")

    sub = command("serve", "打开 OpenAI 兼容的接口", _serve, ChatConfig, DecodingConfig)
    sub.add_argument("--host", default="127.0.0.1", help="监听地址（默认 127.0.0.1，只有本机能访问）")
    sub.add_argument("--port", type=int, default=8000, metavar="N", help="端口（默认 8000）")
    sub.add_argument(
        "--api-key",
        default=os.environ.get("CHITCHAT_API_KEY", ""),
        metavar="KEY",
        help="请求须带的密钥；也可用环境变量 CHITCHAT_API_KEY，不会出现在进程列表里",
    )
    sub.add_argument(
        "--max-queue", type=int, default=128, metavar="N", help="处理中与排队的请求最多多少个，再多答 429（默认 128）"
    )


def _chat(args: argparse.Namespace) -> int:
    chat, decoding = resolve_all(args, ChatConfig, DecodingConfig)
    from chitchat.engine.build import load_chatbot
    from chitchat.frontends.terminal import run_terminal
    from chitchat.sessions.session import Session

    return run_terminal(Session(load_chatbot(chat, decoding)))


def _web(args: argparse.Namespace) -> None:
    chat, decoding = resolve_all(args, ChatConfig, DecodingConfig)
    check_port(args.port)
    from chitchat.engine.build import load_chatbot
    from chitchat.frontends.web_page import build_page, launch

    launch(build_page(load_chatbot(chat, decoding), decoding=decoding), host=args.host, port=args.port)


def _serve(args: argparse.Namespace) -> None:
    chat, decoding = resolve_all(args, ChatConfig, DecodingConfig)
    check_port(args.port)
    if args.max_queue < 1:
        raise ConfigError(f"--max-queue 应不小于 1，得到 {args.max_queue}")
    require("fastapi", "uvicorn", command="serve")
    from chitchat.checkpoint import model_folders
    from chitchat.engine.build import load_chatbot
    from chitchat.frontends.api import build_api, serve
    from chitchat.tokenization.tokenizer import DialogueTokenizer

    if not args.api_key and args.host not in ("127.0.0.1", "localhost", "::1"):
        print("注意：没有设密钥，能连到这个地址的人都能用；可用环境变量 CHITCHAT_API_KEY 设一个", file=sys.stderr)
    folder = Path(chat.model).expanduser()
    chatbot = load_chatbot(chat, decoding)
    tokenizer = DialogueTokenizer.load(model_folders(folder)[0])
    app = build_api(
        chatbot,
        model_name=folder.resolve().name,
        count_tokens=lambda text: len(tokenizer.encode(text)),
        api_key=args.api_key,
        max_queue=args.max_queue,
    )
    serve(app, host=args.host, port=args.port)
