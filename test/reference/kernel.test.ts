/** What a Linux kernel said of random packet sequences (test/conntrack/kernel), said again by the reference tracker. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import { NodeTable, tupleOf } from '../../src/reference/conntrack.ts';
import { AddressBook } from '../../src/reference/packet.ts';
import { readPacket } from './capture.ts';

const FOLDER = join(import.meta.dirname, '..', 'conntrack', 'kernel');
const RECORDINGS = readdirSync(FOLDER).filter((name) => name.endsWith('.txt.gz'));

/** GRE and SCTP, which the reference tracks by ports alone (conntrack.ts). */
const OWN_TABLES = [47, 132];

describe.each(RECORDINGS)('%s', (name) => {
  test('every state is that of the kernel', () => {
    const lines = gunzipSync(readFileSync(join(FOLDER, name)))
      .toString()
      .trimEnd()
      .split('\n')
      .slice(1);
    const tables = new Map<string, NodeTable>();
    const book = new AddressBook();
    const differences: string[] = [];
    let compared = 0;
    lines.forEach((line, index) => {
      const [sequence, expected, text] = line.split(' ') as [string, string, string];
      if (expected === '=') return;
      const packet = readPacket(Buffer.from(text, 'hex'), index);
      if (packet === undefined) {
        expect(expected).toMatch(/^(invalid|-)$/);
        return;
      }
      if (OWN_TABLES.includes(packet.protocol) || OWN_TABLES.includes(packet.quoted?.protocol ?? 0)) return;
      const table = tables.get(sequence) ?? new NodeTable();
      tables.set(sequence, table);
      const answer = table.look(tupleOf(packet, book), packet, packet.quoted && tupleOf(packet.quoted, book));
      // The lab dropped it after it was tracked.
      if (expected === '-') return;
      compared++;
      if (answer.state !== expected) differences.push(`${line.slice(0, 200)}: ${answer.state}`);
      if (answer.opened !== undefined) table.keep(answer.opened);
    });
    expect(differences).toEqual([]);
    expect(compared).toBeGreaterThan(5000);
  });
});
