/**
 * Files that are watched: the system's notices where they work, a look every second where they do not (network file systems, mounts of
 * ConfigMaps that change by a link). A burst of changes is one: what changed is told when it has been quiet for a moment, or after a second at
 * the latest.
 */
import { type FSWatcher, watch } from 'node:fs';
import { dirname } from 'node:path';
import { filesFingerprint } from '../load/files.ts';

const LOOK_MS = 1_000;
const QUIET_MS = 100;
const BURST_MS_MAX = 1_000;

export class FileWatch {
  readonly #names: readonly string[];
  readonly #isRecursive: boolean;
  readonly #onChange: () => void;
  readonly #watchers: FSWatcher[] = [];
  readonly #looking: NodeJS.Timeout;
  #seen: string;
  #told: string;
  #quiet: NodeJS.Timeout | undefined;
  #burstMs = 0;

  /** `onChange` is called from a timer, never at once. */
  constructor(names: readonly string[], isRecursive: boolean, onChange: () => void) {
    this.#names = names;
    this.#isRecursive = isRecursive;
    this.#onChange = onChange;
    this.#seen = filesFingerprint(names, isRecursive);
    this.#told = this.#seen;
    this.#looking = setInterval(() => this.#look(), LOOK_MS);
    for (const name of new Set(names.flatMap((each) => [each, dirname(each)]))) this.#listen(name);
  }

  close(): void {
    clearInterval(this.#looking);
    clearTimeout(this.#quiet);
    for (const watcher of this.#watchers) watcher.close();
  }

  #listen(name: string): void {
    try {
      const watcher = watch(name, { persistent: false }, () => this.#look());
      // It ends when what it watches goes away; the looks go on.
      watcher.on('error', () => watcher.close());
      this.#watchers.push(watcher);
    } catch {
      // No notices from there.
    }
  }

  #look(): void {
    const now = filesFingerprint(this.#names, this.#isRecursive);
    if (now === this.#seen) return;
    this.#seen = now;
    const clockMs = performance.now();
    if (this.#quiet === undefined) this.#burstMs = clockMs;
    clearTimeout(this.#quiet);
    const left = this.#burstMs + BURST_MS_MAX - clockMs;
    this.#quiet = setTimeout(() => this.#settle(), Math.max(0, Math.min(QUIET_MS, left)));
  }

  #settle(): void {
    this.#quiet = undefined;
    this.#seen = filesFingerprint(this.#names, this.#isRecursive);
    // Written and put back: nothing changed.
    if (this.#seen === this.#told) return;
    this.#told = this.#seen;
    this.#onChange();
  }
}
