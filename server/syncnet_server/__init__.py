"""Run the SyncNet model repository on a real tritonserver."""

from syncnet_server.errors import ServerError
from syncnet_server.repository import default_model_repository, load_model_module, model_versions
from syncnet_server.security import Tls
from syncnet_server.server import Server

__all__ = [
    "Server",
    "ServerError",
    "Tls",
    "default_model_repository",
    "load_model_module",
    "model_versions",
]
