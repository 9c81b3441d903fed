"""The client of an OpenAI-compatible server, against a real server in a thread."""

from __future__ import annotations

import logging
import pickle
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import PIL.Image
import pytest
from support.chat_server import Fault, chat_server, first_then, user_text
from support.endpoints import KEY, SCHEMA, ask, endpoint, raised

from imig.endpoint.endpoint import Usage, endpoint_record, image_part
from imig.endpoint.errors import RequestRefused
from imig.endpoint.pictures import PictureAsker
from imig.endpoint.waiting import Throttle, asked_seconds, backoff_seconds
from imig.errors import DataError, UsageError
from imig.recipe.parts import EndpointConfig


@pytest.fixture(autouse=True)
def key_in_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEST_KEY", KEY)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)


def test_an_answer_with_schema_key_and_usage(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with chat_server(lambda _: '{"a": 1}', key=KEY) as server:
        client = endpoint(server, temperature=0.5)
        assert ask(client) == '{"a": 1}'
    (request,) = server.requests
    assert request["model"] == "some-model"
    assert request["temperature"] == 0.5
    assert request["response_format"]["json_schema"]["schema"] == SCHEMA
    assert request["response_format"]["json_schema"]["strict"] is True
    assert server.authorizations == [f"Bearer {KEY}"]
    assert (client.usage.requests, client.usage.retries) == (1, 0)
    assert client.usage.input_tokens > 0
    assert client.usage.output_tokens == 2
    assert KEY not in caplog.text + repr(client) + repr(vars(client)) + repr(client.config)
    with pytest.raises(TypeError, match="not sent anywhere"):
        pickle.dumps(client)


def test_without_a_key_none_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TEST_KEY")
    with chat_server(lambda _: "{}") as server:
        ask(endpoint(server))
        assert server.authorizations == [None]
    with chat_server(lambda _: "{}", key=KEY) as server:
        assert "export TEST_KEY" in raised(endpoint(server), UsageError).cure
    monkeypatch.setenv("TEST_KEY", "sk-\nbroken")
    with pytest.raises(UsageError, match="holds no key"):
        endpoint(server)


def test_a_wrong_key_stops_at_once_and_stays_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    with chat_server(lambda _: "{}", key="another") as server:
        error = raised(endpoint(server), UsageError)
        assert "HTTP 401: Incorrect API key provided: Bearer [key]" in error.message
        assert "environment variable TEST_KEY right" in error.cure
        assert len(server.requests) == 1


def test_wrong_models_and_urls_say_what_is_there() -> None:
    with chat_server(lambda _: "{}") as server:
        error = raised(endpoint(server, model="sme-model"), UsageError)
        assert "has no model 'sme-model'" in error.message
        assert "the server has: other-model, some-model" in error.cure
        error = raised(endpoint(server.url.removesuffix("/v1")), UsageError)
        assert "agree.endpoint.url" in error.cure
        dead = server.url
    error = raised(endpoint(dead), UsageError)
    assert f"no server answers at {dead}" in error.message
    assert "agree.endpoint.url=URL" in error.cure
    raised(endpoint("localhost:8000/v1"), UsageError)
    with chat_server(lambda _: Fault(200, "<html>Welcome</html>")) as server:
        assert "no chat completions server" in raised(endpoint(server), UsageError).message


def test_faults_of_the_server_are_tried_again() -> None:
    faults: list[Fault | str] = [
        Fault(500),
        Fault(503, "<html>busy</html>"),
        Fault(429),
        Fault(drop=True),
        Fault(200, {"error": {"message": "upstream"}}),
        Fault(200, '{"choices": [', {"Content-Type": "application/json"}),
    ]
    with chat_server(first_then(faults, '{"a": 1}')) as server:
        client = endpoint(server)
        assert ask(client) == '{"a": 1}'
        assert client.usage.retries == len(faults)
    with chat_server(lambda _: Fault(500)) as server:
        error = raised(endpoint(server, max_retries=2), DataError)
        assert "3 tries failed, the last one with: HTTP 500: oops" in error.message
        assert "agree.endpoint.max_retries" in error.cure


def test_time_outs() -> None:
    faults: list[Fault | str] = [Fault(seconds=1.0)]
    with chat_server(first_then(faults, "{}")) as server:
        client = endpoint(server, timeout_seconds=0.2)
        assert ask(client) == "{}"
        assert client.usage.retries >= 1
    with chat_server(lambda _: Fault(seconds=0.5)) as server:
        error = raised(endpoint(server, timeout_seconds=0.1, max_retries=1), DataError)
        assert "no answer within 0.1 s" in error.message


def test_retry_after_holds_every_thread() -> None:
    faults: list[Fault | str] = [Fault(429, headers={"Retry-After": "0.6"})]
    with chat_server(first_then(faults, "{}")) as server:
        client = endpoint(server)
        threads = [threading.Thread(target=ask, args=(client,)) for _ in range(3)]
        threads[0].start()
        while client.usage.retries == 0:
            time.sleep(0.01)
        for thread in threads[1:]:
            thread.start()
        for thread in threads:
            thread.join()
        first, *others = server.times
        assert len(others) == 3
        assert min(others) - first >= 0.6
    with chat_server(lambda _: Fault(429, headers={"Retry-After": "7200"})) as server:
        assert "asks to wait 7200 s" in raised(endpoint(server), DataError).message


def test_quota_is_not_a_matter_of_waiting() -> None:
    body = {"error": {"message": "You exceeded your quota", "code": "insufficient_quota"}}
    with chat_server(lambda _: Fault(429, body)) as server:
        assert "add credit" in raised(endpoint(server), UsageError).cure
        assert len(server.requests) == 1


@pytest.mark.parametrize("refused", [("json_schema",), ("json_schema", "json_object")])
def test_servers_that_refuse_a_response_format(refused: tuple[str, ...]) -> None:
    def reply(request: dict[str, Any]) -> str | Fault:
        if request.get("response_format", {}).get("type") in refused:
            return Fault(400, {"error": {"message": "response_format is not supported"}})
        return '{"a": 1}'

    with chat_server(reply) as server:
        client = endpoint(server)
        ask(client)
        asked = len(server.requests)
        assert asked == len(refused) + 1
        ask(client)
        assert len(server.requests) == asked + 1, "the form that was taken is kept"
        last = server.requests[-1]
        assert '"required": ["a"]' in user_text(last)
        assert [one["role"] for one in last["messages"]] == ["user"]
        picture = [{"role": "user", "content": [image_part(b"x", mime="image/png")]}]
        client.ask(picture, schema=SCHEMA)
        image, words = server.requests[-1]["messages"][0]["content"]
        assert image["image_url"]["url"] == "data:image/png;base64,eA=="
        assert "JSON schema" in words["text"]


def test_a_request_that_no_form_makes_good() -> None:
    body = {"error": {"message": f"content filter; your key is {KEY}"}}
    with chat_server(lambda _: Fault(400, body)) as server:
        error = raised(endpoint(server), RequestRefused)
        assert "content filter; your key is [key]" in error.message
        assert len(server.requests) == 3


def test_requests_of_several_threads_overlap() -> None:
    together = threading.Barrier(4)

    def reply(_: object) -> str:
        together.wait(timeout=30)
        return "{}"

    with chat_server(reply) as server, ThreadPoolExecutor(4) as pool:
        client = endpoint(server)
        assert list(pool.map(lambda _: ask(client), range(8))) == ["{}"] * 8


def test_the_endpoint_keeps_the_pace_of_its_recipe() -> None:
    with chat_server(lambda _: "{}") as server:
        client = endpoint(server, requests_per_minute=600)
        started = time.monotonic()
        for _ in range(5):
            ask(client)
        assert server.times[-1] - started >= 0.4


def test_pace() -> None:
    now = 100.0

    def sleep(seconds: float) -> None:
        nonlocal now
        now += seconds

    pace = Throttle(60, clock=lambda: now, sleep=sleep)
    turns = []
    for held, busy in ((0, 0), (0, 0), (0, 0.25), (0, 3), (5, 0), (0, 0)):
        pace.hold(held)
        pace.wait()
        turns.append(now)
        now += busy
    assert turns == [100, 101, 102, 103, 111, 112]
    unhurried = Throttle(None, clock=lambda: now, sleep=sleep)
    unhurried.wait()
    unhurried.wait()
    assert now == 112


def test_cost_needs_prices() -> None:
    usage = Usage(input_tokens=2_000_000, output_tokens=500_000)
    assert usage.cost(EndpointConfig(model="m")) is None
    priced = EndpointConfig(model="m", price_per_million_input=0.5, price_per_million_output=2)
    assert usage.cost(priced) == 2.0
    assert endpoint_record(priced).model_dump() == {
        "family": "openai-endpoint", "weights": "m", "revision": "unknown",
    }  # fmt: skip


def test_waits() -> None:
    assert asked_seconds({"retry-after": "2.5"}) == 2.5
    assert asked_seconds({"retry-after-ms": "40"}) == 0.04
    assert asked_seconds({"retry-after": "soon"}) is None
    assert asked_seconds({}) is None
    assert asked_seconds({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}) == 0.0
    for attempt, longest in ((1, 1), (3, 4), (30, 60)):
        waits = [backoff_seconds(attempt, first=1.0) for _ in range(50)]
        assert longest / 2 <= min(waits) < max(waits) <= longest


def test_interrupts_of_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a library raises that we do not know is a fault of the answer, not a crash."""
    with chat_server(lambda _: "{}") as server:
        client = endpoint(server, max_retries=0)
        broken: Callable[..., Any] = lambda **_: (_ for _ in ()).throw(KeyError(KEY))  # noqa: E731
        monkeypatch.setattr(client._client.chat.completions, "create", broken)
        assert "KeyError: '[key]'" in raised(client, DataError).message


def test_an_answer_that_another_thread_lets_go_of_is_asked_for_again() -> None:
    class Vanishing(OrderedDict[str, str]):
        """What is there is gone when it is taken: another thread has come between."""

        def __contains__(self, key: object) -> bool:
            return True

    config = EndpointConfig(url="http://127.0.0.1:9/v1", model="m")
    asker: PictureAsker[str] = PictureAsker(config, name="agree.endpoint")
    asker._kept = Vanishing()
    image = PIL.Image.new("RGB", (8, 8))
    asked: list[str] = []

    def answer(picture: object, question: str) -> str:
        asked.append(question)
        return "yes"

    assert asker.ask_all([image], ["is it?"], answer) == ["yes"]
    assert asker.ask_all([image], ["is it?"], answer) == ["yes"]
    assert asked == ["is it?"]
