"""The socket behind which a server stands, as the server's parent holds it."""

from __future__ import annotations

import socket
from types import TracebackType
from typing import Self

HOST = "127.0.0.1"


class ShopStartError(Exception):
    """The shop or its provider did not come up; says why."""


class Listener:
    """A port of this machine. Bound, and not yet listened to, it refuses connections.

    Every process that was given the socket accepts from the same queue. While the parent keeps it
    the port stays open even when nobody is there to accept: who comes then waits.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._socket = socket.socket()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def bind(self, port: int) -> int:
        """Take the port, or any free one for 0, and tell which. Raises: ShopStartError."""
        try:
            self._socket.bind((HOST, port))
        except OSError as error:
            self.close()
            message = (
                f"port {port}: cannot be used for the {self._name} ({error.strerror}); "
                "give another one, or 0 for any that is free"
            )
            raise ShopStartError(message) from None
        bound: int = self._socket.getsockname()[1]
        return bound

    @property
    def fd(self) -> int:
        """What a child is given."""
        return self._socket.fileno()

    def close(self) -> None:
        """Let go of it; it lives on in the processes that have it."""
        self._socket.close()
