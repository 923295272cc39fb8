/** Small tools for the random worlds: picking, optional fields, labels, selectors. */
import fc from 'fast-check';
import type { Fields } from '../rows/objects.ts';
import { LABEL_KEYS, LABEL_VALUES, SPECIAL_KEYS, SPECIAL_LABELS, SPECIAL_VALUES } from './pools.ts';

export function pick<T>(values: readonly T[]): fc.Arbitrary<T> {
  return fc.constantFrom(...values);
}

/** True in one of `n` cases; shrinks to false. */
export function oneIn(n: number): fc.Arbitrary<boolean> {
  return fc.nat({ max: n - 1 }).map((value) => value === n - 1);
}

/** `value` in one of `n` cases (`n` >= 1, not always whole), else nothing. */
export function sometimes<T>(n: number, value: fc.Arbitrary<T>): fc.Arbitrary<T | undefined> {
  const weight = Math.round(100 / n);
  return fc.oneof({ weight: 100 - weight, arbitrary: fc.constant(undefined) }, { weight, arbitrary: value });
}

/** An object with those of `fields` that drew a value. */
export function fields(model: Readonly<Record<string, fc.Arbitrary<unknown>>>): fc.Arbitrary<Fields> {
  return fc.record(model).map(defined);
}

function defined(value: Record<string, unknown>): Fields {
  return Object.fromEntries(Object.entries(value).filter(([, part]) => part !== undefined));
}

export function some<T>(value: fc.Arbitrary<T>, maxLength: number, minLength = 1): fc.Arbitrary<T[]> {
  return fc.array(value, { minLength, maxLength });
}

const plainLabels = fc.array(fc.tuple(pick<string>(LABEL_KEYS), pick<string>(LABEL_VALUES)), { maxLength: 3 });

/** Labels of an object; one in eight objects carries a label that is Calico's own. */
export const labels: fc.Arbitrary<Record<string, string>> = fc
  .tuple(plainLabels, sometimes(8, pick(SPECIAL_LABELS)))
  .map(([pairs, special]) => Object.fromEntries(special === undefined ? pairs : [...pairs, special]));

export const plainLabelMap: fc.Arbitrary<Record<string, string>> = plainLabels.map((pairs) =>
  Object.fromEntries(pairs),
);

const labelKey = fc.oneof(
  { weight: 6, arbitrary: pick<string>(LABEL_KEYS) },
  { weight: 1, arbitrary: pick<string>(SPECIAL_KEYS) },
);
const labelValue = fc.oneof(
  { weight: 6, arbitrary: pick<string>(LABEL_VALUES) },
  { weight: 1, arbitrary: pick<string>(SPECIAL_VALUES) },
);
const quoted = fc.tuple(labelValue, fc.boolean()).map(([value, isDouble]) => (isDouble ? `"${value}"` : `'${value}'`));

const leaf = fc.oneof(
  {
    weight: 6,
    arbitrary: fc
      .tuple(labelKey, pick([' == ', '!=', ' contains ', ' starts with ', ' endswith ']), quoted)
      .map((parts) => parts.join('')),
  },
  {
    weight: 3,
    arbitrary: fc
      .tuple(labelKey, pick([' in', ' not in ']), fc.array(quoted, { maxLength: 2 }))
      .map(([key, operator, values]) => `${key}${operator}{${values.join(',')}}`),
  },
  { weight: 2, arbitrary: labelKey.map((key) => `has(${key})`) },
  { weight: 1, arbitrary: fc.constant('all()') },
);

const negated = fc
  .tuple(leaf, fc.nat({ max: 5 }))
  .map(([text, n]) => (n === 5 ? `!!${text}` : n === 4 ? `! ${text}` : text));

/** A selector of every operator, sometimes blank; `global()` comes only where the API takes it. */
export const selector: fc.Arbitrary<string> = fc.oneof(
  { weight: 7, arbitrary: negated },
  { weight: 2, arbitrary: fc.tuple(negated, pick([' && ', '||']), negated).map((parts) => parts.join('')) },
  {
    weight: 1,
    arbitrary: fc.tuple(negated, negated, negated).map(([a, b, c]) => `!(${a} && ${b}) || (${c})`),
  },
);

/** Of the whole namespaceSelector of a rule. */
export const namespaceSelector: fc.Arbitrary<string> = fc.oneof(
  { weight: 5, arbitrary: selector },
  { weight: 1, arbitrary: pick(['all()', 'global()', "projectcalico.org/name == 'app'", "env != 'a'", '!has(env)']) },
);

const requirement = fc
  .tuple(labelKey, pick(['In', 'NotIn', 'Exists', 'DoesNotExist']), some(labelValue, 2))
  .map(([key, operator, values]) => (operator.endsWith('In') ? { key, operator, values } : { key, operator }));

/** A Kubernetes label selector; `{}` is common. */
export const labelSelector: fc.Arbitrary<Fields> = fields({
  matchLabels: sometimes(2, plainLabelMap),
  matchExpressions: sometimes(4, some(requirement, 2)),
});
