"""Every timeout whose order matters, from the client down to a replica. Imports nothing.

A caller must wait longer than what it calls, or it gives up before the reason for a failure reaches
it; `tests/serve_app/test_timeouts.py` verifies the order. An arrow reads "waits for":

    a command: reload, or create or stop an experiment

    ModelClient, modelctl              CLIENT_COMMAND_S
      └─► router                       FLEET_COMMAND_S
            └─► fleet                  the sum of its steps
                  ├─► version load     VERSION_LOAD_S, once per reload, twice per experiment
                  ├─► traffic move     TRAFFIC_MOVE_S, once per reload
                  └─► routers follow   ROUTERS_FOLLOW_S, once per reload, twice per experiment
                        └─► routers that stop        STOPPING_ROUTERS_S
                              └─► router's own read  STATE_FOLLOW_PERIOD_S + ROUTER_CALL_S

    an outcome, or a query of experiments

    ModelClient, modelctl              CLIENT_QUERY_S
      └─► router or fleet              EXPERIMENT_LOG_S
            └─► experiment log         the lock of its database, 30 s

    a push or a query of bars

    ModelClient, modelctl              CLIENT_QUERY_S
      └─► router                       BAR_LOG_S
            └─► bar log                the lock of its database, 30 s

    a series of predictions

    ModelClient                        CLIENT_QUERY_S
      └─► router                       no limit: it ends when the client disconnects
            └─► predictor of symbols   LIVE_SERIES_S, for up to 1024 bars

    health

    the caller                         expects an accurate state within 2 s
      └─► router                       DEPENDENCY_PERIOD_S + DEPENDENCY_S

    a prediction

    ModelClient                        its `timeout_s`, by default shorter than all below: a trading
      │                                loop has no use for a late response
      └─► router                       settings: router.request_timeout_s
            ├─► written state          STATE_CONFIRM_S, first requests of a new router only
            ├─► fleet                  FLEET_REQUEST_S, versions that load on demand only
            ├─► predictor of symbols   LIVE_CALL_S, older bars only
            ├─► treatment              settings: router.treatment_timeout_s
            └─► replica                REPLICA_HEARTBEAT_S
                  ├─► its channel      CHANNEL_CONNECT_S
                  ├─► its heartbeat    PULSE_PERIOD_S, one more than PULSES_MISSED times
                  └─► its address      REPLICA_DISCOVERY_S

    the body of a request

    HAProxy                            a constant of serve_app.launch.haproxy_config
      └─► router                       BODY_S

    a start

    modelctl serve                     SERVER_START_S
      ├─► version load                 VERSION_LOAD_S
      └─► router                       ROUTER_READY_S, ROUTER_READY_OTHERS_S, ROUTER_READY_SYMBOLS_S
"""

CLIENT_COMMAND_S = 360.0
"""Longest wait of the client for a command, so that the server's reason arrives first."""

CLIENT_UNREACHABLE_S = 60.0
"""Longest time for which the client tries to connect for a command: a server that cannot be reached
has no reason to report, so that its own limits do not matter."""

CLIENT_QUERY_S = 60.0
"""Longest wait of the client for a query of experiments or for an outcome to be stored: neither
loads a version, and a bot waits for it."""

EXPERIMENT_LOG_S = 45.0
"""Longest wait for the experiment log, which itself waits for the lock of its database. A log that
does not exist any more, because its node has died, never responds."""

BAR_LOG_S = 45.0
"""Longest wait for the bar log, which itself waits for the lock of its database."""

DEPENDENCY_S = 1.0
"""Longest wait of a router's health for a component that predictions do not need."""

DEPENDENCY_PERIOD_S = 0.5
"""Pause between two checks of such a component."""

FLEET_COMMAND_S = 330.0
"""Longest wait of a router for a command of the fleet."""

VERSION_LOAD_S = 120.0
"""Longest wait for a version: its trial run in the registry, and the start of its replicas."""

