"""The run folder: numbering, recognition, refusal."""

import dataclasses
import json
import math

import pytest

from figr_tf.core import checkpoints, runs, training
from figr_tf.core.errors import RunError
from figr_tf.core.runs import RunFolder
from figr_tf.core.settings import full_identity
from figr_tf.data.splits import Split
from figr_tf.gan.adaptation import InnerSettings
from figr_tf.gan.settings import Settings
from tests import conftest
from tests.conftest import identity_of
from tests.core.quadratic import QuadraticSettings, QuadraticSystem


@pytest.fixture
def record(tiny_settings, tiny_dataset):
    def record(folder: RunFolder, settings: Settings = tiny_settings) -> RunFolder:
        conftest.record(folder, settings, tiny_dataset)
        return folder

    return record


@pytest.fixture
def find(tmp_path, tiny_dataset):
    def find(settings: Settings, dataset=tiny_dataset) -> RunFolder:
        return runs.find_or_number(tmp_path, settings, identity_of(settings, dataset))

    return find


def _pretend_checkpoint(folder: RunFolder, step: int) -> None:
    (folder.checkpoints / f"ckpt-{step:09d}.index").touch()
    folder.grid(step).touch()


def test_settings_and_split_survive_the_folder(tmp_path, tiny_settings, tiny_dataset, record):
    folder = record(RunFolder(tmp_path / "run"))
    assert folder.read_settings(Settings) == tiny_settings
    assert Split.of_run(folder.path) == tiny_dataset.split
    versions = json.loads((tmp_path / "run/starts.jsonl").read_text())
    assert {"tensorflow", "keras", "python", "created"} <= set(versions)


def test_folders_are_numbered_and_named(tmp_path, tiny_settings, record, find):
    first = record(find(tiny_settings))
    second = find(dataclasses.replace(tiny_settings, seed=1))
    assert first.path.name == "00001-glyphs-resnet-h2"
    assert second.path.name == "00002-glyphs-resnet-h2"


def test_an_unfinished_run_of_the_same_settings_is_found_again(
    tmp_path, tiny_settings, record, find
):
    first = record(find(tiny_settings))
    first.unlock()
    _pretend_checkpoint(first, 4)
    watched_more_closely = dataclasses.replace(
        tiny_settings, log_every=1, eval_every=1, num_meta_steps=100
    )
    assert find(watched_more_closely).path == first.path


def test_a_finished_run_is_not_continued_but_a_new_one_begun(tmp_path, tiny_settings, record, find):
    first = record(find(tiny_settings))
    first.unlock()
    _pretend_checkpoint(first, tiny_settings.num_meta_steps)
    assert find(tiny_settings).path != first.path


def test_a_run_on_other_data_is_not_continued_but_a_new_one_begun(
    tmp_path, tiny_settings, tiny_dataset, record, find
):
    first = record(find(tiny_settings))
    first.unlock()
    _pretend_checkpoint(first, 4)
    other = tiny_dataset._replace(
        data=tiny_dataset.data._replace(images=255 - tiny_dataset.data.images)
    )
    assert find(tiny_settings, other).path != first.path
    assert find(tiny_settings).path == first.path


def test_a_run_with_work_in_it_that_cannot_be_continued_is_named_before_a_new_one_begins(
    tmp_path, tiny_settings, record, find, caplog
):
    first = record(find(tiny_settings))
    first.unlock()
    _pretend_checkpoint(first, 4)
    (first.path / "identity.json").write_text("")
    assert find(tiny_settings).path != first.path
    assert "not continued" in caplog.text
    assert "identity.json cannot be read" in caplog.text


def test_other_folders_beside_the_runs_do_not_matter(tmp_path, tiny_settings, find):
    for name in ("3d-models", "notes", "00007-old"):
        (tmp_path / name).mkdir()
    assert find(tiny_settings).path.name == "00008-glyphs-resnet-h2"


