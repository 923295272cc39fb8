/**
 * Where packets come from: the interface of all readers, and who owns which memory.
 *
 * A reader owns one buffer. `fill` reads more bytes into it and may move what is there; `next` finds records in it and
 * writes their places into a batch, without copying a byte. So the offsets of a batch are good until the next `fill`:
 *
 * ```ts
 * const batch = createRecordBatch();
 * for (;;) {
 *   while (reader.next(batch) > 0) judge(batch);      // synchronous, 256 records at a time
 *   const more = reader.fill();                       // a plain boolean for files, a promise for streams
 *   if (!(typeof more === 'boolean' ? more : await more)) break;
 * }
 * if (reader.error !== undefined) report(reader.error);  // what lay before the damage has been delivered
 * reader.close();
 * ```
 *
 * Every call of the loop makes progress: `next` returns 0 only if the buffer holds no whole record, `fill` returns true
 * only if it added bytes, and a record or block that could never fit the buffer is an error.
 */

/** Records in a full batch. */
export const BATCH_RECORDS = 256;

/** Captured bytes of one record. libpcap's own bound (MAXIMUM_SNAPLEN); larger lengths come from damaged files. */
export const RECORD_BYTES_MAX = 262_144;

/** Bytes of one pcapng block, libpcap's own bound. The buffer grows to hold it, and no further. */
export const PCAPNG_BLOCK_BYTES_MAX = 16 * 1024 * 1024;

/** Interfaces in one pcapng section; the descriptions are kept, so a file must not be able to repeat them for ever. */
export const PCAPNG_INTERFACES_MAX = 1024;

/** Names of interfaces that are kept, and the bytes of one; Linux has at most 15. */
export const INTERFACE_NAMES_MAX = 16_384;
export const INTERFACE_NAME_BYTES_MAX = 64;

/** Bytes of TLS secrets that a pcapng file may carry; the rest is passed over. */
export const TLS_SECRETS_BYTES_MAX = 64 * 1024 * 1024;

/** `RecordBatch.directions`, as the host that captured sees it. */
export const DIRECTION_UNKNOWN = 0;
export const DIRECTION_INBOUND = 1;
export const DIRECTION_OUTBOUND = 2;

/** Bytes asked of a file at a time; this and the buffer stay in the second-level cache. */
export const READ_CHUNK_BYTES = 512 * 1024;

/** Bytes of a reader's buffer: one read, the largest record, and room for a record header or block frame beside it. */
export const READ_BUFFER_BYTES = READ_CHUNK_BYTES + RECORD_BYTES_MAX + 4096;

/** Bytes that a compressed capture may hold. */
export const DECOMPRESSED_BYTES_MAX = 2 ** 40;

/** Decompressed bytes for each compressed one, once DECOMPRESSION_RATIO_FROM_BYTES are out; deflate ends at 1 032. */
export const DECOMPRESSION_RATIO_MAX = 500;
export const DECOMPRESSION_RATIO_FROM_BYTES = 256 * 1024 * 1024;

/**
 * Up to BATCH_RECORDS packets as columns; row `i` of each belongs to packet `i`, rows from `count` on mean nothing.
 *
 * `bytes` and `view` are the same memory, the reader's; it is theirs again at the next `fill`.
 */
export interface RecordBatch {
  count: number;
  bytes: Uint8Array;
  view: DataView;
  /** Where the frame starts in `bytes`. */
  readonly offsets: Int32Array;
  /** Bytes of the frame in the capture. */
  readonly capturedBytes: Int32Array;
  /** Bytes of the frame on the wire (uint32). */
  readonly wireBytes: Float64Array;
  /** Whole seconds since 1970 UTC; may be negative. */
  readonly seconds: Float64Array;
  /** 0 to 999 999 999. */
  readonly nanos: Int32Array;
  /** LINKTYPE_ numbers. */
  readonly linkTypes: Int32Array;
  /** Number of the interface, counted from 0 through all sections of the file; 0 in classic pcap. */
  readonly interfaces: Int32Array;
  /** DIRECTION_* of the packet at its interface, where a pcapng file says so. */
  readonly directions: Uint8Array;
}

export function createRecordBatch(): RecordBatch {
  const bytes = new Uint8Array(0);
  return {
    count: 0,
    bytes,
    view: new DataView(bytes.buffer),
    offsets: new Int32Array(BATCH_RECORDS),
    capturedBytes: new Int32Array(BATCH_RECORDS),
    wireBytes: new Float64Array(BATCH_RECORDS),
    seconds: new Float64Array(BATCH_RECORDS),
    nanos: new Int32Array(BATCH_RECORDS),
    linkTypes: new Int32Array(BATCH_RECORDS),
    interfaces: new Int32Array(BATCH_RECORDS),
    directions: new Uint8Array(BATCH_RECORDS),
  };
}

