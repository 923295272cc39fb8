/**
 * The chains of one IP version: which ones the endpoints need, their rows, and the policy classes folded from them.
 *
 * Work goes in three stages, since classes depend on the predicates of all chains and rows depend on the classes:
 * `endpointSlots` collects chains (equal ones once), then the caller builds the peer classes, then `packChains` writes
 * steps and rows, and `policyClass` folds a chain with a local row on demand.
 */
import { assert } from '../base/assert.ts';
import { WordInterner } from '../base/word-interner.ts';
import { NoRoomError, zeroWords } from '../base/words.ts';
import { type Dataplane, DIRECTION_INGRESS } from '../model/flow.ts';
import * as layout from '../tables/layout.ts';
import { ChainSlots, hasSameChains } from './chain-slots.ts';
import { CHAIN_KINDS, type ChainSpec, chainSteps, isVersionNeutralChain, type Step } from './chains.ts';
import { ClassMaps } from './class-maps.ts';
import type { PeerClasses } from './classes.ts';
import { PredicateTable } from './fields.ts';
import { encodeFunction, foldFunction } from './fold.ts';
import type { ObjectNumbers } from './pack-objects.ts';
import { failsafeCount, type PackedSteps, StepPacker } from './pack-steps.ts';
import type { Plan, PlanGroup, PlanSettings, PlanTierPolicies } from './plan.ts';
import { type AddressRows, addressRows, packRows, rowWords } from './rows.ts';
import type { Sections } from './sections.ts';

/** Policy class 0: no check. Its step is step 0. */
export const NO_CHECK_CLASS = 0;

interface Chain {
  readonly spec: ChainSpec;
  readonly steps: readonly Step[];
  /** The chain of the other IP version with the same steps: its place among those of the twin. */
  readonly twin: number | undefined;
}

interface PackedChain extends PackedSteps {
  readonly number: number;
  /** In tables that are repacked: its policy classes, and the local row of each. */
  readonly policyClasses: { readonly number: number; readonly localRow: number }[];
  /** Rows of each side's addresses. */
  readonly src: Int32Array[];
  readonly dst: Int32Array[];
  readonly srcMap: number;
  readonly dstMap: number;
}

export class ChainPacker {
  readonly version: 4 | 6;
  readonly table: PredicateTable;
  readonly #plan: Plan;
  readonly #sections: Sections;
  readonly #firstNumber: number;
  readonly #dataplane: Dataplane;
  readonly #chains: Chain[] = [];
  readonly #numbers = new Map<string, number>();
  readonly #packed: PackedChain[] = [];
  readonly #slots = new Map<string, readonly number[]>();
  readonly #sharedSlots = new Map<string, readonly number[]>();
  #lastSlots: { settingsKey: number; group: PlanGroup; slots: readonly number[] } | undefined;
  readonly #listNumbers = new Map<readonly PlanTierPolicies[], number>();
  readonly #policyClasses = new Map<string, number>();
  /** Port functions, and the refs of them by number. */
  readonly #functions: WordInterner;
  readonly #functionRefs: number[];
  readonly #stepPacker: StepPacker;
  /** The packer of the other IP version, which came first. */
  readonly #twin: ChainPacker | undefined;
  /** Peer classes that may come after those there are; > 0 = the tables are repacked. */
  readonly #room: number;
  #classCount = 0;
  #classes: PeerClasses | undefined;
  #objectNumbers: ObjectNumbers | undefined;
  /** Of repacked tables, chains that came later: places in `#chains` by number. */
  readonly #laterChains = new Map<number, number>();
  /** By predicate: `2 * place` of the chains that ask it of the source, `2 * place + 1` of the destination. */
  readonly #asking = new Map<number, number[]>();
  #maps: ClassMaps | undefined;
  /** A word for each peer class, all 0 (rows.ts). */
  #placeOf: Int32Array = new Int32Array();
  #initialCount = 0;

  /**
   * `firstNumber` is the number that the first chain of this version will get in SECTION_CHAINS. `room` is for tables that are repacked: how many
   * peer classes may come. `twin` is the packer of the other version: a chain that has the same steps for both shares them, their texts and
   * the rows of their ports.
   */
  constructor(
    plan: Plan,
    version: 4 | 6,
    sections: Sections,
    firstNumber: number,
    dataplane: Dataplane,
    room = 0,
    twin?: ChainPacker,
  ) {
    this.#room = room;
    this.version = version;
    this.table = twin?.table ?? new PredicateTable(plan);
    this.#twin = twin;
    this.#functions = twin === undefined ? new WordInterner() : twin.#functions;
    this.#functionRefs = twin === undefined ? [] : twin.#functionRefs;
    this.#stepPacker = twin === undefined ? new StepPacker(sections) : twin.#stepPacker;
    this.#plan = plan;
    this.#sections = sections;
    this.#firstNumber = firstNumber;
    this.#dataplane = dataplane;
  }

