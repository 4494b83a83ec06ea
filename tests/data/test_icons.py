"""The builder of the icon data set, on a package that the test writes in the real one's layout."""

import hashlib
import io
import json
import pathlib
import tarfile
import zipfile

import numpy as np
import pytest
from PIL import Image

from figr_tf.core.errors import DataError
from figr_tf.data import datasets, iconify, icons

_SQUARE = '<path fill="currentColor" d="M{0} {0}h{1}v{1}h-{1}z"/>'
_RING = '<circle cx="12" cy="12" r="{0}" fill="none" stroke="currentColor" stroke-width="{1}"/>'
_MIT = {"title": "MIT", "spdx": "MIT", "url": "https://example.org/licence"}


def _square(i: int) -> dict:
    """Squares that differ from each other and from rings."""
    return {"body": _SQUARE.format(1 + i, 20 - 3 * i)}


def _ring(i: int) -> dict:
    return {"body": _RING.format(4 + i, 1 + i / 2)}


def _sets() -> dict[str, tuple[dict, dict]]:
    """Prefix → entry of collections.json, and its file: five sets that all draw a box."""
    result = {}
    for i, prefix in enumerate("abcde"):
        about = {"name": prefix.upper(), "license": _MIT, "author": {"name": f"author {prefix}"}}
        content = {
            "prefix": prefix,
            "icons": {"box": _square(i), "box-outline": _ring(i)},
            "suffixes": {"": "Fill", "outline": "Outline"},
            "width": 24,
            "height": 24,
        }
        result[prefix] = (about | {"palette": False}, content)
    return result


def _package(path: pathlib.Path, sets: dict[str, tuple[dict, dict]]) -> pathlib.Path:
    files = {
        "collections.json": {prefix: about for prefix, (about, _) in sets.items()},
        "package.json": {"version": "9.8.7"},
    }
    files |= {f"json/{prefix}.json": content for prefix, (_, content) in sets.items()}
    with tarfile.open(path, "w:gz") as tar:
        for name, content in files.items():
            data = json.dumps(content).encode()
            member = tarfile.TarInfo(f"package/{name}")
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return path


@pytest.fixture
def made(tmp_path):
    """The zip of some sets."""

    def make(sets, **form) -> zipfile.ZipFile:
        source = _package(tmp_path / "package.tgz", sets)
        icons.make(source, tmp_path / "icons.zip", icons.Form(**form))
        return zipfile.ZipFile(tmp_path / "icons.zip")

    return make


def _image(archive: zipfile.ZipFile, name: str) -> np.ndarray:
    with Image.open(io.BytesIO(archive.read(name))) as image:
        return np.asarray(image)


def test_drawings_of_a_name_are_a_class_in_figr8s_layout_with_their_sources(made):
    archive = made(_sets())
    assert archive.namelist() == [
        *(f"Data/box/{p}-box{style}.png" for p in "abcde" for style in ("", "-outline")),
        "SOURCES.txt",
    ]
    sources = archive.read("SOURCES.txt").decode().splitlines()
    assert "9.8.7" in sources[0]
    assert sources[1] == "a: A, MIT, author a, https://example.org/licence"
    assert len(sources) == 6
    box = _image(archive, "Data/box/a-box.png")
    assert box.shape == (64, 64)
    inside = box[8:-12, 8:-12]
    assert inside.max() < 10  # The page's colour is black,
    assert box[0].min() == 255  # and its paper white.


def test_the_same_package_gives_the_same_bytes(made, tmp_path):
    digests = []
    for _ in range(2):
        made(_sets())
        digests.append(hashlib.sha256((tmp_path / "icons.zip").read_bytes()).hexdigest())
    assert digests[0] == digests[1]


def test_what_was_made_is_loaded_as_a_data_set(made, tmp_path):
    sets = _sets()
    for i, (_, content) in enumerate(sets.values()):
        content["icons"] |= {"wheel": _ring(5 - i), "wheel-outline": _square(i)}
    made(sets)
    settings = datasets.DataSettings(
        "icons", str(tmp_path / "icons.zip"), image_size=16, cache_dir=str(tmp_path / "cache")
    )
    assert datasets.load_dataset(settings, 8).data.counts == {"box": 10, "wheel": 10}


