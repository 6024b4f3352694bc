"""The service's HTTP face."""

from redoubt.service.web.app import create_app
from redoubt.service.web.doorstep import Doorstep
from redoubt.service.web.guarded import Guarded
from redoubt.service.web.server import Tls, listen, server

__all__ = ["Doorstep", "Guarded", "Tls", "create_app", "listen", "server"]
