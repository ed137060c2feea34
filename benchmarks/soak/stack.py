"""The default server: `modelctl serve` with the application of `serve_config.yaml`."""

import asyncio
import re
import shutil
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Self
from urllib.error import URLError

import psutil
import yaml

from benchmarks.serving import APPLICATION, NAME, SHAPE, make_network
from optimization.export.exporter import export_onnx
from registry import ModelRegistry, ModelStage
from registry.architectures import save_checkpoint
from testkit.cluster import free_ports, title_of, with_children
from testkit.launch import Launch, Output
from testkit.paths import ROOT

VERSIONS = ("1.0.0", "1.1.0")
"""Versions that alternate in production, and are compared by experiments."""
STAGING = "1.2.0"
START_S = 240.0


@dataclass(frozen=True, slots=True)
class Usage:
    """What the processes of one role use, in sum."""

    processes: int
    pss_mb: float
    """Memory, of which shared pages are divided between the processes that share them, also those
    of other servers on the machine."""
    own_mb: float
    """The anonymous part, which no file backs: what a process has allocated."""
    descriptors: int
    threads: int
    cpu_s: float
    """Processor time since the start of the processes."""

    @classmethod
    def sum(cls, usages: Sequence[Self]) -> Self:
        """Return what all of them use."""
        return cls(
            processes=sum(usage.processes for usage in usages),
            pss_mb=sum(usage.pss_mb for usage in usages),
            own_mb=sum(usage.own_mb for usage in usages),
            descriptors=sum(usage.descriptors for usage in usages),
            threads=sum(usage.threads for usage in usages),
            cpu_s=sum(usage.cpu_s for usage in usages),
        )


