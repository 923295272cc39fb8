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
import { type Dataplane, DIRECTION_EGRESS, DIRECTION_INGRESS, REASON_FAILSAFE } from '../model/flow.ts';
import * as layout from '../tables/layout.ts';
import { CHAIN_KINDS, type ChainKind, type ChainSpec, chainSteps, isVersionNeutralChain, type Step } from './chains.ts';
import type { PeerClasses } from './classes.ts';
import { PredicateTable } from './fields.ts';
import { encodeFunction, foldFunction } from './fold.ts';
import type { ObjectNumbers } from './pack-objects.ts';
import type { Plan, PlanGroup, PlanSettings, PlanTierPolicies } from './plan.ts';
import { type AddressRows, addressRows, keyRows, rowWords } from './rows.ts';
import type { Sections } from './sections.ts';

/** Policy class 0: no check. Its step is step 0. */
export const NO_CHECK_CLASS = 0;

interface Chain {
  readonly spec: ChainSpec;
  readonly steps: readonly Step[];
  /** The chain of the other IP version with the same steps: its place among those of the twin. */
  readonly twin: number | undefined;
}

/** What a chain has of its own steps alone, whatever the addresses: equal for both IP versions where the steps are. */
interface PackedSteps {
  readonly firstStep: number;
  /** By step of the chain: the first step anywhere that says the same. */
  readonly sameSteps: Int32Array;
  /** The words CHAIN_KEYS to CHAIN_SOURCE_KEYS. */
  readonly keyWords: readonly number[];
}

