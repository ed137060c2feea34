"""Signatures over a version's files and meaning, and what they do not let pass."""

import stat
import subprocess

import pytest

from registry.errors import SignatureError, SigningKeyError
from registry.signatures import SigningKey, check_key_id, check_signed, manifest
from testkit.feature_sets import record
from testkit.models import metadata


@pytest.fixture
def key(tmp_path):
    return SigningKey.create(tmp_path / "key.pem")


@pytest.fixture
def signed(key):
    """Return metadata with a derived artifact, both manifests signed."""
    of = metadata(
        artifacts={"model.onnx": "0" * 64, "fast.onnx": "1" * 64},
        derived={"fast.onnx": "model.onnx"},
    )
    return of.model_copy(
        update={
            "signatures": key.sign(manifest(of)),
            "derived_signatures": key.sign(manifest(of, derived=True)),
        }
    )


def test_signed_version(key, signed):
    """A version signed by one of the keys is accepted, its derived artifact too."""
    check_signed(signed, [key.id])
    check_signed(signed, [key.id], "fast.onnx")


def test_feature_set(key):
    """A signature covers the source of the feature set, but not the bars of its check."""
    of = metadata(feature_set=record())
    signed = of.model_copy(update={"signatures": key.sign(manifest(of))})
    elsewhere = signed.model_copy(update={"feature_set": record(checked_on="5 bars")})
    check_signed(elsewhere, [key.id])
    for changed in (record(sha256="1" * 64), record(feature_names=("volume", "change")), None):
        with pytest.raises(SignatureError):
            check_signed(signed.model_copy(update={"feature_set": changed}), [key.id])


def test_nothing_required():
    """Without keys an unsigned version is accepted."""
    check_signed(metadata(), [])


def test_unsigned_version(key):
    """The error names the version, the keys and the remedy."""
    with pytest.raises(SignatureError) as caught:
        check_signed(metadata(), [key.id])
    assert str(caught.value).startswith(
        f"toy:1.0.0 is not accepted: expected a signature by {key.id}, received signatures by no "
        f"key; "
    )
    assert "modelctl sign" in str(caught.value)


def test_other_key(key, signed, tmp_path):
    """A signature by a key that is not trusted does not count."""
    other = SigningKey.create(tmp_path / "other.pem")
    with pytest.raises(SignatureError, match="received signatures by ed25519:"):
        check_signed(signed, [other.id])
    forged = signed.model_copy(update={"signatures": {key.id: other.sign(b"x")[other.id]}})
    with pytest.raises(SignatureError, match="not over its files and metadata"):
        check_signed(forged, [key.id])


@pytest.mark.parametrize(
    "change",
    [
        {"name": "other"},
        {"version": "1.0.1"},
        {"artifacts": {"model.onnx": "2" * 64, "fast.onnx": "1" * 64}},
        {"artifacts": {"model.onnx": "0" * 64, "fast.onnx": "1" * 64, "more.onnx": "0" * 64}},
        {"artifacts": {"other.onnx": "0" * 64, "fast.onnx": "1" * 64}},
        {"derived": {}},
        {"label_map": {0: "HOLD", 1: "SELL", 2: "BUY"}},
        {"output_names": {"direction_logits": "expected_return"}},
        {"input_shape": (2, 3)},
        {"model_type": "Other"},
    ],
)
def test_changes(key, signed, change):
    """A change of a file, or of what decides the meaning of a prediction, is rejected."""
    with pytest.raises(SignatureError, match="not over its files and metadata"):
        check_signed(signed.model_copy(update=change), [key.id])


def test_exchanged_derived_file(key, signed):
    """A derived file that was exchanged does not serve; the registered files still do."""
    artifacts = {**signed.artifacts, "fast.onnx": "2" * 64}
    exchanged = signed.model_copy(update={"artifacts": artifacts})
    check_signed(exchanged, [key.id], "model.onnx")
    with pytest.raises(SignatureError, match=r"derived file fast\.onnx"):
        check_signed(exchanged, [key.id], "fast.onnx")


def test_what_may_change(key, signed):
    """Metrics, stage and description are not signed, since they change or decide nothing."""
    changed = {"metrics": {"accuracy": 0.4}, "stage": "Production", "description": "new"}
    check_signed(signed.model_copy(update=changed), [key.id], "fast.onnx")


def test_key_file(key, tmp_path):
    """The key file belongs to this user only, is not overwritten, and can be read again."""
    path = tmp_path / "key.pem"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert SigningKey(path).id == key.id == check_key_id(key.id)
    with pytest.raises(SigningKeyError, match="File exists"):
        SigningKey.create(path)


@pytest.mark.parametrize("content", [None, b"", b"-----BEGIN PRIVATE KEY-----\n"])
def test_invalid_key_file(tmp_path, content):
    """A file that contains no key is named in the error."""
    if content is not None:
        (tmp_path / "key.pem").write_bytes(content)
    with pytest.raises(SigningKeyError, match=r"key\.pem as a signing key: .*modelctl key create"):
        SigningKey(tmp_path / "key.pem")


@pytest.mark.parametrize("algorithm", ["ed25519", "x25519"])
def test_key_of_openssl(tmp_path, algorithm):
    """A key that OpenSSL created is accepted if its algorithm is Ed25519."""
    path = tmp_path / "key.pem"
    subprocess.run(["openssl", "genpkey", "-algorithm", algorithm, "-out", path], check=True)
    if algorithm == "ed25519":
        assert SigningKey(path).id.startswith("ed25519:")
    else:
        with pytest.raises(SigningKeyError, match="it contains a X25519"):
            SigningKey(path)


@pytest.mark.parametrize("key_id", ["", "alice", "ed25519:", "ed25519:AAAA", "ed25519:?", "AAAA"])
def test_invalid_key_id(key_id):
    """A text that is not the id of a key is rejected."""
    with pytest.raises(ValueError, match="expected the id of a key"):
        check_key_id(key_id)


def test_training_params_of_a_checkpoint(key):
    """The parameters that may be constructor arguments of model.pt are signed with it."""
    of = metadata(artifacts={"model.pt": "0" * 64}, training_params={"heads": 2})
    signatures = {"signatures": key.sign(manifest(of))}
    check_signed(of.model_copy(update=signatures), [key.id])
    changed = of.model_copy(update={**signatures, "training_params": {"heads": 4}})
    with pytest.raises(SignatureError, match="not over its files and metadata"):
        check_signed(changed, [key.id])


def test_changed_quantile_levels():
    """The levels decide what the quantiles mean, so they are part of the manifest."""
    names = {"return_quantiles": "y"}
    documents = {
        manifest(
            metadata(output_names=names, dataset_info={"dead_band": 0.1, "quantile_levels": levels})
        )
        for levels in ([0.1, 0.5], [0.2, 0.5])
    }
    assert len(documents) == 2
