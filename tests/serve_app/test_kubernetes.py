"""The manifests in deploy/kubernetes say what Ray, the settings and each other expect."""

from pathlib import Path

import pytest
import ray
import yaml
from ray.serve.schema import ServeDeploySchema

from serve_app.launch.config import BUILDER
from serve_app.launch.environment import SERVER_ENVIRONMENT
from serve_app.launch.server import HEALTH_PATH
from serve_app.settings import AppSettings
from testkit.paths import ROOT

FOLDER = ROOT / "deploy" / "kubernetes"


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
    return [each["template"]["spec"] for each in templates]


def containers(pods):
    return [container for pod in pods for container in pod["containers"]]


def test_ray_reads_the_graph_and_the_settings_accept_its_args(config):
    (application,) = config.applications
    assert application.import_path == BUILDER
    settings = AppSettings.model_validate(application.args)
    assert settings.router.num_replicas >= 2  # a lone router takes its requests along


def test_it_is_the_graph_of_serve_config_but_for_where_and_how_many(config):
    plain = yaml.safe_load((FOLDER.parents[1] / "serve_config.yaml").read_text())
    expected = ServeDeploySchema.model_validate(plain)
    assert config.http_options == expected.http_options
    assert config.proxy_location == expected.proxy_location
    ((ours,), (theirs,)) = (each.applications for each in (config, expected))
    assert (ours.name, ours.route_prefix) == (theirs.name, theirs.route_prefix)
    served = [
        [(each.model, each.version) for each in AppSettings.model_validate(one.args).versions]
        for one in (ours, theirs)
    ]
    assert served[0] == served[1]


def test_every_pod_starts_with_the_flags_that_a_cluster_needs(pods):
    for container in containers(pods):
        flags = {each["name"]: each["value"] for each in container["env"]}
        assert flags == SERVER_ENVIRONMENT


def test_every_pod_names_the_port_that_the_service_leads_to(pods, config):
    for container in containers(pods):
        ports = {each["name"]: each["containerPort"] for each in container["ports"]}
        assert ports["serve"] == config.http_options.port


def test_workers_are_ready_with_the_servers_health_and_the_head_before_it(pods):
    head, *workers = containers(pods)
    assert "readinessProbe" not in head  # nothing would be deployed, since it is never ready
    assert workers
    for worker in workers:
        probe = worker["readinessProbe"]["httpGet"]
        assert probe == {"path": HEALTH_PATH, "port": "serve"}


def test_the_registry_lies_on_a_volume_of_the_head(pods, config):
    head, *workers = pods
    (application,) = config.applications
    root = Path(AppSettings.model_validate(application.args).registry_root)
    (volume,) = head["volumes"]
    (mount,) = head["containers"][0]["volumeMounts"]
    assert mount["name"] == volume["name"]
    assert root.is_relative_to(mount["mountPath"])
    assert not any("volumes" in each for each in workers)
    claim, shell = documents("registry.yaml")
    assert volume["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"]
    assert shell["spec"]["volumes"] == [volume]
    assert shell["spec"]["containers"][0]["volumeMounts"] == [mount]


def test_one_cluster_writes_the_registry(service):
    assert service["upgradeStrategy"] == {"type": "None"}


def test_the_release_of_ray_is_the_one_that_was_tested(service):
    assert service["rayClusterConfig"]["rayVersion"] == ray.__version__


def test_the_head_keeps_its_state_in_the_redis_of_its_manifest(service):
    options = service["rayClusterConfig"]["gcsFaultToleranceOptions"]
    redis_service, redis = documents("redis.yaml")
    port = redis_service["spec"]["ports"][0]["port"]
    assert options["redisAddress"] == f"{redis_service['metadata']['name']}:{port}"
    (container,) = redis["spec"]["template"]["spec"]["containers"]
    (password,) = (each for each in container["env"] if each["name"] == "PASSWORD")
    assert options["redisPassword"]["valueFrom"] == password["valueFrom"]
    labels = redis["spec"]["template"]["metadata"]["labels"]
    assert redis_service["spec"]["selector"] == redis["spec"]["selector"]["matchLabels"] == labels
