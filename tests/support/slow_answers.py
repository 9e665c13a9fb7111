"""HTTP servers that answer with any bytes at any pace: real sockets."""

import itertools
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from marketplace.errors import Refusal

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
GIVE_UP = 60.0
"""Seconds within which anything that ends at all has ended."""


@contextmanager
def server_that_sends(parts: Iterable[bytes], pause: float = 0.0) -> Iterator[str]:
    """Answers every connection with these bytes, until the other side hangs up or the test ends."""
    ended = threading.Event()
    taken: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer(peer: socket.socket) -> None:
            with peer:
                part = peer.recv(65_536)
                while part and not part.endswith(b"}"):
                    part = peer.recv(65_536)
                for part in parts:
                    if ended.is_set():
                        return
                    peer.sendall(part)
                    time.sleep(pause)

        def listen() -> None:
            while not ended.is_set():
                try:
                    peer, _ = server.accept()
                    taken.append(peer)
                    answer(peer)
                except OSError:
                    continue

        thread = threading.Thread(target=listen, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.getsockname()[1]}"
        finally:
            ended.set()
            for peer in taken:
                with suppress(OSError):  # closed long ago
                    peer.shutdown(socket.SHUT_RDWR)
            socket.create_connection(server.getsockname()).close()
            thread.join(GIVE_UP)
            assert not thread.is_alive()


def drip(first: bytes, then: bytes = b" ") -> Iterable[bytes]:
    return itertools.chain([first], itertools.repeat(then))


def sized(length: int) -> bytes:
    return HEAD + b"Content-Length: %d\r\n\r\n" % length


def asked(ask: Callable[[], Any]) -> Any:
    """What it brought or raised; fails where it takes for ever."""
    found: list[Any] = []

    def run() -> None:
        try:
            found.append(ask())
        except Refusal as refusal:
            found.append(refusal)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(GIVE_UP)
    assert found, "no answer and no refusal"
    return found[0]
