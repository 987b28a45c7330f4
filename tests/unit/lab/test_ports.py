"""Blocks of ports are taken whole, by one at a time."""

from __future__ import annotations

import socket

import pytest

from connector.lab.ports import HOST, NoFreePorts, PortBlock

FIRST, LAST = 22900, 22999


def block() -> PortBlock:
    return PortBlock(FIRST, LAST, phones=2, rtp_ports=10, spare=4)


def test_every_port_is_in_the_block_once() -> None:
    with block() as taken:
        ports = taken.ports
        assert ports.rtp[0] % 2 == 0
        assert ports.rtp[1] - ports.rtp[0] + 1 == 10
        assert len(ports.phones) == 2
        assert len(ports.spare) >= 4
        every = [ports.ami, ports.http, ports.sip, *ports.phones, *ports.spare, *range(ports.rtp[0], ports.rtp[1] + 1)]
        assert len(set(every)) == len(every)
        assert min(every) > FIRST
        assert max(every) <= LAST


def test_blocks_do_not_overlap_and_come_back() -> None:
    with block() as one, block() as other:
        assert one.ports.rtp[1] < other.ports.ami
    with block() as again:
        assert again.ports == one.ports


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM])
def test_a_taken_port_is_stepped_over(kind: socket.SocketKind) -> None:
    with block() as probe:
        first = probe.ports
    with socket.socket(socket.AF_INET, kind) as somebody:
        somebody.bind((HOST, first.sip))
        with block() as taken:
            assert taken.ports.ami > first.rtp[1]


def test_a_full_range_says_so() -> None:
    with pytest.raises(NoFreePorts, match="give another range"):
        PortBlock(FIRST, FIRST + 10, phones=2, rtp_ports=10)
