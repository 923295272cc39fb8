/** Random rules of Calico policies and profiles: every field of semantics section 3. */
import fc from 'fast-check';
import type { Fields } from '../rows/objects.ts';
import { fields, namespaceSelector, oneIn, pick, selector, some, sometimes } from './arbitraries.ts';
import { ACCOUNTS, ICMP_TYPES, NAMESPACES, NETS, PORT_NAMES, PORTS, SERVICES } from './pools.ts';

export type Direction = 'ingress' | 'egress';

/** What the protocol of a rule lets its other fields be. */
interface Shape {
  readonly protocol?: string | number;
  readonly ports: 'any' | 'named' | 'none';
  readonly icmp: boolean;
}

const shape: fc.Arbitrary<Shape> = fc.oneof(
  { weight: 4, arbitrary: fc.constant<Shape>({ ports: 'none', icmp: false }) },
  { weight: 2, arbitrary: fc.constant<Shape>({ ports: 'named', icmp: false }) },
  {
    weight: 8,
    arbitrary: pick(['TCP', 'TCP', 'UDP', 'SCTP', 6, 17, 132, '6']).map(
      (protocol): Shape => ({ protocol, ports: 'any', icmp: false }),
    ),
  },
  {
    weight: 3,
    arbitrary: pick(['ICMP', 'ICMPv6', 1, 58]).map((protocol): Shape => ({ protocol, ports: 'none', icmp: true })),
  },
  {
    weight: 1,
    arbitrary: pick(['UDPLite', 136, 4, 47, 255]).map((protocol): Shape => ({ protocol, ports: 'none', icmp: false })),
  },
);

const portNumber = fc.oneof(
  { weight: 4, arbitrary: pick<number | string>(PORTS) },
  { weight: 1, arbitrary: pick<number | string>(['80:81', '1:1024', '81:65535', '53']) },
);
const portName = pick<number | string>(PORT_NAMES);
const anyPort = fc.oneof({ weight: 3, arbitrary: portNumber }, { weight: 1, arbitrary: portName });

/** `versions`: 0 IPv4, 1 IPv6, 2 both, which the API refuses and plain CRD writes can hold. */
function nets(version: number): fc.Arbitrary<string[]> {
  if (version < 2) return some(pick(NETS.map((pair) => pair[version]!)), 2);
  return some(pick(NETS.flat()), 3);
}

function entity(of: Shape, version: number, isFar: boolean, direction: Direction): fc.Arbitrary<Fields> {
  const port = of.ports === 'any' ? anyPort : of.ports === 'named' ? portName : undefined;
  const none = fc.constant(undefined);
  const ports = (n: number) => (port === undefined ? none : sometimes(n, some(port, 3)));
  const byLabels = fields({
    nets: sometimes(5, nets(version)),
    notNets: sometimes(
      8,
      nets(version).map((list) => list.filter((net) => !net.endsWith('/0'))),
    ),
    selector: sometimes(3, selector),
    notSelector: sometimes(6, selector),
    namespaceSelector: sometimes(5, namespaceSelector),
    serviceAccounts: sometimes(
      6,
      fields({ names: sometimes(2, some(pick(ACCOUNTS), 2)), selector: sometimes(2, selector) }),
    ),
    ports: ports(isFar === (direction === 'egress') ? 3 : 12),
    notPorts: ports(12),
  });
  if (!isFar) return byLabels;
  const services = fields({
    services: fields({ name: pick(SERVICES), namespace: sometimes(1.1, pick(NAMESPACES.slice(0, 2))) }),
    ports: direction === 'ingress' ? ports(6) : none,
  });
  return fc.oneof({ weight: 12, arbitrary: byLabels }, { weight: 1, arbitrary: services });
}

const icmpMatch = fields({ type: pick(ICMP_TYPES), code: sometimes(3, pick([0, 1])) });

/** One rule. Some are such as the API refuses; a strict load leaves those policies out. */
function rule(direction: Direction): fc.Arbitrary<Fields> {
  return fc.tuple(shape, pick([0, 0, 0, 1, 1, 1, 2])).chain(([of, version]) => {
    const implied = of.icmp ? (of.protocol === 'ICMP' || of.protocol === 1 ? 4 : 6) : undefined;
    const family = implied === undefined ? version : implied === 4 ? 0 : 1;
    const ipVersion = implied ?? (version < 2 ? [4, 6][version] : undefined);
    return fields({
      action: pick(['Allow', 'Allow', 'Allow', 'Deny', 'Deny', 'Pass', 'Log']),
      protocol: fc.constant(of.protocol),
      notProtocol: sometimes(12, pick<string | number>(['TCP', 'UDP', 'ICMP', 'ICMPv6', 17, 47])).map((value) =>
        // The API knows no rule that is of one IP version and not of the other version's ICMP.
        ipVersion !== undefined && (value === 'ICMP' || value === 'ICMPv6') ? undefined : value,
      ),
      ipVersion: sometimes(8, fc.constant(ipVersion)),
      icmp: of.icmp ? sometimes(2, icmpMatch) : fc.constant(undefined),
      notICMP: of.icmp ? sometimes(4, icmpMatch) : sometimes(20, icmpMatch),
      source: sometimes(1.5, entity(of, family, direction === 'ingress', direction)),
      destination: sometimes(1.5, entity(of, family, direction === 'egress', direction)),
    });
  });
}

/** A rule list: often a narrow rule before a wide one. */
export function rules(direction: Direction): fc.Arbitrary<Fields[]> {
  return fc
    .tuple(fc.array(rule(direction), { maxLength: 4 }), oneIn(4))
    .map(([list, hasWide]) => (hasWide ? [...list, { action: 'Allow' }] : list));
}
