"""The files for TensorFlow Serving: read by their own parsers and schemas, and checked against each
other.
"""

import pathlib
import re
import shutil
import subprocess

import kubernetes_validate
import pytest
import yaml
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format
from tensorflow_serving.config import model_server_config_pb2

from tests.conftest import ROOT
from tests.serving import processes

DEPLOY = ROOT / "deploy/serving"
KUBERNETES_VERSION = "1.32"

# Flags of tensorflow_model_server 2.20 that matter here, from its
# tensorflow_serving/model_servers/main.cc.
SERVER_FLAGS = set(pathlib.Path(__file__).with_name("server_flags.txt").read_text().split())


def _compose():
    return yaml.safe_load((DEPLOY / "docker-compose.yml").read_text())


def _resources():
    return {r["kind"]: r for r in yaml.safe_load_all((DEPLOY / "kubernetes.yaml").read_text())}


def _pod():
    return _resources()["Deployment"]["spec"]["template"]["spec"]


def _container():
    (container,) = _pod()["containers"]
    return container


def _flags(arguments):
    assert all(argument.startswith("--") for argument in arguments)
    return dict(argument.removeprefix("--").split("=", 1) for argument in arguments)


ALL_FLAGS = {
    "cpu": _flags(_compose()["services"]["figr"]["command"]),
    "gpu": _flags(_compose()["services"]["figr-gpu"]["command"]),
    "kubernetes": _flags(_container()["args"]),
}


@pytest.fixture(params=ALL_FLAGS)
def flags(request):
    return ALL_FLAGS[request.param]


def test_the_model_config_names_the_clients_model_and_keeps_one_version():
    config = text_format.Parse(
        (DEPLOY / "models.config").read_text(), model_server_config_pb2.ModelServerConfig()
    )
    (model,) = config.model_config_list.config
    assert (model.name, model.base_path, model.model_platform) == (
        "figr",
        "/models/figr",
        "tensorflow",
    )
    assert model.model_version_policy.latest.num_versions == 1


def _monitoring_config():
    """A message of tensorflow_serving/config/monitoring_config.proto, which is not in the published
    stubs.
    """
    file = descriptor_pb2.FileDescriptorProto(
        name="monitoring_config.proto", package="figr", syntax="proto3"
    )
    prometheus = file.message_type.add(name="PrometheusConfig")
    prometheus.field.add(
        name="enable", number=1, type=descriptor_pb2.FieldDescriptorProto.TYPE_BOOL
    )
    prometheus.field.add(
        name="path", number=2, type=descriptor_pb2.FieldDescriptorProto.TYPE_STRING
    )
    kind = descriptor_pb2.FieldDescriptorProto.TYPE_MESSAGE
    monitoring = file.message_type.add(name="MonitoringConfig")
    monitoring.field.add(
        name="prometheus_config", number=1, type=kind, type_name=".figr.PrometheusConfig"
    )
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("figr.MonitoringConfig"))()


def test_metrics_are_where_prometheus_is_told_to_look():
    config = text_format.Parse((DEPLOY / "monitoring.config").read_text(), _monitoring_config())
    assert config.prometheus_config.enable
    annotations = _resources()["Deployment"]["spec"]["template"]["metadata"]["annotations"]
    assert annotations["prometheus.io/path"] == config.prometheus_config.path
    assert annotations["prometheus.io/port"] == ALL_FLAGS["kubernetes"]["rest_api_port"]


def test_every_flag_exists_and_batching_and_profiler_are_off(flags):
    assert set(flags) <= SERVER_FLAGS
    assert flags["enable_batching"] == "false"
    assert flags["enable_profiler"] == "false"
    assert not {"batching_parameters_file", "enable_per_model_batching_parameters"} & set(flags)


def test_only_the_gpu_profile_compiles_with_xla():
    assert ALL_FLAGS["gpu"] == ALL_FLAGS["cpu"] | {"xla_gpu_compilation_enabled": "true"}
    assert ALL_FLAGS["kubernetes"] == ALL_FLAGS["cpu"]


