"""Every kind of file a user may drop in has a defined result."""

import io
import zlib

import numpy as np
import pytest
from PIL import Image

from figr_common import images
from figr_common.images import ImageError, decode_image


def _file(image: Image.Image, file_format: str = "PNG", **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, file_format, **options)
    return buffer.getvalue()


def _stroke(mode: str = "L", size: int = 32) -> Image.Image:
    """A black bar on white, left of the middle."""
    array = np.full((size, size), 255, np.uint8)
    array[:, size // 4 : size // 2] = 0
    return Image.fromarray(array).convert(mode)


@pytest.mark.parametrize("mode", ["1", "L", "RGB", "P", "LA", "RGBA", "CMYK"])
@pytest.mark.parametrize("channels", [1, 3])
def test_every_mode_gives_the_same_drawing(mode, channels):
    file_format = "TIFF" if mode == "CMYK" else "PNG"
    result = decode_image(_file(_stroke(mode), file_format), 32, channels)
    assert result.shape == (32, 32, channels)
    assert result.dtype == np.uint8
    np.testing.assert_allclose(
        result, np.asarray(_stroke())[..., None].repeat(channels, -1), atol=1
    )


def test_16_bit_values_are_scaled_to_8():
    array = np.array([[0, 65535], [32896, 257]], np.uint16)
    result = decode_image(_file(Image.fromarray(array)), 2, 1)
    np.testing.assert_array_equal(result[..., 0], [[0, 255], [128, 1]])


def test_transparent_pixels_are_paper_whatever_colour_hides_in_them():
    black_everywhere = Image.new("RGBA", (8, 8), (0, 0, 0, 0))
    assert (decode_image(_file(black_everywhere), 8, 1) == 255).all()
    palette = Image.new("P", (8, 8), 0)
    palette.putpalette([0, 0, 0] * 256)
    assert (decode_image(_file(palette, transparency=0), 8, 1) == 255).all()


def test_transparent_pixels_stay_paper_when_light_ink_is_inverted():
    assert (
        decode_image(_file(Image.new("RGBA", (8, 8), (0, 0, 0, 0))), 8, 1, ink="light") == 255
    ).all()


def test_light_ink_is_inverted():
    inverted = Image.fromarray(255 - np.asarray(_stroke()))
    np.testing.assert_array_equal(
        decode_image(_file(inverted), 32, 1, ink="light")[..., 0], np.asarray(_stroke())
    )


def test_the_first_frame_of_an_animation_is_used():
    data = _file(_stroke(), "GIF", save_all=True, append_images=[Image.new("L", (32, 32), 0)])
    np.testing.assert_allclose(decode_image(data, 32, 1)[..., 0], np.asarray(_stroke()), atol=1)


def test_an_oblong_image_is_padded_with_paper_to_a_square():
    result = decode_image(_file(Image.new("L", (16, 32), 0)), 32, 1)[..., 0]
    assert (result[:, 8:24] == 0).all()
    assert (result[:, :8] == 255).all()
    assert (result[:, 24:] == 255).all()


def test_resizing_is_bilinear_and_averages_what_it_shrinks():
    checkers = np.indices((64, 64)).sum(0) % 2 * 255
    result = decode_image(_file(Image.fromarray(checkers.astype(np.uint8))), 16, 1)
    assert np.abs(result.astype(int) - 127).max() <= 8


def _bomb(side: int) -> bytes:
    """The header of a huge square PNG with next to nothing behind it."""
    data = bytearray(_file(Image.new("1", (8, 8))))
    data[16:24] = side.to_bytes(4, "big") * 2
    data[29:33] = zlib.crc32(data[12:29]).to_bytes(4, "big")
    return bytes(data)


def _noise() -> bytes:
    return _file(Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64), np.uint8)))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "not an image"),
        (b"hello, this is text", "not an image"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not an image"),
        (_noise()[:2000], "truncated"),
        (_noise()[:60] + b"\x00" * 40, "."),
        (_file(Image.new("L", (1, 1))), "1×1"),
        (_bomb(8_000), "8000×8000 pixels, more than"),
        (_bomb(60_000), "3600000000 pixels"),
        (_file(Image.new("1", (2, 20_000))), "2×20000 pixels, more than .* as a square"),
        (b"\x00" * (images.MAX_FILE_BYTES + 1), "more than"),
    ],
    ids=[
        "empty",
        "text",
        "postscript",
        "truncated",
        "overwritten",
        "1x1",
        "bomb",
        "huge bomb",
        "thin bomb",
        "huge file",
    ],
)
def test_unusable_files_are_refused_with_a_reason(data, reason):
    with pytest.raises(ImageError, match=reason):
        decode_image(data, 32, 1)


