"""Alpaca's OpenAPI documents and validators of them.

They come out of the wheel alpaca-mcp-server 2.4.0, which pip fetches once into the cache folder. Where a document
contradicts its own examples, or what accounts were seen to receive, it is mended here, each time with the reason.
"""

from __future__ import annotations

import copy
import hashlib
import json
import subprocess
import sys
import tempfile
import zipfile
from functools import lru_cache
from pathlib import Path
from typing import Any

import jsonschema
import platformdirs
import pytest
import referencing
import referencing.jsonschema

WHEEL = "alpaca-mcp-server==2.4.0"
SHA256 = {
    "trading-api.json": "e67cf32d58cd5f918c593925e966bf737eff1e0f03f15c7c0ba467368eaa6d42",
    "market-data-api.json": "957d447060484f59ca98d4d75a3e7cef92c8fea73eeae9ae31a6fb710504c128",
}


def _folder() -> Path:
    """Both documents, as published; skips the test where neither cache nor network has them."""
    folder = platformdirs.user_cache_path("botlib") / "tests" / WHEEL.replace("==", "-")
    if not all(_whole(folder / name) for name in SHA256):
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as temporary:
            command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:",
                       "--disable-pip-version-check", "--no-input", "--dest", temporary, WHEEL]
            done = subprocess.run(command, capture_output=True, text=True, timeout=300)
            wheels = list(Path(temporary).glob("*.whl"))
            if done.returncode or not wheels:
                pytest.skip(f"{WHEEL} is neither in {folder} nor can pip download it")
            with zipfile.ZipFile(wheels[0]) as wheel:
                for name in SHA256:
                    text = wheel.read(f"alpaca_mcp_server/specs/{name}")
                    (Path(temporary) / name).write_bytes(text)
                    (Path(temporary) / name).replace(folder / name)
        assert all(_whole(folder / name) for name in SHA256), "the documents are not those of this version"
    return folder


def _whole(path: Path) -> bool:
    return path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == SHA256[path.name]


@lru_cache(maxsize=4)
def published(name: str) -> dict[str, Any]:
    """A document as published: "trading" or "market-data"."""
    text = (_folder() / f"{name}-api.json").read_text(encoding="utf-8")
    made: dict[str, Any] = json.loads(text)
    return made


@lru_cache(maxsize=4)
def document(name: str) -> dict[str, Any]:
    """A document, mended."""
    made = copy.deepcopy(published(name))
    if name == "trading":
        schemas = made["components"]["schemas"]
        # Every fill is also a valid NonTradeActivities (nothing is required there): "one of" can never hold.
        items = made["paths"]["/v2/account/activities/{activity_type}"]["get"]["responses"]["200"]["content"][
            "application/json"]["schema"]["items"]
        items["anyOf"] = items.pop("oneOf")
        # Its own example holds a date, "2019-08-01".
        schemas["NonTradeActivities"]["properties"]["date"]["format"] = "date"
        # A position that could not be closed comes with an error, as its description of the 207 says.
        schemas["PositionClosedResponse"]["properties"]["body"] = {
            "anyOf": [{"$ref": "#/components/schemas/Order"}, {"$ref": "#/components/schemas/Error"}]}
    return made


@lru_cache(maxsize=256)
def validator(name: str, pointer: str) -> jsonschema.Draft202012Validator:
    """Of the schema at a JSON pointer of a document."""
    resource = referencing.Resource(document(name), referencing.jsonschema.DRAFT202012)
    registry = referencing.Registry().with_resource(f"urn:{name}", resource)
    return jsonschema.Draft202012Validator({"$ref": f"urn:{name}#{pointer}"}, registry=registry,
                                           format_checker=jsonschema.Draft202012Validator.FORMAT_CHECKER)


def template(name: str, path: str) -> str | None:
    """The documented path that a path is of."""
    parts = path.split("/")
    found = [t for t in document(name)["paths"] if len(t.split("/")) == len(parts) and all(
        a == b or (a.startswith("{") and a.endswith("}")) for a, b in zip(t.split("/"), parts))]
    return min(found, key=lambda t: t.count("{"), default=None)


def check(method: str, path: str, status: int, body: Any) -> str:
    """Validate a response against the documents; returns the documented path. Raises `jsonschema.ValidationError`."""
    name = "market-data" if path.startswith(("/v2/stocks", "/v1")) else "trading"
    found = template(name, path)
    assert found is not None, f"{path} is not documented"
    responses = document(name)["paths"][found][method.lower()]["responses"]
    if status >= 400:
        assert isinstance(body["message"], str)
        assert isinstance(body.get("code", 0), int)
        assert ("code" in body) == (name == "trading"), "trading errors have codes, data errors have none"
        return found
    assert str(status) in responses, f"{method} {path}: {status} is not documented"
    content = responses[str(status)].get("content")
    if content is None:
        assert body is None
        return found
    if isinstance(body, list) and len(body) > 100:  # the calendar has 17,000 days; all are made alike
        body = body[:50] + body[-50:]
    where = f"/paths/{found.replace('~', '~0').replace('/', '~1')}/{method.lower()}/responses/{status}/content/"
    validator(name, f"{where}application~1json/schema").validate(body)
    return found
