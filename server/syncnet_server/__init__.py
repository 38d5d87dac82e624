"""Run the SyncNet model repository on a real tritonserver."""

from syncnet_server.errors import ServingError
from syncnet_server.repository import default_model_repository, load_model_module, model_versions
from syncnet_server.security import Tls
from syncnet_server.server import Server

__all__ = [
    "Server",
    "ServingError",
    "Tls",
    "default_model_repository",
    "load_model_module",
    "model_versions",
]
