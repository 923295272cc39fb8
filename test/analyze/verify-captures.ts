/** A small cluster and captures of it, written packet by packet, for the tests of `verify`. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { CaptureInput, CapturePoint } from '../../src/analyze/capture-places.ts';
import {
  type VerifiedPacket,
  type VerifyOptions,
  type VerifyResult,
  verifyCaptures,
} from '../../src/analyze/verify.ts';
import type { VerifyRecord } from '../../src/analyze/verify-record.ts';
import { packPlan } from '../../src/compile/pack.ts';
import { planCluster } from '../../src/compile/plan-cluster.ts';
import { loadResources } from '../../src/load/load.ts';
import { buildFrame, type FrameSpec } from '../../src/packets/synthetic.ts';
import { type CaptureRecord, type PcapngOptions, writePcapng } from '../../src/packets/write.ts';
import { openTables } from '../../src/tables/tables.ts';
import { address } from '../support/tcp-capture.ts';

export const WEB = '10.0.0.1';
export const DB = '10.0.1.1';
export const JOB = '10.0.0.2';
export const SERVICE = '10.96.0.10';
export const NODE_1 = '192.168.0.1';
export const NODE_2 = '192.168.0.2';

/** Of the policy that lets web, and nobody else, ask db at 5432. */
const CREATED = '2026-09-21T14:13:00Z';
/** Captures begin a minute later. */
export const START_SECONDS = 1_790_000_040;

const CLUSTER = `
apiVersion: v1
kind: List
items:
- {apiVersion: v1, kind: Namespace, metadata: {name: prod}}
- {apiVersion: v1, kind: Node, metadata: {name: node-1}, spec: {podCIDRs: [10.0.0.0/24]}, status: {addresses: [{type: InternalIP, address: ${NODE_1}}]}}
- {apiVersion: v1, kind: Node, metadata: {name: node-2}, spec: {podCIDRs: [10.0.1.0/24]}, status: {addresses: [{type: InternalIP, address: ${NODE_2}}]}}
- {apiVersion: v1, kind: ServiceAccount, metadata: {name: web, namespace: prod}}
- {apiVersion: v1, kind: ServiceAccount, metadata: {name: db, namespace: prod}}
- {apiVersion: v1, kind: ServiceAccount, metadata: {name: job, namespace: prod}}
- {apiVersion: v1, kind: Pod, metadata: {name: web-0, namespace: prod}, spec: {nodeName: node-1, serviceAccountName: web, containers: []}, status: {phase: Running, podIPs: [{ip: ${WEB}}]}}
- {apiVersion: v1, kind: Pod, metadata: {name: job-0, namespace: prod}, spec: {nodeName: node-1, serviceAccountName: job, containers: []}, status: {phase: Running, podIPs: [{ip: ${JOB}}]}}
- {apiVersion: v1, kind: Pod, metadata: {name: db-0, namespace: prod}, spec: {nodeName: node-2, serviceAccountName: db, containers: []}, status: {phase: Running, podIPs: [{ip: ${DB}}]}}
- {apiVersion: v1, kind: Service, metadata: {name: db, namespace: prod}, spec: {clusterIP: ${SERVICE}, clusterIPs: [${SERVICE}], ports: [{name: sql, port: 15432, protocol: TCP}]}}
- apiVersion: discovery.k8s.io/v1
  kind: EndpointSlice
  metadata: {name: db-1, namespace: prod, labels: {kubernetes.io/service-name: db}}
  addressType: IPv4
  ports: [{name: sql, port: 5432, protocol: TCP}]
  endpoints: [{addresses: [${DB}]}]
`;

const POLICY = `
apiVersion: projectcalico.org/v3
kind: NetworkPolicy
metadata:
  name: db
  namespace: prod
  creationTimestamp: "${CREATED}"
spec:
  serviceAccountSelector: projectcalico.org/name == "db"
  types: [Ingress]
  ingress:
  - action: Allow
    protocol: TCP
    source: {serviceAccounts: {names: [web]}}
    destination: {ports: [5432]}
  - action: Allow
    protocol: UDP
    source: {serviceAccounts: {names: [web]}}
  - action: Allow
    protocol: ICMP
    source: {serviceAccounts: {names: [web]}}
`;

export interface Sources {
  readonly policy?: string;
}

function cluster({ policy = POLICY }: Sources): Pick<VerifyOptions, 'plan' | 'resources'> {
  const { resources, errors } = loadResources([
    { name: 'cluster.yaml', text: CLUSTER },
    { name: 'policy.yaml', text: policy },
  ]);
  if (errors.length > 0) throw new Error(JSON.stringify(errors));
  return { resources, plan: planCluster(resources) };
}

export function policyCreated(at: string): Sources {
  return { policy: POLICY.replace(CREATED, at) };
}

/** The endpoint of a pod in the tables. */
export function podPoint(name: string): CapturePoint {
  const endpoint = cluster({}).plan.endpoints.findIndex(({ key }) => key === `wep:prod/${name}`);
  return { kind: 'pod', name: `prod/${name}`, endpoint };
}

