/** What verbs say of HBONE, the tunnel of Istio's ambient mode: TCP to port 15008, with mutual TLS and the real port inside. */
import type { ReplayOptions } from '../analyze/replay.ts';
import { counted } from './render.ts';

const HBONE_PORT = 15_008;
/** As it stands in a record's JSON, which some outputs get as text. */
const IN_TEXT = `"dest_port":${HBONE_PORT},`;

/** Counts what goes to that port while a replay hands it on. */
export class HboneCounter {
  count = 0;

  /** The same callbacks, counted. With `--summary` nothing is handed on, and so nothing counted. */
  watch(mode: 'connections' | 'packets' | 'summary', options: ReplayOptions): ReplayOptions {
    const { onConnection, onPacket, onConnectionText, onPacketText } = options;
    if (mode === 'packets') {
      return {
        ...options,
        ...(onPacket === undefined ? {} : { onPacket: (line) => onPacket(this.#record(line)) }),
        ...(onPacketText === undefined ? {} : { onPacketText: (text) => onPacketText(this.#text(text)) }),
      };
    }
    if (mode === 'summary') return options;
    return {
      ...options,
      ...(onConnection === undefined ? {} : { onConnection: (record) => onConnection(this.#record(record)) }),
      ...(onConnectionText === undefined ? {} : { onConnectionText: (text) => onConnectionText(this.#text(text)) }),
    };
  }

  #record<T extends { readonly proto?: string; readonly dest_port?: number }>(record: T): T {
    if (record.dest_port === HBONE_PORT && record.proto === 'tcp') this.count++;
    return record;
  }

  #text(text: string): string {
    if (text.includes(IN_TEXT) && text.includes('"proto":"tcp"')) this.count++;
    return text;
  }
}

export function hboneNote(count: number, what: 'connection' | 'packet' = 'connection'): string {
  const which = `${counted(count, what)} ${count === 1 ? 'goes' : 'go'} to port ${HBONE_PORT}`;
  return `${which}, the HBONE tunnel of Istio's ambient mode: policies judge that port, not the one inside`;
}
