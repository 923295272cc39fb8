/**
 * Calico's own tables: every IP set and every endpoint of `tables.json` is in our plan, with identical content. Sets
 * beside them are ours to have: Calico makes only those that a policy in use on some node needs.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { type EndpointJson, planToJson } from '../../src/compile/compile-json.ts';
import { planCluster } from '../../src/compile/plan-cluster.ts';
import { loadResources } from '../../src/load/load.ts';

interface Tables {
  readonly endpoints: Readonly<Record<string, EndpointJson>>;
  readonly ip_sets: Readonly<Record<string, readonly string[]>>;
}

const ROOT = new URL('../conformance/', import.meta.url);

function worldsOf(folder: string): URL[] {
  const base = new URL(`${folder}/`, ROOT);
  return readdirSync(base).map((name) => new URL(`${name}/`, base));
}

const worlds = ['basic', 'worlds', 'hosts']
  .flatMap(worldsOf)
  .filter((world) => existsSync(new URL('tables.json', world)));

describe("Calico's tables", () => {
  test('are there for 90 clusters', () => {
    expect(worlds.length).toBe(90);
  });

  test.each(worlds.map((world) => [world.pathname.split('/').slice(-3, -1).join('/'), world] as const))(
    '%s',
    (_, world) => {
      const text = readFileSync(new URL('cluster.yaml', world), 'utf8');
      const { resources, errors } = loadResources([{ name: 'cluster.yaml', text }]);
      expect(errors).toEqual([]);
      const json = planToJson(planCluster(resources));
      const tables = JSON.parse(readFileSync(new URL('tables.json', world), 'utf8')) as Tables;
      // Calico's file has the endpoints of both nodes, so none may be missing or too many.
      expect(json.endpoints).toEqual(tables.endpoints);
      const ours = Object.fromEntries(Object.keys(tables.ip_sets).map((id) => [id, json.ip_sets[id]]));
      expect(ours).toEqual(tables.ip_sets);
    },
  );
});
