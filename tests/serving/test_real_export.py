"""The README's way: export a run with the command, serve it, generate; equal to `figr_tf.generate`,
bit for bit.
"""

import time

import hypothesis
import numpy as np
import psutil
import pytest
from hypothesis import strategies as st
from PIL import Image

import figr_tf
from figr_common import image_grid, scaling
from figr_tf.data import datasets, glyphs
from figr_tf.gan import adaptation
from figr_tf.gan.settings import Settings
from serving import remote, tensors
from serving.errors import ServingError
from serving.grpc_transport import GrpcTransport
from tests import commands
from tests.conftest import LEAN, untrained_run
from tests.serving import processes

pytestmark = pytest.mark.whole

ANSWER_SECONDS = 5.0  # for a tiny network, on a machine with other work
MAX_NUM_INNER_STEPS = 10**6  # which would take an hour
ALLOWED_GROWTH = (
    48 * 2**20
)  # bytes over 1,000 requests; one kept support set and answer each would be twice that


def _run(module, *arguments):
    ended = commands.run(module, *arguments)
    assert ended.returncode == 0, ended.stderr


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory, tiny_dataset):
    """With an inner rate at which twenty steps make another picture out of a difference of
    rounding.
    """
    settings = Settings(
        data=datasets.DataSettings(image_size=16),
        network=LEAN,
        inner=adaptation.InnerSettings(learning_rate=1e-2),
        num_inner_steps=2,
    )
    return untrained_run(tmp_path_factory.mktemp("runs") / "run", settings, tiny_dataset)


