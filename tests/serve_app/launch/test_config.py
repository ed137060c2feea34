"""What is refused before Ray starts, and in which words."""

import pytest
import yaml

from serve_app.launch.config import BUILDER, read_config
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


def test_a_good_file_gives_its_address_and_its_absolute_path(write, monkeypatch):
    path = write(application(args={"versions": [{"model": "m"}]}))
    monkeypatch.chdir(path.parent)
    config = read_config(path.relative_to(path.parent))
    assert (config.host, config.port, config.path) == ("127.0.0.1", 8765, path)


def test_the_files_of_the_repository_are_good(pytestconfig):
    assert read_config(pytestconfig.rootpath / "serve_config.yaml").port == 8001


def test_a_missing_file_is_named(tmp_path):
    path = tmp_path / "absent.yaml"
    (problem,) = problems(path)
    assert "no such file; expected a Serve configuration" in problem


def test_a_folder_is_no_file(tmp_path):
    (problem,) = problems(tmp_path)
    assert "cannot be read" in problem


@pytest.mark.parametrize(
    ("content", "expected"),
    [("a: [", "is not valid YAML"), ("words", "received 'words'"), ("", "received None")],
)
def test_a_file_that_is_no_mapping_is_refused(write, content, expected):
    (problem,) = problems(write(content))
    assert expected in problem


def test_what_ray_serve_would_refuse_is_refused_with_the_field(write):
    path = write({"applications": [{"name": "a"}], "http_options": {"port": "abc"}})
    assert problems(path) == (
        "http_options.port: Input should be a valid integer, unable to parse string as an "
        "integer, received 'abc'",
        "applications.0.import_path: is missing",
    )


def test_every_problem_of_our_own_args_is_a_sentence_with_its_field(write):
    version = {"model": "m", "num_replicas": 0, "colour": "red"}
    prefix = "applications.0.args"
    assert set(problems(write(application(args={"versions": [version], "sise": 1})))) >= {
        f"{prefix}.versions.0.num_replicas: Input should be greater than 0, received 0",
        f"{prefix}.versions.0.colour: unknown key",
        f"{prefix}.sise: unknown key",
    }


def test_a_rule_between_fields_speaks_for_itself(write):
    versions = [{"model": "m"}, {"model": "n"}]
    (problem,) = problems(write(application(args={"versions": versions})))
    assert problem.startswith("applications.0.args: default_model: expected one of m, n")


def test_the_args_of_other_applications_are_their_own_business(write):
    path = write(application(import_path="somewhere.app:build", args={"anything": 1}))
    assert read_config(path).port == 8765


def test_several_problems_are_listed_below_the_file(tmp_path):
    error = ConfigError(tmp_path / "c.yaml", ["one", "two"])
    assert str(error) == f"{tmp_path / 'c.yaml'}: 2 problems\none\ntwo"
