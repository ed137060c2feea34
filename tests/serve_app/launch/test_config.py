"""Validation of the configuration before Ray starts, and its messages."""

import os

import pytest
import yaml

from serve_app.access.roles import Role
from serve_app.access.token_file import TokenFile
from serve_app.launch.config import BUILDER, check_registries, check_tokens, read_config
from serve_app.launch.errors import ConfigError


@pytest.fixture
def write(tmp_path):
    def write(content):
        path = tmp_path / "serve_config.yaml"
        path.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
        return path

    return write


def application(**fields):
    return {
        "http_options": {"host": "127.0.0.1", "port": 8765},
        "applications": [{"name": "a", "import_path": BUILDER, "route_prefix": "/", **fields}],
    }


def problems(path):
    with pytest.raises(ConfigError) as caught:
        read_config(path)
    return caught.value.problems


def test_address(write, monkeypatch):
    """A valid file yields its address and its absolute path."""
    path = write(application(args={"versions": [{"model": "m"}]}))
    monkeypatch.chdir(path.parent)
    config = read_config(path.relative_to(path.parent))
    assert (config.host, config.port, config.path) == ("127.0.0.1", 8765, path)


def test_repository_file(pytestconfig):
    """The configuration of the repository is valid."""
    assert read_config(pytestconfig.rootpath / "serve_config.yaml").port == 8001


def test_missing_file(tmp_path):
    """A missing file is reported with the remedy."""
    path = tmp_path / "absent.yaml"
    (problem,) = problems(path)
    assert "no such file; pass a Ray Serve configuration" in problem


def test_folder(tmp_path):
    """A folder is reported as a file that cannot be read."""
    (problem,) = problems(tmp_path)
    assert "cannot be read" in problem


@pytest.mark.parametrize(
    ("content", "expected"),
    [("a: [", "is not valid YAML"), ("words", "received 'words'"), ("", "received None")],
)
def test_no_mapping(write, content, expected):
    """A file that is not a mapping is rejected with its content in the error."""
    (problem,) = problems(write(content))
    assert expected in problem


def test_ray_schema(write):
    """A violation of Ray Serve's schema is reported with its field."""
    path = write({"applications": [{"name": "a"}], "http_options": {"port": "abc"}})
    assert problems(path) == (
        "http_options.port: Input should be a valid integer, unable to parse string as an "
        "integer, received 'abc'",
        "applications.0.import_path: is missing",
    )


def test_args(write):
    """Every problem in the args of the application is reported with its field."""
    version = {"model": "m", "num_replicas": 0, "colour": "red"}
    prefix = "applications.0.args"
    assert set(problems(write(application(args={"versions": [version], "sise": 1})))) >= {
        f"{prefix}.versions.0.num_replicas: Input should be greater than 0, received 0",
        f"{prefix}.versions.0.colour: unknown key",
        f"{prefix}.sise: unknown key",
    }


def test_rule_between_fields(write):
    """The violation of a rule between fields is reported with the message of the rule."""
    versions = [{"model": "m"}, {"model": "n"}]
    (problem,) = problems(write(application(args={"versions": versions})))
    assert problem.startswith("applications.0.args: default_model: expected one of m, n")


def test_other_application(write):
    """The args of another application are not validated."""
    path = write(application(import_path="somewhere.app:build", args={"anything": 1}))
    assert read_config(path).port == 8765


def test_several_problems(tmp_path):
    """Several problems are listed below the name of the file."""
    error = ConfigError(tmp_path / "c.yaml", ["one", "two"])
    assert str(error) == f"{tmp_path / 'c.yaml'}: 2 problems\none\ntwo"


def test_certificates(write):
    """A certificate that HAProxy would not use is rejected, with the way to serve TLS."""
    content = application(args={"versions": [{"model": "m"}]})
    content["http_options"] |= {"ssl_certfile": "server.pem", "ssl_keyfile": "server.key"}
    (problem,) = problems(write(content))
    assert "terminate TLS in a proxy in front" in problem


def test_open_without_tokens(write, tmp_path):
    """A configuration that other machines reach without a token is rejected with the remedies."""
    args = {"registry_root": str(tmp_path / "models"), "versions": [{"model": "m"}]}
    content = application(args=args)
    check_tokens(read_config(write(content)))
    content["http_options"]["host"] = "0.0.0.0"
    with pytest.raises(ConfigError, match="expected a loopback address, since no token exists"):
        check_tokens(read_config(write(content)))
    args["access"] = {"anonymous": True}
    check_tokens(read_config(write(content)))


def test_open_with_tokens(write, tmp_path):
    """A configuration that other machines reach is accepted once a token exists."""
    path = tmp_path / "tokens.json"
    args = {"access": {"token_file": str(path)}, "versions": [{"model": "m"}]}
    content = application(args=args)
    content["http_options"]["host"] = "0.0.0.0"
    config = read_config(write(content))
    with pytest.raises(ConfigError):
        check_tokens(config)
    TokenFile(path).create("bot", [Role.PREDICT])
    check_tokens(config)


def test_unreadable_tokens(write, tmp_path):
    """Tokens that cannot be read are reported as a problem of the configuration."""
    path = tmp_path / "tokens.json"
    path.write_text("no JSON")
    path.chmod(0o600)
    args = {"access": {"token_file": str(path)}, "versions": [{"model": "m"}]}
    with pytest.raises(ConfigError, match="restore it from a backup"):
        check_tokens(read_config(write(application(args=args))))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_registry_that_cannot_be_written(write, monkeypatch, tmp_path):
    """A registry that this user may only read is rejected before Ray starts, with the remedy."""
    models = tmp_path / "models"
    models.mkdir(mode=0o555)
    monkeypatch.chdir(tmp_path)
    config = read_config(write(application(args={"versions": [{"model": "m"}]})))
    with pytest.raises(ConfigError, match="serve a copy of the registry"):
        check_registries(config)


def test_registry_that_can_be_written(write, monkeypatch, tmp_path):
    """A registry of this user is accepted, and so is none, which another check reports."""
    monkeypatch.chdir(tmp_path)
    config = read_config(write(application(args={"versions": [{"model": "m"}]})))
    check_registries(config)
    (tmp_path / "models").mkdir()
    check_registries(config)
