/** Random policies of every kind. */
import fc from 'fast-check';
import {
  clusterPolicy,
  type Document,
  type Fields,
  globalPolicy,
  kubernetesPolicy,
  networkPolicy,
  staged,
  tier,
} from '../rows/objects.ts';
import { fields, labelSelector, oneIn, pick, selector, some, sometimes } from './arbitraries.ts';
import { NAMESPACES, NETS, PORT_NAMES, PORTS, TIERS } from './pools.ts';
import { rules } from './rules.ts';

const types = pick([['Ingress'], ['Egress'], ['Ingress', 'Egress'], ['Ingress', 'Egress'], undefined]);
const order = pick([undefined, 1, 1, 2, 2.5, -1, 1000]);
const namespace = pick(NAMESPACES);

const common = {
  tier: sometimes(1.5, pick(TIERS)),
  order,
  selector: sometimes(1.3, selector),
  serviceAccountSelector: sometimes(8, selector),
  types,
  ingress: sometimes(1.3, rules('ingress')),
  egress: sometimes(1.3, rules('egress')),
};

/** Half of the global policies are plain; the others are for host endpoints. */
const special: fc.Arbitrary<Fields> = pick([
  {},
  {},
  {},
  { applyOnForward: true },
  { applyOnForward: true },
  { doNotTrack: true, applyOnForward: true },
  { preDNAT: true, applyOnForward: true },
]);

const globalSpec = fc
  .tuple(fields({ ...common, namespaceSelector: sometimes(6, selector) }), special)
  .map(([spec, more]): Fields => {
    const merged: Record<string, unknown> = { ...spec, ...more };
    if (merged.preDNAT === true) {
      delete merged.egress;
      merged.types = ['Ingress'];
    }
    return merged;
  });

const stagedAction = sometimes(3, pick(['Set', 'Learn', 'Ignore', 'Set']));

/** Names that sort on both sides of the separator (semantics 4.2). */
const names = ['web', 'web-x', 'web0', 'p'];

function named(index: number): string {
  return `${names[index % names.length]!}${index < names.length ? '' : Math.floor(index / names.length)}`;
}

const port = fields({
  protocol: sometimes(1.5, pick(['TCP', 'UDP', 'SCTP'])),
  port: sometimes(1.3, pick<number | string>([...PORTS, ...PORT_NAMES])),
});

/** `endPort` needs a number before it. */
const rangedPort = fc
  .tuple(port, oneIn(5))
  .map(([entry, isRange]) =>
    isRange && typeof entry.port === 'number' ? { ...entry, endPort: entry.port + 1 } : entry,
  );

const exceptions = [
  ['10.0.0.0/8', ['10.0.0.0/30', '10.0.1.0/29']],
  ['203.0.113.0/24', ['203.0.113.9/32']],
  ['0.0.0.0/0', ['10.0.0.0/8', '0.0.0.0/1']],
  ['fd00::/16', ['fd00::/64', 'fd00:1::/125']],
  ['2001:db8::/32', ['2001:db8::9/128']],
  ['::/0', ['fd00::/16', '::/1']],
] as const;

const ipBlock = fc.tuple(pick(exceptions), oneIn(2), oneIn(2)).map(([[cidr, parts], first, second]): Fields => {
  const except = [...(first ? [parts[0]] : []), ...(second && parts.length > 1 ? [parts[1]!] : [])];
  return except.length > 0 ? { cidr, except } : { cidr };
});

const kubernetesPeer = fc.oneof(
  { weight: 2, arbitrary: fc.record({ podSelector: labelSelector }) },
  { weight: 2, arbitrary: fc.record({ namespaceSelector: labelSelector }) },
  { weight: 1, arbitrary: fc.record({ podSelector: labelSelector, namespaceSelector: labelSelector }) },
  { weight: 2, arbitrary: fc.record({ ipBlock }) },
);

function kubernetesRules(side: 'from' | 'to'): fc.Arbitrary<Fields[]> {
  return fc.array(
    fields({ [side]: sometimes(1.2, some(kubernetesPeer, 2)), ports: sometimes(2, some(rangedPort, 3)) }),
    {
      maxLength: 2,
    },
  );
}

const kubernetesSpec = fields({
  podSelector: labelSelector,
  policyTypes: types,
  ingress: sometimes(1.2, kubernetesRules('from')),
  egress: sometimes(1.5, kubernetesRules('to')),
});

