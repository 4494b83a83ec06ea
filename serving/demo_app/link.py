"""The way from the gateway to the model: the client library, in threads, with an end to what nobody
waits for.
"""

import asyncio
import concurrent.futures
import functools
import pathlib
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

from serving import remote
from serving.demo_app import description
from serving.demo_app.limits import VisitorLimits
from serving.demo_app.requests import Generate
from serving.errors import ServingError

T = TypeVar("T")
_STATUS_SECONDS = 3.0  # for what a server answers at once


class ModelLink:
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
        self._described: description.Description | None = None
        self._threads = concurrent.futures.ThreadPoolExecutor(limits.max_running + 4, "model-link")

    async def describe(self) -> description.Description:
        """Asks the server what it serves now. Raises ServingError."""
        self._described = await self._call(self._describe, _STATUS_SECONDS)
        return self._described

    async def described(self) -> description.Description:
        """What `describe` said last; asks if it never did."""
        return self._described or await self.describe()

    async def request_samples(self, request: Generate, seconds: float) -> np.ndarray:
        """uint8 [num_samples, S, S, C]. Cancelled, it cancels the call to the server. Raises
        ServingError.
        """
        return await self._call(functools.partial(_generate, request), seconds)

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _call(self, call: Callable[[remote.RemoteModel], T], seconds: float) -> T:
        """Runs a call on a connection of its own: closing it cancels the call. Sockets are shared
        all the same.
        """
        model = remote.RemoteModel(self.endpoint, timeout=seconds, retry_for=0)
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, call, model)
        except ValueError as error:  # gRPC's for a call on a channel that was closed in between
            raise ServingError("CANCELLED", str(error)) from error
        finally:
            model.close()

    def _describe(self, model: remote.RemoteModel) -> description.Description:
        ready = [status.version for status in model.versions() if status.state == "AVAILABLE"]
        if not ready:
            raise ServingError("UNAVAILABLE", "the model is not ready yet")
        contract: dict[str, Any] = (
            description.read_contract(self._base_path, max(ready)) if self._base_path else {}
        )
        return description.describe(
            contract, max(ready), model.image_shape(), model.defaults(), self._limits, self._dataset
        )


def _generate(request: Generate, model: remote.RemoteModel) -> np.ndarray:
    return model.generate(
        request.support_images, request.num_samples, request.seed, request.num_inner_steps
    )
