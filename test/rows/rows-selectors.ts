/** Rows 1-10: the selector language. */
import { CLUSTER, DB, dbAllowsFrom, dbDeniesFrom, NP_END, NP_HIT } from './cluster.ts';
import { documents, pod } from './objects.ts';
import { allow, deny, flow, type RowCase } from './row.ts';

/** Peers in `app`: no label `a`; `a` = x; `a` = y; `a` = xyz and `c` = d; `a` = b and `c` = d. */
const BARE = '10.0.1.1';
const X = '10.0.1.2';
const Y = '10.0.1.3';
const XYZ = '10.0.1.4';
const B = '10.0.1.5';
const PEERS = [
  ...CLUSTER,
  pod('app/bare', { ip: BARE, node: 'n2' }),
  pod('app/x', { ip: X, node: 'n2', labels: { a: 'x' } }),
  pod('app/y', { ip: Y, node: 'n2', labels: { a: 'y' } }),
  pod('app/xyz', { ip: XYZ, node: 'n2', labels: { a: 'xyz', c: 'd' } }),
  pod('app/b', { ip: B, node: 'n2', labels: { a: 'b', c: 'd' } }),
];

/** One case: from which of the peers a rule with this source selector allows. */
function allowed(row: number, title: string, selector: string, sources: readonly string[]): RowCase {
  const flows = [BARE, X, Y, XYZ, B].map((src) =>
    sources.includes(src) ? allow(flow(src, DB), { ingress: NP_HIT }) : deny(flow(src, DB), { ingress: NP_END }),
  );
  return { row, title, resources: documents(...PEERS, dbAllowsFrom({ selector })), flows };
}

/** One case: a rule that denies by this selector takes its whole policy with it, and the namespace's profile allows. */
function refused(row: number, title: string, selector: string): RowCase {
  const trace = ['0|__PROFILE__|pro:kns.app|allow|0'];
  const resources = documents(...PEERS, dbDeniesFrom({ selector }));
  return {
    row,
    title,
    resources,
    permissive: true,
    flows: [allow(flow(X, DB), { ingress: trace }), allow(flow(BARE, DB))],
  };
}

export const SELECTOR_ROWS: readonly RowCase[] = [
  allowed(1, 'a != "x" matches where the label is absent', 'a != "x"', [BARE, Y, XYZ, B]),
  allowed(1, 'a not in {"x"} matches where the label is absent', 'a not in {"x"}', [BARE, Y, XYZ, B]),
  allowed(2, 'a in {} matches nothing', 'a in {}', []),
  allowed(2, 'a not in {} matches everything', 'a not in {}', [BARE, X, Y, XYZ, B]),
  allowed(3, 'a trailing comma in a set is accepted', 'a in {"x",}', [X]),
  refused(4, 'has (a) with a space is a syntax error', 'has (a)'),
  refused(4, 'all () with a space is a syntax error', 'all ()'),
  allowed(5, 'startswith may be one word, without spaces around', 'a startswith"x"', [X, XYZ]),
  allowed(5, 'notin may be one word, without spaces around', 'a notin{"x"}', [BARE, Y, XYZ, B]),
  refused(6, 'a newline between tokens is an error', 'has(a) &&\na == "x"'),
  allowed(6, 'a newline inside quotes is part of the value', 'has(a) && a != "x\n"', [X, Y, XYZ, B]),
  allowed(7, '! binds tighter than &&', '! a == "b" && c == "d"', [XYZ]),
  refused(8, 'a == 5 is an error', 'a == 5'),
  allowed(8, 'a number in quotes is a value', 'a != "5" && has(a)', [X, Y, XYZ, B]),
  refused(9, 'a value with both kinds of quotes cannot be expressed', `a == "it's "x""`),
  allowed(9, 'a value with one kind of quotes can', `a != "it's" && a != 'an "x"' && a == "x"`, [X]),
  {
    ...allowed(10, 'global() outside a rule namespaceSelector is true', 'global()', [BARE, X, Y, XYZ, B]),
    permissive: true,
  },
  { ...allowed(10, '!global() is false', '!global()', []), permissive: true },
];
