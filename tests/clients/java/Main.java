import static java.nio.charset.StandardCharsets.UTF_8;

import io.etcd.jetcd.ByteSequence;
import io.etcd.jetcd.Client;
import io.etcd.jetcd.Election;
import io.etcd.jetcd.Watch;
import io.etcd.jetcd.auth.Permission;
import io.etcd.jetcd.election.LeaderResponse;
import io.etcd.jetcd.lease.LeaseKeepAliveResponse;
import io.etcd.jetcd.op.Cmp;
import io.etcd.jetcd.op.CmpTarget;
import io.etcd.jetcd.op.Op;
import io.etcd.jetcd.options.GetOption;
import io.etcd.jetcd.options.LeaseOption;
import io.etcd.jetcd.options.PutOption;
import io.etcd.jetcd.options.WatchOption;
import io.etcd.jetcd.watch.WatchEvent;
import io.etcd.jetcd.watch.WatchResponse;
import io.grpc.stub.StreamObserver;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Future;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;

/**
 * jetcd: registers a service, finds it, watches it, locks, elects, compares and swaps, and is refused what it may not do.
 * Says what is wrong and exits with 1, or exits with 0.
 */
public final class Main {
    /** How long something that must come may take, in seconds. */
    private static final long PATIENCE = 10;
    /** The time to live of leases, in seconds: the shortest that a server grants. */
    private static final long TTL = 2;
    /** How long something that must not happen is waited for, in milliseconds. */
    private static final long A_WHILE = 300;

    private static final ByteSequence PREFIX = bytes("/services/web/");
    private static final ByteSequence SERVICE = bytes("/services/web/1");
    private static final ByteSequence ADDRESS = bytes("10.0.0.1:80");

    private static String endpoint;

    private interface Step {
        void run(Client client) throws Exception;
    }

    public static void main(String[] arguments) {
        try {
            check(arguments.length == 1, "usage: Main HOST:PORT");
            endpoint = "http://" + arguments[0];
            try (Client client = connect(null, null)) {
                step("discovery", Main::discovery, client);
                step("lock", Main::lock, client);
                step("election", Main::election, client);
                step("compare and swap", Main::compareAndSwap, client);
                step("auth", Main::auth, client);
            }
            // Threads of the library may still be there.
            System.exit(0);
        } catch (Throwable error) {
            error.printStackTrace();
            System.exit(1);
        }
    }

    private static void step(String name, Step step, Client client) throws Exception {
        step.run(client);
        System.out.println(name + " ok");
    }

    private static void discovery(Client client) throws Exception {
        BlockingQueue<Object> events = new LinkedBlockingQueue<>();
        BlockingQueue<Object> kept = new LinkedBlockingQueue<>();
        var granted = done(client.getLeaseClient().grant(TTL));
        long lease = granted.getID();
        // The library does not wait until the server watches, so that the watch has to name its beginning.
        long next = granted.getHeader().getRevision() + 1;
        WatchOption option = WatchOption.builder().isPrefix(true).withPrevKV(true).withRevision(next).build();
        try (Watch.Watcher watcher = client.getWatchClient().watch(PREFIX, option, into(events));
                var keeper = client.getLeaseClient().keepAlive(lease, observer(kept))) {
            long revision = done(client.getKVClient().put(SERVICE, ADDRESS, PutOption.builder().withLeaseId(lease).build()))
                    .getHeader().getRevision();
            WatchEvent event = next(events);
            check(event.getEventType() == WatchEvent.EventType.PUT, event);
            check(event.getKeyValue().getValue().equals(ADDRESS) && event.getKeyValue().getModRevision() == revision, event);

            // Kept for longer than its time to live, the service is still there.
            Thread.sleep((TTL + 1) * 1000);
            check(((LeaseKeepAliveResponse) kept.take()).getTTL() == TTL, "keep-alive");
            var found = done(client.getKVClient().get(PREFIX, GetOption.builder().isPrefix(true).build()));
            check(found.getCount() == 1 && found.getKvs().get(0).getValue().equals(ADDRESS), found);
            check(found.getKvs().get(0).getLease() == lease, found);
            var left = done(client.getLeaseClient().timeToLive(lease, LeaseOption.builder().withAttachedKeys().build()));
            check(left.getGrantedTTL() == TTL && left.getKeys().size() == 1, left);

            keeper.close();
            done(client.getLeaseClient().revoke(lease));
            event = next(events);
            check(event.getEventType() == WatchEvent.EventType.DELETE, event);
            check(event.getPrevKV().getValue().equals(ADDRESS), event);
        }
    }

