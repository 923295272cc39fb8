/**
 * The tiny pools that random worlds and flows draw from: two or three values of each kind, so that rules overlap, hits
 * are common, and IPv4 and IPv6 are alike. Every list of IPv4 values has its IPv6 twin at the same index.
 */

export const NAMESPACES = ['app', 'dev', 'ops'] as const;
export const ACCOUNTS = ['api', 'web', 'default'] as const;
export const NODES = ['n1', 'n2'] as const;

/** Addresses that pods have: numbers 0-4 are meant for n1, 5-9 for n2. */
export const POD_ADDRESSES: readonly (readonly [string, string])[] = Array.from({ length: 10 }, (_, index) => {
  const net = index < 5 ? 0 : 1;
  const host = (index % 5) + 1;
  return [`10.0.${net}.${host}`, `fd00:${net}::${host}`] as const;
});

export const NODE_ADDRESSES: readonly (readonly [string, string])[] = [
  ['192.168.0.1', 'fd00:ffff::1'],
  ['192.168.0.2', 'fd00:ffff::2'],
];

/** Of nobody, but inside nets below; the last two are addresses of services. */
export const OTHER_ADDRESSES: readonly (readonly [string, string])[] = [
  ['203.0.113.9', '2001:db8::9'],
  ['203.0.113.77', '2001:db8:0:1::1'],
  ['198.51.100.1', '2001:db9::1'],
  ['10.0.0.200', 'fd00::c8'],
  ['10.96.0.1', 'fd00:96::1'],
  ['10.96.0.2', 'fd00:96::2'],
];

export const NETS: readonly (readonly [string, string])[] = [
  ['10.0.0.0/24', 'fd00::/64'],
  ['10.0.0.0/30', 'fd00::/126'],
  ['10.0.0.1/32', 'fd00::1/128'],
  ['10.0.1.0/29', 'fd00:1::/125'],
  ['10.0.0.0/8', 'fd00::/16'],
  ['0.0.0.0/0', '::/0'],
  ['0.0.0.0/1', '::/1'],
  ['192.168.0.0/24', 'fd00:ffff::/64'],
  ['203.0.113.9/32', '2001:db8::9/128'],
  ['203.0.113.0/24', '2001:db8::/32'],
];

export const LABEL_KEYS = ['app', 'env', 'role'] as const;
export const LABEL_VALUES = ['a', 'b', 'ab'] as const;

/** Labels that Calico itself gives or strips, which users may write on their objects all the same. */
export const SPECIAL_LABELS: readonly (readonly [string, string])[] = [
  ['projectcalico.org/namespace', 'app'],
  ['projectcalico.org/serviceaccount', 'api'],
  ['projectcalico.org/orchestrator', 'vm'],
  ['pcns.env', 'a'],
  ['pcsa.env', 'b'],
];

export const SPECIAL_KEYS = [
  'projectcalico.org/namespace',
  'projectcalico.org/serviceaccount',
  'projectcalico.org/orchestrator',
  'pcns.env',
  'pcsa.env',
  'pcns.projectcalico.org/name',
  'kubernetes.io/metadata.name',
  'projectcalico.org/name',
] as const;

export const SPECIAL_VALUES = ['app', 'dev', 'api', 'k8s'] as const;

export const TIERS = ['default', 't1', 't2', 'ghost', 'kube-admin'] as const;

/** 22, 53 and 68 are failsafe ports, 4789 is VXLAN's. */
export const PORTS = [80, 81, 8080, 53, 22, 4789, 68] as const;
export const PORT_NAMES = ['http', 'dns'] as const;
export const PORT_PROTOCOLS = ['TCP', 'UDP', 'SCTP'] as const;
export const ICMP_TYPES = [8, 128, 0, 3, 135] as const;
export const OTHER_PROTOCOLS = [136, 4, 47, 50, 255] as const;
export const SERVICES = ['web', 'dns'] as const;
export const PROFILES = ['prof-a', 'prof-b', 'projectcalico-default-allow', 'missing'] as const;
