"""The client of the model server, for bots. Imports neither ray, torch nor fastapi."""

from serve_app.client.model_client import ModelClient
from serve_app.client.parameters import DEFAULT_SERVER_URL
from serve_app.client.shared import get_model_client

__all__ = ["DEFAULT_SERVER_URL", "ModelClient", "get_model_client"]
