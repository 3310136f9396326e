"""The fixture ``mock_lambda``.

Every pytest run with this package installed loads this file, so it imports nothing before the fixture is used.
"""

from typing import TYPE_CHECKING, Iterator

import pytest

if TYPE_CHECKING:
    from .mock import MockLambda


@pytest.fixture
def mock_lambda() -> "Iterator[MockLambda]":
    """Lambda functions that answer and fail as the test says, the rest of AWS on moto: lambda_adapter.testing."""
    from .mock import mock_lambda as mocked  # here, because moto takes half a second

    with mocked() as mock:
        yield mock