def test_a_set_gives_two_styles_the_first_and_the_one_that_differs_most(made):
    sets = _sets()
    content = sets["a"][1]
    content["icons"]["box-bold"] = {"body": _SQUARE.format(1, 19)}
    content["suffixes"]["bold"] = "Bold"
    names = [n for n in made(sets).namelist() if n.startswith("Data/box/a-")]
    assert names == ["Data/box/a-box.png", "Data/box/a-box-outline.png"]


def test_drawings_nearly_the_same_as_one_of_another_set_are_dropped(made):
    sets = _sets()
    sets["e"][1]["icons"]["box"] = {"body": _SQUARE.format(1.1, 20)}  # That of a, a little moved.
    names = made(sets).namelist()
    assert "Data/box/e-box.png" not in names
    assert "Data/box/e-box-outline.png" in names


def test_small_classes_blank_moving_and_hidden_drawings_are_left_away(made):
    sets = _sets()
    for _, content in sets.values():
        content["icons"]["rare"] = _square(0)
    for body in ('<path d=""/>', '<g><animate attributeName="x"/>' + _square(0)["body"] + "</g>"):
        sets["a"][1]["icons"]["box"] = {"body": body}
        names = made(sets).namelist()
        assert "Data/box/a-box.png" not in names
        assert not any("rare" in name for name in names)
    sets["a"][1]["icons"]["box"] = _square(0) | {"hidden": True}
    assert "Data/box/a-box.png" not in made(sets).namelist()


def test_sets_without_a_licence_or_with_one_that_forbids_are_named_and_left_out(made, caplog):
    sets = _sets()
    del sets["d"][0]["license"]
    sets["e"][0]["license"] = {"title": "NC", "spdx": "CC-BY-NC-4.0"}
    archive = made(sets, min_drawings=6)
    assert {name.split("/")[-1][0] for name in archive.namelist()[:-1]} == {"a", "b", "c"}
    assert "set d: states no licence" in caplog.text
    assert "sets under other licences: e (CC-BY-NC-4.0)" in caplog.text


def test_a_drawing_that_does_not_render_is_named_and_left_out(made, caplog):
    sets = _sets()
    sets["a"][1]["icons"]["box"] = {"body": "<path d="}
    assert "Data/box/a-box.png" not in made(sets).namelist()
    assert "left out 1 drawings that do not render: a:box (" in caplog.text


