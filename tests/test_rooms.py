"""Which part of the project may import which: the walls of its rooms, read off the source."""

import ast
import pathlib

import pytest

from tests.conftest import ROOT

PACKAGE = ROOT / "figr_tf"
# Every other package of figr_tf is a system: one thing that is trained.
COMMON = {"core", "data", "evaluation", "pretrained"}
SYSTEMS = sorted(
    path.parent.name for path in PACKAGE.glob("*/__init__.py") if path.parent.name not in COMMON
)
CLIENTS = (
    *("client", "remote", "protocol", "tensors", "errors"),
    *("transports", "grpc_transport", "rest_transport"),
)


def _imports(file: pathlib.Path) -> set[str]:
    """Full names of all that a file imports anywhere, within functions and for types too."""
    package = file.relative_to(ROOT).with_suffix("").parts[:-1]
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join([*base, *([node.module] if node.module else [])])
            found |= {f"{module}.{alias.name}" for alias in node.names}
    return found


def _is_within(name: str, packages: tuple[str, ...]) -> bool:
    return any(name == package or name.startswith(package + ".") for package in packages)


def _strangers(files, home: str, allowed: tuple[str, ...] = ()) -> list[str]:
    """Imports below `home` that are in none of the `allowed` packages."""
    return [
        f"{file.relative_to(ROOT)}: {name}"
        for file in files
        for name in sorted(_imports(file))
        if _is_within(name, (home,)) and not _is_within(name, allowed)
    ]


def _files(package: str) -> list[pathlib.Path]:
    files = sorted((PACKAGE / package).rglob("*.py"))
    assert files  # A room that moved would otherwise pass for a tidy one.
    return files


def test_the_core_imports_nothing_of_figr_tf_but_itself():
    assert _strangers(_files("core"), "figr_tf", ("figr_tf.core",)) == []


def test_the_data_imports_nothing_of_figr_tf_but_itself_and_the_core():
    assert _strangers(_files("data"), "figr_tf", ("figr_tf.core", "figr_tf.data")) == []


@pytest.mark.parametrize("system", SYSTEMS)
def test_a_system_imports_no_other_system(system):
    others = (f"figr_tf.{other}" for other in SYSTEMS if other != system)
    assert [stranger for other in others for stranger in _strangers(_files(system), other)] == []


@pytest.mark.parametrize("system", SYSTEMS)
def test_a_system_does_not_know_how_it_is_judged(system):
    assert _strangers(_files(system), "figr_tf.evaluation") == []


@pytest.mark.parametrize("package", ["exporters", "serving"])
def test_nothing_in_figr_tf_imports_what_exports_or_serves_it(package):
    assert _strangers(sorted(PACKAGE.rglob("*.py")), package) == []


@pytest.mark.parametrize("package", ["tensorflow", "figr_tf"])
def test_a_client_of_the_server_needs_neither_tensorflow_nor_figr_tf(package):
    files = [ROOT / "serving" / f"{name}.py" for name in CLIENTS]
    assert _strangers(files, package) == []


def test_the_systems_are_the_packages_that_hold_one():
    holders = {file.parent.name for file in PACKAGE.glob("*/system.py")}
    assert holders - {"core"} == set(SYSTEMS)
    assert {"gan", "warp"} <= set(SYSTEMS)


def test_an_import_is_seen_wherever_it_stands_and_however_it_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr("tests.test_rooms.ROOT", tmp_path)
    lines = (
        "from . import near",
        "from ..gan.convolutions import plain",
        "if True:\n    import figr_tf.core.runs as kept",
        "def late():\n    from figr_tf import models",
    )
    file = tmp_path / "figr_tf/warp/file.py"
    file.parent.mkdir(parents=True)
    file.write_text("\n".join(lines))
    expected = {"warp.near", "gan.convolutions.plain", "core.runs", "models"}
    assert _imports(file) == {f"figr_tf.{name}" for name in expected}
    assert _strangers([file], "figr_tf.gan") == [
        "figr_tf/warp/file.py: figr_tf.gan.convolutions.plain",
    ]
