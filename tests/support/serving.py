"""The servers of the product, run in a thread of the tests."""

import contextlib
import threading
from collections.abc import Iterator
from typing import Any

from marketplace.wire.listening import Channel, Server

GIVE_UP = 60.0


@contextlib.contextmanager
def in_a_thread(server: Server) -> Iterator[Server]:
    """Serves meanwhile; at the end every connection and file is closed and the thread has ended."""
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        with contextlib.suppress(OSError):  # a pull of a worker's own may have ended it just before
            server.trigger.pull_trigger(lambda: [_end(each) for each in [*server._map.values()]])
        thread.join(GIVE_UP)
        server.task_dispatcher.shutdown()
        assert not thread.is_alive()


def _end(watched: Any) -> None:
    """`close` alone would leave the file in which a connection keeps its answer unclosed."""
    (watched.handle_close if isinstance(watched, Channel) else watched.close)()
