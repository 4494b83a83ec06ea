"""A text as windows of characters, each character of the alphabet a class.

The alphabet is what occurs ten times or more in the training part. Class 0 is every other
character: it is predicted as "another one", and nobody asks which.
"""

import dataclasses
import hashlib
import pathlib
from typing import ClassVar

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from figr_tf.core.errors import DataError
from figr_tf.sequences import data
from figr_tf.sequences.data import Sequences

OTHER = "\ufffd"  # Unicode's sign for a character that is not known.
_LEAST_OCCURRENCES = 10
_COLUMNS, _FONT_SIZE, _MARGIN = 100, 12, 8  # Of a picture: characters, and pixels.


@dataclasses.dataclass(frozen=True)
class TextSettings:
    """Which text, and how long its windows are.

    Attributes:
        dataset: as of `DataSettings`, what a run folder is called after.
        file: in UTF-8; where it lies is no part of a run's identity, its bytes are.
        length: N, characters of a window.
    """

    dataset: ClassVar[str] = "text"

    file: str = ""
    length: int = 100


@dataclasses.dataclass(frozen=True)
class Text(Sequences):
    """One text, int32.

    Attributes:
        alphabet: the character of each class; that of class 0 is `OTHER`.
    """

    items = "windows"
    alone = "each character's own frequency"

    alphabet: str

    @property
    def num_classes(self) -> int:
        """Of the alphabet, and the class of the others."""
        return len(self.alphabet)

    @property
    def summary(self) -> str:
        """How many there are, for people."""
        return (
            f"{len(self.stream)} training characters, {len(self.alphabet) - 1} different ones and"
            f" rare others, and {len(self.held_out)} held-out windows"
        )

    def nats_alone(self, sequences: np.ndarray) -> np.ndarray:
        """By how often a character occurs at all."""
        counts = np.bincount(self.stream, minlength=self.num_classes) + 1.0
        return -np.log(counts / counts.sum())[sequences]

    def strings(self, sequences: np.ndarray) -> list[str]:
        """Classes [T, N] as text."""
        characters = np.array(list(self.alphabet))
        return ["".join(row) for row in characters[np.asarray(sequences).astype(np.int64)]]

    def picture(self, shown: np.ndarray, drawn: np.ndarray) -> Image.Image:
        """Held-out windows above samples, ¶ at the ends of lines. A box is what the font lacks."""
        lines = []
        for title, sequences in (("held out", shown), ("samples", drawn)):
            lines.append(f"{title}:")
            for string in self.strings(sequences):
                line = string.replace("\n", "¶")
                lines += [line[i : i + _COLUMNS] for i in range(0, len(line), _COLUMNS)]
        return _written("\n".join(lines))


def _written(text: str) -> Image.Image:
    """Black on white."""
    import matplotlib  # Here, since only pictures need it.

    # Pillow's own font has English letters and little else.
    file = pathlib.Path(matplotlib.get_data_path(), "fonts/ttf/DejaVuSansMono.ttf")
    font = ImageFont.truetype(str(file), _FONT_SIZE)
    blank = ImageDraw.Draw(Image.new("RGB", (1, 1)))
    *_, right, bottom = blank.multiline_textbbox((_MARGIN, _MARGIN), text, font)
    size = (round(right) + _MARGIN, round(bottom) + _MARGIN)
    picture = Image.new("RGB", size, "white")
    ImageDraw.Draw(picture).multiline_text((_MARGIN, _MARGIN), text, "black", font)
    return picture


def load(settings: TextSettings) -> Text:
    """Reads the text, and holds out every tenth of its blocks of N characters.

    A training window begins anywhere, but holds no held-out character. What is left after the last
    whole block is left out.

    Raises:
        DataError: no such file; not UTF-8; or fewer than 20 blocks.
    """
    file, length = settings.file, settings.length
    content = _read(file)
    # As numbers: NumPy finds them faster.
    points = np.frombuffer(_decoded(file, content).encode("utf-32-le"), np.uint32)
    if len(points) < data.LEAST * length:
        raise DataError(
            f"{file}: {len(points)} characters are too few for windows of {length}. Give"
            f" {data.LEAST * length} or more, or a smaller --length."
        )
    blocks = points[: len(points) // length * length].reshape(-1, length)
    is_held_out = np.arange(len(blocks)) % data.HELD_OUT_EVERY == 0
    training = blocks[~is_held_out].reshape(-1)
    characters, counts = np.unique(training, return_counts=True)
    characters = characters[counts >= _LEAST_OCCURRENCES]
    if not len(characters):
        raise DataError(f"{file}: no character occurs {_LEAST_OCCURRENCES} times. Give more text.")
    facts = {
        "held_out": f"every tenth block of {length} characters",
        "alphabet": f"characters that occur {_LEAST_OCCURRENCES} times",
        "data_sha256": hashlib.sha256(content).hexdigest(),
    }
    return Text(
        _classes(training, characters),
        _starts(len(training), length),
        _classes(blocks[is_held_out], characters),
        facts,
        {},
        OTHER + "".join(chr(c) for c in characters),
    )


def _read(file: str) -> bytes:
    try:
        return pathlib.Path(file).read_bytes()
    except OSError as error:
        reason = error.strerror or error
        raise DataError(f"{file}: {reason}. Say with --text where the text is.") from error


def _decoded(file: str, content: bytes) -> str:
    try:
        text = content.decode("utf-8-sig")  # Without the mark that Windows' editors begin with.
    except UnicodeDecodeError as error:
        raise DataError(f"{file}: not UTF-8. Save the file in that encoding.") from error
    return text.replace("\r\n", "\n")


def _classes(points: np.ndarray, characters: np.ndarray) -> np.ndarray:
    """int32, 0 where the sorted `characters` lack a character."""
    found = np.minimum(np.searchsorted(characters, points), len(characters) - 1)
    return np.where(characters[found] == points, found + 1, 0).astype(np.int32)


def _starts(num_training: int, length: int) -> np.ndarray:
    """Where windows begin that do not reach over a held-out block, int64."""
    # So many characters stand together, and then a block was taken out.
    together = (data.HELD_OUT_EVERY - 1) * length
    starts = np.arange(num_training - length + 1, dtype=np.int64)
    return starts[starts // together == (starts + length - 1) // together]
