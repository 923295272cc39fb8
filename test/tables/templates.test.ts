/** What endpoints have in common: pods of one workload share a template, wherever they run, and nobody else's says the same. */
import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { compile } from '../../src/compile/compile.ts';
import { planCluster } from '../../src/compile/plan-cluster.ts';
import { loadResources } from '../../src/load/load.ts';
import * as layout from '../../src/tables/layout.ts';
import {
  endpointName,
  field,
  intsField,
  openTables,
  type Tables,
  templateField,
  templateOf,
  templateText,
  textField,
} from '../../src/tables/tables.ts';
import { hostEndpoint, joinDocuments, networkPolicy, pod } from '../compile/cluster.ts';
import { tablesOf } from '../compile/verdict.ts';

const WEB = { labels: '{app: web}', serviceAccount: 'web' };
const POLICY = networkPolicy('p', 'selector: app == "web", ingress: [{action: Allow}]');

/** By key: the template of each endpoint. */
function templates(tables: Tables): Map<string, number> {
  return new Map(
    Array.from({ length: tables.counts[layout.SECTION_ENDPOINTS]! }, (_, endpoint) => [
      textField(tables, layout.SECTION_ENDPOINTS, endpoint, layout.ENDPOINT_KEY),
      templateOf(tables, endpoint),
    ]),
  );
}

/** Numbers of groups of endpoints with one template, in order of key. */
function shared(tables: Tables): number[] {
  const numbers = new Map<number, number>();
  return [...templates(tables)]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([, template]) => {
      if (!numbers.has(template)) numbers.set(template, numbers.size);
      return numbers.get(template)!;
    });
}

describe('templates', () => {
  test('pods of one workload share one, on whatever node; those of another have another', () => {
    const tables = tablesOf(
      joinDocuments(
        pod('web-1', '10.0.0.1', WEB),
        pod('other-account', '10.0.0.2', { ...WEB, serviceAccount: 'other' }),
        pod('web-2', '10.0.0.3', { ...WEB, node: 'n2' }),
        pod('other-labels', '10.0.0.4', { ...WEB, labels: '{app: web, tier: front}' }),
        pod('web-3', '10.0.0.5', WEB),
        pod('web-4', '10.0.0.6', { ...WEB, namespace: 'shop' }),
        hostEndpoint('web', 'node: n1, interfaceName: eth0'),
        POLICY,
      ),
    );
    const of = templates(tables);
    const web = of.get('wep:app/web-1');
    expect([of.get('wep:app/web-2'), of.get('wep:app/web-3')]).toEqual([web, web]);
    // Five differ, and no record is there twice.
    expect(new Set(of.values()).size).toBe(5);
    expect(tables.counts[layout.SECTION_TEMPLATES]).toBe(5);
    const node = (key: string): number => {
      const endpoint = [...of.keys()].indexOf(key);
      return field(tables, layout.SECTION_ENDPOINTS, endpoint, layout.ENDPOINT_NODE);
    };
    expect(node('wep:app/web-2')).not.toBe(node('wep:app/web-1'));
  });

  test('what a template says is what its endpoints are', () => {
    const { resources } = loadResources(
      [
        {
          name: 'world.yaml',
          text: readFileSync(new URL('../conformance/hosts/308/cluster.yaml', import.meta.url), 'utf8'),
        },
        {
          name: 'more.yaml',
          text: joinDocuments(pod('web-1', '10.99.0.1', WEB), pod('веб-2', '10.99.0.2', WEB), POLICY),
        },
      ],
      { permissive: true },
    );
    const tables = openTables(compile(resources));
    const { endpoints } = planCluster(resources);
    expect(new Set(endpoints.map(({ kind }) => kind))).toEqual(new Set(['wep', 'hep']));
    const said = endpoints.map((_, endpoint) => {
      const text = (word: number): string => templateText(tables, endpoint, word);
      const section = layout.SECTION_TEMPLATES;
      const labels = intsField(tables, section, templateOf(tables, endpoint), layout.TEMPLATE_LABELS).length;
      return {
        kind: templateField(tables, endpoint, layout.TEMPLATE_KIND) === layout.KIND_WEP ? 'wep' : 'hep',
        namespace: text(layout.TEMPLATE_NAMESPACE),
        name: endpointName(tables, endpoint),
        serviceAccount: text(layout.TEMPLATE_SERVICE_ACCOUNT),
        labels,
        group: templateField(tables, endpoint, layout.TEMPLATE_GROUP),
        file: text(layout.TEMPLATE_FILE),
      };
    });
    expect(said).toEqual(
      endpoints.map(({ kind, namespace, name, serviceAccount, labels, group, origin }) => {
        return { kind, namespace, name, serviceAccount, labels: labels.size, group, file: origin.file };
      }),
    );
  });

  test('with --node, those of the node and the others have two: only the first have chains', () => {
    const tables = tablesOf(
      joinDocuments(
        pod('web-1', '10.0.0.1', WEB),
        pod('web-2', '10.0.0.2', { ...WEB, node: 'n2' }),
        pod('web-3', '10.0.0.3', { ...WEB, node: 'n2' }),
        pod('web-4', '10.0.0.4', WEB),
        POLICY,
      ),
      'n1',
    );
    expect(shared(tables)).toEqual([0, 1, 1, 0]);
    const chains = [0, 1].map((endpoint) => templateField(tables, endpoint, layout.TEMPLATE_CHAINS));
    expect(chains).toEqual([expect.any(Number), layout.NONE]);
    expect(chains[0]).not.toBe(layout.NONE);
  });

  test('a pod with sources of its own has one of its own, and takes nothing from the others', () => {
    const sources = { ...WEB, annotations: `{cni.projectcalico.org/allowedSourcePrefixes: '["198.51.100.0/24"]'}` };
    const spoofing =
      '{apiVersion: projectcalico.org/v3, kind: FelixConfiguration, metadata: {name: default}, spec: {workloadSourceSpoofing: Any}}';
    const tables = tablesOf(
      joinDocuments(
        pod('web-1', '10.0.0.1', WEB),
        pod('web-2', '10.0.0.2', sources),
        pod('web-3', '10.0.0.3', WEB),
        pod('web-4', '10.0.0.4', sources),
        spoofing,
        POLICY,
      ),
    );
    const counts = [0, 1, 2, 3].map((endpoint) => templateField(tables, endpoint, layout.TEMPLATE_ALLOWED_SOURCES + 1));
    expect(counts).toEqual([0, 1, 0, 1]);
    expect(shared(tables)).toEqual([0, 1, 0, 2]);
  });
});
