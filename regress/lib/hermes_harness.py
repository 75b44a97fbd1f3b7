"""All of the harness in one place: real nodes and meshes (hermes_node),
hermes(1) (hermes_cli), apps of grpcio (hermes_wire)."""

from hermes_cli import *  # noqa: F401,F403
from hermes_node import *  # noqa: F401,F403
from hermes_wire import *  # noqa: F401,F403
