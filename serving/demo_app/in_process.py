"""A model loaded into this process: the embedded server, on a free port of loopback."""

import contextlib
import functools
import os
import pathlib
from collections.abc import Iterator

from absl import logging

from figr_tf.core import console
from figr_tf.core.errors import UserError
from serving.demo_app import description
from serving.demo_app.limits import VisitorLimits
from serving.errors import ServingError

MODEL_NAME = "figr"
_POLL_SECONDS = 1.0
_GRACE_SECONDS = 1.0


def check(base_path: pathlib.Path, classifies: bool = False) -> None:
    """Raises UserError if there is no export of that kind, before TensorFlow is imported."""
    versions = [
        int(path.name)
        for path in base_path.glob("*")
        if path.name.isdecimal() and (path / "saved_model.pb").exists()
    ]
    if not versions:
        raise UserError(
            f"{base_path}: no exported model there. Make one with"
            " python -m exporters.export_saved_model --run RUN"
            f" --export_dir {base_path}, or name a server with --target."
        )
    kind = description.read_contract(base_path, max(versions)).get("kind")
    if kind is not None and (kind == "classify") != classifies:
        raise UserError(
            f"{base_path}: is a classifier. Give it as --classifier_base_path."
            if kind == "classify"
            else f"{base_path}: is no classifier, but draws. Give it as --model_base_path."
        )


@contextlib.contextmanager
def running(base_path: pathlib.Path, limits: VisitorLimits) -> Iterator[str]:
    """Serves the newest version until the end of the block, at the "host:port" that it gives.

    Requests that still run then are given a second; after that the process ends, since nothing
    interrupts TensorFlow.

    Raises:
        UserError: a version that cannot be loaded.
    """
    # First, and through `console`: it sets the threads and holds back the banner, which any other
    # import would not.
    console.start_tensorflow()
    from serving.embedded import grpc_front
    from serving.embedded.admission import Admission
    from serving.embedded.core import Core
    from serving.embedded.servable import Servable
    from serving.embedded.versions import ModelVersions

    versions = ModelVersions(base_path, functools.partial(Servable, MODEL_NAME), _POLL_SECONDS)
    core = Core(
        MODEL_NAME, versions, Admission(limits.max_running, limits.max_queued), limits.deadline
    )
    try:
        versions.start()
        server, port = grpc_front.start(core, "127.0.0.1:0", limits.max_running + limits.max_queued)
    except ServingError as error:
        raise UserError(error.message) from error
    try:
        yield f"127.0.0.1:{port}"
    finally:
        idle = core.drain(_GRACE_SECONDS)
        server.stop(_GRACE_SECONDS)
        if not idle or not versions.stop(_GRACE_SECONDS):
            logging.flush()
            # A thread inside TensorFlow cannot be interrupted, and Python would wait for it.
            os._exit(0)