export function nodePoint(name: string): CapturePoint {
  return { kind: 'node', name, node: cluster({}).plan.nodes.findIndex((node) => node.name === name) };
}

/** A packet and when it was seen, in milliseconds from START_SECONDS. */
export interface Seen {
  readonly atMs: number;
  readonly spec: Omit<FrameSpec, 'src' | 'dst'> & { readonly src: string; readonly dst: string };
}

let nextId = 1;

/** A packet with an identification of its own, so that the same one can be put into several captures. */
export function packet(src: string, dst: string, rest: Omit<FrameSpec, 'src' | 'dst'>): Seen['spec'] {
  return { src, dst, ipId: nextId++ & 0xffff, ...rest };
}

const [SYN, ACK, RST] = [2, 16, 4];

export function tcp(
  src: string,
  dst: string,
  ports: readonly [number, number],
  flags: number,
  seq = 0,
  ack = 0,
  payload = '',
): Seen['spec'] {
  return packet(src, dst, {
    protocol: 6,
    srcPort: ports[0],
    dstPort: ports[1],
    tcpFlags: flags,
    tcpSeq: seq,
    tcpAck: ack,
    payload: new TextEncoder().encode(payload),
  });
}

export const syn = (src: string, dst: string, from: number, to: number, seq = 1000): Seen['spec'] =>
  tcp(src, dst, [from, to], SYN, seq);
export const synAck = (src: string, dst: string, from: number, to: number, seq = 5000, ack = 1001): Seen['spec'] =>
  tcp(src, dst, [from, to], SYN | ACK, seq, ack);
export const ack = (src: string, dst: string, from: number, to: number, seq = 1001, acked = 5001): Seen['spec'] =>
  tcp(src, dst, [from, to], ACK, seq, acked);
export const rst = (src: string, dst: string, from: number, to: number, acked = 1001): Seen['spec'] =>
  tcp(src, dst, [from, to], RST | ACK, 0, acked);
export const udp = (src: string, dst: string, from: number, to: number, text: string): Seen['spec'] =>
  packet(src, dst, { protocol: 17, srcPort: from, dstPort: to, payload: new TextEncoder().encode(text) });
export const echo = (src: string, dst: string, id: number, number = 1, type = 8): Seen['spec'] =>
  packet(src, dst, { protocol: 1, icmpType: type, icmpCode: 0, icmpRest: (id << 16) | number });

export function recordOf({ atMs, spec }: Seen): CaptureRecord {
  const { src, dst, ...rest } = spec;
  const micros = Math.round(atMs * 1000);
  return {
    bytes: buildFrame({ ...rest, src: address(src), dst: address(dst) }),
    seconds: START_SECONDS + Math.floor(micros / 1e6),
    nanos: (((micros % 1e6) + 1e6) % 1e6) * 1000,
  };
}

export interface CaptureSpec {
  readonly point?: CapturePoint;
  readonly packets: readonly (Seen | (CaptureRecord & { readonly spec?: undefined }))[];
  readonly options?: PcapngOptions;
  /** Bytes cut off at the end. */
  readonly cutBytes?: number;
}

export interface Verified extends VerifyResult {
  readonly connections: VerifyRecord[];
  readonly packets: VerifiedPacket[];
}

/** Writes the captures, verifies them, and takes them away again. */
export async function verify(
  captures: readonly CaptureSpec[],
  sources: Sources = {},
  options: Partial<VerifyOptions> = {},
): Promise<Verified> {
  const folder = mkdtempSync(join(tmpdir(), 'margay-test-'));
  try {
    const inputs = captures.map(
      ({ point = { kind: 'unknown' }, packets, options: pcapng = {}, cutBytes = 0 }, i): CaptureInput => {
        const records = packets.map((each) => (each.spec === undefined ? each : recordOf(each as Seen)));
        const bytes = writePcapng(records, pcapng);
        const file = join(folder, `${i}.pcapng`);
        writeFileSync(file, bytes.subarray(0, bytes.length - cutBytes));
        return { file, point };
      },
    );
    const { plan, resources } = cluster(sources);
    const connections: { id: number; record: VerifyRecord }[] = [];
    const packets: VerifiedPacket[] = [];
    const result = await verifyCaptures(openTables(packPlan(plan)), inputs, {
      plan,
      resources,
      onConnection: (record, id) => connections.push({ id, record }),
      onPacket: (each) => packets.push({ ...each }),
      ...options,
    });
    connections.sort((a, b) => a.id - b.id);
    return { ...result, connections: connections.map(({ record }) => record), packets };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** What a test looks at: prediction, outcome, finding and certainty, a line a connection. */
export function summary({ connections }: Verified): string[] {
  return connections.map(({ predicted, outcome, finding, certainty }) =>
    [predicted, outcome, ...(finding === undefined ? [] : [finding, certainty])].join(' '),
  );
}

/** Packets a while apart, one after the other. */
export function timed(specs: readonly Seen['spec'][], stepMs = 1, startMs = 0): Seen[] {
  return specs.map((spec, i) => ({ spec, atMs: startMs + i * stepMs }));
}
