/**
 * The lesson pcaps/enforcement against what was reasoned of each of its connections (findings.jsonl, native-fixtures/kernel): leaks and a blocked
 * connection of nodes that enforce yesterday's policies. With those nothing is found; one capture alone shows less and nothing wrong.
 */
import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import type { VerifyRecord } from '../../src/analyze/verify-record.ts';
import { margay } from '../cli/support.ts';

const LESSON = 'pcaps/enforcement';
const NODES = ['node-1', 'node-2'];
const BOTH = NODES.flatMap((node) => ['-r', `node:${node}=${LESSON}/${node}.pcapng`]);
const TODAY = ['-f', LESSON];
const YESTERDAY = ['-f', `${LESSON}/cluster.yaml`, '-f', `${LESSON}/before`];

interface Expected extends Partial<VerifyRecord> {
  readonly why: string;
}

const expected = readFileSync(`${LESSON}/findings.jsonl`, 'utf8')
  .trimEnd()
  .split('\n')
  .map((line) => JSON.parse(line) as Expected);

async function verified(args: readonly string[]): Promise<{ code: number; records: VerifyRecord[] }> {
  const { code, stdout, stderr } = await margay(['verify', ...args, '-o', 'jsonl', '-q']);
  expect(stderr).toBe('');
  return {
    code,
    records: stdout
      .split('\n')
      .filter(Boolean)
      .map((line) => JSON.parse(line) as VerifyRecord),
  };
}

const keyOf = ({ proto, source_ip, source_port, dest_ip, dest_port }: Partial<VerifyRecord>): string =>
  [proto, source_ip, source_port, dest_ip, dest_port].join(' ');

describe('the lesson enforcement', () => {
  test('every connection is as it was reasoned', async () => {
    const { code, records } = await verified([...TODAY, ...BOTH]);
    expect(code).toBe(1);
    const byKey = new Map(records.map((record) => [keyOf(record), record]));
    expect(byKey.size).toBe(expected.length);
    for (const { predicted, observed, finding, certainty, why, ...key } of expected) {
      expect(byKey.get(keyOf(key)), why).toMatchObject({
        predicted,
        observed,
        ...(finding === undefined ? {} : { finding, certainty }),
      });
      expect(byKey.get(keyOf(key))!.finding, why).toBe(finding);
    }
    const found = records.filter(({ finding }) => finding !== undefined).map(({ finding }) => finding);
    expect(found.sort()).toEqual(['blocked', 'leak', 'leak', 'leak', 'leak']);
  });

  test("with yesterday's policies nothing is found", async () => {
    const { code, records } = await verified([...YESTERDAY, ...BOTH]);
    expect(code).toBe(0);
    expect(records.filter(({ finding }) => finding !== undefined)).toEqual([]);
    expect(records.length).toBe(expected.length);
  });

  test('one capture alone shows less', async () => {
    const { records } = await verified([...TODAY, '-r', `node:node-2=${LESSON}/node-2.pcapng`]);
    const blocked = records.filter(({ finding }) => finding === 'blocked');
    expect(blocked.map(({ certainty, dest_name }) => [certainty, dest_name])).toEqual([['possible', 'cache-0']]);
    expect(records.filter(({ finding }) => finding === 'leak').map(({ certainty }) => certainty)).toEqual(
      Array.from({ length: 4 }, () => 'proven'),
    );
  });
});