/** Row `from` of `batch` becomes row `to` of `into`, which may be the same batch; the bytes stay where they are. */
export function copyRow(batch: RecordBatch, from: number, into: RecordBatch, to: number): void {
  into.offsets[to] = batch.offsets[from]!;
  into.capturedBytes[to] = batch.capturedBytes[from]!;
  into.wireBytes[to] = batch.wireBytes[from]!;
  into.seconds[to] = batch.seconds[from]!;
  into.nanos[to] = batch.nanos[from]!;
  into.linkTypes[to] = batch.linkTypes[from]!;
  into.interfaces[to] = batch.interfaces[from]!;
  into.directions[to] = batch.directions[from]!;
}

/**
 * What went wrong with a capture.
 *
 * - `open`: the file is absent or may not be read
 * - `not-a-capture`: the first bytes are of no known format
 * - `unsupported`: a known format that we don't read (zstd on this Node.js, a future version)
 * - `truncated`: the file ends inside a header, record, block or compressed stream
 * - `malformed`: a length or field that cannot be
 * - `limit`: past one of the bounds above
 * - `io`: the system failed to read
 */
export type CaptureErrorKind = 'open' | 'not-a-capture' | 'unsupported' | 'truncated' | 'malformed' | 'limit' | 'io';

/** A capture cannot be read, or not further. `message` is one line: where, what is wrong, what to do. */
export class CaptureError extends Error {
  override readonly name = 'CaptureError';
  readonly kind: CaptureErrorKind;
  /** Byte of the (decompressed) capture where the damage lies: the start of the record, block or header it is in. */
  readonly offset: number;

  constructor(kind: CaptureErrorKind, offset: number, message: string) {
    super(message);
    this.kind = kind;
    this.offset = offset;
  }
}

/** Walks records of the ordinary pcap form in `view` from `position` to `end`; leaves what it took in its RecordsTaken. */
export type RecordWalk = (view: DataView, position: number, end: number) => void;

export interface RecordsTaken {
  readonly recordCount: number;
  /** Where the next record starts. */
  readonly position: number;
}

export type CaptureFormat = 'pcap' | 'pcapng' | 'unknown';

export interface CaptureReader {
  /** As the user gave it; `-` is standard input. */
  readonly name: string;
  readonly format: CaptureFormat;
  /**
   * Reads more bytes; false at the end or after an error. A promise only for streams and compressed files. Ends the
   * validity of all batches.
   */
  fill(): boolean | Promise<boolean>;
  /** Finds up to BATCH_RECORDS records in the buffer and returns how many; 0 asks for `fill`. Never throws. */
  next(batch: RecordBatch): number;
  /**
   * Where the records are those of an ordinary pcap file (little-endian, 16 bytes of header): lets `walk` take whole records from the
   * buffer by itself, and returns how many it took, 0 asking for `fill`; -1 = the records have another form. Absent: never of that form.
   */
  scan?(walk: RecordWalk, taken: RecordsTaken): number;
  /** Of the form that `scan` takes: the buffer, until the next `fill`, and what the fraction of a record's time counts. */
  readonly view?: DataView;
  readonly nanosPerTick?: number | undefined;
  /** Goes on in `memory`, of READ_BUFFER_BYTES, instead of memory of its own; what lies there already moves along. */
  readInto?(memory: Uint8Array): void;
  /** Describes the record that starts at `position` of the buffer, which a scan has passed, as row 0 of `batch`. */
  describe?(batch: RecordBatch, position: number): void;
  /** Set once, when reading can't go on; all packets before the damage have been or will be delivered by `next`. */
  readonly error: CaptureError | undefined;
  /** LINKTYPE_ number of the file or of the first interface described so far; undefined while unknown. */
  readonly linkType: number | undefined;
  /** Bytes taken from the file as it lies on disk (compressed ones, if it is compressed), for progress. */
  readonly bytesRead: number;
  /** Size of the file on disk, undefined for streams. */
  readonly sizeBytes: number | undefined;
  /** Name of an interface by its number in `RecordBatch.interfaces`, if the capture tells it (pcapng). */
  interfaceName(number: number): string | undefined;
  /** Packets delivered so far. */
  readonly packetsRead: number;
  /** Packets that the capturing program says it lost (pcapng only). */
  readonly lostPackets: number;
  /** Texts of the TLS key logs that the capture carries (pcapng decryption secrets blocks), as far as it was read. */
  readonly tlsSecrets: readonly string[];
  /** Closes the file. Any number of times, also in the middle. */
  close(): void;
}
