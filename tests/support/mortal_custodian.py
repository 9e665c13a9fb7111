"""A custodian that kills itself with its work on disk and its answer not yet sent, where a test has it do so.

    python -m tests.support.mortal_custodian --config NAME.json

The test writes a route into NAME.fate: after the next success there, the process is gone. Nothing in the
product knows of this.
"""

import os
import signal
import sys
from pathlib import Path
from unittest.mock import patch

import flask

import marketplace.custodian.main as process
from marketplace.custodian.server import create_app
from marketplace.custodian.service import Custodian

FATE = ".fate"


def mortal_app(custodian: Custodian) -> flask.Flask:
    """The custodian's own application, whose answers end the process where that is their fate."""
    app, fate = create_app(custodian), Path(sys.argv[-1]).with_suffix(FATE)

    @app.after_request
    def die(answer: flask.Response) -> flask.Response:
        is_here = fate.exists() and fate.read_text() == flask.request.path
        if is_here and answer.status_code == 200:
            fate.unlink()
            os.kill(os.getpid(), signal.SIGKILL)
        return answer

    return app


if __name__ == "__main__":
    with patch.object(process, "create_app", mortal_app):
        process.main()
