"""The page "Draw four, get sixty-four": shows an exported model to people, in a browser.

With a classifier it has a second tab: draw three shapes, and a fourth drawing is recognised.

python -m serving.demo --model_base_path models/figr       # loads the model itself
python -m serving.demo --target localhost:8500             # asks a server for it
"""

import contextlib
import pathlib
from collections.abc import Iterator
from typing import Any

from absl.flags import FlagHolder

from figr_tf.core import console
from figr_tf.core.errors import UserError
from serving import remote
from serving.demo_app import description, in_process
from serving.demo_app.limits import VisitorLimits
from serving.demo_app.link import ClassifierLink, ModelLink

flags = console.OwnFlags(__name__)

_MODEL_BASE_PATH = flags.DEFINE_path(
    "model_base_path", None, "Folder with the version folders. Default: models/figr"
)
_TARGET = flags.DEFINE_string(
    "target", None, "host:port of a server's gRPC; then TensorFlow is not loaded here."
)
_MODEL_NAME = flags.DEFINE_string("model_name", "figr", "Name of the model at --target.")
_CLASSIFIER_BASE_PATH = flags.DEFINE_path(
    "classifier_base_path", None, "Folder with the version folders of a classifier's export."
)
_CLASSIFIER_TARGET = flags.DEFINE_string(
    "classifier_target", None, "host:port of the gRPC of a server that has a classifier."
)
_CLASSIFIER_NAME = flags.DEFINE_string(
    "classifier_name", "figr", "Name of the classifier at --classifier_target."
)
_HOST = flags.DEFINE_string(
    "host", "127.0.0.1", "Address to listen at. There is no authentication: keep it local."
)
_PORT = flags.DEFINE_integer("port", 8080, "Port of the page; 0 takes a free one.", 0, 65535)
_DATASET = flags.DEFINE_enum(
    "dataset",
    None,
    description.DATASETS,
    "Whose drawings strokes shall look like. Default: what the model's contract says; omniglot"
    " where there is none, as at a --target.",
)
_LIMITS: dict[str, FlagHolder[Any]] = {
    # Throughput does not grow beyond as many requests at once as there are cores (docs/serving.md).
    "max_running": flags.DEFINE_integer("max_running", 2, "Requests at the model at once.", 1, 64),
    "max_queued": flags.DEFINE_integer(
        "max_queued", 8, "Requests that wait; more are turned away.", 0, 1024
    ),
    "deadline": flags.DEFINE_float(
        "max_seconds", 60.0, "Longest a request may take, waiting included.", 0.1
    ),
    "per_second": flags.DEFINE_float(
        "requests_per_second", 2.0, "Of one client, on average.", 0.001
    ),
    "burst": flags.DEFINE_integer("request_burst", 40, "Of one client, at once.", 1),
}


@contextlib.contextmanager
def _link(limits: VisitorLimits) -> Iterator[ModelLink]:
    """To the server that --target names, or to a model in this process."""
    if _TARGET.value:
        yield ModelLink(
            remote.Endpoint(_TARGET.value, _MODEL_NAME.value), limits, None, _DATASET.value
        )
        return
    base_path = pathlib.Path(_MODEL_BASE_PATH.value or "models/figr")
    in_process.check(base_path)
    print(f"loading {base_path} and warming it up; this takes a while", flush=True)
    with in_process.running(base_path, limits) as address:
        yield ModelLink(
            remote.Endpoint(address, in_process.MODEL_NAME), limits, base_path, _DATASET.value
        )


@contextlib.contextmanager
def _classifier_link(limits: VisitorLimits) -> Iterator[ClassifierLink | None]:
    """As `_link`, to a classifier; None if the flags name none."""
    if _CLASSIFIER_TARGET.value:
        endpoint = remote.Endpoint(_CLASSIFIER_TARGET.value, _CLASSIFIER_NAME.value)
        yield ClassifierLink(endpoint, limits, None, _DATASET.value)
    elif _CLASSIFIER_BASE_PATH.value:
        base_path = pathlib.Path(_CLASSIFIER_BASE_PATH.value)
        in_process.check(base_path, classifies=True)
        with in_process.running(base_path, limits) as address:
            endpoint = remote.Endpoint(address, in_process.MODEL_NAME)
            yield ClassifierLink(endpoint, limits, base_path, _DATASET.value)
    else:
        yield None


def main() -> None:
    """Serves the page until SIGINT or SIGTERM."""
    for target, base_path in (
        (_TARGET, _MODEL_BASE_PATH),
        (_CLASSIFIER_TARGET, _CLASSIFIER_BASE_PATH),
    ):
        if target.value and base_path.value:
            raise UserError(
                f"--{target.name} and --{base_path.name} are two ways to a model; give one of them."
            )
    from serving.demo_app import gateway  # Here, where an extra that is missing is one line.

    limits = VisitorLimits(**{name: flag.value for name, flag in _LIMITS.items()})
    # The classifier first: it is the smaller one, so what is wrong with it shows before the longer
    # load.
    with _classifier_link(limits) as classifier, _link(limits) as link:
        gateway.serve(link, limits, _HOST.value, _PORT.value, classifier)


if __name__ == "__main__":
    console.run(main)
