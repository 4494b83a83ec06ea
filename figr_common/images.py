"""Image files and byte strings → uint8 arrays in the form that the networks are trained on."""

import contextlib
import io
import pathlib
import warnings
from collections.abc import Callable, Iterator

import numpy as np
from PIL import Image, ImageOps

from figr_common import paper

INKS = ("dark", "light")
_READABLE = (
    *(".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jfif", ".gif", ".bmp", ".webp", ".tif", ".tiff"),
    *(".pbm", ".pgm", ".pnm", ".ppm"),
)
# What people take for an image, too: such a file is looked for, so that it can be named as left
# out.
SUFFIXES = (
    *_READABLE,
    *(".heic", ".heif", ".avif", ".jxl", ".jp2", ".svg", ".svgz", ".eps", ".pdf", ".ai", ".psd"),
    *(".xcf", ".tga", ".ico", ".exr", ".hdr", ".dng", ".cr2", ".nef", ".arw"),
)
MAX_FILE_BYTES = 32 * 2**20
MAX_PIXELS = 32 * 2**20
# Named one by one: Pillow's other decoders include some that start external programs (EPS).
_FORMATS = ("PNG", "JPEG", "GIF", "BMP", "WEBP", "TIFF", "PPM")
_SHOWN = 5  # Of the files that are left out.


class ImageError(ValueError):
    """An image that cannot be used; the text says why."""


def decode_drawing(data: bytes, image_size: int, channels: int, ink: str = "dark") -> np.ndarray:
    """`decode_image` with the paper of a grey drawing made white, see `paper.whitened`.

    Files of a folder or zip and the support sets of users come in by it. MNIST and the images in a
    request to an export are white already, or stay as they are.
    """
    return _decoded(data, image_size, channels, ink, white_paper=True)


def decode_image(data: bytes, image_size: int, channels: int, ink: str = "dark") -> np.ndarray:
    """Decodes one image file to uint8 [image_size, image_size, channels], dark ink on light paper.

    The first frame of an animation is used, 16-bit values are scaled to 8, palettes are expanded,
    transparent pixels become paper, the shorter side is padded with paper, and the square is
    resized bilinearly.

    Args:
        data: the file's bytes, at most `MAX_FILE_BYTES`.
        ink: what the file holds, "dark" ink on light paper or "light" on dark; light is inverted
            (grey only).

    Raises:
        ImageError: not an image of a known format, damaged, larger than `MAX_PIXELS` or smaller
            than 2×2.
    """
    return _decoded(data, image_size, channels, ink, white_paper=False)


def _decoded(
    data: bytes, image_size: int, channels: int, ink: str, white_paper: bool
) -> np.ndarray:
    with opened(data) as image:
        return prepare_image(image, image_size, channels, ink, white_paper)


@contextlib.contextmanager
def opened(data: bytes) -> Iterator[Image.Image]:
    """The image of a file's bytes, upright.

    What goes wrong in the block is an ImageError too, since Pillow decodes when pixels are asked
    for.
    """
    if len(data) > MAX_FILE_BYTES:
        raise ImageError(f"the file has {len(data)} bytes, more than {MAX_FILE_BYTES}")
    try:
        with Image.open(io.BytesIO(data), formats=_FORMATS) as image:
            _check_size(*image.size)  # from the header, before a pixel is decoded
            yield ImageOps.exif_transpose(image)
    except ImageError:
        raise
    except Exception as error:  # Pillow's decoders raise almost anything on damaged bytes
        reason = (
            " ".join(str(error).split()) if not isinstance(error, OSError) or error.args else ""
        )
        if "cannot identify" in reason:
            reason = "not an image of a kind that can be read here; save it as PNG"
        raise ImageError(reason or f"damaged ({type(error).__name__})") from error


def _check_size(width: int, height: int) -> None:
    if max(width, height) ** 2 > MAX_PIXELS:  # a thin image is padded to a square
        raise ImageError(f"{width}×{height} pixels, more than {MAX_PIXELS} as a square")
    if min(width, height) < 2:
        raise ImageError(f"{width}×{height} pixels hold no drawing")


def prepare_image(
    image: Image.Image, image_size: int, channels: int, ink: str = "dark", white_paper: bool = False
) -> np.ndarray:
    """As `decode_image`, from an opened image; as `decode_drawing` with `white_paper`."""
    grey = grey_or_colour(image, channels, ink)
    if white_paper and channels == 1:
        grey = paper.whitened(grey) if ink == "dark" else _inverted_whitened(grey)
    return _squared(grey, image_size, channels, ink)


def _inverted_whitened(image: Image.Image) -> Image.Image:
    return ImageOps.invert(paper.whitened(ImageOps.invert(image)))


