/** From documents to verdicts, in one line each. */
import { expect } from 'vitest';
import { evaluateFlow } from '../../src/analyze/evaluate-flow.ts';
import { compile } from '../../src/compile/compile.ts';
import { loadResources } from '../../src/load/load.ts';
import { openTables, type Tables } from '../../src/tables/tables.ts';

/** Tables of documents that need not be valid; with `node`, as `--node` has it. */
export function tablesOf(yaml: string, node?: string): Tables {
  const { resources, errors } = loadResources([{ name: 'test.yaml', text: yaml }], { permissive: true });
  expect(errors).toEqual([]);
  return openTables(compile(resources, { node }));
}

/** `action reason` of a TCP flow to port 80. */
export function verdict(tables: Tables, src: string, dst: string, port = 80): string {
  const { action, reason = '' } = evaluateFlow(tables, { src, dst, protocol: 'tcp', src_port: 40_000, dst_port: port });
  return `${action} ${reason}`.trim();
}
