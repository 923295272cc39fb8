/** A made-up node for tests of the page: sixty connections between nine accounts and the outside, with every verdict, and hostile names. */

import type {
  AccountGraph,
  AgentStatus,
  ApiRecord,
  Banner,
  ConfigValue,
  ExplainStep,
  Finding,
  FlowEntry,
  PolicyBoard,
  RateStep,
} from '../../src/agent/api.ts';

/** Would set a mark on the page if it were ever read as markup. */
export const HOSTILE = '<img src=x onerror="window.wasFooled=true">';
/** As long as Kubernetes lets a name be. */
export const LONG = `a-name-${'that-goes-on-'.repeat(19)}`.slice(0, 253);
export const START_MS = Date.parse('2026-03-04T10:00:00Z');

const ACCOUNTS = ['shop/web', 'shop/cart', 'shop/checkout', 'data/orders-db', 'data/cache', 'ops/prometheus'];

interface Talk {
  readonly from: string;
  readonly to: string;
  readonly port: number;
  readonly action: string;
  readonly finding?: 'leak' | 'blocked';
}

/** `net:ADDRESS` is somebody outside. */
const TALKS: readonly Talk[] = [
  { from: 'net:203.0.113.7', to: 'shop/web', port: 8443, action: 'allow' },
  { from: 'shop/web', to: 'shop/cart', port: 8080, action: 'allow' },
  { from: 'shop/web', to: 'shop/checkout', port: 8080, action: 'allow' },
  { from: 'shop/cart', to: 'data/cache', port: 6379, action: 'allow' },
  { from: 'shop/checkout', to: 'data/orders-db', port: 5432, action: 'allow' },
  { from: 'shop/web', to: 'data/orders-db', port: 5432, action: 'deny' },
  { from: 'shop/cart', to: 'data/orders-db', port: 5432, action: 'deny', finding: 'leak' },
  { from: 'ops/prometheus', to: 'shop/cart', port: 9090, action: 'allow', finding: 'blocked' },
  { from: 'ops/prometheus', to: 'data/orders-db', port: 9187, action: 'uncertain' },
  { from: 'shop/checkout', to: 'net:198.51.100.20', port: 443, action: 'allow' },
  { from: 'net:192.0.2.44', to: 'net:198.51.100.20', port: 53, action: 'unpoliced' },
  { from: 'data/orders-db', to: 'shop/checkout', port: 9000, action: 'deny' },
];

export const FLOWS: readonly FlowEntry[] = Array.from({ length: 60 }, (_, index) => {
  const talk = TALKS[index % TALKS.length]!;
  const finding = index < TALKS.length ? talk.finding : undefined;
  return {
    id: `flow-${index}`,
    isOpen: index % 3 === 0,
    generation: 7,
    ...(finding === undefined ? {} : { finding }),
    record: recordOf(talk, index),
  };
});

/** The last of the list, with names that nobody should trust. */
export const HOSTILE_FLOW: FlowEntry = {
  id: 'flow-hostile',
  isOpen: true,
  generation: 7,
  record: {
    ...recordOf(TALKS[1]!, 61),
    source_name: HOSTILE,
    source_service_account: HOSTILE,
    source_labels: { app: HOSTILE, [HOSTILE]: 'x' },
    dest_namespace: '"><script>window.wasFooled=true</script>',
    dest_service_account: LONG,
    reason: HOSTILE,
    observed: HOSTILE,
  },
};

function recordOf({ from, to, port, action }: Talk, index: number): ApiRecord {
  const at = (offset: number): string => new Date(START_MS + offset).toISOString();
  const isDeny = action === 'deny';
  const [src, dst] = [endOf(from, index), endOf(to, index)];
  return {
    start_time: at(index * 730),
    end_time: at(index * 730 + 4_200),
    proto: port === 53 ? 'udp' : 'tcp',
    source_ip: src.ip,
    source_port: 40_000 + index * 7,
    dest_ip: dst.ip,
    dest_port: port,
    source_type: src.pod ? 'wep' : 'net',
    ...(src.pod && {
      source_namespace: src.pod.namespace,
      source_name: src.pod.name,
      source_service_account: src.pod.account,
      source_labels: { app: src.pod.account },
    }),
    dest_type: dst.pod ? 'wep' : 'net',
    ...(dst.pod && {
      dest_namespace: dst.pod.namespace,
      dest_name: dst.pod.name,
      dest_service_account: dst.pod.account,
      dest_labels: { app: dst.pod.account },
    }),
    action,
    ...(isDeny ? { reason: 'end-of-tier' } : action === 'uncertain' ? { reason: 'stale-identity' } : {}),
    direction: 'ingress',
    egress: { action: 'allow', trace: ['0|__PROFILE__|pro:kns.shop|allow|0'] },
    ingress: {
      action: isDeny ? 'deny' : 'allow',
      trace: isDeny
        ? ['0|platform|gnp:platform.baseline|pass|2', '1|default|np:data/default.orders-db|deny|-1']
        : ['0|platform|gnp:platform.baseline|pass|2', '1|default|np:shop/default.web|allow|0'],
      ...(isDeny ? { selected_by: ['np:data/default.orders-db', 'np:data/default.also'] } : {}),
    },
    ...(isDeny ? { pending: { action: 'allow', ingress: ['0|default|snp:data/default.try|allow|0'] } } : {}),
    packets: 12 + index * 3,
    bytes: 4_096 + index * 977,
    observed: isDeny ? 'no-answer' : 'established',
    community_id: `1:${'abcdefghij'.repeat(2)}${index}=`,
  };
}

