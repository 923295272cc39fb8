/**
 * Envoy's messages and ours.
 *
 * Addresses are those of the connection as Envoy sees it: the source is the direct remote address, the destination the local one,
 * which for a sidecar's inbound listener is the pod's address and the port that the client asked for. HTTP attributes are there
 * from the HTTP filter only; the network filter sends none.
 */
import { PROTOCOL_TCP, PROTOCOL_UDP } from '../model/flow.ts';
import type { AuthzRequest } from './authorizer.ts';
import type { Code } from './codes.ts';

/** `envoy.service.auth.v3.CheckRequest`, the fields of authz.proto; any part may be missing. */
export interface CheckRequest {
  readonly attributes?: {
    readonly source?: PeerAttributes;
    readonly destination?: PeerAttributes;
    readonly request?: {
      readonly http?: { readonly id?: string; readonly method?: string; readonly path?: string };
    };
  };
}

export interface PeerAttributes {
  readonly address?: {
    readonly socket_address?: { readonly protocol?: number; readonly address?: string; readonly port_value?: number };
  };
  readonly labels?: Readonly<Record<string, string>>;
  readonly principal?: string;
}

export interface CheckResponse {
  readonly status: { readonly code: Code; readonly message: string };
}

/** Envoy's SocketAddress.Protocol; what it does not know is no protocol that a rule could be asked about. */
const PROTOCOLS: readonly number[] = [PROTOCOL_TCP, PROTOCOL_UDP];

/** What is missing is left empty, and the decision says what that means: no address is a bad request, no principal plain text. */
export function requestOf(message: CheckRequest): AuthzRequest {
  const { source, destination, request } = message.attributes ?? {};
  const from = source?.address?.socket_address;
  const to = destination?.address?.socket_address;
  const http = request?.http;
  return {
    src: from?.address ?? '',
    dst: to?.address ?? '',
    srcPort: from?.port_value ?? 0,
    dstPort: to?.port_value ?? 0,
    protocol: PROTOCOLS[to?.protocol ?? 0] ?? -1,
    sourcePrincipal: source?.principal ?? '',
    destinationPrincipal: destination?.principal ?? '',
    sourceLabels: source?.labels,
    destinationLabels: destination?.labels,
    http: http === undefined ? undefined : { method: http.method ?? '', path: http.path ?? '' },
  };
}
