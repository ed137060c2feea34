"""A running server and versions that name a feature set."""

import pytest

from serve_app.client import ModelClient
from serve_app.errors import ServerRejectedError
from testkit.feature_sets import record
from tests.integration.conftest import NAME

VERSION = "9.9.9"


@pytest.fixture
async def version(registry, folder):
    """A version whose feature set is not installed on the server."""
    feature_set = record(
        name="acme_absent", feature_names=tuple(f"feature_{number}" for number in range(110))
    )
    await registry.register_model(
        NAME, VERSION, folder / "1.0.0.onnx", "HybridCNNLSTM", feature_set=feature_set
    )
    yield VERSION
    await registry.delete_model(NAME, VERSION)


async def test_missing_feature_set(cluster, version):
    """A version without its feature set is not loaded, with the remedy; production serves on."""
    async with ModelClient(cluster.url, raise_errors=True, timeout_s=20) as client:
        with pytest.raises(ServerRejectedError, match="install the distribution") as caught:
            await client.reload_model(NAME, version)
        assert caught.value.code == "unusable_version"
        assert "does not serve without its feature set acme_absent 1" in str(caught.value)
        served = {(model["name"], model["version"]) for model in await client.list_models()}
    assert (NAME, version) not in served
    assert (NAME, "1.0.0") in served
