/**
 * The slow twin of connection tracking: a Map by strings, objects, and the tables of semantics 6.7 read as they stand.
 *
 * It knows no sequence numbers, so it agrees with a table that is liberal, for TCP without RST and without SYN-ACKs that
 * bring a table back in step. The kernel's recordings cover those.
 */
export interface TwinPacket {
  readonly src: string;
  readonly dst: string;
  readonly protocol: number;
  /** Source and destination port, or ICMP type and id. */
  readonly first: number;
  readonly second: number;
  /** TCP: one of the rows. */
  readonly kind?: 'SYN' | 'SYN-ACK' | 'FIN' | 'ACK';
}

interface TwinEntry {
  state: string;
  isAnswered: boolean;
  expiresMs: number;
  closedFirst: boolean;
  mayBeChallenged: boolean;
  last: string;
  isSimultaneous: boolean;
}

const COLUMNS = ['no', 'SS', 'SR', 'ES', 'FW', 'CW', 'LA', 'TW', 'CL', 'S2'];
const ROWS: Record<string, string> = {
  'original SYN': 'SS SS = = = = = SS SS S2',
  'original SYN-ACK': '- - SR - - - - - - SR',
  'original FIN': '- - FW FW LA LA LA TW CL -',
  'original ACK': 'ES - ES ES CW CW TW TW CL -',
  'reply SYN': '- S2 - - - - - SS - S2',
  'reply SYN-ACK': '- SR = = = = = = = SR',
  'reply FIN': '- - FW FW LA LA LA TW CL -',
  'reply ACK': '- = SR ES CW CW TW TW CL =',
};
const TCP_SECONDS: Record<string, number> = {
  SS: 120,
  SR: 60,
  ES: 432_000,
  FW: 120,
  CW: 60,
  LA: 30,
  TW: 120,
  CL: 10,
  S2: 120,
};
const ANSWERS: Record<string, number> = { '1 8': 0, '1 13': 14, '58 128': 129 };

export class Twin {
  readonly entries = new Map<string, TwinEntry>();

  track(packet: TwinPacket, node: number, nowMs: number): string {
    const found = this.find(packet, node, nowMs);
    if (found === undefined) return this.opens(packet) ? 'new' : 'invalid';
    const { entry, key, direction } = found;
    const state = direction === 'reply' || entry.isAnswered ? 'established' : 'new';
    if (packet.protocol === 6) {
      const outcome = this.moveTcp(entry, direction, packet.kind!, nowMs);
      if (outcome === 'invalid') return 'invalid';
      if (outcome === 'reopen') {
        this.entries.delete(key);
        return 'new';
      }
    } else {
      const isStream = packet.protocol === 47 ? entry.isAnswered : state === 'established';
      entry.expiresMs = nowMs + 1000 * secondsOf(packet.protocol, isStream);
    }
    if (direction === 'reply') entry.isAnswered = true;
    return state;
  }

  confirm(packet: TwinPacket, node: number, nowMs: number): void {
    if (this.find(packet, node, nowMs) !== undefined) return;
    const state = packet.protocol === 6 ? cellOf('original', packet.kind!, 'no') : '';
    // Picked up in the middle and not answered: 300 s.
    const seconds = state === 'ES' ? 300 : state === '' ? secondsOf(packet.protocol, false) : TCP_SECONDS[state]!;
    this.entries.set(keyOf(packet, node), {
      state,
      isAnswered: false,
      expiresMs: nowMs + 1000 * seconds,
      closedFirst: false,
      mayBeChallenged: false,
      last: `original ${packet.kind}`,
      isSimultaneous: false,
    });
  }

  private find(
    packet: TwinPacket,
    node: number,
    nowMs: number,
  ): { entry: TwinEntry; key: string; direction: string } | undefined {
    for (const [direction, key] of [
      ['original', keyOf(packet, node)],
      ['reply', inverseKeyOf(packet, node)],
    ] as const) {
      const entry = key === undefined ? undefined : this.entries.get(key);
      if (entry === undefined) continue;
      if (entry.expiresMs > nowMs) return { entry, key: key!, direction };
      this.entries.delete(key!);
    }
    return undefined;
  }

  private opens(packet: TwinPacket): boolean {
    if (packet.protocol === 6) return cellOf('original', packet.kind!, 'no') !== '-';
    if (packet.protocol === 1 || packet.protocol === 58) return `${packet.protocol} ${packet.first}` in ANSWERS;
    return true;
  }

  private moveTcp(entry: TwinEntry, direction: string, kind: string, nowMs: number): string {
    const old = entry.state;
    let next = cellOf(direction, kind, old);
    if (next === '-') return 'invalid';
    const isReopening = next === 'SS' && (old === 'TW' || old === 'CL');
    if (isReopening && entry.closedFirst) return 'reopen';
    if (next === '=' || isReopening) {
      entry.last = `${direction} ${kind}`;
      if (direction === 'original' && kind === 'SYN') {
        entry.mayBeChallenged = old === 'LA';
        entry.isSimultaneous = false;
      }
      return 'accept';
    }
    const other = direction === 'original' ? 'reply' : 'original';
    if (next === 'TW' && old === 'LA' && entry.mayBeChallenged && entry.last === `${other} SYN`) {
      entry.mayBeChallenged = false;
      return 'accept';
    }
    if (next === 'S2') entry.isSimultaneous = true;
    if (next === 'SR' && direction === 'reply' && kind === 'ACK' && entry.isSimultaneous) next = 'ES';
    if (next === 'FW' && old !== 'FW') entry.closedFirst = true;
    entry.last = `${direction} ${kind}`;
    entry.state = next;
    if (!entry.isAnswered && kind === 'SYN' && old === 'SS' && direction === 'original') return 'accept';
    // Established: 300 s or five days, by numbers that the twin doesn't know; the test keeps clear of the difference.
    entry.expiresMs = nowMs + 1000 * TCP_SECONDS[next]!;
    return 'accept';
  }
}

function cellOf(direction: string, kind: string, state: string): string {
  return ROWS[`${direction} ${kind}`]!.split(' ')[COLUMNS.indexOf(state)]!;
}

function secondsOf(protocol: number, isAnswered: boolean): number {
  if (protocol === 17) return isAnswered ? 120 : 30;
  if (protocol === 47) return isAnswered ? 180 : 30;
  return protocol === 1 || protocol === 58 ? 30 : 600;
}

function keyOf({ src, dst, protocol, first, second }: TwinPacket, node: number): string {
  return `${node} ${protocol} ${src} ${dst} ${first} ${second}`;
}

/** Key of the entry that this packet answers. */
function inverseKeyOf({ src, dst, protocol, first, second }: TwinPacket, node: number): string | undefined {
  if (protocol !== 1 && protocol !== 58) return `${node} ${protocol} ${dst} ${src} ${second} ${first}`;
  const question = Object.keys(ANSWERS).find((name) => name.startsWith(`${protocol} `) && ANSWERS[name] === first);
  return question === undefined ? undefined : `${node} ${protocol} ${dst} ${src} ${question.split(' ')[1]} ${second}`;
}
