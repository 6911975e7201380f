"""Hosts with a network of their own: namespaces, joined by a bridge on the data host."""

import ctypes
import os
import subprocess
from contextlib import contextmanager

CLONE_NEWNET = 0x40000000

#: Addresses that exist in these namespaces only.
ADDRESSES = {"data": "10.77.0.1", "web": "10.77.0.2", "east": "10.77.0.3", "west": "10.77.0.4"}

#: Known in advance to all hosts: on a network with routers, too, the host itself would not be asked for its address.
MACS = {host: f"02:00:00:00:00:0{number}" for number, host in enumerate(ADDRESSES, start=1)}

_libc = ctypes.CDLL(None, use_errno=True)


class Network:
    """Four hosts; the data host's end of each cable is in its bridge."""

    def __init__(self):
        self.prefix = f"numflow-{os.getpid()}"

    def __enter__(self):
        try:
            self._build()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *error):
        for host in ADDRESSES:
            subprocess.run(["ip", "netns", "delete", self.name(host)], check=False, capture_output=True)

    def _build(self):
        for host in ADDRESSES:
            ip("netns", "add", self.name(host))
            self._ip("link set lo up", host)
        self._ip(f"link add bridge address {MACS['data']} type bridge")
        self._ip("link set bridge up")
        self._ip(f"address add {ADDRESSES['data']}/24 dev bridge")
        for host in [host for host in ADDRESSES if host != "data"]:
            self._ip(f"link add {host} type veth peer name cable address {MACS[host]} netns {self.name(host)}")
            self._ip(f"link set {host} master bridge up")
            self._ip(f"address add {ADDRESSES[host]}/24 dev cable", host)
            self._ip("link set cable up", host)
            self._ip(f"neighbour add {ADDRESSES[host]} lladdr {MACS[host]} dev bridge nud permanent")
            self._ip(f"neighbour add {ADDRESSES['data']} lladdr {MACS['data']} dev cable nud permanent", host)

    def _ip(self, command, host="data"):
        ip("-n", self.name(host), *command.split())

    def name(self, host):
        """The namespace of a host."""
        return f"{self.prefix}-{host}"

    def on(self, host):
        """What stands before a command that is to run on *host*."""
        return ["ip", "netns", "exec", self.name(host)]

    @contextmanager
    def inside(self, host):
        """Let this thread, and all that it starts meanwhile, be on *host*."""
        with open("/proc/thread-self/ns/net") as home, open(f"/run/netns/{self.name(host)}") as there:  # noqa: PTH123
            _enter(there)
            try:
                yield
            finally:
                _enter(home)

    def cut(self, host):
        """Drop what *host* sends and what is sent to it, without an error for either side."""
        self._ip(f"link set {host} down")

    def heal(self, host):
        """Plug the cable in again."""
        self._ip(f"link set {host} up")


def ip(*arguments):
    """Run iproute2's ``ip``."""
    done = subprocess.run(["ip", *arguments], check=False, capture_output=True, text=True)
    if done.returncode:
        raise OSError(f"ip {' '.join(arguments)}: {done.stderr.strip()}")


def _enter(namespace):
    if _libc.setns(namespace.fileno(), CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns")