def test_config_files_are_mounted_where_the_flags_look(flags):
    mounted = [volume.split(":")[1] for volume in _compose()["services"]["figr"]["volumes"]]
    assert {flags["model_config_file"], flags["monitoring_config_file"]} <= set(mounted)
    mount = next(m for m in _container()["volumeMounts"] if m["name"] == "config")
    kustomization = yaml.safe_load((DEPLOY / "kustomization.yaml").read_text())
    (generator,) = kustomization["configMapGenerator"]
    assert {f"{mount['mountPath']}/{file}" for file in generator["files"]} <= set(mounted)
    assert all(
        (DEPLOY / file).is_file() for file in [*generator["files"], *kustomization["resources"]]
    )
    volume = next(v for v in _pod()["volumes"] if v["name"] == "config")
    assert volume["configMap"]["name"] == generator["name"]


@pytest.mark.parametrize("name", ["figr", "figr-gpu"])
def test_compose_confines_the_server_and_publishes_on_loopback_alone(name):
    service = _compose()["services"][name]
    assert service["user"].split(":")[0] != "0"
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["mem_limit"] == service["memswap_limit"]
    grace = float(service["stop_grace_period"].removesuffix("s"))
    assert grace > int(ALL_FLAGS["cpu"]["rest_api_timeout_in_ms"]) / 1000
    assert all(volume.endswith(":ro") for volume in service["volumes"])
    assert {port.split(":")[0] for port in service["ports"]} == {"127.0.0.1"}
    ports = {port.split(":")[2] for port in service["ports"]}
    assert ports == {ALL_FLAGS["cpu"]["port"], ALL_FLAGS["cpu"]["rest_api_port"]}
    assert re.fullmatch(
        r"tensorflow/serving:\$\{TF_SERVING_TAG:-2\.20\.0\}(-gpu)?", service["image"]
    )
    files = [volume.split(":")[0] for volume in service["volumes"] if volume.startswith("./")]
    assert all((DEPLOY / file).is_file() for file in files)


def test_compose_has_no_key_that_its_specification_does_not_know():
    known = {
        "entrypoint",
        "user",
        "read_only",
        "tmpfs",
        "cap_drop",
        "security_opt",
        "ports",
        "volumes",
        "healthcheck",
        "restart",
        "stop_grace_period",
        "profiles",
        "image",
        "command",
        "mem_limit",
        "memswap_limit",
        "deploy",
    }
    compose = _compose()
    assert all(set(service) <= known for service in compose["services"].values())
    assert {key for key in compose if not key.startswith("x-")} == {"services"}


def test_the_healthcheck_tells_a_ready_model_from_none(server):
    test = _compose()["services"]["figr"]["healthcheck"]["test"]
    assert test[0] == "CMD"
    port = ALL_FLAGS["cpu"]["rest_api_port"]
    assert f"/{port} " in test[-1]

    def status(at, model="figr"):
        command = [
            *test[1:-1],
            test[-1].replace(port, at).replace("models/figr", f"models/{model}"),
        ]
        return subprocess.run(command, capture_output=True, timeout=20).returncode

    running = server.rest.rpartition(":")[2]
    assert status(running) == 0
    assert status(running, "gan") != 0
    assert status(str(processes.free_port())) != 0


@pytest.mark.parametrize(
    "kind", ["PersistentVolumeClaim", "Deployment", "Service", "NetworkPolicy"]
)
def test_kubernetes_knows_every_field(kind):
    kubernetes_validate.validate(_resources()[kind], KUBERNETES_VERSION, strict=True)


def test_the_schema_would_notice_a_misspelt_probe():
    deployment = _resources()["Deployment"]
    container = deployment["spec"]["template"]["spec"]["containers"][0]
    container["livenesProbe"] = container.pop("livenessProbe")
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(deployment, KUBERNETES_VERSION, strict=True)