interface End {
  readonly ip: string;
  readonly pod?: { readonly namespace: string; readonly name: string; readonly account: string };
}

function endOf(name: string, index: number): End {
  if (name.startsWith('net:')) return { ip: name.slice(4) };
  const [namespace = '', account = ''] = name.split('/');
  return {
    ip: `10.0.${ACCOUNTS.indexOf(name)}.${10 + (index % 4)}`,
    pod: { namespace, name: `${account}-6c9f7b5d4-${'xkwqz'[index % 5]}${index % 4}`, account },
  };
}

export const STEPS: readonly ExplainStep[] = [
  {
    check: 'egress',
    tier: '__PROFILE__',
    policy: 'pro:kns.shop',
    action: 'allow',
    rule: 0,
    isDeciding: false,
  },
  {
    check: 'ingress',
    tier: 'platform',
    policy: 'gnp:platform.baseline',
    action: 'pass',
    rule: 2,
    isDeciding: false,
    source: 'policies/platform.yaml:31',
    snippet: [
      '29    - action: Pass',
      "30  # names are text, too: <img src=x onerror='window.wasFooled=true'>",
      '31    - action: Pass',
      '32      protocol: TCP',
    ].join('\n'),
  },
  {
    check: 'ingress',
    tier: 'default',
    policy: 'np:data/default.orders-db',
    action: 'deny',
    rule: -1,
    isDeciding: true,
    source: 'policies/orders-db.yaml:4',
    snippet: [
      ' 2  kind: NetworkPolicy',
      ' 3  metadata:',
      ' 4    name: default.orders-db',
      ' 5    namespace: data',
      ' 6  spec:',
      " 7    selector: app == 'orders-db'",
      ' 8    ingress:',
      ' 9    - action: Allow',
      '10      source:',
      "11        serviceAccounts: { names: ['checkout'], selector: \"a-very-long-label-name-that-goes-on == 'and-a-value-that-does-so-too'\" }",
    ].join('\n'),
  },
];

const JUDGED = [...FLOWS, { ...HOSTILE_FLOW, finding: 'leak' as const }];

export const FINDINGS: readonly Finding[] = JUDGED.filter(({ finding }) => finding !== undefined).map(
  ({ id, finding, record }) => ({
    id: `finding-${id}`,
    kind: finding!,
    time: record.end_time,
    flowId: id,
    record,
    rule: 'policies/orders-db.yaml:4',
    cause:
      finding === 'leak'
        ? 'The connection was there before the policy: the kernel lets established connections go on.'
        : 'Nobody listens on the port, or a firewall that is not Calico drops the packets.',
    evidence: ['SYN in packet 1043, SYN-ACK in packet 1044.', 'Data was acknowledged in packet 1047.'],
    isWeak: finding === 'blocked',
  }),
);

const RULE = { source: 'policies/platform.yaml:12' };

export const BOARD: PolicyBoard = {
  generation: 7,
  tiers: [
    {
      name: 'platform',
      order: 100,
      policies: [
        {
          name: 'gnp:platform.baseline',
          order: 10,
          isStaged: false,
          source: 'policies/platform.yaml:1',
          rules: [
            { direction: 'ingress', index: 0, action: 'deny', packets: 12, bytes: 768, ...RULE },
            { direction: 'ingress', index: 1, action: 'allow', packets: 0, bytes: 0, ...RULE },
            { direction: 'ingress', index: 2, action: 'pass', packets: 8_921, bytes: 6_120_332, ...RULE },
          ],
        },
        {
          name: 'sgnp:platform.try-to-close',
          order: 20,
          isStaged: true,
          rules: [{ direction: 'egress', index: 0, action: 'deny', packets: 41, bytes: 2_460 }],
        },
      ],
    },
    {
      name: 'default',
      order: 1_000_000,
      policies: [
        {
          name: 'np:data/default.orders-db',
          order: null,
          isStaged: false,
          source: 'policies/orders-db.yaml:1',
          rules: [
            { direction: 'ingress', index: 0, action: 'allow', packets: 4_018, bytes: 3_002_118 },
            { direction: 'ingress', index: -1, action: 'deny', packets: 388, bytes: 23_280 },
          ],
        },
        {
          name: `np:shop/${HOSTILE}${LONG}`,
          order: null,
          isStaged: false,
          rules: [{ direction: 'ingress', index: 0, action: 'allow', packets: 0, bytes: 0 }],
        },
      ],
    },
    { name: '__PROFILE__', order: null, policies: [] },
  ],
};

