/** The files to deploy the agent with: that they are what they should be, as far as can be told without a cluster. */
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { parse, parseAllDocuments } from 'yaml';
import { collectConfig, resolveConfig } from '../../src/agent/config.ts';
import { environmentName, SETTINGS } from '../../src/agent/settings.ts';
import { margay } from '../cli/support.ts';

const FOLDER = 'src/agent/deploy';
const read = (name: string): string => readFileSync(`${FOLDER}/${name}`, 'utf8');

interface Manifest {
  readonly kind: string;
  readonly rules?: readonly { readonly apiGroups: string[]; readonly resources: string[]; readonly verbs: string[] }[];
  readonly [key: string]: unknown;
}

interface PodSpec {
  readonly hostNetwork: boolean;
  readonly securityContext: { readonly seccompProfile: { readonly type: string } };
  readonly containers: readonly {
    readonly args: string[];
    readonly env: readonly { readonly name: string }[];
    readonly securityContext: Record<string, unknown>;
    readonly livenessProbe: {
      readonly httpGet: { readonly path: string; readonly port: number; readonly host: string };
    };
    readonly readinessProbe: {
      readonly httpGet: { readonly path: string; readonly port: number; readonly host: string };
    };
    readonly resources: { readonly limits: Record<string, string>; readonly requests: Record<string, string> };
  }[];
}

describe('the DaemonSet', () => {
  const documents = parseAllDocuments(read('daemonset.yaml'));
  const manifests = documents.map((document) => document.toJS() as Manifest);
  const of = (kind: string): Manifest => manifests.find((each) => each.kind === kind)!;
  const pod = (of('DaemonSet') as unknown as { spec: { template: { spec: PodSpec } } }).spec.template.spec;
  const container = pod.containers[0]!;

  test('is YAML without errors', () => {
    for (const { errors, warnings } of documents) expect([errors, warnings]).toEqual([[], []]);
    expect(manifests.map(({ kind }) => kind)).toEqual([
      'Namespace',
      'ServiceAccount',
      'ClusterRole',
      'ClusterRoleBinding',
      'DaemonSet',
    ]);
  });

  test('its role reads, and can do nothing else: no secrets, no wildcards', () => {
    for (const { verbs, resources, apiGroups } of of('ClusterRole').rules!) {
      expect(verbs).toEqual(['get', 'list', 'watch']);
      for (const name of [...resources, ...apiGroups]) expect(name).not.toMatch(/\*|secret|configmap/);
    }
  });

  test('has one capability, a read-only root, and no way to more', () => {
    expect(pod.hostNetwork).toBe(true);
    expect(pod.securityContext.seccompProfile.type).toBe('RuntimeDefault');
    expect(container.securityContext).toMatchObject({
      allowPrivilegeEscalation: false,
      readOnlyRootFilesystem: true,
      privileged: false,
      capabilities: { drop: ['ALL'], add: ['NET_RAW'] },
    });
    expect(Object.keys(container.resources.limits)).toEqual(['cpu', 'memory']);
  });

  test('its probes ask where the agent listens, on the loopback interface alone', () => {
    const listen = container.args.find((arg) => arg.startsWith('--listen='))!;
    for (const [probe, path] of [
      [container.livenessProbe, '/healthz'],
      [container.readinessProbe, '/readyz'],
    ] as const) {
      expect(probe.httpGet.path).toBe(path);
      expect(listen).toBe(`--listen=${probe.httpGet.host}:${probe.httpGet.port}`);
    }
  });

  test('its arguments and variables are settings, and make a configuration', () => {
    const [verb, ...args] = container.args;
    expect(verb).toBe('agent');
    const flags: Record<string, unknown> = {};
    for (const arg of args) {
      const [, name, value] = /^--([\w-]+)(?:=(.*))?$/.exec(arg)!;
      const setting = SETTINGS.find(({ key }) => key === name);
      expect(setting, arg).toBeDefined();
      const isList = setting!.form.type === 'list';
      flags[name!.replace(/-(.)/g, (_, letter: string) => letter.toUpperCase())] =
        value === undefined ? true : isList ? [value] : value;
    }
    const env: Record<string, string> = {};
    for (const { name } of container.env) if (name.startsWith('MARGAY_')) env[name] = 'node-1';
    expect(Object.keys(env)).toEqual([environmentName('node')]);
    expect(resolveConfig({ flags, env, file: undefined }).config).toMatchObject({
      kubernetes: true,
      node: 'node-1',
      source: 'cap',
    });
    // Also those that are commented out.
    for (const [, name] of read('daemonset.yaml').matchAll(/name: (MARGAY_\w+)/g)) {
      const { problems } = collectConfig({ flags: {}, env: { [name!]: 'redis://h' }, file: undefined });
      expect(
        problems.filter((problem) => problem.includes('no such setting')),
        name,
      ).toEqual([]);
    }
  });
});

