"""Ports for laboratories that run side by side: each takes a block of its own and keeps it."""

from __future__ import annotations

import socket
from types import TracebackType
from typing import Self

from connector.lab.conf import LabPorts

HOST = "127.0.0.1"


class NoFreePorts(OSError):
    """No block of the range is free."""


class PortBlock:
    """A run of ports on 127.0.0.1 that no other laboratory takes while this one is open.

    The first port of a block is held bound for the block's life, which makes the claim atomic between processes.
    The others are probed once and then left to Asterisk.
    """

    def __init__(self, first: int, last: int, *, phones: int, rtp_ports: int, spare: int = 16) -> None:
        """Claims the first free block.

        Args:
            first: Lowest port of the range to search.
            last: Highest port of the range.
            phones: Ports wanted for phones.
            rtp_ports: UDP ports wanted for Asterisk's RTP, rounded up to an even number.
            spare: Ports wanted for others.

        Raises:
            NoFreePorts: Every block of the range is in use.
        """
        rtp_ports += rtp_ports % 2
        size = 4 + phones + spare + rtp_ports
        size += size % 2
        for base in range(first + first % 2, last - size + 2, size):
            claim = _bound(socket.SOCK_STREAM, base)
            if claim is None:
                continue
            rest = range(base + 1, base + size)
            if all(_free(port) for port in rest):
                self._claim = claim
                break
            claim.close()
        else:
            raise NoFreePorts(
                f"no {size} free ports in a row on {HOST} between {first} and {last}: "
                "give another range, or stop what uses this one"
            )
        self.ports = LabPorts(
            ami=base + 1,
            http=base + 2,
            sip=base + 3,
            phones=tuple(range(base + 4, base + 4 + phones)),
            spare=tuple(range(base + 4 + phones, base + size - rtp_ports)),
            rtp=(base + size - rtp_ports, base + size - 1),
        )

    def close(self) -> None:
        """Gives the block back."""
        self._claim.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


def _bound(kind: socket.SocketKind, port: int) -> socket.socket | None:
    sock = socket.socket(socket.AF_INET, kind)
    try:
        sock.bind((HOST, port))
    except OSError:
        sock.close()
        return None
    return sock


def _free(port: int) -> bool:
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        sock = _bound(kind, port)
        if sock is None:
            return False
        sock.close()
    return True
