"""Every bad input is refused in one plain sentence, at once and before anything large is made, by
the graph alone.
"""

import io
import pathlib
import re
import time
import zlib

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from tests.exporters.conftest import png_file

UNIT = np.full([2, 16, 16, 1], 0.5, np.float32)
GOOD = png_file(Image.new("L", (16, 16), 128))
MUCH_MEMORY = 100_000  # KiB


def _with_value(value: float) -> np.ndarray:
    images = UNIT.copy()
    images[1, 3, 5, 0] = value
    return images


def _with_sides(width: int, height: int) -> bytes:
    """A PNG whose header claims other sides than it has."""
    data = bytearray(GOOD)
    data[16:24] = width.to_bytes(4, "big") + height.to_bytes(4, "big")
    data[29:33] = zlib.crc32(data[12:29]).to_bytes(4, "big")
    return bytes(data)


def _other(file_format: str) -> bytes:
    buffer = io.BytesIO()
    Image.new("L", (16, 16), 128).save(buffer, file_format)
    return buffer.getvalue()


TENSORS = {
    "no image": (UNIT[:0], "[n, 16, 16, 1] with n from 1 to 6. Received: 0"),
    "too many images": (np.zeros([7, 16, 16, 1]), "with n from 1 to 6. Received: 7"),
    "one image without the first axis": (
        UNIT[0],
        "support_images must be [n, 16, 16, 1] in axes. Received: 3",
    ),
    "one number": (np.float32(0.5), "in axes. Received: 0"),
    "an axis too many": (UNIT[None], "in axes. Received: 5"),
    "another size": (np.zeros([2, 32, 32, 1]), "height, width or channels differ"),
    "channels": (np.zeros([2, 16, 16, 3]), "height, width or channels differ"),
    "NaN": (_with_value(np.nan), "support_images must be finite numbers"),
    "infinity": (_with_value(np.inf), "support_images must be finite numbers"),
    "above 1": (_with_value(1.5), "support_images must lie in [0, 1]"),
    "bytes instead of fractions": (UNIT * 255, "support_images must lie in [0, 1]"),
    "the networks' own range": (UNIT * 2 - 1.5, "support_images must lie in [0, 1]"),
}
FILES = {
    "no file": (np.array([], object), "image_bytes must hold 1 to 6 items. Received: 0"),
    "too many files": ([GOOD] * 7, "image_bytes must hold 1 to 6 items. Received: 7"),
    "a file without a list": (np.array(GOOD, object), "image_bytes must be a list"),
    "a list of lists": ([[GOOD]], "image_bytes must be a list"),
    "empty": ([GOOD, b""], "image 2 is empty"),
    "text": (
        [b"hello, this is not an image at all, but text of some length"],
        "image 1 is not a PNG file",
    ),
    "JPEG": ([GOOD, GOOD, _other("JPEG")], "image 3 is not a PNG file"),
    "GIF": ([_other("GIF")], "image 1 is not a PNG file"),
    "BMP": ([_other("BMP")], "image 1 is not a PNG file"),
    "the signature alone": ([GOOD[:8]], "image 1 is a PNG file cut short"),
    "cut short": ([GOOD[:-20]], "image 1 is a PNG file cut short"),
    "header missing": ([GOOD[:8] + GOOD[33:] + GOOD[33:]], "image 1 is a damaged PNG file"),
    "bomb": ([_with_sides(20_000, 20_000)], "image 1 must be 2 to 128 pixels wide and high"),
    "thin bomb": ([_with_sides(2, 2_000_000)], "image 1 must be 2 to 128 pixels wide and high"),
    "side of 2³²−1": ([_with_sides(2**32 - 1, 16)], "image 1 must be 2 to 128 pixels"),
    "no pixels": ([_with_sides(0, 16)], "image 1 must be 2 to 128 pixels"),
    "too many bytes": (
        [GOOD[:-12] + bytes(2**20) + GOOD[-12:]],
        "image 1 has more than 1048576 bytes",
    ),
    "damaged in the middle": ([GOOD[:45] + b"\x00\x01\x02" + GOOD[48:]], "Invalid PNG data"),
}
SCALARS = {
    "no samples": ({"num_samples": 0}, "num_samples must be from 1 to 32. Received: 0"),
    "negative samples": ({"num_samples": -5}, "num_samples must be from 1 to 32. Received: -5"),
    "two million samples": (
        {"num_samples": 2_000_000},
        "num_samples must be from 1 to 32. Received: 2000000",
    ),
    "negative steps": (
        {"num_inner_steps": -1},
        "num_inner_steps must be from 0 to 20. Received: -1",
    ),
    "a billion steps": (
        {"num_inner_steps": 10**9},
        "num_inner_steps must be from 0 to 20. Received: 1000000000",
    ),
    "negative seed": ({"seed": -1}, "seed must be from 0 to 9007199254740991. Received: -1"),
    "seed of 2⁵³": (
        {"seed": 2**53},
        "seed must be from 0 to 9007199254740991. Received: 9007199254740992",
    ),
    "samples in a list": ({"num_samples": [4]}, "num_samples must be one number, without axes"),
    "a thousand seeds": ({"seed": np.zeros(1000)}, "seed must be one number, without axes"),
}


