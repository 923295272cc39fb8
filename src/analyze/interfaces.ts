/**
 * Which pod an interface of a capture belongs to.
 *
 * Calico names the host's side of a pod's veth pair by what is in the first of `interfacePrefix` (default `cali`) and the first
 * 11 hexadecimal digits of SHA-1 of `namespace.pod`: `prod/web-0` has `cali` + sha1(`prod.web-0`)[0..11). So a name leads back to
 * the pod without asking the node. Source: Calico libcalico-go/lib/backend/k8s/conversion/workload_endpoint_default.go
 * (VethNameForWorkload); semantics 2.1.
 */
import { createHash } from 'node:crypto';
import { INTERFACE_NO_POD, INTERFACE_OTHER, INTERFACE_UNKNOWN } from '../match/state.ts';
import * as layout from '../tables/layout.ts';
import { endpointName, field, type Tables, templateField, templateText, textField } from '../tables/tables.ts';

const HASH_DIGITS = 11;

/** What `Judge.atInterface` is for an interface of this name (INTERFACE_* or a pod's endpoint); undefined: the capture names none. */
export class PodInterfaces {
  readonly #tables: Tables;
  #endpoints: ReadonlyMap<string, number> | undefined;
  #prefixes: readonly string[] = [];

  constructor(tables: Tables) {
    this.#tables = tables;
  }

  find(name: string | undefined): number {
    if (name === undefined) return INTERFACE_UNKNOWN;
    this.#endpoints ??= this.#read();
    const endpoint = this.#endpoints.get(name);
    if (endpoint !== undefined) return endpoint;
    // What tcpdump calls `any` is every interface at once.
    if (name === 'any') return INTERFACE_UNKNOWN;
    return this.#prefixes.some((prefix) => name.startsWith(prefix)) ? INTERFACE_NO_POD : INTERFACE_OTHER;
  }

  #read(): ReadonlyMap<string, number> {
    const tables = this.#tables;
    const prefixesOf = Array.from({ length: tables.counts[layout.SECTION_NODES]! }, (_, node) =>
      textField(tables, layout.SECTION_NODES, node, layout.NODE_INTERFACE_PREFIXES).split(','),
    );
    const endpoints = new Map<string, number>();
    for (let endpoint = 0; endpoint < tables.counts[layout.SECTION_ENDPOINTS]!; endpoint++) {
      if (templateField(tables, endpoint, layout.TEMPLATE_KIND) !== layout.KIND_WEP) continue;
      const namespace = templateText(tables, endpoint, layout.TEMPLATE_NAMESPACE);
      const pod = endpointName(tables, endpoint);
      const node = field(tables, layout.SECTION_ENDPOINTS, endpoint, layout.ENDPOINT_NODE);
      endpoints.set(podInterfaceName(namespace, pod, prefixesOf[node]?.[0]), endpoint);
    }
    this.#prefixes = [...new Set(prefixesOf.flat())];
    return endpoints;
  }
}

export function podInterfaceName(namespace: string, pod: string, prefix = 'cali'): string {
  return prefix + createHash('sha1').update(`${namespace}.${pod}`).digest('hex').slice(0, HASH_DIGITS);
}
