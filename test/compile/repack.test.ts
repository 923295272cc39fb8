/**
 * Tables that take changes give the verdicts of tables compiled from scratch: flow by flow, record by record, over random sequences of changes of
 * labels, pods and policies. Both ways that a packet can take are asked: the whole path (`evaluateFlow`) and the pairs.
 */
import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { evaluateFlow } from '../../src/analyze/evaluate-flow.ts';
import { parseAddress } from '../../src/base/ip.ts';
import { LiveCompiler } from '../../src/compile/live-compiler.ts';
import { type PackOptions, packPlan } from '../../src/compile/pack.ts';
import { planCluster } from '../../src/compile/plan-cluster.ts';
import { loadResources } from '../../src/load/load.ts';
import { classAt } from '../../src/match/lookup.ts';
import type { Pod, Resource, Resources } from '../../src/model/resources.ts';
import { checkRecords } from '../../src/tables/check.ts';
import * as layout from '../../src/tables/layout.ts';
import { setMembers } from '../../src/tables/members.ts';
import { field, openTables, type Tables, templateOf, textField } from '../../src/tables/tables.ts';
import { account, joinDocuments, namespace, networkPolicy, pod } from './cluster.ts';

function load(text: string): Resources {
  const { resources, errors } = loadResources([{ name: 'cluster.yaml', text }], { permissive: true });
  expect(errors).toEqual([]);
  return resources;
}

function world(name: string): Resources {
  return load(readFileSync(new URL(`../conformance/${name}/cluster.yaml`, import.meta.url), 'utf8'));
}

const PORTS = [80, 443, 8080];

/** Everything that is said of flows between these addresses. */
function answers(tables: Tables, addresses: readonly string[]): string[] {
  const lines: string[] = [];
  for (const src of addresses) {
    for (const dst of addresses) {
      if (src.includes(':') !== dst.includes(':')) continue;
      for (const [i, dst_port] of PORTS.entries()) {
        const protocol = i % 2 === 0 ? 'tcp' : 'udp';
        const record = JSON.stringify(evaluateFlow(tables, { src, dst, protocol, src_port: 40_000, dst_port }));
        lines.push(
          `${src} ${dst} ${protocol} ${dst_port}: ${record} by pairs ${pairAnswer(tables, src, dst, i % 2, dst_port)}`,
        );
      }
    }
  }
  return lines;
}

/** What the pair of two addresses says of a port: the rule or reason that decides, `path` where there is no function. */
function pairAnswer(tables: Tables, src: string, dst: string, slot: number, port: number): string {
  const [a, b] = [parseAddress(src)!, parseAddress(dst)!];
  const words = Int32Array.from([...a.words, ...b.words]);
  const classes = a.version === 4 ? tables.classes4 : tables.classes6;
  const column = classes[classAt(tables, a.version, words, 0) + layout.CLASS_PAIR_COLUMN]!;
  const row = classes[classAt(tables, a.version, words, 4) + layout.CLASS_PAIR_ROW]!;
  const ref = tables.pairs[row + column + slot]!;
  if (ref < 0) return 'path';
  const offset = ref >>> 5;
  const size = 1 << (ref & 31);
  let at = 0;
  while (at + 1 < size && tables.functions[offset + at + 1]! <= port) at++;
  const step = tables.functions[offset + size + at]! >> layout.VALUE_STEP_SHIFT;
  const of = (word: number): number => field(tables, layout.SECTION_STEPS, step, word);
  return [
    of(layout.STEP_ACTION),
    of(layout.STEP_REASON),
    of(layout.STEP_RULE),
    tables.string(of(layout.STEP_TRACE_NAME)),
  ].join();
}

function membersOfSets(tables: Tables): string[] {
  return Array.from({ length: tables.counts[layout.SECTION_IP_SETS]! }, (_, set) => {
    return `${textField(tables, layout.SECTION_IP_SETS, set, layout.IP_SET_ID)} ${setMembers(tables, set).join()}`;
  });
}

function expectSame(live: LiveCompiler, addresses: readonly string[], options: PackOptions = {}): void {
  const patched = live.publish();
  const scratch = openTables(packPlan(planCluster(live.resources()), options));
  checkRecords(patched);
  expect(answers(patched, addresses)).toEqual(answers(scratch, addresses));
  expect(membersOfSets(patched)).toEqual(membersOfSets(scratch));
}

