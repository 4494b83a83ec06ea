"""What the gRPC and the REST side of the embedded server share.

Which model is meant, whose turn it is, and how long a request may take.
"""

import time
from collections.abc import Callable

from tensorflow.core.protobuf import meta_graph_pb2
from tensorflow_serving.apis import model_pb2, predict_pb2

from serving.embedded.admission import Admission, always
from serving.embedded.versions import ModelVersions
from serving.errors import ServingError
from serving.transports import VersionStatus


class Core:
    """One model's requests, from any number of threads. Methods raise ServingError.

    Attributes:
        model: the name that requests must give.
    """

    def __init__(
        self,
        model: str,
        versions: ModelVersions,
        admission: Admission,
        max_seconds: float,
    ):
        self.model = model
        self._versions = versions
        self._admission = admission
        self._max_seconds = max_seconds
        self._stopping = False

    def answer(
        self,
        request: predict_pb2.PredictRequest,
        timeout: float | None,
        wanted: Callable[[], bool] = always,
    ) -> predict_pb2.PredictResponse:
        """Waits for its turn and runs.

        What is not `wanted` any more gives up its turn. Once it runs, nothing interrupts TensorFlow
        but the deadline.

        Args:
            timeout: seconds for waiting and running together; None, or more than the server's own
                limit, is that limit.
            wanted: whether somebody still waits for the answer.

        Raises:
            ServingError: as `Admission.place` and `Servable.answer`; NOT_FOUND for another model.
        """
        # First: who asks for another model should not wait to be told.
        version = self._version(request.model_spec)
        deadline = time.monotonic() + min(
            self._max_seconds,
            self._max_seconds if timeout is None else timeout,
        )
        # The turn first: a request that waits must not hold on to a version that is being replaced.
        with self._admission.place(deadline, wanted), self._versions.use(version) as servable:
            # Not 0, which TensorFlow takes for no limit at all.
            return servable.answer(request, max(deadline - time.monotonic(), 0.001))

    def look_again(self) -> None:
        """To be called when a caller has gone: its request gives up its place in the queue."""
        self._admission.look_again()

    def signatures(
        self,
        spec: model_pb2.ModelSpec,
    ) -> tuple[int, dict[str, meta_graph_pb2.SignatureDef]]:
        """The version asked for, by default the newest, and its signatures by name."""
        with self._versions.use(self._version(spec)) as servable:
            return servable.version, servable.signatures

    def statuses(self, spec: model_pb2.ModelSpec) -> list[VersionStatus]:
        """Of all versions, newest first, or of the one asked for."""
        # Whoever watches the server sends nothing more, while what runs is finished.
        if self._stopping:
            raise ServingError("UNAVAILABLE", "the server is stopping")
        version = self._version(spec)
        statuses = [
            status for status in self._versions.statuses() if version in (None, status.version)
        ]
        if not statuses:
            raise ServingError(
                "NOT_FOUND",
                f"Could not find version {version} of model {spec.name}",
            )
        return statuses

    def drain(self, seconds: float) -> bool:
        """Turns away new requests, reports the model as gone, and waits for what runs.

        Returns:
            Whether all of it ended within so many seconds.
        """
        self._stopping = True
        self._admission.close()
        return self._admission.wait_until_idle(seconds)

    def _version(self, spec: model_pb2.ModelSpec) -> int | None:
        if spec.name != self.model:
            raise ServingError(
                "NOT_FOUND",
                f"Servable not found for request: {spec.name!r}; this server has {self.model!r}",
            )
        if spec.version_label:
            raise ServingError(
                "NOT_FOUND",
                "version labels are not supported by this server; give a version number",
            )
        return spec.version.value if spec.HasField("version") else None
