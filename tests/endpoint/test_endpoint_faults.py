"""What servers do not take, models do not do, and what lies between: against a real server."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from support.chat_server import Fault, Said, chat_server, first_then
from support.endpoints import KEY, ask, endpoint, raised

from imig.endpoint.endpoint import FIRST_TOKENS, MOST_TOKENS
from imig.endpoint.errors import AnswerUnfinished, RequestRefused, body_to_message
from imig.endpoint.place import base_url, likely_url
from imig.errors import DataError, ImigError, UsageError

GOOD = '{"a": 1}'


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEST_KEY", KEY)
    for name in list(os.environ):
        if name.lower().endswith("_proxy") or name.startswith("SSL_CERT"):
            monkeypatch.delenv(name)


def form(request: dict[str, Any]) -> str:
    return str(request.get("response_format", {}).get("type", "text"))


def refuse(message: str, **more: Any) -> Fault:
    return Fault(400, {"error": {"message": message, "type": "invalid_request_error", **more}})


@pytest.mark.parametrize(
    "fault",
    [
        Fault(500, {"error": {"message": "", "type": "InternalServerError", "code": 500}}),
        Fault(500, "Internal Server Error"),
        Fault(500, {"error": {"message": "failed to parse grammar"}}),
        Fault(501, {"error": "json_schema is not implemented"}),
        Fault(502, "<html><title>502 Bad Gateway</title></html>"),
        Fault(404, {"error": {"message": "No endpoints found that support response_format"}}),
        Fault(404, {"error": {"message": "No endpoints support the requested parameters"}}),
        Fault(405, {"detail": "response_format unknown"}),
        Fault(422, {"detail": [{"loc": ["body", "response_format"], "msg": "extra field"}]}),
        Fault(200, {"error": {"message": "upstream broke", "code": 500}}),
        Fault(200, {"error": "structured output is not supported"}),
        Fault(200, {"object": "error", "message": "no choices", "choices": []}),
    ],
    ids=[
        "500", "500-text", "500-grammar", "501", "502-page", "404-form", "404-parameters",
        "405-form", "422-detail", "200-code", "200-error", "200-no-choices",
    ],
)  # fmt: skip
def test_forms_over_which_a_server_breaks(fault: Fault) -> None:
    fails = ("json_schema", "json_object")[: 1 + (fault.status == 500)]
    with chat_server(lambda one: fault if form(one) in fails else GOOD) as server:
        client = endpoint(server)
        assert ask(client) == GOOD
        asked = len(server.requests)
        assert asked == len(fails) + 1
        assert ask(client) == GOOD
        assert len(server.requests) == asked + 1, "the form that was taken is kept"


def test_a_server_that_is_down_is_not_asked_more_often_for_its_forms() -> None:
    with chat_server(lambda _: Fault(500)) as server:
        assert "4 tries failed" in raised(endpoint(server, max_retries=3), DataError).message
        assert len(server.requests) == 4
    with chat_server(first_then([Fault(503)] * 4, GOOD)) as server:
        client = endpoint(server)
        assert ask(client) == GOOD
        assert {form(one) for one in server.requests} == {"json_schema"}


def test_a_form_that_has_worked_is_not_given_up_for_some_faults() -> None:
    faults: list[Fault | str | Said] = [GOOD, Fault(500), Fault(500), GOOD]
    with chat_server(first_then(faults, GOOD)) as server:
        client = endpoint(server)
        for _ in range(3):
            ask(client)
        assert {form(one) for one in server.requests} == {"json_schema"}
    faults = [GOOD, *[Fault(500)] * 4]
    with chat_server(first_then(faults, GOOD)) as server:
        client = endpoint(server)
        for _ in range(3):
            ask(client)
        forms = [form(one) for one in server.requests]
        assert forms == ["json_schema"] * 4 + ["json_object", "text", "json_schema"]


def test_a_refused_temperature_is_left_out_and_remembered() -> None:
    message = (
        "Unsupported value: 'temperature' does not support 0.5 with this model. Only the default "
        "(1) value is supported."
    )

    def reply(request: dict[str, Any]) -> str | Fault:
        return refuse(message, param="temperature") if "temperature" in request else GOOD

    with chat_server(reply) as server:
        client = endpoint(server, temperature=0.5)
        ask(client)
        ask(client)
        assert [one.get("temperature") for one in server.requests] == [0.5, None, None]
        assert {form(one) for one in server.requests} == {"json_schema"}
        assert ["asked without it" in note for note in client.notes] == [True]


def breaks_off_below(needed: int, name: str = "max_tokens") -> Any:
    """A model that needs so many tokens for its answer."""

    def reply(request: dict[str, Any]) -> str | Said:
        allowed = request.get(name, 2048)
        if allowed >= needed:
            return GOOD
        return Said({"content": '{"a": '}, "length", tokens=allowed)

    return reply


def test_an_answer_that_breaks_off_is_asked_for_with_more_tokens() -> None:
    with chat_server(breaks_off_below(10_000)) as server:
        client = endpoint(server)
        assert ask(client) == GOOD
        assert ask(client) == GOOD
        allowed = [one.get("max_tokens") for one in server.requests]
        assert allowed == [None, 4096, 8192, 16384, 16384], "what was needed is remembered"
        (note,) = client.notes
        assert "the answer breaks off: asked again with 16384 tokens" in note
    with chat_server(breaks_off_below(100)) as server:
        client = endpoint(server, max_tokens=50)
        assert ask(client) == GOOD
        assert [one["max_tokens"] for one in server.requests] == [50, FIRST_TOKENS]


def test_an_answer_that_always_breaks_off_is_none() -> None:
    with chat_server(breaks_off_below(10**9)) as server:
        client = endpoint(server)
        error = raised(client, AnswerUnfinished)
        assert "the answer breaks off within 32768 tokens (finish_reason: length)" in error.message
        assert "agree.endpoint.max_tokens" in error.cure
        assert server.requests[-1]["max_tokens"] == MOST_TOKENS
        asked = len(server.requests)
        raised(client, AnswerUnfinished)
        assert len(server.requests) == asked + 1, "more than the most is not asked for"


def test_blanks_up_to_the_last_token_cut_nothing_off() -> None:
    with chat_server(lambda _: Said({"content": GOOD + " \n" * 500}, "length")) as server:
        assert json.loads(ask(endpoint(server))) == {"a": 1}
        assert len(server.requests) == 1


@pytest.mark.parametrize(
    "message",
    [
        "max_tokens is too large: 4096. This model supports at most 2048 completion tokens",
        "This model's maximum context length is 2048 tokens, however you requested 4096 tokens",
    ],
)
def test_more_tokens_than_a_server_takes(message: str) -> None:
    def reply(request: dict[str, Any]) -> Fault | Said:
        return (
            refuse(message) if "max_tokens" in request else Said({"content": "{"}, "length", 2048)
        )

    with chat_server(reply) as server:
        error = raised(endpoint(server), AnswerUnfinished)
        assert "breaks off, and more tokens the server refuses" in error.message
        assert "2048" in error.message
        assert len(server.requests) == 2


def test_models_that_call_their_tokens_otherwise() -> None:
    message = (
        "Unsupported parameter: 'max_tokens' is not supported with this model. Use "
        "'max_completion_tokens' instead."
    )

    def reply(request: dict[str, Any]) -> Any:
        if "max_tokens" in request:
            return refuse(message, param="max_tokens", code="unsupported_parameter")
        return breaks_off_below(4000, "max_completion_tokens")(request)

    with chat_server(reply) as server:
        client = endpoint(server)
        assert ask(client) == GOOD
        assert server.requests[-1]["max_completion_tokens"] == 4096
        ask(client)
        assert "max_tokens" not in server.requests[-1]
        assert {form(one) for one in server.requests} == {"json_schema"}


@pytest.mark.parametrize("name", ["reasoning_content", "reasoning"])
def test_nothing_but_thoughts_is_asked_for_again_with_more_tokens(name: str) -> None:
    def reply(request: dict[str, Any]) -> str | Said:
        if request.get("max_tokens", 0) >= 4096:
            return GOOD
        return Said({"content": "", name: 'I draft {"a": 7} and think on'}, "stop")

    with chat_server(reply) as server:
        client = endpoint(server)
        assert ask(client) == GOOD
        assert "nothing but thoughts (reasoning_content): asked again" in client.notes[0]
    thinks = Said({"content": None, name: "I think"}, "stop")
    with chat_server(lambda _: thinks) as server:
        error = raised(endpoint(server), AnswerUnfinished)
        assert "nothing but thoughts" in error.message
        assert len(server.requests) == 2


def test_a_server_that_takes_answers_for_thoughts() -> None:
    with chat_server(lambda _: Said({"content": "", "reasoning_content": GOOD})) as server:
        client = endpoint(server)
        assert ask(client) == GOOD
        assert len(server.requests) == 2
        assert ask(client) == GOOD
        assert len(server.requests) == 3, "remembered"
        assert any("as reasoning" in note for note in client.notes)


@pytest.mark.parametrize(
    ("message", "text"),
    [
        ({"content": [{"type": "text", "text": '{"a"'}, {"type": "text", "text": ": 1}"}]}, GOOD),
        (
            {
                "content": [
                    {"type": "thinking", "thinking": [{"type": "text", "text": '{"a": 2}'}]},
                    {"type": "text", "text": GOOD},
                ]
            },
            GOOD,
        ),
        ({"content": {"a": 1}}, GOOD),
        ({"content": None, "tool_calls": [{"function": {"name": "f", "arguments": GOOD}}]}, GOOD),
        ({"content": "", "tool_calls": [{"function": {"arguments": {"a": 1}}}]}, GOOD),
        ({"content": None, "function_call": {"name": "f", "arguments": GOOD}}, GOOD),
        ({"content": GOOD, "reasoning_content": '{"a": 2}'}, GOOD),
        ({"content": None}, ""),
    ],
    ids=["parts", "thinking-part", "object", "tool", "tool-object", "function", "both", "nothing"],
)
def test_where_servers_put_an_answer(message: dict[str, Any], text: str) -> None:
    with chat_server(lambda _: Said(message)) as server:
        assert ask(endpoint(server)) == text
        assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (Said({"content": "{"}, "content_filter"), "finish_reason: content_filter"),
        (Said({"content": None, "refusal": "I can't"}), 'the model says "I can\'t"'),
        (refuse("filtered", code="content_filter"), "HTTP 400: filtered"),
    ],
    ids=["finish", "refusal", "azure"],
)
def test_refusals_are_not_asked_again_in_other_forms(said: Said | Fault, reason: str) -> None:
    with chat_server(lambda _: said) as server:
        error = raised(endpoint(server), RequestRefused)
        assert reason in error.message
        assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"error": {"message": "no"}}, "no"),
        ({"error": "model requires more memory"}, "model requires more memory"),
        ({"error": "Input validation error", "error_type": "validation"}, "Input validation error"),
        ({"detail": "Not Found"}, "Not Found"),
        ({"detail": [{"loc": ["body", "model"], "msg": "missing"}]}, "body.model: missing"),
        ({"object": "error", "message": "too long", "code": 400}, "too long"),
        ({"error": None, "message": "why"}, "why"),
        ({"errors": [{"message": "one"}, {"message": "two"}]}, "one; two"),
        ({"error": {"message": "Provider returned error", "metadata": {"raw": '{"error": "x"}'}}},
         "Provider returned error (x)"),
        ({"statusCode": 401, "message": "Access denied"}, "Access denied"),
        ({"error": '{"message": "inner"}'}, "inner"),
        ("<html><head><title>502 Bad\n Gateway</title>", "a web page, '502 Bad Gateway'"),
        ("plain words", "plain words"),
        ({"odd": 1}, "{'odd': 1}"),
        (None, ""),
    ],
)  # fmt: skip
def test_what_servers_say_in_their_errors(body: Any, message: str) -> None:
    assert body_to_message(body) == message


@pytest.mark.parametrize(
    ("pasted", "url"),
    [
        ("http://h:8000/v1/", "http://h:8000/v1"),
        (" http://h:8000/v1/chat/completions\n", "http://h:8000/v1"),
        ("https://h/v1/chat/completions/", "https://h/v1"),
        ("http://h/v1/completions", "http://h/v1"),
        ("https://h/api/v1/models", "https://h/api/v1"),
        ("localhost:8000/v1", "http://localhost:8000/v1"),
        ("127.0.0.1/v1", "http://127.0.0.1/v1"),
        ("api.example.com/v1", "https://api.example.com/v1"),
        ("gpu-box:8000", "http://gpu-box:8000"),
        ("http://h:8000/v1", "http://h:8000/v1"),
    ],
)
def test_urls_as_they_are_pasted(pasted: str, url: str) -> None:
    assert base_url(pasted) == url


def test_a_pasted_request_url_is_understood() -> None:
    with chat_server(lambda _: GOOD) as server:
        assert ask(endpoint(f"{server.url}/chat/completions")) == GOOD
        assert ask(endpoint(server.url.removeprefix("http://") + "/")) == GOOD
        for tail in ("", "/", "/api/chat", "/api"):
            url = server.url.removesuffix("/v1") + tail
            error = raised(endpoint(url), UsageError)
            assert f"agree.endpoint.url=URL (perhaps {server.url})" in error.cure
    assert likely_url("https://h/v1beta/") is None
    for broken in (
        "http://",
        "htp://h/v1",
        "http://h:8a/v1",
        "http://[::1/v1",
        "",
        "http://h/\x00",
    ):
        assert raised_anywhere(broken).cure


def raised_anywhere(url: str) -> UsageError:
    with pytest.raises(UsageError) as caught:
        ask(endpoint(url, max_retries=1))
    return caught.value


@pytest.mark.parametrize("variable", ["HTTP_PROXY", "http_proxy", "ALL_PROXY"])
def test_a_proxy_that_fails_is_named(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with chat_server(lambda _: GOOD) as server:
        dead = server.url
    with chat_server(lambda _: GOOD) as server:
        proxy = dead.removesuffix("/v1").replace("//", "//user:secret@")
        monkeypatch.setenv(variable, proxy)
        error = raised(endpoint(server), UsageError)
        shown = dead.removesuffix("/v1")
        assert f"through the proxy {shown} of the environment variable {variable}" in error.message
        assert "secret" not in str(error)
        assert "export NO_PROXY=127.0.0.1" in error.cure
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        assert ask(endpoint(server)) == GOOD


@pytest.mark.parametrize("status", [403, 407, 502])
def test_a_proxy_that_answers_itself_is_named(status: int, monkeypatch: pytest.MonkeyPatch) -> None:
    page = Fault(status, "<html><title>ERR_ACCESS_DENIED</title></html>")
    with chat_server(lambda _: page) as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url.removesuffix("/v1"))
        error = raised(endpoint("http://model-host.test/v1", max_retries=1), ImigError)
    assert "of the environment variable HTTP_PROXY" in error.message


@pytest.mark.parametrize(
    ("variable", "value", "words"),
    [
        ("HTTP_PROXY", "foo://bar", "foo is no kind of proxy"),
        ("ALL_PROXY", "socks4://127.0.0.1:9", "socks4 is no kind of proxy"),
        ("SSL_CERT_FILE", "/nowhere/ca.pem", "/nowhere/ca.pem, which does not exist"),
    ],
)
def test_an_environment_that_cannot_be_used_is_named(
    variable: str, value: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, value)
    error = raised_anywhere("https://127.0.0.1:9/v1")
    assert variable in error.message
    assert words in error.message
    assert "unset" in error.cure


def test_a_socks_proxy_without_its_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", "socks5://127.0.0.1:9")
    assert "ALL_PROXY" in raised_anywhere("http://127.0.0.1:9/v1").message


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """Self-signed, with its key."""
    if shutil.which("openssl") is None:
        pytest.skip("no openssl to make a certificate with")
    key, own = tmp_path / "key.pem", tmp_path / "own.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
         "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1",
         "-keyout", key, "-out", own],
        check=True, capture_output=True,
    )  # fmt: skip
    both = tmp_path / "both.pem"
    both.write_bytes(key.read_bytes() + own.read_bytes())
    return both


def test_own_certificates_are_named(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with chat_server(lambda _: GOOD, certificate=certificate) as server:
        error = raised(endpoint(server), UsageError)
        assert "self-signed certificate" in error.message.replace("self signed", "self-signed")
        assert "export SSL_CERT_FILE=" in error.cure
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate.with_name("own.pem")))
        assert ask(endpoint(server)) == GOOD
    with chat_server(lambda _: GOOD) as server:
        error = raised(endpoint(server.url.replace("http:", "https:")), UsageError)
        assert f"the server speaks http: {server.url}" in error.cure
