"""A store for the tests of a module, which answers well until a test says otherwise."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.object_store import StoreServer, object_store

from imig.stores.path import StorePath


@pytest.fixture(scope="module")
def running_store() -> Iterator[StoreServer]:
    with object_store() as server:
        yield server


@pytest.fixture
def store(running_store: StoreServer) -> Iterator[StoreServer]:
    running_store.done.clear()
    yield running_store
    running_store.fault = lambda _: None
    running_store.drop_headers = frozenset()


@pytest.fixture
def folder(request: pytest.FixtureRequest) -> StorePath:
    """A folder of its own for each test."""
    return StorePath(f"s3://bucket/{request.node.originalname}/shards")
