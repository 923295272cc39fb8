/** Kubernetes' core kinds to the model. The schema has passed: types hold, optional fields may be `null`. */
import { parseAddress } from '../base/ip.ts';
import { isIdleAnnotation } from '../model/pod-addresses.ts';
import type {
  ContainerPort,
  EndpointSlice,
  Namespace,
  Node,
  Pod,
  Service,
  ServiceAccount,
  StringMap,
} from '../model/resources.ts';
import type { ObjectContext } from './object.ts';
import { listOf, NO_ENTRIES, type Opt, objectMeta, type RawMap, type RawObject, stringMap } from './raw.ts';

interface RawContainer {
  readonly ports?: Opt<
    readonly { readonly name?: Opt<string>; readonly containerPort?: Opt<number>; readonly protocol?: Opt<string> }[]
  >;
}

export interface RawPodSpec {
  readonly nodeName?: Opt<string>;
  readonly hostNetwork?: Opt<boolean>;
  readonly serviceAccountName?: Opt<string>;
  readonly serviceAccount?: Opt<string>;
  readonly containers?: Opt<readonly RawContainer[]>;
  readonly initContainers?: Opt<readonly RawContainer[]>;
}

export interface RawPod extends RawObject {
  readonly spec?: Opt<RawPodSpec>;
  readonly status?: Opt<{
    readonly phase?: Opt<string>;
    readonly podIP?: Opt<string>;
    readonly podIPs?: Opt<readonly { readonly ip?: Opt<string> }[]>;
  }>;
}

export function convertPod(raw: RawPod, context: ObjectContext): Pod {
  const spec = raw.spec ?? {};
  const status = raw.status ?? {};
  const podIPs = listOf(status.podIPs).map((entry) => entry.ip ?? '');
  const meta = objectMeta(raw.metadata, context);
  return {
    kind: 'Pod',
    meta: { ...meta, annotations: podAnnotations(meta.annotations, podIPs.length > 0) },
    nodeName: spec.nodeName ?? '',
    hostNetwork: spec.hostNetwork ?? false,
    serviceAccountName: accountOf(spec, context.mode.asIs),
    phase: status.phase ?? '',
    hasDeletionTimestamp: (raw.metadata?.deletionTimestamp ?? '') !== '',
    podIPs,
    podIP: status.podIP ?? '',
    containerPorts: portsOf(spec.containers),
    initContainerPorts: portsOf(spec.initContainers),
    isSynthesised: false,
  };
}

/** Without those that nothing depends on. */
export function podAnnotations(annotations: StringMap, hasPodIPs: boolean): StringMap {
  if (annotations.size === 0) return annotations;
  const kept = [...annotations].filter(([key, value]) => !isIdleAnnotation(key, value, hasPodIPs));
  if (kept.length === annotations.size) return annotations;
  return kept.length === 0 ? NO_ENTRIES : new Map(kept);
}

/** The account a pod runs as: what it names, else `default`, which admission fills in and `--as-is` does not. */
export function accountOf(spec: RawPodSpec, isAsIs: boolean): string {
  return spec.serviceAccountName || spec.serviceAccount || (isAsIs ? '' : 'default');
}

export function portsOf(containers: Opt<readonly RawContainer[]>): readonly ContainerPort[] {
  const ports: ContainerPort[] = [];
  for (const container of listOf(containers)) {
    for (const port of listOf(container.ports)) {
      ports.push({
        name: port.name ?? '',
        containerPort: port.containerPort ?? 0,
        protocol: port.protocol || 'TCP',
      });
    }
  }
  return ports;
}

export function convertNamespace(raw: RawObject, context: ObjectContext): Namespace {
  const meta = objectMeta(raw.metadata, context);
  const labels = new Map(meta.labels).set('kubernetes.io/metadata.name', meta.name);
  return { kind: 'Namespace', meta: { ...meta, labels }, isSynthesised: false };
}

export function convertServiceAccount(raw: RawObject, context: ObjectContext): ServiceAccount {
  return { kind: 'ServiceAccount', meta: objectMeta(raw.metadata, context), isSynthesised: false };
}

