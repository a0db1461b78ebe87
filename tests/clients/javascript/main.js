// The etcd3 package for Node: registers a service, finds it, watches it, locks, elects, compares and swaps, and is refused
// what it may not do. Says what is wrong and exits with 1, or exits with 0.
'use strict';

const assert = require('node:assert/strict');
const { setTimeout: sleep } = require('node:timers/promises');
const { Etcd3, Range, EtcdLockFailedError, EtcdPermissionDeniedError, EtcdAuthenticationFailedError } = require('etcd3');

// How long all of it may take.
const PATIENCE_MS = 50_000;
// The time to live of leases, in seconds: the shortest that a server grants.
const TTL = 2;
// How long something that must not happen is waited for.
const A_WHILE_MS = 300;

const PREFIX = '/services/web/';
const SERVICE = PREFIX + '1';
const ADDRESS = '10.0.0.1:80';

async function discovery(client) {
  const watcher = await client.watch().prefix(PREFIX).withPreviousKV().create();
  const events = queue();
  watcher.on('put', (pair) => events.put({ put: pair.value.toString() }));
  watcher.on('delete', (pair, before) => events.put({ deleted: pair.key.toString(), before: before.value.toString() }));
  watcher.on('error', (error) => events.put({ error }));

  const lease = client.lease(TTL);
  await lease.put(SERVICE).value(ADDRESS).exec();
  assert.deepEqual(await events.next(), { put: ADDRESS });
  let lost;
  lease.on('lost', (error) => (lost = error));

  // Kept for longer than its time to live, the service is still there.
  await sleep((TTL + 1) * 1000);
  assert.equal(lost, undefined);
  assert.deepEqual(await client.getAll().prefix(PREFIX).strings(), { [SERVICE]: ADDRESS });
  const left = await client.leaseClient.leaseTimeToLive({ ID: await lease.grant(), keys: true });
  assert.equal(left.grantedTTL, String(TTL));
  assert.deepEqual(left.keys.map(String), [SERVICE]);

  await lease.revoke();
  assert.deepEqual(await events.next(), { deleted: SERVICE, before: ADDRESS });
  await watcher.cancel();
}

async function lock(client) {
  const held = await client.lock('a').ttl(TTL).acquire();
  await assert.rejects(client.lock('a').ttl(TTL).acquire(), EtcdLockFailedError);
  await held.release();
  const result = await client.lock('a').ttl(TTL).do(() => 'held');
  assert.equal(result, 'held');
}

async function election(client) {
  const [first, second] = [client.election('a', TTL), client.election('a', TTL)];
  assert.equal(await first.leader(), undefined);
  const leader = await first.campaign('one').wait();
  await leader.proclaim('still one');
  const observer = await second.observe();
  assert.equal(observer.leader(), 'still one');
  const changes = queue();
  observer.on('change', (value) => changes.put(value));

  const follower = second.campaign('two');
  let won = false;
  const victory = follower.wait().then(() => (won = true));
  await sleep(A_WHILE_MS);
  assert.equal(won, false, 'two lead at once');
  await leader.resign();
  await victory;
  // Between the two there may be nobody.
  while ((await changes.next()) !== 'two');
  assert.equal(await first.leader(), 'two');
  await observer.cancel();
  await follower.resign();
}

async function compareAndSwap(client) {
  const { header } = await client.put('/config').value('1').exec();
  const swap = () =>
    client
      .if('/config', 'Mod', '==', header.revision)
      .and('/config', 'Value', '==', '1')
      .then(client.put('/config').value('2'))
      .else(client.get('/config'))
      .commit();
  assert.equal((await swap()).succeeded, true);
  const second = await swap();
  assert.equal(second.succeeded, false);
  assert.equal(second.responses[0].response_range.kvs[0].value.toString(), '2');

  for (let n = 0; n < 3; n++) {
    await client.stm().transact(async (tx) => tx.put('/count').value(((await tx.get('/count')) ?? '') + 'x'));
  }
  assert.equal(await client.get('/count').string(), 'xxx');
}

async function auth(client) {
  const root = await client.user('root').create('secret');
  await root.addRole('root');
  const reader = await client.role('reader').create();
  await reader.grant({ permission: 'Read', range: Range.prefix(PREFIX) });
  const alice = await client.user('alice').create('wonder');
  await alice.addRole(reader);
  await client.put(SERVICE).value(ADDRESS).exec();
  await client.auth.authEnable();

  const as = (username, password) => new Etcd3({ ...options(), auth: { username, password } });
  await assert.rejects(client.get(SERVICE).string(), /user name is empty/);
  const stranger = as('alice', 'wrong');
  await assert.rejects(stranger.get(SERVICE).string(), EtcdAuthenticationFailedError);
  stranger.close();

  const asAlice = as('alice', 'wonder');
  assert.deepEqual(await asAlice.getAll().prefix(PREFIX).strings(), { [SERVICE]: ADDRESS });
  await assert.rejects(asAlice.put(SERVICE).value('no').exec(), EtcdPermissionDeniedError);
  await assert.rejects(asAlice.get('/config').string(), EtcdPermissionDeniedError);
  await assert.rejects(asAlice.auth.userList(), EtcdPermissionDeniedError);
  asAlice.close();

  const asRoot = as('root', 'secret');
  const [permission] = await asRoot.role('reader').permissions();
  assert.equal(permission.permission, 'Read');
  assert.equal(permission.range.start.toString(), PREFIX);
  await asRoot.auth.authDisable();
  asRoot.close();
}

// Values that come by and by, and who waits for them.
function queue() {
  const values = [];
  const waiting = [];
  return {
    put: (value) => (waiting.length > 0 ? waiting.shift()(value) : values.push(value)),
    next: () => (values.length > 0 ? Promise.resolve(values.shift()) : new Promise((done) => waiting.push(done))),
  };
}

function options() {
  return { hosts: `http://${process.argv[2]}`, dialTimeout: 5000 };
}

async function main() {
  assert.equal(process.argv.length, 3, 'usage: main.js HOST:PORT');
  const client = new Etcd3(options());
  for (const [name, step] of Object.entries({ discovery, lock, election, compareAndSwap, auth })) {
    await step(client);
    console.log(name, 'ok');
  }
  client.close();
}

const deadline = setTimeout(() => fail(new Error(`not done after ${PATIENCE_MS} ms`)), PATIENCE_MS);

function fail(error) {
  console.error(error);
  process.exit(1);
}

main().then(() => clearTimeout(deadline), fail);
