/** What Istio is told about mutual TLS: PeerAuthentication. No verdict of Calico depends on it; `analyze` reads it. */
import type { ObjectMeta, StringMap } from './resources.ts';

/** `UNSET` inherits: a port from its workload, a workload from its namespace, a namespace from the mesh; in the end it is `PERMISSIVE`. */
export type MtlsMode = 'UNSET' | 'DISABLE' | 'PERMISSIVE' | 'STRICT';

/** security.istio.io/v1 and v1beta1 PeerAuthentication. */
export interface PeerAuthentication {
  readonly kind: 'PeerAuthentication';
  readonly meta: ObjectMeta;
  /** `spec.selector.matchLabels`; empty = every workload of the namespace, or of the mesh in Istio's root namespace. */
  readonly selector: StringMap;
  readonly mode: MtlsMode;
  /** `spec.portLevelMtls`: by port of the workload, not of a service. */
  readonly ports: ReadonlyMap<number, MtlsMode>;
  /** Milliseconds since 1970, `Infinity` if the object does not say: of several at one level the oldest counts. */
  readonly createdMs: number;
}