    private static void lock(Client client) throws Exception {
        var lock = client.getLockClient();
        long[] leases = {granted(client), granted(client)};
        ByteSequence held = done(lock.lock(bytes("a"), leases[0])).getKey();
        check(held.toString(UTF_8).startsWith("a/"), held);
        var wanted = lock.lock(bytes("a"), leases[1]);
        silent(wanted);
        done(lock.unlock(held));
        done(lock.unlock(done(wanted).getKey()));
        for (long lease : leases) {
            done(client.getLeaseClient().revoke(lease));
        }
    }

    private static void election(Client client) throws Exception {
        Election election = client.getElectionClient();
        ByteSequence name = bytes("a");
        refused(election.leader(name), "NoLeaderException");
        long[] leases = {granted(client), granted(client)};
        var leader = done(election.campaign(name, leases[0], bytes("one"))).getLeader();
        done(election.proclaim(leader, bytes("still one")));
        BlockingQueue<Object> observed = new LinkedBlockingQueue<>();
        election.observe(name, leaders(observed));
        check(leading(observed).equals("still one"), "observed");

        var campaign = election.campaign(name, leases[1], bytes("two"));
        silent(campaign);
        // The leader leaves with its lease.
        done(client.getLeaseClient().revoke(leases[0]));
        var won = done(campaign).getLeader();
        check(leading(observed).equals("two"), "observed");
        check(done(election.leader(name)).getKv().getValue().equals(bytes("two")), "leader");
        done(election.resign(won));
        done(client.getLeaseClient().revoke(leases[1]));
    }

    private static void compareAndSwap(Client client) throws Exception {
        ByteSequence key = bytes("/config");
        var kv = client.getKVClient();
        long revision = done(kv.put(key, bytes("1"))).getHeader().getRevision();
        for (boolean swaps : new boolean[] {true, false}) {
            var answer = done(kv.txn()
                    .If(new Cmp(key, Cmp.Op.EQUAL, CmpTarget.modRevision(revision)),
                            new Cmp(key, Cmp.Op.EQUAL, CmpTarget.value(bytes("1"))))
                    .Then(Op.put(key, bytes("2"), PutOption.DEFAULT))
                    .Else(Op.get(key, GetOption.DEFAULT))
                    .commit());
            check(answer.isSucceeded() == swaps, answer);
            check(swaps || answer.getGetResponses().get(0).getKvs().get(0).getValue().equals(bytes("2")), answer);
        }
    }

