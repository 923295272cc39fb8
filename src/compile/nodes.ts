/**
 * Nodes: their addresses, which host endpoint governs their uplink, and Felix's settings on them.
 *
 * A node's uplink is the interface through which everything passes that is not between its own pods and itself. Nothing
 * in the objects names it, so (semantics 2.4, 6.1): it is governed by an explicit host endpoint, one with an interface
 * name other than `*`, or one without interface name that expects an address, since what it expects is an address of the
 * node; of several the smallest name wins, match by name and match by address being equal. Only without one does the wildcard endpoint govern it. Pod interfaces
 * are governed by the wildcard endpoint alone.
 *
 * Worked example: `b` (eth0), `a` (by address), `all` (`*`): `a` governs the uplink, `all` the pods' interfaces.
 * Source: Calico felix/dataplane/linux/endpoint_mgr.go (resolveHostEndpoints), felix/config/config_params.go.
 */
import { compareBytewise } from '../base/bytewise.ts';
import { fullPrefix, parseAddress, parsePrefix } from '../base/ip.ts';
import { PROTOCOL_TCP, PROTOCOL_UDP } from '../model/flow.ts';
import type { FailsafePort, FelixConfiguration, Node } from '../model/resources.ts';
import { sortedPrefixes } from './ip-sets.ts';
import type {
  PlanEndpoint,
  PlanFailsafe,
  PlanNode,
  PlanRejectedPod,
  PlanSettings,
  PlanWarning,
  Prefix,
} from './plan.ts';
import { warning } from './warnings.ts';

/** Felix's settings for a node, with what concerns the pods themselves. */
export interface NodeSettings {
  readonly plan: PlanSettings;
  /** `WorkloadSourceSpoofing: Any`. */
  readonly isSpoofingAllowed: boolean;
  readonly isFloatingEnabled: boolean;
}

/** All nodes that an object describes or a pod, refused ones included, or host endpoint names, by name. */
export function planNodes(
  nodes: readonly Node[],
  endpoints: readonly PlanEndpoint[],
  rejectedPods: readonly PlanRejectedPod[],
  settingsOf: (node: string) => NodeSettings,
): PlanNode[] {
  const nodeByName = new Map(nodes.map((node) => [node.meta.name, node]));
  const hostsByNode = new Map<string, number[]>();
  const names = new Set([...nodeByName.keys(), ...rejectedPods.map(({ node }) => node)]);
  let last = '';
  for (let index = 0; index < endpoints.length; index++) {
    const { kind, node } = endpoints[index]!;
    if (node === '' || (node === last && kind === 'wep')) continue;
    last = node;
    names.add(node);
    if (kind === 'hep') hostsByNode.set(node, [...(hostsByNode.get(node) ?? []), index]);
  }
  return [...names].sort(compareBytewise).map((name) => {
    const node = nodeByName.get(name);
    const hosts = hostsByNode.get(name) ?? [];
    const own = sortedPrefixes((node?.addresses ?? []).flatMap(parseFull));
    return {
      name,
      addresses: sortedPrefixes([...own, ...hosts.flatMap((index) => endpoints[index]!.addresses)]),
      ...governingEndpoints(endpoints, hosts),
      podCidrs: sortedPrefixes((node?.podCIDRs ?? []).flatMap((text) => parsePrefix(text) ?? [])),
      settings: settingsOf(name).plan,
    };
  });
}

function parseFull(text: string): Prefix[] {
  const address = parseAddress(text);
  return address === undefined ? [] : [fullPrefix(address)];
}

/**
 * `hosts` are the node's host endpoints by name (the endpoints of a plan are sorted). What they expect are addresses of
 * the node (semantics 6.1), so one that expects any governs by address if it names no interface.
 */
function governingEndpoints(
  endpoints: readonly PlanEndpoint[],
  hosts: readonly number[],
): Pick<PlanNode, 'uplinkEndpoint' | 'isUplinkExplicit' | 'wildcardEndpoint'> {
  const isExplicit = (index: number): boolean => {
    const { interfaceName, addresses } = endpoints[index]!;
    return interfaceName === '' ? addresses.length > 0 : interfaceName !== '*';
  };
  const explicit = hosts.find(isExplicit);
  const wildcard = hosts.find((index) => endpoints[index]!.interfaceName === '*') ?? -1;
  return {
    uplinkEndpoint: explicit ?? wildcard,
    isUplinkExplicit: explicit !== undefined,
    wildcardEndpoint: wildcard,
  };
}

/** Settings of any node: FelixConfiguration `default`, overridden field by field by `node.NAME`, defaults filled in. */
export function nodeSettings(
  configurations: readonly FelixConfiguration[],
  warnings: PlanWarning[],
): (node: string) => NodeSettings {
  const byName = new Map(configurations.map((configuration) => [configuration.meta.name, configuration]));
  for (const configuration of configurations) warnings.push(...failsafeWarnings(configuration));
  const common = mergedSettings(byName.get('default'), undefined);
  const byNode = new Map<string, NodeSettings>();
  return (node) => {
    const own = byName.get(`node.${node}`);
    if (own === undefined) return common;
    const known = byNode.get(node) ?? mergedSettings(byName.get('default'), own);
    byNode.set(node, known);
    return known;
  };
}

