/**
 * A second thread that reads the pods in the last part of a long dump while this one reads the first.
 *
 * Nothing changes in how a file is read: this thread still goes through it from the first byte to the last. But where an item begins at
 * an offset from which the other thread has read a pod, the pod is taken from there instead of being scanned once more. The other thread looks for
 * an item to begin with by itself; whatever it took for one, only what begins where an item begins is ever asked for, and the same bytes
 * read by the same reader are the same pod.
 *
 *   this thread    items 0 … 140 000 scanned │ item at offset 1 124 900 012? ─► pod, 8 412 bytes, 240 lines
 *   other thread           items 140 001 … 250 000, in parcels of a few thousand ──┘
 *
 * If the other thread fails or falls behind, this one scans. Only for files: a stream has no last part to begin with.
 */
import { MessageChannel, type MessagePort, receiveMessageOnPort, Worker } from 'node:worker_threads';
import { threadEntry } from '../base/thread-entry.ts';
import type { Pod, StringMap } from '../model/resources.ts';
import { NO_ENTRIES } from './raw.ts';

/** Smaller files are read before a thread has started. */
export const AHEAD_BYTES_MIN = 256 * 1024 * 1024;
/** Where the other thread begins: it has started later and hands over what it reads. */
const SHARE_BEFORE = 0.52;

export interface PodsAheadStart {
  readonly path: string;
  readonly file: string;
  readonly isAsIs: boolean;
  readonly fromByte: number;
  /** One number (int64): everything before this offset that can be read ahead has been sent. */
  readonly progress: SharedArrayBuffer;
  readonly port: MessagePort;
}

/** Pods in order of where they begin, and of each where it ends, the lines in it and the offset behind its last line end. */
export interface PodParcel {
  readonly pods: readonly Pod[];
  readonly starts: Float64Array;
  readonly ends: Float64Array;
  readonly lines: Int32Array;
  readonly lineStarts: Float64Array;
}

/** A pod that was read ahead; offsets in the file. */
export interface PodAhead {
  readonly pod: Pod;
  readonly end: number;
  readonly lines: number;
  readonly lineStart: number;
}

export class PodsAhead {
  readonly #fromByte: number;
  readonly #worker: Worker;
  readonly #progress: BigInt64Array;
  readonly #port: MessagePort;
  readonly #texts = new Map<string, string>();
  #parcel: PodParcel | undefined;
  #at = 0;

  constructor(path: string, file: string, isAsIs: boolean, lengthBytes: number) {
    this.#fromByte = Math.floor(lengthBytes * SHARE_BEFORE);
    const progress = new SharedArrayBuffer(8);
    this.#progress = new BigInt64Array(progress);
    const { port1, port2 } = new MessageChannel();
    this.#port = port1;
    const workerData: PodsAheadStart = { path, file, isAsIs, fromByte: this.#fromByte, progress, port: port2 };
    this.#worker = new Worker(threadEntry(import.meta.url, 'pods-ahead-worker'), {
      workerData,
      transferList: [port2],
      name: 'margay load',
    });
    // What it does not send is scanned here.
    this.#worker.on('error', () => {});
    this.#worker.unref();
    port1.unref();
  }

  /** All that can be read ahead has been read. */
  get isDone(): boolean {
    return Atomics.load(this.#progress, 0) === BigInt(Number.MAX_SAFE_INTEGER);
  }

  /** The pod that begins at this offset of the file, if it has been read ahead; `line` is where it begins. Offsets must not go back. */
  take(offset: number, line: number): PodAhead | undefined {
    if (offset < this.#fromByte || offset >= Atomics.load(this.#progress, 0)) return undefined;
    for (;;) {
      if (this.#parcel === undefined) {
        // Sent before the progress was told.
        const received = receiveMessageOnPort(this.#port);
        if (received === undefined) return undefined;
        this.#parcel = received.message as PodParcel;
        this.#at = 0;
      }
      const { pods, starts, ends, lines, lineStarts } = this.#parcel;
      while (this.#at < pods.length && starts[this.#at]! < offset) this.#at++;
      if (this.#at === pods.length) {
        this.#parcel = undefined;
        continue;
      }
      if (starts[this.#at] !== offset) return undefined;
      const at = this.#at++;
      return { pod: this.#shared(pods[at]!, line), end: ends[at]!, lines: lines[at]!, lineStart: lineStarts[at]! };
    }
  }

  close(): void {
    this.#port.close();
    void this.#worker.terminate();
  }

  /** The pod with its line, and with one object each of what pods share: every message has copies of its own. */
  #shared(pod: Pod, line: number): Pod {
    const { meta } = pod;
    return {
      ...pod,
      meta: {
        ...meta,
        namespace: this.#text(meta.namespace),
        labels: shared(meta.labels),
        annotations: shared(meta.annotations),
        origin: { file: this.#text(meta.origin.file), line },
      },
      nodeName: this.#text(pod.nodeName),
      serviceAccountName: this.#text(pod.serviceAccountName),
      phase: this.#text(pod.phase),
    };
  }

  #text(text: string): string {
    const known = this.#texts.get(text);
    if (known !== undefined) return known;
    this.#texts.set(text, text);
    return text;
  }
}

function shared(map: StringMap): StringMap {
  return map.size === 0 ? NO_ENTRIES : map;
}
