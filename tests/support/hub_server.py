"""A real HTTP server that speaks the part of the hub's API that datasets are pushed and read with.

Repositories are kept in memory as files at one revision, with every commit's message.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import huggingface_hub
import pytest
from huggingface_hub import HfFileSystem

LARGE = (".tar", ".parquet", ".jpg")
"""Names of files that git does not keep itself."""


@dataclass
class Repository:
    private: bool = False
    files: dict[str, bytes] = field(default_factory=dict)
    commits: list[str] = field(default_factory=list)


@dataclass
class HubServer:
    """What the hub holds, and whom it lets write."""

    tokens: dict[str, str] = field(default_factory=lambda: {"hf_good_token": "me"})
    """Token -> the account that it may write for."""
    url: str = ""
    repositories: dict[str, Repository] = field(default_factory=dict)
    blobs: dict[str, bytes] = field(default_factory=dict)
    """Large files by their SHA-256, whether a commit names them or not."""
    requests: list[str] = field(default_factory=list)
    ranges: list[str] = field(default_factory=list)
    refuse: dict[str, tuple[int, str]] = field(default_factory=dict)
    """Part of a path -> status and words with which requests of it are answered."""


@contextmanager
def hub_server(**settings: Any) -> Iterator[HubServer]:
    """The server, up while the block runs."""
    state = HubServer(**settings)

    class Handler(_Handler):
        hub = state

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: object, client_address: object) -> None:
            """A client that was killed or lost patience is part of the test."""

    server = Server(("127.0.0.1", 0), Handler)
    state.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def use_hub(hub: HubServer, monkeypatch: pytest.MonkeyPatch, *, token: str | None) -> None:
    """Make this process's client speak to the server; what it has cached of others is forgotten."""
    resolved = hub.url + "/{repo_id}/resolve/{revision}/{filename}"
    for name, value in {
        "ENDPOINT": hub.url,
        "HUGGINGFACE_CO_URL_TEMPLATE": resolved,
        "HF_HUB_DISABLE_XET": True,
        "HF_TOKEN_PATH": "/nowhere/token",
    }.items():
        monkeypatch.setattr(huggingface_hub.constants, name, value)
    monkeypatch.setenv("HF_ENDPOINT", hub.url)
    monkeypatch.delenv("HUGGING_FACE_HUB_TOKEN", raising=False)
    if token is None:
        monkeypatch.delenv("HF_TOKEN", raising=False)
    else:
        monkeypatch.setenv("HF_TOKEN", token)
    HfFileSystem.clear_instance_cache()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: HubServer

    def log_message(self, *words: object) -> None:
        """Tests print nothing."""

    def do_GET(self) -> None:
        self._answer()

    do_HEAD = do_POST = do_PUT = do_GET

    def _answer(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length)
        path = unquote(urlsplit(self.path).path)
        self.hub.requests.append(f"{self.command} {path}")
        for part, (status, words) in self.hub.refuse.items():
            if part in path:
                self._error(status, words)
                return
        for method, pattern, answer in _ROUTES:
            match = re.fullmatch(pattern, path)
            if match and self.command in method:
                answer(self, body, *match.groups())
                return
        self._error(404, f"no such route: {self.command} {path}")

    def _account(self) -> str | None:
        token = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
        return self.hub.tokens.get(token)

    def _repository(self, name: str) -> Repository | None:
        """One that the caller may see; else the answer is given already."""
        found = self.hub.repositories.get(name)
        if self.headers.get("Authorization") and self._account() is None:
            self._error(401, "Invalid credentials in Authorization header")
            return None
        if found is None or (found.private and self._account() != name.split("/")[0]):
            self._error(404, "Repository not found", code="RepoNotFound")
            return None
        return found

    def _may_write(self, name: str) -> bool:
        if self._account() == name.split("/")[0]:
            return True
        self._error(403, f"You don't have the rights to write {name}")
        return False

    def create(self, body: bytes) -> None:
        asked = json.loads(body)
        account = self._account()
        if account is None:
            self._error(401, "Invalid credentials in Authorization header")
            return
        name = f"{asked['organization'] or account}/{asked['name']}"
        if not self._may_write(name):
            return
        known = name in self.hub.repositories
        if not known:
            private = asked.get("visibility") == "private"
            self.hub.repositories[name] = Repository(private=private)
        url = f"{self.hub.url}/datasets/{name}"
        self._json({"url": url, "name": name, "id": name}, status=409 if known else 200)

    def info(self, body: bytes, name: str, revision: str | None = None) -> None:
        repository = self._repository(name)
        if repository is not None:
            files = [{"rfilename": one} for one in sorted(repository.files)]
            facts = {"id": name, "sha": "0" * 40, "private": repository.private, "siblings": files}
            self._json({**facts, "tags": [], "downloads": 0, "likes": 0, "gated": False})

    def tree(self, body: bytes, name: str, revision: str, folder: str | None = None) -> None:
        repository = self._repository(name)
        if repository is None:
            return
        query = parse_qs(urlsplit(self.path).query)
        whole = query.get("recursive", ["False"])[0].lower() in ("true", "1")
        prefix = f"{folder.strip('/')}/" if folder else ""
        files = sorted(one for one in repository.files if one.startswith(prefix))
        if prefix and not files:
            self._error(404, "Entry not found", code="EntryNotFound")
            return
        entries = []
        for one in files:
            inner = one[len(prefix) :]
            if "/" not in inner or whole:
                entries.append(_entry(one, repository.files[one]))
        folders = {one[len(prefix) :].split("/")[0] for one in files if "/" in one[len(prefix) :]}
        entries += [
            {"type": "directory", "path": prefix + one, "oid": "0" * 40, "size": 0}
            for one in sorted(folders)
        ]
        self._json(entries)

    def paths_info(self, body: bytes, name: str, revision: str) -> None:
        repository = self._repository(name)
        if repository is None:
            return
        if body.startswith(b"{"):
            asked = json.loads(body)["paths"]
        else:
            asked = parse_qs(body.decode())["paths"]
        found = [one for one in asked if one in repository.files]
        self._json([_entry(one, repository.files[one]) for one in found])

    def preupload(self, body: bytes, name: str, revision: str) -> None:
        repository = self._repository(name)
        if repository is None or not self._may_write(name):
            return
        self._json(
            {
                "files": [
                    {
                        "path": one["path"],
                        "uploadMode": "lfs" if one["path"].endswith(LARGE) else "regular",
                        "shouldIgnore": False,
                        "oid": None,
                    }
                    for one in json.loads(body)["files"]
                ]
            }
        )

    def batch(self, body: bytes, name: str) -> None:
        if self._repository(name) is None or not self._may_write(name):
            return
        objects = []
        for one in json.loads(body)["objects"]:
            known = one["oid"] in self.hub.blobs
            action = {"upload": {"href": f"{self.hub.url}/upload/{one['oid']}"}}
            objects.append({**one, **({} if known else {"actions": action})})
        self._json({"transfer": "basic", "objects": objects})

    def upload(self, body: bytes, oid: str) -> None:
        if hashlib.sha256(body).hexdigest() != oid:
            self._error(400, "the bytes are not those of the checksum")
            return
        self.hub.blobs[oid] = body
        self._json({})

    def commit(self, body: bytes, name: str, revision: str) -> None:
        repository = self._repository(name)
        if repository is None or not self._may_write(name):
            return
        files = dict(repository.files)
        for line in body.splitlines():
            item = json.loads(line)
            value = item["value"]
            if item["key"] == "header":
                repository.commits.append(value["summary"])
            elif item["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif item["key"] == "lfsFile":
                files[value["path"]] = self.hub.blobs[value["oid"]]
            elif item["key"] == "deletedFile":
                del files[value["path"]]
        repository.files = files
        url = f"{self.hub.url}/datasets/{name}"
        self._json(
            {"commitUrl": f"{url}/commit/{'0' * 40}", "commitOid": "0" * 40, "success": True}
        )

    def resolve(self, body: bytes, name: str, revision: str, path: str) -> None:
        repository = self._repository(name)
        if repository is None:
            return
        data = repository.files.get(path)
        if data is None:
            self._error(404, "Entry not found", code="EntryNotFound")
            return
        headers = {
            "ETag": f'"{hashlib.sha256(data).hexdigest()}"',
            "X-Repo-Commit": "0" * 40,
            "Accept-Ranges": "bytes",
            "Content-Type": "application/octet-stream",
        }
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range") or "")
        if asked is None:
            self._send(200, data, headers)
            return
        start, stop = int(asked[1]), min(int(asked[2] or len(data) - 1), len(data) - 1)
        self.hub.ranges.append(f"{path} {stop + 1 - start}")
        headers["Content-Range"] = f"bytes {start}-{stop}/{len(data)}"
        self._send(206, data[start : stop + 1], headers)

    def validate_yaml(self, body: bytes) -> None:
        self._json({"errors": [], "warnings": []})

    def _json(self, value: object, *, status: int = 200) -> None:
        self._send(status, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def _error(self, status: int, words: str, *, code: str | None = None) -> None:
        headers = {"Content-Type": "application/json", "X-Error-Message": words}
        if code is not None:
            headers["X-Error-Code"] = code
        self._send(status, json.dumps({"error": words}).encode(), headers)

    def _send(self, status: int, data: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)


_NAME = r"([^/]+/[^/]+)"
_ROUTES: tuple[tuple[tuple[str, ...], str, Any], ...] = (
    (("POST",), "/api/repos/create", _Handler.create),
    (("POST",), "/api/validate-yaml", _Handler.validate_yaml),
    (("GET",), f"/api/datasets/{_NAME}", _Handler.info),
    (("GET",), f"/api/datasets/{_NAME}/revision/([^/]+)", _Handler.info),
    (("GET",), f"/api/datasets/{_NAME}/tree/([^/]+)", _Handler.tree),
    (("GET",), f"/api/datasets/{_NAME}/tree/([^/]+)/(.+)", _Handler.tree),
    (("POST",), f"/api/datasets/{_NAME}/paths-info/([^/]+)", _Handler.paths_info),
    (("POST",), f"/api/datasets/{_NAME}/preupload/([^/]+)", _Handler.preupload),
    (("POST",), f"/api/datasets/{_NAME}/commit/([^/]+)", _Handler.commit),
    (("POST",), rf"/datasets/{_NAME}\.git/info/lfs/objects/batch", _Handler.batch),
    (("PUT",), "/upload/([0-9a-f]+)", _Handler.upload),
    (("GET", "HEAD"), f"/datasets/{_NAME}/resolve/([^/]+)/(.+)", _Handler.resolve),
)


def _entry(path: str, data: bytes) -> dict[str, Any]:
    entry: dict[str, Any] = {"type": "file", "path": path, "size": len(data)}
    git = hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()
    if path.endswith(LARGE):
        sha256 = hashlib.sha256(data).hexdigest()
        entry["lfs"] = {"oid": sha256, "size": len(data), "pointerSize": 130}
        git = hashlib.sha1(sha256.encode(), usedforsecurity=False).hexdigest()
    return {**entry, "oid": git}
