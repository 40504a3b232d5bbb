"""Fault tests run the binary that has crash points compiled in, unless KUDOS_BIN says otherwise,
on stores with the durability of production."""

import os

import pytest

from support.service import ROOT
from support.stack import Stack

DEFAULTS = {"durable": True}


def _arguments(request, **arguments):
    faults = os.path.join(ROOT, "build", "kudos-faults")
    binary = os.environ.get("KUDOS_BIN", faults)
    return {**DEFAULTS, "binary": binary, **getattr(request.module, "STACK", {}), **arguments}


@pytest.fixture(scope="module")
def stack(request):
    """As in flow tests, but durable and with crash points."""
    made = Stack(**_arguments(request))
    try:
        yield made.start()
    finally:
        made.close()


@pytest.fixture
def make_stack(request):
    """As in flow tests, but durable and with crash points."""
    made = []

    def make(**arguments):
        made.append(Stack(**_arguments(request, **arguments)))
        return made[-1]

    yield make
    for each in made:
        each.close()