class Stack:
    """A running server with its registry, its processes by role, and its files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        """TMPDIR of the server; contains its registry as well."""
        self.registry = ModelRegistry(folder / "models")
        config = yaml.safe_load((ROOT / "serve_config.yaml").read_text())
        application: dict[str, Any] = config["applications"][0]
        application["args"]["registry_root"] = str(folder / "models")
        self._launch = Launch(folder, folder, application, free_ports(4))
        self.url = self._launch.url
        self.events: list[str] = []
        """Lines that the launcher has written to standard error."""

    def register(self) -> None:
        """Register the versions, of the same weights, the first one in production."""
        network = make_network(seed=0)
        checkpoint, onnx = self.folder / "model.pt", self.folder / "model.onnx"
        save_checkpoint(network, checkpoint)
        export_onnx(network, onnx, SHAPE)
        for version in (*VERSIONS, STAGING):
            asyncio.run(
                self.registry.register_model(
                    NAME, version, checkpoint, "HybridCNNLSTM", artifacts={"model.onnx": onnx}
                )
            )
        checkpoint.unlink()
        onnx.unlink()
        asyncio.run(self.registry.promote_to_production(NAME, VERSIONS[0]))
        asyncio.run(self.registry.set_model_stage(NAME, STAGING, ModelStage.STAGING))

    @contextmanager
    def running(self) -> Iterator[None]:
        """Run the server until the context closes."""
        with self._launch.running() as process:
            Output(process)
            assert process.stderr is not None
            threading.Thread(target=self._collect, args=(process.stderr,), daemon=True).start()
            self._wait_until_healthy(process.poll)
            try:
                yield
            finally:
                process.terminate()
                process.wait(60)

    def usage(self) -> dict[str, Usage]:
        """Return what the living processes use, by role."""
        found: dict[str, list[Usage]] = {}
        for process in with_children(self._launch.processes()):
            # One of Ray's spare workers may have ended; they come and go.
            with suppress(psutil.NoSuchProcess, FileNotFoundError, ProcessLookupError):
                usage = _usage(process)
                found.setdefault(role(title_of(process)), []).append(usage)
        return {name: Usage.sum(usages) for name, usages in sorted(found.items())}

    def disk_mb(self) -> dict[str, float]:
        """Return the sizes of the server's files by their purpose."""
        sessions = sorted(self.folder.glob("tradeserve-[0-9]*/ray/session_*[0-9]"))
        logs = [path for session in sessions for path in (session / "logs").rglob("*")]
        sizes = {
            "logs of Serve": _size_mb(path for path in logs if path.parent.name == "serve"),
            "logs of Ray": _size_mb(path for path in logs if path.parent.name != "serve"),
            "experiments": _size_mb((self.folder / "models").glob(".experiments-*")),
            "artifacts": _size_mb(self.folder.glob("tradeserve-artifacts-*/*")),
            "registry": _size_mb((self.folder / "models").rglob("[!.]*")),
            "HAProxy": _size_mb(
                path for folder in self._haproxy_folders() for path in folder.rglob("*")
            ),
        }
        total_mb = _size_mb(self.folder.rglob("*")) + sizes["HAProxy"]
        return {**sizes, "others": total_mb - sum(sizes.values())}

    def _haproxy_folders(self) -> set[Path]:
        """Return the folders of HAProxy, which the command lines of its processes name."""
        found = set()
        for process in self._launch.processes():
            with suppress(psutil.NoSuchProcess):
                if process.name() == "haproxy":
                    files = [Path(word) for word in process.cmdline() if word.endswith(".cfg")]
                    found |= {file.parents[1] for file in files}
        return found

    def _wait_until_healthy(self, exit_code: Callable[[], int | None]) -> None:
        deadline_s = time.monotonic() + START_S
        while not self._is_healthy():
            if exit_code() is not None:
                raise RuntimeError(f"the server ended: {''.join(self.events)}")
            if time.monotonic() > deadline_s:
                raise TimeoutError(f"the server was not healthy within {START_S:g} s")
            time.sleep(0.5)

    def _is_healthy(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/api/ml/health", timeout=10) as answer:  # noqa: S310  ours
                return bool(answer.status == 200)
        except (URLError, OSError):
            return False

    def _collect(self, stream: IO[str]) -> None:
        self.events.extend(stream)


@contextmanager
def stack() -> Iterator[Stack]:
    """Run the default server, with both versions and one in staging."""
    # Ray's sockets below it have at most 107 characters.
    folder = Path(tempfile.mkdtemp(prefix="s-", dir="/tmp"))
    try:
        running = Stack(folder)
        running.register()
        with running.running():
            yield running
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def role(line: str) -> str:
    """Return a process's role from its command line, which Ray's actors set to a title."""
    return next((name for part, name in _ROLES.items() if part in line), "others")


_ROLES: Mapping[str, str] = {
    f"ray::ServeReplica:{APPLICATION}:Router": "routers",
    f"ray::ServeReplica:{APPLICATION}:Fleet": "fleet",
    f"ray::ServeReplica:{APPLICATION}:{NAME}": "replicas",
    "ray::RegistryActor": "registry actor",
    "ray::ExperimentLogActor": "experiment log",
    "ray::ServeController": "controller",
    "ray::HAProxyManager": "HAProxy's manager",
    "ray::ProxyActor": "fallback proxy",
    "ray::": "workers of Ray",
    "/gcs/gcs_server": "gcs",
    "/raylet/raylet": "raylet",
    "spare.cfg": "spare HAProxy",
    "haproxy_spare": "spare HAProxy",
    "haproxy": "HAProxy",
    "ray.serve.scripts run": "driver",
    "modelctl serve": "launcher",
    "log_monitor": "log monitor",
    "monitor.py": "autoscaler",
    "dashboard": "dashboard",
    "multiprocessing": "dashboard",
    "registry.trial_run": "trial runs",
}
"""The role by a part of the command line; the first match counts."""


_ROLLUP_LINE = re.compile(r"^(\w+): +(\d+) kB$", re.MULTILINE)


def _usage(process: psutil.Process) -> Usage:
    rollup = Path(f"/proc/{process.pid}/smaps_rollup").read_text()
    kilobytes = {name: int(number) for name, number in _ROLLUP_LINE.findall(rollup)}
    if "Pss" not in kilobytes:
        raise psutil.ZombieProcess(process.pid)
    with process.oneshot():
        times = process.cpu_times()
        return Usage(
            processes=1,
            pss_mb=kilobytes["Pss"] * 1024 / 1e6,
            own_mb=kilobytes["Pss_Anon"] * 1024 / 1e6,
            descriptors=process.num_fds(),
            threads=process.num_threads(),
            cpu_s=times.user + times.system,
        )


def _size_mb(paths: Iterable[Path]) -> float:
    total = 0
    for path in paths:
        with suppress(OSError):  # it has just been removed
            status = path.lstat()
            total += status.st_blocks * 512
    return total / 1e6