TRAFFIC_MOVE_S = 120.0
"""Longest wait for the stages of a loaded version to point at it."""

ROUTERS_FOLLOW_S = 30.0
"""Longest wait for every router to follow the written state. Serve replaces a router that has died
within a few health checks, so most causes of a delay have passed by then."""

STOPPING_ROUTERS_S = 4.0
"""Longest wait for routers that are being replaced. Broadcasts no longer reach them, and they read
the state by themselves."""

ROUTER_CALL_S = 2.0
"""Longest wait for a broadcast to the routers, and for Serve's list of them."""

STATE_FOLLOW_PERIOD_S = 1.0
"""Period at which a router reads the state; bounds how long a missed broadcast goes unnoticed."""

TOKENS_FOLLOW_PERIOD_S = 0.5
"""Period at which a router asks for changed tokens, so that it follows a change within a second."""

TOKENS_LATE_S = 1.2
"""Time without a response to that question from which on the registry counts as unresponsive."""

STATE_CONFIRM_S = 2.0
"""Longest wait of a new router's first requests for the state, before they receive a 503."""

BODY_S = 30.0
"""Longest wait of a router for the whole body of a request."""

FLEET_REQUEST_S = 5.0
"""Longest wait of a request for the fleet, which starts to load a version on demand."""

LIVE_CALL_S = 5.0
"""Longest wait of a router for the predictor of symbols, which reads the bar log and runs the model
for a bar that the router does not have."""

LIVE_SERIES_S = 30.0
"""Longest wait of a router for the windows of a part of a series: where every bar was revised, each
window is computed on its own."""

LIVE_FOLLOW_S = 10.0
"""Longest wait of the predictor for a next result, before a router asks again."""

LAUNCH_RETRY_S = 30.0
"""Pause before a version that failed to load is launched again."""

DRAIN_S = 2.0
"""Time for which replicas stay after every router has released them, for requests in flight."""

DRAIN_LIMIT_S = 60.0
"""Time for which they stay while a router may not have released them yet."""

HEALTH_CHECK_PERIOD_S = 2.0
"""Period of Serve's health checks: a dead replica is noticed, and replaced, within this time."""

REPLICA_HEARTBEAT_S = 3.0
"""Time without a response after which a replica counts as lost; longer than a slow model run."""

REPLICA_HEARTBEAT_PERIOD_S = 0.5
"""Period of the heartbeats to the replicas of a version."""

REPLICA_DISCOVERY_S = 1.0
"""Longest wait for all replicas of a version to return their addresses."""

PULSE_PERIOD_S = 0.05
"""Time after which a call in flight makes a router check that the replica's process runs at all."""

PULSES_MISSED = 3
"""Periods without a reply after which that process counts as stopped, so that its calls are sent to
another replica within 0.2 s; a busy machine delays the thread that replies by less."""

CHANNEL_CONNECT_S = 3.0
"""Longest wait for a connection to a replica."""

CHANNEL_RETRY_S = 10.0
"""Pause after a failed connection to a replica, which is called through Serve's handle until then.
"""

CHANNEL_IDLE_S = 10.0
"""Time without a message after which a replica closes a connection; routers send heartbeats far
more often."""

CHANNEL_DRAIN_S = 10.0
"""Longest wait of a stopping replica for routers to close their connections; as long as
`router.request_timeout_s` by default."""

ROUTER_READY_S = 15.0
"""Longest wait of a new router for the version of requests that name none; what is not loaded then
receives a 503."""

ROUTER_READY_OTHERS_S = 5.0
"""Longest wait of a new router for the other pinned versions, once that one is loaded."""

ROUTER_READY_SYMBOLS_S = 5.0
"""Longest wait of a new router for the predictions of all symbols, once its versions are loaded."""

SERVER_START_S = 150.0
"""Longest wait of `modelctl serve` for the server's first healthy response."""
