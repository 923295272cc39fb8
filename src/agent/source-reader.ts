/** A source of packets as the replayer reads it: a turn's worth at a time, counted, without copies. */
import type { CaptureError, CaptureFormat, CaptureReader, RecordBatch } from '../packets/source.ts';

/** Where a source's packets are counted, beside the batches that it gives. */
export interface SourceCounts {
  /** Packets taken and packets lost between capture and judge, where the source counts them; else what it gives is what it took. */
  readonly ring?: { readonly seen: number; readonly lost: number };
  /** Packets that the kernel dropped, as far as is known now; absent: what the capture itself says. */
  readonly kernelDrops?: () => number;
  readonly isEstimated?: boolean;
  /** Its packets are of now, not of a file. */
  readonly isLive: boolean;
}

export class SourceReader implements CaptureReader {
  /** Batches that it still gives. */
  budget = 0;
  readonly #reader: CaptureReader;
  readonly #counts: SourceCounts;
  readonly #admit: (batch: RecordBatch) => void;
  #given = 0;

  /** @param admit  is shown each batch, and leaves in it what is to be judged */
  constructor(reader: CaptureReader, counts: SourceCounts, admit: (batch: RecordBatch) => void) {
    this.#reader = reader;
    this.#counts = counts;
    this.#admit = admit;
  }

  get ring(): SourceCounts['ring'] {
    return this.#counts.ring;
  }

  get isLive(): boolean {
    return this.#counts.isLive;
  }

  get seen(): number {
    return this.#counts.ring?.seen ?? this.#given;
  }

  get lost(): number {
    return this.#counts.ring?.lost ?? 0;
  }

  get kernelDrops(): number {
    return this.#counts.kernelDrops?.() ?? this.#reader.lostPackets;
  }

  get isEstimated(): boolean {
    return this.#counts.isEstimated === true;
  }

  next(batch: RecordBatch): number {
    for (;;) {
      const count = this.budget > 0 ? this.#reader.next(batch) : 0;
      if (count === 0) {
        batch.count = 0;
        return 0;
      }
      this.budget--;
      this.#given += count;
      this.#admit(batch);
      if (batch.count > 0) return batch.count;
    }
  }

  fill(): boolean | Promise<boolean> {
    return this.#reader.fill();
  }

  interfaceName(number: number): string | undefined {
    return this.#reader.interfaceName(number);
  }

  close(): void {
    this.#reader.close();
  }

  get name(): string {
    return this.#reader.name;
  }

  get format(): CaptureFormat {
    return this.#reader.format;
  }

  get error(): CaptureError | undefined {
    return this.#reader.error;
  }

  get linkType(): number | undefined {
    return this.#reader.linkType;
  }

  get bytesRead(): number {
    return this.#reader.bytesRead;
  }

  get sizeBytes(): number | undefined {
    return this.#reader.sizeBytes;
  }

  get packetsRead(): number {
    return this.#reader.packetsRead;
  }

  get lostPackets(): number {
    return this.#reader.lostPackets;
  }

  get tlsSecrets(): readonly string[] {
    return this.#reader.tlsSecrets;
  }
}

/** A source without packets, for who only wants the replayer to look for new tables. */
export const NO_PACKETS: CaptureReader = {
  name: '',
  format: 'unknown',
  error: undefined,
  linkType: undefined,
  bytesRead: 0,
  sizeBytes: 0,
  packetsRead: 0,
  lostPackets: 0,
  tlsSecrets: [],
  fill: () => false,
  next: (batch) => {
    batch.count = 0;
    return 0;
  },
  interfaceName: () => undefined,
  close: () => {},
};
