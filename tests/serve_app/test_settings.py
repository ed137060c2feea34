"""The settings of serve_config.yaml: defaults, and the error for each mistake."""

from pathlib import Path

import pytest
import yaml
from pydantic import ValidationError

from features.calendars import CALENDARS
from serve_app.settings import AppSettings, MarketSettings
from testkit.paths import ROOT


def settings(**changes):
    return AppSettings.model_validate({"versions": [{"model": "m"}], **changes})


def version(**fields):
    return {"versions": [{"model": "m", **fields}]}


def test_shipped_configuration_is_valid():
    config = yaml.safe_load((ROOT / "serve_config.yaml").read_text())
    (application,) = config["applications"]
    assert application["import_path"] == "serve_app.app:build"
    assert config["http_options"]["port"] == 8001
    parsed = AppSettings.model_validate(application["args"])
    assert [declared.version for declared in parsed.versions] == ["production", "staging"]


def test_lone_request_does_not_wait_by_default():
    assert settings().versions[0].batching.batch_wait_timeout_s == 0


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"versions": []}, "at least 1 item"),
        ({"versions": [{"model": "m", "replicas": 2}]}, "Extra inputs are not permitted"),
        ({"versions": [{"model": "../m"}]}, "invalid model name '../m'"),
        ({"versions": [{"model": "m", "version": "newest"}]}, "or production or staging"),
        ({"versions": [{"model": "m"}, {"model": "m"}]}, "more than once: m:production"),
        ({"versions": [{"model": "a"}, {"model": "b"}]}, "default_model: expected one of a, b"),
        ({"default_model": "x"}, "expected one of m, received 'x'"),
        (
            {"versions": [{"model": "m", "max_ongoing_requests": 5}]},
            r"max_ongoing_requests \(5\) must be at least batching.max_batch_size \(32\)",
        ),
        ({"router": {"request_timeout_s": 0}}, "greater than 0"),
        (
            version(num_replicas=2, autoscaling={"max_replicas": 2}),
            "expected num_replicas or autoscaling, received both",
        ),
        (
            version(autoscaling={"min_replicas": 3, "max_replicas": 2}),
            r"min_replicas \(3\) must be at most max_replicas \(2\)",
        ),
        (
            version(autoscaling={"max_replicas": 2, "target_ongoing_requests": 65}),
            r"target_ongoing_requests \(65\) must be at most max_ongoing_requests \(64\)",
        ),
        (version(autoscaling={}), "max_replicas"),
        (version(placement="head"), "'replicas' or 'router'"),
        (version(placement="router", num_replicas=2), "num_replicas is for placement: replicas"),
        (
            version(placement="router", autoscaling={"max_replicas": 2}),
            "autoscaling is for placement: replicas",
        ),
        (version(placement="router", num_gpus=1), "num_gpus is for placement: replicas"),
        (version(num_gpus=1.5), "a share below 1 or a whole number, received 1.5"),
        (version(num_gpus=-1), "greater than or equal to 0"),
        ({"loading": {"max_versions": 0}}, "greater than 0"),
    ],
)
def test_error_names_the_mistake(changes, problem):
    with pytest.raises(ValidationError, match=problem):
        settings(**changes)


def test_settings_are_frozen():
    with pytest.raises(ValidationError, match="frozen"):
        settings().registry_root = "elsewhere"


def test_token_file_lies_in_the_registry_by_default():
    """The tokens are stored beside the models unless a file is named."""
    assert settings(registry_root="r").token_file == Path("r/.tokens.json")
    named = settings(access={"token_file": "/etc/tokens.json"})
    assert named.token_file == Path("/etc/tokens.json")


def test_markets():
    """Symbols have calendars by name, those of the settings and the built-in ones."""
    calendars = {"us": {"zone": "America/New_York", "opens": "09:30", "closes": "16:00"}}
    symbols = {"EURUSD": "fx", "*.US": "us"}
    markets = MarketSettings(calendars=calendars, symbols=symbols).markets()
    assert markets.calendar("EURUSD") == CALENDARS["fx"]
    assert markets.calendar("IBM.US").weekdays == ("Mon", "Tue", "Wed", "Thu", "Fri")
    assert markets.calendar("BTCUSD") == CALENDARS["always"]


@pytest.mark.parametrize(
    ("markets", "message"),
    [
        ({"symbols": {"A": "us"}}, "symbols: expected one of always, fx, received 'us'"),
        (
            {"calendars": {"x": {"zone": "UTC", "opens": "9", "closes": "16:00"}}},
            "expected a time such as 17:00 as opens",
        ),
    ],
)
def test_invalid_markets(markets, message):
    """A calendar that does not exist or has no meaning is rejected."""
    with pytest.raises(ValidationError, match=message):
        MarketSettings(**markets)
