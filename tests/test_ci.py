"""What CI does before the tests, and what it says of tests that were skipped."""

import shutil
import stat
import subprocess
import types

import pytest

from tests import conftest

TESTS = ["make test", "make test-whole"]
TOOLS = ("bash", "dirname", "env", "tail", "timeout", "chmod")
# What an apt-get that works does, after it has been asked to install something.
INSTALLS = 'case "$*" in *install*) echo > "${0%/*}/chromium"; chmod +x "${0%/*}/chromium";; esac'


@pytest.fixture
def machine(tmp_path):
    """Runs CI's script where there are these tools, a `make` that notes its goal, and what a test
    adds: machine(name=script) → exit status, output, what was called."""

    def add(name: str, script: str) -> None:
        path = tmp_path / "bin" / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)

    (tmp_path / "bin").mkdir()
    for name in TOOLS:
        (tmp_path / "bin" / name).symlink_to(shutil.which(name))
    note = f'echo "${{0##*/}} $*" >> {tmp_path / "calls"}'

    def run(**commands: str):
        for name, script in {"make": "", "id": "echo 0", **commands}.items():
            (tmp_path / "bin" / name.replace("_", "-")).unlink(missing_ok=True)
            add(name.replace("_", "-"), script if name == "id" else f"{note}\n{script}")
        environment = {"PATH": str(tmp_path / "bin"), "HOME": str(tmp_path)}
        script = [shutil.which("bash"), str(conftest.ROOT / ".ci/run")]
        result = subprocess.run(script, env=environment, capture_output=True, text=True, timeout=60)
        calls = (tmp_path / "calls").read_text().splitlines()
        return result.returncode, result.stdout + result.stderr, calls

    return run


@pytest.mark.parametrize("browser", ["chromium", "chromium_headless_shell", "google_chrome"])
def test_with_a_browser_nothing_is_installed(machine, browser):
    assert machine(**{browser: "", "apt_get": "exit 1"}) == (0, "", TESTS)


def test_without_one_debians_is_installed_quietly_and_without_questions(machine):
    asked = '[ "$DEBIAN_FRONTEND" = noninteractive ] && ! read answer'
    status, output, calls = machine(apt_get=f"echo Reading; {asked} && {INSTALLS}")
    assert (status, output) == (0, "installing Chromium for the tests of the page\n")
    assert [call.split()[0] for call in calls] == ["apt-get", "apt-get", "make", "make"]
    assert calls[0].endswith(" update")
    assert calls[1].endswith(" install -y --no-install-recommends chromium-headless-shell")


def test_where_the_small_package_does_not_exist_the_whole_browser_is_installed(machine):
    status, output, calls = machine(
        apt_get=f'case "$*" in *headless*) echo E: No such package; exit 100;; esac; {INSTALLS}'
    )
    assert status == 0
    assert "no Chromium" not in output
    assert calls[-3].endswith(" install -y --no-install-recommends chromium")
    assert calls[-2:] == TESTS


@pytest.mark.parametrize(
    "commands",
    [{}, {"apt_get": "echo E: no network; exit 100"}, {"id": "echo 1000", "apt_get": ""}],
)
def test_where_none_can_be_installed_a_sentence_says_so_and_the_tests_run(machine, commands):
    status, output, calls = machine(**commands)
    assert status == 0
    assert "no Chromium could be installed: the tests of the page are skipped\n" in output
    assert calls[-2:] == TESTS


def test_failing_tests_fail_ci(machine):
    assert machine(chromium="", make="exit 2")[0] == 2


def test_what_is_skipped_is_counted_by_reason():
    reasons = ["Skipped: no browser", "no server", "Skipped: no browser"]
    skipped = [types.SimpleNamespace(longrepr=("test_it.py", 1, reason)) for reason in reasons]
    lines: list[str] = []
    terminal = types.SimpleNamespace(stats={"skipped": skipped}, write_line=lines.append)
    conftest.pytest_terminal_summary(terminal)
    assert lines == ["2 skipped: no browser", "1 skipped: no server"]
