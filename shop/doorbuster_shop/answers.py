"""JSON in and out: how every endpoint of shop and provider reads and answers."""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from typing import Any, TypeVar

import orjson
from pydantic import BaseModel, ValidationError
from starlette.requests import Request
from starlette.responses import Response

BODY_BYTES_MAX = 16_384
KEY_LENGTH_MAX = 200

_M = TypeVar("_M", bound=BaseModel)


class ProblemError(Exception):
    """A request that cannot be served, with what the client is told."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message


def answer(
    content: Mapping[str, Any], status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """A JSON answer."""
    return Response(orjson.dumps(content), status, headers=headers, media_type="application/json")


def problem(
    status: int, code: str, message: str, headers: Mapping[str, str] | None = None
) -> Response:
    """A refusal or an error: a code for programs, a sentence for people."""
    return answer({"code": code, "message": message}, status, headers)


async def read_body(request: Request, model: type[_M]) -> _M:
    """The validated body of a request. Raises: ProblemError, 413 or 422."""
    return parsed(await read_bytes(request), model)


def parsed(body: bytes, model: type[_M]) -> _M:
    """The content of a body. Raises: ProblemError 422."""
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        raise ProblemError(422, "malformed", _sentence(error)) from None


async def read_bytes(request: Request) -> bytes:
    """The body as it was sent. Raises: ProblemError 413."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > BODY_BYTES_MAX:
            message = f"the body exceeds {BODY_BYTES_MAX} bytes"
            raise ProblemError(413, "too_large", message)
    return body


def _sentence(error: ValidationError) -> str:
    parts = []
    for detail in error.errors(include_url=False):
        place = ".".join(str(step) for step in detail["loc"])
        parts.append(f"{place}: {detail['msg']}" if place else detail["msg"])
    return "; ".join(parts)


def idempotency_key(request: Request) -> str:
    """The key under which a request may be repeated. Raises: ProblemError 400."""
    key = request.headers.get("idempotency-key", "")
    if not 1 <= len(key) <= KEY_LENGTH_MAX:
        message = (
            f"header Idempotency-Key: needed, 1 to {KEY_LENGTH_MAX} characters (got {len(key)}); "
            "choose a new one for each new wish and keep it for every retry of the same"
        )
        raise ProblemError(400, "idempotency_key_missing", message)
    return key


def require_token(request: Request, token: str) -> None:
    """Let only the operator in. Raises: ProblemError 401."""
    given = request.headers.get("authorization", "")
    if not hmac.compare_digest(given.encode(), f"Bearer {token}".encode()):
        raise ProblemError(401, "unauthorized", "header Authorization: give Bearer <admin token>")


async def on_problem(request: Request, error: Exception) -> Response:
    """Turn a ProblemError into its answer."""
    del request
    assert isinstance(error, ProblemError)
    return problem(error.status, error.code, error.message)