interface PackedChain extends PackedSteps {
  readonly number: number;
  /** In tables that are repacked: its policy classes, and the local row of each. */
  readonly policyClasses: { readonly number: number; readonly localRow: number }[];
  readonly src: AddressRows;
  readonly dst: AddressRows;
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
  readonly #maps = new WordInterner();
  readonly #mapOffsets: number[] = [];
  /** Port functions, and the refs of them by number. */
  readonly #functions: WordInterner;
  readonly #functionRefs: number[];
  /** The first step that says the same: by rule, or of other steps by what they say. */
  readonly #stepOfRule: number[];
  readonly #sameSteps: Map<string, number>;
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
  /** Where the map lies that gives every class row 0. */
  #zeroMap: number | undefined;
  #zeros: Int32Array | undefined;
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
    this.#stepOfRule = twin === undefined ? [] : twin.#stepOfRule;
    this.#sameSteps = twin === undefined ? new Map() : twin.#sameSteps;
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
    if (this.#room > 0) return this.#makeSlots(group, settings, settingsKey);
    const last = this.#lastSlots;
    if (last !== undefined && last.settingsKey === settingsKey && hasSameChains(group, last.group)) return last.slots;
    // Equal lists of policies are one array (select-policies.ts).
    const lists = [group.tiers, group.forwardTiers, group.preDnatTiers, group.untrackedTiers];
    const key = [settingsKey, group.kind, ...lists.map((list) => this.#listNumber(list)), ...group.profiles].join('|');
    let slots = this.#sharedSlots.get(key);
    if (slots === undefined) {
      slots = this.#makeSlots(group, settings, settingsKey);
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
    const slots = new Array<number>(layout.CHAIN_SLOT_COUNT).fill(layout.NONE);
    if (this.version === 6 && !settings.ipv6Support) return slots;
    const chain = (direction: number): number =>
      this.#chain(
        {
          version: this.version,
          direction,
          kind: 'rejected',
          tiers: [],
          profiles: [],
          withStaged: false,
          settings,
          dataplane: this.#dataplane,
        },
        settingsKey,
      );
    slots[layout.SLOT_EGRESS] = slots[layout.SLOT_PENDING_EGRESS] = chain(DIRECTION_EGRESS);
    slots[layout.SLOT_INGRESS] = slots[layout.SLOT_PENDING_INGRESS] = chain(DIRECTION_INGRESS);
    return slots;
  }

  /** Writes all chains collected so far. */
  packChains(classes: PeerClasses, numbers: ObjectNumbers): void {
    this.#classCount = classes.count + this.#room;
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
    const local = isIngress ? packed.dst : packed.src;
    const localRow = local.rowOf?.[localClass] ?? 0;
    const key = `${number}|${localRow}`;
    let policyClass = this.#policyClasses.get(key);
    if (policyClass === undefined) {
      policyClass = this.#foldClass(index, localRow, isIngress);
      this.#policyClasses.set(key, policyClass);
      if (this.#room > 0) packed.policyClasses.push({ number: policyClass, localRow });
    }
    return policyClass;
  }

  #makeSlots(group: PlanGroup, settings: PlanSettings, settingsKey: number): readonly number[] {
    const slots = new Array<number>(layout.CHAIN_SLOT_COUNT).fill(layout.NONE);
    if (this.version === 6 && !settings.ipv6Support) return slots;
    // Also for pods without an address of this version: at its own interface a pod may send link-local or unspecified sources.
    const chain = (
      kind: ChainKind,
      direction: number,
      tiers: readonly PlanTierPolicies[],
      withStaged: boolean,
    ): number => {
      if (kind === 'untracked' && direction === DIRECTION_INGRESS && this.#isBeyondXdp(tiers, withStaged))
        return layout.NONE;
      const isNeeded = kind === 'wep' || kind === 'normal' || this.#governs(tiers, direction, withStaged);
      if (!isNeeded) return layout.NONE;
      const profiles = kind === 'wep' || kind === 'normal' ? group.profiles : [];
      return this.#chain(
        { version: this.version, direction, kind, tiers, profiles, withStaged, settings, dataplane: this.#dataplane },
        settingsKey,
      );
    };
    const kind = group.kind === 'wep' ? 'wep' : 'normal';
    slots[layout.SLOT_EGRESS] = chain(kind, DIRECTION_EGRESS, group.tiers, false);
    slots[layout.SLOT_INGRESS] = chain(kind, DIRECTION_INGRESS, group.tiers, false);
    slots[layout.SLOT_PENDING_EGRESS] = chain(kind, DIRECTION_EGRESS, group.tiers, true);
    slots[layout.SLOT_PENDING_INGRESS] = chain(kind, DIRECTION_INGRESS, group.tiers, true);
    if (group.kind !== 'hep') return slots;
    slots[layout.SLOT_FORWARD_EGRESS] = chain('forward', DIRECTION_EGRESS, group.forwardTiers, false);
    slots[layout.SLOT_FORWARD_INGRESS] = chain('forward', DIRECTION_INGRESS, group.forwardTiers, false);
    slots[layout.SLOT_PRE_DNAT] = chain('preDnat', DIRECTION_INGRESS, group.preDnatTiers, false);
    slots[layout.SLOT_UNTRACKED_EGRESS] = chain('untracked', DIRECTION_EGRESS, group.untrackedTiers, false);
    slots[layout.SLOT_UNTRACKED_INGRESS] = chain('untracked', DIRECTION_INGRESS, group.untrackedTiers, false);
    slots[layout.SLOT_PENDING_FORWARD_EGRESS] = chain('forward', DIRECTION_EGRESS, group.forwardTiers, true);
    slots[layout.SLOT_PENDING_FORWARD_INGRESS] = chain('forward', DIRECTION_INGRESS, group.forwardTiers, true);
    slots[layout.SLOT_PENDING_PRE_DNAT] = chain('preDnat', DIRECTION_INGRESS, group.preDnatTiers, true);
    slots[layout.SLOT_PENDING_UNTRACKED_EGRESS] = chain('untracked', DIRECTION_EGRESS, group.untrackedTiers, true);
    slots[layout.SLOT_PENDING_UNTRACKED_INGRESS] = chain('untracked', DIRECTION_INGRESS, group.untrackedTiers, true);
    return slots;
  }

  /** BPF enforces doNotTrack ingress by XDP, and that only for a single tier (semantics 6.10, Calico bpf_ep_mgr.go). */
  #isBeyondXdp(tiers: readonly PlanTierPolicies[], withStaged: boolean): boolean {
    if (this.#dataplane !== 'bpf') return false;
    const isEnforced = (policy: number): boolean => withStaged || !this.#plan.policies[policy]!.isStaged;
    return tiers.filter(({ ingress, egress }) => [...ingress, ...egress].some(isEnforced)).length > 1;
  }

  #governs(tiers: readonly PlanTierPolicies[], direction: number, withStaged: boolean): boolean {
    return tiers.some((tier) =>
      (direction === DIRECTION_INGRESS ? tier.ingress : tier.egress).some(
        (policy) => withStaged || !this.#plan.policies[policy]!.isStaged,
      ),
    );
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
    const maps = this.#sections.section(layout.SECTION_CLASS_MAPS);
    const put = (packed: PackedChain, side: 'src' | 'dst', row: number): void => {
      packed[side].rowOf![peerClass] = row;
      maps.set((side === 'src' ? packed.srcMap : packed.dstMap) + peerClass, row);
    };
    for (const packed of this.#packed) {
      if (packed.src.rowOf !== undefined) put(packed, 'src', packed.src.rowOf[base]!);
      if (packed.dst.rowOf !== undefined) put(packed, 'dst', packed.dst.rowOf[base]!);
    }
    const holding = new Set(set);
    for (const asking of new Set(changed.flatMap((predicate) => this.#asking.get(predicate) ?? []))) {
      const index = asking >> 1;
      const side = (asking & 1) === 0 ? 'src' : 'dst';
      put(this.#packed[index]!, side, this.#rowOf(index, side, holding));
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
    const known = packed[side].rows.findIndex((each) => each.every((word, i) => word === row[i]));
    return known >= 0 ? known : this.#addRow(index, side, row);
  }

  /** Rows of a chain follow each other, as do the functions of a policy class: with one more they move behind all others. */
  #addRow(index: number, side: 'src' | 'dst', row: Int32Array): number {
    const packed = this.#packed[index]!;
    const { rows } = packed[side];
    const number = (rows as Int32Array[]).push(row) - 1;
    const chains = this.#sections.section(layout.SECTION_CHAINS);
    const at = packed.number * layout.CHAIN_SIZE + (side === 'src' ? layout.CHAIN_SRC_ROWS : layout.CHAIN_DST_ROWS);
    chains.set(at, this.#packRows(rows));
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
    const { firstStep, sameSteps, keyWords } = this.#twinSteps(chain) ?? this.#packSteps(chain, numbers);
    const src = this.#addressRows(steps, 'src', classes);
    const dst = this.#addressRows(steps, 'dst', classes);
    const srcMap = this.#map(src.rowOf);
    const dstMap = this.#map(dst.rowOf);
    const number = sections.record(layout.SECTION_CHAINS, [
      this.version,
      spec.direction,
      firstStep,
      steps.length,
      rowWords(steps.length),
      srcMap,
      dstMap,
      this.#packRows(src.rows),
      src.rows.length,
      this.#packRows(dst.rows),
      dst.rows.length,
      ...keyWords,
      CHAIN_KINDS.indexOf(spec.kind),
      failsafeCount(steps),
    ]);
    const isLater = this.#room > 0 && this.#packed.length >= this.#initialCount;
    if (!isLater)
      assert(number === this.#firstNumber + this.#packed.length, 'chains are packed in the order of their numbers');
    return { number, policyClasses: [], firstStep, sameSteps, keyWords, src, dst, srcMap, dstMap };
  }

  #twinSteps({ twin }: Chain): PackedSteps | undefined {
    return twin === undefined || this.#twin === undefined ? undefined : this.#twin.#packed[twin];
  }

  #packSteps({ steps, spec }: Chain, numbers: ObjectNumbers): PackedSteps {
    const sections = this.#sections;
    const firstStep = sections.count(layout.SECTION_STEPS);
    const sameSteps = zeroWords(steps.length);
    for (let i = 0; i < steps.length; i++) sameSteps[i] = this.#packStep(steps[i]!, spec.direction, numbers);
    const keys = keyRows(steps, 'keys');
    const sourceKeys = keyRows(steps, 'sourceKeys');
    const sourceKeysAt =
      sourceKeys.starts.length === 1
        ? layout.NONE
        : sections.ints([sourceKeys.starts.length, ...sourceKeys.starts, this.#packRows(sourceKeys.rows)]);
    return {
      firstStep,
      sameSteps,
      keyWords: [...sections.intList(keys.starts), this.#packRows(keys.rows), sourceKeysAt],
    };
  }

  /** In tables that are repacked, a chain that asks for addresses at all has a map: a class may come that it asks for. */
  #addressRows(steps: readonly Step[], side: 'src' | 'dst', { classesOf }: PeerClasses): AddressRows {
    const made = addressRows(steps, side, this.#classCount, classesOf);
    const asks = steps.some(({ term }) => term[side].allOf.length + term[side].noneOf.length > 0);
    return this.#room > 0 && asks && made.rowOf === undefined
      ? { rows: made.rows, rowOf: zeroWords(this.#classCount) }
      : made;
  }

  #packRows(rows: readonly Int32Array[]): number {
    const bits = this.#sections.section(layout.SECTION_BITS);
    const start = bits.length;
    for (const row of rows) bits.append(row);
    return start;
  }

  #map(rowOf: Int32Array | undefined): number {
    if (rowOf === undefined) {
      this.#zeros ??= zeroWords(this.#classCount);
      this.#zeroMap ??= this.#map(this.#zeros);
      return this.#zeroMap;
    }
    // Maps that are alike now may differ in a class that comes.
    if (this.#room > 0 && rowOf !== this.#zeros) return this.#sections.section(layout.SECTION_CLASS_MAPS).append(rowOf);
    const number = this.#maps.number(rowOf);
    if (number === this.#mapOffsets.length) {
      this.#mapOffsets.push(this.#sections.section(layout.SECTION_CLASS_MAPS).append(this.#maps.array(number)));
    }
    return this.#mapOffsets[number]!;
  }

  /** The ref of the function of one pair of rows. */
  #fold(index: number, localRow: number, peerRow: Int32Array, isIngress: boolean): number {
    const { steps } = this.#chains[index]!;
    const packed = this.#packed[index]!;
    const fn = foldFunction(steps, (isIngress ? packed.dst : packed.src).rows[localRow]!, peerRow);
    return fn === undefined ? layout.NONE : this.#functionRef(encodeFunction(fn, steps, packed.sameSteps));
  }

  #foldClass(index: number, localRow: number, isIngress: boolean): number {
    const sections = this.#sections;
    const packed = this.#packed[index]!;
    const peer = isIngress ? packed.src : packed.dst;
    const refs = sections.section(layout.SECTION_FUNCTION_REFS);
    const firstRef = refs.length;
    for (const row of peer.rows) {
      refs.push(this.#fold(index, localRow, row, isIngress));
    }
    return sections.record(layout.SECTION_POLICY_CLASSES, [
      packed.number,
      localRow,
      isIngress ? packed.srcMap : packed.dstMap,
      firstRef,
      peer.rows.length,
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

  /**
   * Writes a step and returns the first one that says the same (rule, or direction, end and reason). Port functions name that one, so that
   * chains which differ in what a packet never asks have equal functions.
   */
  #packStep(step: Step, direction: number, numbers: ObjectNumbers): number {
    const rule = step.rule === undefined ? layout.NONE : numbers.rules.get(step.rule)!;
    const index = packStep(step, rule, this.#sections);
    if (rule >= 0) {
      const first = this.#stepOfRule[rule];
      if (first === undefined) this.#stepOfRule[rule] = index;
      return first ?? index;
    }
    const { action, reason, tier, owner, traceIndex, traceName } = step;
    const text = [direction, action, reason, tier, owner, traceIndex, traceName, step.selectedBy].join('|');
    const same = this.#sameSteps.get(text);
    if (same === undefined) this.#sameSteps.set(text, index);
    return same ?? index;
  }
}

/** Whether two groups run the same policies and profiles; equal lists of policies are one array (select-policies.ts). */
function hasSameChains(a: PlanGroup, b: PlanGroup): boolean {
  return (
    a.kind === b.kind &&
    a.tiers === b.tiers &&
    a.forwardTiers === b.forwardTiers &&
    a.preDnatTiers === b.preDnatTiers &&
    a.untrackedTiers === b.untrackedTiers &&
    a.profiles.length === b.profiles.length &&
    a.profiles.every((name, i) => name === b.profiles[i])
  );
}

/** Writes step 0 and policy class 0: no check. Call once, before any chain; `zeroMap` must cover the classes of both versions. */
export function packNoCheck(sections: Sections, zeroMap: number): void {
  const ref = (sections.section(layout.SECTION_FUNCTIONS).append([0, layout.STEP_NONE]) << 5) | 0;
  const firstRef = sections.section(layout.SECTION_FUNCTION_REFS).append([ref]);
  sections.record(layout.SECTION_POLICY_CLASSES, [layout.NONE, 0, zeroMap, firstRef, 1]);
}

export function packNoCheckStep(sections: Sections): void {
  sections.record(layout.SECTION_STEPS, [
    layout.STEP_NONE,
    0,
    layout.NONE,
    layout.NONE,
    layout.NONE,
    -1,
    layout.NONE,
    0,
    0,
    0,
  ]);
}

/** Failsafe steps come first, or behind one step of BPF's, which no packet on a failsafe port takes. */
function failsafeCount(steps: readonly Step[]): number {
  return steps.findLastIndex((step) => step.reason === REASON_FAILSAFE) + 1;
}

/** `rule` is its index, or NONE. */
function packStep(step: Step, rule: number, sections: Sections): number {
  const traceName = sections.name(step.traceName);
  const [selectedBy, selectedCount] = sections.intList(step.selectedBy);
  const records = sections.section(layout.SECTION_STEPS);
  const at = records.extend(layout.STEP_SIZE);
  const { room } = records;
  room[at + layout.STEP_ACTION] = step.action;
  room[at + layout.STEP_REASON] = step.reason;
  room[at + layout.STEP_RULE] = rule;
  room[at + layout.STEP_TIER] = step.tier;
  room[at + layout.STEP_POLICY] = step.owner;
  room[at + layout.STEP_TRACE_INDEX] = step.traceIndex;
  room[at + layout.STEP_JUMP] = step.jump;
  room[at + layout.STEP_TRACE_NAME] = traceName;
  room[at + layout.STEP_SELECTED_BY] = selectedBy;
  room[at + layout.STEP_SELECTED_BY + 1] = selectedCount;
  return at / layout.STEP_SIZE;
}