def test_probes_and_service_reach_the_ports_that_the_flags_open():
    container, flags = _container(), ALL_FLAGS["kubernetes"]
    ports = {port["name"]: str(port["containerPort"]) for port in container["ports"]}
    assert ports == {"grpc": flags["port"], "rest": flags["rest_api_port"]}
    for probe in ("startupProbe", "readinessProbe"):
        assert container[probe]["httpGet"] == {"path": "/v1/models/figr", "port": "rest"}
    assert container["livenessProbe"]["tcpSocket"]["port"] in ports
    service = _resources()["Service"]["spec"]
    assert {port["name"]: str(port["port"]) for port in service["ports"]} == ports
    assert {port["targetPort"] for port in service["ports"]} == set(ports)
    (rule,) = _resources()["NetworkPolicy"]["spec"]["ingress"]
    assert {port["port"] for port in rule["ports"]} == set(ports)
    assert rule["from"]


def test_labels_connect_deployment_service_and_policy():
    resources = _resources()
    labels = resources["Deployment"]["spec"]["template"]["metadata"]["labels"]
    assert resources["Deployment"]["spec"]["selector"]["matchLabels"] == labels
    assert resources["Service"]["spec"]["selector"] == labels
    assert resources["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"] == labels


def test_the_pod_is_confined_and_ends_after_its_longest_request():
    pod, container = _pod(), _container()
    assert pod["securityContext"]["runAsNonRoot"]
    assert container["securityContext"]["readOnlyRootFilesystem"]
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert "memory" in container["resources"]["limits"]
    assert (
        pod["terminationGracePeriodSeconds"]
        > int(ALL_FLAGS["kubernetes"]["rest_api_timeout_in_ms"]) / 1000
    )
    assert {mount["name"] for mount in container["volumeMounts"]} == {
        volume["name"] for volume in pod["volumes"]
    }
    claim = next(volume for volume in pod["volumes"] if volume["name"] == "models")[
        "persistentVolumeClaim"
    ]
    assert claim["claimName"] == _resources()["PersistentVolumeClaim"]["metadata"]["name"]


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="no kubectl on PATH")
def test_kustomize_puts_tag_and_config_in():
    built = subprocess.run(
        ["kubectl", "kustomize", str(DEPLOY)],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    resources = {r["kind"]: r for r in yaml.safe_load_all(built.stdout)}
    pod = resources["Deployment"]["spec"]["template"]["spec"]
    assert pod["containers"][0]["image"] == "tensorflow/serving:2.20.0"
    volume = next(volume for volume in pod["volumes"] if volume["name"] == "config")
    assert volume["configMap"]["name"] == resources["ConfigMap"]["metadata"]["name"]


def test_kserve_serves_the_claim_on_a_version_with_defaults_and_does_not_batch():
    service = yaml.safe_load((DEPLOY / "kserve.yaml").read_text())
    assert (service["apiVersion"], service["kind"]) == (
        "serving.kserve.io/v1beta1",
        "InferenceService",
    )
    predictor = service["spec"]["predictor"]
    assert set(predictor) == {
        "minReplicas",
        "maxReplicas",
        "containerConcurrency",
        "timeout",
        "model",
    }
    model = predictor["model"]
    assert set(model) == {"modelFormat", "runtimeVersion", "storageUri", "resources"}
    assert model["modelFormat"] == {"name": "tensorflow"}
    assert tuple(map(int, model["runtimeVersion"].split("."))) >= (2, 14)
    claim, _, folder = model["storageUri"].removeprefix("pvc://").partition("/")
    assert (claim, folder) == (
        _resources()["PersistentVolumeClaim"]["metadata"]["name"],
        service["metadata"]["name"],
    )


def test_the_page_names_only_flags_that_exist():
    page = (ROOT / "docs/serving.md").read_text()
    mentioned = set(re.findall(r"`--([a-z_]+)", page))
    ours = {
        "host",
        "max_running",
        "max_queued",
        "max_seconds",
        "grace_seconds",
        "poll_seconds",
        "rest_port",
        "rest",
    }
    clients = {
        "images",
        "timeout",
        "retry_for",
        "tls_ca",
        "num_inner_steps",
        "num_samples",
        "version",
        "json",
        "target",
    }
    training = {"latent_pool"}
    assert mentioned <= SERVER_FLAGS | ours | clients | training
    assert all(
        pathlib.Path(ROOT / path).exists() for path in re.findall(r"`(deploy/[a-z_./-]+)`", page)
    )
