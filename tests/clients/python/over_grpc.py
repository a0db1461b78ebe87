"""The etcd3 package for Python: registers a service, finds it, watches it, locks, elects, compares and swaps, and is refused
what it may not do. Says what is wrong and exits with 1, or exits with 0.

The package knows neither etcd's elections nor, but for the messages, its users: an election is made of a txn and a watch
here, as the package makes its locks, and users are made by calls of the generated client.
"""

import signal
import sys
import threading
import time

import etcd3
from etcd3 import etcdrpc
import grpc

# How long all of it may take.
PATIENCE = 50
# The time to live of leases, in seconds: the shortest that a server grants.
TTL = 2
# How long something that must not happen is waited for.
A_WHILE = 0.3

PREFIX = "/services/web/"
SERVICE = PREFIX + "1"
ADDRESS = b"10.0.0.1:80"


def discovery(client):
    events, cancel = client.watch_prefix(PREFIX, prev_kv=True)
    lease = client.lease(TTL)
    client.put(SERVICE, ADDRESS, lease=lease)
    event = next(events)
    same((type(event), event.key, event.value), (etcd3.events.PutEvent, SERVICE.encode(), ADDRESS))

    # Kept for longer than its time to live, the service is still there.
    kept = time.monotonic()
    while time.monotonic() - kept < TTL + 1:
        same([answer.TTL for answer in lease.refresh()], [TTL])
        time.sleep(TTL / 4)
    same([(value, pair.key) for value, pair in client.get_prefix(PREFIX)], [(ADDRESS, SERVICE.encode())])
    same((lease.granted_ttl, list(lease.keys)), (TTL, [SERVICE.encode()]))

    lease.revoke()
    event = next(events)
    same((type(event), event.key, event.prev_value), (etcd3.events.DeleteEvent, SERVICE.encode(), ADDRESS))
    cancel()
    same([answer.TTL for answer in lease.refresh()], [0])


def lock(client):
    held, wanted = client.lock("a", ttl=TTL), client.lock("a", ttl=TTL)
    same(held.acquire(), True)
    same(wanted.acquire(timeout=A_WHILE), False)
    waiting = threading.Thread(target=wanted.acquire, kwargs={"timeout": PATIENCE})
    waiting.start()
    time.sleep(A_WHILE)
    same((wanted.is_acquired(), held.is_acquired()), (False, True))
    same(held.release(), True)
    waiting.join()
    same(wanted.is_acquired(), True)
    same(wanted.release(), True)


def election(client):
    first, second = client.lease(TTL), client.lease(TTL)
    same(campaign(client, first, "one"), True)
    same(campaign(client, second, "two"), False)
    same(client.get("/elections/a")[0], b"one")
    events, cancel = client.watch("/elections/a")
    # Nobody keeps the lease of the leader.
    second_kept = Kept(second)
    same(type(next(events)), etcd3.events.DeleteEvent)
    same(campaign(client, second, "two"), True)
    same(next(events).value, b"two")
    second_kept.end()
    cancel()
    second.revoke()


def campaign(client, lease, name):
    txns = client.transactions
    won, _ = client.transaction(
        compare=[txns.create("/elections/a") == 0],
        success=[txns.put("/elections/a", name, lease=lease)],
        failure=[],
    )
    return won


class Kept:
    """A lease that is kept until its end is asked for."""

    def __init__(self, lease):
        self.over = threading.Event()
        self.thread = threading.Thread(target=self.keep, args=[lease])
        self.thread.start()

    def keep(self, lease):
        while not self.over.wait(TTL / 4):
            lease.refresh()

    def end(self):
        self.over.set()
        self.thread.join()


def compare_and_swap(client):
    revision = client.put("/config", "1").header.revision
    txns = client.transactions

    def swap():
        return client.transaction(
            compare=[txns.mod("/config") == revision, txns.value("/config") == "1"],
            success=[txns.put("/config", "2")],
            failure=[txns.get("/config")],
        )

    same(swap()[0], True)
    swapped, [[(value, _)]] = swap()
    same((swapped, value), (False, b"2"))
    same((client.replace("/config", "2", "3"), client.replace("/config", "2", "4")), (True, False))
    same((client.put_if_not_exists("/new", "1"), client.put_if_not_exists("/new", "2")), (True, False))


def auth(client):
    users = etcdrpc.AuthStub(client.channel)
    users.UserAdd(etcdrpc.AuthUserAddRequest(name="root", password="secret"))
    users.UserGrantRole(etcdrpc.AuthUserGrantRoleRequest(user="root", role="root"))
    users.RoleAdd(etcdrpc.AuthRoleAddRequest(name="reader"))
    grant = etcdrpc.AuthRoleGrantPermissionRequest(name="reader")
    grant.perm.permType = grant.perm.READ
    grant.perm.key, grant.perm.range_end = PREFIX.encode(), etcd3.utils.increment_last_byte(PREFIX.encode())
    users.RoleGrantPermission(grant)
    users.UserAdd(etcdrpc.AuthUserAddRequest(name="alice", password="wonder"))
    users.UserGrantRole(etcdrpc.AuthUserGrantRoleRequest(user="alice", role="reader"))
    client.put(SERVICE, ADDRESS)
    users.AuthEnable(etcdrpc.AuthEnableRequest())

    refused(grpc.StatusCode.INVALID_ARGUMENT, "etcdserver: user name is empty", lambda: client.get(SERVICE))
    wrong = "etcdserver: authentication failed, invalid user ID or password"
    refused(grpc.StatusCode.INVALID_ARGUMENT, wrong, lambda: connect(user="alice", password="wrong"))

    alice = connect(user="alice", password="wonder")
    same([value for value, _ in alice.get_prefix(PREFIX)], [ADDRESS])
    denied = (grpc.StatusCode.PERMISSION_DENIED, "etcdserver: permission denied")
    refused(*denied, lambda: alice.put(SERVICE, "no"))
    refused(*denied, lambda: alice.get("/config"))
    list_request = etcdrpc.AuthUserListRequest()
    refused(*denied, lambda: etcdrpc.AuthStub(alice.channel).UserList(list_request, metadata=alice.metadata))
    alice.close()

    root = connect(user="root", password="secret")
    users = etcdrpc.AuthStub(root.channel)
    role = users.RoleGet(etcdrpc.AuthRoleGetRequest(role="reader"), metadata=root.metadata)
    same([permission.key for permission in role.perm], [PREFIX.encode()])
    users.AuthDisable(etcdrpc.AuthDisableRequest(), metadata=root.metadata)
    root.close()


def refused(code, text, call):
    try:
        call()
    except grpc.RpcError as error:
        same((error.code(), error.details()), (code, text))
    else:
        raise AssertionError(f"not refused with {text}")


def same(actual, expected):
    if actual != expected:
        raise AssertionError(f"{actual!r}, and not {expected!r}")


def connect(**credentials):
    host, port = sys.argv[1].split(":")
    client = etcd3.client(host=host, port=int(port), timeout=PATIENCE, **credentials)
    # The package hands the token over twice. gRPC takes it without TLS only as metadata.
    client.call_credentials = None
    return client


def main():
    if len(sys.argv) != 2:
        sys.exit("usage: over_grpc.py HOST:PORT")
    # Ends the process, whatever waits.
    signal.alarm(PATIENCE)
    client = connect()
    for step in (discovery, lock, election, compare_and_swap, auth):
        step(client)
        print(step.__name__, "ok", flush=True)
    client.close()


main()
