"""Serves an exported model on this machine as TensorFlow Serving would, for laptops and tests.

python -m serving.server --model_base_path models/figr --port 8500 --rest_port 8501

For production there is TensorFlow Serving itself: see docs/serving.md.
"""

import functools
import os
import pathlib
import signal
import threading

from absl import logging

from figr_common import addresses
from figr_tf.core import console
from figr_tf.core.errors import UserError
from serving.errors import ServingError

flags = console.OwnFlags(__name__)

_MODEL_BASE_PATH = flags.DEFINE_path(
    "model_base_path", None, "Folder with the version folders.", required=True
)
_MODEL_NAME = flags.DEFINE_string("model_name", "figr", "Name that requests must give.")
_HOST = flags.DEFINE_string(
    "host", "127.0.0.1", "Address to listen at. There is no authentication: keep it local."
)
_PORT = flags.DEFINE_integer("port", 8500, "gRPC port; 0 takes a free one.", 0, 65535)
_REST_PORT = flags.DEFINE_integer(
    "rest_port", None, "REST port; 0 takes a free one. Default: no REST.", 0, 65535
)
_MAX_RUNNING = flags.DEFINE_integer("max_running", 2, "Requests that run at once.", 1, 256)
_MAX_QUEUED = flags.DEFINE_integer(
    "max_queued", 32, "Requests that wait; more are turned away.", 0, 1024
)
_MAX_SECONDS = flags.DEFINE_float(
    "max_seconds", 60.0, "Longest a request may take, waiting included.", 0.001
)
_POLL_SECONDS = flags.DEFINE_float(
    "poll_seconds", 1.0, "How often to look for a new version.", 0.01
)
_GRACE_SECONDS = flags.DEFINE_float(
    "grace_seconds", 30.0, "Longest to finish requests after SIGTERM.", 0.0
)
_ENABLE_BATCHING = flags.DEFINE_bool(
    "enable_batching", False, "Refused, as it mixes different users' images."
)
_ANSWER_SECONDS = 1.0  # For the last answers to leave.


def _check_flags() -> None:
    if _ENABLE_BATCHING.value:
        raise UserError(
            "--enable_batching joins requests along their first dimension, which here holds the"
            " support images: several users' images would become one adaptation. Leave it off, in"
            " TensorFlow Serving too."
        )


def _serve(device: str) -> None:
    """Loads, serves until SIGTERM or SIGINT, finishes what runs."""
    from serving.embedded import grpc_front, rest_front
    from serving.embedded.admission import Admission
    from serving.embedded.core import Core
    from serving.embedded.servable import Servable
    from serving.embedded.versions import ModelVersions

    load = functools.partial(Servable, _MODEL_NAME.value)
    versions = ModelVersions(pathlib.Path(_MODEL_BASE_PATH.value), load, _POLL_SECONDS.value)
    admission = Admission(_MAX_RUNNING.value, _MAX_QUEUED.value)
    core = Core(_MODEL_NAME.value, versions, admission, _MAX_SECONDS.value)
    versions.start()
    stopping = threading.Event()
    # Not while it loads: then there is nothing to finish.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    max_requests = _MAX_RUNNING.value + _MAX_QUEUED.value
    # After the load: an open port means a model that is ready.
    rest = (
        None if _REST_PORT.value is None else rest_front.start(core, _HOST.value, _REST_PORT.value)
    )
    server, port = grpc_front.start(core, addresses.join(_HOST.value, _PORT.value), max_requests)
    places = f"gRPC at {addresses.join(_HOST.value, port)}"
    if rest:
        places += f", REST at {addresses.join(_HOST.value, rest.server_port)}"
    print(
        "embedded server for laptops and tests; for production use TensorFlow Serving itself,"
        " docs/serving.md"
    )
    version = versions.statuses()[0].version
    print(f"serving {_MODEL_NAME.value} version {version} on {device}: {places}", flush=True)
    stopping.wait()
    print("stopping", flush=True)
    # Requests first: stopping gRPC before them would answer CANCELLED, which no client tries again.
    answered = core.drain(_GRACE_SECONDS.value)
    if answered:
        server.stop(_ANSWER_SECONDS).wait()
    else:
        logging.warning(
            "requests were still running after %g s; they got no answer", _GRACE_SECONDS.value
        )
    if rest:
        rest.shutdown()
        rest.wait_until_idle(_ANSWER_SECONDS)
    if not answered or not versions.stop(_ANSWER_SECONDS):
        # `os._exit` writes nothing of what is still in a buffer.
        logging.flush()
        # A thread inside TensorFlow cannot be interrupted, and Python would wait for it.
        os._exit(0)


def main() -> None:
    """Loads the newest version and serves it until SIGTERM or SIGINT."""
    _check_flags()
    device = console.start_tensorflow()
    try:
        _serve(device)
    except ServingError as error:
        raise UserError(error.message) from error


if __name__ == "__main__":
    console.run(main)
