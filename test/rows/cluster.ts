/**
 * The cluster that most rows share: nodes `n1` and `n2`, namespaces `app` (env prod) and `dev` (env dev), and the
 * protected pod `app/db`, which every row's policy selects. 203.0.113.9 and 2001:db8::9 are outside.
 */
import { type Document, type Fields, globalPolicy, namespace, networkPolicy, node, pod } from './objects.ts';

export const DB = '10.0.0.1';
export const DB6 = 'fd00::1';
export const OUTSIDE = '203.0.113.9';
export const OUTSIDE6 = '2001:db8::9';
export const HOST1 = '192.168.0.1';
export const HOST1_6 = 'fd00:ffff::1';
export const HOST2 = '192.168.0.2';

export const HTTP = { name: 'http', containerPort: 80, protocol: 'TCP' };

export const NODES: readonly Document[] = [node('n1', HOST1, HOST1_6), node('n2', HOST2)];

const NAMESPACES: readonly Document[] = [namespace('app', { env: 'prod' }), namespace('dev', { env: 'dev' })];

export const CLUSTER: readonly Document[] = [
  ...NODES,
  ...NAMESPACES,
  pod('app/db', { ip: [DB, DB6], labels: { app: 'db' }, account: 'db', ports: [HTTP] }),
];

/** A policy of `app` whose one ingress rule for `db` allows what `source` and `rule` say; the rest is denied at the end of the tier. */
export function dbAllowsFrom(source: Fields, rule: Fields = {}): Document {
  return networkPolicy('app/p', {
    selector: 'app == "db"',
    types: ['Ingress'],
    ingress: [{ action: 'Allow', source, ...rule }],
  });
}

/** The same as a global policy. */
export function globalDbAllowsFrom(source: Fields, rule: Fields = {}): Document {
  return globalPolicy('p', {
    selector: 'app == "db"',
    types: ['Ingress'],
    ingress: [{ action: 'Allow', source, ...rule }],
  });
}

/** A policy of `app` whose one ingress rule for `db` denies what `source` and `rule` say; a second allows the rest. */
export function dbDeniesFrom(source: Fields, rule: Fields = {}): Document {
  return networkPolicy('app/p', {
    selector: 'app == "db"',
    types: ['Ingress'],
    ingress: [{ action: 'Deny', source, ...rule }, { action: 'Allow' }],
  });
}

/** The trace when no rule of `dbAllowsFrom` matched, and when its rule did. */
export const NP_END = ['0|default|np:app/p|deny|-1'];
export const NP_HIT = ['0|default|np:app/p|allow|0'];
export const GNP_END = ['0|default|gnp:p|deny|-1'];
export const GNP_HIT = ['0|default|gnp:p|allow|0'];
