"""Loading a version's model: signatures that are required, and limits on the file."""

import resource
import sys

import pytest

from registry.errors import SignatureError, UnusableModelError
from registry.signatures import SigningKey
from serve_app.deployments.backends.batched_model import load_limited, load_model
from serve_app.settings import VersionSettings
from testkit.models import linear_onnx, metadata

REPLICAS = VersionSettings(model="toy", version="1.0.0")
ROUTER = VersionSettings(model="toy", version="1.0.0", placement="router")


async def test_required_signature(tmp_path):
    """An unsigned version is not even fetched where a signature is required."""
    key = SigningKey.create(tmp_path / "key.pem")
    with pytest.raises(SignatureError, match=r"toy:1\.0\.0 is not accepted"):
        await load_model(metadata(), REPLICAS, "models", (key.id,))


@pytest.mark.parametrize("settings", [REPLICAS, ROUTER], ids=["replicas", "router"])
def test_limits_end_with_loading(settings):
    """A model is loaded, and the memory of the process is limited no longer than that."""
    before = resource.getrlimit(resource.RLIMIT_DATA)
    assert load_limited(linear_onnx(), metadata(), settings) is not None
    assert resource.getrlimit(resource.RLIMIT_DATA) == before


@pytest.mark.parametrize("settings", [REPLICAS, ROUTER], ids=["replicas", "router"])
def test_unusable_model(settings):
    """An unusable model is rejected in both placements, and the limits end."""
    before = resource.getrlimit(resource.RLIMIT_DATA)
    with pytest.raises(UnusableModelError, match="an output is NaN"):
        load_limited(linear_onnx(float("nan")), metadata(), settings)
    assert resource.getrlimit(resource.RLIMIT_DATA) == before


def test_router_tries_in_another_process(monkeypatch):
    """In a router, a file that is rejected was never opened in the router's own process."""
    monkeypatch.setitem(sys.modules, "onnxruntime", None)  # loading it here would fail otherwise
    with pytest.raises(UnusableModelError, match="an output is NaN"):
        load_limited(linear_onnx(float("nan")), metadata(), ROUTER)
