/** The public entry: what it exports, and that its documentation is true. */
import { describe, expect, test } from 'vitest';
import * as margay from '../../src/index.ts';

const SHOP = `
apiVersion: v1
kind: Pod
metadata: { name: db, namespace: shop, labels: { app: db } }
spec: { nodeName: n1, serviceAccountName: db, containers: [] }
status: { podIP: 10.0.0.1 }
---
apiVersion: v1
kind: Pod
metadata: { name: api, namespace: shop }
spec: { nodeName: n2, serviceAccountName: api, containers: [] }
status: { podIP: 10.0.0.2 }
---
apiVersion: projectcalico.org/v3
kind: NetworkPolicy
metadata: { name: db, namespace: shop }
spec:
  selector: app == 'db'
  types: [Ingress]
  ingress:
  - action: Allow
    source: { serviceAccounts: { names: [api] } }
`;

describe('the library', () => {
  test('exports what it promises, and nothing by accident', () => {
    expect(Object.keys(margay).sort()).toEqual([
      'LiveCompiler',
      'PolicyError',
      'RECORD_SCHEMA',
      'compile',
      'evaluateFlow',
      'formatProblem',
      'loadResources',
      'openTables',
      'parseSelector',
    ]);
  });

  test('follows objects that come and go', () => {
    const account = (role: string) => `
---
apiVersion: v1
kind: ServiceAccount
metadata: { name: api, namespace: shop, labels: { role: ${role} } }
`;
    const text = SHOP.replace('names: [api]', 'selector: role == "reader"');
    const { resources } = margay.loadResources([{ name: 'shop.yaml', text: text + account('reader') }]);
    const compiler = new margay.LiveCompiler(resources);
    const flow = { src: '10.0.0.2', dst: '10.0.0.1', protocol: 'tcp', dst_port: 5432 };
    const before = compiler.publish();
    expect(margay.evaluateFlow(before, flow).action).toBe('allow');
    const [guest] = margay.loadResources([{ name: 'account.yaml', text: account('guest') }]).resources.serviceAccounts;
    compiler.set(guest!);
    const after = compiler.publish();
    expect(margay.evaluateFlow(after, flow).action).toBe('deny');
    // Until the next publication what was published before is as it was.
    expect(margay.evaluateFlow(before, flow).action).toBe('allow');
    expect(compiler.counts).toEqual({ stored: 0, patched: 1, packed: 1 });
  });

  test('goes from text to verdict', () => {
    const { resources, errors } = margay.loadResources([{ name: 'shop.yaml', text: SHOP }]);
    expect(errors).toEqual([]);
    const tables = margay.openTables(margay.compile(resources));
    const flow = { src: '10.0.0.2', dst: '10.0.0.1', protocol: 'tcp', dst_port: 5432 };
    expect(margay.evaluateFlow(tables, flow)).toMatchObject({
      action: 'allow',
      direction: 'ingress',
      source_service_account: 'api',
      ingress: { trace: ['0|default|np:shop/db|allow|0'], rule: 'shop.yaml:21' },
    });
    expect(margay.evaluateFlow(tables, { ...flow, src: '10.0.0.9' })).toMatchObject({
      action: 'deny',
      reason: 'end-of-tier',
      source_type: 'net',
      ingress: { selected_by: ['np:shop/db'] },
    });
  });

  test('takes plain texts, and names them', () => {
    const { errors } = margay.loadResources([SHOP, 'kind: Pod\n']);
    expect(errors.map(margay.formatProblem)).toEqual(['input-2:1: the object has no apiVersion; add apiVersion']);
  });

  test('same input, same bytes', () => {
    const bytes = () => new Uint8Array(margay.compile(margay.loadResources([SHOP]).resources));
    expect(Buffer.compare(bytes(), bytes())).toBe(0);
  });

  test('one node alone', () => {
    const { resources } = margay.loadResources([SHOP]);
    const tables = margay.openTables(margay.compile(resources, { node: 'n2' }));
    const record = margay.evaluateFlow(tables, { src: '10.0.0.9', dst: '10.0.0.1', dst_port: 5432 });
    expect(record.action).toBe('unpoliced');
    expect(() => margay.compile(resources, { node: 'n3' })).toThrow(
      "no object names the node 'n3': there are n1, n2; name one that exists",
    );
    expect(() => margay.compile({ ...resources, nodes: [], pods: [] }, { node: 'n1' })).toThrow('there is none');
  });

  test('mistakes are PolicyErrors', () => {
    const tables = margay.openTables(margay.compile(margay.loadResources([SHOP]).resources));
    expect(() => margay.evaluateFlow(tables, { src: '10.0.0', dst: '10.0.0.1', dst_port: 1 })).toThrow(
      margay.PolicyError,
    );
    expect(() => margay.evaluateFlow(tables, { src: '10.0.0.2', dst: '10.0.0.1' })).toThrow('dst_port is missing');
    expect(() => margay.parseSelector('app =~ 1')).toThrow(/column 5/);
  });

  test('selectors', () => {
    const selector = margay.parseSelector("app in { 'b', 'a' }");
    expect(selector.canonical).toBe('app in {"a", "b"}');
    expect(selector.id).toMatch(/^s:[\w-]{38}$/);
    expect(selector.matches({ app: 'a' })).toBe(true);
    expect(selector.matches({})).toBe(false);
  });
});