function addressesOf(resources: Resources): string[] {
  const pods = resources.pods.flatMap(({ podIPs }) => podIPs).slice(0, 8);
  const nodes = resources.nodes.flatMap(({ addresses }) => addresses).slice(0, 1);
  return [...new Set([...pods, ...nodes, '10.0.77.1', '10.0.77.2', '8.8.8.8'])].filter((text) => parseAddress(text));
}

/** A change as numbers, so that it shrinks; what they mean is read off the objects there are. */
const arbChange = fc.record({
  what: fc.constantFrom('account', 'account', 'namespace', 'relabel', 'remove', 'come', 'move', 'policy'),
  which: fc.nat(99),
  from: fc.nat(99),
  isFlushed: fc.boolean(),
});

/** Labels that selectors of the world ask for, since other objects have them. */
function labelPool(resources: Resources): ReadonlyMap<string, string>[] {
  const all = [...resources.serviceAccounts, ...resources.namespaces, ...resources.pods];
  return [new Map(), ...all.map(({ meta }) => meta.labels)];
}

function withLabels<T extends Resource>(of: T, labels: ReadonlyMap<string, string>): T {
  return { ...of, meta: { ...of.meta, labels } };
}

function change(
  live: LiveCompiler,
  { what, which, from }: { what: string; which: number; from: number },
  pool: ReturnType<typeof labelPool>,
): void {
  const { serviceAccounts, namespaces, pods, policies } = live.resources();
  const pick = <T>(list: readonly T[]): T | undefined => list[which % Math.max(1, list.length)];
  const labels = pool[from % pool.length]!;
  const withAddress = (of: Pod, name: string, address: string): Pod => {
    return { ...of, meta: { ...of.meta, name }, podIPs: [address], podIP: address };
  };
  const [one, policy] = [pick(pods), pick(policies)];
  if (what === 'account' && serviceAccounts.length > 0) live.set(withLabels(pick(serviceAccounts)!, labels));
  else if (what === 'namespace' && namespaces.length > 0) live.set(withLabels(pick(namespaces)!, labels));
  else if (what === 'relabel' && one !== undefined) live.set(withLabels(one, labels));
  else if (what === 'remove' && one !== undefined) live.delete(one);
  else if (what === 'come' && one !== undefined)
    live.set(withAddress(one, `new-${from % 3}`, `10.0.77.${1 + (from % 2)}`));
  else if (what === 'move' && one !== undefined) live.set(withAddress(one, one.meta.name, `10.0.77.${1 + (from % 2)}`));
  else if (what === 'policy' && policy !== undefined) {
    if (from % 2 === 0) live.delete(policy);
    else live.set({ ...policy });
  }
}

describe('after random changes, verdicts are those of a compile from scratch', () => {
  const worlds: readonly (readonly [string, PackOptions])[] = [
    ['worlds/2001', {}],
    ['worlds/2012', { node: 'first', dataplane: 'nftables' }],
    ['worlds/2030', { needsIdentity: true }],
    ['hosts/308', { dataplane: 'bpf' }],
  ];
  test.each(worlds)('%s with %j', (name, asked) => {
    const resources = world(name);
    const options = asked.node === undefined ? asked : { ...asked, node: planCluster(resources).nodes[0]!.name };
    const pool = labelPool(resources);
    const addresses = addressesOf(resources);
    const counts = { patched: 0, packed: 0 };
    fc.assert(
      fc.property(fc.array(arbChange, { minLength: 1, maxLength: 12 }), (changes) => {
        // So little room that numbers are used again, and that it may run out.
        const room = changes.length % 2 === 0 ? { classes: 3, pairs: 3, addresses: 64 } : undefined;
        const live = new LiveCompiler(resources, options, room);
        live.publish();
        for (const each of changes) {
          change(live, each, pool);
          if (each.isFlushed) live.publish();
        }
        expectSame(live, addresses, options);
        counts.patched += live.counts.patched;
        counts.packed += live.counts.packed;
      }),
      { numRuns: 12, seed: 5 },
    );
    expect(counts.patched).toBeGreaterThan(0);
  });
});

