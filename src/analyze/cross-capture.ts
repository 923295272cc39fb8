/**
 * Packets across captures: which packet of one capture is which of another, packet by packet.
 *
 * Every packet is looked for among those of the last seconds by its fingerprint (fingerprint.ts). The first sighting is the packet;
 * a later one is
 *
 * - the same packet at another place, if it has not been seen there yet: the earliest that matches is taken, so that several
 *   with equal bytes are paired in their order;
 * - the same packet twice at one place, if the hop limit differs (a capture of all interfaces) or if the sender would have numbered
 *   another one differently: equal identification within DUPLICATE_MS;
 * - else another packet with the same bytes: a retransmission.
 *
 * An entry waits until some capture time has gone by, or until too many wait (model/limits.ts); then the places that ought to
 * have seen the packet and did not are known. The clocks of the captures are set right before (survey.ts).
 */
import { VERIFY_SIGHTINGS_MAX } from '../model/limits.ts';
import { FLAG_IPV6, PACKET_FLAGS, PACKET_IP_ID, PACKET_IP_OFFSET } from '../wire/record.ts';
import type { Place } from './capture-places.ts';
import type { Fingerprints } from './fingerprint.ts';

/** Capture time for which a packet is looked for in other captures: clocks set right are off by milliseconds, queues hold packets for no longer. */
export const WAIT_MS = 5_000;
/** The same where all captures have one clock. Less than this was not waited: what is missing then may have come later. */
export const WAIT_ONE_CLOCK_MS = 1_000;
/** Equal packets of one place with one identification that come within this time are one; with one place there is nothing else to wait for. */
export const DUPLICATE_MS = 200;
/** Packets with equal bytes that are looked at; before them are others that nothing tells apart from these. */
const EQUAL_MAX = 64;
/** The same without an identification (IPv6, and IPv4 packets that are never to be fragmented). */
const DUPLICATE_UNNUMBERED_MS = 0.1;

/** A packet, wherever it was seen. `T` is what its owner keeps with it. */
export interface SeenPacket<T> {
  readonly fingerprint: number;
  /** Of its first sighting. */
  readonly timeMs: number;
  /** Places that have it, the first one first. */
  readonly places: Place[];
  readonly hopLimit: number;
  readonly identification: number;
  detail: T | undefined;
}

export interface SeenCounts {
  /** Packets that were looked for until nobody could have them any more. */
  settled: number;
  /** Of these, the ones that had to go early because too many waited. */
  settledEarly: number;
}

export class CrossCapture<T> {
  readonly counts: SeenCounts = { settled: 0, settledEarly: 0 };
  readonly #fingerprints: Fingerprints;
  readonly #waitMs: () => number;
  readonly #onSettled: (packet: SeenPacket<T>, wasEarly: boolean) => void;
  readonly #capacity: number;
  readonly #byFingerprint = new Map<number, SeenPacket<T>[]>();
  /** In the order of first sightings: a ring. */
  readonly #queue: (SeenPacket<T> | undefined)[];
  #first = 0;
  #count = 0;

  /**
   * @param waitMs  for how long a packet is looked for now
   * @param onSettled  called with each packet once nobody can see it any more
   */
  constructor(
    fingerprints: Fingerprints,
    waitMs: () => number,
    onSettled: (packet: SeenPacket<T>, wasEarly: boolean) => void,
    capacity: number = VERIFY_SIGHTINGS_MAX,
  ) {
    this.#fingerprints = fingerprints;
    this.#waitMs = waitMs;
    this.#onSettled = onSettled;
    this.#capacity = capacity;
    this.#queue = new Array(Math.min(capacity, 1024));
  }

  /**
   * The packet that was seen before and is seen again now, its places brought up to date, and whether this place is new to it; or
   * a new packet.
   */
  see(
    records: Int32Array,
    view: DataView,
    place: Place,
    timeMs: number,
  ): { readonly packet: SeenPacket<T>; readonly isNew: boolean; readonly isNewPlace: boolean } {
    this.#expire(timeMs);
    const fingerprint = this.#fingerprints.of(records, 0, view);
    const hopLimit = hopLimitOf(records, view);
    const identification = records[PACKET_IP_ID]!;
    const known = this.#byFingerprint.get(fingerprint);
    if (known !== undefined) {
      for (const packet of known) {
        if (packet.places.includes(place)) {
          if (!isSame(packet, hopLimit, identification, timeMs)) continue;
          return { packet, isNew: false, isNewPlace: false };
        }
        packet.places.push(place);
        return { packet, isNew: false, isNewPlace: true };
      }
    }
    const packet: SeenPacket<T> = {
      fingerprint,
      timeMs,
      places: [place],
      hopLimit,
      identification,
      detail: undefined,
    };
    if (known === undefined) this.#byFingerprint.set(fingerprint, [packet]);
    else if (known.push(packet) > EQUAL_MAX) known.shift();
    this.#push(packet);
    return { packet, isNew: true, isNewPlace: true };
  }

  /** Nobody sees anything any more. */
  finish(): void {
    while (this.#count > 0) this.#settle(false);
  }

  #expire(timeMs: number): void {
    const waitMs = this.#waitMs();
    while (this.#count > 0 && timeMs - this.#queue[this.#first]!.timeMs > waitMs) this.#settle(false);
    if (this.#count < this.#capacity) return;
    this.#settle(timeMs - this.#queue[this.#first]!.timeMs < Math.min(waitMs, WAIT_ONE_CLOCK_MS));
  }

  #push(packet: SeenPacket<T>): void {
    if (this.#count === this.#queue.length) this.#grow();
    this.#queue[(this.#first + this.#count) % this.#queue.length] = packet;
    this.#count++;
  }

  #grow(): void {
    const kept = Array.from({ length: this.#count }, (_, i) => this.#queue[(this.#first + i) % this.#queue.length]);
    this.#queue.length = Math.min(this.#capacity, this.#queue.length * 2);
    this.#queue.fill(undefined);
    kept.forEach((packet, i) => {
      this.#queue[i] = packet;
    });
    this.#first = 0;
  }

  #settle(isEarly: boolean): void {
    const packet = this.#queue[this.#first]!;
    this.#queue[this.#first] = undefined;
    this.#first = (this.#first + 1) % this.#queue.length;
    this.#count--;
    const known = this.#byFingerprint.get(packet.fingerprint);
    if (known?.[0] === packet) {
      if (known.length === 1) this.#byFingerprint.delete(packet.fingerprint);
      else known.shift();
    }
    this.counts.settled++;
    if (isEarly) this.counts.settledEarly++;
    this.#onSettled(packet, isEarly);
  }
}

function isSame<T>(packet: SeenPacket<T>, hopLimit: number, identification: number, timeMs: number): boolean {
  const ageMs = Math.abs(timeMs - packet.timeMs);
  if (packet.hopLimit !== hopLimit) return ageMs < DUPLICATE_MS;
  return ageMs < (identification === 0 ? DUPLICATE_UNNUMBERED_MS : DUPLICATE_MS);
}

/** TTL, or IPv6's hop limit. */
function hopLimitOf(records: Int32Array, view: DataView): number {
  return view.getUint8(records[PACKET_IP_OFFSET]! + ((records[PACKET_FLAGS]! & FLAG_IPV6) !== 0 ? 7 : 8));
}
