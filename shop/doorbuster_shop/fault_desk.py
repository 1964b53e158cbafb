"""Where faults are asked for: a small HTTP server in the process that started the shop.

The shop itself cannot be asked: it may be the one that is dead. `load` asks through the hook
`faults` of the profile, as it would ask Toxiproxy or Chaos Mesh.
"""

from __future__ import annotations

import hmac
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

import orjson
from pydantic import ValidationError

from doorbuster_shop.child import HOST, ShopStartError
from doorbuster_shop.faults import FaultError, FaultOrder, Faults

BODY_BYTES_MAX = 4_096


class FaultDesk:
    """POST /begin and /end with a FaultOrder as JSON and the admin token as bearer."""

    def __init__(self, admin_token: str) -> None:
        self._server = _Server((HOST, 0), _Handler)
        self._server.admin_token = admin_token
        self._thread = threading.Thread(
            target=self._server.serve_forever, name="fault-desk", daemon=True
        )

    @property
    def port(self) -> int:
        """Where it is, on this machine."""
        return self._server.server_address[1]

    def open(self, faults: Faults) -> None:
        """From now on orders are taken; before, they wait to be answered."""
        self._server.faults = faults
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._thread.ident is not None:
            self._server.shutdown()
            self._server.faults.close()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    admin_token: str
    faults: Faults


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        """Begin or end a fault."""
        length = int(self.headers.get("Content-Length") or 0)
        given = self.headers.get("Authorization", "")
        if not hmac.compare_digest(given.encode(), f"Bearer {self.server.admin_token}".encode()):
            self._tell(HTTPStatus.UNAUTHORIZED, "header Authorization: give Bearer <admin token>")
        elif length > BODY_BYTES_MAX:
            self._tell(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "the body is too long")
        elif self.path not in ("/begin", "/end"):
            self._tell(HTTPStatus.NOT_FOUND, "no such call; there are /begin and /end")
        else:
            self._tell(*self._obeyed(self.rfile.read(length)))

    def _obeyed(self, body: bytes) -> tuple[HTTPStatus, str]:
        try:
            order = FaultOrder.model_validate_json(body)
            if self.path == "/begin":
                self.server.faults.begin(order)
            else:
                self.server.faults.end(order.kind)
        except ValidationError as error:
            first = error.errors()[0]
            return HTTPStatus.UNPROCESSABLE_ENTITY, f"{first['loc']}: {first['msg']}"
        except FaultError as error:
            return HTTPStatus.CONFLICT, str(error)
        except (ShopStartError, OSError) as error:
            return HTTPStatus.INTERNAL_SERVER_ERROR, f"{type(error).__name__}: {error}"
        return HTTPStatus.OK, "done"

    def _tell(self, status: HTTPStatus, message: str) -> None:
        content = orjson.dumps({"message": message})
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""
