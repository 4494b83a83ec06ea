"""PNG bytes → images in the graph, equal to `figr_common.images.decode_image`.

Sizes are checked before anything is decoded.

Pillow's steps are repeated in whole numbers (its conversion to grey, alpha compositing and bilinear
resize), so that a server's users get what users of `figr_tf.generate` get;
but grey paper stays grey.
"""

import tensorflow as tf

from exporters import guards
from exporters.limits import Limits

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
# Length and type of the first chunk, which holds width, height, bit depth and colour type.
_HEADER = _SIGNATURE + b"\x00\x00\x00\rIHDR"
# Four bytes of length 0, then the type. \C is any one byte in RE2; a dot would stop at what is not
# UTF-8.
_LAST_CHUNK = r"\C*\x00\x00\x00\x00IEND\C*"
_SMALLEST_FILE = 57  # signature, IHDR, an empty IDAT, IEND
MIN_SIDE = 2  # Pixels of a PNG's shorter side.
_PAPER = 255
_GREY = 0  # colour type
# Pillow's fixed-point bits: of resize coefficients, and of alpha compositing.
_RESIZE_BITS = 22
_ALPHA_BITS = 7
# 0.299, 0.587 and 0.114 (ITU-R 601) times 2¹⁶, as in Pillow's conversion to "L".
_GREY_WEIGHTS = (19595, 38470, 7471)


def decode_images(
    image_bytes: tf.Tensor,
    image_size: int,
    channels: int,
    limits: Limits,
    name: str = "image_bytes",
    most: int | None = None,
) -> tf.Tensor:
    """PNG files, string [n] → uint8 [n, image_size, image_size, channels], ink dark.

    16-bit values are scaled to 8, palettes expanded, transparent pixels become paper, the shorter
    side is padded with paper, and the square is resized bilinearly. Anything but a whole PNG within
    `limits` ends the request.

    Args:
        name: of the input, "…_bytes"; what stands before the _ names one of the files in errors.
        most: files, at most. Default: `limits.max_num_shots`.
    """
    files = guards.vector(image_bytes, name, 1, most or limits.max_num_shots)
    one = name.removesuffix("_bytes")
    files = _check_bytes(files, limits, one)
    files, bit_depths, colour_types = _check_header(files, limits, one)
    image = tf.TensorSpec([image_size, image_size, channels], tf.uint8)

    def decode(item):
        # As 16 bits, since of a 16-bit file `_prepare` needs all of them. An 8-bit value v comes as
        # 257·v, whose upper byte is v again.
        pixels = tf.io.decode_png(item[0], channels=4, dtype=tf.uint16)
        return _prepare(tf.cast(pixels, tf.int32), item[1], item[2], image_size, channels)

    # One at a time: a megapixel takes about 60 MB on its way.
    return tf.map_fn(
        decode, (files, bit_depths, colour_types), fn_output_signature=image, parallel_iterations=1
    )


def encode_images(images: tf.Tensor) -> tf.Tensor:
    """[m, H, W, C] in [0, 1] → string [m] of PNG files, values rounded to 8 bits."""
    return tf.io.encode_png(tf.cast(tf.round(tf.clip_by_value(images, 0.0, 1.0) * 255.0), tf.uint8))


def _check_each(ok: tf.Tensor, one: str, sentence: str, files: tf.Tensor) -> tf.Tensor:
    # `argmin` finds the first that is not as it should be. People count from 1.
    first = tf.strings.as_string(tf.argmin(tf.cast(ok, tf.int32)) + 1)
    said = tf.strings.join([f"{one} ", first, sentence])
    return guards.require(tf.reduce_all(ok), said, files)


def _check_bytes(files: tf.Tensor, limits: Limits, one: str) -> tf.Tensor:
    # In this order, so that the sentence fits: an empty file is no PNG file either.
    files = _check_each(tf.strings.length(files) > 0, one, " is empty.", files)
    files = _check_each(
        tf.strings.length(files) <= limits.max_png_bytes,
        one,
        f" has more than {limits.max_png_bytes} bytes.",
        files,
    )
    is_png = tf.equal(tf.strings.substr(files, 0, len(_SIGNATURE)), _SIGNATURE)
    files = _check_each(is_png, one, " is not a PNG file.", files)
    is_whole = (tf.strings.length(files) >= _SMALLEST_FILE) & tf.strings.regex_full_match(
        files, _LAST_CHUNK
    )
    files = _check_each(is_whole, one, " is a PNG file cut short.", files)
    has_header = tf.equal(tf.strings.substr(files, 0, len(_HEADER)), _HEADER)
    return _check_each(has_header, one, " is a damaged PNG file.", files)


