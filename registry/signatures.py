"""Signatures over the manifest of a version: the names and digests of its files, and their meaning.

The id of a key is the public key itself, so a list of ids needs no further files. Signatures are
those of Ed25519 over the pre-authentication encoding of DSSE (github.com/secure-systems-lab/dsse).
"""

import base64
import binascii
import json
import os
from collections.abc import Collection, Mapping
from pathlib import Path

from registry.errors import MissingPackageError, SignatureError, SigningKeyError
from registry.records import ModelMetadata

PREFIX = "ed25519:"
_PAYLOAD_TYPE = b"application/vnd.tradeserve.manifest+json"
_KEY_BYTES = 32


class SigningKey:
    """A private key in a file, as `create` writes it, or as `openssl genpkey` does (PKCS #8, PEM).

    Raises:
        SigningKeyError: the file is missing or contains no Ed25519 key without a password.
        MissingPackageError: cryptography is not installed.
    """

    def __init__(self, path: Path) -> None:
        _require_cryptography(path)
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
        from cryptography.hazmat.primitives.serialization import load_pem_private_key

        try:
            loaded = load_pem_private_key(path.read_bytes(), password=None)
        except (OSError, ValueError, TypeError) as error:
            raise SigningKeyError(path, str(error)) from error
        if not isinstance(loaded, Ed25519PrivateKey):
            raise SigningKeyError(path, f"it contains a {type(loaded).__name__}")
        self._key = loaded
        self.id = PREFIX + base64.b64encode(loaded.public_key().public_bytes_raw()).decode()

    @classmethod
    def create(cls, path: Path) -> "SigningKey":
        """Write a new key to the new file `path`, which only this user can read."""
        _require_cryptography(path)
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
        from cryptography.hazmat.primitives.serialization import (
            Encoding,
            NoEncryption,
            PrivateFormat,
        )

        content = Ed25519PrivateKey.generate().private_bytes(
            Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
        )
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
        except OSError as error:
            raise SigningKeyError(path, str(error)) from error
        return cls(path)

    def sign(self, manifest: bytes) -> dict[str, str]:
        """Return the signature over a manifest by the id of this key."""
        signature = self._key.sign(_encoded(manifest))
        return {self.id: base64.b64encode(signature).decode()}


def manifest(metadata: ModelMetadata, *, derived: bool = False) -> bytes:
    """Return the manifest of a version's registered files, or of these and the derived ones.

    It contains everything that decides what a prediction is, in a form that does not depend on the
    order of the metadata.
    """
    files = {
        artifact: sha256
        for artifact, sha256 in metadata.artifacts.items()
        if derived or artifact not in metadata.derived
    }
    document = {
        "model": metadata.name,
        "version": metadata.version,
        "files": files,
        "derived": metadata.derived if derived else {},
        "model_type": metadata.model_type,
        "input_shape": metadata.input_shape,
        "output_names": metadata.output_names,
        "label_map": {str(index): label for index, label in metadata.label_map.items()},
        # They hold the constructor's arguments if model.pt is a state dict alone.
        "missing_values": metadata.accepts_missing,
        "dead_band": metadata.dead_band if metadata.is_regressor else None,
        "training_params": metadata.training_params if "model.pt" in files else {},
    }
    if metadata.feature_set is not None:
        document["feature_set"] = metadata.feature_set.meaning
    if metadata.quantile_levels:
        document["quantile_levels"] = metadata.quantile_levels
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()


def derived_from(metadata: ModelMetadata, added: Collection[str]) -> dict[str, str]:
    """Return the source of every derived artifact, if these are added to a version.

    An optimisation starts from model.onnx, or from model.pt if there is none.
    """
    source = "model.onnx" if "model.onnx" in metadata.artifacts else "model.pt"
    return {**metadata.derived, **dict.fromkeys(added, source)}


def check_key_id(key_id: str) -> str:
    """Return `key_id` if it is the id of an Ed25519 key.

    Raises:
        ValueError: it is not.
    """
    try:
        if len(_key_bytes(key_id)) == _KEY_BYTES:
            return key_id
    except ValueError:
        pass
    raise ValueError(
        f"expected the id of a key, {PREFIX} and 44 characters as `modelctl key show` prints it, "
        f"received {key_id!r}"
    )


def check_signed(
    metadata: ModelMetadata, key_ids: Collection[str], artifact: str | None = None
) -> None:
    """Check that a version is signed with one of the keys; with no keys, nothing is required.

    Args:
        metadata: the version's metadata.
        key_ids: the ids of the keys that are trusted.
        artifact: the artifact that is to serve; a derived one needs a signature too.

    Raises:
        SignatureError: a signature is missing, by another key, or over other files or metadata.
        MissingPackageError: cryptography is not installed.
    """
    if not key_ids:
        return
    name = f"{metadata.name}:{metadata.version}"
    _check(name, manifest(metadata), metadata.signatures, key_ids)
    if artifact in metadata.derived:
        content = manifest(metadata, derived=True)
        _check(f"{name}, derived file {artifact}", content, metadata.derived_signatures, key_ids)


def check_offered(name: str, content: bytes, signatures: Mapping[str, str]) -> None:
    """Check that every one of these signatures is valid for a manifest.

    Raises:
        SignatureError: one is not.
    """
    for key_id in signatures:
        _check(name, content, signatures, [key_id])


def _check(
    name: str, content: bytes, signatures: Mapping[str, str], key_ids: Collection[str]
) -> None:
    present = [key_id for key_id in key_ids if key_id in signatures]
    expected = f"a signature by {' or '.join(key_ids)}"
    if not present:
        raise SignatureError(name, expected, f"signatures by {', '.join(signatures) or 'no key'}")
    if not any(_is_valid(name, content, signatures[key_id], key_id) for key_id in present):
        received = f"one by {present[0]} that is not over its files and metadata"
        raise SignatureError(name, expected, received)


def _is_valid(name: str, content: bytes, signature: str, key_id: str) -> bool:
    _require_cryptography(name)
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        key = Ed25519PublicKey.from_public_bytes(_key_bytes(key_id))
        key.verify(base64.b64decode(signature, validate=True), _encoded(content))
    except (InvalidSignature, ValueError):
        return False
    return True


def _key_bytes(key_id: str) -> bytes:
    if not key_id.startswith(PREFIX):
        raise ValueError(f"no {PREFIX}")
    try:
        return base64.b64decode(key_id.removeprefix(PREFIX), validate=True)
    except binascii.Error as error:
        raise ValueError(str(error)) from error


def _encoded(payload: bytes) -> bytes:
    """Return what is signed: DSSE's encoding of the payload and its type."""
    parts = [b"DSSEv1"]
    for part in (_PAYLOAD_TYPE, payload):
        parts += [str(len(part)).encode(), part]
    return b" ".join(parts)


def _require_cryptography(subject: Path | str) -> None:
    try:
        import cryptography  # noqa: F401
    except ModuleNotFoundError as error:
        raise MissingPackageError(subject, "cryptography", "server") from error
