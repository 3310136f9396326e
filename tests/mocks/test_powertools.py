"""Powertools' idempotency keyed on ``request_id``: answers are lost, the function is called again, and runs once.

The function is LocalLambda's, so that real connections break; its table is moto's.
"""

import runpy

import pytest

pytest.importorskip("aws_lambda_powertools")

import boto3
from aws_lambda_powertools.utilities.idempotency import DynamoDBPersistenceLayer, IdempotencyConfig, idempotent
from moto import mock_aws

from lambda_adapter import LambdaAdapter, LocalLambda
from support.calls import FAST
from support.paths import EXAMPLES

breaking = runpy.run_path(str(EXAMPLES / "buy_once.py"))["breaking"]


class Shop:
    """Sells, and fails first if it is told to."""

    def __init__(self):
        self.sold = []
        self.fails = 0
        self.meanwhile = list

    def __call__(self, event, context):
        if self.fails:
            self.fails -= 1
            raise ConnectionError("the cash desk is closed")
        self.meanwhile()
        self.sold.append(event["request_id"])
        return {"success": True, "receipt": len(self.sold)}


@pytest.fixture
def table():
    with mock_aws():
        session = boto3.session.Session(region_name="us-east-1")
        session.client("dynamodb").create_table(
            TableName="idempotency",
            KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
        )
        yield DynamoDBPersistenceLayer(table_name="idempotency", boto3_session=session)


@pytest.fixture
def shop():
    return Shop()


@pytest.fixture
def local(table, shop):
    config = IdempotencyConfig(event_key_jmespath="request_id", raise_on_no_idempotency_key=True)

    @idempotent(persistence_store=table, config=config)
    def handler(event, context):
        return shop(event, context)

    with LocalLambda({"shop": handler}) as local:
        yield local


@pytest.fixture
def buy(local, make_request):
    """Buys through a connection that breaks this many times after the function has run."""

    def buy(breaks=0, **changes):
        with breaking(local.endpoint_url, breaks) as endpoint_url, LambdaAdapter(
            "shop", module_name="shop", max_retries=3, **{**local.settings, "endpoint_url": endpoint_url}, **FAST
        ) as adapter:
            return adapter.execute(make_request(**changes))

    return buy


def test_a_call_whose_answers_are_lost_is_made_again_and_runs_once(buy, local, shop):
    response = buy(breaks=2)
    assert (response.data, response.invocation.attempts) == ({"receipt": 1}, 3)
    assert len({call.payload["request_id"] for call in local.calls}) == 1
    assert len(local.calls) == 3
    assert len(shop.sold) == 1


def test_the_same_session_id_runs_once_and_another_one_runs(buy, shop):
    receipts = [buy(session_id=session_id).data["receipt"] for session_id in ("a", "a", "b")]
    assert receipts == [1, 1, 2]
    assert shop.sold == ["a", "b"]


def test_a_function_that_raised_runs_again_when_it_is_called_again(buy, shop):
    shop.fails = 1
    assert buy().error_code == "function_error"
    assert buy().data == {"receipt": 1}


def test_a_second_call_while_the_first_runs_raises_in_the_function_and_is_not_retried(buy, shop):
    second = []
    shop.meanwhile = lambda: second.append(buy())
    assert buy().data == {"receipt": 1}
    assert (second[0].error_code, second[0].invocation.attempts) == ("function_error", 1)
    assert "IdempotencyAlreadyInProgressError" in second[0].error
    assert len(shop.sold) == 1
