/** What comes out of Redis is hostile: each form of value that is refused, and what is taken. */
import { describe, expect, test } from 'vitest';
import { entriesOf } from '../../src/identity/entries.ts';
import {
  bucketOf,
  entryRev,
  keysOf,
  ownerValue,
  parseChange,
  parseKeyAddress,
  parseLabels,
  parseMeta,
  parseOwner,
  parseOwners,
  parsePod,
  podFields,
  shortUid,
} from '../../src/identity/keys.ts';
import { Refusal } from '../../src/identity/record.ts';
import { IdentityTable } from '../../src/identity/table.ts';
import { entriesOfPods, podLine, setOf } from './support/cluster.ts';

const UID = shortUid('u');

describe('refused is', () => {
  test.each([
    '010.0.0.1',
    '10.0.0.1 ',
    '10.0.0',
    '1.2.3.4.5',
    '256.1.1.1',
    '::FFFF',
    '0:0::1',
    'fd00::1%eth0',
    '::ffff:10.0.0.1',
    '',
    'x'.repeat(99),
  ])('the address %j', (text) => {
    expect(() => parseKeyAddress(text)).toThrow(Refusal);
  });

  test.each([
    '',
    'a/b',
    'a/b|short',
    `a|${UID}`,
    `a/b/c|${UID}`,
    `/b|${UID}`,
    `a b/c|${UID}`,
    `a/b|${UID}x`,
    `a/b|${UID} `,
  ])('the owner %j', (text) => {
    expect(() => parseOwner(text)).toThrow(Refusal);
  });

  test.each([
    `a/b|${UID}`,
    `x|a/b|${UID}`,
    `-1|a/b|${UID}`,
    `1|a/b|${UID} 2|a/b|${UID}`,
    `1|a/b|${UID}  2|a/c|${shortUid('v')}`,
    'y'.repeat(9_999),
  ])('the list of owners %j', (text) => {
    expect(() => parseOwners(text)).toThrow(Refusal);
  });

  test.each(['1', '1-1', 'x-0', '-0', '1.5-0', '99999999999999999999-0'])('the entry %j', (id) => {
    expect(() => entryRev(id)).toThrow(Refusal);
  });

  const change = { op: 'set', kind: 'ep', key: '10.0.0.1', value: `a/b|${UID}` };
  test.each([
    { op: 'get' },
    { kind: 'meta' },
    { kind: undefined },
    { key: 7 },
    { key: 'k'.repeat(999) },
    { value: undefined },
    { value: 'v'.repeat(1_100_000) },
  ])('a change with %j', (other) => {
    expect(() => parseChange({ ...change, ...other })).toThrow(Refusal);
  });

  const pod = podFields({
    pod: 'a/p',
    uid: 'u',
    node: 'n',
    account: 'a/s',
    labels: new Map([['k', 'v']]),
    ports: [],
    annotations: new Map(),
  });
  test.each([
    { pod: 'p' },
    { uid: 'other' },
    { node: undefined },
    { node: 'n\n' },
    { sa: 's' },
    { labels: '{' },
    { labels: '[]' },
    { labels: '{"a":1}' },
    { ports: '[{"name":"x"}]' },
    { ports: '[{"name":"x","protocol":"TCP","port":70000}]' },
    { annotations: '7' },
  ])('a pod with %j', (other) => {
    expect(() => parsePod(UID, { ...pod, ...other })).toThrow(Refusal);
  });

  const meta = { schema: '1', epoch: 'e', rev: '7', fence: '1', buckets: '1024', count: '3', state: 'ready' };
  test.each([
    { schema: '2' },
    { epoch: 'an epoch' },
    { rev: 'x' },
    { rev: '-1' },
    { buckets: '512' },
    { fence: undefined },
  ])('meta with %j', (other) => {
    expect(() => parseMeta({ ...meta, ...other })).toThrow(Refusal);
  });

  test('and no table is changed by it', () => {
    const table = new IdentityTable();
    for (const entry of entriesOfPods(5).values()) table.apply(entry);
    const before = [...table.changes()];
    for (const value of ['', 'a/b|', `a|${UID}`]) {
      expect(() => table.apply({ op: 'set', kind: 'ep', key: '10.0.0.1', value })).toThrow(Refusal);
    }
    expect(() => table.apply({ op: 'set', kind: 'pod', key: UID, value: '{}' })).toThrow(Refusal);
    expect([...table.changes()]).toEqual(before);
  });
});

describe('taken is', () => {
  test('what is written, in a form of under 64 bytes', () => {
    const long = `${'n'.repeat(63)}/${'a'.repeat(253)}`;
    for (const account of ['a/b', 'kube-system/coredns', long]) {
      const value = ownerValue(account, UID);
      expect(Buffer.byteLength(`9999999999|${value}`)).toBeLessThan(64);
      expect(parseOwners(`12|${value}`)).toEqual([{ account: account === long ? '' : account, uid: UID }]);
    }
    expect(parseOwners(`1|a/b|${UID} 2|*|${shortUid('v')}`).map(({ uid }) => uid)).toEqual([UID, shortUid('v')]);
  });

  test('a pod with everything, whatever its labels are called', () => {
    const labels = new Map([
      ['__proto__', 'x'],
      ['constructor', 'y'],
    ]);
    const pod = {
      pod: 'a/p',
      uid: 'u',
      node: 'n',
      account: 'a/',
      labels,
      ports: [{ name: 'http', protocol: 'TCP', containerPort: 80 }],
      annotations: new Map(),
    };
    expect(parsePod(UID, podFields(pod))).toEqual(pod);
    expect(parseLabels('{"__proto__":"x","constructor":"y"}')).toEqual(labels);
  });

  test('a set, through its entries and back', () => {
    const set = setOf([podLine(1), podLine(2), { ...podLine(3), ip: 'fd00::3' }]);
    const table = new IdentityTable();
    for (const entry of entriesOf(set, 0).values()) table.apply(entry);
    const names = (records: readonly { ip: string; pod: string; uid: string }[]) =>
      records.map(({ ip, pod, uid }) => `${ip} ${pod} ${uid}`).sort();
    expect(names(table.toSet('x').records)).toEqual(names(set.records));
    expect(table.toSet('x').unknownPods).toBe(0);
  });

  test('nothing where there is nothing', () => {
    expect(parseMeta({})).toBeUndefined();
    expect(parseMeta({ fence: '3' })).toBeUndefined();
  });
});

test('keys of one cluster share a slot, and buckets are filled evenly', () => {
  const keys = keysOf('prod');
  for (const key of [keys.meta, keys.log, keys.ep(7), keys.of('sa', 'a/b'), keys.agent('n')])
    expect(key).toMatch(/^margay:\{prod\}:/);
  expect(() => keysOf('a}b')).toThrow('cluster name');
  const counts = new Array<number>(1024).fill(0);
  for (let i = 0; i < 102_400; i++) counts[bucketOf(`10.${i >> 16}.${(i >> 8) & 255}.${i & 255}`)]!++;
  expect(Math.max(...counts)).toBeLessThan(150);
  expect(Math.min(...counts)).toBeGreaterThan(60);
});
