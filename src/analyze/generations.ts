/**
 * What outlives a generation of tables in a packet path: numbers that connection tracking knows nodes by, and counts by rule.
 *
 * Node indexes and step indexes are those of one set of tables. A path that goes on with other tables in mid-capture keeps its connections
 * and its totals, so both are put in terms that last: a node's name, and what a step says (counters.ts).
 */
import { type Counters, createCounters } from '../match/counters.ts';
import * as layout from '../tables/layout.ts';
import { type Tables, textField } from '../tables/tables.ts';
import { type RuleCount, RuleCounts } from './counters.ts';

/** Gives each node name a number at first sight, and keeps it. */
export class NodeNumbers {
  readonly #numbers = new Map<string, number>();

  /** By node of `tables`. */
  of(tables: Tables): Int32Array {
    return Int32Array.from({ length: tables.counts[layout.SECTION_NODES]! }, (_, node) => {
      const name = textField(tables, layout.SECTION_NODES, node, layout.NODE_NAME);
      const number = this.#numbers.get(name) ?? this.#numbers.size;
      this.#numbers.set(name, number);
      return number;
    });
  }
}

/** The counters of the tables in use, and what was counted by steps of earlier ones. */
export class GenerationCounters {
  counters: Counters;
  #tables: Tables;
  readonly #earlier = new RuleCounts();

  constructor(tables: Tables) {
    this.#tables = tables;
    this.counters = createCounters(tables);
  }

  /** Goes on with `tables`: totals stay, steps start anew. */
  swap(tables: Tables): void {
    this.#earlier.addSteps(this.#tables, this.counters);
    const { packets, bytes, undecoded, otherPackets, otherBytes } = this.counters;
    this.counters = { ...createCounters(tables), packets, bytes, undecoded, otherPackets, otherBytes };
    this.#tables = tables;
  }

  /** Counts by rule over all generations. Call once, at the end: it closes the books of the tables in use. */
  rules(): RuleCount[] {
    this.#earlier.addSteps(this.#tables, this.counters);
    this.#earlier.addOthers(this.counters);
    return this.#earlier.sorted();
  }
}
