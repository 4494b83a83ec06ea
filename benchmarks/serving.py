"""Measures an export behind the embedded server: overhead, first request, load, memory.

python -m benchmarks.serving --model_base_path models/figr --images examples/glyph

Everything is compared within one run, turn by turn, since absolute times follow whatever else the
machine does.
"""

import argparse
import contextlib
import json
import pathlib
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from figr_common import images, scaling
from figr_tf.core import console
from serving import bench, remote
from serving.embedded.versions import newest_version
from serving.errors import ServingError
from serving.grpc_transport import GrpcTransport

# Turn by turn, so that both see the same machine.
_PAIRS = 15  # Of one call in this process and one over gRPC.
_STARTS = 3
_TIMEOUT = 600.0  # Seconds.
_FOLLOWING = 7  # Requests after the first.
_CONCURRENCY = (1, 2, 4, 8)
# Two that a server should bear, and one at which a queue has to grow.
_SHARES_OF_CAPACITY = (0.5, 0.8, 1.2)


class _Served(NamedTuple):
    """A server's process and the way to its model."""

    process: subprocess.Popen
    endpoint: remote.Endpoint
    model: remote.RemoteModel


@contextlib.contextmanager
def _server(base_path: pathlib.Path) -> Iterator[_Served]:
    # Port 0 is any free one; the server names it in the line that says it is ready.
    command = [sys.executable, "-m", "serving.server", f"--model_base_path={base_path}", "--port=0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        line = next((line for line in process.stdout if line.startswith("serving ")), None)
        if line is None:
            sys.exit("error: the server did not start; see above")
        endpoint = remote.Endpoint(line.rpartition(" at ")[2].strip())
        with remote.RemoteModel(endpoint, _TIMEOUT) as model:
            yield _Served(process, endpoint, model)
    finally:
        process.terminate()
        process.wait()


def _seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def _memory(process: subprocess.Popen) -> float:
    """Resident memory in MiB, from Linux's process table."""
    text = pathlib.Path(f"/proc/{process.pid}/status").read_text()
    return int(text.partition("VmRSS:")[2].split()[0]) / 1024


def _tensor_inputs(support: np.ndarray, num_samples: int, steps: int) -> dict[str, np.ndarray]:
    """Of generate_tensor."""
    return {
        "support_images": scaling.uint8_to_unit(support),
        "num_samples": np.asarray(num_samples, np.int32),
        "num_inner_steps": np.asarray(steps, np.int32),
        "seed": np.asarray(0, np.int64),
    }


def _in_process(
    base_path: pathlib.Path,
    support: np.ndarray,
    num_samples: int,
    steps: int,
) -> Callable[[], object]:
    """The same request on floats, without gRPC and PNG.

    In a model that is warmed up as the server's is: optimising the graphs of five signatures leaves
    a heap in which the inner loop spends 3 to 4 % more on malloc than in a session that has only
    ever run one.
    """
    import tensorflow as tf
    from tensorflow_serving.apis import predict_pb2

    from serving.embedded.servable import Servable

    path = newest_version(base_path)
    if path is None:
        sys.exit(f"error: {base_path}: no version folder there")
    servable = Servable("figr", path)
    request = predict_pb2.PredictRequest()
    request.model_spec.signature_name = "generate_tensor"
    for name, value in _tensor_inputs(support, num_samples, steps).items():
        request.inputs[name].CopyFrom(tf.make_tensor_proto(value))
    return lambda: servable.answer(request, _TIMEOUT)


def _overhead(base_path: pathlib.Path, folder: str, num_samples: int, steps: int) -> dict:
    with _server(base_path) as served:
        model = served.model
        support = model.read_support(folder)
        local = _in_process(base_path, support, num_samples, steps)
        # Once each without a clock. What a first request costs is another measurement.
        local()
        model.generate(support, num_samples, 0, steps)
        pairs = []
        for _ in range(_PAIRS):
            here = _seconds(local)
            pairs.append((here, _seconds(lambda: model.generate(support, num_samples, 0, steps))))
    ratios = [there / here for here, there in pairs]
    return {
        "in_process_seconds": statistics.median(here for here, _ in pairs),
        "grpc_and_png_seconds": statistics.median(there for _, there in pairs),
        "median_ratio": statistics.median(ratios),
    }


def _calls(
    served: _Served,
    support: np.ndarray,
    num_samples: int,
    steps: int,
) -> Iterator[tuple[str, Callable]]:
    """Each signature, as a client calls it."""
    model, values = served.model, _tensor_inputs(support, num_samples, steps)
    transport = GrpcTransport(served.endpoint)
    # A generator goes on when the next call is asked for, so each is timed before the next begins.
    yield "generate", lambda: model.generate(support, num_samples, 0, steps)
    yield (
        "generate_tensor",
        lambda: transport.predict("generate_tensor", values, ["images"], _TIMEOUT),
    )
    yield "adapt", lambda: model.adapt(support, 0, steps)
    # Not earlier: then the first timed request of `adapt` would not be the first.
    adapted = model.adapt(support, 0, steps)
    yield "sample", lambda: model.sample(adapted, num_samples, 0)


def _first_requests(
    base_path: pathlib.Path,
    folder: str,
    num_samples: int,
    steps: int,
) -> dict[str, list[float]]:
    """Seconds of the first request over the median of those after it.

    Returns:
        Signature → one such ratio for each start of the server.
    """
    ratios: dict[str, list[float]] = {}
    for _ in range(_STARTS):
        with _server(base_path) as served:
            for name, call in _calls(served, served.model.read_support(folder), num_samples, steps):
                # The server has warmed up by itself before it says that it is ready.
                first, *rest = (_seconds(call) for _ in range(1 + _FOLLOWING))
                ratios.setdefault(name, []).append(first / statistics.median(rest))
    return ratios


def _load(
    base_path: pathlib.Path,
    folder: str,
    num_samples: int,
    steps: int,
    num_requests: int,
) -> dict:
    with _server(base_path) as served:
        process, model = served.process, served.model
        support = model.read_support(folder)
        before = _memory(process)
        closed = {}
        for concurrency in _CONCURRENCY:
            load = bench.Load(num_requests, concurrency, None, num_samples, steps)
            closed[concurrency] = bench.run(model, support, load)
        # Open loops are shares of what this machine can do, or they would say nothing elsewhere.
        capacity = max(result["rate"] for result in closed.values())
        opened = {}
        for share in _SHARES_OF_CAPACITY:
            # 64 places: an open loop that runs out of them would wait for answers like a closed
            # one.
            load = bench.Load(num_requests, 64, share * capacity, num_samples, steps)
            opened[f"{share:.0%}"] = bench.run(model, support, load)
        return {"closed": closed, "open": opened, "memory_mib": [before, _memory(process)]}


def _client_start() -> float:
    command = [sys.executable, "-m", "serving.client", "--help"]
    # The least: what else the machine does can only make it longer.
    return min(
        _seconds(lambda: subprocess.run(command, capture_output=True, check=True)) for _ in range(7)
    )


def main() -> None:
    """Measures everything and prints it as JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "--model_base_path",
        type=pathlib.Path,
        required=True,
        help="folder with the version folders",
    )
    parser.add_argument("--images", default="examples/glyph", help="support set")
    parser.add_argument("--num_samples", type=int, default=16)
    parser.add_argument("--num_inner_steps", type=int, default=10)
    parser.add_argument("--num_requests", type=int, default=24, help="for each load")
    options = parser.parse_args()
    # With the server's number of threads.
    console.start_tensorflow()
    work = options.model_base_path, options.images, options.num_samples, options.num_inner_steps
    try:
        results = {
            "client_start_seconds": _client_start(),
            "overhead": _overhead(*work),
            "first_request_ratios": _first_requests(*work),
            "load": _load(*work, options.num_requests),
        }
    except (ServingError, images.ImageError) as error:
        sys.exit(f"error: {error}")
    print(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