    private static void auth(Client client) throws Exception {
        var auth = client.getAuthClient();
        ByteSequence[] root = {bytes("root"), bytes("secret")};
        ByteSequence[] alice = {bytes("alice"), bytes("wonder")};
        ByteSequence reader = bytes("reader");
        done(auth.userAdd(root[0], root[1]));
        done(auth.userGrantRole(root[0], bytes("root")));
        done(auth.roleAdd(reader));
        done(auth.roleGrantPermission(reader, PREFIX, bytes("/services/web0"), Permission.Type.READ));
        done(auth.userAdd(alice[0], alice[1]));
        done(auth.userGrantRole(alice[0], reader));
        done(client.getKVClient().put(SERVICE, ADDRESS));
        done(auth.authEnable());

        refused(client.getKVClient().get(SERVICE), "etcdserver: user name is empty");
        try (Client stranger = connect(alice[0], bytes("wrong"))) {
            String wrong = "etcdserver: authentication failed, invalid user ID or password";
            refused(stranger.getKVClient().get(SERVICE), wrong);
        }
        try (Client asAlice = connect(alice[0], alice[1])) {
            var found = done(asAlice.getKVClient().get(PREFIX, GetOption.builder().isPrefix(true).build()));
            check(found.getCount() == 1 && found.getKvs().get(0).getValue().equals(ADDRESS), found);
            String denied = "etcdserver: permission denied";
            refused(asAlice.getKVClient().put(SERVICE, bytes("no")), denied);
            refused(asAlice.getKVClient().get(bytes("/config")), denied);
            refused(asAlice.getAuthClient().userList(), denied);
        }
        try (Client asRoot = connect(root[0], root[1])) {
            var permissions = done(asRoot.getAuthClient().roleGet(reader)).getPermissions();
            check(permissions.size() == 1 && permissions.get(0).getKey().equals(PREFIX), permissions);
            done(asRoot.getAuthClient().authDisable());
        }
    }

    private static long granted(Client client) throws Exception {
        return done(client.getLeaseClient().grant(PATIENCE)).getID();
    }

    private static Client connect(ByteSequence user, ByteSequence password) {
        var builder = Client.builder().endpoints(endpoint);
        return user == null ? builder.build() : builder.user(user).password(password).build();
    }

    private static <T> T done(Future<T> future) throws Exception {
        return future.get(PATIENCE, TimeUnit.SECONDS);
    }

    /** Something that must not be granted yet. */
    private static void silent(Future<?> future) throws Exception {
        try {
            throw new AssertionError("granted to two: " + future.get(A_WHILE, TimeUnit.MILLISECONDS));
        } catch (TimeoutException expected) {
            // Nothing came.
        }
    }

    private static void refused(Future<?> future, String text) throws Exception {
        try {
            throw new AssertionError("not refused with " + text + ": " + done(future));
        } catch (ExecutionException error) {
            for (Throwable cause = error.getCause(); cause != null; cause = cause.getCause()) {
                if (cause.toString().contains(text)) {
                    return;
                }
            }
            throw error;
        }
    }

    private static WatchEvent next(BlockingQueue<Object> events) throws Exception {
        Object answer = events.poll(PATIENCE, TimeUnit.SECONDS);
        check(answer instanceof WatchResponse response && response.getEvents().size() == 1, "the watch says " + answer);
        return ((WatchResponse) answer).getEvents().get(0);
    }

    private static String leading(BlockingQueue<Object> observed) throws Exception {
        Object answer = observed.poll(PATIENCE, TimeUnit.SECONDS);
        check(answer instanceof LeaderResponse, "observe says " + answer);
        return ((LeaderResponse) answer).getKv().getValue().toString(UTF_8);
    }

    private static Watch.Listener into(BlockingQueue<Object> queue) {
        return Watch.listener(queue::add, error -> queue.add(error), () -> {});
    }

    private static Election.Listener leaders(BlockingQueue<Object> queue) {
        return new Election.Listener() {
            @Override
            public void onNext(LeaderResponse answer) {
                queue.add(answer);
            }

            @Override
            public void onError(Throwable error) {
                queue.add(error);
            }

            @Override
            public void onCompleted() {}
        };
    }

    private static <T> StreamObserver<T> observer(BlockingQueue<Object> queue) {
        return new StreamObserver<>() {
            @Override
            public void onNext(T answer) {
                queue.add(answer);
            }

            @Override
            public void onError(Throwable error) {
                queue.add(error);
            }

            @Override
            public void onCompleted() {}
        };
    }

    private static void check(boolean holds, Object what) {
        if (!holds) {
            throw new AssertionError(what);
        }
    }

    private static ByteSequence bytes(String text) {
        return ByteSequence.from(text, UTF_8);
    }
}
