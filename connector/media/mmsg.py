"""Many datagrams in one system call: recvmmsg(2) and sendmmsg(2) by ctypes, into memory that numpy arrays overlay."""

from __future__ import annotations

import ctypes
import errno
import os
import socket
import sys

import numpy as np
from numpy.typing import NDArray

_libc = ctypes.CDLL(None, use_errno=True)
_recvmmsg = _libc.recvmmsg
_sendmmsg = _libc.sendmmsg
_recvmmsg.argtypes = (ctypes.c_int, ctypes.c_void_p, ctypes.c_uint, ctypes.c_int, ctypes.c_void_p)
_sendmmsg.argtypes = (ctypes.c_int, ctypes.c_void_p, ctypes.c_uint, ctypes.c_int)

# Of 64-bit Linux; the padding is the C compiler's.
_HEADER = np.dtype(
    {
        "names": ["name", "name_bytes", "parts", "part_count", "control", "control_bytes", "flags", "got_bytes"],
        "formats": ["u8", "u4", "u8", "u8", "u8", "u8", "i4", "u4"],
        "offsets": [0, 8, 16, 24, 32, 40, 48, 56],
        "itemsize": 64,
    }
)
_PART = np.dtype([("base", "u8"), ("bytes", "u8")])

ADDRESS_BYTES = 28
"""sockaddr_in6, the longer of the two."""


class Batch:
    """Room for many datagrams and their addresses.

    Args:
        count: Datagrams at most.
        datagram_bytes: Room of each.
        family: AF_INET or AF_INET6.

    Attributes:
        data: Shape (count, datagram_bytes), uint8.
        addresses: Shape (count, ADDRESS_BYTES), uint8: as `pack_address` makes them.
        sizes: Shape (count,), uint32: what came in, after `receive`.
        at: Address of the system's headers (struct mmsghdr).
    """

    def __init__(self, count: int, datagram_bytes: int, family: int) -> None:
        self.data: NDArray[np.uint8] = np.zeros((count, datagram_bytes), np.uint8)
        self.addresses: NDArray[np.uint8] = np.zeros((count, ADDRESS_BYTES), np.uint8)
        self._count = count
        self._name_bytes = address_bytes(family)
        self._parts = np.zeros(count, _PART)
        self._headers = np.zeros(count, _HEADER)
        steps = np.arange(count, dtype=np.uint64)
        self._parts["base"] = self.data.ctypes.data + steps * np.uint64(datagram_bytes)
        self._parts["bytes"] = datagram_bytes
        self._headers["name"] = self.addresses.ctypes.data + steps * np.uint64(ADDRESS_BYTES)
        self._headers["name_bytes"] = self._name_bytes
        self._headers["parts"] = self._parts.ctypes.data + steps * np.uint64(_PART.itemsize)
        self._headers["part_count"] = 1
        self.at = self._headers.ctypes.data
        self._given: NDArray[np.uint32] = self._headers["name_bytes"]
        self.sizes: NDArray[np.uint32] = self._headers["got_bytes"]

    def words(self, count: int) -> NDArray[np.uint32]:
        """The beginning of each datagram as words in network order, over the same memory: shape (datagrams, count)."""
        datagrams, width = self.data.shape
        return np.ndarray((datagrams, count), ">u4", self.data, strides=(width, 4))

    def receive(self, fd: int) -> int:
        """Takes what has come, without waiting; datagrams beyond the room are cut off at it.

        Returns:
            How many came.

        Raises:
            OSError: What the network reported for an earlier datagram of ours.
        """
        self._given[:] = self._name_bytes  # the kernel wrote there
        got: int = _recvmmsg(fd, self.at, self._count, socket.MSG_DONTWAIT, None)
        if got < 0:
            code = ctypes.get_errno()
            if code in (errno.EAGAIN, errno.EINTR):
                return 0
            raise OSError(code, os.strerror(code))
        return got

    def send(self, fd: int, count: int) -> int:
        """Sends the first so many; one that fails does not hinder the others.

        Returns:
            How many could not be sent.
        """
        done = failed = 0
        while done < count:
            sent: int = _sendmmsg(fd, self.at + done * _HEADER.itemsize, count - done, socket.MSG_DONTWAIT)
            if sent <= 0:
                failed += 1
                sent = 1
            done += sent
        return failed


def address_bytes(family: int) -> int:
    """Size of a socket address of the family."""
    return 28 if family == socket.AF_INET6 else 16


def pack_address(family: int, host: str, port: int) -> bytes:
    """The address as the kernel has it (sockaddr_in, sockaddr_in6), filled up to `ADDRESS_BYTES`.

    Args:
        family: AF_INET or AF_INET6.
        host: An address of it, as a number.
        port: 0 to 65535.
    """
    head = int(family).to_bytes(2, sys.byteorder) + port.to_bytes(2, "big")
    number = socket.inet_pton(family, host)
    return (head + number if family == socket.AF_INET else head + bytes(4) + number).ljust(ADDRESS_BYTES, b"\0")


def source_columns(family: int) -> slice | list[int]:
    """Where in an address port and number stand: what names its sender."""
    return slice(2, 8) if family == socket.AF_INET else [2, 3, *range(8, 24)]


def unpack_source(family: int, key: bytes) -> tuple[str, int]:
    """Number and port of the bytes at `source_columns`."""
    return socket.inet_ntop(family, key[2:]), int.from_bytes(key[:2], "big")


def source_text(family: int, key: bytes) -> str:
    """The bytes at `source_columns` for a log: number and port."""
    host, port = unpack_source(family, key)
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