  get chainCount(): number {
    return this.#chains.length;
  }

  /** The chains of an endpoint of `group` under `settings`: CHAIN_SLOT_COUNT numbers, NONE where no such check runs. */
  endpointSlots(groupIndex: number, settings: PlanSettings, settingsKey: number): readonly number[] {
    const key = `${groupIndex}|${settingsKey}`;
    let slots = this.#slots.get(key);
    if (slots === undefined) {
      slots = this.#slotsOf(this.#plan.groups[groupIndex]!, settings, settingsKey);
      this.#slots.set(key, slots);
    }
    return slots;
  }

  /** Groups that run the same policies and profiles have one list, but in tables that are repacked, where a group may leave the others. */
  #slotsOf(group: PlanGroup, settings: PlanSettings, settingsKey: number): readonly number[] {
    if (this.#room > 0) return this.#chainSlots(settings, settingsKey).of(group);
    const last = this.#lastSlots;
    if (last !== undefined && last.settingsKey === settingsKey && hasSameChains(group, last.group)) return last.slots;
    // Equal lists of policies are one array (select-policies.ts).
    const lists = [group.tiers, group.forwardTiers, group.preDnatTiers, group.untrackedTiers];
    const key = [settingsKey, group.kind, ...lists.map((list) => this.#listNumber(list)), ...group.profiles].join('|');
    let slots = this.#sharedSlots.get(key);
    if (slots === undefined) {
      slots = this.#chainSlots(settings, settingsKey).of(group);
      this.#sharedSlots.set(key, slots);
    }
    this.#lastSlots = { settingsKey, group, slots };
    return slots;
  }

  #listNumber(list: readonly PlanTierPolicies[]): number {
    let number = this.#listNumbers.get(list);
    if (number === undefined) {
      number = this.#listNumbers.size;
      this.#listNumbers.set(list, number);
    }
    return number;
  }

  /** The chains of a pod that Felix refuses, in the same form. */
  rejectedSlots(settings: PlanSettings, settingsKey: number): readonly number[] {
    return this.#chainSlots(settings, settingsKey).ofRejected();
  }

  #chainSlots(settings: PlanSettings, settingsKey: number): ChainSlots {
    return new ChainSlots(this.#plan, this.version, settings, this.#dataplane, (spec) =>
      this.#chain(spec, settingsKey),
    );
  }

