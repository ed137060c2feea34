"""The roles of the processes of a soak."""

import pytest

from benchmarks.soak.stack import role


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("ray::ServeReplica:trading-models:Router", "routers"),
        ("ray::ServeReplica:trading-models:hybrid_cnn_lstm:1.0.0:ModelServer", "replicas"),
        ("ray::ServeReplica:trading-models:Fleet", "fleet"),
        ("ray::HAProxyManager", "HAProxy's manager"),
        ("ray::IDLE", "workers of Ray"),
        ("/bin/haproxy -db -f /tmp/tradeserve-ha1/node/haproxy.cfg", "HAProxy"),
        ("/bin/haproxy -db -f /tmp/tradeserve-ha1/node/spare.cfg", "spare HAProxy"),
        ("/ray/core/src/ray/gcs/gcs_server --log_dir=/tmp/logs", "gcs"),
        ("/bin/python /bin/modelctl serve serve_config.yaml", "launcher"),
        ("/bin/python -P -m registry.trial_run.worker", "trial runs"),
        ("/usr/bin/unknown", "others"),
    ],
)
def test_role(line, name):
    """A process has the role that its title or command line states."""
    assert role(line) == name