def _write(folder, **drawings: Image.Image) -> None:
    for name, image in drawings.items():
        image.save(folder / f"{name}.png")


def test_files_of_a_support_set_that_cannot_be_used_are_counted_and_named(tmp_path):
    _write(tmp_path, a=_stroke(), b=_stroke(), c=_stroke(), blank=Image.new("L", (32, 32), 250))
    (tmp_path / "IMG_1.heic").write_bytes(b"\0\0\0\x18ftypheic")
    (tmp_path / "notes.txt").write_text("not even tried")
    sentences: list[str] = []
    support = images.read_images(tmp_path, 32, 1, "dark", sentences.append)
    assert len(support) == 3
    (sentence,) = sentences
    assert f"{tmp_path}: 3 of 5 images used; left out: IMG_1.heic (not an image" in sentence
    assert "blank.png (shows no dark ink" in sentence
    with pytest.warns(UserWarning, match="3 of 5 images used"):
        images.read_images(tmp_path, 32, 1)


def test_light_ink_of_a_picture_in_colour_is_refused(tmp_path):
    """Inverting it would turn brown into blue."""
    Image.new("RGB", (8, 8), (135, 125, 63)).save(tmp_path / "a.png")
    with pytest.raises(ImageError, match="ink=light is for grey images"):
        images.read_images(tmp_path, 8, 3, "light")


def test_pictures_are_written_under_every_ending_that_is_offered(tmp_path):
    endings = images.writable_suffixes()
    assert endings[0] == ".png"
    assert {".jpg", ".gif", ".webp"} <= set(endings)
    assert not {".psd", ".xpm", ".txt", ""} & set(endings)
    for ending in endings:
        Image.new("RGB", (8, 8)).save(tmp_path / f"a{ending}")


def test_light_strokes_on_transparent_paper_are_refused_by_name_and_read_as_light_ink(tmp_path):
    """Laid on white paper, nothing would be left of them."""
    strokes = np.zeros((32, 32, 4), np.uint8)
    strokes[8:24, 14:18] = 255
    _write(tmp_path, drawing=Image.fromarray(strokes))
    with pytest.raises(ImageError, match=r"drawing.png \(shows no dark ink; .* give --ink=light\)"):
        images.read_images(tmp_path, 32, 1)
    dark = images.read_images(tmp_path, 32, 1, "light")[0, ..., 0]
    np.testing.assert_array_equal(dark == 0, strokes[..., 3] == 255)


def test_a_support_set_that_looks_turned_round_is_warned_about(tmp_path):
    _write(tmp_path, a=_stroke(), b=Image.fromarray(255 - np.asarray(_stroke())))
    sentences: list[str] = []
    images.read_images(tmp_path / "a.png", 32, 1, "dark", sentences.append)
    assert not sentences
    images.read_images(tmp_path / "b.png", 32, 1, "dark", sentences.append)
    images.read_images(tmp_path / "a.png", 32, 1, "light", sentences.append)
    assert [s.split(": ")[1] for s in sentences] == [
        "looks like light ink on dark paper. If it is, give --ink=light.",
        "looks like dark ink on light paper. If it is, give --ink=dark.",
    ]


def test_grey_paper_becomes_white_in_drawings_and_stays_in_plain_images():
    on_grey = Image.fromarray(np.where(np.asarray(_stroke()) == 0, 90, 190).astype(np.uint8))
    np.testing.assert_array_equal(
        images.decode_drawing(_file(on_grey), 32, 1)[..., 0], np.asarray(_stroke())
    )
    np.testing.assert_array_equal(
        images.decode_image(_file(on_grey), 32, 1)[..., 0], np.asarray(on_grey)
    )
    turned = Image.fromarray(255 - np.asarray(on_grey))
    np.testing.assert_array_equal(
        images.decode_drawing(_file(turned), 32, 1, "light")[..., 0], np.asarray(_stroke())
    )
