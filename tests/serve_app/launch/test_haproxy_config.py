"""The configuration of HAProxy as text; test_haproxy.py runs it."""

import sys
from pathlib import Path

import pytest

from serve_app.launch.haproxy_config import (
    UnknownTemplateError,
    affordable_connections,
    spare_config,
    with_limits,
    without_frontend,
)

TEMPLATE = """global
    stats socket /run/ha/node/admin.sock mode 666 level admin expose-fd listeners
    maxconn 4096
defaults
    timeout client 3600s
    option httplog
    retry-on conn-failure
frontend prometheus
    bind :9101
frontend http_frontend
    bind 127.0.0.1:8001
    use_backend http-app if is_http-app
    default_backend default_backend
backend default_backend
    http-request return status 404 content-type text/plain lf-string "Path"
backend http-app
    default-server inter 5s check
    server SERVE_REPLICA_app-Router-aa 127.0.0.1:30000 check observe layer4
    server SERVE_REPLICA_app-Router-bb 127.0.0.1:30001 check observe layer4
    server SERVE_PROXY_ACTOR-fallback-ff 127.0.0.1:8500 check backup
listen stats
  bind *:8404
"""
"""The lines of Serve's configuration on which ours depends."""


def limited(**heartbeats):
    return with_limits(TEMPLATE, Path("/run/ha/node"), 512, 4096, heartbeats=heartbeats)


def checks(config):
    """Return the routers whose heartbeat threads are checked."""
    return [line.split()[1] for line in config.splitlines() if "on-marked-down" in line]


def test_heartbeats():
    """Both routers are checked by their heartbeat threads; the fallback proxy has none."""
    config = limited(aa=Path("/run/ha/aa.1.alive"), bb=Path("/run/ha/bb.2.alive"))
    assert checks(config) == ["SERVE_REPLICA_app-Router-aa", "SERVE_REPLICA_app-Router-bb"]
    assert "observe layer4 addr unix@/run/ha/aa.1.alive inter" in config


def test_heartbeats_of_a_lone_router():
    """It is checked as Serve does: its requests could go nowhere else."""
    assert checks(limited(aa=Path("/run/ha/aa.1.alive"))) == []


def test_limits_are_added_once():
    config = limited()
    assert with_limits(config, Path("/run/ha/node"), 1, 1) == config


def test_only_predictions_are_repeated():
    """A request with an effect is not sent to a second router."""
    assert "retry-on conn-failure empty-response" in limited()
    assert "disable-l7-retry if !ts_repeatable !{ method GET }" in limited()


def test_without_frontend():
    """Only the frontend of clients listens elsewhere."""
    config = without_frontend(limited(), 7)
    binds = [line.strip() for line in config.splitlines() if line.strip().startswith("bind ")]
    assert binds == ["bind 127.0.0.1:9101", "bind abns@tradeserve-7", "bind 127.0.0.1:8404"]


def test_no_access_log():
    """HAProxy logs requests that failed, not every one."""
    assert "\n    option httplog\n    option dontlog-normal\n" in limited()


def test_spare():
    """The spare has an admin socket of its own, and no frontend accepts connections."""
    config = spare_config(limited())
    assert "stats socket /run/ha/node/spare.sock mode 600 " in config
    assert config.count("\n    maxconn 1\n") == 3


def test_unknown_template():
    """A configuration of another form is rejected, so that no limit is silently lost."""
    with pytest.raises(UnknownTemplateError, match=r"expected one line .* received 0"):
        with_limits("global\n    maxconn 4096\n", Path("/tmp"), 512, 4096)


@pytest.mark.parametrize(
    ("descriptors", "expected"), [(10_440, 4096), (1024, 329), (100, 1), (sys.maxsize, 16_384)]
)
def test_affordable_connections(descriptors, expected):
    """HAProxy starts with few descriptors, too: each connection needs two and a half."""
    assert affordable_connections(descriptors) == expected
