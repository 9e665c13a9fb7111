"""A PostgreSQL of the test run's own: fresh data, unprivileged user, a socket and no port."""

import os
import pwd
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

USER = "usufruct"
START_SECONDS = 60.0


def programs() -> Path:
    """The folder that holds initdb: the newest of Debian's, or the one on PATH."""
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    found = debian[-1] if debian else shutil.which("initdb")
    if found is None:
        raise FileNotFoundError("PostgreSQL is not installed: apt-get install postgresql")
    return Path(found).parent


def unprivileged() -> int | None:
    """Whom to run as, since PostgreSQL refuses root; None to stay oneself."""
    if os.getuid() != 0:
        return None
    names = {entry.pw_name: entry.pw_uid for entry in pwd.getpwall()}
    return names.get("postgres", names["nobody"])


@contextmanager
def running_postgresql() -> Iterator[str]:
    """Its SQLAlchemy URL. The folder is a short one of its own: a socket's path has 107 bytes at most."""
    user, bin_ = unprivileged(), programs()
    with tempfile.TemporaryDirectory(prefix="pg") as base:
        if user is not None:
            os.chown(base, user, -1)
        data = str(Path(base) / "data")
        make = [str(bin_ / "initdb"), "-D", data, "-U", USER, "-A", "trust", "-N"]
        make += ["-E", "UTF8", "--locale=C"]
        subprocess.run(make, check=True, capture_output=True, user=user, cwd=base)
        serve = [str(bin_ / "postgres"), "-D", data, "-k", base, "-c", "listen_addresses="]
        with (Path(base) / "log").open("w") as log:
            server = subprocess.Popen(serve, stdout=log, stderr=log, user=user, cwd=base)
        try:
            _await_ready(bin_, base, server)
            yield f"postgresql+psycopg://{USER}@/postgres?host={base}"
        finally:
            server.terminate()
            server.wait(timeout=30)


def _await_ready(bin_: Path, base: str, server: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + START_SECONDS
    ask = [str(bin_ / "pg_isready"), "-h", base, "-U", USER, "-d", "postgres", "-q"]
    while subprocess.run(ask, check=False).returncode != 0:
        if server.poll() is not None or time.monotonic() > until:
            raise RuntimeError(
                "PostgreSQL did not start: " + (Path(base) / "log").read_text()[-2000:]
            )
        time.sleep(0.1)
