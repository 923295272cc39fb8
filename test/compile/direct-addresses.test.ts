/**
 * Addresses that change hands in the tables in use: whatever the order, the answers are those of a compile of the same objects, and a thread that reads
 * meanwhile never meets half of an entry.
 */
import { Worker } from 'node:worker_threads';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { evaluateFlow } from '../../src/analyze/evaluate-flow.ts';
import { LiveCompiler } from '../../src/compile/live-compiler.ts';
import { packPlan } from '../../src/compile/pack.ts';
import { planCluster } from '../../src/compile/plan-cluster.ts';
import { loadResources } from '../../src/load/load.ts';
import type { Pod, Resources } from '../../src/model/resources.ts';
import { checkRecords } from '../../src/tables/check.ts';
import * as layout from '../../src/tables/layout.ts';
import { leafOf4 } from '../../src/tables/live.ts';
import { setMembers } from '../../src/tables/members.ts';
import { openTables, type Tables } from '../../src/tables/tables.ts';
import { account, joinDocuments, namespace, networkPolicy, pod } from './cluster.ts';

function load(text: string): Resources {
  const { resources, errors } = loadResources([{ name: 'cluster.yaml', text }], { permissive: true });
  expect(errors).toEqual([]);
  return resources;
}

/** Pods in blocks of their own, and one block in which smaller things are named. */
const CLUSTER = load(
  joinDocuments(
    namespace('app', '{env: prod}'),
    account('web', '{role: front}'),
    account('db', '{role: back}'),
    ...[1, 2, 3, 4].map((i) => pod(`web-${i}`, `10.0.0.${i}`, { serviceAccount: 'web' })),
    ...[1, 2, 3, 4].map((i) => pod(`db-${i}`, `10.0.1.${i}`, { serviceAccount: 'db' })),
    pod('db-5', '10.0.2.1', { serviceAccount: 'db' }),
    networkPolicy(
      'front',
      'serviceAccountSelector: role == "back", ingress: [{action: Allow, source: {serviceAccounts: {selector: role == "front"}}}, {action: Allow, source: {nets: [10.0.2.0/28, 10.0.0.0/16], notNets: [10.0.2.4/32]}, protocol: UDP}]',
    ),
    networkPolicy(
      'web',
      'serviceAccountSelector: role == "front", egress: [{action: Deny, destination: {nets: [10.0.1.0/24]}}, {action: Allow}]',
    ),
    'apiVersion: v1\nkind: Service\nmetadata: {name: s, namespace: app}\nspec: {clusterIP: 10.0.2.200, clusterIPs: [10.0.2.200], ports: [{port: 80}]}',
  ),
);
/** Where pods may go: free addresses in all blocks, and some that are not. */
const PLACES = [
  ...[0, 1].flatMap((block) =>
    [1, 2, ...Array.from({ length: 20 }, (_, i) => 30 + i)].map((i) => `10.0.${block}.${i}`),
  ),
  ...[1, 3, 4, 5, 17, 200].map((i) => `10.0.2.${i}`),
  '10.0.9.1',
];
const OTHERS = ['10.0.0.31', '10.0.1.32', '10.0.2.4', '10.0.2.17', '10.0.2.200', '10.0.9.1', '192.0.2.1'];

function answers(tables: Tables, addresses: readonly string[]): string[] {
  const lines: string[] = [];
  for (const src of addresses) {
    for (const dst of addresses) {
      for (const protocol of ['tcp', 'udp'])
        lines.push(JSON.stringify(evaluateFlow(tables, { src, dst, protocol, src_port: 40_000, dst_port: 80 })));
    }
  }
  return lines;
}

function expectSame(live: LiveCompiler, tables: Tables): void {
  const scratch = openTables(packPlan(planCluster(live.resources())));
  checkRecords(tables);
  const addresses = [...new Set([...live.resources().pods.flatMap(({ podIPs }) => podIPs), ...OTHERS])];
  expect(answers(tables, addresses)).toEqual(answers(scratch, addresses));
  const sets = tables.counts[layout.SECTION_IP_SETS]!;
  const members = (of: Tables): string[] => Array.from({ length: sets }, (_, set) => setMembers(of, set).join());
  expect(members(tables)).toEqual(members(scratch));
}

const at = (of: Pod, address: string): Pod => ({ ...of, podIPs: [address], podIP: address });

