"""The gateway's way to the model: the client library, in threads.

A call that nobody waits for any more is cancelled: it gives up its turn, or its answer is dropped.
"""

import asyncio
import concurrent.futures
import functools
import pathlib
from collections.abc import Callable
from typing import Any, Generic, TypeVar

import numpy as np

from serving import remote
from serving.demo_app import description
from serving.demo_app.limits import VisitorLimits
from serving.demo_app.requests import Classify, Generate
from serving.errors import ServingError

T = TypeVar("T")
D = TypeVar("D")  # what it is described by
_STATUS_SECONDS = 3.0  # for what a server answers at once


class Link(Generic[D]):
    """A model on a server, for one event loop.

    Args:
        base_path: where its contract lies, if that is on this machine. dataset: see
            `description.describe`.
    """

    def __init__(
        self,
        endpoint: remote.Endpoint,
        limits: VisitorLimits,
        base_path: pathlib.Path | None,
        dataset: str | None = None,
    ):
        self.endpoint = endpoint
        self._limits = limits
        self._base_path = base_path
        self._dataset = dataset
        self._described: D | None = None
        # As many as may run, and a few to ask the server what it has.
        self._threads = concurrent.futures.ThreadPoolExecutor(limits.max_running + 4, "model-link")

    async def describe(self) -> D:
        """Asks the server what it serves now. Raises ServingError."""
        self._described = await self._call(self._describe, _STATUS_SECONDS)
        return self._described

    async def described(self) -> D:
        """What `describe` said last; asks if it never did."""
        return self._described or await self.describe()

    def close(self) -> None:
        """Lets go of the threads; calls that wait are cancelled."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _call(self, call: Callable[[remote.RemoteModel], T], seconds: float) -> T:
        """Runs a call on a connection of its own, since closing it cancels the call.

        Sockets are shared all the same.
        """
        # No second try: the gateway tells the visitor at once.
        model = remote.RemoteModel(self.endpoint, timeout=seconds, retry_for=0)
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, call, model)
        except ValueError as error:  # gRPC's for a call on a channel that was closed in between
            raise ServingError("CANCELLED", str(error)) from error
        finally:
            model.close()

    def _describe(self, model: remote.RemoteModel) -> D:
        ready = [status.version for status in model.versions() if status.state == "AVAILABLE"]
        if not ready:
            raise ServingError("UNAVAILABLE", "the model is not ready yet")
        contract: dict[str, Any] = (
            # Of the newest version that is ready, which is what answers.
            description.read_contract(self._base_path, max(ready)) if self._base_path else {}
        )
        return self._put_together(contract, max(ready), model)

    def _put_together(self, contract: dict[str, Any], version: int, model: remote.RemoteModel) -> D:
        raise NotImplementedError


class ModelLink(Link[description.Description]):
    """A model that draws."""

    async def request_samples(self, request: Generate, seconds: float) -> np.ndarray:
        """uint8 [num_samples, S, S, C]. Cancelled, it cancels the call to the server. Raises
        ServingError.
        """
        return await self._call(functools.partial(_generate, request), seconds)

    def _put_together(
        self, contract: dict[str, Any], version: int, model: remote.RemoteModel
    ) -> description.Description:
        shape, defaults = model.image_shape(), model.defaults()
        return description.describe(contract, version, shape, defaults, self._limits, self._dataset)


class ClassifierLink(Link[description.ClassifierDescription]):
    """A classifier."""

    async def request_probabilities(self, request: Classify, seconds: float) -> np.ndarray:
        """float32 [classes]: probabilities of the shapes; see `ModelLink.request_samples`."""
        return await self._call(functools.partial(_classify, request), seconds)

    def _put_together(
        self, contract: dict[str, Any], version: int, model: remote.RemoteModel
    ) -> description.ClassifierDescription:
        return description.describe_classifier(
            contract, version, model.image_shape(), self._limits, self._dataset
        )


def _classify(request: Classify, model: remote.RemoteModel) -> np.ndarray:
    support = request.support_images
    return model.classify(support, np.arange(len(support)), request.query_image[None])[0]


def _generate(request: Generate, model: remote.RemoteModel) -> np.ndarray:
    return model.generate(
        request.support_images, request.num_samples, request.seed, request.num_inner_steps
    )
