/**
 * Every flow that Calico and the kernel answered, through the compiled tables: verdict, and the trace of every check.
 * test/conformance/README.md says how the answers were made and what each line promises.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { evaluateFlow } from '../../src/analyze/evaluate-flow.ts';
import { compile } from '../../src/compile/compile.ts';
import { loadResources } from '../../src/load/load.ts';
import type { Flow } from '../../src/model/flow.ts';
import { openTables } from '../../src/tables/tables.ts';

const ROOT = new URL('../conformance/', import.meta.url);

interface FlowLine extends Flow {
  readonly id: number;
  readonly expect: string;
  readonly egress?: readonly string[];
  readonly ingress?: readonly string[];
  readonly forward?: readonly string[];
  readonly pending?: Record<string, unknown>;
}

const CHECKS = ['egress', 'ingress', 'forward'] as const;

for (const folder of ['basic', 'worlds', 'hosts']) {
  describe(folder, () => {
    for (const world of readdirSync(new URL(folder, ROOT))) {
      test(world, () => {
        const directory = new URL(`${folder}/${world}/`, ROOT);
        const text = readFileSync(new URL('cluster.yaml', directory), 'utf8');
        const { resources, errors } = loadResources([{ name: 'cluster.yaml', text }]);
        expect(errors).toEqual([]);
        const tables = openTables(compile(resources));
        const lines = readFileSync(new URL('flows.jsonl', directory), 'utf8').trim().split('\n');
        expect(lines.length).toBeGreaterThan(50);
        for (const line of lines) {
          const flow = JSON.parse(line) as FlowLine;
          const record = evaluateFlow(tables, flow);
          expect({ id: flow.id, action: record.action }).toEqual({ id: flow.id, action: flow.expect });
          const tellsTraces = CHECKS.some((check) => flow[check] !== undefined);
          if (!tellsTraces) continue;
          for (const check of CHECKS) {
            expect({ id: flow.id, check, trace: record[check]?.trace }).toEqual({
              id: flow.id,
              check,
              trace: flow[check],
            });
          }
          expect({ id: flow.id, pending: record.pending }).toEqual({ id: flow.id, pending: flow.pending });
        }
      });
    }
  });
}
