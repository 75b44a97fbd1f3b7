"""Real nodes for the tests of the wire contract, started once a session."""

import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))

from hermes_node import Mesh, Node  # noqa: E402
from hermes_wire import Session  # noqa: E402


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """A test that failed shows what its nodes said."""
    outcome = yield
    report = outcome.get_result()
    if report.failed:
        for name, value in getattr(item, "funcargs", {}).items():
            nodes = getattr(value, "nodes", [value])
            for node in nodes:
                if isinstance(node, Node):
                    report.sections.append(
                        (f"log of {node.name}", node.log()[-6000:]))


@pytest.fixture(scope="session")
def node():
    """One node, outside any mesh, that no test may hurt."""
    with Node("single") as one:
        yield one
        assert one.healthy(), one.log()[-4000:]


@pytest.fixture(scope="session")
def mesh():
    """Two nodes of one mesh that no test may hurt."""
    with Mesh(2) as two:
        yield two
        for one in two.nodes:
            assert one.healthy(), one.log()[-4000:]


@pytest.fixture
def frail():
    """A mesh of two nodes for one test, to be killed at will."""
    with Mesh(2) as two:
        yield two


@pytest.fixture
def sessions():
    """make(address, ...) opens a Session that is closed in the end."""
    opened = []

    def make(address, *arguments, **fields):
        opened.append(Session(address, *arguments, **fields))
        return opened[-1]
    yield make
    for one in opened:
        one.close()


@pytest.fixture(params=["one node", "two nodes"])
def homes(request):
    """The nodes of the two apps of a chat."""
    if request.param == "one node":
        node = request.getfixturevalue("node")
        return node, node
    two = request.getfixturevalue("mesh")
    return two[0], two[1]


@pytest.fixture
def places(homes):
    """Where they are: (address, address)."""
    return homes[0].app, homes[1].app