  /** Writes all chains collected so far. */
  packChains(classes: PeerClasses, numbers: ObjectNumbers): void {
    this.#classCount = classes.count + this.#room;
    this.#maps = new ClassMaps(this.#sections, classes.count, this.#room);
    this.#placeOf = zeroWords(this.#classCount);
    this.#classes = classes;
    this.#initialCount = this.#chains.length;
    this.#objectNumbers = numbers;
    for (const chain of this.#chains) this.#pack(chain, classes, numbers);
  }

  /** The policy class of chain `number` for a local end of class `localClass`; folds it if it is new. */
  policyClass(number: number, localClass: number): number {
    if (number === layout.NONE) return NO_CHECK_CLASS;
    const index = this.#laterChains.get(number) ?? number - this.#firstNumber;
    const packed = this.#packed[index]!;
    const isIngress = this.#chains[index]!.spec.direction === DIRECTION_INGRESS;
    const localRow = this.#maps!.rowOf(isIngress ? packed.dstMap : packed.srcMap, localClass);
    const key = `${number}|${localRow}`;
    let policyClass = this.#policyClasses.get(key);
    if (policyClass === undefined) {
      policyClass = this.#foldClass(index, localRow, isIngress);
      this.#policyClasses.set(key, policyClass);
      if (this.#room > 0) packed.policyClasses.push({ number: policyClass, localRow });
    }
    return policyClass;
  }

  /** The number of a chain, new or known: chains are the same if they run the same policies and profiles the same way. */
  #chain(spec: ChainSpec, settingsKey: number): number {
    const isIngress = spec.direction === DIRECTION_INGRESS;
    const tiers = spec.tiers.map((entry) => {
      const policies = (isIngress ? entry.ingress : entry.egress).filter(
        (policy) => spec.withStaged || !this.#plan.policies[policy]!.isStaged,
      );
      return policies.length === 0 ? '' : `${entry.tier}:${policies.join(',')}`;
    });
    const key = [spec.direction, spec.kind, settingsKey, tiers.join(';'), spec.profiles.join(',')].join('|');
    let index = this.#numbers.get(key);
    if (index === undefined) {
      index = this.#chains.length;
      const predicateCount = this.table.predicates.length;
      const chain = this.#newChain(key, spec);
      this.#chains.push(chain);
      this.#numbers.set(key, index);
      if (this.#classes !== undefined) {
        // The classes know nothing of predicates that nobody asked before.
        if (this.table.predicates.length > predicateCount) throw new NoRoomError();
        this.#laterChains.set(this.#pack(chain, this.#classes, this.#objectNumbers!), index);
      }
    }
    return this.#packed[index]?.number ?? this.#firstNumber + index;
  }

  #newChain(key: string, spec: ChainSpec): Chain {
    const twin = this.#twin;
    const index = twin === undefined ? undefined : twin.#numbers.get(key);
    if (twin === undefined || index === undefined || !isVersionNeutralChain(this.#plan, spec)) {
      return { spec, steps: chainSteps(this.#plan, spec, this.table), twin: undefined };
    }
    return { spec, steps: twin.#chains[index]!.steps, twin: index };
  }

  /** In tables that are repacked: the chains of `group` are worked out anew when next asked for. */
  forgetSlots(group: number): void {
    for (const key of this.#slots.keys()) if (key.startsWith(`${group}|`)) this.#slots.delete(key);
  }

  /** How many peer classes there is room for. */
  get classLimit(): number {
    return this.#classCount;
  }

  /**
   * In tables that are repacked: a peer class that differs from `base` in `changed` predicates alone.
   *
   * @param set  its predicates, ascending
   */
  addClass(peerClass: number, base: number, set: readonly number[], changed: readonly number[]): void {
    if (peerClass >= this.#classCount) throw new NoRoomError();
    const maps = this.#maps!;
    for (const { srcMap, dstMap } of this.#packed) {
      if (srcMap !== maps.zero) maps.set(srcMap, peerClass, maps.rowOf(srcMap, base));
      if (dstMap !== maps.zero) maps.set(dstMap, peerClass, maps.rowOf(dstMap, base));
    }
    const holding = new Set(set);
    for (const asking of new Set(changed.flatMap((predicate) => this.#asking.get(predicate) ?? []))) {
      const index = asking >> 1;
      const side = (asking & 1) === 0 ? 'src' : 'dst';
      const { srcMap, dstMap } = this.#packed[index]!;
      maps.set(side === 'src' ? srcMap : dstMap, peerClass, this.#rowOf(index, side, holding));
    }
  }

  /** The number of the row of an address for which the predicates of `set` hold; written if there is none like it. */
  #rowOf(index: number, side: 'src' | 'dst', set: ReadonlySet<number>): number {
    const { steps } = this.#chains[index]!;
    const row = new Int32Array(rowWords(steps.length));
    steps.forEach(({ term }, step) => {
      const { allOf, noneOf } = term[side];
      const holds = allOf.every((each) => set.has(each)) && !noneOf.some((each) => set.has(each));
      if (holds) row[step >>> 5]! |= 1 << (step & 31);
    });
    const packed = this.#packed[index]!;
    const known = packed[side].findIndex((each) => each.every((word, i) => word === row[i]));
    return known >= 0 ? known : this.#addRow(index, side, row);
  }

  /** Rows of a chain follow each other, as do the functions of a policy class: with one more they move behind all others. */
  #addRow(index: number, side: 'src' | 'dst', row: Int32Array): number {
    const packed = this.#packed[index]!;
    const rows = packed[side];
    const number = rows.push(row) - 1;
    const chains = this.#sections.section(layout.SECTION_CHAINS);
    const at = packed.number * layout.CHAIN_SIZE + (side === 'src' ? layout.CHAIN_SRC_ROWS : layout.CHAIN_DST_ROWS);
    chains.set(at, packRows(this.#sections, rows));
    chains.set(at + 1, rows.length);
    const isIngress = this.#chains[index]!.spec.direction === DIRECTION_INGRESS;
    if ((side === 'src') !== isIngress) return number;
    for (const { number: policyClass, localRow } of packed.policyClasses) {
      const classes = this.#sections.section(layout.SECTION_POLICY_CLASSES);
      const record = policyClass * layout.POLICY_CLASS_SIZE;
      const refs = this.#sections.section(layout.SECTION_FUNCTION_REFS);
      const old = classes.at(record + layout.POLICY_CLASS_REFS);
      const ref = this.#fold(index, localRow, row, isIngress);
      classes.set(record + layout.POLICY_CLASS_REFS, refs.append([...refs.view().slice(old, old + number), ref]));
      classes.set(record + layout.POLICY_CLASS_COLUMNS, number + 1);
    }
    return number;
  }

  #pack(chain: Chain, classes: PeerClasses, numbers: ObjectNumbers): number {
    const packed = this.#packChain(chain, classes, numbers);
    const index = this.#packed.push(packed) - 1;
    if (this.#room === 0) return packed.number;
    for (const { term } of chain.steps) {
      for (const [side, code] of [
        [term.src, 2 * index],
        [term.dst, 2 * index + 1],
      ] as const) {
        for (const predicate of [...side.allOf, ...side.noneOf]) {
          const asking = this.#asking.get(predicate);
          if (asking === undefined) this.#asking.set(predicate, [code]);
          else if (asking.at(-1) !== code && !asking.includes(code)) asking.push(code);
        }
      }
    }
    return packed.number;
  }

  #packChain(chain: Chain, classes: PeerClasses, numbers: ObjectNumbers): PackedChain {
    const sections = this.#sections;
    const { steps, spec } = chain;
    const { firstStep, sameSteps, keyWords } =
      this.#twinSteps(chain) ?? this.#stepPacker.pack(steps, spec.direction, numbers);
    const src = addressRows(steps, 'src', classes.classesOf, this.#placeOf);
    const dst = addressRows(steps, 'dst', classes.classesOf, this.#placeOf);
    const srcMap = this.#map(src);
    const dstMap = this.#map(dst);
    const number = sections.record(layout.SECTION_CHAINS, [
      this.version,
      spec.direction,
      firstStep,
      steps.length,
      rowWords(steps.length),
      srcMap,
      dstMap,
      packRows(this.#sections, src.rows),
      src.rows.length,
      packRows(this.#sections, dst.rows),
      dst.rows.length,
      ...keyWords,
      CHAIN_KINDS.indexOf(spec.kind),
      failsafeCount(steps),
    ]);
    const isLater = this.#room > 0 && this.#packed.length >= this.#initialCount;
    if (!isLater)
      assert(number === this.#firstNumber + this.#packed.length, 'chains are packed in the order of their numbers');
    return { number, policyClasses: [], firstStep, sameSteps, keyWords, src: src.rows, dst: dst.rows, srcMap, dstMap };
  }

  #twinSteps({ twin }: Chain): PackedSteps | undefined {
    return twin === undefined || this.#twin === undefined ? undefined : this.#twin.#packed[twin];
  }

  /** In tables that are repacked, a chain that asks for addresses at all has a map of its own: a class may come that it asks for. */
  #map({ mapped }: AddressRows): number {
    const maps = this.#maps!;
    if (mapped === undefined) return maps.zero;
    return this.#room > 0 ? maps.addOwn(mapped) : maps.add(mapped);
  }

  /** The ref of the function of one pair of rows. */
  #fold(index: number, localRow: number, peerRow: Int32Array, isIngress: boolean): number {
    const { steps } = this.#chains[index]!;
    const packed = this.#packed[index]!;
    const fn = foldFunction(steps, (isIngress ? packed.dst : packed.src)[localRow]!, peerRow);
    return fn === undefined ? layout.NONE : this.#functionRef(encodeFunction(fn, steps, packed.sameSteps));
  }

  #foldClass(index: number, localRow: number, isIngress: boolean): number {
    const sections = this.#sections;
    const packed = this.#packed[index]!;
    const peer = isIngress ? packed.src : packed.dst;
    const refs = sections.section(layout.SECTION_FUNCTION_REFS);
    const firstRef = refs.length;
    for (const row of peer) {
      refs.push(this.#fold(index, localRow, row, isIngress));
    }
    return sections.record(layout.SECTION_POLICY_CLASSES, [
      packed.number,
      localRow,
      isIngress ? packed.srcMap : packed.dstMap,
      firstRef,
      peer.length,
    ]);
  }

  #functionRef(words: Int32Array): number {
    const number = this.#functions.number(words);
    if (number === this.#functionRefs.length) {
      const offset = this.#sections.section(layout.SECTION_FUNCTIONS).append(words);
      this.#functionRefs.push((offset << 5) | (Math.log2(words.length) - 1));
    }
    return this.#functionRefs[number]!;
  }
}