@pytest.fixture(scope="module")
def export_path(run_folder, tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / "figr"
    limit = f"--max_num_inner_steps={MAX_NUM_INNER_STEPS}"
    _run("exporters.export_saved_model", f"--run={run_folder}", f"--export_dir={path}", limit)
    return path


@pytest.fixture(scope="module")
def exported(export_path):
    with processes.start_embedded(export_path, "--max_running=1") as served:
        yield served


@pytest.fixture(scope="module")
def drawings(tmp_path_factory):
    folder = tmp_path_factory.mktemp("drawings")
    for i, image in enumerate(glyphs.glyph_images(7, 3, 16, seed=0)):
        Image.fromarray(image[..., 0]).resize((16 + 8 * i, 16 + 8 * i)).save(folder / f"{i}.png")
    return folder


@pytest.fixture(scope="module")
def local(run_folder):
    return figr_tf.load(run_folder)


@pytest.mark.parametrize("target", [["--target", "{grpc}"], ["--rest", "--target", "{rest}"]])
def test_the_picture_is_that_of_generating_here(exported, local, drawings, tmp_path, target):
    places = {"grpc": exported.grpc, "rest": exported.rest.removeprefix("http://")}
    arguments = [
        "--images",
        str(drawings),
        "--num_samples",
        "6",
        "--seed",
        "7",
        "--out",
        str(tmp_path / "out.png"),
    ]
    ended = processes.run_client(
        "generate", *arguments, *[part.format(**places) for part in target]
    )
    assert ended.returncode == 0, ended.stderr
    support = local.read_support(drawings)
    expected = image_grid.result_picture(support, local.generate(support, 6, seed=7))
    picture = np.asarray(Image.open(tmp_path / "out.png")).astype(int)
    np.testing.assert_array_equal(picture, np.asarray(expected))


def _pictures(run, served, drawings, folder, num_inner_steps):
    """The pictures of `figr_tf.generate` and of the server's client, each in its own process."""
    steps = f"--num_inner_steps={num_inner_steps}"
    options = [f"--images={drawings}", "--num_samples=6", "--seed=7", steps]
    _run("figr_tf.generate", f"--run={run}", *options, f"--out={folder / 'local.png'}")
    _run(
        "serving.client",
        "generate",
        *options,
        f"--target={served.grpc}",
        f"--out={folder / 'served.png'}",
    )
    return [np.asarray(Image.open(folder / name)) for name in ("local.png", "served.png")]


def test_steps_that_magnify_rounding_end_at_the_picture_of_another_process_to_the_bit(
    run_folder, exported, drawings, tmp_path
):
    np.testing.assert_array_equal(*_pictures(run_folder, exported, drawings, tmp_path, 20))


@pytest.mark.slow
def test_from_a_trained_resnet_too_the_server_draws_what_figr_tf_draws(drawings, tmp_path):
    run, models = tmp_path / "run", tmp_path / "figr"
    network = ["--image_size=16", "--hidden=2", "--latent_dim=8"]
    rates = [
        "--num_shots=3",
        "--num_inner_steps=10",
        "--inner_learning_rate=1e-2",
        "--meta_learning_rate=1e-3",
    ]
    _run(
        "figr_tf.train", "--dataset=glyphs", *network, *rates, "--num_meta_steps=30", f"--run={run}"
    )
    _run("exporters.export_saved_model", f"--run={run}", f"--export_dir={models}")
    with processes.start_embedded(models) as served:
        here, there = _pictures(run, served, drawings, tmp_path, 50)
    np.testing.assert_array_equal(here, there)


def test_adapting_once_and_sampling_often_is_generating(exported, local, drawings):
    with remote.RemoteModel(remote.Endpoint(exported.grpc)) as model:
        support = model.read_support(drawings)
        adapted = model.adapt(support, seed=7)
        np.testing.assert_allclose(
            model.sample(adapted, 5, seed=7), local.generate(support, 5, seed=7), atol=1
        )
        np.testing.assert_array_equal(
            model.sample(adapted, 5, seed=7), model.sample(adapted, 5, seed=7)
        )


def test_floats_give_what_bytes_give(exported, drawings):
    transport = GrpcTransport(remote.Endpoint(exported.grpc))
    with remote.RemoteModel(remote.Endpoint(exported.grpc)) as model:
        support = model.read_support(drawings)
        samples = model.generate(support, 5, seed=3)
    inputs = {
        "support_images": (support / 255).astype(np.float32),
        "num_samples": np.asarray(5, np.int32),
    }
    reply = transport.predict(
        "generate_tensor", inputs | {"seed": np.asarray(3, np.int64)}, ["images"], 30.0
    )
    np.testing.assert_allclose(scaling.unit_to_uint8(reply["images"]), samples, atol=1)


@pytest.mark.parametrize(
    ("numbers", "sentence"),
    [
        ({"num_samples": 0}, "num_samples must be from 1 to 256. Received: 0"),
        ({"num_samples": 2**31 - 1}, "num_samples must be from 1 to 256. Received: 2147483647"),
        ({"num_inner_steps": -1}, "num_inner_steps must be from 0 to 1000000. Received: -1"),
        ({"seed": -1}, "seed must be from 0 to 9007199254740991. Received: -1"),
        ({"seed": 2**53}, "seed must be from 0 to 9007199254740991. Received: 9007199254740992"),
    ],
)
def test_a_refusal_takes_no_time_and_says_what_is_allowed(exported, drawings, numbers, sentence):
    with remote.RemoteModel(remote.Endpoint(exported.grpc)) as model:
        support = model.read_support(drawings)
        start = time.monotonic()
        with pytest.raises(ServingError) as caught:
            model.generate(support, **numbers)
        assert time.monotonic() - start < 1.0
    assert caught.value.code == "INVALID_ARGUMENT"
    assert caught.value.message == sentence


def test_an_adaptation_that_is_too_long_ends_at_its_deadline_and_frees_the_only_place(
    exported, local, drawings
):
    """The fastest of up to five tries counts: what else the machine does slows single ones."""
    endpoint = remote.Endpoint(exported.grpc)
    support = local.read_support(drawings)
    seconds = []
    with (
        remote.RemoteModel(endpoint, 0.5, retry_for=0) as hurried,
        remote.RemoteModel(endpoint) as patient,
    ):
        patient.generate(support, 1, num_inner_steps=1)
        while min(seconds, default=60.0) >= 0.5 + 1.0 and len(seconds) < 5:
            start = time.monotonic()
            with pytest.raises(ServingError) as caught:
                hurried.generate(support, 1, num_inner_steps=MAX_NUM_INNER_STEPS)
            assert caught.value.code == "DEADLINE_EXCEEDED"
            patient.generate(support, 1, num_inner_steps=0)
            seconds.append(time.monotonic() - start)
    assert min(seconds) < 0.5 + 1.0


def _damaged(file, position, bits, length):
    damaged = bytearray(file)
    damaged[position % len(file)] ^= bits
    return bytes(damaged[: len(file) - length % len(file)])


@hypothesis.settings(max_examples=60, deadline=None, derandomize=True)
@hypothesis.given(data=st.data())
def test_no_bytes_and_numbers_stop_the_server(exported, png, data):
    numbers = st.one_of(st.integers(-2, 5), st.sampled_from([2**31 - 1, -(2**31)]))
    position, bits, length = data.draw(
        st.tuples(st.integers(0, 10**6), st.integers(0, 255), st.integers(0, 40))
    )
    file = data.draw(
        st.one_of(st.binary(max_size=100), st.just(_damaged(png, position, bits, length)))
    )
    inputs = {
        "image_bytes": tensors.byte_strings([file]),
        "num_samples": np.asarray(data.draw(numbers), np.int32),
        "num_inner_steps": np.asarray(data.draw(numbers), np.int32),
        "seed": np.asarray(data.draw(st.integers(-(2**63), 2**63 - 1)), np.int64),
    }
    reply = _reply_or_error(exported, inputs)
    if isinstance(reply, ServingError):
        assert reply.code == "INVALID_ARGUMENT"
        assert reply.message.isascii()
        assert "\n" not in reply.message
    else:
        assert len(reply["png_bytes"]) == inputs["num_samples"]


def _reply_or_error(served, inputs):
    transport = GrpcTransport(remote.Endpoint(served.grpc))
    try:
        return transport.predict("generate", inputs, ["png_bytes"], ANSWER_SECONDS)
    except ServingError as error:
        return error
    finally:
        transport.close()


@pytest.mark.slow
def test_a_thousand_requests_leave_memory_and_answers_as_they_were(exported, drawings):
    process = psutil.Process(exported.process.pid)
    with remote.RemoteModel(remote.Endpoint(exported.grpc)) as model:
        support = model.read_support(drawings)
        golden = model.generate(support, 64, seed=1)
        for seed in range(100):
            model.generate(support, 64, seed)
        before = process.memory_info().rss
        for seed in range(1000):
            model.generate(support, 64, seed)
        assert process.memory_info().rss - before < ALLOWED_GROWTH
        np.testing.assert_array_equal(model.generate(support, 64, seed=1), golden)
