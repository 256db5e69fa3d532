"""Runs the Qdrant program at QDRANT_BINARY."""

import os
import socket
import subprocess
import time
import urllib.request
from contextlib import ExitStack


def free_ports(number):
    with ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(number)]
        for free in sockets:
            free.bind(("127.0.0.1", 0))
        return [free.getsockname()[1] for free in sockets]


def started(directory, http_port, grpc_port, settings, *arguments):
    """Return the process of a server that answers, with its data in `directory`."""
    common = {
        "QDRANT__SERVICE__HOST": "127.0.0.1",
        "QDRANT__SERVICE__HTTP_PORT": str(http_port),
        "QDRANT__SERVICE__GRPC_PORT": str(grpc_port),
        "QDRANT__TELEMETRY_DISABLED": "true",
    }
    process = subprocess.Popen(
        [os.environ["QDRANT_BINARY"], *arguments],
        cwd=directory,
        env={**os.environ, **common, **settings},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    for _ in range(600):
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{http_port}/readyz", timeout=1).close()
            return process
        except OSError:
            time.sleep(0.1)
    raise RuntimeError("the server did not start within a minute")
