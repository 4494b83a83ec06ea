"""What requirements.txt and the wheel give by themselves, without the packages of an extra."""

import fnmatch
import pathlib
import subprocess
import sys
import tomllib

import pytest

from tests.conftest import ROOT

HIDDEN = """
import runpy, sys
hidden, sys.argv = sys.argv[1], sys.argv[2:]
sys.modules[hidden] = None  # As if it were not installed.
runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
"""
EXPORT = str(ROOT / "no-such-folder")


def _without(package: str, *command: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-c", HIDDEN, package, *command],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.mark.parametrize(
    ("package", "command"),
    [
        ("aiohttp", ["serving.demo", "--target=localhost:1"]),
        ("aiohttp", ["serving.judge"]),
        ("tensorflow_serving", ["serving.server", f"--model_base_path={EXPORT}"]),
    ],
)
def test_the_extra_to_install_is_named_in_one_line(package, command):
    result = _without(package, *command)
    assert result.returncode == 1
    assert result.stderr == (
        f"error: {package} is not installed; the extra 'serving' has it:"
        " pip install 'figr_tf[serving]', or in a checkout pip install -e '.[serving]'\n"
    )


def test_help_needs_no_extra():
    assert "--max_seconds" in _without("aiohttp", "serving.demo", "--help").stdout


def _packaging() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]


def _matches(path: pathlib.Path, data: dict[str, list[str]]) -> bool:
    """Whether package-data has a file, named relative to the root."""
    for package, patterns in data.items():
        folder = pathlib.PurePath(*package.split("."))
        if path.is_relative_to(folder) and any(
            path.relative_to(folder).match(pattern) for pattern in patterns
        ):
            return True
    return False


def test_the_wheel_has_every_package_and_every_file_that_they_read():
    included = _packaging()["packages"]["find"]["include"]
    imported = {"figr_tf", "figr_common", "exporters", "serving"}
    assert all(any(fnmatch.fnmatch(name, i) for i in included) for name in imported)
    left_out = [
        path
        for name in imported
        for path in sorted((ROOT / name).rglob("*"))
        if path.is_file()
        and path.suffix not in (".py", ".pyc")
        and not _matches(path.relative_to(ROOT), _packaging()["package-data"])
    ]
    assert left_out == []
    modules = [path for name in imported for path in (ROOT / name).rglob("*.py")]
    assert all((path.parent / "__init__.py").exists() for path in modules)
