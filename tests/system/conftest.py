# SPDX-License-Identifier: BSD-3-Clause
import os

import pytest

from network import P2PNIC, Network, not_permitted
from routers import two_routers


def pytest_configure(config):
    """A worker of pytest-xdist has the folder that it would have alone: in one deeper, paths of
    sockets would be too long."""
    if hasattr(config, "workerinput"):
        config.option.basetemp = None


def pytest_sessionstart(session):
    assert os.access(P2PNIC, os.X_OK), f"{P2PNIC}: not there; build it, or say P2PNIC=PATH"


@pytest.fixture(scope="session")
def permitted():
    reason = not_permitted()
    if reason:
        pytest.skip(reason)


@pytest.fixture
def make_network(permitted):
    """make_network(nics, **configuration) → a Network, started; its packets are accounted for at
    the end."""
    made = []

    def make(nics, **config):
        made.append(Network(nics, **config))
        return made[-1].start()

    yield make
    try:
        for network in made:
            if network.router.process and network.router.process.poll() is None:
                network.router.check_identity(network.rings)
    finally:
        for network in made:
            network.close()


@pytest.fixture(name="pair")
def pair_of_routers(permitted):
    with two_routers() as net:
        yield net
