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

/** Rows of the second layer (Istio's and Calico's checker): no packet meets them, so they wait for the authorization service. */
export const SECOND_LAYER_ROWS: ReadonlyMap<number, string> = new Map([
  [108, 'plaintext request to a rule about accounts'],
  [109, 'identity of the wrong account, address in the set'],
  [110, 'right identity, address not in the set'],
  [111, 'principal of no SPIFFE form'],
  [112, 'same account of another trust domain'],
  [113, 'rule with a selector, identity of another namespace'],
  [114, 'rule with a named port alone'],
  [115, 'path prefixes'],
  [116, 'HTTP rule and other TCP'],
  [117, 'IPv4 notNets and an IPv6 source'],
]);

/**
 * Rows that need to know the interface a packet came in by, which no flow tells (semantics 10.13): tested with
 * `--capture-point` in test/analyze/capture-point.test.ts.
 */
export const INTERFACE_ROWS: ReadonlyMap<number, string> = new Map([
  [96, 'a pod sends with a foreign source address'],
  [107, 'a packet on an unknown cali interface'],
]);
