/** Everything that verbs print as records, against the schema that `margay schema` prints. */
import { readdirSync } from 'node:fs';
import { Ajv } from 'ajv';
import { describe, expect, test } from 'vitest';
import { RECORD_SCHEMA } from '../../src/analyze/record-schema.ts';
import { capture, LESSONS, lesson, margay } from '../cli/support.ts';

const validate = new Ajv({ allErrors: true, strict: true, strictTypes: false }).compile(RECORD_SCHEMA);

function misfits(records: readonly unknown[]): string[] {
  return records.flatMap((record) =>
    validate(record) ? [] : [`${JSON.stringify(record)}: ${JSON.stringify(validate.errors)}`],
  );
}

const lines = (text: string): unknown[] =>
  text
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line));

describe('the record schema', () => {
  test('is what schema and --schema print', async () => {
    const printed = await Promise.all(
      [['schema'], ['eval', '--schema'], ['replay', '--schema']].map((args) => margay(args)),
    );
    for (const { code, stdout } of printed) {
      expect(JSON.parse(stdout)).toEqual(RECORD_SCHEMA);
      expect(code).toBe(0);
    }
  });

  test.each(LESSONS)('holds for connections and packets of %s', async (name) => {
    const connections = await margay(['replay', ...capture(name), '-o', 'jsonl']);
    const packets = await margay(['replay', ...capture(name), '-o', 'jsonl', '--packets']);
    const records = [...lines(connections.stdout), ...lines(packets.stdout)];
    expect(records.length).toBeGreaterThan(200);
    expect(misfits(records)).toEqual([]);
  });

  test('holds for answers of eval, malformed lines included', async () => {
    const { stdout } = await margay([
      'eval',
      ...lesson('sa-names'),
      '--flows',
      'test/cli/data/flows.jsonl',
      '-o',
      'jsonl',
    ]);
    expect(lines(stdout)).toHaveLength(12);
    expect(misfits(lines(stdout))).toEqual([]);
  });

  test.each(['basic', 'worlds', 'hosts'])('holds for the flows and packets of conformance/%s', async (kind) => {
    for (const world of readdirSync(`test/conformance/${kind}`).slice(0, 8)) {
      const folder = `test/conformance/${kind}/${world}`;
      const files = ['-q', '-f', `${folder}/cluster.yaml`];
      const { stdout } = await margay(['eval', ...files, '--flows', `${folder}/flows.jsonl`, '-o', 'jsonl']);
      expect(misfits(lines(stdout)), folder).toEqual([]);
      if (kind === 'hosts') continue;
      const packets = await margay(['replay', ...files, '-r', `${folder}/packets.pcap`, '--packets', '-o', 'jsonl']);
      expect(misfits(lines(packets.stdout)), folder).toEqual([]);
    }
  });

  test.each<[string, unknown]>([
    [
      'an unknown field',
      { proto: 'tcp', source_ip: 'a', dest_ip: 'b', source_type: 'net', dest_type: 'net', action: 'allow', colour: 1 },
    ],
    [
      'an unknown action',
      { proto: 'tcp', source_ip: 'a', dest_ip: 'b', source_type: 'net', dest_type: 'net', action: 'drop' },
    ],
    ['a missing end', { proto: 'tcp', source_ip: 'a', source_type: 'net', dest_type: 'net', action: 'allow' }],
    ['nothing', {}],
  ])('refuses %s', (_what, record) => expect(validate(record)).toBe(false));
});
