"""The files that start training elsewhere: checked by schema and against the code they call."""

import json
import re
import runpy
import shlex
import subprocess
import sys
from unittest import mock

import kubernetes_validate
import pytest
import yaml

from figr_tf import train
from tests.conftest import ROOT

DEPLOY = ROOT / "deploy/training"


def _resources():
    return {r["kind"]: r for r in yaml.safe_load_all((DEPLOY / "kubernetes-job.yaml").read_text())}


@pytest.mark.parametrize("kind", ["Service", "Job"])
def test_kubernetes_knows_every_field(kind):
    kubernetes_validate.validate(_resources()[kind], "1.32", strict=True)


def test_every_pod_of_the_job_finds_itself_among_the_workers():
    job, service = _resources()["Job"], _resources()["Service"]
    (container,) = job["spec"]["template"]["spec"]["containers"]
    (script,) = container["args"]
    config = json.loads(
        shlex.split(script)[1]
        .removeprefix("TF_CONFIG=")
        .rstrip(";")
        .replace("$JOB_COMPLETION_INDEX", "1")
    )
    name = job["metadata"]["name"]
    assert config["cluster"]["worker"] == [
        f"{name}-{i}.{service['metadata']['name']}:2222" for i in range(job["spec"]["completions"])
    ]
    assert job["spec"]["parallelism"] == job["spec"]["completions"]
    assert job["spec"]["template"]["spec"]["subdomain"] == service["metadata"]["name"]
    assert service["spec"]["publishNotReadyAddresses"]
    given = set(re.findall(r"--([a-z_]+)=", script))
    assert given <= {"flagfile", *train.flags.FLAGS}


def test_the_pod_is_confined_and_has_time_to_save():
    pod = _resources()["Job"]["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"]
    assert pod["terminationGracePeriodSeconds"] > 30
    assert pod["containers"][0]["securityContext"]["readOnlyRootFilesystem"]
    assert {m["name"] for m in pod["containers"][0]["volumeMounts"]} == {
        v["name"] for v in pod["volumes"]
    }


def test_the_image_runs_as_nobody_in_particular_and_copies_what_exists():
    lines = [
        line.split()
        for line in (DEPLOY / "Dockerfile").read_text().splitlines()
        if line and line[0] != "#"
    ]
    assert lines[0][0] == "FROM"
    assert {line[0] for line in lines} <= {
        "FROM",
        "ARG",
        "ENV",
        "WORKDIR",
        "COPY",
        "RUN",
        "USER",
        "ENTRYPOINT",
    }
    (user,) = (line[1] for line in lines if line[0] == "USER")
    assert int(user) > 0
    sources = [source for line in lines if line[0] == "COPY" for source in line[1:-1]]
    assert all(list(ROOT.glob(source)) for source in sources)


@pytest.fixture
def ray(monkeypatch):
    """A stand-in for Ray, which no requirement of ours installs; a job that ends with status 1."""
    ray, trainers = mock.MagicMock(), mock.MagicMock()
    ray.cluster_resources.return_value = {"CPU": 2.0}
    ray.trainer = trainers.TensorflowTrainer
    ray.trainer.return_value.fit.return_value.return_value = 1
    for name, module in {
        "ray": ray,
        "ray.train": ray.train,
        "ray.train.tensorflow": trainers,
    }.items():
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setattr(sys, "argv", ["ray_train.py", "2", "--dataset=glyphs", "--run=/runs/1"])
    with pytest.raises(SystemExit, match="1"):
        runpy.run_path(str(DEPLOY / "ray_train.py"), run_name="__main__")
    return ray


def _train_one(ray, monkeypatch, status):
    """What the training function returns, and the command it ran."""
    run = mock.Mock(side_effect=lambda command: subprocess.CompletedProcess(command, status))
    monkeypatch.setattr(subprocess, "run", run)
    (train_one,), given = ray.trainer.call_args
    return train_one(given["train_loop_config"]), run.call_args.args[0]


def test_ray_starts_training_with_the_flags_given(ray, monkeypatch):
    returned, command = _train_one(ray, monkeypatch, 0)
    assert returned == 0
    ray.train.ScalingConfig.assert_called_once_with(num_workers=2, use_gpu=False)
    assert command[1:] == [
        "-m",
        "figr_tf.train",
        "--distribute=multi_worker",
        "--dataset=glyphs",
        "--run=/runs/1",
    ]


def test_ray_tries_again_after_a_lost_worker_and_not_after_an_error_that_would_come_again(
    ray, monkeypatch
):
    with pytest.raises(subprocess.CalledProcessError):
        _train_one(ray, monkeypatch, 75)
    assert _train_one(ray, monkeypatch, 1)[0] == 1
