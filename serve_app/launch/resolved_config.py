"""The configuration that Ray Serve receives: independent of the folder in which it starts.

Python and Ray import modules from the working directory first. A bot's folder may hold a
`registry.py` of its own, so Serve starts in another folder, with absolute paths in the
configuration. HAProxy alone listens on an IPv6 address; the processes behind it use IPv4.
"""

import copy
import ipaddress
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from serve_app.settings import AppSettings

SQLITE = "sqlite:///"
DEFAULT_ROOT: str = AppSettings.model_fields["registry_root"].default


def resolved(content: Mapping[str, Any], builder: str, folder: Path) -> dict[str, Any]:
    """Return a configuration whose relative paths are resolved against `folder`.

    Args:
        content: the content of the file.
        builder: the import path of our applications; others are unchanged.
        folder: the absolute path of the working directory.
    """
    document = copy.deepcopy(dict(content))
    for application in document["applications"]:
        if application.get("import_path") == builder:
            _resolve(application.setdefault("args", {}), folder)
    http = document.setdefault("http_options", {})
    if (host := ipv6_host(http.get("host"))) is not None:
        http["host"] = "0.0.0.0" if host == "::" else "127.0.0.1"  # noqa: S104 - as configured
    return document


def ipv6_host(host: str | None) -> str | None:
    """Return an address of IPv6 in its usual form; None for any other host."""
    try:
        return str(ipaddress.IPv6Address((host or "").strip("[]")))
    except ValueError:
        return None


def _resolve(args: dict[str, Any], folder: Path) -> None:
    args["registry_root"] = str(folder / args.get("registry_root", DEFAULT_ROOT))
    access = args.get("access") or {}
    if access.get("token_file"):
        access["token_file"] = str(folder / access["token_file"])
    experiments = args.get("experiments") or {}
    url = experiments.get("database_url") or ""
    if url.startswith(SQLITE) and not url.startswith(f"{SQLITE}:"):
        experiments["database_url"] = f"{SQLITE}{folder / url.removeprefix(SQLITE)}"
