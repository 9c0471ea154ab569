"""The page, for all tests."""

from collections.abc import Iterator

import pytest
from page_client import Client, serving

from fourfold_web import zoo


@pytest.fixture(scope="session")
def page() -> Iterator[Client]:
    with serving({f"zoo/{name}": zoo.folder_of(name) for name in zoo.names()}) as client:
        yield client
