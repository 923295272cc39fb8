/**
 * A compiler that sees objects come and go and keeps tables up to date: a small change is written into them (repack.ts), all else is packed anew.
 *
 * Written into the tables are labels of service accounts and namespaces, and pods that come, go or change. For these the joins of the plan
 * need not be made again: a label that changed can only matter to selectors that ask about its key, and to groups that inherit it,
 * so those selectors are evaluated on those groups, and what comes out otherwise than before is the change (patch-state.ts):
 *
 *   account a: role r1 -> r2 ─► selectors that ask pcsa.role: 3 ─► groups of a: 1 ─► one set left, one entered
 *
 * A pod that has another address and is the same otherwise is not even that: a few words, stored one by one in the newest tables themselves, where
 * everybody who judges by them sees it at once (direct-addresses.ts).
 *
 * Whatever else changes, or has to do with more than this (an address that two own, a named port in a set, a profile that nobody used so far),
 * means a full plan and a full pack. Verdicts are the same either way; `test/compile/repack.test.ts` compares them over random changes.
 */
import { NoRoomError } from '../base/words.ts';
import type { Resource, Resources } from '../model/resources.ts';
import { openTables, type Tables } from '../tables/tables.ts';
import { IncrementalCompiler, type ResourceName } from './incremental.ts';
import { type PackOptions, type PackRoom, packPlan } from './pack.ts';
import { type Change, type EndpointChanges, NO_CHANGES, PatchState } from './patch-state.ts';
import type { Plan } from './plan.ts';

export class LiveCompiler {
  /** Publications that were stored in the newest tables, that were written into the older ones, and that were packed anew. */
  readonly counts = { stored: 0, patched: 0, packed: 0 };
  readonly #compiler: IncrementalCompiler;
  readonly #options: PackOptions;
  readonly #room: PackRoom | undefined;
  #changes: Change[] = [];
  #state: PatchState | undefined;
  #tables: Tables | undefined;
  #isPatched = false;

  /** `room`: how much may come before tables are packed anew, where it is not the usual. */
  constructor(resources: Resources, options: PackOptions = {}, room?: PackRoom) {
    this.#room = room;
    this.#compiler = new IncrementalCompiler(resources);
    this.#options = options;
  }

  /** Adds an object, or replaces the one of its kind, namespace and name. */
  set(resource: Resource): void {
    const before = this.#compiler.replace(resource);
    if (before !== resource) this.#changes.push({ before, after: resource });
  }

  /** Removes the object of this kind, namespace and name; whether there was one. */
  delete(resource: ResourceName): boolean {
    const before = this.#compiler.get(resource);
    if (before !== undefined) this.#changes.push({ before, after: undefined });
    return this.#compiler.delete(resource);
  }

  /** The objects as they are now. */
  resources(): Resources {
    return this.#compiler.resources();
  }

  /** The plan of the objects as they are now; it costs more than `publish`. */
  plan(): Plan {
    return this.#compiler.plan();
  }

  /**
   * Tables with all changes so far. Those of the publication before the last are written over: who may still read them is asked by `isOlderFree`
   * (Publisher.isOlderFree of tables/publish.ts); nobody, where it is not given. Where pods have other addresses and nothing else changed, the same
   * tables come back, in which that is so now.
   *
   * @param isInTurns  nothing is stored in the newest tables: who has them does not see a change before the next ones
   */
  publish(isOlderFree: () => boolean = () => true, isInTurns = false): Tables {
    let changes: readonly Change[] = this.#changes;
    if (this.#tables !== undefined && changes.length === 0) return this.#tables;
    this.#changes = [];
    if (this.#state !== undefined) {
      changes = this.#state.store(changes, isOlderFree, isInTurns);
      if (changes.length === 0) {
        this.counts.stored++;
        this.#isPatched = true;
        return this.#tables!;
      }
    }
    const patched = this.#patch(changes, isOlderFree);
    this.#isPatched = patched !== undefined;
    this.#tables = patched ?? this.#pack();
    return this.#tables;
  }

  /** The object of this kind, namespace and name, as it is now. */
  get(resource: ResourceName): Resource | undefined {
    return this.#compiler.get(resource);
  }

  /** Endpoints that the last publication added and took away, where it was written into the tables. */
  get lastEndpoints(): EndpointChanges {
    return (this.#isPatched ? this.#state?.endpointChanges : undefined) ?? NO_CHANGES;
  }

  /**
   * Starts and ends, in words of the buffer, of what the last publication wrote into the tables, for who keeps a copy of them where memory
   * is not shared; `undefined` if they were packed anew.
   */
  get lastWritten(): readonly number[] | undefined {
    return this.#isPatched ? this.#state?.lastWritten : undefined;
  }

  #patch(changes: readonly Change[], isOlderFree: () => boolean): Tables | undefined {
    if (this.#state === undefined) return undefined;
    try {
      const tables = this.#state.apply(changes, isOlderFree());
      if (tables !== undefined) this.counts.patched++;
      return tables;
    } catch (error) {
      if (!(error instanceof NoRoomError)) throw error;
      return undefined;
    }
  }

  #pack(): Tables {
    this.counts.packed++;
    // What it holds is garbage before the new one is made.
    this.#state = undefined;
    const { plan, joined, shapes } = this.#compiler.joined();
    const isRepackable =
      this.#options.live === undefined &&
      plan.rejectedPods.length === 0 &&
      plan.endpoints.every(({ spans }) => spans === undefined);
    if (!isRepackable) return openTables(packPlan(plan, this.#options));
    this.#state = new PatchState(plan, joined, shapes, this.#options, this.#room);
    return this.#state.tables;
  }
}
