"""Starting and stopping a server: the address, the signals. Knows nothing of what it serves."""

from __future__ import annotations

import errno
import signal
import socket
import sys

import uvicorn

from chitchat.errors import ChitchatError


def run_server(server: uvicorn.Server, *, host: str, port: int, opened: str) -> None:
    """Serves until SIGINT or SIGTERM, then finishes what is under way.

    Raises ChitchatError when the address cannot be had.

    Args:
        server: the host and port in its own configuration are not used.
        host: a name or an address; one of IPv6 with or without brackets.
        port: 0 for any that is free.
        opened: what has been opened, for the line that tells the address; `{address}` in it is `http://host:port`.
    """
    host = host.strip("[]")
    listener = _listener(host, port)
    address = f"http://{f'[{host}]' if ':' in host else host}:{listener.getsockname()[1]}"
    # uvicorn takes a signal, ends in order, and raises the signal again for the handlers that were there before
    previous = {s: signal.signal(s, lambda *_: None) for s in (signal.SIGINT, signal.SIGTERM)}
    try:
        print(f"{opened.format(address=address)}（按 Ctrl-C 停止）", file=sys.stderr, flush=True)
        server.run(sockets=[listener])
    finally:
        listener.close()
        for number, handler in previous.items():
            signal.signal(number, handler)


def _listener(host: str, port: int) -> socket.socket:
    """A socket on the address; raises ChitchatError in words when there can be none."""
    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET, backlog=2048)
    except (OSError, OverflowError) as error:
        number = error.errno if isinstance(error, OSError) and not isinstance(error, socket.gaierror) else None
        if number == errno.EADDRINUSE:
            raise ChitchatError(
                f"{host}:{port} 已被占用：请用 --port {port % 65535 + 1} 换一个端口，或先停掉占用它的程序"
            ) from None
        if number == errno.EACCES:
            raise ChitchatError(f"没有权限使用端口 {port}：请用 --port 换一个 1024 以上的端口") from None
        raise ChitchatError(f"不能在 {host}:{port} 上监听：请检查 --host 与 --port（本机是 --host 127.0.0.1）") from None