describe('pods that change their addresses', () => {
  test('in any order, among other changes: the answers of a compile from scratch', () => {
    const counts = { stored: 0, patched: 0, packed: 0 };
    const arbMove = fc.record({
      pod: fc.nat(8),
      to: fc.nat(PLACES.length - 1),
      what: fc.nat(15),
      isFlushed: fc.boolean(),
    });
    fc.assert(
      fc.property(fc.array(arbMove, { minLength: 1, maxLength: 40, size: 'max' }), (moves) => {
        const live = new LiveCompiler(CLUSTER);
        let copy = new Int32Array(live.publish().buffer).slice();
        const publish = (): Tables => {
          const tables = live.publish();
          // Who keeps a copy elsewhere has the same words.
          if (live.lastWritten === undefined) copy = tables.words.slice();
          else
            for (let i = 0; i < live.lastWritten.length; i += 2) {
              const [start, end] = [live.lastWritten[i]!, live.lastWritten[i + 1]!];
              copy.set(tables.words.subarray(start, end), start);
            }
          expect(Buffer.compare(new Uint8Array(copy.buffer), new Uint8Array(tables.buffer))).toBe(0);
          return tables;
        };
        for (const { pod: number, to, what, isFlushed } of moves) {
          const { pods, serviceAccounts } = live.resources();
          const of = pods[number % pods.length]!;
          if (what === 0) {
            const labels = new Map([['role', to % 2 === 0 ? 'front' : 'back']]);
            const [account] = serviceAccounts.filter(({ meta }) => meta.name === 'web');
            live.set({ ...account!, meta: { ...account!.meta, labels } });
          } else if (what === 1) live.set({ ...of, meta: { ...of.meta, labels: new Map([['a', `${to}`]]) } });
          else if (what === 2) live.set({ ...of, podIPs: [PLACES[to]!, PLACES[number]!], podIP: PLACES[to]! });
          else live.set(at(of, PLACES[to]!));
          if (isFlushed) publish();
        }
        expectSame(live, publish());
        counts.stored += live.counts.stored;
        counts.patched += live.counts.patched;
        counts.packed += live.counts.packed;
      }),
      { numRuns: 30, seed: 3 },
    );
    expect(counts.stored).toBeGreaterThan(40);
    expect(counts.patched).toBeGreaterThan(40);
  });

  test('back and forth within a block, and out of it and back: stored, and the same tables', () => {
    const live = new LiveCompiler(CLUSTER);
    live.publish();
    const [web, , , , db] = CLUSTER.pods;
    const round = (number: number): Tables => {
      live.set(at(web!, `10.0.0.${10 + (number % 200)}`));
      live.set(at(db!, number % 2 === 0 ? `10.0.0.${250 - (number % 30)}` : `10.0.1.${10 + (number % 100)}`));
      return live.publish();
    };
    // Classes that come up for the first time have to be made.
    for (let number = 0; number < 4; number++) round(number);
    const tables = live.publish();
    const { patched } = live.counts;
    for (let number = 4; number < 400; number++) {
      expect(round(number) === tables).toBe(true);
      if (number % 50 === 0) expectSame(live, tables);
    }
    expect(live.counts).toEqual({ stored: 400 - patched, patched, packed: 1 });
    expect(patched).toBeLessThan(4);
    // The second buffer has all of it as well, when its turn comes.
    live.set({ ...web!, meta: { ...web!.meta, labels: new Map([['x', 'y']]) }, podIPs: ['10.0.0.1'] });
    const next = live.publish();
    expect(next.buffer === tables.buffer).toBe(false);
    expectSame(live, next);
  });

  test('what the way cannot take: smaller things in a block, a block without pods, two at once, an address that is not free', () => {
    const live = new LiveCompiler(CLUSTER);
    live.publish();
    const [one, two] = CLUSTER.pods;
    const steps: (readonly [Pod[], 'stored' | 'patched' | 'packed'])[] = [
      [[at(one!, '10.0.2.17')], 'patched'],
      [[at(one!, '10.0.9.1')], 'patched'],
      [[at(one!, '10.0.9.2')], 'stored'],
      [[at(one!, '10.0.0.3')], 'packed'],
      [[at(one!, '10.0.0.1')], 'packed'],
      // Each takes the place of the other.
      [[at(one!, '10.0.0.2'), at(two!, '10.0.0.1')], 'patched'],
      [[at(one!, '10.0.0.1'), at(two!, '10.0.0.2')], 'patched'],
      [[{ ...one!, podIPs: ['10.0.0.77', '10.0.0.78'] }], 'patched'],
      [[{ ...one!, podIPs: ['10.0.0.77', '10.0.0.79'] }], 'stored'],
      [[{ ...one!, podIPs: ['10.0.0.77', '10.0.0.77'] }], 'patched'],
      [[{ ...one!, podIPs: [], podIP: '' }], 'patched'],
    ];
    for (const [pods, way] of steps) {
      const before = { ...live.counts };
      for (const each of pods) live.set(each);
      expectSame(live, live.publish());
      expect(live.counts, JSON.stringify(pods.map(({ podIPs }) => podIPs))).toEqual({
        ...before,
        [way]: before[way] + 1,
      });
    }
  });

  test('more addresses than there are places for are packed anew, not sought for ever', () => {
    const live = new LiveCompiler(CLUSTER, {}, { classes: 16, pairs: 16, addresses: 4 });
    live.publish();
    const [web] = CLUSTER.pods;
    for (let i = 5; i < 250; i++) {
      live.set(at(web!, `10.0.0.${i}`));
      const tables = live.publish();
      if (i % 40 === 0) expectSame(live, tables);
    }
    expect(live.counts.packed).toBeGreaterThan(2);
    expect(live.counts.stored).toBeGreaterThan(150);
  });
});