def test_a_chosen_folder_that_a_kill_left_half_recorded_is_taken_again(
    tmp_path, tiny_settings, record
):
    folder = record(RunFolder(tmp_path / "run"))
    (folder.path / "identity.json").unlink()
    runs.at_path(folder.path, tiny_settings, {}).unlock()


def test_a_longer_run_records_its_new_length(tmp_path, tiny_settings, tiny_dataset, record):
    folder = record(RunFolder(tmp_path / "run"))
    record(folder, dataclasses.replace(tiny_settings, num_meta_steps=99))
    assert folder.read_settings(Settings).num_meta_steps == 99
    assert len((folder.path / "starts.jsonl").read_text().splitlines()) == 2


def test_the_polarity_of_what_is_generated_is_recorded(tmp_path, record):
    assert record(RunFolder(tmp_path / "run")).read_identity()["generated_ink"] == -1.0


def test_a_run_in_use_is_left_alone(tmp_path, tiny_settings, record, find):
    first = record(find(tiny_settings))  # and still locked
    assert find(tiny_settings).path != first.path
    with pytest.raises(RunError, match="another process is training"):
        runs.at_path(first.path, tiny_settings, first.read_identity())


def test_a_packaged_model_is_not_trained_on(tmp_path, tiny_settings, record, find):
    first = record(find(tiny_settings))
    first.unlock()
    (first.path / runs.PACKAGE_RECORD).write_text("{}")
    with pytest.raises(RunError, match=f"{first.path.name}: is a packaged model"):
        runs.at_path(first.path, tiny_settings, first.read_identity())
    assert find(tiny_settings).path != first.path


def test_a_chosen_path_that_holds_something_else_is_refused(tmp_path, tiny_settings):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/cat.png").touch()
    with pytest.raises(RunError, match="photos: exists but is not a run folder"):
        runs.at_path(tmp_path / "photos", tiny_settings, {})


@pytest.mark.parametrize(
    ("change", "same"),
    [
        (
            {
                "log_every": 7,
                "eval_every": 7,
                "checkpoint_every": 7,
                "jit_compile": "on",
                "num_meta_steps": 99,
            },
            True,
        ),
        ({"num_shots": 3}, False),
        ({"seed": 1}, False),
        ({"inner": InnerSettings(learning_rate=0.5)}, False),
        ({"anneal_meta_learning_rate": True}, False),
    ],
)
def test_identity_is_what_the_weights_depend_on(tiny_settings, change, same):
    assert (
        dataclasses.replace(tiny_settings, **change).identity() == tiny_settings.identity()
    ) is same


def test_the_length_of_an_annealed_run_is_part_of_its_identity(tiny_settings):
    annealed = dataclasses.replace(tiny_settings, anneal_meta_learning_rate=True)
    assert dataclasses.replace(annealed, num_meta_steps=99).identity() != annealed.identity()


def test_where_the_data_lies_is_not_part_of_the_identity(tiny_settings):
    folder = dataclasses.replace(tiny_settings.data, dataset="folder", data_dir="/here")
    moved = dataclasses.replace(folder, data_dir="/elsewhere", cache_dir="/elsewhere")
    first, second = (
        dataclasses.replace(tiny_settings, data=data).identity() for data in (folder, moved)
    )
    assert first == second


@pytest.mark.parametrize("damage", ["{", "{}", '{"data": 3}'])
def test_a_damaged_record_is_one_line(tmp_path, record, damage):
    folder = record(RunFolder(tmp_path / "run"))
    (folder.path / "settings.json").write_text(damage)
    with pytest.raises(RunError, match=r"settings(\.json)? cannot be read"):
        folder.read_settings(Settings)


def test_an_altered_split_is_refused(tmp_path, record):
    folder = record(RunFolder(tmp_path / "run"))
    path = folder.path / "split.json"
    path.write_text(path.read_text().replace("glyph4", "glyph9"))
    with pytest.raises(RunError, match="altered"):
        Split.of_run(folder.path)