const pods = fc.record({ namespaceSelector: labelSelector, podSelector: labelSelector });
const ingressPeer = fc.oneof(fc.record({ namespaces: labelSelector }), fc.record({ pods }));
const egressPeer = fc.oneof(
  { weight: 3, arbitrary: ingressPeer },
  { weight: 2, arbitrary: fc.record({ networks: some(pick(NETS.flat()), 2) }) },
  { weight: 1, arbitrary: pick([{ nodes: {} }, { domainNames: ['example.com'] }]) },
);
const destinationPort = pick<Fields | undefined>([
  undefined,
  { number: 80 },
  { number: 53 },
  { range: { start: 80, end: 81 } },
]);
const clusterProtocol = fc
  .tuple(pick(['tcp', 'udp', 'sctp', 'name']), destinationPort, pick(PORT_NAMES))
  .map(([kind, match, name]): Fields => {
    if (kind === 'name') return { destinationNamedPort: name };
    return { [kind]: match === undefined ? {} : { destinationPort: match } };
  });

function clusterRules(side: 'from' | 'to'): fc.Arbitrary<Fields[]> {
  const peer: fc.Arbitrary<unknown> = side === 'from' ? ingressPeer : egressPeer;
  const action = pick(['Accept', 'Deny', 'Pass']);
  return fc.array(fields({ action, [side]: some(peer, 2), protocols: sometimes(2, some(clusterProtocol, 2)) }), {
    maxLength: 2,
  });
}

const clusterSpec = fields({
  tier: pick(['Admin', 'Baseline']),
  priority: pick([0, 1, 1000]),
  subject: fc.oneof(fc.record({ namespaces: labelSelector }), fc.record({ pods })),
  ingress: sometimes(1.2, clusterRules('from')),
  egress: sometimes(1.5, clusterRules('to')),
});

const withAction = (spec: fc.Arbitrary<Fields>): fc.Arbitrary<Fields> =>
  fc
    .tuple(spec, stagedAction)
    .map(([value, action]) => (action === undefined ? value : { ...value, stagedAction: action }));

type Maker = (index: number) => Document;

const oneOfEachKind: fc.Arbitrary<Maker> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.tuple(namespace, fields(common)).map(
      ([ns, spec]): Maker =>
        (index) =>
          networkPolicy(`${ns}/${named(index)}`, spec),
    ),
  },
  {
    weight: 6,
    arbitrary: globalSpec.map(
      (spec): Maker =>
        (index) =>
          globalPolicy(named(index), spec),
    ),
  },
  {
    weight: 3,
    arbitrary: fc.tuple(namespace, kubernetesSpec).map(
      ([ns, spec]): Maker =>
        (index) =>
          kubernetesPolicy(`${ns}/${named(index)}`, spec),
    ),
  },
  {
    weight: 2,
    arbitrary: clusterSpec.map(
      (spec): Maker =>
        (index) =>
          clusterPolicy(named(index), spec),
    ),
  },
  {
    weight: 2,
    arbitrary: fc.tuple(namespace, withAction(fields(common))).map(
      ([ns, spec]): Maker =>
        (index) =>
          staged('StagedNetworkPolicy', `${ns}/${named(index)}`, spec),
    ),
  },
  {
    weight: 2,
    arbitrary: withAction(globalSpec).map(
      (spec): Maker =>
        (index) =>
          staged('StagedGlobalNetworkPolicy', named(index), spec),
    ),
  },
  {
    weight: 1,
    arbitrary: fc.tuple(namespace, withAction(kubernetesSpec)).map(
      ([ns, spec]): Maker =>
        (index) =>
          staged('StagedKubernetesNetworkPolicy', `${ns}/${named(index)}`, spec),
    ),
  },
);

/** Policies of one world; names come from their place, so they never collide. */
export const policies: fc.Arbitrary<Document[]> = fc
  .array(oneOfEachKind, { minLength: 1, maxLength: 9 })
  .map((makers) => makers.map((make, index) => make(index)));

const tierSpec = fields({
  order: pick([undefined, 1, 500, 500, 1_000_000, 20_000_000]),
  defaultAction: pick(['Deny', 'Pass', undefined]),
});

/** `t1` and `t2` may have equal orders or be missing; `ghost` never exists. */
export const tiers: fc.Arbitrary<Document[]> = fc
  .tuple(sometimes(1.1, tierSpec), sometimes(1.1, tierSpec))
  .map((specs) => specs.flatMap((spec, index) => (spec === undefined ? [] : [tier(`t${index + 1}`, spec)])));
