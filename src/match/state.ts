/**
 * The judge's memory: one packet in hand, the way it goes, and what was found. Made once by `createJudge`; everything is
 * numbers in arrays of fixed length, and nothing is allocated a packet.
 */
import type { Conntrack } from '../conntrack/table.ts';
import { CT_NEW } from '../conntrack/track.ts';
import { REASON_NONE, VERDICT_UNPOLICED } from '../model/flow.ts';
import * as layout from '../tables/layout.ts';
import type { Tables } from '../tables/tables.ts';
import { PACKET_WORDS } from '../wire/record.ts';
import { PATH_STEPS_MAX } from './chain.ts';

/* Words of one check in `Judge.checks`. */
export const CHECK_WORDS = 4;
/** CHECK_* */
export const CHECK_KIND = 0;
/** Endpoint that the check belongs to. */
export const CHECK_ENDPOINT = 1;
/** Where its steps start in `Judge.path`, and how many; 0 steps = decided before any rule. */
export const CHECK_STEPS = 2;
export const CHECK_STEP_COUNT = 3;

/** Two nodes, each at most: doNotTrack, preDNAT, two forward, egress, ingress, service loop. */
const CHECKS_MAX = 14;
/** Nodes whose connection state of one packet is kept while its alternatives are judged; further ones count as new. */
export const STATES_MAX = 256;

/* Where the capture was taken: design section 4, match/capture-point.ts. */
export const CAPTURE_UNKNOWN = 0;
export const CAPTURE_VETH = 1;
export const CAPTURE_HOST = 2;
export const CAPTURE_POINT_NAMES = ['unknown', 'veth', 'host'] as const;

/** `Judge.atInterface`: nothing is known of the interface, it is not a pod's, or it is named like a pod's that nobody has. */
export const INTERFACE_UNKNOWN = -1;
export const INTERFACE_OTHER = -2;
export const INTERFACE_NO_POD = -3;

/** `Judge.atDirection`, as seen by the host that captured. */
export const PACKET_EITHER_WAY = 0;
export const PACKET_IN = 1;
export const PACKET_OUT = 2;

/* `Judge.stateMode`: where the connection state of the packet comes from. */
/** The packet is the first of a new connection everywhere. */
export const STATES_NEW = 0;
/** Asked of the connection table, once a node. */
export const STATES_TRACKED = 1;
/** Those that were found when the packet was judged before. */
export const STATES_KEPT = 2;

export interface Judge {
  readonly tables: Tables;
  readonly nodeNumbers: Int32Array;
  readonly checks: Int32Array;
  checkCount: number;
  readonly path: Int32Array;
  pathLength: number;
  /** VERDICT_* and REASON_* of the last packet. */
  verdict: number;
  reason: number;
  /** Index in `checks` of the one that decided, the last that ran if all allowed, or NONE. */
  deciding: number;
  /** CT_* of the last tracked packet on the node that decided (or the last node); CT_NEW when stateless. */
  state: number;
  /** Endpoints of the last packet's ends, or NONE. */
  srcEndpoint: number;
  dstEndpoint: number;
  /** True: staged policies count as if they were enforced. */
  isPending: boolean;

  /** CAPTURE_*, and for CAPTURE_VETH what is known of the packet's interface: INTERFACE_* or a pod's endpoint, and PACKET_*. */
  capturePoint: number;
  atInterface: number;
  atDirection: number;

  /* The packet in hand. */
  version: number;
  protocol: number;
  tcpFlags: number;
  srcPeer: number;
  dstPeer: number;
  /** Key and peer class of the destination before DNAT, which preDNAT and doNotTrack policy sees; NONE = no service address. */
  originalKey: number;
  originalDstPeer: number;
  srcFlags: number;
  dstFlags: number;
  key: number;
  sourceKey: number;
  hasPorts: boolean;
  /** REASON_* if the verdict turns out to need ports that are missing. */
  missingReason: number;
  icmpType: number;
  srcPod: number;
  dstPod: number;
  srcNode: number;
  dstNode: number;
  /** REASON_* of what is missing for a verdict, or REASON_NONE. */
  doubt: number;
  readonly rewritten: Int32Array;

  /* Connection state of the packet in hand, by node. */
  stateMode: number;
  ct: Conntrack | undefined;
  view: DataView;
  timeMs: number;
  /** The packet as it was captured: what connection tracking is asked about. */
  tracked: Int32Array;
  trackedAt: number;
  quoted: Int32Array;
  quotedAt: number;
  readonly stateNodes: Int32Array;
  /** CT_*, and STATE_HAS_NO_ENTRY (match/states.ts). */
  readonly states: Int32Array;
  stateCount: number;

  /** True: `trackingMs` grows by the time that connection tracking takes, `trackingLooks` by the pairs of looks at the clock. */
  isTimed: boolean;
  trackingMs: number;
  trackingLooks: number;
}

/** `nodeNumbers`: by node of the tables, its number in the connection table, which outlives the tables; the same unless said. */
export function createJudge(tables: Tables, nodeNumbers?: Int32Array): Judge {
  return {
    tables,
    nodeNumbers: nodeNumbers ?? Int32Array.from({ length: tables.counts[layout.SECTION_NODES]! }, (_, node) => node),
    checks: new Int32Array(CHECKS_MAX * CHECK_WORDS),
    checkCount: 0,
    path: new Int32Array(PATH_STEPS_MAX * CHECKS_MAX),
    pathLength: 0,
    verdict: VERDICT_UNPOLICED,
    reason: REASON_NONE,
    deciding: layout.NONE,
    state: CT_NEW,
    srcEndpoint: layout.NONE,
    dstEndpoint: layout.NONE,
    isPending: false,
    capturePoint: CAPTURE_UNKNOWN,
    atInterface: INTERFACE_UNKNOWN,
    atDirection: PACKET_EITHER_WAY,
    version: 4,
    protocol: 0,
    tcpFlags: 0,
    srcPeer: 0,
    dstPeer: 0,
    originalKey: layout.NONE,
    originalDstPeer: 0,
    srcFlags: 0,
    dstFlags: 0,
    key: 0,
    sourceKey: 0,
    hasPorts: true,
    missingReason: REASON_NONE,
    icmpType: 0,
    srcPod: layout.NONE,
    dstPod: layout.NONE,
    srcNode: layout.NONE,
    dstNode: layout.NONE,
    doubt: REASON_NONE,
    rewritten: new Int32Array(PACKET_WORDS),
    stateMode: STATES_NEW,
    ct: undefined,
    view: NO_BYTES,
    timeMs: 0,
    tracked: NO_RECORDS,
    trackedAt: 0,
    quoted: NO_RECORDS,
    quotedAt: -1,
    stateNodes: new Int32Array(STATES_MAX),
    states: new Int32Array(STATES_MAX),
    stateCount: 0,
    isTimed: false,
    trackingMs: 0,
    trackingLooks: 0,
  };
}

const NO_BYTES = new DataView(new ArrayBuffer(0));
const NO_RECORDS = new Int32Array(0);

/** Appends a check whose `stepCount` steps have just been written behind the path. */
export function addCheck(judge: Judge, kind: number, endpoint: number, stepCount: number): void {
  const at = judge.checkCount * CHECK_WORDS;
  judge.checks[at + CHECK_KIND] = kind;
  judge.checks[at + CHECK_ENDPOINT] = endpoint;
  judge.checks[at + CHECK_STEPS] = judge.pathLength;
  judge.checks[at + CHECK_STEP_COUNT] = stepCount;
  judge.checkCount++;
  judge.pathLength += stepCount;
}
