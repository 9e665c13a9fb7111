"""What costs much and anybody may ask: only so many at once, so that threads stay free for everybody else.

A server has few threads. Were they all at work for strangers who read public pages, nobody could stop a
consent meanwhile: whoever comes beyond the places is refused at once, and holds nothing while waiting.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final

import flask

from marketplace.wire.http import busy

RETRY_SECONDS: Final = 2


class Crowd:
    """Places for those who are served at once. Safe for threads."""

    def __init__(self, places: int) -> None:
        self.places = places
        self._free = threading.BoundedSemaphore(places)

    def enter(self) -> None:
        """Takes a place, to be given back with `leave`. Raises Busy where there is none."""
        if not self._free.acquire(blocking=False):
            raise busy()

    def leave(self) -> None:
        """Gives the place back."""
        self._free.release()


def install(app: flask.Flask, crowd: Crowd, is_of_it: Callable[[str], bool]) -> None:
    """Requests of these endpoints hold a place while they are served; else 503 `busy` with Retry-After."""

    def enter() -> None:
        endpoint = flask.request.endpoint
        if endpoint is None or not is_of_it(endpoint):
            return
        flask.g.crowd_place = False
        crowd.enter()
        flask.g.crowd_place = True

    def leave(_fault: BaseException | None) -> None:
        if flask.g.pop("crowd_place", False):
            crowd.leave()

    app.before_request(enter)
    app.teardown_request(leave)
    app.after_request(_say_when)


def _say_when(response: flask.Response) -> flask.Response:
    if not flask.g.get("crowd_place", True):  # asked for one, and got none
        response.headers["Retry-After"] = str(RETRY_SECONDS)
    return response
