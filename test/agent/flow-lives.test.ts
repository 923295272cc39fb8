/** Flows of a capture child that died: nobody remembers them as open. */
import { expect, test } from 'vitest';
import { FlowLog } from '../../src/agent/flow-log.ts';
import { FlowDeltas, FlowStore } from '../../src/agent/flow-store.ts';
import { update } from './records.ts';

/** Two flows of child 0, one of child 10, and the first of child 0 after it died. */
const BEFORE = [update('0.0-1'), update('0.0-2'), update('10.0-1')];
const AFTER = update('0.1-1');

test('the page shows them as closed', () => {
  const store = new FlowStore(100);
  for (const each of BEFORE) store.take(each);
  store.take(AFTER);
  const { flows } = store.page({}, 100, Number.POSITIVE_INFINITY);
  const open = flows.filter(({ isOpen }) => isOpen).map(({ id }) => id);
  expect([open, flows.length]).toEqual([['0.1-1', '10.0-1'], 4]);
});

test('sums forget them', () => {
  const deltas = new FlowDeltas();
  for (const each of BEFORE) deltas.of(each);
  for (let life = 1; life <= 100; life++) deltas.of(update(`0.${life}-1`));
  expect(deltas.size).toBe(2);
});

test('the flow log writes their last lines', async () => {
  const lines: { readonly flow_id: string; readonly is_open: boolean; readonly packets: number }[] = [];
  const log = new FlowLog({
    path: '-',
    stdout: { write: (text) => lines.push(JSON.parse(text)) },
    format: 'native',
    node: 'n1',
    maxBytes: 1e9,
    keep: 3,
    intervalMs: 3_600_000,
    onTrouble: () => {},
  });
  for (const each of BEFORE) log.take(each);
  log.take(AFTER);
  expect(lines).toMatchObject([
    { flow_id: '0.0-1', is_open: false, packets: 3 },
    { flow_id: '0.0-2', is_open: false, packets: 3 },
  ]);
  await log.close(1_000);
  expect(lines.map(({ flow_id }) => flow_id)).toEqual(['0.0-1', '0.0-2', '10.0-1', '0.1-1']);
});
