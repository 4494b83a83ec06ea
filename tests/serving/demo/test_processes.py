"""`python -m serving.demo` as a process, in front of a server or with the model in it."""

import http.client
import json
import os
import pathlib
import signal
import subprocess
import sys
import urllib.parse
import urllib.request

import numpy as np
import psutil
import pytest
from PIL import Image
from playwright.sync_api import expect

from tests.conftest import ROOT
from tests.serving import processes
from tests.serving.demo import fakes, hand
from tests.serving.demo.conftest import start_demo

pytestmark = pytest.mark.whole


def _generate(url: str, **fields) -> dict:
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(
        f"{url}api/generate", json.dumps(fakes.body(**fields)).encode(), headers
    )
    with urllib.request.urlopen(request, timeout=processes.START_TIMEOUT) as reply:
        return json.load(reply)


def _loaded(process: subprocess.Popen, name: str) -> bool:
    return any(name in mapped.path for mapped in psutil.Process(process.pid).memory_maps())


def test_with_a_target_tensorflow_is_not_loaded_and_nothing_drawn_is_printed(target):
    with start_demo(f"--target={target.grpc}") as demo:
        assert len(_generate(demo.url)["images"]) == 3
        with pytest.raises(urllib.error.HTTPError):
            _generate(demo.url, num_samples=-1)
        assert not _loaded(demo.process, "libtensorflow")
        demo.process.send_signal(signal.SIGTERM)
        output, _ = demo.process.communicate(timeout=processes.PATIENCE)
        assert demo.process.returncode == 0
        assert output == ""


def test_without_one_the_model_runs_in_the_process_and_gives_what_the_server_gives(stub, target):
    with (
        start_demo(f"--model_base_path={stub}") as demo,
        start_demo(f"--target={target.grpc}") as other,
    ):
        assert _loaded(demo.process, "libtensorflow")
        connections = psutil.Process(demo.process.pid).net_connections()
        listening = {
            c.laddr.ip.removeprefix("::ffff:") for c in connections if c.status == "LISTEN"
        }
        assert listening == {"127.0.0.1"}
        assert _generate(demo.url)["images"] == _generate(other.url)["images"]
        demo.process.send_signal(signal.SIGINT)
        assert demo.process.wait(processes.PATIENCE) == 0


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["--model_base_path=nowhere"], "no exported model there"),
        (["--model_base_path=a", "--target=b:1"], "give one of them"),
        (["--target=127.0.0.1:1", "--port={taken}"], "choose another with --port"),
        (["--target=127.0.0.1:1", "stray"], "unexpected argument"),
    ],
)
def test_what_cannot_work_is_one_line(target, flags, says):
    taken = target.grpc.rpartition(":")[2]
    command = [sys.executable, "-m", "serving.demo", *(flag.format(taken=taken) for flag in flags)]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=processes.START_TIMEOUT
    )
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert says in done.stderr


def test_a_visitor_who_goes_away_cancels_what_runs_for_them():
    with start_demo(module="tests.serving.demo.held") as demo:
        address = urllib.parse.urlsplit(demo.url)

        def present() -> int:
            with urllib.request.urlopen(
                f"{demo.url}api/model", timeout=processes.START_TIMEOUT
            ) as reply:
                return json.load(reply)["present"]

        connection = http.client.HTTPConnection(address.hostname, address.port)
        connection.request(
            "POST", "/api/generate", json.dumps(fakes.body()), {"Content-Type": "application/json"}
        )
        processes.wait_for(lambda: present() == 1)
        connection.close()
        processes.wait_for(lambda: present() == 0)


def test_without_a_server_the_gateway_starts_and_says_so():
    with start_demo("--target=127.0.0.1:1") as demo:
        with pytest.raises(urllib.error.HTTPError) as refused:
            _generate(demo.url)
        assert refused.value.code == 503
        assert refused.value.headers["Retry-After"]
        assert "No server answers at 127.0.0.1:1" in json.load(refused.value)["error"]


@pytest.mark.slow
def test_the_page_notices_that_gateway_or_model_are_gone_and_goes_on_when_they_are_back(
    visit, stub
):
    port, page_port = processes.free_port(), processes.free_port()
    with start_demo(f"--target=127.0.0.1:{port}", port=page_port) as demo:
        page = visit(demo.url)
        expect(page.get_by_role("alert")).to_contain_text("No server answers")
        with processes.start_embedded(stub, port=port):
            page.get_by_label("Example: Hook").click()
            hand.expect_drawings(page)
        page.get_by_label("Seed").fill("5")
        expect(page.get_by_role("alert")).to_contain_text("Trying again by itself.")
        with processes.start_embedded(stub, port=port):
            expect(page.get_by_role("alert")).to_be_hidden()
            hand.expect_drawings(page)
            demo.process.kill()
            demo.process.wait()
            page.get_by_label("Seed").fill("6")
            expect(page.get_by_role("alert")).to_contain_text(
                "The server of this page does not answer."
            )
            with start_demo(f"--target=127.0.0.1:{port}", port=page_port):
                expect(page.get_by_role("alert")).to_be_hidden()
                hand.expect_drawings(page)


def test_the_copied_commands_run_and_give_the_same_picture(visit, target, tmp_path):
    pictures = []
    with start_demo(f"--target={target.grpc}") as demo:
        page = visit(demo.url)
        page.get_by_label("Example: Hook").click()
        hand.expect_drawings(page, 64, 2)
        for name in ("curl", "Python"):
            page.get_by_role("button", name=f"Copy as {name}").click()
            expect(page.get_by_role("status")).to_have_text(
                "Copied. Paste it where you want to run it."
            )
            snippet = page.evaluate("() => navigator.clipboard.readText()")
            folder = tmp_path / name
            folder.mkdir()
            pictures.append(_run(snippet, name, folder))
        support = hand.pixels(page, "#support canvas")
    assert (pictures[0] == pictures[1]).all()
    np.testing.assert_array_equal(pictures[0][2:34:2, 2:34:2, 0], support)


def _run(snippet: str, name: str, folder: pathlib.Path) -> np.ndarray:
    command = ["bash", "-c", snippet] if name == "curl" else [sys.executable, "-c", snippet]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    subprocess.run(
        command,
        cwd=folder,
        env=environment,
        check=True,
        capture_output=True,
        timeout=processes.START_TIMEOUT,
    )
    return np.asarray(Image.open(folder / "figr.png"))
