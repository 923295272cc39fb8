import fc from 'fast-check';
import { classify } from '../../src/load/kinds.ts';
import type { Schema } from '../../src/load/schemas/build.ts';

/** API version and kind of everything that is loaded from the groups of policy and pods. */
export const KINDS: readonly (readonly [string, string])[] = [
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

export function schemaOf(apiVersion: string, kind: string): Schema {
  const found = classify(apiVersion, kind);
  if (found.type !== 'load') throw new Error(`${apiVersion} ${kind} is not loaded`);
  return found.loader.schema;
}

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
export function near(schema: Schema, depth: number): fc.Arbitrary<unknown> {
  return fc.oneof({ weight: 25, arbitrary: fitting(schema, depth) }, { weight: 1, arbitrary: ODD });
}

function fitting(schema: Schema, depth: number): fc.Arbitrary<unknown> {
  if (schema.enum !== undefined) return fc.constantFrom(...schema.enum);
  const type = typeof schema.type === 'string' ? schema.type : schema.type?.[0];
  switch (type) {
    case 'string':
      return fc.constantFrom('', 'a', 'name');
    case 'integer':
      return fc.integer({ min: schema.minimum ?? -2, max: schema.maximum ?? 100 });
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
