"""USAGE's recipe for functions that must not do their work twice: Powertools' idempotency, by ``request_id``."""

import boto3
import pytest
import time_machine
from aws_lambda_powertools.utilities.idempotency import DynamoDBPersistenceLayer, IdempotencyConfig, idempotent

from lambda_adapter import LambdaAdapter


@pytest.fixture
def once(mock_lambda):
    """The recipe's decorator."""
    session = boto3.Session(region_name="us-east-1")
    session.client("dynamodb").create_table(
        TableName="idempotency",
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        BillingMode="PAY_PER_REQUEST",
    )
    config = IdempotencyConfig(event_key_jmespath="request_id", raise_on_no_idempotency_key=True)
    return idempotent(
        persistence_store=DynamoDBPersistenceLayer(table_name="idempotency", boto3_session=session), config=config
    )


@pytest.mark.parametrize("protected", [True, False], ids=["with Powertools", "without"])
def test_a_retry_is_answered_from_the_table(mock_lambda, once, make_request, protected):
    sold, attempts = [], []

    def sell(event, context):
        sold.append(event["request_id"])
        return {"success": True, "message": f"sale {len(sold)}"}

    if protected:
        sell = once(sell)

    def handler(event, context):
        attempts.append(event["request_id"])
        answer = sell(event, context)
        if len(attempts) == 1:
            clock.shift(2)  # longer than its caller waits
        return answer

    mock_lambda.function("shop", handler)
    settings = {"read_timeout": 1, "initial_retry_delay": 0.001}
    with time_machine.travel("2026-01-01") as clock, LambdaAdapter("shop", "us-east-1", "shop", **settings) as adapter:
        first, other = adapter.execute(make_request(session_id="a")), adapter.execute(make_request(session_id="b"))
    assert attempts == ["a", "a", "b"]
    assert (first.message, other.message) == (("sale 1", "sale 2") if protected else ("sale 2", "sale 3"))
    assert sold == (["a", "b"] if protected else ["a", "a", "b"])
