/**
 * Host endpoints, and network sets.
 *
 * A HostEndpoint's labels are taken as they are: nothing is added, nothing stripped, so one labelled
 * `projectcalico.org/namespace: app` is selected by policies of `app`. As a peer it contributes its `expectedIPs` alone.
 * One port with a protocol that Felix does not take (a number, corner case 27) makes Felix ignore the whole object.
 *
 * A NetworkSet carries its namespace as a label and inherits the labels of the namespace, a GlobalNetworkSet has its own
 * labels alone. Members are prefixes; a /0 is stored as its two halves, because the kernel's sets cannot hold a /0.
 * Source: Calico updateprocessors/hostendpointprocessor.go, networksetprocessor.go, globalnetworksetprocessor.go,
 * typha/pkg/validator/v1/validator.go (validateBackendEndpointPort), felix/labelindex/named_port_index.go;
 * semantics 2.4, 2.5.
 */
import { fullPrefix, parseAddress, parsePrefixOrAddress } from '../base/ip.ts';
import type { HostEndpoint, NetworkSet } from '../model/resources.ts';
import type { Converted } from './draft.ts';
import type { GroupIdentities, GroupIdentity } from './groups.ts';
import { type AskedLabels, networkSetOwnLabels } from './labels.ts';
import type { NamedPort, PlanWarning, Prefix } from './plan.ts';
import { type EndpointDraft, UNPLACED } from './pods.ts';
import { namespaceProfileName } from './profiles.ts';
import { portProtocolNumber } from './protocols.ts';
import { warning } from './warnings.ts';

/** No value if Felix ignores it. */
export function hostEndpointDraft(
  host: HostEndpoint,
  askedLabels: AskedLabels,
  identities: GroupIdentities,
): Converted<EndpointDraft> {
  const ports: NamedPort[] = [];
  for (const [i, port] of host.ports.entries()) {
    const protocol = typeof port.protocol === 'string' ? portProtocolNumber(port.protocol) : undefined;
    if (protocol === undefined) {
      const message = `'${port.protocol}' is not TCP, UDP or SCTP: Felix ignores the whole host endpoint`;
      return { value: undefined, warnings: [warning(host, `spec.ports[${i}].protocol`, message, 'write the name')] };
    }
    ports.push({ name: port.name, protocol, port: port.port });
  }
  const warnings: PlanWarning[] = [];
  const addresses: Prefix[] = [];
  for (const [i, text] of host.expectedIPs.entries()) {
    const address = parseAddress(text);
    if (address !== undefined) addresses.push(fullPrefix(address));
    else
      warnings.push(
        warning(host, `spec.expectedIPs[${i}]`, `'${text}' is no address and is skipped`, 'write an address'),
      );
  }
  const { name, uid, origin } = host.meta;
  const asked = askedLabels.of(host.meta.labels);
  const value: EndpointDraft = {
    key: `hep:${name}`,
    kind: 'hep',
    namespace: '',
    name,
    node: host.node,
    serviceAccount: '',
    uid,
    labels: host.meta.labels,
    addresses,
    spans: undefined,
    interfaceName: host.interfaceName,
    allowedSources: [],
    group: UNPLACED,
    origin,
    identity: identities.of('hep', asked, host.profiles, ports),
    allowedSourcePrefixes: [],
    floatingAddresses: [],
  };
  return { value, warnings };
}

export interface NetworkSetDraft {
  /** `ns:NS/NAME` or `gns:NAME`. */
  readonly key: string;
  readonly prefixes: readonly Prefix[];
  readonly identity: GroupIdentity;
}

export function networkSetDraft(
  set: NetworkSet,
  askedLabels: AskedLabels,
  identities: GroupIdentities,
): Converted<NetworkSetDraft> {
  const warnings: PlanWarning[] = [];
  const prefixes: Prefix[] = [];
  for (const [i, text] of set.nets.entries()) {
    const prefix = parsePrefixOrAddress(text);
    if (prefix !== undefined) prefixes.push(...withoutZeroLength(prefix));
    else warnings.push(warning(set, `spec.nets[${i}]`, `'${text}' is no CIDR and is skipped`, 'write a CIDR'));
  }
  const { namespace, name, labels } = set.meta;
  const isGlobal = set.kind === 'GlobalNetworkSet';
  const own = askedLabels.of(networkSetOwnLabels(labels, isGlobal ? '' : namespace));
  const profiles = isGlobal ? [] : [namespaceProfileName(namespace)];
  const key = isGlobal ? `gns:${name}` : `ns:${namespace}/${name}`;
  return { value: { key, prefixes, identity: identities.of('ns', own, profiles, []) }, warnings };
}

/** A /0 as the two /1 it consists of. */
function withoutZeroLength(prefix: Prefix): Prefix[] {
  if (prefix.length > 0) return [prefix];
  const { version } = prefix;
  return [
    { version, words: [0, 0, 0, 0], length: 1 },
    { version, words: [-0x8000_0000, 0, 0, 0], length: 1 },
  ];
}
