"""What a client gets from a server: the embedded one and, where its binary is there, TensorFlow
Serving itself.
"""

import concurrent.futures

import grpc
import numpy as np
import psutil
import pytest

from figr_tf.data import glyphs
from serving import protocol, remote, tensors
from serving.errors import ServingError
from serving.grpc_transport import GrpcTransport
from tests.serving import stub_model

# Bytes that the server may gain over the requests of the memory test: its allocator keeps some of
# what they freed. Each kind of request below would leave 25 MB or more behind if one of its buffers
# were never freed.
ALLOWED_GROWTH = 16 * 2**20


@pytest.fixture(scope="module")
def transport(server):
    return GrpcTransport(remote.Endpoint(server.grpc))


def _expected(support, number, steps, seed):
    """The stub's arithmetic in NumPy: uint8 [number, 16, 16, 1]."""
    image = np.mean(support / 255.0, 0)
    for _ in range(steps):
        image = image * 0.99 + 0.001
    shades = np.arange(number) % 5 * 0.02
    return np.clip(image[None] + seed % 7 * 0.01 + shades[:, None, None, None], 0, 1) * 255.0


def test_samples_are_those_of_the_images_the_number_the_steps_and_the_seed(model, support):
    samples = model.generate(support, num_samples=6, seed=4, num_inner_steps=3)
    assert samples.dtype == np.uint8
    np.testing.assert_allclose(samples, _expected(support, 6, 3, 4), atol=0.6)


def test_what_is_not_given_is_the_exports_default(model, support):
    np.testing.assert_allclose(model.generate(support), _expected(support, 16, 2, 0), atol=0.6)


def test_an_adapted_generator_samples_as_generate_does(server, support):
    with remote.RemoteModel(remote.Endpoint(server.grpc)) as model:
        adapted = model.adapt(support, seed=4, num_inner_steps=3)
        assert adapted.fingerprint == 2**60 + 1
        np.testing.assert_allclose(
            model.sample(adapted, 6), model.generate(support, 6, 4, 3), atol=1
        )
    with remote.RemoteModel(remote.Endpoint(server.rest)) as model:
        np.testing.assert_array_equal(model.sample(adapted, 6), model.sample(adapted, 6))
        with pytest.raises(ServingError, match="needs gRPC"):
            model.adapt(support)
        with pytest.raises(ServingError, match="of another export"):
            model.sample(adapted._replace(fingerprint=1))


def test_a_client_learns_size_and_state(model):
    assert model.image_shape() == (stub_model.SIZE, stub_model.SIZE, 1)
    (version,) = model.versions()
    assert version == (1, "AVAILABLE", "")


def test_sixteen_clients_at_once_get_what_they_get_alone(server):
    tasks = [
        (glyphs.glyph_images(seed, 1 + seed % 5, stub_model.SIZE, seed=0), 5, seed, seed)
        for seed in range(16)
    ]

    def ask(task):
        with remote.RemoteModel(remote.Endpoint(server.grpc)) as model:
            return model.generate(*task)

    alone = [ask(task) for task in tasks]
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        together = list(pool.map(ask, tasks))
    for a, b in zip(alone, together, strict=True):
        np.testing.assert_array_equal(a, b)
    assert len({samples.tobytes() for samples in alone}) == 16


def test_requests_of_every_kind_leave_another_users_answer_as_it_is(
    server, transport, support, png
):
    with remote.RemoteModel(remote.Endpoint(server.grpc)) as model:
        before = model.generate(support, 8, 5, 10)
        model.generate(255 - support, 3, 1, 100)
        for signature, inputs in BAD_INPUTS.values():
            with pytest.raises(ServingError):
                transport.predict(
                    signature, {"image_bytes": _strings(png)} | _arrays(inputs), [], 10.0
                )
        np.testing.assert_array_equal(model.generate(support, 8, 5, 10), before)


def _strings(*values):
    return tensors.byte_strings(list(values))


# name → signature, inputs beside (or instead of) one good image
BAD_INPUTS = {
    "no images": ("generate", {"image_bytes": _strings()}),
    "an empty image": ("generate", {"image_bytes": _strings(b"")}),
    "not a PNG": ("generate", {"image_bytes": _strings(b"GIF89a" + bytes(100))}),
    "a PNG cut short": ("generate", {"image_bytes": _strings(b"\x89PNG\r\n\x1a\n" + bytes(20))}),
    "negative steps": ("generate", {"num_inner_steps": np.int32(-1)}),
    "too many steps": ("generate", {"num_inner_steps": np.int32(2**31 - 1)}),
    "no samples": ("generate", {"num_samples": np.int32(0)}),
    "too many samples": ("generate", {"num_samples": np.int32(2**31 - 1)}),
    "steps as int64": ("generate", {"num_inner_steps": np.int64(1)}),
    "steps as a string": ("generate", {"num_inner_steps": _strings(b"1")}),
    "an unknown input": ("generate", {"temperature": np.float32(1)}),
    "a wrong rank": ("generate", {"image_bytes": _strings(b"a").reshape(1, 1)}),
    "images for floats": ("generate_tensor", {}),
}