@pytest.mark.parametrize("text", ["[]", "null", "{", "7"])
def test_a_record_that_is_none_is_refused(tmp_path, text):
    (tmp_path / "identity.json").write_text(text)
    with pytest.raises(RunError, match=r"its identity\.json cannot be read"):
        RunFolder(tmp_path).read_settings(Settings)


def test_a_folder_that_is_no_run_is_refused(tmp_path):
    with pytest.raises(RunError, match=r"not a run folder \(no identity\.json\)"):
        RunFolder(tmp_path).read_settings(Settings)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_shots": 0}, "num_shots must be 1 or more. Received: 0"),
        ({"meta_learning_rate": -1.0}, "meta_learning_rate must be 0 or more"),
        ({"meta_learning_rate": math.nan}, "meta_learning_rate must be 0 or more. Received: nan"),
        ({"meta_learning_rate": math.inf}, "meta_learning_rate must be 0 or more. Received: inf"),
        ({"jit_compile": "maybe"}, "jit_compile"),
    ],
)
def test_impossible_settings_are_refused(tiny_settings, change, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(tiny_settings, **change)


def test_a_run_below_a_folder_whose_name_is_a_pattern_is_restored(tmp_path, caplog):
    settings = QuadraticSettings(num_meta_steps=2, eval_every=9, meta_steps_per_call=1)
    identity = full_identity(settings, {}, False)
    folder = runs.at_path(tmp_path / "run[1]", settings, identity)
    folder.record(settings, identity, {})
    trained = training.train(QuadraticSystem, settings, folder, identity)
    twin = QuadraticSystem(seed=1)
    taken = checkpoints.restore_weights(
        folder.checkpoints, twin.meta_weights, identity, twin.carried
    )
    assert taken == 2
    pairs = zip(trained.meta_weights["first"], twin.meta_weights["first"], strict=True)
    assert all((a.numpy() == b.numpy()).all() for a, b in pairs)
    assert "ckpt" not in caplog.text  # No word of damage.


def test_a_run_that_recorded_tasks_at_once_1_reads_as_one_that_did_not(
    tmp_path, tiny_settings, tiny_dataset
):
    """Older versions adapted to several tasks side by side on request; one at a time was the
    default.
    """
    folder = runs.RunFolder(tmp_path)
    identity = conftest.record(folder, tiny_settings, tiny_dataset)
    for name in ("settings.json", "identity.json"):
        recorded = json.loads((tmp_path / name).read_text())
        (tmp_path / name).write_text(json.dumps(recorded | {"tasks_at_once": 1}))
    assert folder.read_settings(Settings) == tiny_settings
    assert tiny_settings.complete(folder.read_identity()) == identity


def test_settings_that_were_added_since_a_run_began_count_as_their_defaults(
    tmp_path, tiny_settings, record, find
):
    first = record(find(tiny_settings))
    first.unlock()
    _pretend_checkpoint(first, 4)
    identity = first.read_identity()
    (first.path / "identity.json").write_text(
        json.dumps({key: value for key, value in identity.items() if key != "meta_average"})
    )
    assert find(dataclasses.replace(tiny_settings, meta_average=0.9)).path != first.path
    assert find(tiny_settings).path == first.path


def test_a_run_of_another_system_is_refused_by_name(tmp_path, tiny_settings, record):
    folder = record(RunFolder(tmp_path / "run"))
    with pytest.raises(RunError, match="is a run of 'gan'; a run of 'quadratic' is needed"):
        folder.read_settings(QuadraticSettings)


def test_a_run_from_before_there_were_other_systems_is_one_of_figr(tmp_path, tiny_settings, record):
    folder = record(RunFolder(tmp_path / "run"))
    path = folder.path / "identity.json"
    identity = json.loads(path.read_text())
    del identity["system"]
    path.write_text(json.dumps(identity))
    assert folder.read_settings(Settings) == tiny_settings
