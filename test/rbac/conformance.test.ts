/** Every request of `conformance/rbac` against the answer of Kubernetes' own authorizer (v1.35.3). */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { loadResources } from '../../src/load/load.ts';
import { authorize } from '../../src/rbac/authorize.ts';
import { indexRbac } from '../../src/rbac/rbac-index.ts';
import { parseAccessRequest } from '../../src/rbac/request.ts';
import { slowAllows } from './slow.ts';

const FOLDER = join(import.meta.dirname, '..', 'conformance', 'rbac');
const SEEDS = readdirSync(FOLDER);

describe('the recorded answers of the RBAC authorizer', () => {
  test('are there', () => expect(SEEDS.length).toBeGreaterThanOrEqual(30));

  test.each(SEEDS)('%s', (seed) => {
    const path = join(FOLDER, seed, 'rbac.yaml');
    const { resources, errors } = loadResources([{ name: path, text: readFileSync(path, 'utf8') }]);
    expect(errors).toEqual([]);
    const index = indexRbac(resources);
    const differences: unknown[] = [];
    for (const line of readFileSync(join(FOLDER, seed, 'requests.jsonl'), 'utf8')
      .trim()
      .split('\n')) {
      const fields = JSON.parse(line) as { id: number; expect: boolean };
      const request = parseAccessRequest(fields);
      const answers = [authorize(index, request).allowed, slowAllows(resources, request)];
      if (answers.some((answer) => answer !== fields.expect)) differences.push({ ...fields, answers });
    }
    expect(differences).toEqual([]);
  });
});
