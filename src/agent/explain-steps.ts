/** An explanation as the steps of its chain, for the page: what decided at each stop, and the lines of the file where that is written. */
import type { CheckExplanation, Explanation } from '../analyze/explain.ts';
import type { PolicyWalk, ProfileWalk, TierWalk } from '../analyze/explain-walk.ts';
import type { ExplainStep } from './api.ts';

/** Lines before and after the one that decided. */
const BEFORE = 2;
const AFTER = 8;
/** Characters of one line. */
const LINE_LENGTH_MAX = 200;

/** `textOf` gives the text of a source by its name, where there is one. */
export function explainSteps(explanation: Explanation, textOf: (file: string) => string | undefined): ExplainStep[] {
  const steps: Omit<ExplainStep, 'isDeciding'>[] = [];
  let deciding = -1;
  for (const check of explanation.checks) {
    steps.push(...checkSteps(check, textOf));
    if (check.check === explanation.record.direction) deciding = steps.length - 1;
  }
  return steps.map((step, index) => ({ ...step, isDeciding: index === deciding }));
}

type Step = Omit<ExplainStep, 'isDeciding'>;

function checkSteps(check: CheckExplanation, textOf: (file: string) => string | undefined): Step[] {
  const head = { check: check.check };
  if (check.before_policy !== undefined) {
    return [{ ...head, tier: '', policy: check.before_policy, action: check.action, rule: -1 }];
  }
  const steps: Step[] = [];
  for (const tier of check.tiers) {
    const decided = tier.decided_by;
    if (decided === undefined) continue;
    const place = placeOf(tier, decided.policy, decided.rule);
    steps.push({
      ...head,
      tier: tier.tier,
      policy: decided.policy,
      action: tier.outcome,
      rule: decided.rule,
      ...sourceParts(place, textOf),
    });
  }
  if (check.trace.length > steps.length) steps.push({ ...head, ...profileStep(check, textOf) });
  return steps;
}

/** The profiles speak last, or nobody does. */
function profileStep(check: CheckExplanation, textOf: (file: string) => string | undefined): Omit<Step, 'check'> {
  const [, tier, policy, action, rule] = check.trace.at(-1)!.split('|');
  const profile = check.profiles.find((each) => `pro:${each.profile}` === policy);
  const place = profile === undefined || !profile.exists ? undefined : profilePlace(profile, Number(rule));
  return { tier: tier!, policy: policy!, action: action!, rule: Number(rule), ...sourceParts(place, textOf) };
}

interface Place {
  readonly file: string;
  readonly line: number;
}

function placeOf(tier: TierWalk, policy: string, rule: number): Place | undefined {
  const walk: PolicyWalk | undefined = tier.policies.find((each) => each.policy === policy);
  return walk?.rules.find(({ index }) => index === rule) ?? walk;
}

function profilePlace(profile: ProfileWalk, rule: number): Place {
  return profile.rules.find(({ index }) => index === rule) ?? profile;
}

function sourceParts(
  place: Place | undefined,
  textOf: (file: string) => string | undefined,
): { readonly source?: string; readonly snippet?: string } {
  if (place === undefined || place.file === '') return {};
  const source = place.line === 0 ? place.file : `${place.file}:${place.line}`;
  const text = place.line === 0 ? undefined : textOf(place.file);
  if (text === undefined) return { source };
  const lines = text.split('\n');
  if (place.line > lines.length) return { source };
  const first = Math.max(1, place.line - BEFORE);
  const shown = lines.slice(first - 1, place.line + AFTER);
  const width = String(first + shown.length).length;
  const snippet = shown
    .map((line, i) => `${String(first + i).padStart(width)}  ${line.slice(0, LINE_LENGTH_MAX).trimEnd()}`)
    .join('\n');
  return { source, snippet };
}
