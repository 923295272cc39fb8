/**
 * Counts of packets and bytes in one float64 while batches run: packets times PACKET_UNIT plus bytes, one addition a packet instead of two.
 *
 * Exact while the bytes of all slots stay below the unit and the packets below 2^21; `settle` takes them apart before either is reached.
 */
export const PACKET_UNIT = 2 ** 32;
const PACKETS_BETWEEN_SETTLING = 2 ** 20;
const BYTES_BETWEEN_SETTLING = 2 ** 31;

export interface PackedCounts {
  /** By slot: what was counted since the last settling; and how many packets and bytes that are. */
  readonly counts: Float64Array;
  countedPackets: number;
  countedBytes: number;
  /** By slot: packets and bytes that are settled. */
  readonly packets: Float64Array;
  readonly bytes: Float64Array;
}

/** Notes that `packets` packets of `bytes` bytes together, at most 2^20 each, were added to `counts`: at most a batch at a time. */
export function noteCounted(counts: PackedCounts, packets: number, bytes: number): void {
  counts.countedPackets += packets;
  counts.countedBytes += bytes;
  if (counts.countedPackets >= PACKETS_BETWEEN_SETTLING || counts.countedBytes >= BYTES_BETWEEN_SETTLING)
    settle(counts);
}

/** Takes the packed counts apart. */
export function settle(packed: PackedCounts): void {
  const { counts, packets, bytes } = packed;
  for (let slot = 0; slot < counts.length; slot++) {
    const counted = counts[slot]!;
    if (counted === 0) continue;
    const whole = Math.floor(counted / PACKET_UNIT);
    packets[slot]! += whole;
    bytes[slot]! += counted - whole * PACKET_UNIT;
  }
  counts.fill(0);
  packed.countedPackets = 0;
  packed.countedBytes = 0;
}
