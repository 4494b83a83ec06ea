"""Drawings by class from the npm package @iconify/json, a collection of open icon sets.

The package is a gzipped tar: collections.json names the sets with licence and author, and
json/SET.json holds a set's drawings as SVG under their names. A class is what a name means without
the words for its style: "umbrella" of "umbrella-outline".
"""

import collections
import json
import pathlib
import re
import tarfile
import zlib
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from figr_tf.core.errors import DataError

# Those that allow copies and adaptations with a notice; of the share-alike ones an adaptation would
# have to carry the licence on, and so would, perhaps, what is drawn by a model.
LICENCES = frozenset(
    {
        *("MIT", "ISC", "BSD-2-Clause", "BSD-3-Clause", "0BSD", "Apache-2.0"),
        *("CC0-1.0", "Unlicense", "CC-BY-3.0", "CC-BY-4.0", "OFL-1.1"),
    }
)
# Words that are a style where a set uses them often, and part of a name elsewhere ("chart-line").
_STYLES = (
    *("outline", "outlined", "line", "linear", "stroke", "broken", "fill", "filled", "solid"),
    *("duotone", "duo", "twotone", "two-tone", "bold", "thin", "light", "regular", "sharp"),
    *("rounded", "round", "alt"),
)
_OFTEN = 0.03  # Share of a set's names.
_MIDDLE_SIZE = 24  # Of a drawing in several sizes the nearest is taken.
_DAMAGE = (OSError, tarfile.TarError, EOFError, zlib.error)
_FETCH = "Fetch it with: npm pack @iconify/json"
_SIZE = re.compile(r"\d{2,3}")
_SET_FILE = re.compile(r"package/json/([a-z0-9]+(?:-[a-z0-9]+)*)\.json")
_OUTSIDE = re.compile(r"""href\s*=\s*["'](?!#|data:)""")
_TAG = re.compile(r"<(/?)\w[^>]*?(/?)>")
_DEEPEST = 60  # Elements inside each other; at a few hundred the renderer's process dies.
_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")


class IconSet(NamedTuple):
    """One set: its prefix in the package, and what has to be said of it."""

    prefix: str
    title: str
    licence: str
    author: str
    url: str

    def attribution(self) -> str:
        """A line of SOURCES.txt."""
        return f"{self.prefix}: {self.title}, {self.licence}, {self.author}, {self.url}"


class Drawing(NamedTuple):
    """One drawing of a class; `svg` is a whole document of a square side."""

    icon_set: str
    name: str
    svg: str


class Chosen(NamedTuple):
    """Sets to draw from, by prefix, and a sentence for each reason why others are left out."""

    sets: dict[str, IconSet]
    left_out: list[str]


class Package:
    """The tarball, opened.

    Raises:
        DataError: it is not the package, or damaged.
    """

    def __init__(self, path: pathlib.Path):
        self._path = path
        try:
            # It stays open as long as the package is in use.
            self._tar = tarfile.open(path, "r:gz")  # noqa: SIM115
            self._members = {member.name: member for member in self._tar}
        except _DAMAGE as error:
            raise DataError(
                f"{path}: not a tarball that can be read ({error}). {_FETCH}"
            ) from error
        if "package/collections.json" not in self._members:
            raise DataError(
                f"{path}: not the package @iconify/json: no collections.json in it. {_FETCH}"
            )

    def version(self) -> str:
        """Such as "2.2.535"."""
        return str(self._read("package/package.json").get("version", "of no known version"))

    def choose(self, coloured: bool) -> Chosen:
        """The sets of one colour or the coloured ones, those whose licence allows it.

        They come in the order of the tarball, which is read forwards alone in good time.
        """
        sets, unlicensed, refused = {}, [], []
        for prefix, about in self._read("package/collections.json").items():
            about = _fields(about)
            if bool(about.get("palette")) != coloured:
                continue
            licence, author = _fields(about.get("license")), _fields(about.get("author"))
            spdx = licence.get("spdx")
            if not spdx or not isinstance(spdx, str):
                unlicensed.append(prefix)
            elif spdx not in LICENCES:
                refused.append(f"{prefix} ({spdx})")
            else:
                sets[prefix] = IconSet(
                    prefix,
                    about.get("name", prefix),
                    spdx,
                    author.get("name", "unknown author"),
                    author.get("url") or licence.get("url") or "no address",
                )
        left_out = [f"set {prefix}: states no licence" for prefix in unlicensed]
        if refused:
            left_out.append(f"sets under other licences: {', '.join(refused)}")
        if not sets:
            raise DataError(f"{self._path}: no set of it can be used. {'; '.join(left_out)}")
        in_order = [prefix for prefix in self._prefixes() if prefix in sets]
        missing = sorted(set(sets) - set(in_order))
        if missing:
            raise DataError(
                f"{self._path}: lacks the drawings of {len(missing)} of its sets, such as"
                f" json/{missing[0]}.json: a damaged or shortened file. {_FETCH}"
            )
        return Chosen({prefix: sets[prefix] for prefix in in_order}, left_out)

    def _prefixes(self) -> list[str]:
        matches = (_SET_FILE.fullmatch(name) for name in self._members)
        return [match[1] for match in matches if match]

    def drawings(self, prefix: str) -> dict[str, list[Drawing]]:
        """Class name → the drawings of one set, one of each style, the plainest style first."""
        content = self._read(f"package/json/{prefix}.json")
        words = Words.of(content)
        grouped: dict[str, dict[str, list[tuple[int, str]]]] = {}
        for name, icon in _fields(content.get("icons")).items():
            body = _fields(icon).get("body")
            # What moves is drawn in its first frame alone, which may be empty.
            if (
                not isinstance(body, str)
                or icon.get("hidden")
                or "<animate" in body
                # The renderer would draw a file of this machine.
                or _OUTSIDE.search(body)
                or _depth(body) > _DEEPEST
                or not _NAME.fullmatch(name)
            ):
                continue
            class_name, style, size = split_name(name, words)
            grouped.setdefault(class_name, {}).setdefault(style, []).append((size, name))
        result = {}
        for class_name, styles in grouped.items():
            in_order = sorted(styles, key=lambda style: (len(style), style))
            result[class_name] = [
                Drawing(prefix, name, _document(content, name))
                for name in (_one_size(styles[style]) for style in in_order)
            ]
        return result

    def _read(self, name: str) -> dict[str, Any]:
        try:
            file = self._tar.extractfile(self._members[name])
            content = json.load(file) if file else None
        except (KeyError, ValueError, *_DAMAGE) as error:
            raise DataError(
                f"{self._path}: its {name} cannot be read ({error}). {_FETCH}"
            ) from error
        if not isinstance(content, dict):
            raise DataError(f"{self._path}: its {name} is not what it should be. {_FETCH}")
        return content