/** Looks addresses up as packets do, again and again, and counts what cannot be. */
const READER = `
const { parentPort, workerData } = require('node:worker_threads');
const { buffer, trieAt, ownersAt, ownerMask, addresses, classes, hashes, state } = workerData;
const words = new Int32Array(buffer);
const leaf = (a) => {
  const root = words[trieAt + (a >>> 16)];
  const middle = words[trieAt + (root >>> 1) + ((a >>> 8) & 255)];
  return words[trieAt + (middle >>> 1) + (a & 255)];
};
const ownerOf = (a, hash) => {
  for (let slot = hash & ownerMask; ; slot = (slot + 1) & ownerMask) {
    const owner = words[ownersAt + 2 * slot + 1];
    if (owner === 0) return 0;
    if (words[ownersAt + 2 * slot] === a) return owner;
  }
};
const [vacant, owned] = classes;
let wrong = 0, turns = 0, met = 0;
parentPort.postMessage('ready');
while (Atomics.load(state, 0) === 0) {
  for (let i = 0; i < addresses.length; i++) {
    const entry = leaf(addresses[i]);
    if (entry !== vacant && entry !== owned) wrong++;
    // Once an address has the class of the pod's, it has a place among the owners.
    if (entry === owned && ownerOf(addresses[i], hashes[i]) === 0) wrong++;
    if (entry === owned) met++;
  }
  Atomics.store(state, 1, ++turns);
}
parentPort.postMessage({ wrong, turns, met });
`;

test('a thread that looks meanwhile meets each address before or after', async () => {
  const live = new LiveCompiler(CLUSTER);
  const tables = live.publish();
  const [web] = CLUSTER.pods;
  const first = 0x0a00_0000;
  const addresses = Int32Array.from({ length: 200 }, (_, i) => first + 20 + i);
  const classOf = (address: number): number => tables.trie4[leafOf4(tables.trie4, address)]!;
  const state = new Int32Array(new SharedArrayBuffer(8));
  const worker = new Worker(READER, {
    eval: true,
    workerData: {
      buffer: tables.buffer,
      trieAt: tables.starts[layout.SECTION_TRIE_4],
      ownersAt: tables.starts[layout.SECTION_OWNERS],
      ownerMask: tables.owners.length / layout.OWNER_SIZE - 1,
      addresses,
      hashes: addresses.map((address) => layout.addressHash(address, 0, 0, 0)),
      classes: [classOf(first + 20), classOf(first + 1)],
      state,
    },
  });
  const messages: unknown[] = [];
  const isDone = new Promise<void>((resolve, reject) => {
    worker.on('error', reject);
    worker.on('exit', () => resolve());
  });
  await new Promise<void>((resolve) => {
    worker.on('message', (message) => {
      messages.push(message);
      resolve();
    });
  });
  for (let move = 0; move < 2_000_000 && (move < 20_000 || state[1]! < 1_000); move++) {
    live.set(at(web!, `10.0.0.${20 + ((move * 7) % 200)}`));
    live.publish();
  }
  Atomics.store(state, 0, 1);
  await isDone;
  expect(messages[1]).toMatchObject({ wrong: 0 });
  const { turns, met } = messages[1] as { turns: number; met: number };
  expect(turns).toBeGreaterThanOrEqual(1_000);
  expect(met).toBeGreaterThan(0);
  expect(live.counts.packed).toBe(1);
  expectSame(live, tables);
});
