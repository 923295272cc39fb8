/**
 * The corner-case table (semantics, section 9), as data: each case is a small cluster, flows, and what
 * Calico answers. The reference and the compiled path both run through it.
 */
import type { RowCase } from './row.ts';
import { CONNECTION_ROWS } from './rows-connections.ts';
import { ENDPOINT_ROWS } from './rows-endpoints.ts';
import { ORDER_ROWS } from './rows-order.ts';
import { PATH_ROWS } from './rows-path.ts';
import { PEER_ROWS } from './rows-peers.ts';
import { RULE_ROWS } from './rows-rules.ts';
import { SELECTOR_ROWS } from './rows-selectors.ts';

export const ROWS: readonly RowCase[] = [
  ...SELECTOR_ROWS,
  ...ENDPOINT_ROWS,
  ...PEER_ROWS,
  ...RULE_ROWS,
  ...ORDER_ROWS,
  ...PATH_ROWS,
  ...CONNECTION_ROWS,
];

/**
 * Rows that need to know the interface a packet came in by, which no flow tells (semantics 10.13): tested with
 * `--capture-point` in test/analyze/capture-point.test.ts.
 */
export const INTERFACE_ROWS: ReadonlyMap<number, string> = new Map([
  [96, 'a pod sends with a foreign source address'],
  [107, 'a packet on an unknown cali interface'],
]);
