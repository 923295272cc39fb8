/** The corner-case table of the semantics (section 9), row by row, through the compiled tables. */
import { describe, expect, test } from 'vitest';
import { evaluateFlow } from '../../src/analyze/evaluate-flow.ts';
import type { FlowRecord } from '../../src/analyze/record.ts';
import { compile } from '../../src/compile/compile.ts';
import { loadResources } from '../../src/load/load.ts';
import { openTables, type Tables } from '../../src/tables/tables.ts';
import type { RowCase, RowFlow } from '../rows/row.ts';
import { ROWS } from '../rows/rows.ts';

const WITH_FLOWS = ROWS.filter(({ flows = [] }) => flows.length > 0);

describe.each(WITH_FLOWS)('row $row: $title', (entry) => {
  test('flows', () => {
    const tables = tablesOf(entry);
    const flows = entry.flows!;
    expect(flows.map((wanted) => answerLike(wanted, evaluateFlow(tables, wanted.flow)))).toEqual(flows);
  });
});

function tablesOf({ resources, permissive, asIs }: RowCase): Tables {
  const options = { permissive: permissive === true, asIs: asIs === true };
  const loaded = loadResources([{ name: 'row.yaml', text: resources }], options);
  expect(loaded.errors).toEqual([]);
  return openTables(compile(loaded.resources));
}

/** The record in the form of what is wanted: only what the row speaks of. */
function answerLike(wanted: RowFlow, record: FlowRecord): RowFlow {
  const { egress, ingress, forward, reason = '' } = record;
  return {
    flow: wanted.flow,
    expect: record.action as RowFlow['expect'],
    ...(wanted.reason !== undefined && { reason }),
    ...(wanted.egress !== undefined && egress && { egress: egress.trace }),
    ...(wanted.ingress !== undefined && ingress && { ingress: ingress.trace }),
    ...(wanted.forward !== undefined && forward && { forward: forward.trace }),
  };
}