@pytest.fixture(scope="module")
def warm(server):
    """So that no refusal is measured with the building of a graph."""
    server.predict("generate", image_bytes=[GOOD])
    server.predict("adapt", image_bytes=[GOOD])
    server.predict("generate_tensor", support_images=UNIT)
    return server


def _peak_kilobytes() -> int:
    status = pathlib.Path("/proc/self/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1])


def _refused(server, sentence: str, signature: str, **inputs) -> None:
    pathlib.Path("/proc/self/clear_refs").write_text("5")  # Linux forgets the peak of memory.
    before, start = _peak_kilobytes(), time.process_time()
    with pytest.raises(tf.errors.InvalidArgumentError) as caught:
        server.predict(signature, **inputs)
    assert time.process_time() - start < 1  # of the CPU: a busy machine takes longer
    assert _peak_kilobytes() - before < MUCH_MEMORY
    assert sentence in caught.value.message
    assert caught.value.message.isascii()


@pytest.mark.parametrize("case", TENSORS)
def test_bad_support_tensors_are_refused(warm, case):
    images, sentence = TENSORS[case]
    _refused(warm, sentence, "generate_tensor", support_images=images)


@pytest.mark.parametrize("case", FILES)
@pytest.mark.parametrize("signature", ["generate", "adapt"])
def test_bad_files_are_refused(warm, case, signature):
    files, sentence = FILES[case]
    _refused(warm, sentence, signature, image_bytes=np.asarray(files, object))


@pytest.mark.parametrize("case", SCALARS)
@pytest.mark.parametrize("signature", ["generate", "generate_tensor"])
def test_bad_numbers_are_refused(warm, case, signature):
    scalars, sentence = SCALARS[case]
    support = {"image_bytes": [GOOD]} if signature == "generate" else {"support_images": UNIT}
    _refused(warm, sentence, signature, **support, **scalars)


def test_deltas_that_are_not_of_this_model_are_refused(warm, exported):
    length = exported.contract["signatures"]["sample"]["inputs"]["generator_delta"]["shape"][0]
    fingerprint = exported.contract["model"]["fingerprint"]
    delta = np.zeros(length)
    warm.predict("sample", generator_delta=delta, fingerprint=fingerprint)
    for bad_delta, bad_fingerprint, sentence in (
        (delta, fingerprint + 1, "fingerprint is of another model"),
        (delta, [fingerprint, fingerprint], "fingerprint is of another model"),
        (
            delta[1:],
            fingerprint,
            f"generator_delta must hold {length} items. Received: {length - 1}",
        ),
        (delta[None], fingerprint, "generator_delta must be a list"),
        (delta + np.nan, fingerprint, "generator_delta must be finite numbers"),
        (delta + 1e38, fingerprint, "the adaptation diverged"),
    ):
        _refused(warm, sentence, "sample", generator_delta=bad_delta, fingerprint=bad_fingerprint)


def test_a_refused_request_leaves_the_next_one_as_it_was(warm):
    before = warm.predict("generate", image_bytes=[GOOD], seed=3)["png_bytes"]
    with pytest.raises(tf.errors.InvalidArgumentError):
        warm.predict("generate", image_bytes=[b"junk"], seed=3)
    np.testing.assert_array_equal(
        warm.predict("generate", image_bytes=[GOOD], seed=3)["png_bytes"], before
    )
