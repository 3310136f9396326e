"""Fixtures of the tests over loopback sockets: both ways of a call, and functions to call."""

import pytest

from lambda_adapter import LocalLambda
from support.calls import CALLS


@pytest.fixture(params=CALLS.values(), ids=CALLS.keys())
def call(request):
    """One call of an adapter, by either of the two ways."""
    return request.param


@pytest.fixture(scope="module")
def local():
    """Functions of every kind; restarted by nobody, so that each test looks at the calls that came last."""

    def logs(event, context):
        context.log(event["trigger"]["context_text"])
        return {"success": True}

    def reads_context(event, context):
        return {"success": True, "custom": context.client_context.custom, "tenant": context.tenant_id}

    def raises(event, context):
        context.log("about to fail\n")
        raise KeyError("city")

    handlers = {
        "function": lambda event, context: {"success": True, "tenant": context.tenant_id},
        "logs": logs,
        "reads_context": reads_context,
        "raises": raises,
    }
    with LocalLambda(handlers) as running:
        yield running
