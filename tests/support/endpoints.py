"""A client of the test server, and what an `ask` of it raises."""

from __future__ import annotations

import traceback
from typing import Any

import pytest

from imig.endpoint.endpoint import Endpoint
from imig.errors import ImigError
from imig.recipe.parts import EndpointConfig
from support.chat_server import ChatServer

KEY = "sk-test-0123456789"
"""To be set as the environment variable TEST_KEY."""
SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
HELLO = [{"role": "user", "content": "hello"}]


def endpoint(server: ChatServer | str, **settings: Any) -> Endpoint:
    values = {"model": "some-model", "key_variable": "TEST_KEY", "backoff_seconds": 0.001}
    url = server if isinstance(server, str) else server.url
    return Endpoint(
        EndpointConfig.model_validate({**values, "url": url, **settings}), name="agree.endpoint"
    )


def ask(client: Endpoint) -> str:
    return client.ask(HELLO, schema=SCHEMA)


def raised(client: Endpoint, kind: type[ImigError]) -> ImigError:
    """What an `ask` raises; its traceback, as the quarantine would keep it, has no key."""
    with pytest.raises(kind) as caught:
        ask(client)
    assert KEY not in "".join(traceback.format_exception(caught.value))
    assert KEY not in caught.value.cure
    return caught.value