const SMALL = joinDocuments(
  namespace('app', '{env: prod}'),
  account('web', '{role: front}'),
  account('db', '{role: back}'),
  pod('web-0', '10.0.0.1', { serviceAccount: 'web' }),
  pod('web-1', '10.0.0.2', { serviceAccount: 'web' }),
  pod('db-0', '10.0.0.3', { serviceAccount: 'db' }),
  networkPolicy(
    'front',
    'serviceAccountSelector: role == "back", ingress: [{action: Allow, source: {serviceAccounts: {selector: role == "front"}}}]',
  ),
  networkPolicy('closed', 'serviceAccountSelector: role == "closed", ingress: []'),
);

describe('what is written into the tables', () => {
  const objects = load(SMALL);
  const addresses = ['10.0.0.1', '10.0.0.2', '10.0.0.3', '10.0.77.1', '8.8.8.8'];
  const accountNamed = (name: string) => objects.serviceAccounts.find(({ meta }) => meta.name === name)!;

  test('labels of an account that sets ask for, and back again', () => {
    const live = new LiveCompiler(objects);
    const before = answers(live.publish(), addresses);
    live.set(withLabels(accountNamed('web'), new Map([['role', 'other']])));
    expectSame(live, addresses);
    expect(answers(live.publish(), addresses)).not.toEqual(before);
    live.set(accountNamed('web'));
    expectSame(live, addresses);
    expect(answers(live.publish(), addresses)).toEqual(before);
    expect(live.counts).toEqual({ stored: 0, patched: 2, packed: 1 });
  });

  test('labels of an account by which policies select: another chain', () => {
    const live = new LiveCompiler(objects);
    live.publish();
    for (const role of ['closed', 'front', 'back', 'closed']) {
      live.set(withLabels(accountNamed('db'), new Map([['role', role]])));
      expectSame(live, addresses);
    }
    expect(live.counts).toEqual({ stored: 0, patched: 4, packed: 1 });
  });

  test('a pod that comes with an address nobody had, goes, and comes again as another', () => {
    const live = new LiveCompiler(objects);
    live.publish();
    const [web] = objects.pods;
    const come: Pod = { ...web!, meta: { ...web!.meta, name: 'web-9' }, podIPs: ['10.0.77.1'], podIP: '10.0.77.1' };
    live.set(come);
    expectSame(live, addresses);
    live.delete(come);
    expectSame(live, addresses);
    live.set({ ...come, meta: { ...come.meta, name: 'db-9' }, serviceAccountName: 'db' });
    expectSame(live, addresses);
    expect(live.counts).toEqual({ stored: 0, patched: 3, packed: 1 });
  });

  test('pods that come and go for ever take the places of those that are gone', () => {
    // Twice as many as there is room for in the tables.
    const live = new LiveCompiler(objects);
    const before = live.publish().counts[layout.SECTION_ENDPOINTS]!;
    const [web] = objects.pods;
    const named = (name: string, ip: string, uid: string): Pod => {
      return { ...web!, meta: { ...web!.meta, name, uid }, podIPs: [ip], podIP: ip };
    };
    for (let round = 0; round < 4_500; round++) {
      // The same ones again, with other addresses and ids.
      const [a, b] = [`10.0.77.${1 + (round % 2)}`, `10.0.77.${2 - (round % 2)}`];
      const pods = [named('again-0', a, `u${round % 5}`), named('again-1', b, '')];
      for (const each of pods) live.set(each);
      live.publish();
      if (round % 1_000 === 0) expectSame(live, addresses);
      for (const each of pods) live.delete(each);
      live.publish();
    }
    for (const name of ['one', 'two']) live.set(named(name, name === 'one' ? '10.0.77.1' : '10.0.77.2', ''));
    expectSame(live, addresses);
    expect(live.publish().counts[layout.SECTION_ENDPOINTS]).toBe(before + 2);
    expect(live.counts.packed).toBe(1);
  });

  test('what was written is said, so that a copy elsewhere can be kept', () => {
    const live = new LiveCompiler(objects);
    const copy = new Int32Array(live.publish().buffer).slice();
    expect(live.lastWritten).toBeUndefined();
    for (const role of ['other', 'front', 'back']) {
      live.set(withLabels(accountNamed('web'), new Map([['role', role]])));
      const words = new Int32Array(live.publish().buffer);
      const ranges = live.lastWritten!;
      for (let i = 0; i < ranges.length; i += 2) copy.set(words.subarray(ranges[i], ranges[i + 1]), ranges[i]);
      expect(Buffer.compare(new Uint8Array(copy.buffer), new Uint8Array(words.buffer))).toBe(0);
    }
    live.set({ ...objects.policies[0]! });
    live.publish();
    expect(live.lastWritten).toBeUndefined();
  });

  test('labels that go on changing find room again', () => {
    const many = Array.from({ length: 12 }, (_, i) =>
      joinDocuments(account(`a${i}`), pod(`a${i}`, `10.0.1.${i + 1}`, { serviceAccount: `a${i}` })),
    );
    const asks = [1, 2, 3].map((n) =>
      networkPolicy(
        `n${n}`,
        `order: ${n}, selector: all(), ingress: [{action: ${n === 2 ? 'Deny' : 'Allow'}, source: {serviceAccounts: {selector: n == "${n}"}}}]`,
      ),
    );
    const resources = load(joinDocuments(namespace('app'), ...many, ...asks));
    const live = new LiveCompiler(resources, {}, { classes: 3, pairs: 16, addresses: 64 });
    live.publish();
    for (let round = 0; round < 60; round++) {
      const of = resources.serviceAccounts.find(({ meta }) => meta.name === `a${(round * 5) % 12}`)!;
      live.set(withLabels(of, new Map([['n', `${(round * 7) % 6}`]])));
      live.publish();
      if (round % 6 === 5) expectSame(live, ['10.0.1.1', '10.0.1.6', '10.0.1.11', '10.0.1.12', '8.8.8.8']);
    }
    expect(live.counts).toEqual({ stored: 0, patched: 60, packed: 1 });
  });

  test('templates are shared by what comes, and used again: changes for ever do not add up', () => {
    const live = new LiveCompiler(objects);
    const count = (): number => live.publish().counts[layout.SECTION_TEMPLATES]!;
    // Pods of two accounts.
    expect(count()).toBe(2);
    const [web] = objects.pods;
    const come: Pod = { ...web!, meta: { ...web!.meta, name: 'web-9' }, podIPs: ['10.0.77.1'], podIP: '10.0.77.1' };
    live.set(come);
    expect(count()).toBe(2);
    const templateOfPod = (name: string): number => {
      const tables = live.publish();
      const keys = Array.from({ length: tables.counts[layout.SECTION_ENDPOINTS]! }, (_, endpoint) =>
        textField(tables, layout.SECTION_ENDPOINTS, endpoint, layout.ENDPOINT_KEY),
      );
      return templateOf(tables, keys.indexOf(`wep:app/${name}`));
    };
    expect(templateOfPod('web-9')).toBe(templateOfPod('web-0'));
    const round = (): void => {
      for (const role of ['closed', 'front', 'back']) {
        live.set(withLabels(accountNamed('db'), new Map([['role', role]])));
        live.delete(come);
        live.publish();
        live.set(withLabels(accountNamed('web'), new Map([['role', role]])));
        live.set(come);
        live.publish();
      }
    };
    round();
    expectSame(live, addresses);
    expect(templateOfPod('web-9')).toBe(templateOfPod('web-0'));
    const after = count();
    for (let i = 0; i < 100; i++) round();
    expectSame(live, addresses);
    expect(count()).toBe(after);
    expect(live.counts.packed).toBe(1);
  });

  test('a template is not written again: tables of before keep what they say', () => {
    const live = new LiveCompiler(objects);
    const first = live.publish();
    const size = first.counts[layout.SECTION_TEMPLATES]! * layout.TEMPLATE_SIZE;
    const before = first.templates.slice(0, size);
    for (const role of ['closed', 'front', 'back', 'closed']) {
      live.set(withLabels(accountNamed('db'), new Map([['role', role]])));
      expect(live.publish().templates.slice(0, size)).toEqual(before);
    }
    for (const one of objects.pods) live.delete(one);
    expect(live.publish().templates.slice(0, size)).toEqual(before);
    expect(live.counts.packed).toBe(1);
  });

  test('tables that are still read are left alone', () => {
    const live = new LiveCompiler(objects);
    const first = live.publish();
    const before = answers(first, addresses);
    for (const role of ['other', 'front', 'back']) {
      live.set(withLabels(accountNamed('web'), new Map([['role', role]])));
      live.publish(() => false);
      expect(answers(first, addresses)).toEqual(before);
    }
    expectSame(live, addresses);
  });
});
