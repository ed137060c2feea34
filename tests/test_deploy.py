"""The manifests in deploy/ match Ray's schema, the settings, the commands and each other."""

import configparser
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
import ray
import typer
import yaml
from ray.serve.schema import ServeDeploySchema

from serve_app.cli import app
from serve_app.launch.banner import HEALTH_PATH
from serve_app.launch.config import BUILDER
from serve_app.launch.environment import MACHINE_ENVIRONMENT, exported
from serve_app.launch.supervision import MAX_RESTARTS, RESTARTS_WINDOW_S
from serve_app.settings import AppSettings
from testkit.paths import BIN, ROOT

FOLDER = ROOT / "deploy" / "kubernetes"
RAYLET_PATH, GCS_PATH = "/api/local_raylet_healthz", "/api/gcs_healthz"


def documents(name):
    return list(yaml.safe_load_all((FOLDER / name).read_text()))


@pytest.fixture(scope="module")
def service():
    (document,) = documents("rayservice.yaml")
    assert (document["apiVersion"], document["kind"]) == ("ray.io/v1", "RayService")
    return document["spec"]


@pytest.fixture(scope="module")
def config(service):
    return ServeDeploySchema.model_validate(yaml.safe_load(service["serveConfigV2"]))


@pytest.fixture(scope="module")
def pods(service):
    cluster = service["rayClusterConfig"]
    templates = [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
    return [template["template"]["spec"] for template in templates]


def containers(pods):
    return [container for pod in pods for container in pod["containers"]]


def test_the_graph_and_its_args_are_valid(config):
    """Ray's schema accepts the graph, and the settings accept its arguments."""
    (application,) = config.applications
    assert application.import_path == BUILDER
    settings = AppSettings.model_validate(application.args)
    assert settings.router.num_replicas >= 2  # the death of a single router loses its requests


def test_the_graph_is_that_of_serve_config(config):
    """Only the interface, the registry's folder and the numbers of replicas differ."""
    plain = yaml.safe_load((FOLDER.parents[1] / "serve_config.yaml").read_text())
    expected = ServeDeploySchema.model_validate(plain)
    assert config.http_options.port == expected.http_options.port
    assert config.http_options.host == "0.0.0.0"  # a pod's clients are outside it
    assert config.proxy_location == expected.proxy_location
    (ours,), (theirs,) = config.applications, expected.applications
    assert (ours.name, ours.route_prefix) == (theirs.name, theirs.route_prefix)
    assert versions_of(ours) == versions_of(theirs)


def versions_of(application):
    settings = AppSettings.model_validate(application.args)
    return [(version.model, version.version) for version in settings.versions]


def test_every_pod_sets_the_servers_flags(pods):
    """They are those of several nodes; KubeRay sets those of the token, the image its own paths."""
    everything = exported({"RAY_AUTH_TOKEN": "a", "RAY_TMPDIR": "/tmp"}, is_multi_node=True)
    expected = {name: everything[name] for name in everything if name not in MACHINE_ENVIRONMENT}
    assert expected.pop("RAY_AUTH_MODE") == "token"
    for container in containers(pods):
        flags = {flag["name"]: flag["value"] for flag in container["env"]}
        assert flags == expected


def test_token_of_ray(service):
    """KubeRay generates a token for Ray's components."""
    assert service["rayClusterConfig"]["authOptions"] == {"mode": "token"}


def test_every_pod_exposes_the_services_port(pods, config):
    for container in containers(pods):
        ports = {port["name"]: port["containerPort"] for port in container["ports"]}
        assert ports["serve"] == config.http_options.port


def test_the_health_endpoint_decides_readiness_of_workers(pods):
    """The head is ready without it: KubeRay deploys the application only then."""
    head, *workers = containers(pods)
    assert "readinessProbe" not in head  # it would never be ready, and nothing would be deployed
    assert workers
    for worker in workers:
        probe = worker["readinessProbe"]["httpGet"]
        headers = [{"name": "Host", "value": "localhost"}]
        assert probe == {"path": HEALTH_PATH, "port": "serve", "httpHeaders": headers}


def test_the_registry_is_on_a_volume_of_the_head(pods, config):
    head, *workers = pods
    (application,) = config.applications
    root = Path(AppSettings.model_validate(application.args).registry_root)
    (volume,) = head["volumes"]
    (mount,) = head["containers"][0]["volumeMounts"]
    assert mount["name"] == volume["name"]
    assert root.is_relative_to(mount["mountPath"])
    assert not any("volumes" in worker for worker in workers)
    claim, shell = documents("registry.yaml")
    assert volume["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"]
    assert shell["spec"]["volumes"] == [volume]
    assert shell["spec"]["containers"][0]["volumeMounts"] == [mount]


def test_one_cluster_writes_the_registry(service):
    assert service["upgradeStrategy"] == {"type": "None"}


def test_the_release_of_ray_is_the_tested_one(service):
    assert service["rayClusterConfig"]["rayVersion"] == ray.__version__


def test_the_head_stores_its_state_in_redis(service):
    options = service["rayClusterConfig"]["gcsFaultToleranceOptions"]
    redis_service, redis = documents("redis.yaml")
    port = redis_service["spec"]["ports"][0]["port"]
    assert options["redisAddress"] == f"{redis_service['metadata']['name']}:{port}"
    (container,) = redis["spec"]["template"]["spec"]["containers"]
    (password,) = (entry for entry in container["env"] if entry["name"] == "PASSWORD")
    assert options["redisPassword"]["valueFrom"] == password["valueFrom"]
    labels = redis["spec"]["template"]["metadata"]["labels"]
    assert redis_service["spec"]["selector"] == redis["spec"]["selector"]["matchLabels"] == labels


def test_a_hanging_component_ends_its_pod(pods):
    """Every pod is restarted once the raylet, and on the head the GCS, has hung for 30 s."""
    head, *workers = (container["livenessProbe"] for container in containers(pods))
    for probe in (head, *workers):
        assert probe["periodSeconds"] * probe["failureThreshold"] == 30
        command = probe["exec"]["command"][-1]
        timeouts_s = [int(number) for number in re.findall(r"-T (\d+)", command)]
        assert sum(timeouts_s) < probe["timeoutSeconds"]
        assert RAYLET_PATH in command
    assert GCS_PATH in head["exec"]["command"][-1]
    assert [GCS_PATH in worker["exec"]["command"][-1] for worker in workers] == [False]


UNITS = sorted((ROOT / "deploy" / "systemd").iterdir())
INSTALLED = "/srv/tradeserve/.venv/bin"


@pytest.fixture
def units(tmp_path):
    """The folder of the units, with this environment in place of the installed one."""
    for unit in UNITS:
        (tmp_path / unit.name).write_text(unit.read_text().replace(INSTALLED, str(BIN)))
    return tmp_path


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
def test_units_are_valid(units):
    """systemd accepts the units; the programs that they start exist."""
    checked = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *(units / unit.name for unit in UNITS)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (checked.returncode, checked.stderr) == (0, "")


def unit(name):
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str
    parser.read(ROOT / "deploy" / "systemd" / name)
    return parser


def test_the_unit_runs_modelctl():
    """Its command is one of `modelctl`, and an invalid configuration is not retried."""
    service = unit("tradeserve.service")["Service"]
    program, *words = shlex.split(service["ExecStart"])
    assert program == f"{INSTALLED}/modelctl"
    group = typer.main.get_command(app)
    assert words[0] in group.commands
    group.commands[words[0]].make_context(words[0], words[1:])
    assert service["RestartPreventExitStatus"] == "2"
    assert service["Restart"] == "on-failure"


def test_the_unit_starts_the_server_after_it_has_given_up():
    """The unit's own limit covers a longer time than the restarts of `modelctl serve`."""
    limits = unit("tradeserve.service")["Unit"]
    assert int(limits["StartLimitIntervalSec"]) > RESTARTS_WINDOW_S
    assert int(limits["StartLimitBurst"]) > MAX_RESTARTS


def test_the_check_is_that_of_the_pods(pods):
    """The check of a cluster of your own asks the same as the probe of the head."""
    head, *_ = containers(pods)
    service = unit("tradeserve-ray-check.service")["Service"]
    assert head["livenessProbe"]["exec"]["command"][-1] in service["ExecStart"]
