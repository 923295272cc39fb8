/** Manifests to an authorizer. */
import { Authorizer } from '../authz/authorizer.ts';
import { authorizationForm } from '../compile/authorization.ts';
import type { AuthzOptions } from './commands/authz.ts';
import { UsageError } from './exit.ts';
import { checkNode, listed, openCluster } from './inputs.ts';
import type { Output } from './output.ts';

/** Throws as `openCluster` does, and UsageError for a pod or node that the input has not. */
export async function openAuthorizer(options: AuthzOptions, output: Output): Promise<Authorizer> {
  const { plan } = await openCluster(options, output);
  checkNode(plan, options.node);
  const authorizer = new Authorizer(authorizationForm(plan, { node: options.node }), {
    requireIdentity: options.requireIdentity === true,
    trustDomains: options.trustDomain ?? [],
    endpoint: options.endpoint,
  });
  if (!authorizer.hasEndpoint) {
    const pods = authorizer.form.endpoints.map(({ namespace, name }) => `${namespace}/${name}`);
    const where = options.node === undefined ? 'the input' : `the node '${options.node}'`;
    const known = pods.length === 0 ? 'there is none' : `there are ${listed(pods)}`;
    throw new UsageError(`--endpoint: ${where} has no pod '${options.endpoint}' with policies; ${known}`);
  }
  return authorizer;
}
