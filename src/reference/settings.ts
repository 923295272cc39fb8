/** Felix's settings of one node (semantics 6.6, section 11): those of the node, else those of the cluster, else the defaults. */
import { type IpPrefix, parsePrefixOrAddress } from '../base/ip.ts';
import type { FailsafePort, FelixConfiguration, Resources } from '../model/resources.ts';
import { protocolNumber } from './packet.ts';

export interface Failsafe {
  readonly protocol: number;
  readonly port: number;
  /** Of the remote side; `undefined` = any. */
  readonly net: IpPrefix | undefined;
}

export interface Settings {
  readonly defaultEndpointToHostAction: 'Drop' | 'Return' | 'Accept';
  readonly failsafeInbound: readonly Failsafe[];
  readonly failsafeOutbound: readonly Failsafe[];
  readonly vxlanPort: number;
  readonly allowVxlanFromWorkloads: boolean;
  readonly allowIpipFromWorkloads: boolean;
  readonly canSpoof: boolean;
  readonly ignoreInvalid: boolean;
  readonly blocksServiceLoops: boolean;
  readonly ipv6: boolean;
  /** Calico's own tunnels, where the configuration says so. */
  readonly hasVxlan: boolean;
  readonly hasIpip: boolean;
}

export function settingsOfNode(resources: Resources, node: string): Settings {
  const named = (name: string): FelixConfiguration | undefined =>
    resources.felixConfigurations.find((configuration) => configuration.meta.name === name);
  const own = named(`node.${node}`);
  const shared = named('default');
  function setting<K extends keyof FelixConfiguration>(key: K): FelixConfiguration[K] | undefined {
    return own?.[key] ?? shared?.[key];
  }
  return {
    // Felix's built-in default is Drop, the shipped manifests set Accept (semantics 10.8).
    defaultEndpointToHostAction: setting('defaultEndpointToHostAction') ?? 'Accept',
    failsafeInbound: failsafes(setting('failsafeInboundHostPorts'), DEFAULT_INBOUND),
    failsafeOutbound: failsafes(setting('failsafeOutboundHostPorts'), DEFAULT_OUTBOUND),
    vxlanPort: setting('vxlanPort') ?? 4789,
    allowVxlanFromWorkloads: setting('allowVXLANPacketsFromWorkloads') ?? false,
    allowIpipFromWorkloads: setting('allowIPIPPacketsFromWorkloads') ?? false,
    canSpoof: setting('workloadSourceSpoofing') === 'Any',
    ignoreInvalid: setting('disableConntrackInvalidCheck') ?? false,
    blocksServiceLoops: setting('serviceLoopPrevention') !== 'Disabled',
    ipv6: setting('ipv6Support') ?? true,
    hasVxlan: setting('vxlanEnabled') ?? false,
    hasIpip: setting('ipipEnabled') ?? false,
  };
}

const DEFAULT_INBOUND = 'tcp:22 tcp:179 tcp:2379 tcp:2380 tcp:5473 tcp:6443 tcp:6666 tcp:6667 udp:68';
const DEFAULT_OUTBOUND = 'udp:53 udp:67 tcp:179 tcp:2379 tcp:2380 tcp:5473 tcp:6443 tcp:6666 tcp:6667';

function failsafes(written: readonly FailsafePort[] | undefined, defaults: string): Failsafe[] {
  const ports =
    written ??
    defaults.split(' ').map((text) => {
      const [protocol, port] = text.split(':');
      return { protocol: protocol!, port: Number(port), net: '' };
    });
  return ports.map(({ protocol, port, net }) => ({
    protocol: protocolNumber(protocol === '' ? 'tcp' : protocol) ?? -1,
    port,
    net: net === '' ? undefined : parsePrefixOrAddress(net),
  }));
}
