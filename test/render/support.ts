/** Small clusters for rendering: one node, pods on it, and whatever a test adds. */
import { compile } from '../../src/compile/compile.ts';
import { loadResources } from '../../src/load/load.ts';
import type { Dataplane } from '../../src/model/flow.ts';
import { openTables, type Tables } from '../../src/tables/tables.ts';

export const NODE = {
  apiVersion: 'v1',
  kind: 'Node',
  metadata: { name: 'n1' },
  status: { addresses: [{ type: 'InternalIP', address: '192.168.0.1' }] },
};

export function pod(
  name: string,
  last: number,
  labels: Record<string, string> = {},
  ports: readonly object[] = [],
): object {
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, namespace: 'app', labels },
    spec: { nodeName: 'n1', containers: [{ name: 'c', image: 'x', ports }] },
    status: { phase: 'Running', podIPs: [{ ip: `10.0.0.${last}` }, { ip: `fd00::${last}` }] },
  };
}

export function policy(name: string, spec: object, kind = 'NetworkPolicy'): object {
  const metadata = kind === 'NetworkPolicy' ? { name, namespace: 'app' } : { name };
  return { apiVersion: 'projectcalico.org/v3', kind, metadata, spec };
}

export function tablesOf(
  documents: readonly object[],
  options: { permissive?: boolean; dataplane?: Dataplane } = {},
): Tables {
  return tablesFromText([documents.map((document) => JSON.stringify(document)).join('\n---\n')], options);
}

export function tablesFromText(
  texts: readonly string[],
  options: { permissive?: boolean; dataplane?: Dataplane } = {},
): Tables {
  const { resources, errors } = loadResources(texts, { permissive: options.permissive === true });
  if (errors.length > 0) throw new Error(JSON.stringify(errors[0]));
  return openTables(compile(resources, { dataplane: options.dataplane }));
}

/** The lines of one chain, without indentation: of nft text between its braces, of iptables text what is appended to it. */
export function chainOf(text: string, name: string): string[] {
  const lines = text.split('\n').map((line) => line.trim());
  const start = lines.indexOf(`chain ${name} {`);
  if (start >= 0) return lines.slice(start + 1, lines.indexOf('}', start));
  return lines.filter((line) => line.startsWith(`-A ${name} `)).map((line) => line.slice(`-A ${name} `.length));
}
