"""Parts of the embedded server in this process: what is loaded, what is not, and the door."""

import threading
import time

import pytest

from serving.embedded.admission import Admission
from serving.embedded.servable import Servable
from serving.embedded.versions import ModelVersions, newest_version
from serving.errors import ServingError
from tests.serving import stub_model
from tests.serving.processes import PATIENCE, wait_for


def test_a_version_whose_warm_up_fails_is_not_loaded(tmp_path):
    path = stub_model.export(tmp_path / "3", warm_up=[stub_model.warm_up_request(num_samples=0)])
    with pytest.raises(ServingError, match="record 0 fails: num_samples must lie in"):
        Servable("figr", path)


def test_a_warm_up_file_that_is_cut_short_is_not_loaded(tmp_path):
    path = stub_model.export(tmp_path / "3", warm_up=[stub_model.warm_up_request()])
    file = path / "assets.extra/tf_serving_warmup_requests"
    file.write_bytes(file.read_bytes()[:-10])
    with pytest.raises(ServingError, match="middle of a record"):
        Servable("figr", path)


def test_a_warm_up_file_with_a_damaged_record_is_not_loaded(tmp_path):
    path = stub_model.export(tmp_path / "3", warm_up=[stub_model.warm_up_request()])
    file = path / "assets.extra/tf_serving_warmup_requests"
    data = bytearray(file.read_bytes())
    data[12:-4] = b"\xff" * len(data[12:-4])
    file.write_bytes(data)
    with pytest.raises(ServingError, match="holds a damaged record"):
        Servable("figr", path)


def test_a_version_with_batching_parameters_is_refused(tmp_path):
    (tmp_path / "1").mkdir()
    (tmp_path / "1/batching_params.pbtxt").touch()
    with pytest.raises(ServingError, match="Remove it"):
        Servable("figr", tmp_path / "1")


def test_a_folder_that_is_no_saved_model_is_refused(tmp_path):
    (tmp_path / "1").mkdir()
    with pytest.raises(ServingError, match="SavedModel"):
        Servable("figr", tmp_path / "1")


def test_the_highest_whole_number_is_the_newest_version(tmp_path):
    for name in ("9", "10", "11.tmp", "temp-12", ".13", "x"):
        (tmp_path / name).mkdir()
    (tmp_path / "14").touch()
    assert newest_version(tmp_path) == tmp_path / "10"
    assert newest_version(tmp_path / "none") is None


class _Fake:
    """A servable that records when it is closed."""

    def __init__(self, path):
        if path.name == "13" and not (path / "the rest").exists():
            raise ServingError("INTERNAL", "broken")
        if path.name == "15":
            raise OSError("disk on fire")
        self.version = int(path.name)
        self.closed = threading.Event()

    def close(self):
        self.closed.set()


@pytest.fixture
def fake_versions(tmp_path):
    (tmp_path / "1").mkdir()
    versions = ModelVersions(tmp_path, _Fake, poll_seconds=0.01)
    versions.start()
    yield versions
    assert versions.stop(PATIENCE)


def test_the_old_version_stays_until_its_last_request_is_answered(fake_versions, tmp_path):
    with fake_versions.use(None) as old:
        (tmp_path / "2").mkdir()
        wait_for(lambda: fake_versions.statuses()[-1].state == "UNLOADING")
        with fake_versions.use(None) as new:
            assert new.version == 2
        assert not old.closed.is_set()
    assert old.closed.wait(PATIENCE)
    wait_for(lambda: fake_versions.statuses()[-1].state == "END")


def test_a_new_version_that_does_not_load_leaves_the_old_one_serving(fake_versions, tmp_path):
    (tmp_path / "13").mkdir()
    wait_for(lambda: fake_versions.statuses()[0] == (13, "END", "broken"))
    with fake_versions.use(None) as servable:
        assert servable.version == 1
    (tmp_path / "14").mkdir()
    wait_for(lambda: fake_versions.statuses()[0].state == "AVAILABLE")
    # Nor does what nobody has thought of end the watch.
    (tmp_path / "15").mkdir()
    wait_for(lambda: "disk on fire" in fake_versions.statuses()[0].error)
    (tmp_path / "16").mkdir()
    wait_for(lambda: fake_versions.statuses()[0][:2] == (16, "AVAILABLE"))


def test_a_version_that_failed_is_tried_again_once_it_has_changed(fake_versions, tmp_path):
    (tmp_path / "13").mkdir()
    wait_for(lambda: fake_versions.statuses()[0] == (13, "END", "broken"))
    (tmp_path / "13/the rest").touch()
    wait_for(lambda: fake_versions.statuses()[0] == (13, "AVAILABLE", ""))


def test_taking_the_newest_version_away_brings_the_one_before_back(fake_versions, tmp_path):
    (tmp_path / "2").mkdir()
    wait_for(lambda: fake_versions.statuses()[-1].state == "END")
    (tmp_path / "2").rmdir()
    wait_for(lambda: fake_versions.statuses()[-1].state == "AVAILABLE")


def test_the_door_counts_those_inside_and_those_that_wait():
    door = Admission(max_running=1, max_queued=0)
    with door.place(time.monotonic() + PATIENCE):
        with (
            pytest.raises(ServingError, match="1 requests run and 0 wait"),
            door.place(time.monotonic() + PATIENCE),
        ):
            pass
        assert not door.wait_until_idle(0.01)
    with pytest.raises(ZeroDivisionError), door.place(time.monotonic()):
        1 / 0  # noqa: B018
    assert door.wait_until_idle(0)
    door.close()
    with pytest.raises(ServingError, match="stopping"), door.place(time.monotonic() + PATIENCE):
        pass
