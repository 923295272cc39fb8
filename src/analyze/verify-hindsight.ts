/** What all connections together tell of one: who is there at all, and which endpoints drop what they should, or nothing. */
import type { Connection, OutcomeName } from './outcome.ts';
import type { FindingKind, Predicted } from './report-data.ts';
import type { EnforcementCount } from './verify-causes.ts';
import { enforcingEnd } from './verify-record.ts';

/** Addresses, ports and endpoints that are remembered; of later ones nothing is known. */
const REMEMBERED_MAX = 65_536;

export class HindsightTable {
  readonly #alive = new Set<string>();
  readonly #enforcement = new Map<string, EnforcementCount>();

  /** A connection is over. */
  add({ record }: Connection, predicted: Predicted, outcome: OutcomeName, finding: FindingKind | undefined): void {
    const isAnswered = outcome === 'established' || outcome === 'answered' || outcome === 'half-open';
    if (this.#alive.size < REMEMBERED_MAX) {
      this.#alive.add(record.source_ip);
      if (isAnswered || outcome === 'refused') this.#alive.add(record.dest_ip);
      if (isAnswered) this.#alive.add(serviceKey(record));
    }
    if (predicted !== 'allow' && predicted !== 'deny') return;
    const end = enforcingEnd(record);
    let counts = this.#enforcement.get(end);
    if (counts === undefined) {
      if (this.#enforcement.size >= REMEMBERED_MAX) return;
      counts = { denied: 0, leaked: 0, allowed: 0, blocked: 0 };
      this.#enforcement.set(end, counts);
    }
    counts[predicted === 'deny' ? 'denied' : 'allowed']++;
    if (finding !== undefined) counts[finding === 'leak' ? 'leaked' : 'blocked']++;
  }

  /** The destination sends packets, as these captures show: some, whether they answer or ask. */
  isPeerAlive({ record }: Connection): boolean {
    return this.#alive.has(record.dest_ip);
  }

  /** Somebody got an answer from its port. */
  isServiceAlive({ record }: Connection): boolean {
    return this.#alive.has(serviceKey(record));
  }

  enforcement({ record }: Connection): EnforcementCount | undefined {
    return this.#enforcement.get(enforcingEnd(record));
  }
}

function serviceKey({ dest_ip, proto, dest_port, icmp_type }: Connection['record']): string {
  return `${dest_ip} ${proto} ${dest_port ?? icmp_type ?? ''}`;
}
