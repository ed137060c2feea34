"""Callers wait longer than what they call, along every chain drawn in the module."""

import inspect
import re
from itertools import pairwise

import pytest

from serve_app import timeouts as t
from serve_app.client import ModelClient
from serve_app.settings import AppSettings

RELOAD_S = t.VERSION_LOAD_S + t.TRAFFIC_MOVE_S + t.ROUTERS_FOLLOW_S
CREATE_S = 2 * (t.VERSION_LOAD_S + t.ROUTERS_FOLLOW_S)
ROUTER_READY_S = t.ROUTER_READY_S + t.ROUTER_READY_OTHERS_S + t.ROUTER_READY_SYMBOLS_S
ROUTER = AppSettings(versions=[{"model": "m"}]).router


@pytest.mark.parametrize(
    "chain",
    [
        (t.CLIENT_COMMAND_S, t.FLEET_COMMAND_S, RELOAD_S, t.VERSION_LOAD_S, t.ROUTERS_FOLLOW_S),
        (t.FLEET_COMMAND_S, CREATE_S),
        (t.CLIENT_COMMAND_S, t.CLIENT_QUERY_S, ROUTER.request_timeout_s),
        (t.CLIENT_QUERY_S, t.BAR_LOG_S),
        (t.CLIENT_COMMAND_S, t.CLIENT_UNREACHABLE_S),
        (t.ROUTERS_FOLLOW_S, t.STOPPING_ROUTERS_S, t.STATE_FOLLOW_PERIOD_S + t.ROUTER_CALL_S),
        (t.ROUTERS_FOLLOW_S, 4 * t.HEALTH_CHECK_PERIOD_S),
        (ROUTER.request_timeout_s, t.FLEET_REQUEST_S),
        (ROUTER.request_timeout_s, t.LIVE_CALL_S),
        (ROUTER.request_timeout_s, t.STATE_CONFIRM_S),
        (ROUTER.request_timeout_s, ROUTER.treatment_timeout_s),
        (ROUTER.request_timeout_s, t.REPLICA_HEARTBEAT_S, t.REPLICA_DISCOVERY_S),
        (t.REPLICA_HEARTBEAT_S, t.REPLICA_HEARTBEAT_PERIOD_S + t.REPLICA_DISCOVERY_S),
        (t.CHANNEL_RETRY_S, t.CHANNEL_CONNECT_S),
        (t.CHANNEL_IDLE_S, t.REPLICA_HEARTBEAT_S, t.REPLICA_HEARTBEAT_PERIOD_S),
        (t.VERSION_LOAD_S, t.LAUNCH_RETRY_S),
        (t.DRAIN_LIMIT_S, t.ROUTERS_FOLLOW_S, t.DRAIN_S, t.STATE_FOLLOW_PERIOD_S),
        (t.SERVER_START_S, t.VERSION_LOAD_S + ROUTER_READY_S),
    ],
)
def test_callers_wait_longer(chain):
    """Each chain descends from the caller that waits the longest."""
    assert all(caller > callee for caller, callee in pairwise(chain)), chain


def test_draining_replica_waits_for_its_requests():
    assert ROUTER.request_timeout_s <= t.CHANNEL_DRAIN_S
    assert t.CHANNEL_CONNECT_S <= t.REPLICA_HEARTBEAT_S


def test_client_waits_for_the_server():
    """A reload that fails on the server is reported with the server's reason by default."""
    parameters = inspect.signature(ModelClient).parameters
    assert parameters["command_timeout_s"].default == t.CLIENT_COMMAND_S


def test_diagram_names_existing_timeouts():
    drawn = set(re.findall(r"\b[A-Z_]+_S\b", t.__doc__))
    assert drawn <= set(vars(t))
    assert len(drawn) >= 15
