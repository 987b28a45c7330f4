import socket

import numpy as np
import pytest

from connector.media.mmsg import Batch, pack_address, source_columns, unpack_source

FAMILIES = [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")]


def bound(family: int, host: str) -> socket.socket:
    udp = socket.socket(family, socket.SOCK_DGRAM)
    udp.setblocking(False)
    udp.bind((host, 0))
    return udp


@pytest.mark.parametrize(("family", "host"), FAMILIES)
def test_many_datagrams_go_and_come_with_their_addresses(family: int, host: str) -> None:
    with bound(family, host) as ours, bound(family, host) as one, bound(family, host) as other:
        sending, receiving = Batch(8, 4, family), Batch(8, 16, family)
        for place, peer in enumerate((one, other, one)):
            sending.data[place] = place + 1
            sending.addresses[place] = np.frombuffer(pack_address(family, *peer.getsockname()[:2]), np.uint8)
        assert sending.send(ours.fileno(), 3) == 0
        assert [one.recv(99), other.recv(99), one.recv(99)] == [b"\1" * 4, b"\2" * 4, b"\3" * 4]
        for _ in range(2):  # the kernel writes into the headers; the second time is as the first
            one.sendto(b"short", ours.getsockname())
            other.sendto(b"x" * 99, ours.getsockname())
            assert receiving.receive(ours.fileno()) == 2
            assert receiving.sizes[:2].tolist() == [5, 16]
            assert receiving.data[0, :5].tobytes() == b"short"
            keys = [receiving.addresses[n, source_columns(family)].tobytes() for n in range(2)]
            assert [unpack_source(family, key)[1] for key in keys] == [peer.getsockname()[1] for peer in (one, other)]
            assert unpack_source(family, keys[0])[0] == host
            assert receiving.receive(ours.fileno()) == 0


def test_one_that_fails_does_not_hinder_the_others() -> None:
    with bound(socket.AF_INET, "127.0.0.1") as ours, bound(socket.AF_INET, "127.0.0.1") as peer:
        sending = Batch(4, 4, socket.AF_INET)
        good = np.frombuffer(pack_address(socket.AF_INET, *peer.getsockname()), np.uint8)
        sending.addresses[:3] = good
        sending.addresses[1] = np.frombuffer(pack_address(socket.AF_INET, "127.0.0.1", 0), np.uint8)  # port 0: EINVAL
        assert sending.send(ours.fileno(), 3) == 1
        assert [len(peer.recv(99)) for _ in range(2)] == [4, 4]


def test_no_more_than_there_is_room_for_at_once() -> None:
    with bound(socket.AF_INET, "127.0.0.1") as ours, bound(socket.AF_INET, "127.0.0.1") as peer:
        receiving = Batch(3, 8, socket.AF_INET)
        for number in range(5):
            peer.sendto(bytes([number]), ours.getsockname())
        assert receiving.receive(ours.fileno()) == 3
        assert receiving.data[:3, 0].tolist() == [0, 1, 2]
        assert receiving.receive(ours.fileno()) == 2
        assert receiving.data[:2, 0].tolist() == [3, 4]
