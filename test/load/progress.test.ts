import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { type LoadProgress, loadResources } from '../../src/load/load.ts';

const namespace = (name: string): string => `apiVersion: v1\nkind: Namespace\nmetadata:\n  name: ${name}\n`;
const NAMES = ['a', 'b', 'c', 'd'];
const DOCUMENTS = NAMES.map(namespace).join('---\n');
const ITEMS = NAMES.map((name) => `- ${namespace(name).trimEnd().replaceAll('\n', '\n  ')}\n`).join('');
const LIST = `apiVersion: v1\nkind: List\nitems:\n${ITEMS}`;
const JSON_LIST = JSON.stringify({
  kind: 'List',
  items: NAMES.map((name) => ({ apiVersion: 'v1', kind: 'Namespace', metadata: { name } })),
});

test.each([
  ['documents of YAML', DOCUMENTS, 4],
  ['items of a YAML list', LIST, 5],
  ['JSON', JSON_LIST, 1],
])('%s tell how far the load is', (_, text, calls) => {
  const directory = mkdtempSync(join(tmpdir(), 'margay-progress-'));
  const path = join(directory, 'file');
  writeFileSync(path, text);
  try {
    for (const source of [
      { name: 'file', text },
      { name: 'file', path },
    ]) {
      const seen: LoadProgress[] = [];
      const { errors } = loadResources([source], { progress: (each) => seen.push(each) });
      expect(errors).toEqual([]);
      expect(seen).toHaveLength(calls);
      expect(new Set(seen.map(({ file, sizeBytes }) => `${file} ${sizeBytes}`))).toEqual(
        new Set([`file ${text.length}`]),
      );
      const bytes = seen.map(({ bytesRead }) => bytesRead);
      expect(bytes).toEqual([...bytes].sort((a, b) => a - b));
      // Markers between documents are not counted, the place of a list's items a little twice.
      expect(Math.abs(bytes.at(-1)! - text.length)).toBeLessThan(30);
      expect(seen.at(-1)?.objects).toBe(4);
    }
  } finally {
    rmSync(directory, { recursive: true });
  }
});
