"""The client of the model server, for bots. Imports neither ray, torch nor fastapi."""

from serve_app.client.model_client import ModelClient, get_model_client
from serve_app.client.parameters import DEFAULT_SERVER_URL

__all__ = ["DEFAULT_SERVER_URL", "ModelClient", "get_model_client"]
