"""The page, for all tests."""

from collections.abc import Iterator

import pytest
from page_client import Client, serving


@pytest.fixture(scope="session")
def page() -> Iterator[Client]:
    with serving() as client:
        yield client