def _check_header(
    files: tf.Tensor, limits: Limits, one: str
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """The files, and bit depth and colour type of each, int32 [n]."""
    sides = tf.io.decode_raw(
        tf.strings.substr(files, len(_HEADER), 8), tf.int32, little_endian=False
    )
    # A length of 2³¹ or more is negative here, and no PNG.
    fits = tf.reduce_all((sides >= MIN_SIDE) & (sides <= limits.max_image_side), 1)
    sentence = f" must be {MIN_SIDE} to {limits.max_image_side} pixels wide and high."
    files = _check_each(fits, one, sentence, files)
    # Behind width and height, four bytes each, stand bit depth and colour type, one byte each.
    header = tf.io.decode_raw(tf.strings.substr(files, len(_HEADER) + 8, 2), tf.uint8)
    return files, tf.cast(header[:, 0], tf.int32), tf.cast(header[:, 1], tf.int32)


def _prepare(
    pixels: tf.Tensor, bit_depth: tf.Tensor, colour_type: tf.Tensor, image_size: int, channels: int
):
    """int32 [h, w, 4] of 16-bit red, green, blue, alpha → uint8 [image_size, image_size,
    channels].
    """
    # As figr_common: 16-bit grey is rounded and its transparent value ignored; Pillow cuts other
    # 16-bit files off.
    is_grey_16 = tf.equal(bit_depth, 16) & tf.equal(colour_type, _GREY)
    colours = tf.where(
        is_grey_16, (pixels[..., :3] + 128) // 257, tf.bitwise.right_shift(pixels[..., :3], 8)
    )
    alpha = tf.bitwise.right_shift(pixels[..., 3:], 8)
    # Where a file says nothing of transparency, decode_png fills in the largest value of its bit
    # depth, not of 8 bits.
    opaque = tf.bitwise.left_shift(1, tf.minimum(bit_depth, 8)) - 1
    is_opaque = is_grey_16 | tf.reduce_all(tf.equal(alpha, opaque))
    colours = _on_paper(colours, tf.where(is_opaque, 255, alpha))
    if channels == 1:
        weighted = colours * tf.constant(_GREY_WEIGHTS)
        colours = tf.bitwise.right_shift(tf.reduce_sum(weighted, -1, keepdims=True) + 2**15, 16)
    return tf.cast(_resize(_pad_to_square(colours), image_size), tf.uint8)


def _on_paper(colours: tf.Tensor, alpha: tf.Tensor) -> tf.Tensor:
    """Composites over white with Pillow's rounding, so that half transparent pixels agree."""
    opacity = alpha * 2**_ALPHA_BITS
    blended = colours * opacity + _PAPER * (255 * 2**_ALPHA_BITS - opacity) + (128 << _ALPHA_BITS)
    return tf.bitwise.right_shift(tf.bitwise.right_shift(blended, 8) + blended, 8 + _ALPHA_BITS)


def _pad_to_square(pixels: tf.Tensor) -> tf.Tensor:
    height, width = tf.unstack(tf.shape(pixels)[:2])
    side = tf.maximum(height, width)

    def around(length):
        # Half of an odd rest goes to the even side, as Python's round does in Pillow.
        before = tf.cast(tf.round(tf.cast(side - length, tf.float32) * 0.5), tf.int32)
        return tf.stack([before, side - length - before])

    return tf.pad(
        pixels,
        tf.stack([around(height), around(width), tf.constant([0, 0])]),
        constant_values=_PAPER,
    )


def _resize(pixels: tf.Tensor, image_size: int) -> tf.Tensor:
    """Pillow's bilinear resize: int32 [side, side, c] → int32 [image_size, image_size, c].

    Columns first, rounded, then rows.
    """
    # All sums are whole numbers far below 2⁵³, so float64 holds them exactly, in any order.
    coefficients = _resize_coefficients(tf.shape(pixels)[0], image_size)
    columns = _to_bytes(tf.einsum("ox,yxc->yoc", coefficients, tf.cast(pixels, tf.float64)))
    rows = _to_bytes(tf.einsum("oy,yxc->oxc", coefficients, columns))
    return tf.ensure_shape(tf.cast(rows, tf.int32), [image_size, image_size, pixels.shape[-1]])


def _to_bytes(sums: tf.Tensor) -> tf.Tensor:
    return tf.clip_by_value(tf.floor(sums / 2**_RESIZE_BITS + 0.5), 0.0, 255.0)


def _resize_coefficients(side: tf.Tensor, image_size: int) -> tf.Tensor:
    """Pillow's bilinear weights, float64 [image_size, side] of whole numbers.

    Each row is a triangle as wide as what it shrinks.
    """
    scale = tf.cast(side, tf.float64) / image_size
    support = tf.maximum(scale, 1.0)
    centre = (tf.range(image_size, dtype=tf.float64)[:, None] + 0.5) * scale
    position = tf.range(tf.cast(side, tf.float64), dtype=tf.float64)[None]
    inside = (position >= tf.floor(centre - support + 0.5)) & (
        position < tf.floor(centre + support + 0.5)
    )
    triangle = tf.maximum(1.0 - tf.abs((position - centre + 0.5) / support), 0.0)
    weights = tf.where(inside, triangle, 0.0)
    return tf.floor(weights / tf.reduce_sum(weights, 1, keepdims=True) * 2**_RESIZE_BITS + 0.5)