type FelixField = Exclude<keyof FelixConfiguration, 'kind' | 'meta'>;

function mergedSettings(global: FelixConfiguration | undefined, own: FelixConfiguration | undefined): NodeSettings {
  const value = <F extends FelixField>(field: F): FelixConfiguration[F] | undefined => own?.[field] ?? global?.[field];
  const action = value('defaultEndpointToHostAction') ?? 'Accept';
  return {
    plan: {
      // Differs: Felix's built-in default is Drop; the manifests that clusters are installed from say Accept.
      defaultEndpointToHostAction: action === 'Drop' ? 'drop' : action === 'Return' ? 'return' : 'accept',
      failsafeInbound: planFailsafes(value('failsafeInboundHostPorts')) ?? DEFAULT_FAILSAFE_INBOUND,
      failsafeOutbound: planFailsafes(value('failsafeOutboundHostPorts')) ?? DEFAULT_FAILSAFE_OUTBOUND,
      vxlanPort: value('vxlanPort') ?? 4789,
      allowVxlanFromWorkloads: value('allowVXLANPacketsFromWorkloads') ?? false,
      allowIpipFromWorkloads: value('allowIPIPPacketsFromWorkloads') ?? false,
      disableConntrackInvalidCheck: value('disableConntrackInvalidCheck') ?? false,
      ipv6Support: value('ipv6Support') ?? true,
      serviceLoopPrevention: value('serviceLoopPrevention') !== 'Disabled',
      vxlanEnabled: value('vxlanEnabled') ?? false,
      ipipEnabled: value('ipipEnabled') ?? false,
      interfacePrefixes: interfacePrefixes(value('interfacePrefix') ?? ''),
    },
    isSpoofingAllowed: value('workloadSourceSpoofing') === 'Any',
    isFloatingEnabled: value('floatingIPs') === 'Enabled',
  };
}

/** Source: Calico felix/config/config_params.go, InterfacePrefix. */
function interfacePrefixes(text: string): readonly string[] {
  const prefixes = text
    .split(',')
    .map((prefix) => prefix.trim())
    .filter((prefix) => prefix !== '');
  return prefixes.length === 0 ? ['cali'] : prefixes;
}

const failsafe = (protocol: number, port: number): PlanFailsafe => ({ protocol, port, net: undefined });
const tcpFailsafes = (...ports: number[]): PlanFailsafe[] => ports.map((port) => failsafe(PROTOCOL_TCP, port));

/** Source: Calico felix/config/config_params.go, FailsafeInboundHostPorts and FailsafeOutboundHostPorts. */
const DEFAULT_FAILSAFE_INBOUND: readonly PlanFailsafe[] = [
  ...tcpFailsafes(22, 179, 2379, 2380, 5473, 6443, 6666, 6667),
  failsafe(PROTOCOL_UDP, 68),
];
const DEFAULT_FAILSAFE_OUTBOUND: readonly PlanFailsafe[] = [
  failsafe(PROTOCOL_UDP, 53),
  failsafe(PROTOCOL_UDP, 67),
  ...tcpFailsafes(179, 2379, 2380, 5473, 6443, 6666, 6667),
];

/** `undefined` if the list is absent or Felix cannot read it; it then falls back to its default as a whole. */
function planFailsafes(ports: readonly FailsafePort[] | undefined): PlanFailsafe[] | undefined {
  if (ports === undefined) return undefined;
  const parsed: PlanFailsafe[] = [];
  for (const port of ports) {
    const item = planFailsafe(port);
    if (item === undefined) return undefined;
    parsed.push(item);
  }
  return parsed;
}

function planFailsafe({ protocol, port, net }: FailsafePort): PlanFailsafe | undefined {
  const number = FAILSAFE_PROTOCOLS.get(protocol.toLowerCase());
  const prefix = net === '' ? undefined : parsePrefix(net);
  if (number === undefined || (net !== '' && prefix === undefined)) return undefined;
  return { protocol: number, port, net: prefix };
}

const FAILSAFE_PROTOCOLS: ReadonlyMap<string, number> = new Map([
  ['', PROTOCOL_TCP],
  ['tcp', PROTOCOL_TCP],
  ['udp', PROTOCOL_UDP],
]);

function failsafeWarnings(configuration: FelixConfiguration): PlanWarning[] {
  return (['failsafeInboundHostPorts', 'failsafeOutboundHostPorts'] as const).flatMap((field) => {
    const bad = configuration[field]?.findIndex((port) => planFailsafe(port) === undefined) ?? -1;
    if (bad < 0) return [];
    const message = 'Felix cannot read this entry and uses its default list';
    return [warning(configuration, `spec.${field}[${bad}]`, message, 'write tcp or udp, and a CIDR')];
  });
}
