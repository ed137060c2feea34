"""HAProxy as Serve's own class starts it through haproxy.sh, in front of routers."""

import asyncio
import threading
from contextlib import closing, contextmanager
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from ray.serve._private import haproxy as ray_haproxy
from ray.serve.config import HTTPOptions

from serve_app.launch import haproxy
from serve_app.launch.environment import MACHINE_ENVIRONMENT
from testkit.cluster import free_ports

PER_ADDRESS = 20


class Backend(BaseHTTPRequestHandler):
    """A router that responds at once, with keep-alive."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        status = int(self.path[-3:]) if self.path.startswith("/text/") else 200
        self.send_response(status)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, *_args):
        pass


@contextmanager
def listening():
    """The port of a router."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Backend)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_port
    server.shutdown()
    server.server_close()


class Proxy:
    """HAProxy as Serve's class starts it in a folder."""

    def __init__(self, folder, config, backends):
        self.folder = folder
        self.config = config
        self._backends = backends
        self._loop = asyncio.new_event_loop()
        self._apis = []

    def start(self, has_routers=True):
        """Start HAProxy as a proxy actor does, which may not know the routers yet."""
        backends = dict(self._backends) if has_routers else {}
        path = str(self.folder / "haproxy.cfg")
        self._apis.append(ray_haproxy.HAProxyApi(self.config, backends, path))
        self._loop.run_until_complete(self._apis[-1].start())

    def reload(self):
        """Reload HAProxy as a proxy actor does once it knows the routers."""
        self._apis[-1].set_backend_configs(self._backends)
        self._loop.run_until_complete(self._apis[-1].reload())

    def stop(self):
        """End every HAProxy, and the process that keeps the spare."""
        (self.folder / "serving").unlink(missing_ok=True)
        for api in self._apis:
            self._loop.run_until_complete(api.stop())
        self._loop.close()

    def get(self, source="127.0.0.1", path="/", headers=()):
        """Return the status, the headers and the body of a request."""
        connection = HTTPConnection(
            "127.0.0.1", self.config.frontend_port, timeout=20, source_address=(source, 0)
        )
        with closing(connection):
            connection.request("GET", path, headers=dict(headers))
            response = connection.getresponse()
            return response.status, response.headers, response.read()


@contextmanager
def started(folder, *server_ports, host="", has_routers=True):
    """Start HAProxy in front of routers on these ports."""
    port, stats, metrics = free_ports(3)
    config = ray_haproxy.HAProxyConfig(
        socket_path=str(folder / "admin.sock"),
        server_state_base=str(folder),
        server_state_file=str(folder / "server-state"),
        stats_port=stats,
        metrics_port=metrics,
        metrics_enabled=False,
        has_received_routes=True,
        is_head=True,
        http_options=HTTPOptions(host="127.0.0.1", port=port),
    )
    servers = [
        ray_haproxy.ServerConfig(name=f"app-Router-r{number}", host="127.0.0.1", port=server_port)
        for number, server_port in enumerate(server_ports)
    ]
    backend = ray_haproxy.BackendConfig(
        name="app", path_prefix="/", app_name="app", servers=servers, http_health_check_path="/"
    )
    with pytest.MonkeyPatch.context() as patch:
        for name, value in MACHINE_ENVIRONMENT.items():
            patch.setenv(name, value)
        patch.setenv(haproxy.LIMIT_VARIABLE, str(PER_ADDRESS))
        patch.setenv(haproxy.HOST_VARIABLE, host)
        executable = MACHINE_ENVIRONMENT["RAY_SERVE_HAPROXY_BINARY_PATH"]
        patch.setattr(ray_haproxy, "RAY_SERVE_HAPROXY_BINARY_PATH", executable)
        proxy = Proxy(folder, config, {"app": backend})
        try:
            proxy.start(has_routers)
            yield proxy
        finally:
            proxy.stop()
