// Etcd's own client library for Go: registers a service, finds it, watches it, locks, elects, compares and swaps, and is
// refused what it may not do. Says what is wrong and exits with 1, or exits with 0.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/concurrency"
)

const (
	// How long all of it may take.
	patience = 50 * time.Second
	// The time to live of leases, in seconds: the shortest that a server grants.
	ttl = 2
	// How long something that must not happen is waited for.
	aWhile = 300 * time.Millisecond

	service = "/services/web/1"
	prefix  = "/services/web/"
	address = "10.0.0.1:80"
)

func main() {
	if len(os.Args) != 2 {
		fail(errors.New("usage: client HOST:PORT"))
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	steps := []struct {
		name string
		run  func(context.Context, *clientv3.Client) error
	}{
		{"discovery", discovery}, {"lock", lock}, {"election", election}, {"compare and swap", compareAndSwap}, {"auth", auth},
	}
	client := connect("", "")
	for _, step := range steps {
		if err := step.run(ctx, client); err != nil {
			fail(fmt.Errorf("%s: %w", step.name, err))
		}
		fmt.Println(step.name, "ok")
	}
	if err := client.Close(); err != nil {
		fail(err)
	}
}

func connect(user, password string) *clientv3.Client {
	client, err := clientv3.New(clientv3.Config{
		Endpoints:   []string{os.Args[1]},
		DialTimeout: 5 * time.Second,
		Username:    user,
		Password:    password,
	})
	if err != nil {
		fail(fmt.Errorf("connect as %q: %w", user, err))
	}
	return client
}

func discovery(ctx context.Context, client *clientv3.Client) error {
	// The channel of a watch ends with its context.
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	watch := client.Watch(ctx, prefix, clientv3.WithPrefix(), clientv3.WithPrevKV())

	lease, err := client.Grant(ctx, ttl)
	if err != nil {
		return err
	}
	alive, err := client.KeepAlive(ctx, lease.ID)
	if err != nil {
		return err
	}
	put, err := client.Put(ctx, service, address, clientv3.WithLease(lease.ID))
	if err != nil {
		return err
	}
	event, err := next(ctx, watch)
	if err != nil {
		return err
	}
	if !event.IsCreate() || string(event.Kv.Value) != address || event.Kv.ModRevision != put.Header.Revision {
		return fmt.Errorf("the watch has %+v for a put at revision %d", event, put.Header.Revision)
	}

	// Kept for longer than its time to live, the service is still there.
	for kept := time.Now(); time.Since(kept) < (ttl+1)*time.Second; {
		answer, open := <-alive
		if !open || answer.TTL != ttl {
			return fmt.Errorf("keep-alive answers %+v", answer)
		}
	}
	found, err := client.Get(ctx, prefix, clientv3.WithPrefix())
	if err != nil {
		return err
	}
	if found.Count != 1 || string(found.Kvs[0].Value) != address || found.Kvs[0].Lease != int64(lease.ID) {
		return fmt.Errorf("discovery finds %+v", found)
	}
	left, err := client.TimeToLive(ctx, lease.ID, clientv3.WithAttachedKeys())
	if err != nil {
		return err
	}
	if left.GrantedTTL != ttl || len(left.Keys) != 1 || string(left.Keys[0]) != service {
		return fmt.Errorf("the lease is %+v", left)
	}

	if _, err := client.Revoke(ctx, lease.ID); err != nil {
		return err
	}
	if event, err = next(ctx, watch); err != nil {
		return err
	}
	if event.Type != clientv3.EventTypeDelete || string(event.PrevKv.Value) != address {
		return fmt.Errorf("the watch has %+v for the end of the lease", event)
	}
	_, err = client.KeepAliveOnce(ctx, lease.ID)
	return expected(err, rpctypes.ErrLeaseNotFound)
}

// The next event of a watch, which comes alone.
func next(ctx context.Context, watch clientv3.WatchChan) (*clientv3.Event, error) {
	select {
	case <-ctx.Done():
		return nil, fmt.Errorf("no event came: %w", ctx.Err())
	case answer := <-watch:
		if answer.Err() != nil || len(answer.Events) != 1 {
			return nil, fmt.Errorf("the watch says %+v (%w)", answer, answer.Err())
		}
		return answer.Events[0], nil
	}
}

func lock(ctx context.Context, client *clientv3.Client) error {
	first, second, err := sessions(client)
	if err != nil {
		return err
	}
	defer first.Close()
	defer second.Close()
	held, wanted := concurrency.NewMutex(first, "/locks/a"), concurrency.NewMutex(second, "/locks/a")
	if err := held.Lock(ctx); err != nil {
		return err
	}
	if err := expected(wanted.TryLock(ctx), concurrency.ErrLocked); err != nil {
		return err
	}
	granted := make(chan error, 1)
	go func() { granted <- wanted.Lock(ctx) }()
	if err := silent(granted); err != nil {
		return err
	}
	if err := held.Unlock(ctx); err != nil {
		return err
	}
	if err := <-granted; err != nil {
		return err
	}
	return wanted.Unlock(ctx)
}

func election(ctx context.Context, client *clientv3.Client) error {
	first, second, err := sessions(client)
	if err != nil {
		return err
	}
	defer second.Close()
	leader, follower := concurrency.NewElection(first, "/elections/a"), concurrency.NewElection(second, "/elections/a")
	_, err = leader.Leader(ctx)
	if err := expected(err, concurrency.ErrElectionNoLeader); err != nil {
		return fmt.Errorf("before anyone stands: %w", err)
	}
	if err := leader.Campaign(ctx, "one"); err != nil {
		return err
	}
	if err := leader.Proclaim(ctx, "still one"); err != nil {
		return err
	}
	watching, cancel := context.WithCancel(ctx)
	defer cancel()
	observed := follower.Observe(watching)
	if answer := <-observed; len(answer.Kvs) != 1 || string(answer.Kvs[0].Value) != "still one" {
		return fmt.Errorf("observe has %+v", answer)
	}
	won := make(chan error, 1)
	go func() { won <- follower.Campaign(ctx, "two") }()
	if err := silent(won); err != nil {
		return err
	}
	// The leader leaves with its lease.
	if err := first.Close(); err != nil {
		return err
	}
	if err := <-won; err != nil {
		return err
	}
	if answer := <-observed; len(answer.Kvs) != 1 || string(answer.Kvs[0].Value) != "two" {
		return fmt.Errorf("observe has %+v", answer)
	}
	return follower.Resign(ctx)
}

func sessions(client *clientv3.Client) (first, second *concurrency.Session, err error) {
	if first, err = concurrency.NewSession(client, concurrency.WithTTL(ttl)); err != nil {
		return nil, nil, err
	}
	second, err = concurrency.NewSession(client, concurrency.WithTTL(ttl))
	return first, second, err
}

func silent(channel <-chan error) error {
	select {
	case err := <-channel:
		return fmt.Errorf("it was granted to two: %w", err)
	case <-time.After(aWhile):
		return nil
	}
}

func compareAndSwap(ctx context.Context, client *clientv3.Client) error {
	put, err := client.Put(ctx, "/config", "1")
	if err != nil {
		return err
	}
	swap := func() (*clientv3.TxnResponse, error) {
		return client.Txn(ctx).
			If(clientv3.Compare(clientv3.ModRevision("/config"), "=", put.Header.Revision),
				clientv3.Compare(clientv3.Value("/config"), "=", "1")).
			Then(clientv3.OpPut("/config", "2", clientv3.WithPrevKV())).
			Else(clientv3.OpGet("/config")).
			Commit()
	}
	first, err := swap()
	if err != nil {
		return err
	}
	if !first.Succeeded || string(first.Responses[0].GetResponsePut().PrevKv.Value) != "1" {
		return fmt.Errorf("the swap answers %+v", first)
	}
	second, err := swap()
	if err != nil {
		return err
	}
	if second.Succeeded || string(second.Responses[0].GetResponseRange().Kvs[0].Value) != "2" {
		return fmt.Errorf("the swap from an old value answers %+v", second)
	}
	counter := func(stm concurrency.STM) error {
		stm.Put("/count", stm.Get("/count")+"x")
		return nil
	}
	for range 3 {
		if _, err := concurrency.NewSTM(client, counter); err != nil {
			return err
		}
	}
	count, err := client.Get(ctx, "/count")
	if err != nil {
		return err
	}
	if string(count.Kvs[0].Value) != "xxx" {
		return fmt.Errorf("three transactions count %q", count.Kvs[0].Value)
	}
	return nil
}

func auth(ctx context.Context, client *clientv3.Client) error {
	read := clientv3.PermissionType(clientv3.PermRead)
	for _, step := range []func() error{
		func() error { _, err := client.UserAdd(ctx, "root", "secret"); return err },
		func() error { _, err := client.UserGrantRole(ctx, "root", "root"); return err },
		func() error { _, err := client.RoleAdd(ctx, "reader"); return err },
		func() error {
			_, err := client.RoleGrantPermission(ctx, "reader", prefix, clientv3.GetPrefixRangeEnd(prefix), read)
			return err
		},
		func() error { _, err := client.UserAdd(ctx, "alice", "wonder"); return err },
		func() error { _, err := client.UserGrantRole(ctx, "alice", "reader"); return err },
		func() error { _, err := client.Put(ctx, service, address); return err },
		func() error { _, err := client.AuthEnable(ctx); return err },
	} {
		if err := step(); err != nil {
			return err
		}
	}
	_, err := client.Get(ctx, service)
	if err := expected(err, rpctypes.ErrUserEmpty); err != nil {
		return fmt.Errorf("without a name: %w", err)
	}
	_, err = clientv3.New(clientv3.Config{Endpoints: []string{os.Args[1]}, Username: "alice", Password: "wrong"})
	if err := expected(err, rpctypes.ErrAuthFailed); err != nil {
		return fmt.Errorf("with a wrong password: %w", err)
	}

	alice := connect("alice", "wonder")
	defer alice.Close()
	found, err := alice.Get(ctx, prefix, clientv3.WithPrefix())
	if err != nil {
		return err
	}
	if found.Count != 1 || string(found.Kvs[0].Value) != address {
		return fmt.Errorf("alice finds %+v", found)
	}
	_, err = alice.Put(ctx, service, "no")
	if err := expected(err, rpctypes.ErrPermissionDenied); err != nil {
		return fmt.Errorf("alice writes: %w", err)
	}
	_, err = alice.Get(ctx, "/config")
	if err := expected(err, rpctypes.ErrPermissionDenied); err != nil {
		return fmt.Errorf("alice reads elsewhere: %w", err)
	}
	_, err = alice.UserList(ctx)
	if err := expected(err, rpctypes.ErrPermissionDenied); err != nil {
		return fmt.Errorf("alice lists users: %w", err)
	}

	root := connect("root", "secret")
	defer root.Close()
	role, err := root.RoleGet(ctx, "reader")
	if err != nil {
		return err
	}
	if len(role.Perm) != 1 || string(role.Perm[0].Key) != prefix {
		return fmt.Errorf("the role is %+v", role)
	}
	_, err = root.AuthDisable(ctx)
	return err
}

// Takes an error that must come for none, and anything else for an error.
func expected(err, wanted error) error {
	if errors.Is(err, wanted) {
		return nil
	}
	// What is refused when the client connects comes as a plain status.
	if err != nil && rpctypes.ErrorDesc(err) == rpctypes.ErrorDesc(wanted) {
		return nil
	}
	return fmt.Errorf("got %v, not %w", err, wanted)
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}
