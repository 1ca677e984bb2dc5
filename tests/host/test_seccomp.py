"""Workers open no socket; the filter that refuses it, step by step, for processors that are not at hand, too."""

import ctypes
import errno
import mmap
import os
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from bsbatch.errors import WorkerLostError
from bsbatch.host import seccomp
from bsbatch.host.seccomp import refuse_sockets
from bsbatch.host.workers import Isolation, SharedMemory, WorkerPool

pytestmark = pytest.mark.skipif(
    os.uname().machine not in {"x86_64", "aarch64"}, reason="workers go on without a filter (docs/security.md)"
)


Address = tuple[str, int] | str


@pytest.fixture(scope="module")
def isolation() -> Iterator[Isolation]:
    with pytest.MonkeyPatch.context() as patch, Isolation() as workers:
        patch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
        yield workers


def errno_of_connecting(family: int, kind: int, address: Address) -> int:
    """Return the error of a connection, 0 if there is none."""
    try:
        with socket.socket(family, kind) as ours:
            ours.connect(address)
    except OSError as error:
        return error.errno or -1
    return 0


@pytest.mark.parametrize(
    ("family", "address"),
    [(socket.AF_INET, ("127.0.0.1", 0)), (socket.AF_INET6, ("::1", 0)), (socket.AF_UNIX, "\0bsbatch test {}")],
    ids=["IPv4", "IPv6", "abstract"],
)
@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM], ids=["stream", "datagram"])
def test_a_worker_cannot_connect_to_a_server_that_this_process_can_reach(
    isolation: Isolation, family: int, kind: int, address: Address
) -> None:
    with socket.socket(family, kind) as server:
        try:
            server.bind(address.format(os.getpid()) if isinstance(address, str) else address)
        except OSError:
            pytest.skip("this machine lacks the family")
        if kind == socket.SOCK_STREAM:
            server.listen()
        reached = server.getsockname()

        assert errno_of_connecting(family, kind, reached) == 0
        assert isolation.call(errno_of_connecting, family, kind, reached) == errno.EACCES


@pytest.mark.parametrize("family", ["AF_NETLINK", "AF_PACKET", "AF_VSOCK", "AF_ALG"])
def test_a_worker_opens_no_socket_of_another_kind(isolation: Isolation, family: str) -> None:
    with pytest.raises(PermissionError):
        isolation.call(socket.socket, getattr(socket, family), socket.SOCK_RAW)


def test_a_worker_makes_no_pair_of_sockets_which_can_send_to_others(isolation: Isolation) -> None:
    with pytest.raises(PermissionError):
        isolation.call(socket.socketpair)


def test_what_a_worker_starts_has_no_network_either(isolation: Isolation) -> None:
    command = [sys.executable, "-c", "import socket; socket.socket()"]
    done = isolation.call(subprocess.run, command, capture_output=True, text=True)
    assert "PermissionError" in done.stderr


def seccomp_of_threads() -> set[str]:
    """Return the states of all threads of this process, 2 with a filter; numpy has started its own."""
    np.linalg.inv(np.ones((200, 200)) + np.eye(200))
    thread = threading.Thread(target=threading.Event().wait, args=(5.0,), daemon=True)
    thread.start()
    status = [path.read_text() for path in Path("/proc/self/task").glob("*/status")]
    lines = {line for text in status for line in text.splitlines()}
    return {line for line in lines if line.startswith(("Seccomp:", "NoNewPrivs:"))}


def test_the_filter_is_in_force_in_all_threads_of_a_worker(isolation: Isolation) -> None:
    assert isolation.call(seccomp_of_threads) == {"Seccomp:\t2", "NoNewPrivs:\t1"}


def test_a_filter_that_is_in_force_is_reported(isolation: Isolation) -> None:
    assert isolation.call(refuse_sockets) is True


def test_a_worker_of_a_pool_has_no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    memory = SharedMemory(8)
    with WorkerPool[int](1, 60.0) as pool:
        pool.start(connector, memory=memory)
        assert pool.map([(socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", 9))]) == [errno.EACCES]
    memory.close()


def connector() -> Callable[..., int]:
    return errno_of_connecting


def errno_of_calling(number: int) -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    return ctypes.get_errno() if libc.syscall(ctypes.c_long(number), 0, 0, 0, 0) == -1 else 0


@pytest.mark.parametrize("number", [425, 438], ids=["io_uring_setup", "pidfd_getfd"])
def test_other_ways_to_a_socket_are_closed(isolation: Isolation, number: int) -> None:
    assert isolation.call(errno_of_calling, number) == errno.EACCES


def result_of_calling_as_32_bit() -> int:
    """Return the result of getpid by the gate of 32 bit: its numbers are others, and 359 is socket there."""
    page = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    page.write(bytes.fromhex("b814000000 cd80 c3"))  # mov eax, 20; int 0x80; ret
    return int(ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(page)))())


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="the gates of x86")
def test_the_other_two_gates_of_x86_are_closed(isolation: Isolation) -> None:
    assert isolation.call(errno_of_calling, 0x40000000 + 39) == errno.EACCES
    with suppress(WorkerLostError):  # a kernel without that gate ends the process
        assert isolation.call(result_of_calling_as_32_bit) == -errno.EACCES


def verdict(program: bytes, architecture: int, number: int) -> int:
    """Run a filter, of the four instructions that ours has, as bpf(4) describes them."""
    instructions = list(struct.iter_unpack("=HBBI", program))
    data, at, accumulator = {0: number, 4: architecture}, 0, -1
    while True:
        code, if_true, if_false, value = instructions[at]
        if code == 0x06:
            return int(value)
        if code == 0x20:
            accumulator, at = data[value], at + 1
        else:
            holds = accumulator == value if code == 0x15 else accumulator >= value
            at += 1 + (if_true if holds else if_false)


SOCKETS = {"x86_64": (0xC000003E, {41, 53, 425, 438}), "aarch64": (0xC00000B7, {198, 199, 425, 438})}


@pytest.mark.parametrize("machine", SOCKETS)
def test_the_filter_refuses_sockets_and_calls_of_other_architectures_and_nothing_else(machine: str) -> None:
    program = seccomp._filter_of(seccomp._MACHINES[machine])
    architecture, refused = SOCKETS[machine]
    numbers = [*range(600), 0x3FFFFFFF, 0x40000000, 0x40000001, 0xFFFFFFFF]
    others = [native for native, _ in SOCKETS.values() if native != architecture]

    verdicts = {number: verdict(program, architecture, number) for number in numbers}
    assert {number for number, result in verdicts.items() if result == 0x50000 | errno.EACCES} == {
        *refused,
        *numbers[-3:],
    }
    assert set(verdicts.values()) == {0x50000 | errno.EACCES, 0x7FFF0000}
    assert {verdict(program, other, number) for other in (*others, 0x40000003, 0x40000028) for number in numbers} == {
        0x50000 | errno.EACCES
    }


@pytest.mark.parametrize(("machine", "widest"), [("riscv64", sys.maxsize), ("x86_64", 2**31 - 1)])
def test_a_process_that_the_filter_does_not_know_goes_on_without_it(
    monkeypatch: pytest.MonkeyPatch, machine: str, widest: int
) -> None:
    monkeypatch.setattr(os, "uname", lambda: os.uname_result(("Linux", "", "", "", machine)))
    monkeypatch.setattr(sys, "maxsize", widest)
    assert refuse_sockets() is False
    with socket.socket():
        pass
