/**
 * PeerAuthentication: its schema, its checks, and how it becomes part of the model.
 *
 * Source: Istio security/v1beta1/peer_authentication.proto, pkg/config/validation (ValidatePeerAuthentication).
 */
import { quoteText } from '../base/errors.ts';
import type { MtlsMode, PeerAuthentication } from '../model/mesh.ts';
import type { ObjectContext } from './object.ts';
import { type Opt, objectMeta, type RawMap, type RawObject, stringMap } from './raw.ts';
import { anything, closed, object, type Schema, textMap, word } from './schemas/build.ts';
import { checkMeta, subdomainName } from './validate-meta.ts';

const MTLS = closed({ mode: word('UNSET', 'DISABLE', 'PERMISSIVE', 'STRICT') });

export const PEER_AUTHENTICATION: Schema = object({
  spec: closed({
    selector: closed({ matchLabels: textMap() }),
    mtls: MTLS,
    portLevelMtls: { type: 'object', nullable: true, additionalProperties: MTLS },
  }),
  status: anything,
});

interface RawMtls {
  readonly mode?: Opt<MtlsMode>;
}

export interface RawPeerAuthentication extends RawObject {
  readonly spec?: Opt<{
    readonly selector?: Opt<{ readonly matchLabels?: Opt<RawMap> }>;
    readonly mtls?: Opt<RawMtls>;
    readonly portLevelMtls?: Opt<Readonly<Record<string, Opt<RawMtls>>>>;
  }>;
}

export function checkPeerAuthentication(raw: RawPeerAuthentication, context: ObjectContext): void {
  checkMeta(raw, true, subdomainName, context);
  const hasSelector = Object.keys(raw.spec?.selector?.matchLabels ?? {}).length > 0;
  if (hasSelector && context.id.namespace === ROOT_NAMESPACE) {
    const message = 'Istio ignores a PeerAuthentication with a selector in its root namespace';
    context.warn(['spec', 'selector'], message, 'put it into the namespace of the workloads, or remove the selector');
  }
  const ports = Object.keys(raw.spec?.portLevelMtls ?? {});
  const path = ['spec', 'portLevelMtls'];
  for (const port of ports) {
    if (/^[1-9]\d{0,4}$/.test(port) && Number(port) <= 65535) continue;
    context.error([...path, port], `${quoteText(port)} is not a port`, 'use a number from 1 to 65535');
  }
  if (ports.length > 0 && !hasSelector) {
    context.refuse(path, 'ports without a selector of workloads', 'add spec.selector', 'the ports have no effect');
  }
}

/** Istio's own; it may be called otherwise, and then nothing is said. */
const ROOT_NAMESPACE = 'istio-system';

export function convertPeerAuthentication(raw: RawPeerAuthentication, context: ObjectContext): PeerAuthentication {
  const { selector, mtls, portLevelMtls } = raw.spec ?? {};
  const created = (raw.metadata as Opt<{ readonly creationTimestamp?: unknown }>)?.creationTimestamp;
  const createdMs = Date.parse(String(created ?? ''));
  return {
    kind: 'PeerAuthentication',
    meta: objectMeta(raw.metadata, context),
    selector: stringMap(selector?.matchLabels),
    mode: mtls?.mode ?? 'UNSET',
    ports: new Map(Object.entries(portLevelMtls ?? {}).map(([port, value]) => [Number(port), value?.mode ?? 'UNSET'])),
    createdMs: Number.isNaN(createdMs) ? Number.POSITIVE_INFINITY : createdMs,
  };
}
