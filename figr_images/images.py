"""Image files and byte strings → uint8 arrays in the form that the networks are trained on."""

import io
import pathlib

import numpy as np
from PIL import Image, ImageOps

INKS = ("dark", "light")
SUFFIXES = (".png", ".jpg", ".jpeg", ".gif", ".bmp", ".webp", ".tif", ".tiff", ".pgm", ".ppm")
MAX_FILE_BYTES = 32 * 2**20
MAX_PIXELS = 32 * 2**20
# Named one by one: Pillow's other decoders include some that start external programs (EPS).
_FORMATS = ("PNG", "JPEG", "GIF", "BMP", "WEBP", "TIFF", "PPM")


class ImageError(ValueError):
    """An image that cannot be used; the text says why."""


def decode_image(data: bytes, image_size: int, channels: int, ink: str = "dark") -> np.ndarray:
    """Decodes one image file to uint8 [image_size, image_size, channels], dark ink on light paper.

    The first frame of an animation is used, 16-bit values are scaled to 8, palettes are expanded, transparent
    pixels become paper, the shorter side is padded with paper, and the square is resized bilinearly.

    Args:
        data: the file's bytes, at most `MAX_FILE_BYTES`.
        ink: what the file holds, "dark" ink on light paper or "light" on dark; light is inverted (grey only).

    Raises:
        ImageError: not an image of a known format, damaged, larger than `MAX_PIXELS` or smaller than 2×2.
    """
    if len(data) > MAX_FILE_BYTES:
        raise ImageError(f"the file has {len(data)} bytes, more than {MAX_FILE_BYTES}")
    try:
        with Image.open(io.BytesIO(data), formats=_FORMATS) as image:
            _check_size(*image.size)  # from the header, before a pixel is decoded
            return prepare_image(ImageOps.exif_transpose(image), image_size, channels, ink)
    except ImageError:
        raise
    except Exception as error:  # Pillow's decoders raise almost anything on damaged bytes
        reason = " ".join(str(error).split()) if not isinstance(error, OSError) or error.args else ""
        if "cannot identify" in reason:
            reason = "not an image of a known format"
        raise ImageError(reason or f"damaged ({type(error).__name__})") from error


def _check_size(width: int, height: int) -> None:
    if max(width, height) ** 2 > MAX_PIXELS:  # a thin image is padded to a square
        raise ImageError(f"{width}×{height} pixels, more than {MAX_PIXELS} as a square")
    if min(width, height) < 2:
        raise ImageError(f"{width}×{height} pixels hold no drawing")


def prepare_image(image: Image.Image, image_size: int, channels: int, ink: str = "dark") -> np.ndarray:
    """As `decode_image`, from an opened image."""
    paper = 255 if ink == "dark" else 0
    if image.mode == "F":
        raise ImageError("floating-point pixels have no defined range")
    if image.mode.startswith("I"):
        values = np.asarray(image).astype(np.int64).clip(0, 65535)
        image = Image.fromarray(((values + 128) // 257).astype(np.uint8))
    if "A" in image.getbands() or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, (paper, paper, paper, 255)), image)
    image = image.convert("L" if channels == 1 else "RGB")
    if image.width != image.height:
        side = max(image.size)
        image = ImageOps.pad(image, (side, side), color=paper if channels == 1 else (paper,) * 3)
    if image.width != image_size:
        image = image.resize((image_size, image_size), Image.Resampling.BILINEAR)
    array = np.asarray(image).reshape(image_size, image_size, channels)
    return 255 - array if ink == "light" else array


def read_images(folder: str | pathlib.Path, image_size: int, channels: int, ink: str = "dark") -> np.ndarray:
    """Reads a folder of images (or one image) as a support set: uint8 [n, image_size, image_size, channels].

    Raises:
        ImageError: no images there, or one that cannot be used; it is named, and the text says what to do.
    """
    path = pathlib.Path(folder).expanduser()
    if not path.exists():
        raise ImageError(f"{path}: no such folder or image.")
    files = [path] if path.is_file() else sorted(p for p in path.iterdir() if _is_image(p))
    if not files:
        inside = sum(p.is_dir() for p in path.iterdir())
        hint = f" Choose one of its {inside} folders." if inside else ""
        raise ImageError(f"{path}: no images in this folder (looked for {', '.join(SUFFIXES)}).{hint}")
    support = []
    for file in files:
        try:
            support.append(decode_image(file.read_bytes(), image_size, channels, ink))
        except (ImageError, OSError) as error:
            raise ImageError(f"{file}: {error}. Remove or replace it.") from error
    return np.stack(support)


def _is_image(path: pathlib.Path) -> bool:
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".")


def ink_advice(support: np.ndarray, ink: str) -> str | None:
    """What to tell someone whose grey images, read with `ink`, are more ink than paper."""
    if support.shape[-1] != 1 or np.mean(support) >= 128:
        return None
    other = "light" if ink == "dark" else "dark"
    return f"most pixels are ink. If the ink is {other} there, give --ink={other}."


def to_unit_range(images: np.ndarray) -> np.ndarray:
    """uint8 → float32 in [−1, 1]; ink (dark) is −1, paper 1."""
    return images.astype(np.float32) / 127.5 - 1.0


def to_uint8(images: np.ndarray) -> np.ndarray:
    """float in [−1, 1] → uint8, rounded; values outside are clipped, NaN is paper."""
    images = np.nan_to_num(np.asarray(images), nan=1.0)
    return np.clip(np.rint((images + 1.0) * 127.5), 0, 255).astype(np.uint8)
