import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { stringify } from 'yaml';
import { formatProblem, loadResources } from '../../src/load/load.ts';

const CONFORMANCE = join(import.meta.dirname, '..', 'conformance');

interface Line {
  readonly id: number;
  readonly change: string;
  readonly valid: boolean;
  readonly doc: object;
}

const lines = readFileSync(join(CONFORMANCE, 'documents.jsonl'), 'utf8')
  .trim()
  .split('\n')
  .map((line) => JSON.parse(line) as Line);

describe('conformance/documents.jsonl: what Calico and Kubernetes take', () => {
  test.each(lines.map((line) => [line.id, line.change, line] as const))('%i %s', (_id, _change, { doc, valid }) => {
    const { errors } = loadResources([JSON.stringify(doc)]);
    expect(errors.map(formatProblem).join('\n') === '').toBe(valid);
  });

  test('the same as YAML', () => {
    const wrong = lines.filter(({ doc, valid }) => {
      const { errors } = loadResources([stringify(doc)]);
      return (errors.length === 0) !== valid;
    });
    expect(wrong.map(({ id, change }) => `${id} ${change}`)).toEqual([]);
  });

  test('all in one load, each in a file of its own: exactly the invalid ones have errors', () => {
    const { errors } = loadResources(lines.map(({ id, doc }) => ({ name: `${id}.json`, text: JSON.stringify(doc) })));
    const names = new Set(errors.map(({ file }) => file));
    const invalid = lines.filter(({ valid }) => !valid).map(({ id }) => `${id}.json`);
    expect([...names].sort()).toEqual(invalid.sort());
  });

  test('every error names the field, what is wrong and what to do', () => {
    for (const { doc, valid } of lines) {
      if (valid) continue;
      for (const problem of loadResources([JSON.stringify(doc)]).errors) {
        expect(problem.field, formatProblem(problem)).toMatch(/^(?:kind|metadata|spec)/);
        expect(problem.message).not.toBe('');
        expect(problem.fix).not.toBe('');
        expect(problem.line).toBe(1);
      }
    }
  });

  /** What the API refuses only for its contents is taken by `permissive`; what has no place in its types never is. */
  test('permissive loads turn some of the errors into warnings, and no warning into an error', () => {
    let taken = 0;
    for (const { doc, valid } of lines) {
      const { errors, warnings } = loadResources([JSON.stringify(doc)], { permissive: true });
      if (valid) expect(errors).toEqual([]);
      else if (errors.length === 0) {
        taken++;
        expect(warnings.length).toBeGreaterThan(0);
      }
    }
    expect(taken).toBeGreaterThan(lines.filter(({ valid }) => !valid).length / 2);
  });
});

describe('the clusters of the conformance folder', () => {
  test.each(['basic', 'worlds', 'hosts'])('%s: every object is taken', (folder) => {
    for (const seed of readdirSync(join(CONFORMANCE, folder))) {
      const name = join(folder, seed, 'cluster.yaml');
      const text = readFileSync(join(CONFORMANCE, name), 'utf8');
      const { errors, ignored, resources } = loadResources([{ name, text }]);
      expect(errors.map(formatProblem)).toEqual([]);
      expect(ignored).toEqual([]);
      expect(resources.pods.length).toBeGreaterThan(0);
    }
  });
});
