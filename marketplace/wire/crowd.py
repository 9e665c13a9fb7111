"""What costs much and anybody may ask: only so many at once, so that threads stay free for everybody else.

A server has few threads. Were they all at work for strangers who read public pages or hand in large
documents, nobody could stop a consent meanwhile: whoever comes beyond the places is refused at once, and
holds nothing while waiting.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

import flask

from marketplace.wire.http import RETRY_SECONDS, busy


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


def install(app: flask.Flask, crowd_of: Callable[[str], Crowd | None]) -> None:
    """A request holds a place while it is served, in the crowd of its endpoint if that has one.

    Beyond the places: 503 `busy` with Retry-After.
    """

    def enter() -> None:
        endpoint = flask.request.endpoint
        crowd = None if endpoint is None else crowd_of(endpoint)
        if crowd is None:
            return
        flask.g.crowd_place = None
        crowd.enter()
        flask.g.crowd_place = crowd

    def leave(_fault: BaseException | None) -> None:
        held: Crowd | None = flask.g.pop("crowd_place", None)
        if held is not None:
            held.leave()

    app.before_request(enter)
    app.teardown_request(leave)
    app.after_request(_say_when)


def _say_when(response: flask.Response) -> flask.Response:
    if flask.g.get("crowd_place", True) is None:  # asked for one, and got none
        response.headers["Retry-After"] = str(RETRY_SECONDS)
    return response