export const GRAPH: AccountGraph = graphOf();

function graphOf(): AccountGraph {
  const nameOf = (end: string): string => (end.startsWith('net:') ? 'net:outside' : end);
  const names = [...new Set(TALKS.flatMap(({ from, to }) => [nameOf(from), nameOf(to)]))];
  return {
    nodes: [
      ...names.map((id) => ({ id, kind: id === 'net:outside' ? ('outside' as const) : ('account' as const), pods: 3 })),
      { id: `shop/${HOSTILE}`, kind: 'account', pods: 1 },
      { id: `data/${LONG}`, kind: 'account', pods: 1 },
    ],
    edges: [
      ...TALKS.map(({ from, to, port, action, finding }, index) => ({
        from: nameOf(from),
        to: nameOf(to),
        allowed: action === 'allow' ? 40 + index : 0,
        denied: action === 'deny' ? 9 + index : 0,
        leaking: finding === 'leak' ? 3 : 0,
        blocked: finding === 'blocked' ? 2 : 0,
        unpoliced: action === 'unpoliced' ? 40 + index : 0,
        uncertain: action === 'uncertain' ? 5 : 0,
        bytes: 10_000 * (index + 1),
        ports: [`tcp/${port}`],
      })),
      {
        from: `shop/${HOSTILE}`,
        to: `data/${LONG}`,
        allowed: 1,
        denied: 0,
        leaking: 0,
        blocked: 0,
        unpoliced: 0,
        uncertain: 0,
        bytes: 1,
        ports: ['tcp/1'],
      },
    ],
  };
}

export const BANNERS: readonly Banner[] = [
  {
    kind: 'loss',
    text: '1 204 packets were lost between capture and judgement; answers about this time are weaker. Give the agent more CPU or a capture filter.',
    since: new Date(START_MS + 30_000).toISOString(),
  },
  {
    kind: 'stale-identity',
    text: 'Redis has not answered for 45 s; who owns an address is as of then. Check redis://10.0.0.9:6379.',
    since: new Date(START_MS + 40_000).toISOString(),
  },
];

export const CONFIG: readonly ConfigValue[] = [
  { key: 'listen', value: '127.0.0.1:9099', from: 'default' },
  { key: 'filename', value: ['policies/', 'cluster.yaml'], from: 'flag --filename' },
  { key: 'redis', value: 'redis://…', from: 'environment MARGAY_REDIS' },
  { key: 'node', value: 'node-1', from: 'file margay.yaml:3' },
];

/** The second `index` of a quiet day with a burst of denied packets in the middle. */
export function stepAt(index: number, startSeconds: number): RateStep {
  const wave = Math.round(400 + 180 * Math.sin(index / 22) + 60 * Math.sin(index / 3.1));
  const isBurst = index % 300 > 180 && index % 300 < 214;
  return {
    time: startSeconds + index,
    allow: wave,
    deny: isBurst ? 120 + (index % 7) * 9 : index % 11 === 0 ? 4 : 0,
    unpoliced: 20 + (index % 13),
    uncertain: index % 90 === 0 ? 6 : 0,
    undecoded: index % 40 === 0 ? 2 : 0,
    lost: isBurst && index % 5 === 0 ? 11 : 0,
  };
}

export function statusAt(nowMs: number, banners: readonly Banner[]): AgentStatus {
  return {
    version: '0.1.0',
    node: 'node-1',
    startedAt: new Date(nowMs - 3 * 3_600_000).toISOString(),
    now: new Date(nowMs).toISOString(),
    isReady: banners.length === 0,
    generation: {
      number: 7,
      publishedAt: new Date(nowMs - 754_000).toISOString(),
      how: 'compiled',
      compileMs: 18,
      endpoints: 1_204,
      localEndpoints: 41,
      policies: 38,
      tiers: 3,
      rules: 212,
      warnings: 1,
    },
    policySource: { name: 'policies/', isInSync: true },
    identitySource: {
      name: 'redis://10.0.0.9:6379',
      revision: 88_121,
      lagMs: 14,
      isStale: banners.some(({ kind }) => kind === 'stale-identity'),
    },
    sources: [
      { name: 'cap:eth0', state: 'running', restarts: 0, seen: 301_884, pid: 4_121 },
      { name: 'cap:cali12', state: 'restarting', trouble: 'the interface went away', restarts: 2, seen: 8_211 },
    ],
    accounting: {
      seen: 310_095,
      judged: 301_002,
      duplicate: 7_604,
      undecoded: 285,
      lost: 1_204,
      droppedByKernel: 31,
      isKernelDropEstimated: true,
      allow: 268_200,
      deny: 18_204,
      unpoliced: 14_388,
      uncertain: 210,
      bytes: 201_882_113,
      undecodedByReason: { arp: 180, malformed: 105 },
      lostByReason: { ring: 1_204 },
    },
    activeFlows: 5_118,
    evictedFlows: 0,
    findings: { leak: 1, blocked: 1 },
    eventLoopLagMs: 1.2,
    memoryBytes: 141_000_000,
    banners,
  };
}
