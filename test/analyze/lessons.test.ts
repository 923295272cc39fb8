/**
 * The lessons in pcaps/: every connection of each recording against its golden, which was reasoned from the semantics document
 * and from what each program did, never from this program's output (native-fixtures/lab/README.md).
 */
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import type { ConnectionRecord } from '../../src/analyze/connections.ts';
import { replayCaptures } from '../../src/analyze/replay.ts';
import { compile } from '../../src/compile/compile.ts';
import { loadResources } from '../../src/load/load.ts';
import { openTables } from '../../src/tables/tables.ts';

const PCAPS = new URL('../../pcaps/', import.meta.url);
const lessons = readdirSync(PCAPS).filter((name) => {
  const folder = new URL(name, PCAPS);
  return statSync(folder).isDirectory() && readdirSync(folder).includes('expected.jsonl');
});

interface ExpectedConnection {
  readonly name: string;
  readonly action: string;
  readonly packets: number;
  readonly why: string;
  readonly outcome: string;
  readonly [field: string]: unknown;
}

/** Fields of a golden that a record must have with the same value; a check's other fields (rule, selected_by) are ours alone. */
const FIELDS = ['proto', 'source_ip', 'source_port', 'dest_ip', 'dest_port', 'icmp_type', 'icmp_code'] as const;
const OUTCOMES: Record<string, readonly string[]> = {
  answered: ['established', 'answered'],
  refused: ['refused'],
  silent: ['no-answer'],
};

test('there are the four lessons of the seed page', () => {
  expect(lessons).toEqual(expect.arrayContaining(['sa-labels', 'sa-names', 'sa-selector', 'tiers']));
});

describe.each(lessons)('%s', (lesson) => {
  test('every connection has the verdict that its golden reasons out', async () => {
    const folder = new URL(`${lesson}/`, PCAPS);
    const sources = ['cluster.yaml', 'policies.yaml'].map((name) => ({
      name,
      text: readFileSync(new URL(name, folder), 'utf8'),
    }));
    const { resources, errors } = loadResources(sources);
    expect(errors).toEqual([]);
    const records: ConnectionRecord[] = [];
    const capture = fileURLToPath(new URL('capture.pcapng', folder));
    const result = await replayCaptures(openTables(compile(resources)), [capture], {
      onConnection: (record) => records.push(record),
    });
    records.sort((a, b) => a.first_packet - b.first_packet);
    const expected = readFileSync(new URL('expected.jsonl', folder), 'utf8')
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as ExpectedConnection);
    expect(records.map(summary)).toEqual(expected.map(summary));
    expected.forEach((line, i) => {
      expect({ name: line.name, observed: OUTCOMES[line.outcome]?.includes(records[i]!.observed) }).toEqual({
        name: line.name,
        observed: true,
      });
    });
    expect(result.totals.connections).toBe(expected.length);
  });
});

function summary(line: object): object {
  const record = line as Record<string, unknown>;
  const check = (name: string): unknown => {
    const value = record[name] as { action: string; trace: string[] } | undefined;
    return value === undefined ? undefined : { action: value.action, trace: value.trace };
  };
  return {
    ...Object.fromEntries(FIELDS.map((field) => [field, record[field]])),
    action: record.action,
    reason: record.reason,
    direction: record.direction,
    egress: check('egress'),
    ingress: check('ingress'),
    packets: record.packets,
  };
}