describe('the unit', () => {
  const unit = read('margay-agent.service');

  test('passes systemd-analyze', ({ skip }) => {
    const { status, error, stdout, stderr } = spawnSync(
      'systemd-analyze',
      ['verify', `${FOLDER}/margay-agent.service`],
      { encoding: 'utf8' },
    );
    if (error !== undefined) skip('systemd-analyze is not installed');
    expect([status, stdout, stderr]).toEqual([0, '', '']);
  });

  test('has one capability and a read-only system', () => {
    for (const line of [
      'AmbientCapabilities=CAP_NET_RAW',
      'CapabilityBoundingSet=CAP_NET_RAW',
      'NoNewPrivileges=yes',
      'DynamicUser=yes',
      'ProtectSystem=strict',
      'SystemCallFilter=@system-service',
      'RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX AF_NETLINK AF_PACKET',
    ]) {
      expect(unit).toContain(`\n${line}\n`);
    }
    expect(unit).not.toMatch(/^MemoryDenyWriteExecute/m);
  });

  test('starts a command that is there, with options that are there', async () => {
    const command = /^ExecStart=\/usr\/bin\/env margay (.+)$/m.exec(unit)![1]!;
    const { stdout } = await margay(['agent', '--help']);
    for (const [option] of command.matchAll(/--[\w-]+/g)) expect(stdout).toContain(option);
  });

  test('its sample configuration is one', () => {
    const { config, values } = resolveConfig({ flags: {}, env: {}, file: `${FOLDER}/agent.yaml` });
    expect(config.flowLog).toBe('/var/log/margay/flows.jsonl');
    expect(values.filter(({ from }) => from.startsWith('file')).length).toBe(
      Object.keys(parse(read('agent.yaml')) as object).length,
    );
    // Those that are commented out, too.
    for (const [, key] of read('agent.yaml').matchAll(/^# ([\w-]+): /gm))
      expect(SETTINGS.map((each) => each.key)).toContain(key);
  });
});

describe('the image', () => {
  const lines = read('Dockerfile').split('\n');

  test('is built in one stage and runs in another, as an ordinary user', () => {
    const stages = lines.filter((line) => line.startsWith('FROM '));
    expect(stages).toHaveLength(2);
    for (const stage of stages) expect(stage).toMatch(/^FROM node:20-bookworm-slim/);
    const runtime = lines.slice(lines.lastIndexOf(stages[1]!)).join('\n');
    expect(runtime).toContain('libpcap0.8');
    expect(runtime).not.toMatch(/libpcap-dev|g\+\+|npm /);
    expect(runtime).toContain('\nUSER 65534:65534\n');
  });

  test('copies what is there', () => {
    const [, ...sources] = lines.filter((line) => line.startsWith('COPY --from=build')).map((line) => line.split(' '));
    for (const words of sources) expect(words[2]).toMatch(/^\/build\/(node_modules|dist|src\/authz\/\*\.proto)$/);
    expect(lines.some((line) => line.includes('dist/cli/main.js'))).toBe(true);
  });
});

test('all of it is shipped with the package', () => {
  const { files } = JSON.parse(readFileSync('package.json', 'utf8')) as { files: string[] };
  expect(files).toContain(FOLDER);
});
