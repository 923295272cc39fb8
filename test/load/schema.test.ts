import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Ajv, type ValidateFunction } from 'ajv';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { isValid } from '../../src/load/schema-check.ts';
import type { Schema } from '../../src/load/schemas/build.ts';
import { KINDS, near, schemaOf } from './arbitrary.ts';

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