def test_coloured_sets_keep_their_colours(made):
    sets = _sets()
    for i, (about, content) in enumerate(sets.values()):
        about["palette"] = True
        content["icons"]["box"]["body"] = f'<path fill="red" d="M{1 + i} 2h{8 + i}v18h-9z"/>'
    with pytest.raises(DataError, match="no set of it can be used"):
        made(sets)
    box = _image(made(sets, colour=True), "Data/box/a-box.png")
    assert box.shape == (64, 64, 3)
    assert (box[20, 12] == (255, 0, 0)).all()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda path: path.write_bytes(b"no tarball"), "not a tarball"),
        (lambda path: path.write_bytes(path.read_bytes()[:400]), "not a tarball|cannot be read"),
        (lambda path: tarfile.open(path, "w:gz").close(), "not the package @iconify/json"),
        (lambda path: _package(path, _sets() | {"f": ({"license": _MIT}, [])}), "not what it"),
        (lambda path: _package(path, dict(list(_sets().items())[:3])), "no class has 8 drawings"),
    ],
)
def test_what_is_not_the_package_is_one_line_and_leaves_nothing_behind(tmp_path, damage, message):
    source = _package(tmp_path / "package.tgz", _sets())
    damage(source)
    (tmp_path / "icons.zip").write_bytes(b"of last time")
    with pytest.raises(DataError, match=message) as caught:
        icons.make(source, tmp_path / "icons.zip", icons.Form())
    assert "\n" not in str(caught.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["icons.zip", "package.tgz"]
    assert (tmp_path / "icons.zip").read_bytes() == b"of last time"


def test_bytes_changed_anywhere_in_the_package_are_one_line_or_nothing(tmp_path):
    rng = np.random.default_rng(0)
    whole = _package(tmp_path / "package.tgz", _sets()).read_bytes()
    refusals = []
    for _ in range(60):
        damaged = bytearray(whole)
        for place in rng.integers(0, len(whole), 3):
            damaged[place] = rng.integers(256)
        (tmp_path / "package.tgz").write_bytes(damaged)
        try:
            icons.make(tmp_path / "package.tgz", tmp_path / "icons.zip", icons.Form(16))
        except DataError as error:
            refusals.append(str(error))
    assert refusals
    assert not any("\n" in refusal for refusal in refusals)


@pytest.mark.parametrize(
    ("key", "value"), [("author", None), ("author", "A. Uthor"), ("license", "MIT"), (None, None)]
)
def test_odd_facts_of_a_set_are_no_facts(made, key, value):
    sets = _sets()
    about, content = sets["a"]
    sets["a"] = (about | {key: value} if key else None, content)
    sources = made(sets).read("SOURCES.txt").decode()
    # One without a licence is left out.
    assert ("a: A, MIT, unknown author" in sources) == (key == "author")


@pytest.mark.parametrize(
    "icon",
    [
        None,
        "a body",
        {},
        {"body": 3},
        {"body": "<g>" * 500 + _square(0)["body"] + "</g>" * 500},
        {"body": '<image href="/etc/passwd" width="9" height="9"/>' + _square(0)["body"]},
    ],
)
def test_what_is_no_drawing_of_the_package_alone_is_left_away(made, icon):
    sets = _sets()
    sets["a"][1]["icons"]["box"] = icon
    assert "Data/box/a-box.png" not in made(sets).namelist()


def test_a_package_that_lacks_a_set_is_refused(tmp_path):
    source = _package(tmp_path / "package.tgz", _sets() | {"../../f": _sets()["a"]})
    with pytest.raises(
        DataError, match=r"lacks the drawings of 1 of its sets, such as json/../../f"
    ):
        icons.make(source, tmp_path / "icons.zip", icons.Form())


def test_two_sets_whose_names_run_together_keep_a_drawing_each(made):
    """The set a-box with an icon "box", and a with one that loses the beginning "box-"."""
    sets = _sets()
    about, content = sets["a"]
    content["icons"]["box-box"] = content["icons"].pop("box-outline")
    content["prefixes"] = {"box": "Box"}
    sets["a-box"] = (about, content | {"icons": {"box": _ring(7)}})
    names = made(sets).namelist()
    assert len(names) == len(set(names))
    assert {"Data/box/a-box-box.png", "Data/box/a-box--box.png"} <= set(names)


def test_a_wide_drawing_is_padded_and_not_squashed(made):
    sets = _sets()
    sets["a"][1].update(width=48)
    box = _image(made(sets), "Data/box/a-box.png")
    assert box.shape == (64, 64)
    assert box[:14].min() == 255
    assert box[-14:].min() == 255


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("umbrella", ("umbrella", "", 0)),
        ("umbrella-20-filled", ("umbrella", "filled", 20)),
        ("umbrella-line-duotone", ("umbrella", "duotone-line", 0)),
        ("round-umbrella", ("umbrella", "round", 0)),
        ("number-24", ("number-24", "", 0)),
        ("dice-6-filled", ("dice-6", "filled", 0)),
        ("chart-stroke", ("chart-stroke", "", 0)),
        ("filled", ("filled", "", 0)),
    ],
)
def test_a_name_is_taken_apart_into_class_style_and_size(name, expected):
    words = iconify.Words(["duotone", "filled", "line"], ["round"])
    assert iconify.split_name(name, words) == expected


def test_a_word_that_is_a_style_elsewhere_belongs_to_the_name_where_a_set_uses_it_rarely():
    often = {f"thing{i}-line": {} for i in range(10)}
    rarely = {f"thing{i}": {} for i in range(99)} | {"chart-line": {}}
    assert iconify.Words.of({"icons": often}).endings == ["line"]
    assert iconify.Words.of({"icons": rarely}).endings == []