def grey_or_colour(image: Image.Image, channels: int, ink: str = "dark") -> Image.Image:
    """Any image as "L" or "RGB" of its own size, transparent pixels as paper. Raises ImageError."""
    background = 255 if ink == "dark" else 0
    if image.mode == "F":
        raise ImageError("floating-point pixels have no defined range")
    if image.mode.startswith("I"):
        values = np.asarray(image).astype(np.int64).clip(0, 65535)
        image = Image.fromarray(((values + 128) // 257).astype(np.uint8))
    if "A" in image.getbands() or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Image.alpha_composite(
            Image.new("RGBA", image.size, (*[background] * 3, 255)), image
        )
    return image.convert("L" if channels == 1 else "RGB")


def _squared(image: Image.Image, image_size: int, channels: int, ink: str) -> np.ndarray:
    background = 255 if ink == "dark" else 0
    if image.width != image.height:
        side = max(image.size)
        image = ImageOps.pad(
            image, (side, side), color=background if channels == 1 else (background,) * 3
        )
    if image.width != image_size:
        image = image.resize((image_size, image_size), Image.Resampling.BILINEAR)
    array = np.asarray(image).reshape(image_size, image_size, channels)
    return 255 - array if ink == "light" else array


def _warn(sentence: str) -> None:
    warnings.warn(sentence, stacklevel=3)


def read_images(
    folder: str | pathlib.Path,
    image_size: int,
    channels: int,
    ink: str = "dark",
    warn: Callable[[str], None] = _warn,
) -> np.ndarray:
    """Reads a folder of images (or one image) as a support set.

    Args:
        warn: gets a sentence on files that are left out, since they cannot be read or show no ink,
            and one if the ink seems to be light where it should be dark.

    Returns:
        uint8 [n, image_size, image_size, channels], dark ink on light paper.

    Raises:
        ImageError: no image there that can be used; the text says why and what to do.
    """
    if ink == "light" and channels != 1:
        raise ImageError("ink=light is for grey images: nobody knows which colours are ink.")
    path = pathlib.Path(folder).expanduser()
    if not path.exists():
        raise ImageError(f"{path}: no such folder or image.")
    files = [path]
    if not path.is_file():
        files = sorted(file for file in path.iterdir() if is_image_name(file.name))
    if not files:
        inside = sum(p.is_dir() for p in path.iterdir())
        hint = f" Choose one of its {inside} folders." if inside else ""
        raise ImageError(
            f"{path}: no images in this folder (looked for {', '.join(_READABLE)}).{hint}"
        )
    support, left_out = [], []
    for file in files:
        try:
            drawing = decode_drawing(file.read_bytes(), image_size, channels, ink)
            _check_ink(drawing, ink)
            support.append(drawing)
        except (ImageError, OSError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            if file == path:
                raise ImageError(f"{path}: {reason}.") from error
            left_out.append(f"{file.name} ({reason})")
    listing = ", ".join(left_out[:_SHOWN]) + (", …" if len(left_out) > _SHOWN else "")
    if not support:
        raise ImageError(f"{path}: no image that can be used: {listing}.")
    if left_out:
        warn(f"{path}: {len(support)} of {len(files)} images used; left out: {listing}")
    if advice := ink_advice(np.stack(support), ink):
        warn(f"{path}: {advice}")
    return np.stack(support)


def _check_ink(drawing: np.ndarray, ink: str) -> None:
    if not paper.has_ink(drawing):
        hint = (
            f"; if its ink is {_other(ink)}, give --ink={_other(ink)}"
            if drawing.shape[-1] == 1
            else ""
        )
        raise ImageError(f"shows no {ink} ink{hint}")


def writable_suffixes() -> tuple[str, ...]:
    """Endings of names that Pillow can write a picture in RGB under, ".png" first."""
    Image.init()
    kinds = {kind for kind in Image.SAVE if _writes(kind)}
    endings = (e for e, kind in Image.registered_extensions().items() if kind in kinds)
    # PNG first: it is the ending that errors propose.
    return tuple(sorted(endings, key=lambda ending: (ending != ".png", ending)))


def _writes(kind: str) -> bool:
    """Tried, since some only read, some lack a library, and some know black and white alone."""
    try:
        Image.new("RGB", (4, 4)).save(io.BytesIO(), kind)
    except (OSError, ValueError):
        return False
    return True


def is_image_name(name: str) -> bool:
    """Whether a file of this name is looked at; those that begin with a dot are not."""
    return name.lower().endswith(SUFFIXES) and not name.startswith(".")


def ink_advice(drawings: np.ndarray, ink: str) -> str | None:
    """What to say if most of uint8 [n, S, S, C], read with `ink`, look like the other ink's."""
    if drawings.shape[-1] != 1 or np.mean([paper.is_turned(d) for d in drawings]) <= 0.5:
        return None
    looks = "light ink on dark paper" if ink == "dark" else "dark ink on light paper"
    return f"looks like {looks}. If it is, give --ink={_other(ink)}."


def _other(ink: str) -> str:
    return "light" if ink == "dark" else "dark"
