"""The evaluation in a card is that of the model that is exported."""

import json

import pytest

from exporters import contract, model_card, saved_model
from figr_tf.core.errors import UserError
from tests.exporters.conftest import REQUEST, report_of


def _facts(export):
    return contract.Facts((16, 16, 1), {}, {}, *(export.contract[k] for k in ("model", "training")))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda run: report_of(run, meta_step=13), "judges meta_step 13, this export is of 12"),
        (lambda run: report_of(run, {"seed": 7}), "judges seed 7, this export is of 0"),
        (
            lambda run: report_of(run, {"inner.learning_rate": 1.0}),
            "judges inner.learning_rate 1.0, this export is of 0.01",
        ),
        (lambda run: report_of(run) | {"split_sha256": "0"}, "judges on another split of classes"),
        (lambda run: {}, "not a report of figr_tf"),
        (
            lambda run: report_of(run) | {"judged": {"saved_model": "1"}},
            "judges meta_step None, this export is of 12",
        ),
        (lambda run: report_of(run) | {"judged": {"meta_step": 12}}, "judges seed None"),
    ],
)
def test_a_report_of_another_model_is_refused(exported, run_folder, tmp_path, change, sentence):
    report = tmp_path / "evaluation.json"
    report.write_text(json.dumps(report_of(run_folder)))
    model_card.read_report(report, "generate", _facts(exported))
    report.write_text(json.dumps(change(run_folder)))
    with pytest.raises(UserError, match=sentence):
        model_card.read_report(report, "generate", _facts(exported))


def test_an_outdated_report_in_the_runs_folder_is_told_before_anything_is_written(
    run_folder, tmp_path
):
    report = tmp_path / "evaluation.json"
    report.write_text(json.dumps(report_of(run_folder, meta_step=3)))
    request = REQUEST._replace(run=run_folder, evaluation=report)
    with pytest.raises(UserError, match=r"no evaluation\.json in the run's folder"):
        saved_model.export(request, tmp_path / "models", None)
    assert not (tmp_path / "models").exists()
