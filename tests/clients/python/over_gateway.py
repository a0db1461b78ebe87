"""The etcd3gw package for Python, over the JSON gateway: registers a service, finds it, watches it, locks, elects, compares
and swaps, and is refused what it may not do. Says what is wrong and exits with 1, or exits with 0.

The package knows neither elections nor users: those calls are posted through it as JSON.
"""

import base64
from concurrent import futures
import signal
import sys
import time

from etcd3gw import exceptions
from etcd3gw.client import Etcd3Client

# How long all of it may take, and one call, in seconds.
PATIENCE = 50
CALL_PATIENCE = 10
# The time to live of leases, in seconds: the shortest that a server grants.
TTL = 2
# How long something that must not happen is waited for.
A_WHILE = 0.3

PREFIX = "/services/web/"
SERVICE = PREFIX + "1"
ADDRESS = "10.0.0.1:80"


def discovery(client):
    events, cancel = client.watch_prefix(PREFIX, prev_kv=True)
    lease = client.lease(TTL)
    same(client.put(SERVICE, ADDRESS, lease=lease), True)
    event = next(events)
    same((event["kv"]["key"], event["kv"]["value"]), (SERVICE.encode(), ADDRESS.encode()))

    # Kept for longer than its time to live, the service is still there.
    kept = time.monotonic()
    while time.monotonic() - kept < TTL + 1:
        same(lease.refresh(), TTL)
        time.sleep(TTL / 4)
    found = [(value, pair["key"]) for value, pair in client.get_prefix(PREFIX)]
    same(found, [(ADDRESS.encode(), SERVICE.encode())])
    same(lease.keys(), [SERVICE.encode()])
    same(lease.ttl() <= TTL, True)

    lease.revoke()
    event = next(events)
    same((event["type"], event["kv"]["key"]), ("DELETE", SERVICE.encode()))
    same(event["prev_kv"]["value"], encoded(ADDRESS))
    cancel()
    same(lease.refresh(), -1)


def lock(client):
    held, wanted = client.lock("a", ttl=TTL), client.lock("a", ttl=TTL)
    same(held.acquire(), True)
    same(wanted.acquire(), False)
    same((held.refresh(), held.is_acquired(), wanted.is_acquired()), (TTL, True, False))
    same(held.release(), True)
    same(wanted.acquire(), True)
    same((held.release(), wanted.release()), (False, True))

    # The lock that the server keeps.
    lease = client.lease(TTL)
    key = post(client, "/lock/lock", {"name": encoded("b"), "lease": lease.id})["key"]
    same(base64.b64decode(key).startswith(b"b/"), True)
    post(client, "/lock/unlock", {"key": key})
    lease.revoke()


def election(client):
    name = encoded("a")
    first, second = client.lease(TTL), client.lease(TTL)
    leader = post(client, "/election/campaign", {"name": name, "lease": first.id, "value": encoded("one")})["leader"]
    same((leader["name"], int(leader["lease"])), (name, first.id))
    post(client, "/election/proclaim", {"leader": leader, "value": encoded("still one")})
    same(post(client, "/election/leader", {"name": name})["kv"]["value"], encoded("still one"))

    # The next one waits for its turn.
    follower = {"name": name, "lease": second.id, "value": encoded("two")}
    with futures.ThreadPoolExecutor() as others:
        waiting = others.submit(post, connect(), "/election/campaign", follower)
        time.sleep(A_WHILE)
        same(waiting.done(), False)
        post(client, "/election/resign", {"leader": leader})
        won = waiting.result(CALL_PATIENCE)["leader"]
    same(post(client, "/election/leader", {"name": name})["kv"]["value"], encoded("two"))
    post(client, "/election/resign", {"leader": won})
    refused("election: no leader", lambda: post(client, "/election/leader", {"name": name}))


def compare_and_swap(client):
    same((client.create("/config", "1"), client.create("/config", "1")), (True, False))
    same((client.replace("/config", "1", "2"), client.replace("/config", "1", "3")), (True, False))
    swap = {
        "compare": [{"key": encoded("/config"), "target": "VERSION", "version": 2}],
        "success": [{"request_put": {"key": encoded("/config"), "value": encoded("3")}}],
        "failure": [{"request_range": {"key": encoded("/config")}}],
    }
    same(client.transaction(swap).get("succeeded"), True)
    second = client.transaction(swap)
    same("succeeded" in second, False)
    same(second["responses"][0]["response_range"]["kvs"][0]["value"], encoded("3"))
    same(client.get("/config"), [b"3"])


def auth(client):
    end = PREFIX[:-1] + chr(ord(PREFIX[-1]) + 1)
    permission = {"key": encoded(PREFIX), "range_end": encoded(end)}
    for path, body in (
        ("/auth/user/add", {"name": "root", "password": "secret"}),
        ("/auth/user/grant", {"user": "root", "role": "root"}),
        ("/auth/role/add", {"name": "reader"}),
        ("/auth/role/grant", {"name": "reader", "perm": {"permType": "READ", **permission}}),
        ("/auth/user/add", {"name": "alice", "password": "wonder"}),
        ("/auth/user/grant", {"user": "alice", "role": "reader"}),
    ):
        post(client, path, body)
    client.put(SERVICE, ADDRESS)
    post(client, "/auth/enable", {})

    refused("etcdserver: user name is empty", lambda: client.get(SERVICE))
    wrong = "etcdserver: authentication failed, invalid user ID or password"
    refused(wrong, lambda: connect("alice", "wrong"))

    alice = connect("alice", "wonder")
    same(alice.get(SERVICE), [ADDRESS.encode()])
    denied = "etcdserver: permission denied"
    refused(denied, lambda: alice.put(SERVICE, "no"))
    refused(denied, lambda: alice.get("/config"))
    refused(denied, lambda: post(alice, "/auth/user/list", {}))

    root = connect("root", "secret")
    # To read is the first of the permissions, which JSON leaves out.
    same(post(root, "/auth/role/get", {"role": "reader"})["perm"], [permission])
    post(root, "/auth/disable", {})


def refused(text, call):
    try:
        call()
    except exceptions.Etcd3Exception as error:
        same(text in (error.detail_text or ""), True)
    else:
        raise AssertionError(f"not refused with {text}")


def same(actual, expected):
    if actual != expected:
        raise AssertionError(f"{actual!r}, and not {expected!r}")


def encoded(text):
    return base64.b64encode(text.encode()).decode()


def post(client, path, body):
    return client.post(client.get_url(path), json=body)


def connect(user=None, password=None):
    host, port = sys.argv[1].split(":")
    client = Etcd3Client(host=host, port=int(port), timeout=CALL_PATIENCE)
    if user is not None:
        token = post(client, "/auth/authenticate", {"name": user, "password": password})["token"]
        client.session.headers["Authorization"] = token
    return client


def main():
    if len(sys.argv) != 2:
        sys.exit("usage: over_gateway.py HOST:PORT")
    # Ends the process, whatever waits.
    signal.alarm(PATIENCE)
    client = connect()
    for step in (discovery, lock, election, compare_and_swap, auth):
        step(client)
        print(step.__name__, "ok", flush=True)


main()
