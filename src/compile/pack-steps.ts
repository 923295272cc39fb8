/**
 * The steps of chains, and the rows of their ports: what a chain has whatever the addresses are.
 *
 * A step is written for each chain that has it, since evaluation walks over a chain's steps in a row. Port functions name the first of the
 * steps that say the same (rule, or direction, end and reason), so that chains which differ in what a packet never asks have equal functions:
 *
 *   chain 0, pods of api    step 7: rule 12 allow    step 8: no profile matched: deny
 *   chain 1, pods of web    step 9: rule 12 allow    step 10: no profile matched: deny      functions of both name steps 7 and 8
 */
import { zeroWords } from '../base/words.ts';
import { REASON_FAILSAFE } from '../model/flow.ts';
import * as layout from '../tables/layout.ts';
import type { Step } from './chains.ts';
import type { ObjectNumbers } from './pack-objects.ts';
import { keyRows, packRows } from './rows.ts';
import type { Sections } from './sections.ts';

/** Equal for both IP versions where the steps are. */
export interface PackedSteps {
  readonly firstStep: number;
  /** By step of the chain: the first step anywhere that says the same. */
  readonly sameSteps: Int32Array;
  /** The words CHAIN_KEYS to CHAIN_SOURCE_KEYS. */
  readonly keyWords: readonly number[];
}

export class StepPacker {
  readonly #sections: Sections;
  /** The first step that says the same: by rule, or of other steps by what they say. */
  readonly #stepOfRule: number[] = [];
  readonly #sameSteps = new Map<string, number>();

  constructor(sections: Sections) {
    this.#sections = sections;
  }

  pack(steps: readonly Step[], direction: number, numbers: ObjectNumbers): PackedSteps {
    const sections = this.#sections;
    const firstStep = sections.count(layout.SECTION_STEPS);
    const sameSteps = zeroWords(steps.length);
    for (let i = 0; i < steps.length; i++) sameSteps[i] = this.#step(steps[i]!, direction, numbers);
    const keys = keyRows(steps, 'keys');
    const sourceKeys = keyRows(steps, 'sourceKeys');
    const sourceKeysAt =
      sourceKeys.starts.length === 1
        ? layout.NONE
        : sections.ints([sourceKeys.starts.length, ...sourceKeys.starts, packRows(sections, sourceKeys.rows)]);
    const keyWords = [...sections.intList(keys.starts), packRows(sections, keys.rows), sourceKeysAt];
    return { firstStep, sameSteps, keyWords };
  }

  /** Writes a step and returns the first one that says the same. */
  #step(step: Step, direction: number, numbers: ObjectNumbers): number {
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
export function failsafeCount(steps: readonly Step[]): number {
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
