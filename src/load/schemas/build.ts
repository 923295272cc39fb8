/**
 * Building blocks of our JSON schemas (draft-07, for ajv).
 *
 * The schemas are closed: a field that no API type has is reported. They state shape alone (types, enumerations,
 * lengths, counts); what depends on more than one field, and what text means, is checked in `validate-*.ts`.
 * `null` stands for an absent field wherever a field is optional, as it does for the API server.
 */

export type Schema = { readonly [keyword: string]: unknown };

/** Takes anything: for fields that exist, and that no verdict depends on. */
export const anything: Schema = {};

export function text(limits: { readonly maxLength?: number } = {}): Schema {
  return { type: 'string', nullable: true, ...limits };
}

export function word(...values: readonly string[]): Schema {
  return { type: 'string', nullable: true, enum: [...values, null] };
}

export function flag(): Schema {
  return { type: 'boolean', nullable: true };
}

export function whole(limits: { readonly minimum?: number; readonly maximum?: number } = {}): Schema {
  return { type: 'integer', nullable: true, ...limits };
}

export function real(): Schema {
  return { type: 'number', nullable: true };
}

/** A number or a name: Kubernetes' IntOrString and Calico's forms of it. */
export function wholeOrText(): Schema {
  return { type: ['integer', 'string', 'null'] };
}

/** A list; its entries may not be null. */
export function list(items: Schema, limits: { readonly minItems?: number; readonly maxItems?: number } = {}): Schema {
  return { type: 'array', nullable: true, items: { ...items, nullable: false, ...withoutNull(items) }, ...limits };
}

/** An object with these fields and no others. */
export function closed(properties: Readonly<Record<string, Schema>>, required: readonly string[] = []): Schema {
  return { type: 'object', nullable: true, properties, required, additionalProperties: false };
}

/** An object of which a verdict needs only some fields: the names of the rest are known, their values are not looked at. */
export function partly(properties: Readonly<Record<string, Schema>>, others: string): Schema {
  const all: Record<string, Schema> = Object.create(null) as Record<string, Schema>;
  for (const name of others.split(/\s+/).filter((name) => name !== '')) all[name] = anything;
  return closed({ ...all, ...properties });
}

/** An object that anything may stand in, such as a status. */
export function open(properties: Readonly<Record<string, Schema>> = {}): Schema {
  return { type: 'object', nullable: true, properties };
}

export function textMap(): Schema {
  return { type: 'object', nullable: true, additionalProperties: { type: 'string', nullable: true } };
}

/** A whole object: the fields every kind has, and its own. */
export function object(properties: Readonly<Record<string, Schema>>, required: readonly string[] = []): Schema {
  return { ...closed({ apiVersion: text(), kind: text(), metadata: META, ...properties }, required), nullable: false };
}

const META: Schema = {
  ...partly(
    {
      name: text(),
      generateName: text(),
      namespace: text(),
      uid: text(),
      deletionTimestamp: text(),
      labels: textMap(),
      annotations: textMap(),
    },
    `selfLink resourceVersion generation creationTimestamp deletionGracePeriodSeconds ownerReferences finalizers
     managedFields clusterName initializers`,
  ),
  nullable: false,
};

/** The metadata of a pod template: as `META`, but it may be absent. */
export const TEMPLATE_META: Schema = { ...META, nullable: true };

/** Drops `null` from the ways in which a schema says it. */
function withoutNull(schema: Schema): Schema {
  const out: Record<string, unknown> = {};
  if (Array.isArray(schema.type)) out.type = schema.type.filter((type) => type !== 'null');
  if (Array.isArray(schema.enum)) out.enum = schema.enum.filter((value) => value !== null);
  return out;
}
