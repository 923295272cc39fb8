/** The lessons' own answers, reasoned by hand from the semantics, against what `replay` prints. */
import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { capture, LESSONS, margay } from './support.ts';

interface Expected {
  readonly name: string;
  readonly action: string;
  readonly reason?: string;
  readonly direction?: string;
  readonly egress?: { readonly action: string; readonly trace: readonly string[] };
  readonly ingress?: { readonly action: string; readonly trace: readonly string[] };
  readonly packets: number;
  readonly [field: string]: unknown;
}

/** The fields that say which connection it is. */
const TUPLE = ['proto', 'source_ip', 'source_port', 'dest_ip', 'dest_port', 'icmp_type', 'icmp_code'];

const pick = (record: object, names: readonly string[]): object =>
  Object.fromEntries(names.flatMap((name) => (name in record ? [[name, Reflect.get(record, name)]] : [])));

describe.each(LESSONS)('lesson %s', (name) => {
  const expected: Expected[] = readFileSync(`pcaps/${name}/expected.jsonl`, 'utf8')
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line));

  test('every connection has the verdict, the traces and the packets that were reasoned', async () => {
    const { code, stdout } = await margay(['replay', ...capture(name), '-o', 'json', '-q']);
    expect(code).toBe(0);
    const { connections } = JSON.parse(stdout) as { connections: Expected[] };
    const found = connections.map((record) => ({
      ...pick(record, [...TUPLE, 'action', 'reason', 'direction', 'packets']),
      ...(record.egress && { egress: pick(record.egress, ['action', 'trace']) }),
      ...(record.ingress && { ingress: pick(record.ingress, ['action', 'trace']) }),
    }));
    const wanted = expected.map((record) =>
      pick(record, [...TUPLE, 'action', 'reason', 'direction', 'packets', 'egress', 'ingress']),
    );
    expect(found).toEqual(wanted);
  });

  test('no verdict but the expected ones is in the totals', async () => {
    const { stdout } = await margay(['replay', ...capture(name), '-o', 'json', '-q']);
    const { totals, connections } = JSON.parse(stdout);
    expect(totals.allow + totals.deny + totals.unpoliced + totals.uncertain + totals.undecoded).toBe(totals.packets);
    expect(totals.connections).toBe(connections.length);
    const packets = connections.reduce((sum: number, record: Expected) => sum + record.packets, 0);
    expect(packets).toBe(totals.packets - totals.undecoded);
  });

  test('the reference evaluator agrees', async () => {
    const { code, stderr } = await margay(['replay', ...capture(name), '--check', '--summary']);
    expect(code).toBe(0);
    expect(stderr).toContain(`agrees on ${expected.length} of ${expected.length} connections`);
  });
});
