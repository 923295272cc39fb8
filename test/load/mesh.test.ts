import { describe, expect, test } from 'vitest';
import { errorsOf, load, warningsOf } from './support.ts';

function peer(spec: object | undefined, metadata: object = { name: 'p', namespace: 'app' }, version = 'v1'): string {
  return JSON.stringify({ apiVersion: `security.istio.io/${version}`, kind: 'PeerAuthentication', metadata, spec });
}

describe('PeerAuthentication', () => {
  test.each(['v1', 'v1beta1'])('of %s becomes part of the model', (version) => {
    const spec = {
      selector: { matchLabels: { app: 'db' } },
      mtls: { mode: 'STRICT' },
      portLevelMtls: { 8080: { mode: 'DISABLE' }, 9090: {} },
    };
    const metadata = { name: 'p', namespace: 'app', creationTimestamp: '2026-01-02T03:04:05Z' };
    const { errors, resources } = load(peer(spec, metadata, version));
    expect(errors).toEqual([]);
    expect(resources.peerAuthentications).toMatchObject([
      {
        kind: 'PeerAuthentication',
        meta: { namespace: 'app', name: 'p', origin: { file: 't.yaml', line: 1 } },
        selector: new Map([['app', 'db']]),
        mode: 'STRICT',
        ports: new Map([
          [8080, 'DISABLE'],
          [9090, 'UNSET'],
        ]),
        createdMs: Date.UTC(2026, 0, 2, 3, 4, 5),
      },
    ]);
  });

  test('without a spec inherits everything', () => {
    const { resources } = load(peer(undefined));
    expect(resources.peerAuthentications[0]).toMatchObject({ mode: 'UNSET', createdMs: Number.POSITIVE_INFINITY });
    expect(resources.peerAuthentications[0]!.selector.size).toBe(0);
  });

  test.each([
    [{ mtls: { mode: 'strict' } }, "'strict' is not one of UNSET, DISABLE, PERMISSIVE, STRICT; did you mean 'STRICT'?"],
    [{ portLevelMtls: { 8080: { mode: 'ON' } }, selector: { matchLabels: { a: 'b' } } }, 'spec.portLevelMtls'],
    [
      { portLevelMtls: { http: { mode: 'STRICT' } }, selector: { matchLabels: { a: 'b' } } },
      "spec.portLevelMtls.http: 'http' is not a port; use a number from 1 to 65535",
    ],
    [
      { portLevelMtls: { 70000: { mode: 'STRICT' } }, selector: { matchLabels: { a: 'b' } } },
      `spec.portLevelMtls["70000"]: '70000' is not a port`,
    ],
    [
      { portLevelMtls: { 80: { mode: 'STRICT' } } },
      'spec.portLevelMtls: ports without a selector of workloads; add spec.selector',
    ],
  ])('%j is refused', (spec, message) => {
    expect(errorsOf(peer(spec)).join('\n')).toContain(message);
  });

  test('an unknown field is a warning, an unknown version an error', () => {
    expect(warningsOf(peer({ mtl: { mode: 'STRICT' } })).join('\n')).toContain('spec.mtl');
    expect(errorsOf(peer({}, { name: 'p' }, 'v1alpha1'))[0]).toContain('use apiVersion: security.istio.io/v1');
  });

  test('a selector in the root namespace is warned of', () => {
    const spec = { selector: { matchLabels: { app: 'db' } } };
    expect(warningsOf(peer(spec, { name: 'p', namespace: 'istio-system' })).join('\n')).toContain(
      'spec.selector: Istio ignores a PeerAuthentication with a selector in its root namespace',
    );
    expect(warningsOf(peer(spec))).toEqual([]);
  });

  test('its neighbours in the group are left out in silence', () => {
    const of = (kind: string): string =>
      JSON.stringify({ apiVersion: 'security.istio.io/v1', kind, metadata: { name: 'x' } });
    const { errors, ignored } = load([of('AuthorizationPolicy'), of('RequestAuthentication')].join('\n'));
    expect(errors).toEqual([]);
    expect(ignored.map(({ kind }) => kind)).toEqual(['AuthorizationPolicy', 'RequestAuthentication']);
  });
});