def _fields(value: Any) -> dict[str, Any]:
    """A JSON object; of anything else, which the package should not have there, an empty one."""
    return value if isinstance(value, dict) else {}


def _depth(body: str) -> int:
    """How many elements of an SVG lie inside each other at the most."""
    depth = deepest = 0
    for closing, closed in _TAG.findall(body):
        if not closed:
            depth += -1 if closing else 1
            deepest = max(deepest, depth)
    return deepest


class Words(NamedTuple):
    """What names of a set end with and begin with for a style or a size, the longest first."""

    endings: list[str]
    beginnings: list[str]

    @classmethod
    def of(cls, content: dict[str, Any]) -> "Words":
        """Those that the set declares, and those that many of its names have."""
        names = _fields(content.get("icons"))
        declared = {word for word in _fields(content.get("suffixes")) if word}
        counts = collections.Counter(
            word for name in names for word in _STYLES if name.endswith(f"-{word}")
        )
        endings = declared | {w for w, count in counts.items() if count >= _OFTEN * len(names)}
        beginnings = (word for word in _fields(content.get("prefixes")) if word)
        return cls(
            sorted(endings, key=len, reverse=True), sorted(beginnings, key=len, reverse=True)
        )


def split_name(name: str, words: Words) -> tuple[str, str, int]:
    """A name → class, style and size (0 if it has none).

    Words are taken off as long as something is left. A number is a size only beside such a word or
    where the set says so: "number-24" is a class of its own.
    """
    taken: list[str] = []
    while (shorter := _without_word(name, words, bool(taken))) is not None:
        name, word = shorter
        taken += word.split("-")
    sizes = [int(part) for part in taken if _SIZE.fullmatch(part)]
    style = "-".join(sorted(part for part in taken if not _SIZE.fullmatch(part)))
    return name, style, max(sizes, default=0)


def _without_word(name: str, words: Words, beside_word: bool) -> tuple[str, str] | None:
    """The name without one word at an end, and that word; None if there is none."""
    for word in words.endings:
        if name.endswith(f"-{word}"):
            return name.removesuffix(f"-{word}"), word
    for word in words.beginnings:
        if name.startswith(f"{word}-"):
            return name.removeprefix(f"{word}-"), word
    rest, _, last = name.rpartition("-")
    return (rest, last) if rest and beside_word and _SIZE.fullmatch(last) else None


def _one_size(named: list[tuple[int, str]]) -> str:
    """The name without a size, else that of the middle size or the nearest to it."""

    def rank(sized: tuple[int, str]) -> tuple[bool, int, str]:
        size, name = sized
        return size > 0, abs(size - _MIDDLE_SIZE), name

    return min(named, key=rank)[1]


def _document(content: dict[str, Any], name: str) -> str:
    """The SVG of one drawing, black where the set leaves the colour to the page."""
    icon = content["icons"][name]
    # The icon's own, else the set's, else Iconify's defaults: 0, 0, 16 and 16.
    left, top, width, height = (
        icon.get(key, content.get(key, default))
        for key, default in (("left", 0), ("top", 0), ("width", 16), ("height", 16))
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
        f' viewBox="{left} {top} {width} {height}" color="#000">{icon["body"]}</svg>'
    )


def by_class(
    package: Package, prefixes: Iterable[str], least: int
) -> Iterator[tuple[str, list[list[Drawing]]]]:
    """Class name → for each set that has it, its drawings; in alphabetical order.

    Classes that cannot come to `least` drawings, two of each set, are left away.
    """
    classes: dict[str, list[list[Drawing]]] = collections.defaultdict(list)
    for prefix in prefixes:
        for class_name, drawings in package.drawings(prefix).items():
            classes[class_name].append(drawings)
    for class_name in sorted(classes):
        per_set = classes.pop(class_name)
        if sum(min(2, len(drawings)) for drawings in per_set) >= least:
            yield class_name, per_set
