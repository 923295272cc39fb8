import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Ajv, type ValidateFunction } from 'ajv';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { classify } from '../../src/load/kinds.ts';
import { isValid } from '../../src/load/schema-check.ts';
import type { Schema } from '../../src/load/schemas/build.ts';

const KINDS: readonly (readonly [string, string])[] = [
  ...['Pod', 'Namespace', 'ServiceAccount', 'Node', 'Service'].map((kind) => ['v1', kind] as const),
  ...['Deployment', 'StatefulSet', 'DaemonSet', 'ReplicaSet'].map((kind) => ['apps/v1', kind] as const),
  ...['Job', 'CronJob'].map((kind) => ['batch/v1', kind] as const),
  ['discovery.k8s.io/v1', 'EndpointSlice'],
  ['networking.k8s.io/v1', 'NetworkPolicy'],
  ['policy.networking.k8s.io/v1alpha2', 'ClusterNetworkPolicy'],
  ...[
    'NetworkPolicy',
    'GlobalNetworkPolicy',
    'StagedNetworkPolicy',
    'StagedGlobalNetworkPolicy',
    'StagedKubernetesNetworkPolicy',
  ].map((kind) => ['projectcalico.org/v3', kind] as const),
  ...[
    'Tier',
    'NetworkSet',
    'GlobalNetworkSet',
    'HostEndpoint',
    'Profile',
    'FelixConfiguration',
    'BGPConfiguration',
  ].map((kind) => ['projectcalico.org/v3', kind] as const),
];

function schemaOf(apiVersion: string, kind: string): Schema {
  const found = classify(apiVersion, kind);
  if (found.type !== 'load') throw new Error(`${apiVersion} ${kind} is not loaded`);
  return found.loader.schema;
}

/** Our walk against a validator of JSON schema that others wrote: the same schemas, the same answers. */
const oracle = new Ajv({
  allowUnionTypes: true,
  strict: true,
  strictTypes: false,
  ownProperties: true,
  validateFormats: false,
});

/** ajv writes into the schemas it compiles, so it gets a copy. */
const compiled = new Map<Schema, ValidateFunction>();

function validatorOf(schema: Schema): ValidateFunction {
  const known = compiled.get(schema);
  if (known !== undefined) return known;
  const validate = oracle.compile(structuredClone(schema));
  compiled.set(schema, validate);
  return validate;
}

describe('the walk of a schema agrees with ajv', () => {
  const DOCUMENTS = join(import.meta.dirname, '..', 'conformance', 'documents.jsonl');
  const documents = readFileSync(DOCUMENTS, 'utf8')
    .trim()
    .split('\n')
    .map((line) => (JSON.parse(line) as { doc: { apiVersion: string; kind: string } }).doc);

  test('on the documents of the conformance folder', () => {
    let validCount = 0;
    for (const document of documents) {
      const schema = schemaOf(document.apiVersion, document.kind);
      const isTaken = isValid(schema, document);
      expect(isTaken, JSON.stringify(document)).toBe(validatorOf(schema)(document));
      if (isTaken) validCount++;
    }
    expect(validCount).toBeGreaterThan(documents.length / 2);
    expect(validCount).toBeLessThan(documents.length);
  });

  test.each(KINDS)('%s %s, on values that nearly fit', (apiVersion, kind) => {
    const schema = schemaOf(apiVersion, kind);
    const validate = validatorOf(schema);
    let validCount = 0;
    fc.assert(
      fc.property(near(schema, 4), (value) => {
        const isTaken = isValid(schema, value);
        if (isTaken) validCount++;
        expect(isTaken).toBe(validate(value));
      }),
      { numRuns: 300 },
    );
    expect(validCount).toBeGreaterThan(10);
  });
});

const ODD = fc.constantFrom<unknown>(
  null,
  '',
  'x',
  0,
  -1,
  1.5,
  70_000,
  true,
  [],
  {},
  [null],
  { __proto__x: 1 },
  'é'.repeat(1025),
);

/** Values of a schema, spoiled here and there. */
function near(schema: Schema, depth: number): fc.Arbitrary<unknown> {
  return fc.oneof({ weight: 25, arbitrary: fitting(schema, depth) }, { weight: 1, arbitrary: ODD });
}

function fitting(schema: Schema, depth: number): fc.Arbitrary<unknown> {
  if (schema.enum !== undefined) return fc.constantFrom(...schema.enum);
  const type = typeof schema.type === 'string' ? schema.type : schema.type?.[0];
  switch (type) {
    case 'string':
      return fc.constantFrom('', 'a', 'name');
    case 'integer':
      return fc.integer({ min: schema.minimum ?? -2, max: schema.maximum ?? 100_000 });
    case 'number':
      return fc.double();
    case 'boolean':
      return fc.boolean();
    case 'array':
      return depth === 0 ? fc.constant([]) : fc.array(near(schema.items ?? {}, depth - 1), { maxLength: 2 });
    case 'object':
      return depth === 0 ? fc.constant({}) : fittingObject(schema, depth);
    default:
      return ODD;
  }
}

function fittingObject(schema: Schema, depth: number): fc.Arbitrary<unknown> {
  const properties = Object.entries(schema.properties ?? {});
  const required = schema.required ?? [];
  const always = properties
    .filter(([key]) => required.includes(key))
    .map(([key, field]) => [key, near(field, depth - 1)] as const);
  // A few of the others, or wide kinds would drown in fields.
  const some = fc.subarray(properties, { maxLength: Math.min(3, properties.length) }).chain((chosen) => {
    return fc.record(Object.fromEntries(chosen.map(([key, field]) => [key, near(field, depth - 1)])));
  });
  const unknown = fc.constantFrom({}, {}, {}, {}, {}, {}, {}, {}, { unknownField: 1 }, { constructor: 1 });
  return fc.tuple(some, unknown, fc.record(Object.fromEntries(always))).map(([a, b, c]) => ({ ...a, ...b, ...c }));
}

describe('every schema', () => {
  test.each(KINDS)('%s %s is closed, and has the fields of every object', (apiVersion, kind) => {
    const schema = schemaOf(apiVersion, kind);
    expect(schema.additionalProperties).toBe(false);
    expect(Object.keys(schema.properties ?? {})).toEqual(expect.arrayContaining(['apiVersion', 'kind', 'metadata']));
    expect(isValid(schema, { apiVersion, kind, metadata: { name: 'x' }, other: 1 })).toBe(false);
    expect(isValid(schema, null)).toBe(false);
    expect(isValid(schema, [])).toBe(false);
  });
});