export interface RawNode extends RawObject {
  readonly spec?: Opt<{ readonly podCIDR?: Opt<string>; readonly podCIDRs?: Opt<readonly string[]> }>;
  readonly status?: Opt<{
    readonly addresses?: Opt<readonly { readonly type?: Opt<string>; readonly address?: Opt<string> }[]>;
  }>;
}

export function convertNode(raw: RawNode, context: ObjectContext): Node {
  const addresses = listOf(raw.status?.addresses).map((entry) => entry.address ?? '');
  const podCIDRs = listOf(raw.spec?.podCIDRs);
  const podCIDR = raw.spec?.podCIDR ?? '';
  return {
    kind: 'Node',
    meta: objectMeta(raw.metadata, context),
    addresses: addresses.filter((address) => parseAddress(address) !== undefined),
    podCIDRs: podCIDRs.length > 0 || podCIDR === '' ? podCIDRs : [podCIDR],
  };
}

export interface RawService extends RawObject {
  readonly spec?: Opt<{
    readonly type?: Opt<string>;
    readonly clusterIP?: Opt<string>;
    readonly clusterIPs?: Opt<readonly string[]>;
    readonly externalIPs?: Opt<readonly string[]>;
    readonly loadBalancerIP?: Opt<string>;
    readonly selector?: Opt<RawMap>;
    readonly ports?: Opt<
      readonly {
        readonly name?: Opt<string>;
        readonly protocol?: Opt<string>;
        readonly port?: Opt<number>;
        readonly nodePort?: Opt<number>;
      }[]
    >;
  }>;
  readonly status?: Opt<{
    readonly loadBalancer?: Opt<{ readonly ingress?: Opt<readonly { readonly ip?: Opt<string> }[]> }>;
  }>;
}

export function convertService(raw: RawService, context: ObjectContext): Service {
  const spec = raw.spec ?? {};
  const clusterIPs = listOf(spec.clusterIPs);
  const ingressIPs = listOf(raw.status?.loadBalancer?.ingress).map((entry) => entry.ip ?? '');
  return {
    kind: 'Service',
    meta: objectMeta(raw.metadata, context),
    type: spec.type || 'ClusterIP',
    clusterIPs: withoutNone(clusterIPs.length > 0 ? clusterIPs : [spec.clusterIP ?? '']),
    externalIPs: listOf(spec.externalIPs),
    loadBalancerIPs: [...new Set(withoutNone([spec.loadBalancerIP ?? '', ...ingressIPs]))],
    selector: stringMap(spec.selector),
    ports: listOf(spec.ports).map((port) => ({
      name: port.name ?? '',
      protocol: port.protocol || 'TCP',
      port: port.port ?? 0,
      nodePort: port.nodePort || undefined,
    })),
  };
}

/** A headless service has the cluster address `None`. */
function withoutNone(addresses: readonly string[]): readonly string[] {
  return addresses.filter((address) => address !== '' && address !== 'None');
}

export interface RawEndpointSlice extends RawObject {
  readonly addressType?: Opt<string>;
  readonly endpoints?: Opt<readonly { readonly addresses?: Opt<readonly string[]> }[]>;
  readonly ports?: Opt<
    readonly { readonly name?: Opt<string>; readonly protocol?: Opt<string>; readonly port?: Opt<number> }[]
  >;
}

export function convertEndpointSlice(raw: RawEndpointSlice, context: ObjectContext): EndpointSlice {
  const meta = objectMeta(raw.metadata, context);
  return {
    kind: 'EndpointSlice',
    meta,
    serviceName: meta.labels.get('kubernetes.io/service-name') ?? '',
    addressType: raw.addressType ?? '',
    addresses: listOf(raw.endpoints).flatMap((endpoint) => listOf(endpoint.addresses)),
    ports: listOf(raw.ports).map((port) => ({
      name: port.name ?? '',
      protocol: port.protocol || 'TCP',
      port: port.port ?? undefined,
    })),
  };
}
