"""PNG bytes decoded in the graph: equal to figr_common.images, byte for byte."""

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from exporters import png
from exporters.limits import Limits
from figr_common import images
from tests.exporters.conftest import png_file, read_png

SIZE = 16


@pytest.fixture(scope="module")
def decoders():
    files = tf.TensorSpec([None], tf.string)

    def decoder(channels):
        return tf.function(
            lambda f: png.decode_images(f, SIZE, channels, Limits()), [files], autograph=False
        )

    return {channels: decoder(channels) for channels in (1, 3)}


def _noise(*shape: int, dtype=np.uint8) -> np.ndarray:
    return np.random.default_rng(0).integers(0, np.iinfo(dtype).max, shape, dtype, endpoint=True)


def _colours() -> Image.Image:
    return Image.fromarray(_noise(40, 40, 3))


def _few_colours(count: int) -> Image.Image:
    return _colours().quantize(count)


FILES = {
    "1 bit": png_file(_colours().convert("1")),
    "1 bit, Omniglot's size": png_file(Image.fromarray(_noise(105, 105)).convert("1")),
    "grey": png_file(_colours().convert("L")),
    "grey, 16 bit": png_file(Image.fromarray(_noise(40, 40, dtype=np.uint16))),
    "grey and alpha": png_file(Image.fromarray(_noise(40, 40, 4)).convert("LA")),
    "grey with a transparent value": png_file(
        _colours().convert("L"), transparency=int(_noise(40, 40, 3)[0, 0, 0])
    ),
    "colour": png_file(_colours()),
    "colour and alpha": png_file(Image.fromarray(_noise(40, 40, 4))),
    "colour with a transparent one": png_file(
        _colours(), transparency=tuple(map(int, _noise(40, 40, 3)[5, 7]))
    ),
    "palette": png_file(_few_colours(200)),
    "palette, 4 bit": png_file(_few_colours(16), bits=4),
    "palette, 2 bit": png_file(_few_colours(4), bits=2),
    "palette, 1 bit": png_file(_few_colours(2), bits=1),
    "palette with alpha": png_file(_few_colours(64), transparency=_noise(64).tobytes()),
    "palette with a transparent colour": png_file(_few_colours(16), bits=4, transparency=3),
    "transparent all over": png_file(Image.new("RGBA", (20, 20), (0, 0, 0, 0))),
    "bytes after the end": png_file(_colours().convert("L")) + b"something else",
}


@pytest.mark.parametrize("kind", FILES)
@pytest.mark.parametrize("channels", [1, 3])
def test_every_kind_of_png_gives_the_bytes_of_figr_tf(decoders, kind, channels):
    decoded = decoders[channels](tf.constant([FILES[kind]]))[0].numpy()
    np.testing.assert_array_equal(decoded, images.decode_image(FILES[kind], SIZE, channels))


@pytest.mark.parametrize(
    "shape",
    [
        (16, 16),
        (17, 17),
        (15, 15),
        (2, 2),
        (64, 64),
        (333, 333),
        (17, 40),
        (41, 18),
        (2, 9),
        (1000, 501),
    ],
)
def test_every_size_and_form_gives_the_bytes_of_figr_tf(decoders, shape):
    data = png_file(Image.fromarray(_noise(*shape)))
    np.testing.assert_array_equal(
        decoders[1](tf.constant([data]))[0], images.decode_image(data, SIZE, 1)
    )


def test_a_file_is_decoded_the_same_whatever_stands_beside_it(decoders):
    data = list(FILES.values())
    together = decoders[1](tf.constant(data)).numpy()
    for i, file in enumerate(data):
        np.testing.assert_array_equal(together[i], images.decode_image(file, SIZE, 1))


def test_encoded_images_are_read_back_by_pillow_with_ink_dark():
    values = np.linspace(0, 1, 16 * 16 * 2, dtype=np.float32).reshape(2, 16, 16, 1)
    decoded = [read_png(data) for data in png.encode_images(tf.constant(values)).numpy()]
    np.testing.assert_array_equal(decoded, np.rint(values * 255))
    assert decoded[0][0, 0, 0] == 0
