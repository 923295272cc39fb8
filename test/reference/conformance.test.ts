/** Calico's own answers (test/conformance/README.md): every flow of every world, with its traces. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { loadResources } from '../../src/load/load.ts';
import type { Flow } from '../../src/model/flow.ts';
import { createReference, type PendingVerdict, type ReferenceVerdict } from '../../src/reference/evaluate.ts';

const ROOT = join(import.meta.dirname, '..', 'conformance');

interface Line extends Flow {
  readonly id: number;
  readonly expect: string;
  readonly egress?: readonly string[];
  readonly ingress?: readonly string[];
  readonly forward?: readonly string[];
  readonly pending?: PendingVerdict;
}

/** What the line says, in the line's own form. A line without any trace says nothing of traces. */
function answerIn(line: Line, verdict: ReferenceVerdict): Partial<Line> {
  const hasTraces = line.egress !== undefined || line.ingress !== undefined || line.forward !== undefined;
  const traces = {
    ...(verdict.egress && { egress: verdict.egress.trace }),
    ...(verdict.ingress && { ingress: verdict.ingress.trace }),
    ...(verdict.forward && { forward: verdict.forward.trace }),
    ...(verdict.pending && { pending: verdict.pending }),
  };
  const hasPending = line.pending !== undefined;
  return { id: line.id, expect: verdict.action, ...(hasTraces || hasPending ? traces : {}) };
}

function expectedOf({ id, expect: action, egress, ingress, forward, pending }: Line): Partial<Line> {
  return {
    id,
    expect: action,
    ...(egress && { egress }),
    ...(ingress && { ingress }),
    ...(forward && { forward }),
    ...(pending && { pending }),
  };
}

describe.each(['basic', 'worlds', 'hosts'])('%s', (folder) => {
  const seeds = readdirSync(join(ROOT, folder));
  test('is there', () => expect(seeds.length).toBeGreaterThan(0));

  test.each(seeds)('%s', (seed) => {
    const read = (name: string): string => readFileSync(join(ROOT, folder, seed, name), 'utf8');
    const { resources, errors } = loadResources([{ name: 'cluster.yaml', text: read('cluster.yaml') }]);
    expect(errors).toEqual([]);
    const reference = createReference(resources);
    const lines = read('flows.jsonl')
      .split('\n')
      .filter((text) => text !== '')
      .map((text) => JSON.parse(text) as Line);
    expect(lines.length).toBeGreaterThan(0);
    const answers = lines.map((line) => answerIn(line, reference.evaluate(line)));
    expect(answers).toEqual(lines.map(expectedOf));
  });
});
