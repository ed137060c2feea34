"""`modelctl serve` replaces a cluster whose components have died, while a bot keeps trading."""

import json
import shutil
import signal
import sqlite3
import tempfile
import threading
import time
import urllib.request
from contextlib import closing
from pathlib import Path
from urllib.error import URLError

import pytest

from serve_app.launch.supervision import MAX_RESTARTS, STOPPED_LIMIT_S
from testkit.cluster import free_ports
from testkit.launch import Launch, Output

NAME = "hybrid_cnn_lstm"
WINDOW = [[0.01] * 110] * 60
BODY = {"symbol": "EURUSD", "features": WINDOW, "model_name": NAME}
RESTORE_S = 30.0
QUIET_START_S = 17.0
"""The longest start on a quiet machine with two cores."""
START_LIMIT_S = 150.0

DETECTION_S = 60.0
"""Far more than the 1.6 s that detection and the end of the cluster take on a quiet machine: the
benchmarks measure that."""
AGENTS = ("ray::DashboardA", "ray::RuntimeEnv")


class Bot:
    """Requests predictions and reports an outcome for each, without retries, in a thread."""

    def __init__(self, url):
        self.url, self.acknowledged = url, []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._trade)
        self._thread.start()

    def end(self):
        self._ended.set()
        self._thread.join()

    def _trade(self):
        while not self._ended.wait(0.05):
            try:
                prediction = self._post("/api/ml/predict", BODY)["prediction_id"]
                outcome = {"prediction_id": prediction, "market_return": 0.01}
                self._post("/api/ml/outcomes", outcome)
            except (URLError, ConnectionError, TimeoutError):
                continue
            self.acknowledged.append(prediction)

    def _post(self, path, body):
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(self.url + path, json.dumps(body).encode(), headers)
        with urllib.request.urlopen(request, timeout=5) as response:
            return json.load(response)


class Server:
    """A launched server, whose components can be killed."""

    def __init__(self, launch, process):
        self.launch, self.process, self.output = launch, process, Output(process)
        started_s = time.monotonic()
        self.output.wait_for("Serving on", 0, START_LIMIT_S)
        self.start_s = time.monotonic() - started_s

    def fail(self, name, number, detection_s):
        """Send a signal to the processes with a name, and wait until the server is back.

        On a machine that needs longer for a start than a quiet one, only the detection is timed.
        """
        seen = len(self.output.lines)
        began_s = time.monotonic()
        victims = self.launch.named(name)
        assert victims, name
        for victim in victims:
            victim.send_signal(number)
        self.output.wait_for("server: restarting", seen, detection_s)
        detected_s = time.monotonic() - began_s
        self.output.wait_for("Serving on", seen, START_LIMIT_S)
        restored_s = time.monotonic() - began_s
        print(
            f"{name} {number.name}: ended after {detected_s:.1f} s, restored after "
            f"{restored_s:.1f} s (first start: {self.start_s:.1f} s)"
        )
        assert restored_s < RESTORE_S or self.start_s > QUIET_START_S
        with urllib.request.urlopen(f"{self.launch.url}/api/ml/health", timeout=5) as response:
            assert response.status == 200


@pytest.fixture
def launch(folder, registry):
    """A server with a copy of the registry, below a folder with a short name."""
    own = Path(tempfile.mkdtemp(prefix="ts", dir="/tmp"))
    models = own / "models"
    shutil.copytree(folder / "models", models, symlinks=True)
    for file in models.glob(".*trading-models*"):
        file.unlink()
    application = {
        "name": "trading-models",
        "route_prefix": "/",
        "import_path": "serve_app.app:build",
        "args": {"registry_root": str(models), "versions": [{"model": NAME}]},
    }
    yield Launch(own, own, application, free_ports(4))
    shutil.rmtree(own)


def assert_stored(launch, prediction_ids):
    database = launch.config.parent / "models" / ".experiments-trading-models.db"
    with closing(sqlite3.connect(database)) as connection:
        stored = {row[0] for row in connection.execute("SELECT prediction_id FROM outcomes")}
    assert set(prediction_ids) <= stored


def test_restored(launch):
    """After the death of an agent the server is back, and no acknowledged outcome is lost; a stop
    during a restart ends everything."""
    with launch.running() as process:
        server = Server(launch, process)
        bot = Bot(launch.url)
        try:
            server.fail(AGENTS[0], signal.SIGKILL, DETECTION_S)
            before = len(bot.acknowledged)
            wait_until(lambda: len(bot.acknowledged) > before + 3)
        finally:
            bot.end()
        seen = len(server.output.lines)
        launch.named("raylet")[0].kill()
        server.output.wait_for("server: restarting", seen, 60)
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == 0
        assert_stored(launch, bot.acknowledged)
        launch.assert_nothing_left()


@pytest.mark.nightly
def test_every_component(launch):
    """Every component that Ray does not restart is replaced, whether it is killed or stopped; the
    failure after the last restart ends the command with code 1."""
    victims = [
        (name, signal.SIGKILL, DETECTION_S) for name in (*AGENTS, "gcs_server", "raylet")
    ] + [("gcs_server", signal.SIGSTOP, STOPPED_LIMIT_S + DETECTION_S)]
    assert len(victims) == MAX_RESTARTS
    with launch.running() as process:
        server = Server(launch, process)
        bot = Bot(launch.url)
        try:
            for name, number, detection_s in victims:
                server.fail(name, number, detection_s)
            launch.named("raylet")[0].kill()
            assert process.wait(timeout=60) == 1
        finally:
            bot.end()
        assert (
            process.stderr.read()
            .splitlines()[-1]
            .startswith(
                f"error: raylet: ended; the server was restarted {MAX_RESTARTS} times within 10 min"
            )
        )
        assert_stored(launch, bot.acknowledged)
        launch.assert_nothing_left()


def wait_until(is_true, timeout_s=30.0):
    deadline_s = time.monotonic() + timeout_s
    while not is_true():
        assert time.monotonic() < deadline_s
        time.sleep(0.05)
