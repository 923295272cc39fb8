/**
 * Where captures were taken, and how far on its way a packet is there.
 *
 *   source pod        source's node      │ wire │      destination's node       destination pod
 *        ──── egress policy ─────────────┼──────┼──────────── ingress policy ────►
 *   STAGE_BEFORE                     STAGE_BETWEEN                           STAGE_BEHIND
 *
 * A place is a capture, or one interface of it where it names them (pcapng). Told by the user (`--sent`, `--delivered`, `-r
 * pod:NS/NAME=FILE`, `-r node:NAME=FILE`) or by Calico's name of a pod's interface (interfaces.ts):
 *
 * - `sent`, `delivered`: at the side of those who open connections, or of those who take them. For answers it is the other way round.
 * - a pod: in its namespace or at the host's end of its cable. What it sends has passed no policy there, what comes to it has passed all.
 * - a node: at its uplink. Packets from and to its own endpoints are between the checks of two nodes, or before or behind all
 *   if the other end is outside. Not for captures of "any": they see a packet on several interfaces and do not say on which.
 *
 * Anywhere else a packet's stage is unknown: that it was seen shows nothing, and that it was not seen does not either.
 */
import type { Judge } from '../match/state.ts';
import { NONE } from '../tables/layout.ts';

export const STAGE_UNKNOWN = -1;
export const STAGE_BEFORE = 0;
export const STAGE_BETWEEN = 1;
export const STAGE_BEHIND = 2;

/** What is said of a whole capture. Pods are endpoints and nodes are nodes of the tables. */
export type CapturePoint =
  | { readonly kind: 'unknown' | 'sent' | 'delivered' }
  | { readonly kind: 'node'; readonly name: string; readonly node: number }
  | { readonly kind: 'pod'; readonly name: string; readonly endpoint: number };

export interface CaptureInput {
  readonly file: string;
  readonly point: CapturePoint;
}

/** A capture, or an interface of it. */
export interface Place {
  readonly id: number;
  /** Index of the capture. */
  readonly capture: number;
  readonly point: CapturePoint;
}

/** Ends of a packet as the judge resolved them: endpoints and nodes, or NONE. */
export interface PacketEnds {
  readonly srcPod: number;
  readonly dstPod: number;
  readonly srcNode: number;
  readonly dstNode: number;
}

export function endsOf(judge: Judge): PacketEnds {
  const { srcPod, dstPod, srcNode, dstNode } = judge;
  return { srcPod, dstPod, srcNode, dstNode };
}

/** How far a packet is at `point`; `isReply` = it goes to who opened the connection. */
export function stageAt(point: CapturePoint, ends: PacketEnds, isReply: boolean): number {
  switch (point.kind) {
    case 'unknown':
      return STAGE_UNKNOWN;
    case 'sent':
      return isReply ? STAGE_BEHIND : STAGE_BEFORE;
    case 'delivered':
      return isReply ? STAGE_BEFORE : STAGE_BEHIND;
    case 'pod':
      if (ends.srcPod === ends.dstPod) return STAGE_UNKNOWN;
      if (ends.srcPod === point.endpoint) return STAGE_BEFORE;
      return ends.dstPod === point.endpoint ? STAGE_BEHIND : STAGE_UNKNOWN;
    case 'node':
      if (ends.srcNode === ends.dstNode) return STAGE_UNKNOWN;
      if (ends.srcNode === point.node) return ends.dstNode === NONE ? STAGE_BEHIND : STAGE_BETWEEN;
      if (ends.dstNode === point.node) return ends.srcNode === NONE ? STAGE_BEFORE : STAGE_BETWEEN;
      return STAGE_UNKNOWN;
    default:
      return point satisfies never;
  }
}

const NOWHERE: CapturePoint = { kind: 'unknown' };

/** The places of some captures, made as packets of their interfaces come. */
export class Places {
  readonly all: Place[] = [];
  readonly #captures: readonly CaptureInput[];
  readonly #pointOf: (name: string) => CapturePoint | undefined;
  /** By capture and interface. */
  readonly #byInterface: Place[][];
  readonly #everywhere: Place[] = [];
  readonly #ofPod = new Map<number, Place[]>();
  readonly #ofNode = new Map<number, Place[]>();

  /** @param pointOf  what the name of an interface tells: a pod's */
  constructor(captures: readonly CaptureInput[], pointOf: (name: string) => CapturePoint | undefined) {
    this.#captures = captures;
    this.#pointOf = pointOf;
    this.#byInterface = captures.map(() => []);
  }

  /**
   * The place of interface `number` of a capture.
   *
   * @param isAny  its packets come from all interfaces at once
   */
  at(capture: number, number: number, name: string | undefined, isAny: boolean): Place {
    const known = this.#byInterface[capture]![number];
    if (known !== undefined) return known;
    const told = this.#captures[capture]!.point;
    const named = name === undefined ? undefined : this.#pointOf(name);
    let point = told;
    if (named !== undefined && (told.kind === 'unknown' || told.kind === 'node')) point = named;
    else if (told.kind === 'node' && (isAny || name === 'any')) point = NOWHERE;
    // Interfaces of which nothing is known are one place: they may be one cable's two ends.
    const twin = this.all.find((place) => place.capture === capture && place.point === point);
    const place = twin ?? { id: this.all.length, capture, point };
    this.#byInterface[capture]![number] = place;
    if (twin === undefined) this.#add(place);
    return place;
  }

  /** Places that see a packet with these ends, at any stage. */
  *thatSee(ends: PacketEnds): Generator<Place> {
    yield* this.#everywhere;
    yield* this.#ofPod.get(ends.srcPod) ?? [];
    if (ends.dstPod !== ends.srcPod) yield* this.#ofPod.get(ends.dstPod) ?? [];
    yield* this.#ofNode.get(ends.srcNode) ?? [];
    if (ends.dstNode !== ends.srcNode) yield* this.#ofNode.get(ends.dstNode) ?? [];
  }

  #add(place: Place): void {
    this.all.push(place);
    const { point } = place;
    if (point.kind === 'sent' || point.kind === 'delivered') this.#everywhere.push(place);
    else if (point.kind === 'pod') push(this.#ofPod, point.endpoint, place);
    else if (point.kind === 'node') push(this.#ofNode, point.node, place);
  }
}

function push(map: Map<number, Place[]>, key: number, place: Place): void {
  const list = map.get(key);
  if (list === undefined) map.set(key, [place]);
  else list.push(place);
}

/** `sent`, `pod prod/web-0`, `node node-1`, for people. */
export function pointText(point: CapturePoint): string {
  return point.kind === 'pod' || point.kind === 'node' ? `${point.kind} ${point.name}` : point.kind;
}
