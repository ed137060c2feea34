"""A Ray cluster on free local ports, started and used as an operator would."""

import json
import os
import random
import re
import shlex
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError

import psutil
import yaml

from serve_app.deployments.telemetry import PERIOD_S
from serve_app.launch.environment import (
    NODE_ADDRESS_VARIABLE,
    haproxy_files,
    server_environment,
)
from serve_app.launch.ports import HAPROXY_PORTS
from serve_app.launch.ray_token import MODE_VARIABLE, PATH_VARIABLE, request_headers
from testkit.paths import BIN
from testkit.snippets import page

MARKER = "TRADESERVE_TEST_CLUSTER"
FAR_MARKER = "TRADESERVE_TEST_FAR_NODE"
RAY_METRICS_PERIOD_S = 10.0
"""Ray's default period between two exports of a process's metrics."""
OUR_PORTS = range(20_000, 30_000)
"""Ports above those of Ray's workers, below those of Serve's routers and the ephemeral range."""


class Cluster:
    """A cluster started by `ray start --head` with the documented environment.

    Every process carries a marker in its environment, which `stop` uses to find it.
    """

    def __init__(
        self,
        folder: Path,
        metrics_period_s: float = RAY_METRICS_PERIOD_S,
        is_multi_node: bool = False,
        node_address: str = "127.0.0.1",
    ) -> None:
        self.folder = folder
        self._node_address = node_address
        self._host = "127.0.0.1" if node_address == "127.0.0.1" else "0.0.0.0"
        self.metrics_age_s = metrics_period_s + PERIOD_S
        """Age that an exported metric may reach, in seconds."""
        (self.http_port, self.gcs_port, self.dashboard_port, *others) = free_ports(7)
        self._other_ports = others
        self.metrics_url = f"http://127.0.0.1:{others[3]}/metrics"
        """The URL of the head node's metrics in Prometheus' format."""
        self.agent_port = others[2]
        """The HTTP port of the dashboard agent, which responds to Ray's health checks."""
        self.url = f"http://127.0.0.1:{self.http_port}"
        self.address = f"{node_address}:{self.gcs_port}"
        self.client_environment = {
            "RAY_ADDRESS": self.address,
            MODE_VARIABLE: "token",
            PATH_VARIABLE: str(folder / "ray_token"),
            NODE_ADDRESS_VARIABLE: "1" if is_multi_node else "0",
        }
        """The variables with which a program connects to this cluster."""
        self.environment = {
            **server_environment(os.environ),
            **haproxy_files(folder / "haproxy"),
            **haproxy_ports(),
            **self.client_environment,
            # Artifact caches lie below it, so that no earlier run has filled them.
            "TMPDIR": str(folder),
            MARKER: str(folder),
            "RAY_metrics_report_interval_ms": str(round(metrics_period_s * 1e3)),
        }

    def start(self) -> None:
        """Start the head node with the README's commands, in `folder` as the working directory."""
        client, agent_grpc, agent_http, metrics = self._other_ports
        ports = (
            f" --node-ip-address={self._node_address} --port={self.gcs_port}"
            f" --dashboard-port={self.dashboard_port} --ray-client-server-port={client}"
            f" --dashboard-agent-grpc-port={agent_grpc} --metrics-export-port={metrics}"
            f" --dashboard-agent-listen-port={agent_http} --temp-dir={self.folder / 'ray'}"
        )
        environment, start, _deploy = operator_commands()
        self._run(f"{environment}\n{start}{ports}", without="RAY_ADDRESS")

    def deploy(self, args: dict[str, object]) -> None:
        """Deploy the application with these `args` and do not wait.

        Sends the request that `serve deploy` sends, without the seconds that the command takes to
        start.
        """
        url = f"{self._dashboard}/api/serve/applications/"
        body = json.dumps(self._config(args)).encode()
        headers = {"Content-Type": "application/json", **self.token_headers()}
        request = urllib.request.Request(url, body, headers, method="PUT")
        with urllib.request.urlopen(request, timeout=30):
            pass

    def deploy_by_command(self, args: dict[str, object]) -> None:
        """Deploy the application with the README's command and do not wait."""
        path = self.folder / "serve_config.yaml"
        path.write_text(yaml.safe_dump(self._config(args)))
        _environment, _start, deploy = operator_commands()
        assert deploy.endswith(f" {path.name}")
        self._run(f"{deploy} --address {self._dashboard}")

    def _config(self, args: dict[str, object]) -> dict[str, object]:
        return {
            "proxy_location": "HeadOnly",
            "http_options": {"host": self._host, "port": self.http_port},
            "applications": [
                {
                    "name": "trading-models",
                    "route_prefix": "/",
                    "import_path": "serve_app.app:build",
                    "args": args,
                }
            ],
        }

    def status(self) -> dict[str, object]:
        """Return Serve's details of the application, as `serve status` queries them."""
        url = f"{self._dashboard}/api/serve/applications/"
        request = urllib.request.Request(url, headers=self.token_headers())
        with urllib.request.urlopen(request, timeout=10) as answer:
            application: dict[str, object] = json.load(answer)["applications"]["trading-models"]
        return application

    def token_headers(self) -> dict[str, str]:
        """Return the headers with which Ray's dashboard accepts a request."""
        return request_headers(self.environment)

    def wait_until_serving(self, versions: set[str], timeout_s: float = 180) -> None:
        """Wait until exactly these versions (`model:version`) are loaded."""
        deadline_s = time.monotonic() + timeout_s
        seen: Any = None
        while time.monotonic() < deadline_s:
            try:
                with urllib.request.urlopen(f"{self.url}/api/ml/models", timeout=5) as answer:
                    seen = json.load(answer)
                loaded = {
                    f"{entry['name']}:{entry['version']}" for entry in seen if entry["loaded"]
                }
                if loaded == versions == {f"{entry['name']}:{entry['version']}" for entry in seen}:
                    return
            except (URLError, HTTPError, ConnectionError, TimeoutError) as error:
                seen = error
            time.sleep(0.2)
        raise AssertionError(f"{versions} not served within {timeout_s} s: {seen}, {self.status()}")

    def replicas(self, deployment: str) -> list[psutil.Process]:
        """Return the processes of one deployment's replicas."""
        return self.find(f"ray::ServeReplica:trading-models:{deployment}")

    def registry_actor(self) -> psutil.Process:
        """Return the registry actor's process."""
        (process,) = self.find("ray::RegistryActor")
        return process

    def find(self, title: str) -> list[psutil.Process]:
        """Return the processes whose title starts with `title`."""
        return [process for process in self.processes() if title_of(process).startswith(title)]

    def processes(self) -> list[psutil.Process]:
        """Return every living process of this cluster."""
        return with_children(
            [process for process in psutil.process_iter() if self._is_ours(process)]
        )

    @contextmanager
    def far_node(self, num_cpus: int = 0) -> Iterator[Path]:
        """Run a second node of a multi-node cluster, with an empty folder in place of `models`.

        It has the resource `far` and by default no CPUs, so that only tasks that request the
        resource run there. It runs in a separate mount namespace, which ends with its last process.
        Yields its TMPDIR.
        """
        temporary = self.folder / "far"
        temporary.mkdir()
        agent_grpc, agent_http, metrics = free_ports(3)
        script = (
            f"mount -t tmpfs tmpfs {self.folder / 'models'}\n"
            f"{BIN}/ray start --address={self.address} --node-ip-address=127.0.0.2"
            f" --num-cpus={num_cpus}"
            f""" --resources='{{"far": 1}}' --object-store-memory=100000000"""
            f" --temp-dir={temporary} --metrics-export-port={metrics}"
            f" --dashboard-agent-grpc-port={agent_grpc} --dashboard-agent-listen-port={agent_http}"
        )
        environment = {
            **self.environment,
            "TMPDIR": str(temporary),
            FAR_MARKER: str(self.folder),
        }
        try:
            self._run(f"unshare --mount bash -ec {shlex.quote(script)}", environment=environment)
            yield temporary
        finally:
            far = [
                process for process in psutil.process_iter() if self._is_ours(process, FAR_MARKER)
            ]
            for process in far:
                process.kill()
            psutil.wait_procs(far, timeout=10)

    def shutdown(self) -> None:
        """Stop everything that Serve runs; the cluster itself keeps running."""
        self._run(f"{BIN}/serve shutdown -y --address {self._dashboard}")

    def stop(self) -> None:
        """Shut Serve down, then end every remaining process, orphans included."""
        everything = set(self.processes())
        try:
            self.shutdown()
        finally:
            everything |= set(self.processes())
            for process in everything:
                with suppress(psutil.NoSuchProcess):
                    process.kill()
            _, alive = psutil.wait_procs(everything, timeout=10)
        assert not alive, alive

    @property
    def _dashboard(self) -> str:
        return f"http://127.0.0.1:{self.dashboard_port}"

    def _is_ours(self, process: psutil.Process, marker: str = MARKER) -> bool:
        try:
            alive = process.status() != psutil.STATUS_ZOMBIE
            return alive and process.environ().get(marker) == str(self.folder)
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            return False

    def _run(
        self, script: str, without: str = "", environment: dict[str, str] | None = None
    ) -> str:
        environment = environment or self.environment
        environment = {key: value for key, value in environment.items() if key != without}
        done = subprocess.run(
            ["bash", "-ec", script],
            env=environment,
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
        assert done.returncode == 0, f"{script}\n{done.stdout}\n{done.stderr}"
        return done.stdout


def with_children(processes: Sequence[psutil.Process]) -> list[psutil.Process]:
    """Return these processes and all their descendants.

    Ray's agents overwrite the environment that identifies a cluster's processes, and outlive the
    others by some seconds, during which they keep their ports and write to their log files.
    """
    found = {process.pid: process for process in processes}
    while new := [
        process
        for process in psutil.process_iter(["ppid"])
        if process.info["ppid"] in found and process.pid not in found
    ]:
        found.update((process.pid, process) for process in new)
    return list(found.values())


def title_of(process: psutil.Process) -> str:
    """Return the title that a process has set; empty if it has just ended.

    Ray rewrites the title on every call. A concurrent read may return nothing or, during a health
    check of a replica, the name of that call: `ray::0:ModelServer.check_health`.
    """
    for _attempt in range(1000):
        try:
            title = " ".join(process.cmdline())
            if not process.name().startswith("ray::"):
                return title
        except psutil.NoSuchProcess:
            return ""
        if re.match(r"ray::(?!\d+:)", title):
            return title
        time.sleep(0.01)
    raise AssertionError(f"{process} does not settle on a name: {title}")


def operator_commands() -> list[str]:
    """Return the README's commands for starting a cluster, with this environment's programs."""
    commands = page("README.md").block("bash", "On a cluster of your own").splitlines()
    return [command.replace(".venv/bin/", f"{BIN}/") for command in commands]


def haproxy_ports() -> dict[str, str]:
    """Return the variables that move HAProxy's other ports to free ones."""
    numbers = free_ports(len(HAPROXY_PORTS))
    return {
        variable: str(number)
        for (variable, _, _), number in zip(HAPROXY_PORTS, numbers, strict=True)
    }


def free_ports(count: int) -> list[int]:
    """Return ports that were free on 127.0.0.1 a moment ago, each at most once per process.

    They lie outside the system's ephemeral range, since the dozens of processes that Ray starts
    meanwhile occasionally take a port from it.
    """
    with ExitStack() as stack:  # all are held until the last is found
        ports: list[int] = []
        while len(ports) < count:
            port = _shuffled_ports.pop()
            one = stack.enter_context(socket.socket())
            try:
                one.bind(("127.0.0.1", port))
            except OSError:
                continue  # in use
            ports.append(port)
        return ports


_shuffled_ports = random.sample(OUR_PORTS, len(OUR_PORTS))