@pytest.mark.parametrize("kind", BAD_INPUTS)
def test_a_bad_input_is_an_invalid_argument(transport, png, kind):
    signature, inputs = BAD_INPUTS[kind]
    with pytest.raises(ServingError) as caught:
        transport.predict(signature, {"image_bytes": _strings(png)} | _arrays(inputs), [], 10.0)
    assert caught.value.code == "INVALID_ARGUMENT"
    assert "\n" not in caught.value.message


def _arrays(inputs):
    return {name: np.asarray(value) for name, value in inputs.items()}


def test_the_graphs_own_sentence_reaches_the_client(model, support):
    with pytest.raises(ServingError, match=r"^num_inner_steps must lie in \[0, 200\]\.$"):
        model.generate(support, num_inner_steps=201)


def test_a_missing_input_without_default_is_an_invalid_argument(transport):
    with pytest.raises(ServingError, match="image_bytes") as caught:
        transport.predict("generate", {}, [], 10.0)
    assert caught.value.code == "INVALID_ARGUMENT"


@pytest.mark.parametrize("outputs", [["nothing"], ["png_bytes", "png_bytes"]])
def test_an_output_filter_that_does_not_fit_is_an_invalid_argument(transport, png, outputs):
    with pytest.raises(ServingError) as caught:
        transport.predict("generate", {"image_bytes": _strings(png)}, outputs, 10.0)
    assert caught.value.code == "INVALID_ARGUMENT"


def test_an_output_filter_leaves_the_rest_out(transport):
    inputs = {"generator_delta": np.zeros(256, np.float32), "fingerprint": np.asarray(2**60 + 1)}
    assert set(transport.predict("sample", inputs, [], 10.0)) == {"png_bytes", "images"}
    assert set(transport.predict("sample", inputs, ["images"], 10.0)) == {"images"}


def test_an_unknown_signature_is_a_failed_precondition(transport, png):
    with pytest.raises(ServingError, match="not found") as caught:
        transport.predict("classify", {"image_bytes": _strings(png)}, [], 10.0)
    assert caught.value.code == "FAILED_PRECONDITION"


@pytest.mark.parametrize("address", ["grpc", "rest"])
@pytest.mark.parametrize("asked", [{"model": "gan"}, {"version": 7}])
def test_an_unknown_model_or_version_is_not_found(server, support, address, asked):
    with remote.RemoteModel(
        remote.Endpoint(getattr(server, address), **asked), retry_for=0
    ) as model:
        for call in (model.versions, model.image_shape, lambda: model.generate(support)):
            with pytest.raises(ServingError) as caught:
                call()
            assert caught.value.code == "NOT_FOUND"


def test_a_version_can_be_asked_for(server, support):
    with remote.RemoteModel(remote.Endpoint(server.grpc, version=1)) as model:
        assert len(model.generate(support, 2)) == 2


@pytest.mark.parametrize(
    "shape_and_values",
    [
        ([2**40], [1]),  # one value stands for all: terabytes
        ([-1], [1]),
        ([2, 3], [1, 2, 3, 4, 5, 6, 7]),
        ([2**62, 2**62], [1]),
    ],
)
def test_a_tensor_whose_shape_lies_is_an_invalid_argument(server, shape_and_values):
    shape, values = shape_and_values
    request = protocol.PredictRequest()
    request.model_spec.name, request.model_spec.signature_name = "figr", "generate_tensor"
    proto = request.inputs["support_images"]
    proto.dtype = 1
    proto.float_val.extend(values)
    for size in shape:
        proto.tensor_shape.dim.add(size=size)
    with pytest.raises(grpc.RpcError) as caught:
        _raw_call(server, request.SerializeToString())
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT


def _raw_call(server, data):
    with grpc.insecure_channel(server.grpc) as channel:
        return channel.unary_unary(protocol.PREDICT)(data, timeout=10)


def test_bytes_that_are_no_message_do_not_stop_the_server(server, support):
    with pytest.raises(grpc.RpcError) as caught:
        _raw_call(server, b"\xff" * 100)
    assert caught.value.code() in (grpc.StatusCode.INTERNAL, grpc.StatusCode.INVALID_ARGUMENT)
    with remote.RemoteModel(remote.Endpoint(server.grpc)) as model:
        assert len(model.generate(support, 2)) == 2


def test_memory_does_not_grow_with_requests(server, transport, support, png):
    process = psutil.Process(server.process.pid)
    tensor = {
        "support_images": (support / 255).astype(np.float32),
        "num_samples": np.asarray(256, np.int32),
    }
    noise = _strings(*[np.random.default_rng(0).bytes(2**19)])

    def ask(times):
        for _ in range(times):
            transport.predict("generate_tensor", tensor, [], 10.0)
            with pytest.raises(ServingError):
                transport.predict("generate", {"image_bytes": noise}, [], 10.0)
            transport.predict(
                "generate",
                {"image_bytes": _strings(png), "num_samples": tensor["num_samples"]},
                [],
                10.0,
            )

    ask(60)
    before = process.memory_info().rss
    ask(100)
    assert process.memory_info().rss - before < ALLOWED_GROWTH
