"""Reports on the locked packages, with a vulnerability service of the test's own."""

import json
import shutil
import subprocess
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from testkit.paths import ROOT

pytestmark = pytest.mark.slow

VULNERABILITY = {
    "id": "PYSEC-2026-1",
    "summary": "reads past the end",
    "affected": [{"package": {"name": "numpy", "ecosystem": "PyPI"}, "versions": ["2.4.0"]}],
}


class Service(BaseHTTPRequestHandler):
    """Knows one vulnerability, and fails for the package `broken`."""

    def do_POST(self):
        query = json.loads(self.rfile.read(int(self.headers["content-length"])))
        name = query["package"]["name"]
        found = {"vulns": [VULNERABILITY]} if name == "numpy" else {}
        self.send_response(500 if name == "broken" else 200)
        self.end_headers()
        self.wfile.write(json.dumps(found).encode())

    def log_message(self, format, *args):  # noqa: A002  the name of the base class
        pass


@pytest.fixture
def service_url():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Service)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def make(folder, *arguments, lock):
    """Run make in a checkout that shares this one's environment."""
    shutil.copy(ROOT / "Makefile", folder)
    shutil.copy(ROOT / "pyproject.toml", folder)
    (folder / ".venv").symlink_to(ROOT / ".venv")
    (folder / "requirements.lock").write_text(lock)
    command = ["make", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("lock", "is_clean", "text"),
    [
        ("orjson==3.13.0\n", True, "No known vulnerabilities found"),
        ("orjson==3.13.0\nnumpy==2.4.0\n", False, "PYSEC-2026-1"),
        ("broken==1.0.0\n", False, "500"),
    ],
)
def test_audit_fails_for_vulnerable_packages(tmp_path, service_url, lock, is_clean, text):
    """`make audit` fails if a locked package is vulnerable, or if the service does not respond."""
    done = make(tmp_path, "audit", f"OSV_URL={service_url}", lock=lock)
    assert (done.returncode == 0) is is_clean
    assert text in done.stdout + done.stderr


@pytest.mark.nightly
def test_bill_of_materials_lists_the_locked_packages(tmp_path):
    """`make sbom` lists every locked package that the server imports, most with a licence."""
    done = make(tmp_path, "sbom", lock="")
    assert done.returncode == 0, done.stderr
    document = json.loads((tmp_path / "sbom.cdx.json").read_text())
    assert (document["bomFormat"], document["specVersion"]) == ("CycloneDX", "1.6")
    components = {component["name"]: component for component in document["components"]}
    licensed = [component for component in components.values() if component.get("licenses")]
    assert len(licensed) > 0.9 * len(components)
    for name in ("ray", "onnxruntime", "fastapi", "orjson", "numpy"):
        assert components[name]["version"]
    assert str(ROOT) not in json.dumps(document)
