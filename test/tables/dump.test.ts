/** The text of tables where something is missing; what a whole cluster looks like is held by the goldens of test/cases. */
import { expect, test } from 'vitest';
import { dumpTables } from '../../src/tables/dump.ts';
import { hostEndpoint, joinDocuments, networkPolicy, pod } from '../compile/cluster.ts';
import { tablesOf } from '../compile/verdict.ts';

const SERVICE =
  '{apiVersion: v1, kind: Service, metadata: {name: web, namespace: app}, spec: {clusterIP: 10.96.0.1, ports: [{port: 80}]}}';
const DOCUMENTS = joinDocuments(
  pod('a', '10.0.0.1'),
  pod('far', '10.0.0.2', { node: 'n2' }),
  pod('six', 'fd00::1', { labels: '{family: six}' }),
  hostEndpoint('lost', 'interfaceName: eth0'),
  SERVICE,
  networkPolicy('p', 'ingress: [{action: Allow, protocol: 89}, {action: Allow, protocol: ICMPv6}]'),
);

/** The line that starts so, and those below it that are further in. */
function part(lines: readonly string[], start: string): string[] {
  const at = lines.findIndex((line) => line.startsWith(start));
  expect([start, at]).not.toEqual([start, -1]);
  const end = lines.findIndex((line, i) => i > at && !line.startsWith('  '));
  return lines.slice(at, end < 0 ? undefined : end);
}

test('addresses, nodes, backends and checks that there are none of are said to be missing', () => {
  const lines = dumpTables(tablesOf(DOCUMENTS, 'n1')).split('\n');
  expect(part(lines, 'node n1')).toEqual(['node n1: no address']);
  expect(part(lines, 'service app/web')).toEqual(['service app/web 10.96.0.1,tcp:80: none']);
  expect(part(lines, 'hep:lost')).toEqual(['hep:lost on no node: no address', '  not local']);
  expect(part(lines, 'wep:app/far')).toEqual(['wep:app/far on n2: 10.0.0.2', '  not local']);
  expect(part(lines, 'wep:app/a').length).toBeGreaterThan(2);
  // Without an address of IPv4, and yet with its checks: at its own interface it may send what it likes.
  expect(part(lines, 'wep:app/six').some((line) => line === '  ingress' || line === '  ingress ipv4')).toBe(true);
});

test('a protocol without a name is its number', () => {
  expect(dumpTables(tablesOf(DOCUMENTS))).toContain('protocol 89');
});
